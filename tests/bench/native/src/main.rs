//! What an observation costs, and whether it arrives: this crate beside its peers, in one run.
//!
//! ```sh
//! cargo run --release --manifest-path tests/bench/native/Cargo.toml # ROUNDS=7 COUNT=20000 RATE=10000
//! ```
//!
//! Each client records the same generations of 2 kB, at the same rate and in a process of its own, whose CPU time is
//! measured from its first observation to the end of its last flush, all threads and the kernel's share included. The
//! receiver is another process. It decodes what comes, counts every observation once, and takes what Langfuse 4 does not:
//! `langfuse-ergonomic` sends events that a server of today refuses.

mod clients;
mod receiver;

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

const CLIENTS: [&str; 4] = [clients::EDGE, clients::OPENTELEMETRY, clients::ERGONOMIC, clients::NOTHING];

/// Of one run.
#[derive(Clone, Copy)]
struct Measured {
    /// CPU time of an observation that has arrived.
    micros: f64,
    /// The share of those that were recorded.
    delivered: f64,
}

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => compare(),
        ["receive"] => receiver::serve(),
        ["send", client, url, count, rate] => clients::run(client, url, count.parse()?, rate.parse()?),
        _ => Err("this program takes no arguments".into()),
    }
}

fn compare() -> Result<()> {
    let number = |name: &str, default: u64| {
        std::env::var(name)
            .map_or(Ok(default), |value| value.parse())
            .map_err(|_| format!("{name} is no number"))
    };
    let (rounds, count, rate) = (number("ROUNDS", 7)?, number("COUNT", 20_000)?, number("RATE", 10_000)?);
    println!("{rounds} rounds; steady: {count} generations of 2 kB, {rate} a second; burst: 5000 at once\n");
    let mut steady = BTreeMap::<_, Vec<_>>::new();
    let mut burst = BTreeMap::<_, Vec<_>>::new();
    for round in 0..rounds {
        for turn in 0..CLIENTS.len() {
            // In another order each time, so that no client is always behind the same one.
            let client = CLIENTS[(turn + round as usize) % CLIENTS.len()];
            steady.entry(client).or_default().push(measure(client, count, rate)?);
            burst.entry(client).or_default().push(measure(client, 5000, 0)?);
        }
    }
    println!(
        "{:<40} {:>12} {:>8} {:>11} {:>12} {:>8} {:>11}",
        "", "steady µs", "ratio", "delivered", "burst µs", "ratio", "delivered"
    );
    let ours = [&steady, &burst].map(|runs| median(&runs[clients::EDGE], |run| run.micros));
    for client in CLIENTS {
        print!("{client:<40}");
        for (runs, ours) in [&steady, &burst].into_iter().zip(ours) {
            let micros = median(&runs[client], |run| run.micros);
            let delivered = median(&runs[client], |run| run.delivered);
            print!(" {micros:>12.1} {:>8.2} {:>9.1} %", micros / ours, delivered * 100.0);
        }
        println!();
    }
    println!("\nmedians; µs: CPU time per observation that has arrived; ratio: to {}", clients::EDGE);
    Ok(())
}

fn measure(client: &str, count: u64, rate: u64) -> Result<Measured> {
    let program = std::env::current_exe()?;
    let mut receiver = Command::new(&program).arg("receive").stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(receiver.stdout.take().ok_or("its output is piped")?).lines();
    let url = lines.next().ok_or("the receiver says where it listens")??;
    let output = Command::new(program)
        .args(["send", client, &url, &count.to_string(), &rate.to_string()])
        .env("LANGFUSE_OTEL_COMPRESSION", "none")
        .output()?;
    let delivered = receiver::count(&url)?;
    receiver.kill()?;
    receiver.wait()?;
    let micros = String::from_utf8(output.stdout)?.trim().parse::<f64>();
    let micros = micros.map_err(|_| format!("{client}: {}", String::from_utf8_lossy(&output.stderr)))?;
    // Nothing arrives of nothing.
    let arrived = if delivered == 0 { count } else { delivered };
    Ok(Measured { micros: micros / arrived as f64, delivered: delivered as f64 / count as f64 })
}

fn median(runs: &[Measured], of: impl Fn(&Measured) -> f64) -> f64 {
    let mut values: Vec<_> = runs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
