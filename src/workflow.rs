//! Workflows that flush: [`run_workflow_with_flush`] at the end, [`step`] after each step.

use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::client::Langfuse;
use crate::observability::flush::{flush_in_background, flush_langfuse};
use crate::panics::caught;
use crate::process_wide::observe;
use crate::recording::ObservationBuilder;

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

/// Runs a workflow and then flushes, as [`flush_langfuse`] does, also when it fails or panics; gives what the workflow gave,
/// whatever becomes of the flush.
///
/// When the returned future is dropped before its end, as by a time-out, the flush goes on in the background.
pub async fn run_workflow_with_flush<W, Input>(workflow: &W, input: Input) -> W::Output
where
    W: Workflow<Input> + ?Sized,
{
    let cancelled = WhenLeft(flush_in_background);
    // What it does before its first await may panic as well. In a box, lest the future be twice as large as the workflow's.
    let output = caught(Box::pin(async { workflow.run(input).await })).await;
    std::mem::forget(cancelled);
    flush_langfuse().await;
    output.unwrap_or_else(|panic| resume_unwind(panic))
}

/// Calls a function when it is dropped, which is when a future is dropped or a panic comes through.
struct WhenLeft<Act: FnMut()>(Act);

impl<Act: FnMut()> Drop for WhenLeft<Act> {
    fn drop(&mut self) {
        self.0();
    }
}

/// How a step flushes when it has ended.
///
/// ```
/// use std::convert::Infallible;
///
/// use langfuse_edge::{ObservationKind, StepFlush, observe};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # langfuse_edge::set_langfuse(langfuse_edge::Langfuse::disabled());
/// let lookup = observe("lookup").kind(ObservationKind::Tool).input("order 7");
/// let found = lookup.step(StepFlush::in_background(), async { Ok::<_, Infallible>("shipped") }).await;
/// # assert_eq!(found, Ok("shipped"));
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it is an argument of a step"]
pub struct StepFlush {
    /// None: it does not flush.
    wait: Option<Duration>,
}

impl StepFlush {
    /// The step waits for so long at most. The flush then goes on in the background.
    pub const fn wait_at_most(time: Duration) -> Self {
        Self { wait: Some(time) }
    }

    /// The step never waits for its flush.
    pub const fn in_background() -> Self {
        Self::wait_at_most(Duration::ZERO)
    }

    /// The step does not flush: what it records goes with the next flush.
    pub const fn none() -> Self {
        Self { wait: None }
    }
}

/// A step waits a second for its flush at most.
impl Default for StepFlush {
    fn default() -> Self {
        Self::wait_at_most(STEP_WAIT)
    }
}

const STEP_WAIT: Duration = Duration::from_secs(1);
/// Of a step's flush. One that is under way when a program is done delays its end for as long.
const STEP_FLUSH: Duration = Duration::from_secs(10);

/// Runs `future` as an observation of the client that is current, else of the process-wide one, and flushes when it has ended, so that a trace can be
/// watched step by step. Steps and observations inside it become its children. Steps that end together share a flush.
///
/// It waits a second for its flush at most, which then goes on in the background; [`ObservationBuilder::step`] has other ways,
/// and can say more of the observation.
///
/// # Errors
/// Those of `future`, unchanged; the observation then has level ERROR.
pub fn step<T, E: Display>(
    name: impl Into<String>,
    future: impl Future<Output = Result<T, E>>,
) -> impl Future<Output = Result<T, E>> {
    let future = Box::pin(future);
    // Which client and observation are current is asked when it runs.
    async move { observe(name).step(StepFlush::default(), future).await }
}

impl ObservationBuilder {
    /// As [`try_run`](Self::try_run), and flushes when it has ended, as a [`step`] does.
    ///
    /// # Errors
    /// Those of `future`, unchanged.
    pub fn step<T, E: Display>(
        self,
        flush: StepFlush,
        future: impl Future<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, E>> {
        flushed(self.langfuse().clone(), flush, self.try_run(future))
    }
}

/// Runs `step` and flushes then: in the background, if that panics or is dropped before its end.
///
/// The step is in a box: steps are within steps, and a future within an async function takes its size twice.
pub(crate) fn flushed<F: Future>(
    langfuse: Langfuse,
    flush: StepFlush,
    step: F,
) -> impl Future<Output = F::Output> {
    let step = Box::pin(step);
    async move {
        let Some(wait) = flush.wait else { return step.await };
        let left = WhenLeft(|| langfuse.flush_in_background());
        let output = step.await;
        std::mem::forget(left);
        if langfuse.is_enabled() {
            flush_step(&langfuse, wait).await;
        }
        output
    }
}

/// Waits for a flush of what a step has recorded, but no longer than the step may.
async fn flush_step(langfuse: &Langfuse, wait: Duration) {
    let_others_end().await;
    let report = langfuse.begin_flush(STEP_FLUSH.into());
    if wait.is_zero() {
        return;
    }
    let (mut report, mut is_over) = (pin!(report), pin!(langfuse.sleep(wait)));
    poll_fn(|cx| match report.as_mut().poll(cx) {
        Poll::Ready(_) => Poll::Ready(()),
        Poll::Pending => is_over.as_mut().poll(cx),
    })
    .await;
}

/// Lets what the same task runs at the same time go on for a turn: what ends in it is covered by every flush that then begins,
/// so that one request has all.
async fn let_others_end() {
    let mut has_waited = false;
    poll_fn(|cx| {
        if has_waited {
            return Poll::Ready(());
        }
        has_waited = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
