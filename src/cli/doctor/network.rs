//! The way to the server: its name, a connection, encryption, an answer.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

use super::http::{Answer, Failure, Http};
use super::report::Verdict;

pub(super) struct Reached {
    pub(super) dns: Verdict,
    pub(super) connect: Verdict,
    pub(super) tls: Verdict,
    /// What became of the question for its health, when there was somebody to ask.
    pub(super) health: Option<Result<Answer, Failure>>,
}

const NO_ADDRESS: &str = "the server's name has no address";
const NO_CONNECTION: &str = "there is no connection";
const PROXY: &str = "a proxy of the environment makes the connection";

pub(super) async fn reach(http: &Http, longest: Duration) -> Reached {
    let Ok(uri) = http.base_url.parse::<Uri>() else {
        let why = "the host in LANGFUSE_BASE_URL cannot be read";
        let dns = Verdict::failed(why, "set it to a URL such as https://cloud.langfuse.com");
        return unreached(dns, Verdict::not_run(NO_ADDRESS));
    };
    let is_encrypted = uri.scheme_str() == Some("https");
    let (dns, connect) = if Matcher::from_system().intercept(&uri).is_some() {
        (Verdict::not_run(PROXY), Verdict::not_run(PROXY))
    } else {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if is_encrypted { 443 } else { 80 });
        let (dns, addresses) = resolve(host, port, longest).await;
        if dns.is_failed() {
            return unreached(dns, Verdict::not_run(NO_ADDRESS));
        }
        let connect = connect(&addresses, longest).await;
        if connect.is_failed() {
            return unreached(dns, connect);
        }
        (dns, connect)
    };
    let health = http.get("health", None).await;
    let tls = match &health {
        _ if !is_encrypted => Verdict::not_run("not needed: the URL begins with http://"),
        Err(failure) if failure.is_connect => {
            let why = format!("no encrypted connection: {}", failure.words);
            let fix = "check that the port speaks https, that its certificate is valid for this name, and that this machine trusts who signed it";
            return Reached { dns, connect, tls: Verdict::failed(why, fix), health: None };
        }
        _ => Verdict::ok("the server's certificate is trusted"),
    };
    Reached { dns, connect, tls, health: Some(health) }
}

fn unreached(dns: Verdict, connect: Verdict) -> Reached {
    Reached { dns, connect, tls: Verdict::not_run(NO_CONNECTION), health: None }
}

async fn resolve(host: &str, port: u16, longest: Duration) -> (Verdict, Vec<std::net::SocketAddr>) {
    let fix = "check the host name in LANGFUSE_BASE_URL, and the DNS of this machine or container";
    let start = Instant::now();
    let found = match timeout(longest, lookup_host((host, port))).await {
        Ok(Ok(found)) => found.collect::<Vec<_>>(),
        Ok(Err(error)) => {
            return (Verdict::failed(format!("{host} has no address: {error}"), fix), Vec::new());
        }
        Err(_) => {
            return (Verdict::failed(format!("{host} has no address: DNS took too long"), fix), Vec::new());
        }
    };
    let verdict = match found.first() {
        None => Verdict::failed(format!("{host} has no address"), fix),
        Some(_) if host.parse::<IpAddr>().is_ok() => Verdict::ok(format!("{host} is an address")),
        Some(first) => Verdict::ok(format!("{host} is {} ({})", first.ip(), ms(start.elapsed()))),
    };
    (verdict, found)
}

async fn connect(addresses: &[std::net::SocketAddr], longest: Duration) -> Verdict {
    let start = Instant::now();
    let address = addresses.first().map(ToString::to_string).unwrap_or_default();
    let failed = |why: &str| {
        Verdict::failed(
            format!("{address} takes no connection: {why}"),
            "check that the server runs, the port in LANGFUSE_BASE_URL, and the firewalls between",
        )
    };
    match timeout(longest, TcpStream::connect(addresses)).await {
        Ok(Ok(_)) => Verdict::ok(format!("{address} ({})", ms(start.elapsed()))),
        Ok(Err(error)) => failed(&error.to_string()),
        Err(_) => failed("it took too long"),
    }
}

pub(super) fn ms(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
