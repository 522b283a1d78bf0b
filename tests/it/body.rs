//! Reads request bodies by hand, because the library that knows OTLP does not build for wasm. `encoding.rs` reads
//! them with that library.

/// A span of a request's body.
#[derive(Clone, Copy)]
pub(crate) struct Span<'a> {
    pub(crate) id: u64,
    pub(crate) bytes: &'a [u8],
}

impl Span<'_> {
    pub(crate) fn contains(&self, text: &str) -> bool {
        self.bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

/// The spans of an `ExportTraceServiceRequest`.
pub(crate) fn spans(body: &[u8]) -> Vec<Span<'_>> {
    let spans = fields(body, 1).flat_map(|resource| fields(resource, 2)).flat_map(|scope| fields(scope, 2));
    spans.map(|bytes| Span { id: span_id(bytes), bytes }).collect()
}

fn span_id(span: &[u8]) -> u64 {
    let id = fields(span, 2).next().expect("a span has an id");
    u64::from_be_bytes(id.try_into().expect("a span id has 8 bytes"))
}

/// The length-delimited fields of a message that have this number.
fn fields(message: &[u8], wanted: u64) -> impl Iterator<Item = &[u8]> {
    let mut rest = message;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let tag = varint(&mut rest);
            let len = match tag & 7 {
                0 => {
                    varint(&mut rest);
                    continue;
                }
                1 => 8,
                2 => usize::try_from(varint(&mut rest)).expect("a length fits"),
                other => panic!("wire type {other} is not one this crate writes"),
            };
            let value = rest.split_off(..len).expect("a field ends within its message");
            if tag == wanted << 3 | 2 {
                return Some(value);
            }
        }
        None
    })
}

fn varint(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *rest.split_off_first().expect("a number ends within its message");
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}
