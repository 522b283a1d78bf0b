use langfuse_edge::Timestamp;
use wasm_bindgen_test::wasm_bindgen_test;

#[wasm_bindgen_test(unsupported = test)]
fn a_time_reads_as_langfuse_expects_it() {
    assert_eq!(Timestamp::from_millis(1_700_000_000_123).to_iso8601(), "2023-11-14T22:13:20.123Z");
    assert_eq!(Timestamp::from_millis(951_782_400_000).to_iso8601(), "2000-02-29T00:00:00.000Z");
}
