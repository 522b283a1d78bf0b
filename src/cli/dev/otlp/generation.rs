//! Model, parameters, usage, cost and prompt of a row.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::attributes::Attributes;
use crate::dev::row::Generation;
use crate::dev::text::stored_text;

pub(super) const MODEL_KEYS: [&str; 7] = [
    "langfuse.observation.model.name",
    "gen_ai.response.model",
    "ai.model.id",
    "gen_ai.request.model",
    "llm.response.model",
    "llm.model_name",
    "model",
];

pub(super) fn read(attributes: &Attributes, kind: &str) -> Generation {
    let prompt = |keys: [&str; 2]| {
        keys.into_iter().find_map(|key| attributes.get(key)).filter(|_| kind == "GENERATION")
    };
    let mut generation = Generation {
        prompt_name: prompt(["langfuse.observation.prompt.name", "langfuse.prompt.name"])
            .and_then(Value::as_str)
            .map(str::to_owned),
        prompt_version: prompt(["langfuse.observation.prompt.version", "langfuse.prompt.version"])
            .and_then(Value::as_u64)
            .filter(|version| u16::try_from(*version).is_ok()),
        ..Generation::default()
    };
    // The calls inside an agent carry these themselves, so the server takes them off the agent.
    let agent = attributes.get("gen_ai.operation.name").and_then(Value::as_str);
    if matches!(agent, Some("invoke_agent" | "agent_step")) {
        return generation;
    }
    generation.provided_model_name = attributes.text(&MODEL_KEYS);
    generation.model_parameters = model_parameters(attributes);
    generation.usage_details = usage(attributes);
    generation.cost_details = cost(attributes);
    generation.total_cost = total_cost(&generation.cost_details);
    generation
}

fn model_parameters(attributes: &Attributes) -> Map<String, Value> {
    let object = |key: &&str| match attributes.json(key)? {
        Value::Object(map) => Some(map),
        _ => None,
    };
    let keys = ["langfuse.observation.model.parameters", "llm.invocation_parameters", "model_config"];
    let given = keys.iter().find_map(object).unwrap_or_else(|| {
        let request = attributes.0.iter().filter_map(|(key, value)| {
            let name = key.strip_prefix("gen_ai.request.").filter(|name| *name != "model")?;
            Some((name.to_owned(), value.clone()))
        });
        request.collect()
    });
    let plain = |value: Value| match value {
        Value::String(_) | Value::Number(_) => value,
        other => Value::String(other.to_string()),
    };
    given.into_iter().map(|(key, value)| (key, plain(value))).collect()
}

/// Disjoint buckets of tokens, with their total.
fn usage(attributes: &Attributes) -> BTreeMap<String, u64> {
    let mut usage = match attributes.get("langfuse.observation.usage_details") {
        None => gen_ai_usage(attributes),
        Some(Value::String(text)) => match serde_json::from_str(text) {
            Ok(Value::Object(given)) => openai_usage(&given).unwrap_or_else(|| counts(&given)),
            Ok(_) => BTreeMap::new(),
            Err(_) => gen_ai_usage(attributes),
        },
        Some(_) => BTreeMap::new(),
    };
    if !usage.is_empty() && !usage.contains_key("total") {
        let total = usage.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
        usage.insert("total".to_owned(), total);
    }
    usage
}

/// Non-negative whole numbers, also as text; the rest is dropped.
fn count(value: &Value) -> Option<u64> {
    let number = match value {
        Value::String(text) => text.parse().ok(),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number in range"
        )]
        other => other.as_u64().or_else(|| {
            other
                .as_f64()
                .filter(|number| number.fract() == 0.0 && (0.0..1e15).contains(number))
                .map(|n| n as u64)
        }),
    };
    number.filter(|number| *number < 1 << 53)
}

fn counts(given: &Map<String, Value>) -> BTreeMap<String, u64> {
    given.iter().filter_map(|(key, value)| Some((key.clone(), count(value)?))).collect()
}

