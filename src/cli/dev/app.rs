//! What all routes share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::auth::Keys;
use super::faults::{ActiveFault, Fault};
use super::request_log::RequestLog;
use super::store::Store;

pub(super) struct App {
    pub(super) keys: Keys,
    state: Mutex<State>,
    new_rows: Notify,
}

pub(super) struct State {
    pub(super) store: Store,
    pub(super) log: RequestLog,
    pub(super) fault: Option<ActiveFault>,
    /// Counts resets, so that a request from before one leaves no trace after it.
    pub(super) epoch: u64,
}

impl App {
    pub(super) fn new(public_key: String, secret_key: String) -> Self {
        Self {
            keys: Keys { public: public_key, secret: secret_key },
            state: Mutex::new(State::new()),
            new_rows: Notify::new(),
        }
    }

    /// A handler that panicked left counters at worst one short; the receiver goes on.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn announce_rows(&self) {
        self.new_rows.notify_one();
    }

    pub(super) async fn new_rows(&self) {
        self.new_rows.notified().await;
    }
}

impl State {
    fn new() -> Self {
        Self { store: Store::default(), log: RequestLog::new(Instant::now()), fault: None, epoch: 0 }
    }

    pub(super) fn reset(&mut self) {
        *self = Self { epoch: self.epoch + 1, ..Self::new() };
    }

    pub(super) fn set_fault(&mut self, fault: Option<Fault>) {
        self.fault = fault.map(|fault| ActiveFault::new(fault, Instant::now()));
    }
}
