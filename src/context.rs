//! What is current: for each client an observation, and what new ones of its trace say.
//!
//! It follows a future through every poll, on whatever thread that happens, and needs no runtime.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use pin_project_lite::pin_project;

use crate::client::Langfuse;
use crate::observation::TraceAttributes;
use crate::recording::{ObservationHandle, Parent};

/// What is current for the code that asks: the observation whose children new ones become, and what is propagated to
/// them.
///
/// It follows `async` code by itself. A task that is spawned or a thread that is started has a context of its own, which
/// begins empty: take this one along.
///
/// ```
/// use langfuse_edge::{Context, Langfuse};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let langfuse = Langfuse::disabled();
/// let request = langfuse.observe("request").start();
/// let task = request.in_scope(|| {
///     tokio::spawn(Context::current().scope(async move {
///         langfuse.observe("lookup").start().end(); // a child of the request
///     }))
/// });
/// task.await.expect("it does not panic");
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a context is current within its `scope` only"]
pub struct Context(Option<Arc<Entry>>);

/// What is current for one client.
#[derive(Debug)]
struct Entry {
    langfuse: Langfuse,
    observation: Option<ObservationHandle>,
    propagated: Option<Arc<TraceAttributes>>,
    /// What new observations say of their trace.
    trace: Arc<TraceAttributes>,
    /// What is current for the others: one entry a client, so that the list does not grow with the depth of the calls.
    others: Context,
}

thread_local! {
    static CURRENT: RefCell<Context> = const { RefCell::new(Context(None)) };
}

impl Context {
    /// The context of the code that asks.
    pub fn current() -> Self {
        // When the thread ends it is gone, and there is no panic in a destructor that asks.
        CURRENT.try_with(|current| current.borrow().clone()).unwrap_or_default()
    }

    /// The observation that was made current last, if there is one.
    #[must_use]
    pub fn observation(&self) -> Option<ObservationHandle> {
        self.0.as_deref()?.observation.clone()
    }

