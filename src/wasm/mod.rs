//! The driver for JavaScript hosts, in plain callbacks: every step of a flush runs in the request that called it.

#[cfg(feature = "js")]
pub mod client;
#[cfg(feature = "js")]
mod convert;
mod driver;
pub(crate) mod host;

use std::time::Duration;

pub(crate) use driver::Driver;

/// How long a flush may take unless told otherwise: Workers have 30 s after the response for everything.
pub(crate) const DEFAULT_FLUSH_BUDGET: Duration = Duration::from_secs(25);

/// Half the size of the standard one. Only the npm package has it: a Rust program chooses its own.
#[cfg(feature = "js")]
#[global_allocator]
static ALLOCATOR: rlsf::SmallGlobalTlsf = rlsf::SmallGlobalTlsf::new();
