//! Observations around functions: current while the function runs, ended when its result is complete.

use std::fmt::Display;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{self, Poll, ready};

use pin_project_lite::pin_project;

use crate::context::Context;
use crate::observation::Level;
use crate::platform::host;
use crate::recording::{Observation, ObservationBuilder, ObservationHandle};

/// These start the observation, make it the current one, and end it when the result is there. A future that is dropped
/// before gives it level WARNING, and a panic level ERROR.
impl ObservationBuilder {
    /// Runs `future` as this observation, from when it is first polled.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let langfuse = langfuse_edge::Langfuse::disabled();
    /// let answer = langfuse.observe("request").run(async { "42" }).await;
    /// # assert_eq!(answer, "42");
    /// # }
    /// ```
    pub fn run<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        run(self, future, |_, _| ())
    }

    /// As [`run`](Self::run); an error gives the observation level ERROR with the error as the status message.
    ///
    /// # Errors
    /// Those of `future`, unchanged.
    pub fn try_run<T, E: Display>(
        self,
        future: impl Future<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, E>> {
        run(self, future, note_error)
    }

    /// Calls `work`, which is not async, as this observation.
    pub fn call<T>(self, work: impl FnOnce() -> T) -> T {
        call(self, work, |_, _| ())
    }

    /// As [`call`](Self::call); an error gives the observation level ERROR with the error as the status message.
    ///
    /// # Errors
    /// Those of `work`, unchanged.
    pub fn try_call<T, E: Display>(self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        call(self, work, note_error)
    }
}

/// Runs `future` as an observation, of which `note` says what it thinks of the result.
pub(crate) fn run<F: Future>(
    builder: ObservationBuilder,
    future: F,
    note: impl FnOnce(&ObservationHandle, &F::Output),
) -> impl Future<Output = F::Output> {
    Run { future, running: None, context: Context::default(), builder: Some(builder), note: Some(note) }
}

pin_project! {
    /// Not an async function: in one a future that it is given has two places, and is twice as large with each that is around it.
    struct Run<F, Note> {
        // Dropped before the observation ends.
        #[pin]
        future: F,
        running: Option<Running>,
        context: Context,
        builder: Option<ObservationBuilder>,
        note: Option<Note>,
    }
}

impl<F, Note> Future for Run<F, Note>
where
    F: Future,
    Note: FnOnce(&ObservationHandle, &F::Output),
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if let Some(builder) = this.builder.take() {
            let running = this.running.insert(Running::start(builder));
            *this.context = Context::current().with_observation((**running).clone());
        }
        let output = {
            let _restore = this.context.enter();
            ready!(this.future.poll(cx))
        };
        if let (Some(running), Some(note)) = (this.running.take(), this.note.take()) {
            note(&running, &output);
            running.complete();
        }
        Poll::Ready(output)
    }
}
/// As [`run`], for a function that is not async.
pub(crate) fn call<T>(
    builder: ObservationBuilder,
    work: impl FnOnce() -> T,
    note: impl FnOnce(&ObservationHandle, &T),
) -> T {
    let running = Running::start(builder);
    let output = running.in_scope(work);
    note(&running, &output);
    running.complete();
    output
}

fn note_error<T, E: Display>(observation: &ObservationHandle, result: &Result<T, E>) {
    if let Err(error) = result {
        observation.error(error);
    }
}

const DROPPED: &str = "dropped before it was complete";

/// An observation of something that is under way: dropped before it is complete, it ends with level WARNING.
#[derive(Debug)]
pub(crate) struct Running {
    observation: Observation,
    is_complete: bool,
}

impl Running {
    pub(crate) fn start(builder: ObservationBuilder) -> Self {
        Self { observation: builder.start(), is_complete: false }
    }

    /// Ends it.
    pub(crate) fn complete(mut self) {
        self.is_complete = true;
    }
}

impl Deref for Running {
    type Target = ObservationHandle;

    fn deref(&self) -> &ObservationHandle {
        &self.observation
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_complete && !host::is_panicking() {
            self.complain(Level::Warning, DROPPED);
        }
    }
}
