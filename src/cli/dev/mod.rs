//! `langfuse-edge dev`: a Langfuse-compatible server in memory, for development and tests.
//!
//! It answers like a Langfuse 4.x server in its default mode, keeps the newest rows, and can be told to
//! fail in every way a network and a server can (`faults`).

mod app;
mod auth;
mod development;
mod door;
mod faults;
mod ingestion;
mod otlp;
mod read;
mod request_log;
mod row;
mod score;
mod server;
mod store;
mod text;
mod tree;

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use app::App;
use faults::Fault;
pub(crate) use text::now_ms;

#[derive(clap::Args)]
pub(super) struct Options {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The public key that clients use
    #[arg(long, default_value = "pk-lf-dev")]
    public_key: String,
    /// The secret key that clients use
    #[arg(long, default_value = "sk-lf-dev")]
    secret_key: String,
    /// Print every trace as a tree when something new came in
    #[arg(long)]
    print: bool,
    /// Fail on purpose; the JSON that POST /dev/faults takes, for example '{"status":503,"first":1}'
    #[arg(long, value_name = "JSON", value_parser = Fault::parse)]
    fault: Option<Fault>,
}

pub(super) async fn run(options: Options) -> io::Result<()> {
    let listener = TcpListener::bind((options.host, options.port)).await.map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {}:{}: {error}", options.host, options.port))
    })?;
    let url = format!("http://{}", listener.local_addr()?);
    announce(&url, &options);

    let app = Arc::new(App::new(options.public_key, options.secret_key));
    app.lock().set_fault(options.fault);
    if options.print {
        tokio::spawn(print_new_traces(Arc::clone(&app)));
    }
    tokio::select! {
        () = server::serve(listener, app) => {}
        () = stop_signal() => {}
    }
    Ok(())
}

/// A closed stdout (a harness that read its line and went on) is no reason to stop serving.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

fn announce(url: &str, Options { public_key, secret_key, .. }: &Options) {
    say(&format!(
        "langfuse-edge dev listening on {url}
  LANGFUSE_BASE_URL={url}
  LANGFUSE_PUBLIC_KEY={public_key}
  LANGFUSE_SECRET_KEY={secret_key}
  traces: curl {url}/dev/trees"
    ));
}

/// Waits a moment after the first new row, so that a burst prints once.
async fn print_new_traces(app: Arc<App>) {
    let mut printed = 0;
    loop {
        app.new_rows().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let text = {
            let state = app.lock();
            let text = tree::text(&tree::build(&state.store, Some(printed)), false);
            printed = state.store.arrivals();
            text
        };
        if !text.is_empty() {
            say(&text);
        }
    }
}

#[cfg(unix)]
async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return interrupt().await;
    };
    tokio::select! {
        () = interrupt() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn stop_signal() {
    interrupt().await;
}

async fn interrupt() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