    /// Runs `future` with this as its context.
    pub fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let enter = None::<fn(Self) -> Self>;
        Within { context: self, enter, future }
    }

    /// Calls `work` with this as its context.
    pub fn in_scope<T>(self, work: impl FnOnce() -> T) -> T {
        let _restore = self.enter();
        work()
    }

    /// Makes this the context of this thread, and gives the former.
    #[cfg(feature = "tracing")]
    pub(crate) fn replace(self) -> Self {
        CURRENT.try_with(|current| current.replace(self)).unwrap_or_default()
    }

    pub(crate) fn enter(&self) -> Restore {
        Restore(CURRENT.try_with(|current| current.replace(self.clone())).ok())
    }

    /// The client that was made current last.
    pub(crate) fn langfuse(&self) -> Option<&Langfuse> {
        self.0.as_deref().map(|entry| &entry.langfuse)
    }

    /// This, with another observation as the current one of its client.
    pub(crate) fn with_observation(self, observation: ObservationHandle) -> Self {
        let langfuse = observation.langfuse().clone();
        let around = self.of(&langfuse);
        let propagated = around.and_then(|entry| entry.propagated.clone());
        let own = observation.trace_below();
        let trace = match (around, &propagated) {
            // As is the case for what has started within.
            (Some(entry), Some(_)) if Arc::ptr_eq(&entry.trace, own) => Arc::clone(own),
            (_, Some(propagated)) => Arc::new(own.merged(propagated)),
            (_, None) => Arc::clone(own),
        };
        self.with(Entry { langfuse, observation: Some(observation), propagated, trace, others: Self(None) })
    }

    /// This, with more that is propagated for a client.
    pub(crate) fn with_propagated(self, langfuse: Langfuse, own: &TraceAttributes) -> Self {
        let around = self.of(&langfuse);
        let merged = |outer: Option<&Arc<TraceAttributes>>| {
            Arc::new(outer.map_or_else(|| own.clone(), |outer| outer.merged(own)))
        };
        let propagated = Some(merged(around.and_then(|entry| entry.propagated.as_ref())));
        let trace = merged(around.map(|entry| &entry.trace));
        let observation = around.and_then(|entry| entry.observation.clone());
        self.with(Entry { langfuse, observation, propagated, trace, others: Self(None) })
    }

    /// The current observation of this client.
    pub(crate) fn observation_of(&self, langfuse: &Langfuse) -> Option<ObservationHandle> {
        self.of(langfuse)?.observation.clone()
    }

    /// What a new observation of this client has above it, and what it says of its trace.
    pub(crate) fn parent(&self, langfuse: &Langfuse) -> (Option<Parent>, Option<Arc<TraceAttributes>>) {
        let Some(entry) = self.of(langfuse) else { return (None, None) };
        let parent =
            entry.observation.as_ref().map(|observation| observation.as_parent(Arc::clone(&entry.trace)));
        (parent, entry.propagated.is_some().then(|| Arc::clone(&entry.trace)))
    }

    /// What a child of this observation, current or not, says of its trace.
    pub(crate) fn trace_below(&self, observation: &ObservationHandle) -> Arc<TraceAttributes> {
        let own = observation.trace_below();
        let Some(entry) = self.of(observation.langfuse()) else { return Arc::clone(own) };
        let is_current =
            entry.observation.as_ref().is_some_and(|current| current.context() == observation.context());
        match &entry.propagated {
            Some(_) if is_current || Arc::ptr_eq(own, &entry.trace) => Arc::clone(&entry.trace),
            Some(propagated) => Arc::new(own.merged(propagated)),
            None => Arc::clone(own),
        }
    }

    fn of(&self, langfuse: &Langfuse) -> Option<&Entry> {
        let mut found = self.0.as_deref();
        while let Some(entry) = found.filter(|entry| !entry.langfuse.is(langfuse)) {
            found = entry.others.0.as_deref();
        }
        found
    }

    fn with(self, own: Entry) -> Self {
        let others = self.without(&own.langfuse);
        Self(Some(Arc::new(Entry { others, ..own })))
    }

    fn without(&self, langfuse: &Langfuse) -> Self {
        match &self.0 {
            Some(entry) if entry.langfuse.is(langfuse) => entry.others.clone(),
            Some(entry) if entry.others.of(langfuse).is_some() => Self(Some(Arc::new(Entry {
                langfuse: entry.langfuse.clone(),
                observation: entry.observation.clone(),
                propagated: entry.propagated.clone(),
                trace: Arc::clone(&entry.trace),
                others: entry.others.without(langfuse),
            }))),
            _ => self.clone(),
        }
    }
}

/// The observation that was made current last; none outside of any scope.
///
/// It can be changed and scored, and dropping it does not end it.
#[must_use]
pub fn current_observation() -> Option<ObservationHandle> {
    Context::current().observation()
}

/// Runs `future` in the context that `enter` makes of the one around it, when it is first polled. A task of its own has
/// none around it: there it is the one of the code that calls this.
pub(crate) fn entering<F, Enter>(enter: Enter, future: F) -> impl Future<Output = F::Output> + use<F, Enter>
where
    F: Future,
    Enter: FnOnce(Context) -> Context,
{
    Within { context: Context::current(), enter: Some(enter), future }
}

pin_project! {
    /// A future with a context of its own.
    struct Within<F, Enter> {
        context: Context,
        enter: Option<Enter>,
        #[pin]
        future: F,
    }
}

impl<F: Future, Enter: FnOnce(Context) -> Context> Future for Within<F, Enter> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        if let Some(enter) = this.enter.take() {
            let around = Context::current();
            let around = if around.0.is_some() { around } else { std::mem::take(this.context) };
            *this.context = enter(around);
        }
        let _restore = this.context.enter();
        this.future.poll(cx)
    }
}

/// Puts the former context back, also when there is a panic.
pub(crate) struct Restore(Option<Context>);

impl Drop for Restore {
    fn drop(&mut self) {
        if let Some(context) = self.0.take() {
            drop(CURRENT.try_with(|current| current.replace(context)));
        }
    }
}
