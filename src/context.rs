//! Which observation is the current one.
//!
//! It follows a future through every poll, on whatever thread that happens, and needs no runtime.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::id::SpanContext;
use crate::observation::TraceAttributes;
use crate::time::Timestamp;

/// What a child takes from the observation above it.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    pub(crate) context: SpanContext,
    pub(crate) trace: Arc<TraceAttributes>,
    /// When it began, by this process's clock.
    pub(crate) start: Timestamp,
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// The current observation of the code that asks.
pub(crate) fn current() -> Option<Current> {
    CURRENT.with_borrow(Clone::clone)
}

/// Makes another one current on this thread, and gives the former.
#[cfg(feature = "tracing")]
pub(crate) fn replace(current: Option<Current>) -> Option<Current> {
    CURRENT.replace(current)
}

/// Runs `future` with `current` as its current observation.
pub(crate) fn within<F: Future>(current: Current, future: F) -> Within<F> {
    Within { current, future }
}

pin_project! {
    /// See [`within`].
    pub(crate) struct Within<F> {
        current: Current,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Within<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _restore = Restore(CURRENT.replace(Some(this.current.clone())));
        this.future.poll(cx)
    }
}

/// Puts the former current observation back, also when the future panics.
struct Restore(Option<Current>);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}
