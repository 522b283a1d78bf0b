//! Reads what a 207 says.

use serde_json::Value;

use crate::retry::Verdict;

/// The verdicts in the body of a 207 of the ingestion endpoint: `{"successes": […], "errors": […]}`, each entry with `id`
/// and `status`, an error also with `error` or at least `message`. What is not of this form says nothing.
#[must_use]
pub fn parse_verdicts(body: &str) -> Vec<Verdict> {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let entries = ["successes", "errors"].into_iter().filter_map(|list| body[list].as_array()).flatten();
    entries.filter_map(verdict).collect()
}

fn verdict(entry: &Value) -> Option<Verdict> {
    Some(Verdict {
        id: entry["id"].as_str()?.to_owned(),
        status: u16::try_from(entry["status"].as_u64()?).ok()?,
        message: entry["error"].as_str().or_else(|| entry["message"].as_str()).unwrap_or_default().to_owned(),
    })
}
