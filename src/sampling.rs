//! Which traces are kept: a rule that depends on the trace id alone, so that every process decides alike.

use crate::id::TraceId;

/// The share of traces that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// A trace is kept when the last 64 bits of its id are below this; `None` keeps all.
    threshold: Option<u64>,
}

/// One, in the unit of [`Sampling::from_billionths`].
pub(crate) const BILLION: u64 = 1_000_000_000;

impl Sampling {
    /// Keeps this many of a billion traces.
    #[must_use]
    pub fn from_billionths(kept: u64) -> Self {
        // kept · 2^64 / 10^9, rounded, 32 bits at a time.
        let threshold = (kept < BILLION).then(|| {
            let (high, rest) = ((kept << 32) / BILLION, (kept << 32) % BILLION);
            let low = ((rest << 32) + BILLION / 2) / BILLION;
            (high << 32) + low
        });
        Self { threshold }
    }

    /// Whether the trace is kept: the rule of Langfuse's Python client, `id mod 2^64 < round(rate · 2^64)`.
    #[must_use]
    pub fn keeps(self, trace_id: TraceId) -> bool {
        let [.., a, b, c, d, e, f, g, h] = *trace_id.as_bytes();
        self.threshold.is_none_or(|threshold| u64::from_be_bytes([a, b, c, d, e, f, g, h]) < threshold)
    }
}
