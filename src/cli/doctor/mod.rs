//! `langfuse-edge doctor`: why traces are missing, and what to do.
//!
//! The checks go the way that a trace goes. One that needs what an earlier one has not found is not run. The npm package
//! has the same program (`pkg-templates/src/doctor.ts`): the same checks in the same order, with the same words.

mod delivery;
mod environment;
mod http;
mod network;
mod read_back;
mod report;
mod server;

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use delivery::Delivery;
use environment::Environment;
use http::Http;
use network::Reached;
use report::{Report, Verdict};

#[derive(clap::Args)]
pub(super) struct Options {
    /// Print JSON for programs
    #[arg(long)]
    json: bool,
    /// Seconds that each step on the network may take
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    timeout: Duration,
    /// Seconds to wait until the test trace can be read back
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    wait: Duration,
    /// When the server does not know the keys, send them to these servers, too; without URLs to all of Langfuse Cloud
    #[arg(
        long,
        value_name = "URL,…",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = server::CLOUD,
        value_delimiter = ',',
        value_parser = region
    )]
    regions: Vec<String>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.001..=86_400.0).contains(seconds));
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "must be seconds above 0 and at most 86400, such as 10 or 0.5".to_owned())
}

fn region(url: &str) -> Result<String, String> {
    environment::server(url).ok_or_else(|| "must be http or https URLs with commas between".to_owned())
}

pub(super) async fn run(options: &Options) -> ExitCode {
    let report = examine(options).await;
    let text = if options.json { report.json() } else { report.text() };
    let mut out = io::stdout().lock();
    // Who has closed stdout looks at the exit code.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    if report.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn examine(options: &Options) -> Report {
    let environment = Environment::examine(&|name| std::env::var(name).ok());
    let mut report = Report::new(environment.server.clone(), environment.variables);
    report.add("environment", environment.verdict);

    let Some(base_url) = environment.server else {
        report.skip(&["dns", "connect", "tls", "server"], "the server's URL cannot be used");
        report.skip(&OF_THE_SERVER, NO_SERVER);
        return report;
    };
    let http = match Http::new(&base_url, options.timeout) {
        Ok(http) => http,
        Err(why) => {
            report.add("dns", Verdict::failed(why, "check the certificates and the proxy of this machine"));
            report.skip(&["connect", "tls", "server"], "there is no HTTP client");
            report.skip(&OF_THE_SERVER, NO_SERVER);
            return report;
        }
    };
    let Reached { dns, connect, tls, health } = network::reach(&http, options.timeout).await;
    report.add("dns", dns);
    report.add("connect", connect);
    report.add("tls", tls);
    let Some(health) = health else {
        report.skip(&["server"], "the server cannot be reached");
        report.skip(&OF_THE_SERVER, NO_SERVER);
        return report;
    };
    let (verdict, is_langfuse) = server::version(&http, &health).await;
    report.add("server", verdict);

    let keys = environment.keys;
    let known = match &keys {
        None => Verdict::not_run("there are no keys to check"),
        Some(_) if !is_langfuse => Verdict::not_run(NO_SERVER),
        Some(keys) => server::keys(&http, keys, &options.regions).await,
    };
    let may_send = known.is_ok() && environment.config.is_some();
    let refused =
        if known.is_failed() { "the keys are not accepted" } else { "the environment cannot be used" };
    report.add("keys", known);
    report.add("clock", server::clock(&health));

    let (Some(config), Some(keys), true) = (environment.config, keys, may_send) else {
        let why = if is_langfuse { refused } else { NO_SERVER };
        report.skip(&OF_DELIVERY, why);
        return report;
    };
    let delivery = Delivery { http: &http, keys: &keys, options: config, budget: options.timeout };
    let (verdict, sent) = delivery.trace().await;
    report.add("trace", verdict);
    report.add(
        "read-back",
        match &sent {
            Some(sent) => read_back::check(&http, &keys, sent, options.wait).await,
            None => Verdict::not_run(NO_TRACE),
        },
    );
    report.add("score", delivery.score(sent.as_ref()).await);
    report.add(
        "limits",
        match &sent {
            Some(sent) => delivery.limits(sent).await,
            None => Verdict::not_run(NO_TRACE),
        },
    );
    report
}

/// What needs a server that can be asked.
const OF_THE_SERVER: [&str; 6] = ["keys", "clock", "trace", "read-back", "score", "limits"];
/// What needs one that knows the keys.
const OF_DELIVERY: [&str; 4] = ["trace", "read-back", "score", "limits"];
const NO_SERVER: &str = "there is no Langfuse server to ask";
const NO_TRACE: &str = "the trace was not delivered";
