//! The attribute macros of `langfuse-edge`, which re-exports them with its feature `macros`: see there what they do.

mod expand;
mod options;
mod shape;

use proc_macro::TokenStream;
use syn::parse::{ParseStream, Parser};
use syn::{ItemFn, parse_macro_input};

use options::Options;

/// Makes each call of a function an observation, which is current while the function runs and ends when its result is
/// complete.
///
/// The arguments are its input, as an object by their names, except `self` and those that begin with `_`; the result is its
/// output. Both must implement `serde::Serialize`, or be left out. An error of a `Result` gives it level ERROR, with the
/// error's text (`Display`, else `Debug`) as the status message. A future that is dropped before it is complete gives it
/// level WARNING, and a panic level ERROR.
///
/// It goes before functions that are async or not, with generics and lifetimes, and before methods, also of traits and under
/// `#[async_trait]`. A function that gives a future (`impl Future`, `Pin<Box<dyn Future>>`, `BoxFuture`) is observed until
/// that is complete. One that gives a stream (`impl Stream`, `Pin<Box<dyn Stream>>`, `BoxStream`, also in a `Result`), until
/// that is exhausted or dropped; the output is the items that came: of texts the whole text.
///
/// | option | meaning |
/// |---|---|
/// | `name = "…"` | its name. Default: the function's |
/// | `kind = "…"`, or `as_type = "…"` | `span` (default), `generation`, `agent`, `tool`, `chain`, `retriever`, `evaluator`, `embedding` or `guardrail` |
/// | `skip(a, b)`, `skip_all` | these arguments are not recorded, or none |
/// | `rename(a = "…")` | what an argument is called in the input |
/// | `skip_output` | the result is not recorded; errors are |
/// | `client = expression` | the client that records it. Default: the one that is current, else the process-wide one |
/// | `stream` | the result is a stream, boxed and pinned, although its type does not say so |
#[proc_macro_attribute]
pub fn observe(options: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as Options);
    let expanded = function("observe").parse(item).and_then(|function| expand::observe(&options, function));
    expanded.unwrap_or_else(|error| error.into_compile_error()).into()
}

/// As `#[observe]`, before an async function, which then flushes when it has ended, so that a trace can be watched step by
/// step. It waits for that for at most a second; the flush then goes on in the background.
///
/// It has all options but `stream`, and `flush = expression`, a `StepFlush` that says otherwise:
/// `#[step(flush = StepFlush::in_background())]` never waits.
#[proc_macro_attribute]
pub fn step(options: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options as Options);
    let expanded = function("step").parse(item).and_then(|function| expand::step(&options, function));
    expanded.unwrap_or_else(|error| error.into_compile_error()).into()
}

/// Reads a function, and says what is wrong where there is none.
fn function(attribute: &'static str) -> impl Parser<Output = ItemFn> {
    move |input: ParseStream<'_>| {
        let span = input.span();
        input.parse().map_err(|error| {
            let is_body = error.to_string().contains("expected curly braces");
            let words = if is_body {
                format!("#[{attribute}] goes before a function that has a body")
            } else {
                format!("#[{attribute}] goes before a function or a method: {error}")
            };
            syn::Error::new(if is_body { error.span() } else { span }, words)
        })
    }
}
