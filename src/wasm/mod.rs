//! The driver for JavaScript hosts, in plain callbacks: every step of a flush runs in the request that called it.

#[cfg(feature = "js")]
pub mod client;
#[cfg(feature = "js")]
mod convert;
mod driver;
pub(crate) mod host;
#[cfg(feature = "js")]
mod said;
#[cfg(feature = "js")]
mod state;

use std::future::Future;
use std::time::Duration;

use wasm_bindgen::{JsCast, JsValue};

use crate::client::{Langfuse, end_orphans};
use crate::exporter::FlushSettings;
use crate::report::FlushReport;
#[cfg(not(feature = "js"))]
pub(crate) use crate::state::State;
pub(crate) use driver::Driver;
#[cfg(feature = "js")]
pub(crate) use state::State;

/// How long a flush may take unless told otherwise: Workers have 30 s after the response for everything.
pub(crate) const DEFAULT_FLUSH_BUDGET: Duration = Duration::from_secs(25);

/// Runs `future` among whatever else the host runs.
pub(crate) fn run_in_background(future: impl Future<Output = ()> + 'static) {
    wasm_bindgen_futures::spawn_local(future);
}

impl Langfuse {
    /// As [`flush_within`](Self::flush_within), begun at once and driven by callbacks: a promise of the report as a
    /// JavaScript object, which is what a Worker's `waitUntil` takes.
    pub fn flush_promise(&self, budget: Duration) -> js_sys::Promise {
        end_orphans();
        self.promise(budget.into(), &JsValue::UNDEFINED)
    }

    /// As [`shutdown`](Self::shutdown), begun at once and driven by callbacks.
    pub fn shutdown_promise(&self, budget: Duration) -> js_sys::Promise {
        end_orphans();
        self.promise(FlushSettings::last(budget), &JsValue::UNDEFINED)
    }

    pub(crate) fn promise(&self, settings: FlushSettings, overflow: &JsValue) -> js_sys::Promise {
        let promise = match self.flusher() {
            Some(driver) => driver.start_flush(settings, overflow),
            None => host::Promise::resolve(&host::report_object(&FlushReport::nothing_to_do())),
        };
        promise.unchecked_into()
    }
}

/// Half the size of the standard one. Only the npm package has it: a Rust program chooses its own.
#[cfg(feature = "js")]
#[global_allocator]
static ALLOCATOR: rlsf::SmallGlobalTlsf = rlsf::SmallGlobalTlsf::new();
