//! A script without async: the guard flushes when `main` returns, fails or panics.
//!
//! ```sh
//! cargo run --features cli -- dev --port 3100 # says what to set, and shows the traces
//! cargo run --example script
//! ```

use langfuse_edge::{ObservationKind, Usage, langfuse};

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _guard = langfuse_edge::init()?; // LANGFUSE_PUBLIC_KEY, LANGFUSE_SECRET_KEY, LANGFUSE_BASE_URL

    let report = langfuse().observe("report").tag("nightly").start();
    for city in ["Bern", "Lima"] {
        let weather = report.observe("weather").kind(ObservationKind::Tool).input(city).start();
        weather.output(&"sunny").end();
        let write =
            report.generation("write").model("gpt-4o").input(&format!("The weather of {city}?")).start();
        write.output(&format!("It is sunny in {city}.")).usage(Usage::new(12, 6)).end();
    }
    report.output("two cities").end();

    println!("the report is written");
    Ok(())
}
