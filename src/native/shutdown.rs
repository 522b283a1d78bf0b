//! Signals that ask the process to end.

use std::future::Future;
use std::io;
use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::driver::Remote;
use super::host;
use crate::client::{Langfuse, end_orphans};
use crate::lock::unpoisoned;

/// Waits until the process is asked to end, by SIGTERM, SIGINT or Ctrl-C.
///
/// A second signal ends the process at once, with exit code 128 and the signal's number, whatever it is doing. What waits
/// to be sent is then lost. The future needs no particular runtime. Signals are listened to when this function returns, and
/// from then on they no longer end the process by themselves.
///
/// ```no_run
/// # async fn serve(listener: tokio::net::TcpListener, router: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
/// let guard = langfuse_edge::init()?;
/// axum::serve(listener, router).with_graceful_shutdown(langfuse_edge::shutdown_signal()).await?;
/// drop(guard); // flushes, when the last request has been answered
/// # Ok(())
/// # }
/// ```
#[must_use = "signals are ignored from now on, but for this future"]
pub fn shutdown_signal() -> impl Future<Output = ()> + Send + use<> {
    let mut is_asked = LISTENER.as_ref().map(|listener| {
        listener.is_awaited.store(true, Ordering::Relaxed);
        listener.is_asked.clone()
    });
    async move {
        let asked = match &mut is_asked {
            Some(is_asked) => is_asked.wait_for(|is_asked| *is_asked).await.is_ok(),
            None => false,
        };
        if !asked {
            // There is nobody who could tell.
            std::future::pending().await
        }
    }
}

impl Langfuse {
    /// Flushes, for at most `timeout`, when the process is asked to end by SIGTERM, SIGINT or Ctrl-C, and then ends it with
    /// exit code 128 and the signal's number. A second signal ends it at once.
    ///
    /// In a program that also calls [`shutdown_signal`] the process is not ended by the first signal: that is up to who
    /// awaits it.
    ///
    /// Observations that are open when the process ends are lost.
    pub fn flush_on_signals(&self, timeout: Duration) {
        if let (Some(driver), Some(listener)) = (self.flusher(), LISTENER.as_ref()) {
            let mut flushed = unpoisoned(listener.flushed.lock());
            flushed.retain(|(client, _)| client.is_alive());
            flushed.push((driver.remote(), timeout));
        }
    }
}

/// None when the system has no thread or descriptor left for it.
static LISTENER: LazyLock<Option<Listener>> = LazyLock::new(|| {
    Listener::start()
        .inspect_err(|error| host::warn(&format!("langfuse-edge: signals are not listened to: {error}")))
        .ok()
});

struct Listener {
    is_asked: watch::Receiver<bool>,
    is_awaited: Arc<AtomicBool>,
    flushed: Arc<Flushed>,
}

/// The clients to flush, and how long that may take.
type Flushed = Mutex<Vec<(Remote, Duration)>>;

impl Listener {
    /// On a thread of its own, so that a second signal ends the process whatever its runtimes are doing.
    fn start() -> io::Result<Self> {
        let (ask, is_asked) = watch::channel(false);
        let listener = Self { is_asked, is_awaited: Arc::default(), flushed: Arc::default() };
        let (is_awaited, flushed) = (Arc::clone(&listener.is_awaited), Arc::clone(&listener.flushed));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (tell, is_listening) = mpsc::sync_channel(1);
        thread::Builder::new().name("langfuse-signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                let signals = Signals::new();
                let listening = signals.as_ref().map(drop).map_err(|error| io::Error::from(error.kind()));
                drop(tell.send(listening));
                if let Ok(signals) = signals {
                    heed(signals, &ask, &is_awaited, &flushed).await;
                }
            });
        })?;
        is_listening.recv().map_err(io::Error::other)??;
        Ok(listener)
    }
}

async fn heed(mut signals: Signals, ask: &watch::Sender<bool>, is_awaited: &AtomicBool, flushed: &Flushed) {
    let first = signals.next().await;
    ask.send_replace(true);
    end_orphans();
    let mut flushes = JoinSet::new();
    let clients = std::mem::take(&mut *unpoisoned(flushed.lock()));
    let ends_here = !clients.is_empty() && !is_awaited.load(Ordering::Relaxed);
    for (client, timeout) in clients {
        flushes.spawn(async move { client.flush(timeout.into()).await });
    }
    let all = async {
        while flushes.join_next().await.is_some() {}
        if !ends_here {
            std::future::pending::<()>().await;
        }
        first
    };
    let last = tokio::select! {
        last = all => last,
        second = signals.next() => second,
    };
    exit(128 + last);
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The number of the next signal.
    async fn next(&mut self) -> i32 {
        use tokio::signal::unix::SignalKind;
        tokio::select! {
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
        }
    }
}

#[cfg(windows)]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Signals {
    fn new() -> io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    /// The number of the next signal: Ctrl-C is what SIGINT is elsewhere.
    async fn next(&mut self) -> i32 {
        self.0.recv().await;
        2
    }
}
