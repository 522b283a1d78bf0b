//! What an observation says, as the TypeScript layer hands it over when that ends: in one text, which crosses into wasm once.
//!
//! It begins with the trace id, the observation's id and that of the observation above it, zeros for none, in hex digits, and a
//! `1` when nothing of this process is above it, else a `0`. Behind it are entries: a letter, the length of a text in UTF-16 code
//! units, a colon, and the text. `pkg-templates/src/attributes.ts` writes it.

use std::sync::Arc;

use crate::id::{ObservationId, SpanContext, TraceId};
use crate::observation::{Attributes, Field, Level, ObservationData, ObservationKind, Text, TraceAttributes};
use crate::time::Timestamp;

/// The observation that a text of so many UTF-16 code units says; none when it is not of that form.
pub(super) fn observation(said: &str, units: usize, start: Timestamp) -> Option<ObservationData> {
    let mut rest = Rest { text: said, is_ascii: said.len() == units };
    let context = SpanContext {
        trace_id: TraceId::parse(rest.take(32)?).ok()?,
        observation_id: ObservationId::parse(rest.take(16)?).ok()?,
    };
    let parent = ObservationId::parse(rest.take(16)?).ok();
    let is_local_root = rest.take(1)? == "1";
    let mut kind = ObservationKind::Span;
    let mut name = String::new();
    let mut attributes = Attributes::default();
    let mut trace = TraceAttributes::default();
    let mut is_of_trace = false;
    let mut key = "";
    while let Some((letter, text)) = rest.entry() {
        let (fields, metadata) = if is_of_trace {
            (&mut trace.fields, &mut trace.metadata)
        } else {
            (&mut attributes.fields, &mut attributes.metadata)
        };
        match letter {
            b'|' => is_of_trace = true,
            b'n' => name = text.to_owned(),
            b'a' => kind = ObservationKind::named(text).unwrap_or_default(),
            b'k' => key = text,
            b'w' => metadata.set(key, Text::from(text)),
            b'T' => trace.tags.push(text.to_owned()),
            b'!' => attributes.complain(Level::Warning, text),
            letter => fields.set(field(letter)?, text),
        }
    }
    let trace = Arc::new(trace);
    Some(ObservationData { context, parent, is_local_root, kind, name, start, attributes, trace })
}

fn field(letter: u8) -> Option<Field> {
    Some(match letter {
        b'i' => Field::Input,
        b'o' => Field::Output,
        b'l' => Field::Level,
        b's' => Field::StatusMessage,
        b'v' => Field::Version,
        b'e' => Field::Environment,
        b'm' => Field::Model,
        b'h' => Field::ModelParameters,
        b'u' => Field::UsageDetails,
        b'c' => Field::CostDetails,
        b'f' => Field::CompletionStart,
        b'p' => Field::PromptName,
        b'q' => Field::PromptVersion,
        b't' => Field::TraceName,
        b'U' => Field::UserId,
        b'S' => Field::SessionId,
        b'r' => Field::Release,
        b'b' => Field::Public,
        _ => return None,
    })
}

/// What is still to be read.
struct Rest<'a> {
    text: &'a str,
    is_ascii: bool,
}

impl<'a> Rest<'a> {
    fn entry(&mut self) -> Option<(u8, &'a str)> {
        let [letter] = *self.take(1)?.as_bytes() else { return None };
        let mut units = 0;
        loop {
            match *self.take(1)?.as_bytes() {
                [b':'] => return Some((letter, self.take(units)?)),
                [digit] => units = units * 10 + usize::from(digit.wrapping_sub(b'0')),
                _ => return None,
            }
        }
    }

    /// The next so many UTF-16 code units.
    fn take(&mut self, units: usize) -> Option<&'a str> {
        let end = if self.is_ascii { units } else { bytes_of(self.text, units) };
        let (taken, rest) = self.text.split_at_checked(end)?;
        self.text = rest;
        Some(taken)
    }
}

/// How many bytes so many UTF-16 code units of a text have.
fn bytes_of(text: &str, mut units: usize) -> usize {
    let mut bytes = 0;
    for byte in text.bytes() {
        // The first byte of a character: of four, it is two units.
        if byte & 0xc0 != 0x80 {
            if units == 0 {
                break;
            }
            units = units.saturating_sub(1 + usize::from(byte >= 0xf0));
        }
        bytes += 1;
    }
    bytes
}
