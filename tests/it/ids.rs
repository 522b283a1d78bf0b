use langfuse_edge::{ObservationId, SpanContext, TraceId};
use wasm_bindgen_test::wasm_bindgen_test;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const OBSERVATION: &str = "b7ad6b7169203331";

#[wasm_bindgen_test(unsupported = test)]
fn an_id_reads_as_it_was_written() {
    let trace = TraceId::parse(TRACE).unwrap();
    assert_eq!((trace.to_hex().as_str(), trace.to_string().as_str()), (TRACE, TRACE));
    assert_eq!(trace.as_bytes()[..4], [0x0a, 0xf7, 0x65, 0x19]);
    assert_eq!(TraceId::from_bytes(*trace.as_bytes()), Some(trace));
    let observation = ObservationId::parse(OBSERVATION).unwrap();
    assert_eq!(observation.to_hex(), OBSERVATION);
    assert_eq!(observation.as_bytes(), &[0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31]);
}

#[wasm_bindgen_test(unsupported = test)]
fn upper_case_is_read_and_becomes_lower_case() {
    assert_eq!(TraceId::parse(&TRACE.to_ascii_uppercase()).unwrap().to_hex(), TRACE);
    assert_eq!(ObservationId::parse("B7AD6b7169203331").unwrap().to_hex(), OBSERVATION);
}

#[wasm_bindgen_test(unsupported = test)]
fn what_is_no_id_is_an_error_that_does_not_repeat_it() {
    let zeros = "0".repeat(32);
    let long = "a".repeat(33);
    let multibyte = "ä".repeat(16);
    for text in [
        "",
        "abc",
        &TRACE[1..],
        &long,
        &zeros,
        &multibyte,
        "0af7651916cd43dd8448eb211c80319g",
        " af7651916cd43dd8448eb211c80319c",
        "0xf7651916cd43dd8448eb211c80319c",
    ] {
        let error = TraceId::parse(text).unwrap_err();
        assert!(error.is_invalid_id() && !error.is_configuration(), "{text:?}");
        assert_eq!(error.to_string(), "a trace id is 32 hex digits, not all zero");
    }
    for text in ["", TRACE, "0000000000000000", "b7ad6b716920333", "b7ad6b716920333é"] {
        let error = ObservationId::parse(text).unwrap_err();
        assert!(error.is_invalid_id(), "{text:?}");
        assert_eq!(error.to_string(), "an observation id is 16 hex digits, not all zero");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn no_id_is_all_zero() {
    assert_eq!(TraceId::from_bytes([0; 16]), None);
    assert_eq!(ObservationId::from_bytes([0; 8]), None);
    assert_eq!(TraceId::from_random([0; 16]).to_hex(), "00000000000000000000000000000001");
    assert_eq!(ObservationId::from_random([0; 8]).to_hex(), "0000000000000001");
    assert_eq!(ObservationId::from_random([7; 8]).as_bytes(), &[7; 8]);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_trace_id_made_of_a_text_is_the_beginning_of_its_sha_256() {
    for (seed, digest) in [
        ("", "e3b0c44298fc1c149afbf4c8996fb924"),
        ("abc", "ba7816bf8f01cfea414140de5dae2223"),
        ("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "248d6a61d20638b8e5c026930c3e6039"),
        (&"a".repeat(1_000_000), "cdc76e5c9914fb9281a1c7e284d73e67"),
        (&"x".repeat(56), "04c26261370ee7541549d16dee320c72"),
        (&"x".repeat(55), "d5e285683cd4efc02d021a5c62014694"),
    ] {
        assert_eq!(TraceId::from_seed(seed).to_hex(), digest, "{} bytes", seed.len());
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_traceparent_reads_as_it_was_written() {
    let header = format!("00-{TRACE}-{OBSERVATION}-01");
    let context = SpanContext::from_traceparent(&header).unwrap();
    assert_eq!(
        (context.trace_id.to_hex().as_str(), context.observation_id.to_hex().as_str()),
        (TRACE, OBSERVATION)
    );
    assert_eq!(context.to_traceparent(), header);
    for readable in [format!(" {header} "), format!("01-{TRACE}-{OBSERVATION}-00-more-of-it")] {
        assert_eq!(SpanContext::from_traceparent(&readable).unwrap(), context);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn what_is_no_traceparent_is_an_error() {
    let zeros = "0".repeat(32);
    for header in [
        "",
        "-",
        "00",
        TRACE,
        &format!("00-{TRACE}-{OBSERVATION}"),
        &format!("00-{TRACE}-{OBSERVATION}-"),
        &format!("00-{TRACE}-{OBSERVATION}-1"),
        &format!("ff-{TRACE}-{OBSERVATION}-01"),
        &format!("0-{TRACE}-{OBSERVATION}-01"),
        &format!("00-{zeros}-{OBSERVATION}-01"),
        &format!("00-{TRACE}-0000000000000000-01"),
        &format!("00-{}-{OBSERVATION}-01", TRACE.to_ascii_uppercase()),
        &format!("00-{TRACE}-{OBSERVATION}-0g"),
        &format!("00-{}é-{OBSERVATION}-01", &TRACE[..30]),
    ] {
        let error = SpanContext::from_traceparent(header).unwrap_err();
        assert!(error.is_invalid_id() && error.to_string().contains("traceparent"), "{header}: {error}");
    }
}
