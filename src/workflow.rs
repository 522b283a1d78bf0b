//! Workflows that flush: [`run_workflow_with_flush`] at the end, [`step`] after each step.

use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::observability::{active_langfuse, flush_langfuse, langfuse};

/// Something that runs with an input. Every `async` function of one argument is one.
pub trait Workflow<Input> {
    /// What a run gives.
    type Output;

    /// Runs once.
    fn run(&self, input: Input) -> impl Future<Output = Self::Output>;
}

impl<Function, Input, Run> Workflow<Input> for Function
where
    Function: Fn(Input) -> Run,
    Run: Future,
{
    type Output = Run::Output;

    fn run(&self, input: Input) -> impl Future<Output = Run::Output> {
        self(input)
    }
}

/// Runs a workflow and then flushes, also when it panics; gives what the workflow gave.
///
/// When the returned future is dropped before its end, the flush goes on in the background.
pub async fn run_workflow_with_flush<W, Input>(workflow: &W, input: Input) -> W::Output
where
    W: Workflow<Input> + ?Sized,
{
    let cancelled = FlushWhenCancelled;
    let mut run = pin!(workflow.run(input));
    // The panic goes on after the flush, so nobody sees what it left half done.
    let output = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await;
    std::mem::forget(cancelled);
    flush_langfuse().await;
    output.unwrap_or_else(|panic| resume_unwind(panic))
}

struct FlushWhenCancelled;

impl Drop for FlushWhenCancelled {
    fn drop(&mut self) {
        langfuse().flush_in_background();
    }
}

/// How long a step waits for its flush; what is left then goes with the next one.
pub(crate) const STEP_FLUSH_BUDGET: Duration = Duration::from_secs(1);

/// Runs `future` as an observation of the client that is current, else of the process-wide one, and flushes when it has ended, so that a trace can be
/// watched step by step. Steps and observations inside it become its children.
///
/// # Errors
/// Those of `future`, unchanged; the observation then has level ERROR.
pub async fn step<T, E: Display>(
    name: impl Into<String>,
    future: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let langfuse = active_langfuse();
    let observation = langfuse.observe(name).start();
    let result = observation.scope(future).await;
    if let Err(error) = &result {
        observation.error(error);
    }
    observation.end();
    langfuse.flush_within(STEP_FLUSH_BUDGET).await;
    result
}
