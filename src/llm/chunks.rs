//! Responses that come in chunks, in the forms that APIs have, put together again.

use serde_json::{Map, Value};

use crate::stream::{KEPT_TEXT, Parts};

/// A response as far as it has come.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    /// What is known of the whole: its model, its usage.
    about: Map<String, Value>,
    /// OpenAI's choices.
    choices: Vec<Value>,
    /// Anthropic's content.
    content: Vec<Value>,
    /// Chunks of another form.
    parts: Parts,
    /// A response that came whole after its chunks.
    whole: Option<Value>,
    bytes: usize,
}

impl Chunks {
    /// Takes over a chunk.
    pub(super) fn add(&mut self, mut chunk: Value) {
        let is_known = ["choices", "type", "usage"].iter().any(|name| chunk.get(name).is_some());
        let Some(fields) = chunk.as_object_mut().filter(|_| is_known) else {
            return self.parts.add(chunk);
        };
        for name in ["message", "response"] {
            if let Some(Value::Object(about)) = fields.get(name) {
                self.learn(about.clone());
            }
        }
        self.learn(fields.clone());
        if self.bytes > KEPT_TEXT {
            return;
        }
        self.bytes += text_len(fields.values());
        if let Some(Value::Array(choices)) = fields.remove("choices") {
            return choices.into_iter().for_each(|choice| merge_by_index(&mut self.choices, choice));
        }
        let index = fields.get("index").cloned().unwrap_or_else(|| 0.into());
        let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        match kind.as_str() {
            "response.completed" | "response.incomplete" => self.whole = fields.remove("response"),
            "response.output_text.delta" => self.parts.add(fields.remove("delta").unwrap_or_default()),
            "content_block_start" => {
                let block = fields.remove("content_block").unwrap_or_default();
                self.add_block(index, block);
            }
            "content_block_delta" => {
                let Some(Value::Object(mut delta)) = fields.remove("delta") else { return };
                delta.remove("type");
                // The input of a tool begins as an empty object and comes as JSON text.
                if let Some(input) = delta.remove("partial_json") {
                    delta.insert("input".to_owned(), input);
                }
                self.add_block(index, delta.into());
            }
            "" | "ping" | "content_block_stop" => (),
            kind if kind.starts_with("response.") || kind.starts_with("message_") => (),
            _ => self.parts.add(chunk),
        }
    }

    fn learn(&mut self, about: Map<String, Value>) {
        for (name, value) in about {
            match (name.as_str(), value) {
                ("model" | "role", value @ Value::String(_)) => {
                    self.about.insert(name, value);
                }
                // Later chunks say more, and what they say again has grown.
                ("usage" | "usageMetadata", Value::Object(counts)) => {
                    let known = self.about.entry(name).or_insert_with(|| Map::new().into());
                    if let Some(known) = known.as_object_mut() {
                        known.extend(counts);
                    }
                }
                _ => (),
            }
        }
    }

    fn add_block(&mut self, index: Value, block: Value) {
        if let Value::Object(mut block) = block {
            block.insert("index".to_owned(), index);
            merge_by_index(&mut self.content, block.into());
        }
    }

    /// The response, as if it had come at once.
    pub(super) fn response(self) -> Value {
        if let Some(whole) = self.whole {
            return whole;
        }
        let Self { mut about, mut choices, mut content, parts, .. } = self;
        if !choices.is_empty() {
            choices.iter_mut().for_each(|choice| rename(choice, "delta", "message"));
            about.insert("choices".to_owned(), choices.into());
        } else if !content.is_empty() {
            content.iter_mut().filter_map(Value::as_object_mut).for_each(|block| drop(block.remove("index")));
            about.insert("content".to_owned(), content.into());
        } else {
            about.insert("output".to_owned(), parts.output().unwrap_or_default());
        }
        about.into()
    }
}

/// Adds to the one of the same index, else to the list.
fn merge_by_index(list: &mut Vec<Value>, item: Value) {
    let index = item.get("index").cloned();
    match list.iter_mut().find(|known| index.is_some() && known.get("index") == index.as_ref()) {
        Some(known) => merge(known, item),
        None => list.push(item),
    }
}

/// Takes over what came later: of texts more, of names another.
fn merge(known: &mut Value, more: Value) {
    match (known, more) {
        (_, Value::Null) => (),
        (Value::String(known), Value::String(more)) => *known += &more,
        (Value::Array(known), Value::Array(more)) => {
            more.into_iter().for_each(|item| merge_by_index(known, item));
        }
        (Value::Object(known), Value::Object(more)) => {
            for (name, more) in more {
                let is_name =
                    ["role", "id", "type", "name", "index", "finish_reason"].contains(&name.as_str());
                match known.get_mut(&name).filter(|known| !is_name && !known.is_null()) {
                    Some(known) => merge(known, more),
                    None if more.is_null() => (),
                    None => {
                        known.insert(name, more);
                    }
                }
            }
        }
        (known, more) => *known = more,
    }
}

fn rename(value: &mut Value, from: &str, to: &str) {
    if let Some(object) = value.as_object_mut()
        && let Some(value) = object.remove(from)
    {
        object.insert(to.to_owned(), value);
    }
}

fn text_len<'a>(values: impl IntoIterator<Item = &'a Value>) -> usize {
    let len = |value: &Value| match value {
        Value::String(text) => text.len(),
        Value::Array(list) => text_len(list),
        Value::Object(object) => text_len(object.values()),
        _ => 1,
    };
    values.into_iter().map(len).sum()
}
