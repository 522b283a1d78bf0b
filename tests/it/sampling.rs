use langfuse_edge::TraceId;
use langfuse_edge::config::{Options, Setting, Setup};
use langfuse_edge::sampling::Sampling;
use wasm_bindgen_test::wasm_bindgen_test;

/// Computed with Python: `int(id, 16) % 2**64 < round(rate * 2**64)`.
const KEPT_AT: [(&str, &str, bool); 6] = [
    ("0.25", "ffffffffffffffff3fffffffffffffff", true),
    ("0.25", "00000000000000004000000000000000", false),
    ("0.5", "00000000000000017fffffffffffffff", true),
    ("0.5", "00000000000000008000000000000000", false),
    ("0.9", "0000000000000001e666666666666000", true),
    ("0.9", "0000000000000001e666666666667000", false),
];

#[wasm_bindgen_test(unsupported = test)]
fn the_last_64_bits_of_the_trace_id_decide_as_in_langfuses_python_client() {
    for (rate, id, is_kept) in KEPT_AT {
        assert_eq!(sampling(rate).keeps(TraceId::parse(id).expect("an id")), is_kept, "{rate} {id}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn one_keeps_every_trace_and_zero_none() {
    for id in ["00000000000000010000000000000000", "ffffffffffffffffffffffffffffffff"] {
        let id = TraceId::parse(id).expect("an id");
        assert!(sampling("1").keeps(id) && sampling("1.0").keeps(id) && !sampling("0").keeps(id));
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_rate_that_is_none_is_an_error_that_names_the_option() {
    for rate in ["1.1", "-0.1", "half", "1e-3", "2"] {
        let error = options(rate).parse().expect_err("no rate").to_string();
        assert!(error.contains("sampleRate (LANGFUSE_SAMPLE_RATE)"), "{rate}: {error}");
    }
}

fn sampling(rate: &str) -> Sampling {
    match options(rate).parse() {
        Ok(Setup::Enabled(config)) => config.sampling(),
        other => panic!("{rate} is a rate: {other:?}"),
    }
}

fn options(rate: &str) -> Options {
    Options::default().keys("pk", "sk").with(Setting::SampleRate, rate)
}
