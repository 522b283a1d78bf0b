//! The bytes themselves, so that every target is known to write the same ones.

use std::fmt::Write as _;
use std::sync::Arc;

use langfuse_edge::observation::{Field, ObservationKind, TraceAttributes};
use langfuse_edge::wire::encode;
use wasm_bindgen_test::wasm_bindgen_test;

use crate::body::spans;
use crate::host::{Host, status};
use crate::records::{END, observation, observation_id};

/// A span in hex, a field to a line.
const SPAN: [&str; 17] = [
    "0a10abababababababababababababababab",
    "12080102030405060708",
    "22080000000000000001",
    "2a0361736b",
    "3001",
    "39c0d47e3dfe9c9717",
    "4100ccf28cfe9c9717",
    "4a290a196c616e67667573652e6f62736572766174696f6e2e74797065120c0a0a67656e65726174696f6e",
    "4a230a1d6c616e67667573652e696e7465726e616c2e69735f6170705f726f6f7412021001",
    "4a1e0a146c616e67667573652e656e7669726f6e6d656e7412060a0474657374",
    "4a180a106c616e67667573652e72656c6561736512040a027631",
    "4a2b0a1f6c616e67667573652e6f62736572766174696f6e2e6d6f64656c2e6e616d6512080a066770742d346f",
    "4a2a0a236c616e67667573652e6f62736572766174696f6e2e70726f6d70742e76657273696f6e120318ac02",
    "4a0f0a07757365722e696412040a027531",
    "4a230a136c616e67667573652e74726163652e74616773120c2a0a0a030a01610a030a0162",
    "4a260a1f6c616e67667573652e6f62736572766174696f6e2e6d657461646174612e6e12030a0131",
    "4a260a1a6c616e67667573652e6f62736572766174696f6e2e696e70757412080a06486920e282ac",
];

/// What stands before the span, with the crate's version between the two.
const RESOURCE: &str = "0a210a1f0a0c736572766963652e6e616d65120f0a0d6c616e67667573652d65646765";
const SCOPE_NAME: &str = "0a116c616e67667573652d73646b2d65646765";

#[wasm_bindgen_test(unsupported = test)]
fn an_observation_is_these_bytes() {
    let body = body();
    let [span] = spans(&body)[..] else { panic!("one span") };
    assert_eq!(to_hex(span.bytes), SPAN.concat());
}

#[wasm_bindgen_test(unsupported = test)]
fn a_request_is_these_bytes() {
    let version = field(2, &to_hex(env!("CARGO_PKG_VERSION").as_bytes()));
    let scope = field(1, &format!("{SCOPE_NAME}{version}"));
    let scope_spans = field(2, &format!("{scope}{}", field(2, &SPAN.concat())));
    let request = field(1, &format!("{RESOURCE}{scope_spans}"));
    assert_eq!(to_hex(&body()), request);
}

fn body() -> Vec<u8> {
    let mut observation = observation(0x0102_0304_0506_0708);
    observation.parent = Some(observation_id(1));
    observation.is_local_root = true;
    observation.kind = ObservationKind::Generation;
    observation.name = "ask".to_owned();
    observation.attributes.fields.set(Field::Model, "gpt-4o");
    observation.attributes.fields.set(Field::PromptVersion, "300");
    observation.attributes.fields.set(Field::Input, "Hi €");
    observation.attributes.metadata.set("n", "1".into());
    let mut trace = TraceAttributes::default();
    trace.fields.set(Field::UserId, "u1");
    trace.tags = vec!["a".to_owned(), "b".to_owned()];
    observation.trace = Arc::new(trace);
    let mut host = Host::new(|_| status(200));
    host.push(encode(observation, END, Some("test"), Some("v1")));
    assert!(host.flush().ok);
    host.requests.remove(0).body
}

/// A length-delimited field of less than 16 384 bytes, in hex.
fn field(number: u8, content: &str) -> String {
    let len = content.len() / 2;
    let len =
        if len < 0x80 { format!("{len:02x}") } else { format!("{:02x}{:02x}", len & 0x7f | 0x80, len >> 7) };
    format!("{:02x}{len}{content}", number << 3 | 2)
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a string cannot fail");
        hex
    })
}
