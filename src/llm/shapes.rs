//! What requests and responses of language models say, in the forms that APIs have.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::describe::to_text;
use crate::observation::{Attributes, Field};

/// Where requests have what goes in, the first one first.
const INPUTS: [&str; 4] = ["messages", "prompt", "input", "contents"];
/// What belongs to the messages.
const BESIDE_THE_INPUT: [&str; 6] =
    ["system", "system_instruction", "instructions", "tools", "tool_choice", "functions"];

/// What a request says: the model, its parameters and the input.
pub(super) fn request(request: &(impl Serialize + ?Sized)) -> Attributes {
    let mut attributes = Attributes::default();
    let request = match to_value(request) {
        Value::Object(request) if INPUTS.iter().any(|name| request.contains_key(*name)) => request,
        other => {
            attributes.fields.set(Field::Input, to_text(&other));
            return attributes;
        }
    };
    let mut input = Map::new();
    let mut parameters = Map::new();
    for (name, value) in request {
        match (name.as_str(), value) {
            (_, Value::Null) => (),
            ("model", Value::String(model)) => attributes.fields.set(Field::Model, model),
            (known, value) if INPUTS.contains(&known) || BESIDE_THE_INPUT.contains(&known) => {
                input.insert(name, value);
            }
            // Langfuse shows texts and numbers.
            (_, value @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) => {
                parameters.insert(name, value);
            }
            (_, value) => {
                parameters.insert(name, value.to_string().into());
            }
        }
    }
    if !parameters.is_empty() {
        attributes.fields.set(Field::ModelParameters, to_text(&parameters));
    }
    let input = if input.len() == 1 { input.into_values().next().unwrap_or_default() } else { input.into() };
    attributes.fields.set(Field::Input, to_text(&input));
    attributes
}

/// What a response says: the model that gave it, the output and the token usage.
pub(super) fn response(response: &(impl Serialize + ?Sized)) -> Attributes {
    let mut attributes = Attributes::default();
    let response = to_value(response);
    if let Some(model) = response["model"].as_str() {
        attributes.fields.set(Field::Model, model);
    }
    let usage = usage(response.get("usage").or_else(|| response.get("usageMetadata")));
    if !usage.is_empty() {
        attributes.fields.set(Field::UsageDetails, to_text(&usage));
    }
    attributes.fields.set(Field::Output, to_text(&output(response)));
    attributes
}

fn output(response: Value) -> Value {
    // Indexing for a change panics where there is no object.
    let Value::Object(mut response) = response else { return response };
    if let Some(Value::Array(choices)) = response.get_mut("choices") {
        let mut outputs = choices.iter_mut().map(|choice| {
            let said = ["message", "text"].into_iter().find(|name| choice.get(name).is_some());
            match said.and_then(|name| choice.get_mut(name)) {
                Some(said) => said.take(),
                None => choice.take(),
            }
        });
        return if outputs.len() == 1 { outputs.next().unwrap_or_default() } else { outputs.collect() };
    }
    // Of Anthropic's, which says who speaks beside what is said.
    if response.contains_key("role") && response.contains_key("content") {
        response.retain(|name, _| name == "role" || name == "content");
        return response.into();
    }
    let found =
        ["output", "candidates", "content", "text"].into_iter().find_map(|name| response.remove(name));
    found.unwrap_or_else(|| response.into())
}

/// Token counts by kind. Langfuse adds them up, so each token is counted once: what the details name is taken off the
/// whole.
fn usage(usage: Option<&Value>) -> Map<String, Value> {
    let mut counts = Map::new();
    let Some(usage) = usage.and_then(Value::as_object) else { return counts };
    for (side, names, details) in [
        (
            "input",
            ["input", "prompt_tokens", "input_tokens", "promptTokenCount"],
            ["prompt_tokens_details", "input_tokens_details"],
        ),
        (
            "output",
            ["output", "completion_tokens", "output_tokens", "candidatesTokenCount"],
            ["completion_tokens_details", "output_tokens_details"],
        ),
    ] {
        let Some(mut count) = names.iter().find_map(|name| usage.get(*name)?.as_u64()) else { continue };
        let details = details.iter().find_map(|name| usage.get(*name)?.as_object());
        for (name, detail) in details.into_iter().flatten() {
            if let Some(detail) = detail.as_u64().filter(|detail| *detail > 0) {
                count = count.saturating_sub(detail);
                counts.insert(format!("{side}_{name}"), detail.into());
            }
        }
        counts.insert(side.to_owned(), count.into());
    }
    // Anthropic counts these apart, and a user's own counts are what they are.
    const WHOLE: [&str; 9] = [
        "input",
        "output",
        "prompt_tokens",
        "completion_tokens",
        "input_tokens",
        "output_tokens",
        "total_tokens",
        "total",
        "promptTokenCount",
    ];
    let is_apart = |name: &str| !WHOLE.contains(&name) && !name.ends_with("TokenCount");
    for (name, count) in usage.iter().filter(|(name, count)| is_apart(name) && count.is_u64()) {
        counts.insert(name.clone(), count.clone());
    }
    counts
}

pub(super) fn to_value(value: &(impl Serialize + ?Sized)) -> Value {
    serde_json::to_value(value).unwrap_or_else(|_| "[not serializable]".into())
}
