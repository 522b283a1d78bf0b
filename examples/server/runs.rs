//! Runs of the workflow: what they have told, and how they end.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use langfuse_edge::{Observation, ObservationKind, langfuse, run_workflow_with_flush, step};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::workflow::{Order, write_article};

/// So many can be asked for; of more, the oldest is forgotten.
const MOST_KEPT: usize = 1000;
const ABORTED: &str = "aborted: the server is ending";
/// For aborted runs to end: each of their steps waits for its flush.
const LAST_STEPS: Duration = Duration::from_secs(5);

#[derive(Default)]
pub(crate) struct Runs {
    state: Mutex<State>,
    /// Whether steps fail instead of going on.
    aborted: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    known: VecDeque<Arc<Run>>,
    under_way: JoinSet<()>,
    is_ending: bool,
}

impl Runs {
    /// None when the server is ending.
    pub(crate) fn start(&self, order: Order) -> Option<Arc<Run>> {
        let mut state = self.state();
        if state.is_ending {
            return None;
        }
        let root = langfuse().observe("write_article").kind(ObservationKind::Agent).input(&order).start();
        let id = root.trace_id().to_hex();
        root.metadata("run", &id);
        let run = Arc::new(Run { id, told: watch::Sender::default(), aborted: self.aborted.subscribe() });
        while state.under_way.try_join_next().is_some() {}
        state.under_way.spawn(Arc::clone(&run).carry_out(root, order));
        if state.known.len() == MOST_KEPT {
            state.known.pop_front();
        }
        state.known.push_back(Arc::clone(&run));
        Some(run)
    }

    pub(crate) fn find(&self, id: &str) -> Option<Arc<Run>> {
        self.state().known.iter().find(|run| run.id == id).cloned()
    }

    /// Lets the runs under way finish, aborts those that have not within `grace`, and waits until they have ended.
    #[expect(clippy::print_stdout, reason = "an example shows what it does")]
    pub(crate) async fn end(&self, grace: Duration) {
        let mut under_way = {
            let mut state = self.state();
            state.is_ending = true;
            std::mem::take(&mut state.under_way)
        };
        while under_way.try_join_next().is_some() {}
        println!("ending: {} runs have {} s to finish", under_way.len(), grace.as_secs());
        if timeout(grace, all(&mut under_way)).await.is_err() {
            println!("aborting those that have not finished");
            self.aborted.send_replace(true);
            // Those that wait for a flush even then are dropped: the last flush is still to come.
            drop(timeout(LAST_STEPS, all(&mut under_way)).await);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn all(under_way: &mut JoinSet<()>) {
    while under_way.join_next().await.is_some() {}
}

/// An event's name and what it says.
type Told = (&'static str, Value);

pub(crate) struct Run {
    pub(crate) id: String,
    /// The last one is called `end`, when there is one.
    told: watch::Sender<Vec<Told>>,
    aborted: watch::Receiver<bool>,
}

impl Run {
    async fn carry_out(self: Arc<Self>, root: Observation, order: Order) {
        let workflow = |order| async {
            let writing = root.scope(write_article(Arc::clone(&self), order));
            let panicked = |_| Err("it panicked".to_owned());
            let article = AssertUnwindSafe(writing).catch_unwind().await.unwrap_or_else(panicked);
            match &article {
                Ok(article) => root.output(article),
                Err(error) => root.error(error),
            };
            root.end();
            self.tell_end(article);
        };
        run_workflow_with_flush(&workflow, order).await;
    }

    fn tell_end(&self, result: Result<String, String>) {
        let id = &self.id;
        self.tell(
            "end",
            match result {
                Ok(article) => json!({ "id": id, "status": "done", "result": article }),
                Err(error) if error == ABORTED => json!({ "id": id, "status": "aborted", "error": error }),
                Err(error) => json!({ "id": id, "status": "failed", "error": error }),
            },
        );
    }

    /// Runs a part of the workflow as an observation of its own. The run tells of it when it has been flushed, or has waited a
    /// second for that.
    pub(crate) async fn step<T>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, String>>,
    ) -> Result<T, String> {
        let begun = Instant::now();
        let mut aborted = self.aborted.clone();
        let unless_aborted = async {
            tokio::select! {
                biased;
                _ = aborted.wait_for(|is_aborted| *is_aborted) => Err(ABORTED.to_owned()),
                result = work => result,
            }
        };
        let result = step(name, unless_aborted).await;
        let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let error = result.as_ref().err();
        self.tell("step", json!({ "step": name, "ms": ms, "error": error }));
        result
    }

    fn tell(&self, event: &'static str, data: Value) {
        self.told.send_modify(|told| told.push((event, data)));
    }

    /// The event of this number, as soon as there is one; none after the end.
    pub(crate) async fn event(&self, number: usize) -> Option<Told> {
        let mut told = self.told.subscribe();
        let told = told.wait_for(|told| told.len() > number || is_over(told)).await.ok()?;
        told.get(number).cloned()
    }

    pub(crate) fn summary(&self) -> Value {
        match self.told.borrow().last() {
            Some(("end", summary)) => summary.clone(),
            _ => json!({ "id": self.id, "status": "running" }),
        }
    }
}

fn is_over(told: &[Told]) -> bool {
    matches!(told.last(), Some(("end", _)))
}
