//! The callback handler: calls by the ids of whoever makes them.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use serde::Serialize;

use super::LlmCall;
use super::traced::TracedLlm;
use crate::client::{END_ORPHANS, Langfuse};
use crate::lock::unpoisoned;
use crate::open::MOST_OPEN;
use crate::process_wide::active_langfuse;
use crate::recording::ObservationHandle;

const NEVER_ENDED: &str = "never ended";

/// Turns what happens to calls of language models into generations, for programs that are told of it by callbacks: start,
/// first token, end, error. Each call is known by an id of the caller's.
///
/// Cheap to clone; all clones share the calls that are under way. Callbacks about a call that is not under way do
/// nothing.
///
/// ```
/// use langfuse_edge::{Langfuse, LlmCallbackHandler};
/// use serde_json::json;
///
/// let langfuse = Langfuse::disabled();
/// let handler = LlmCallbackHandler::new(&langfuse);
/// handler.on_llm_start("call-1", "answer", &json!({ "model": "gpt-4o", "prompt": "Hi" }));
/// handler.on_llm_first_token("call-1");
/// handler.on_llm_end("call-1", &json!({ "output": "Hello!", "usage": { "input": 1, "output": 2 } }));
/// ```
#[derive(Clone, Debug, Default)]
pub struct LlmCallbackHandler {
    langfuse: Option<Langfuse>,
    calls: Arc<Calls>,
}

type Calls = Mutex<HashMap<String, Call>>;

#[derive(Debug)]
struct Call {
    call: LlmCall,
    /// The observation that was current when it began.
    within: Option<ObservationHandle>,
}

impl Call {
    /// Whether nobody is left who would end it: what it was part of is over, or the client has ended it already.
    fn is_orphan(&self) -> bool {
        let is_over = |within: &ObservationHandle| within.is_recorded() && !within.is_open();
        !self.call.is_open() || self.within.as_ref().is_some_and(is_over)
    }
}

impl LlmCallbackHandler {
    /// A handler whose generations this client records. That of `default()` uses the client that is current when a call
    /// starts, else the process-wide one.
    #[must_use]
    pub fn new(langfuse: &Langfuse) -> Self {
        Self { langfuse: Some(langfuse.clone()), calls: Arc::default() }
    }

    /// A call has begun: a generation called `name`, below the current observation. The request is read as
    /// [`LlmCall::start`] does.
    pub fn on_llm_start(
        &self,
        id: impl Into<String>,
        name: impl Into<String>,
        request: &(impl Serialize + ?Sized),
    ) {
        let langfuse = self.langfuse();
        if !langfuse.is_enabled() {
            return;
        }
        let within = langfuse.current_observation();
        let call = Call { call: LlmCall::start(langfuse.generation(name), request), within };
        if self.lock().len() >= MOST_OPEN {
            self.flush();
        }
        let (is_first, former) = {
            let mut calls = self.lock();
            (calls.is_empty(), calls.insert(id.into(), call))
        };
        if is_first {
            listen_to_flushes(&self.calls);
        }
        give_up(former);
    }

    /// The first token of a call has come. Later ones change nothing.
    pub fn on_llm_first_token(&self, id: &str) {
        if let Some(Call { call, .. }) = self.lock().get(id) {
            call.first_token();
        }
    }

    /// A call has its answer, which is read as [`LlmCall::end`] does.
    pub fn on_llm_end(&self, id: &str, response: &(impl Serialize + ?Sized)) {
        if let Some(Call { call, .. }) = self.take(id) {
            call.end(response);
        }
    }

    /// A call has failed: level ERROR, with the error as the status message.
    pub fn on_llm_error(&self, id: &str, error: &(impl Display + ?Sized)) {
        if let Some(Call { call, .. }) = self.take(id) {
            call.error(error);
        }
    }

    /// How many calls are under way.
    #[must_use]
    pub fn calls_under_way(&self) -> usize {
        self.lock().len()
    }

    /// Ends calls that nobody will end, because the observation they began in has ended: with level WARNING. Every flush
    /// does so first.
    pub fn flush(&self) {
        give_up_orphans(&self.calls);
    }

    /// Ends all calls that are under way, with level WARNING: for a program's end.
    pub fn finish(&self) {
        let all = std::mem::take(&mut *self.lock());
        give_up(all.into_values());
    }

    /// Wraps a function that calls a language model, so that each call is a generation called `name`: see [`TracedLlm`].
    pub fn trace_llm<Function>(&self, name: impl Into<String>, function: Function) -> TracedLlm<Function> {
        TracedLlm::new(self.langfuse.clone(), name.into(), function)
    }

    fn langfuse(&self) -> Langfuse {
        self.langfuse.clone().unwrap_or_else(active_langfuse)
    }

    fn take(&self, id: &str) -> Option<Call> {
        self.lock().remove(id)
    }

    /// Nothing of the user's is called under this lock, and no call is ended.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Call>> {
        unpoisoned(self.calls.lock())
    }
}

/// Those of all handlers that have some. One that is gone has ended its own.
static UNDER_WAY: Mutex<Vec<Weak<Calls>>> = Mutex::new(Vec::new());

fn listen_to_flushes(calls: &Arc<Calls>) {
    let mut under_way = unpoisoned(UNDER_WAY.lock());
    under_way.retain(|known| known.strong_count() > 0 && known.as_ptr() != Arc::as_ptr(calls));
    under_way.push(Arc::downgrade(calls));
    drop(under_way);
    END_ORPHANS.get_or_init(|| {
        || {
            let under_way: Vec<_> = unpoisoned(UNDER_WAY.lock()).iter().filter_map(Weak::upgrade).collect();
            under_way.iter().for_each(|calls| give_up_orphans(calls));
        }
    });
}

fn give_up_orphans(calls: &Calls) {
    let orphans: Vec<_> = unpoisoned(calls.lock()).extract_if(|_, call| call.is_orphan()).collect();
    give_up(orphans.into_iter().map(|(_, call)| call));
}

fn give_up(calls: impl IntoIterator<Item = Call>) {
    for Call { call, .. } in calls {
        call.give_up(NEVER_ENDED);
    }
}
