//! The few forms of the protobuf wire format that OTLP traces need
//! (<https://protobuf.dev/programming-guides/encoding/>). Lengths are computed before anything is written,
//! so nothing is moved or written twice.

pub(crate) const fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// The length of a length-delimited field with a one-byte tag (field numbers up to 15).
pub(crate) const fn field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The tag and length of a length-delimited field, whose `len` bytes follow.
pub(crate) fn begin(out: &mut Vec<u8>, field: u8, len: usize) {
    out.push(field << 3 | 2);
    varint(out, len as u64);
}

pub(crate) fn bytes(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    begin(out, field, value.len());
    out.extend_from_slice(value);
}

pub(crate) fn fixed64(out: &mut Vec<u8>, field: u8, value: u64) {
    out.push(field << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn uint(out: &mut Vec<u8>, field: u8, value: u64) {
    out.push(field << 3);
    varint(out, value);
}
