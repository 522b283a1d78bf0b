//! Any `Retry-After` is a pause of at most ten minutes, or none.

#![no_main]

use std::time::Duration;

use langfuse_edge::retry::{Decision, Outcome, classify, parse_retry_after};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &str, Option<u32>)| {
    let (status, value, far_off) = input;
    let far_off = far_off.map(|seconds| Duration::from_secs(seconds.into()));
    let parsed = parse_retry_after(value, |_| far_off);
    assert!(parsed.is_none_or(|after| after <= Duration::from_secs(600)));
    let trimmed = value.trim_ascii();
    let is_number = !trimmed.is_empty() && trimmed.bytes().all(|byte| byte.is_ascii_digit());
    assert_eq!(parsed.is_some(), is_number || far_off.is_some());

    let outcome =
        Outcome::Response { status, retry_after: parsed, message: String::new(), verdicts: Vec::new() };
    if let Decision::Retry { after } = classify(&outcome) {
        assert_eq!(after, parsed);
    }
});
