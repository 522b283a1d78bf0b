//! The command line program `langfuse-edge`.

mod dev;
mod doctor;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "langfuse-edge", version, about = "Tools for traces that must arrive")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a local server that accepts what a Langfuse server accepts, and shows the traces
    Dev(dev::Options),
    /// Find out why traces are missing: check the variables, the way to the server, the keys, and send a test trace
    Doctor(doctor::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = match Cli::parse().command {
        Command::Dev(options) => options,
        Command::Doctor(options) => return doctor::run(&options).await,
    };
    match dev::run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do when stderr is closed too.
            let _ = writeln!(std::io::stderr().lock(), "langfuse-edge dev: {error}");
            ExitCode::FAILURE
        }
    }
}
