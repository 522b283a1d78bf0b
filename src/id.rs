//! Trace and observation ids: newtypes over bytes the caller brings, so that no entropy is read here.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::error::Error;

/// A trace id: 16 bytes, not all zero (W3C Trace Context §3.2.2.3), shown as 32 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId([u8; 16]);

/// An observation id: 8 bytes, not all zero (W3C Trace Context §3.2.2.4), shown as 16 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObservationId([u8; 8]);

/// The place of an observation in its trace: what a child, a score or another service needs to refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanContext {
    /// The trace the observation belongs to.
    pub trace_id: TraceId,
    /// The observation itself.
    pub observation_id: ObservationId,
}

impl SpanContext {
    /// Reads a `traceparent` header (W3C Trace Context §3.2): the place below which this process continues.
    ///
    /// # Errors
    /// [`Error::is_invalid_id`] when it is none, or of version `ff`, which ends all agreement.
    pub fn from_traceparent(header: &str) -> Result<Self, Error> {
        let parts = || {
            let (version, rest) = header.trim().split_once('-')?;
            let (trace_id, rest) = rest.split_once('-')?;
            let (observation_id, rest) = rest.split_once('-')?;
            // Later versions may have more to say behind the flags.
            let flags = rest.split('-').next()?;
            let is_pair = |text: &str| text.len() == 2 && is_lower_hex(text);
            (is_pair(version) && version != "ff" && is_pair(flags)).then_some(())?;
            (is_lower_hex(trace_id) && is_lower_hex(observation_id)).then_some(())?;
            let trace_id = TraceId::parse(trace_id).ok()?;
            Some(Self { trace_id, observation_id: ObservationId::parse(observation_id).ok()? })
        };
        parts().ok_or_else(|| {
            Error::invalid_id(
                "a traceparent is 00-<32 hex digits>-<16 hex digits>-<2 hex digits>, in lower case",
            )
        })
    }

    /// The `traceparent` header that makes another service continue below this observation.
    #[must_use]
    pub fn to_traceparent(&self) -> String {
        ["00-", &self.trace_id.to_hex(), "-", &self.observation_id.to_hex(), "-01"].concat()
    }
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl TraceId {
    /// The id that belongs to a text, such as a request's id in another system: the beginning of its SHA-256, so that the
    /// same text gives the same trace in every Langfuse client.
    #[must_use]
    pub fn from_seed(seed: &str) -> Self {
        let mut bytes = [0; 16];
        for (byte, digest) in bytes.iter_mut().zip(Sha256::digest(seed)) {
            *byte = digest;
        }
        Self::from_random(bytes)
    }
}

macro_rules! id {
    ($name:ident, $bytes:literal, $what:literal) => {
        impl $name {
            /// The id made of these bytes; `None` when all of them are zero.
            #[must_use]
            pub fn from_bytes(bytes: [u8; $bytes]) -> Option<Self> {
                (bytes != [0; $bytes]).then_some(Self(bytes))
            }

            /// An id from random bytes. All zeros is not an id, and becomes one that ends in 1.
            #[must_use]
            pub fn from_random(mut bytes: [u8; $bytes]) -> Self {
                if bytes == [0; $bytes] {
                    bytes[$bytes - 1] = 1;
                }
                Self(bytes)
            }

            /// Reads hex digits of either case.
            ///
            /// # Errors
            /// [`Error::is_invalid_id`] when the length, a digit or the value is not allowed.
            pub fn parse(text: &str) -> Result<Self, Error> {
                let mut bytes = [0; $bytes];
                if decode_hex(text.as_bytes(), &mut bytes) {
                    if let Some(id) = Self::from_bytes(bytes) {
                        return Ok(id);
                    }
                }
                Err(Error::invalid_id(concat!($what, " hex digits, not all zero")))
            }

            /// The bytes of the id.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }

            /// The id as lower-case hex digits.
            #[must_use]
            pub fn to_hex(&self) -> String {
                encode_hex(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }
    };
}

id!(TraceId, 16, "a trace id is 32");
id!(ObservationId, 8, "an observation id is 16");

pub(crate) fn encode_hex(bytes: &[u8]) -> String {
    // A `char` would bring its whole encoding to UTF-8 with it.
    const DIGITS: [&str; 16] =
        ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b", "c", "d", "e", "f"];
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        hex.push_str(DIGITS[usize::from(byte >> 4)]);
        hex.push_str(DIGITS[usize::from(byte & 0xf)]);
    }
    hex
}

fn decode_hex(text: &[u8], bytes: &mut [u8]) -> bool {
    let mut digits = text.iter();
    for byte in bytes {
        for _ in 0..2 {
            let value = match digits.next() {
                Some(digit @ b'0'..=b'9') => digit - b'0',
                Some(digit @ (b'a'..=b'f' | b'A'..=b'F')) => (digit & 0xf) + 9,
                _ => return false,
            };
            *byte = *byte << 4 | value;
        }
    }
    digits.next().is_none()
}
