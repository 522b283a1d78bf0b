//! Whatever a 207 says, it is read as it stands: nothing is made up, and of a well-formed one nothing is missed.

#![no_main]

use arbitrary::Arbitrary;
use langfuse_edge::parse_verdicts;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// What may be anything.
    body: &'a str,
    /// Ids and statuses of entries that may be anything.
    odd: Vec<(Any<'a>, Any<'a>)>,
    successes: Vec<(&'a str, u16)>,
    errors: Vec<(&'a str, u16, Option<&'a str>, Option<&'a str>)>,
}

#[derive(Arbitrary, Debug)]
enum Any<'a> {
    Nothing,
    Bool(bool),
    Whole(i64),
    Number(f64),
    Text(&'a str),
    List,
}

impl Any<'_> {
    fn json(&self) -> Value {
        match self {
            Self::Nothing => Value::Null,
            Self::Bool(value) => json!(value),
            Self::Whole(value) => json!(value),
            Self::Number(value) => json!(value),
            Self::Text(value) => json!(value),
            Self::List => json!([]),
        }
    }
}

fuzz_target!(|input: Input<'_>| {
    let Input { body, odd, successes, errors } = input;
    check_anything(body);
    let odd: Vec<_> =
        odd.iter().map(|(id, status)| json!({ "id": id.json(), "status": status.json() })).collect();
    check_anything(&json!({ "errors": odd, "successes": body }).to_string());
    check_anything(&json!({ "successes": odd, "other": odd }).to_string());

    // As Langfuse writes it.
    let successes: Vec<_> =
        successes.iter().map(|(id, status)| json!({ "id": id, "status": status })).collect();
    let refused: Vec<_> = errors
        .iter()
        .map(|(id, status, message, error)| json!({ "id": id, "status": status, "message": message, "error": error }))
        .collect();
    let well_formed = json!({ "successes": successes, "errors": refused }).to_string();
    let verdicts = parse_verdicts(&well_formed);
    assert_eq!(verdicts.len(), successes.len() + refused.len());
    for (verdict, entry) in verdicts.iter().zip(successes.iter().chain(&refused)) {
        assert_eq!((verdict.id.as_str(), u64::from(verdict.status)), said(entry).expect("it is well-formed"));
    }
    for (verdict, (_, _, message, error)) in verdicts[successes.len()..].iter().zip(&errors) {
        let words: Vec<_> = [message, error].into_iter().flatten().copied().collect();
        assert_eq!(verdict.message, words.join(": "));
    }
    // Cut short, it is not JSON any more.
    let cut = well_formed.char_indices().nth(body.len() % well_formed.len()).map_or(0, |(at, _)| at);
    assert_eq!(parse_verdicts(&well_formed[..cut]), []);
});

/// No verdict is made up.
fn check_anything(body: &str) {
    let verdicts = parse_verdicts(body);
    let parsed: Value = serde_json::from_str(body).unwrap_or_default();
    let entries =
        ["successes", "errors"].into_iter().filter_map(|list| parsed.get(list)?.as_array()).flatten();
    let entries: Vec<_> =
        entries.filter_map(said).filter(|(_, status)| *status <= u64::from(u16::MAX)).collect();
    let read: Vec<_> =
        verdicts.iter().map(|verdict| (verdict.id.as_str(), u64::from(verdict.status))).collect();
    assert_eq!(read, entries);
}

fn said(entry: &Value) -> Option<(&str, u64)> {
    Some((entry.get("id")?.as_str()?, entry.get("status")?.as_u64()?))
}