/// The two shapes of OpenAI, which are taken only when nothing else is in them.
fn openai_usage(given: &Map<String, Value>) -> Option<BTreeMap<String, u64>> {
    let (input, output) = [("prompt_tokens", "completion_tokens"), ("input_tokens", "output_tokens")]
        .into_iter()
        .find(|(input, output)| given.contains_key(*input) && given.contains_key(*output))?;
    let mut usage = BTreeMap::new();
    let mut seen = 2;
    for (bucket, key) in [("input", input), ("output", output)] {
        let mut rest = count(given.get(key)?)?;
        let details_key = format!("{key}_details");
        if let Some(details) = given.get(&details_key) {
            seen += 1;
            for (detail, value) in details.as_object().into_iter().flatten() {
                let tokens = count(value)?;
                rest = rest.saturating_sub(tokens);
                usage.insert(format!("{bucket}_{detail}"), tokens);
            }
        }
        usage.insert(bucket.to_owned(), rest);
    }
    if let Some(total) = given.get("total_tokens") {
        seen += 1;
        usage.insert("total".to_owned(), count(total)?);
    }
    (seen == given.len()).then_some(usage)
}

fn gen_ai_usage(attributes: &Attributes) -> BTreeMap<String, u64> {
    let mut given = BTreeMap::new();
    for prefix in ["gen_ai.usage.", "llm.token_count."] {
        for (key, value) in &attributes.0 {
            if let (Some(name), Some(tokens)) = (key.strip_prefix(prefix), count(value)) {
                given.insert(name.to_owned(), tokens);
            }
        }
    }
    let mut usage = BTreeMap::new();
    let renamed = [
        ("input", ["prompt_tokens", "input_tokens", "prompt"]),
        ("output", ["completion_tokens", "output_tokens", "completion"]),
        (
            "input_cached_tokens",
            ["cache_read_input_tokens", "cache_read.input_tokens", "prompt_details.cache_read"],
        ),
        (
            "input_cache_creation",
            ["cache_creation_input_tokens", "cache_creation.input_tokens", "prompt_details.cache_write"],
        ),
        (
            "output_reasoning_tokens",
            ["reasoning_tokens", "reasoning.output_tokens", "completion_details.reasoning"],
        ),
        ("output_audio_tokens", ["audio_tokens", "audio.output_tokens", "completion_details.audio"]),
        ("total", ["total_tokens", "total", "total"]),
    ];
    for (bucket, names) in renamed {
        // All spellings are taken out, so that none passes through beside its bucket.
        let found: Vec<u64> = names.into_iter().filter_map(|name| given.remove(name)).collect();
        if let Some(tokens) = found.first() {
            usage.insert(bucket.to_owned(), *tokens);
        }
    }
    for (whole, parts) in [
        ("input", ["input_cached_tokens", "input_cache_creation"]),
        ("output", ["output_reasoning_tokens", "output_audio_tokens"]),
    ] {
        let inside: u64 = parts.iter().filter_map(|part| usage.get(*part)).sum();
        if let Some(tokens) = usage.get_mut(whole) {
            *tokens = tokens.saturating_sub(inside);
        }
    }
    given.remove("cost");
    usage.extend(given);
    usage
}

fn cost(attributes: &Attributes) -> BTreeMap<String, f64> {
    let valid = |value: &Value| value.as_f64().filter(|cost| cost.is_finite() && *cost >= 0.0);
    if let Some(Value::Object(given)) = attributes.json("langfuse.observation.cost_details") {
        return given.iter().filter_map(|(key, value)| Some((key.clone(), valid(value)?))).collect();
    }
    let total = ["gen_ai.usage.cost", "llm.cost.total"].into_iter().find_map(|key| {
        let value = attributes.get(key)?;
        valid(value)
            .or_else(|| stored_text(value).parse().ok().filter(|cost: &f64| cost.is_finite() && *cost >= 0.0))
    });
    total.map(|total| ("total".to_owned(), total)).into_iter().collect()
}

