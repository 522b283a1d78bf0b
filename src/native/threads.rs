//! What the driver takes of threads, tasks and time, and whom it talks to: all of it here, because the tests of its
//! interleavings put others in their place.

use std::future::Future;
use std::io;

use tokio::runtime::Builder;

pub(super) use std::sync::Mutex;
pub(super) use std::sync::atomic::AtomicBool;
pub(super) use std::sync::mpsc::sync_channel;
pub(super) use std::thread::{self, ThreadId};

pub(super) use tokio::sync::mpsc::{
    UnboundedReceiver, UnboundedSender, WeakUnboundedSender, unbounded_channel,
};
pub(super) use tokio::sync::oneshot;
pub(super) use tokio::task::{JoinHandle, JoinSet, spawn};
pub(super) use tokio::time::timeout_at;

pub(super) use super::host::{Http, now, sleep};

/// Of one thread, with all of its tasks.
pub(super) struct Runtime(tokio::runtime::Runtime);

impl Runtime {
    /// `thread_name` is for the threads that look up host names.
    pub(super) fn new(thread_name: &str) -> io::Result<Self> {
        Builder::new_current_thread().enable_all().thread_name(thread_name).build().map(Self)
    }

    pub(super) fn run(self, future: impl Future<Output = ()> + Send + 'static) {
        // A future that is blocked on is woken by a system call, and a task by its like is not.
        self.0.block_on(async { drop(spawn(future).await) });
    }
}