/// Given, or input plus output when there is nothing else.
fn total_cost(cost: &BTreeMap<String, f64>) -> Option<f64> {
    let only_both = cost.keys().all(|key| key == "input" || key == "output");
    cost.get("total").copied().or_else(|| (only_both && !cost.is_empty()).then(|| cost.values().sum()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn generation(pairs: Value) -> Generation {
        let Value::Object(map) = pairs else { panic!("an object") };
        read(&Attributes(map), "GENERATION")
    }

    fn usage_of(details: Value) -> Value {
        json!(generation(json!({ "langfuse.observation.usage_details": details })).usage_details)
    }

    #[test]
    fn the_total_is_computed_when_absent() {
        assert_eq!(
            usage_of(json!(r#"{"input":3,"output":"4"}"#)),
            json!({ "input": 3, "output": 4, "total": 7 })
        );
        assert_eq!(usage_of(json!(r#"{"input":3,"total":5}"#)), json!({ "input": 3, "total": 5 }));
        assert_eq!(usage_of(json!(r#"{"input":-1,"output":1.5}"#)), json!({}));
    }

    #[test]
    fn usage_that_is_no_text_of_an_object_is_empty() {
        assert_eq!(usage_of(json!(5)), json!({}));
        assert_eq!(usage_of(json!("[1]")), json!({}));
        let broken = json!({ "langfuse.observation.usage_details": "{", "gen_ai.usage.input_tokens": 2 });
        assert_eq!(json!(generation(broken).usage_details), json!({ "input": 2, "total": 2 }));
    }

    #[test]
    fn openai_shapes_are_translated_into_disjoint_buckets() {
        let given = r#"{"prompt_tokens":10,"completion_tokens":4,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":6}}"#;
        let expected = json!({ "input": 4, "input_cached_tokens": 6, "output": 4, "total": 14 });
        assert_eq!(usage_of(json!(given)), expected);
        let with_more = usage_of(json!(r#"{"prompt_tokens":1,"completion_tokens":1,"other":1}"#));
        assert_eq!(with_more, json!({ "completion_tokens": 1, "other": 1, "prompt_tokens": 1, "total": 3 }));
    }

    #[test]
    fn gen_ai_usage_is_made_disjoint() {
        let pairs = json!({
            "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5,
            "gen_ai.usage.cache_read_input_tokens": 4, "gen_ai.usage.cost": 0.5,
        });
        let read = generation(pairs);
        let expected = json!({ "input": 6, "input_cached_tokens": 4, "output": 5, "total": 15 });
        assert_eq!(json!(read.usage_details), expected);
        assert_eq!(read.total_cost, Some(0.5));
    }

    #[test]
    fn cost_totals_follow_the_server() {
        let total =
            |details: &str| generation(json!({ "langfuse.observation.cost_details": details })).total_cost;
        assert_eq!(total(r#"{"input":1,"output":2}"#), Some(3.0));
        assert_eq!(total(r#"{"input":1,"cached":2}"#), None);
        assert_eq!(total(r#"{"input":1,"total":9}"#), Some(9.0));
    }

    #[test]
    fn parameters_keep_text_and_numbers() {
        let read = generation(
            json!({ "langfuse.observation.model.parameters": r#"{"a":1,"b":"x","c":[1],"d":true}"# }),
        );
        assert_eq!(json!(read.model_parameters), json!({ "a": 1, "b": "x", "c": "[1]", "d": "true" }));
        let fallback = generation(json!({ "langfuse.observation.model.parameters": "{",
            "gen_ai.request.temperature": 0.5, "gen_ai.request.model": "m" }));
        assert_eq!(json!(fallback.model_parameters), json!({ "temperature": 0.5 }));
        assert_eq!(fallback.provided_model_name.as_deref(), Some("m"));
    }

    #[test]
    fn a_prompt_belongs_to_generations_and_its_version_is_a_number() {
        let pairs =
            json!({ "langfuse.observation.prompt.name": "p", "langfuse.observation.prompt.version": 3 });
        let Value::Object(map) = pairs else { panic!("an object") };
        let attributes = Attributes(map);
        let of = |kind| read(&attributes, kind);
        assert_eq!(
            (of("GENERATION").prompt_name.as_deref(), of("GENERATION").prompt_version),
            (Some("p"), Some(3))
        );
        assert_eq!(of("SPAN").prompt_name, None);
        assert_eq!(generation(json!({ "langfuse.observation.prompt.version": "3" })).prompt_version, None);
    }

    #[test]
    fn agents_have_no_usage_of_their_own() {
        let read = generation(
            json!({ "gen_ai.operation.name": "invoke_agent", "langfuse.observation.model.name": "m" }),
        );
        assert_eq!(read.provided_model_name, None);
    }
}
