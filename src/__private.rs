//! What the code that the macros write calls. No part of the public interface.

use std::fmt::{Debug, Display};
use std::future::Future;
use std::marker::PhantomData;

use futures_core::Stream;
use serde::Serialize;

use crate::client::Langfuse;
use crate::observation::{Field, ObservationKind};
use crate::observed::{self, Running};
use crate::process_wide::active_langfuse;
use crate::recording::{ObservationBuilder, ObservationHandle};
use crate::stream::Items;
pub use crate::stream::Part;
use crate::workflow::{StepFlush, flushed};

/// Begins to describe the observation of a call.
pub fn builder(langfuse: Option<&Langfuse>, name: &str, kind: ObservationKind) -> ObservationBuilder {
    langfuse.cloned().unwrap_or_else(active_langfuse).observe(name).kind(kind)
}

/// The arguments of a call, as JSON text.
#[derive(Debug)]
pub struct Arguments {
    builder: ObservationBuilder,
    json: String,
}

impl Arguments {
    /// None yet.
    pub fn of(builder: ObservationBuilder) -> Self {
        Self { builder, json: String::new() }
    }

    /// Takes one over, by its name.
    pub fn add<T: RecordedArgument + ?Sized>(&mut self, name: &str, argument: &T) {
        if self.builder.is_recorded() {
            self.json += if self.json.is_empty() { "{" } else { "," };
            self.json += &to_json(name);
            self.json += ":";
            self.json += &argument.as_json();
        }
    }

    /// What has them for its input.
    pub fn into_builder(mut self) -> ObservationBuilder {
        if !self.json.is_empty() {
            self.json += "}";
            self.builder.attributes.fields.set(Field::Input, self.json);
        }
        self.builder
    }
}

fn to_json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "\"[not serializable]\"".to_owned())
}

/// An argument that can be recorded.
#[diagnostic::on_unimplemented(
    message = "this argument of type `{Self}` cannot be recorded, because `{Self}` does not implement `serde::Serialize`",
    label = "cannot be recorded as input",
    note = "leave it out by its name, `#[observe(skip(…))]`, or derive `serde::Serialize` for `{Self}`"
)]
pub trait RecordedArgument {
    /// As JSON text.
    fn as_json(&self) -> String;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + ?Sized> RecordedArgument for T {
    fn as_json(&self) -> String {
        to_json(self)
    }
}

/// A result that can be recorded.
#[diagnostic::on_unimplemented(
    message = "the result of type `{Self}` cannot be recorded, because `{Self}` does not implement `serde::Serialize`",
    label = "cannot be recorded as output",
    note = "leave it out, `#[observe(skip_output)]`, or derive `serde::Serialize` for `{Self}`"
)]
pub trait RecordedOutput {
    /// As a part of the output.
    fn as_part(&self) -> Part;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + ?Sized> RecordedOutput for T {
    fn as_part(&self) -> Part {
        Part::of(self)
    }
}

/// Tells what kind of result a type is: of the traits below, a call of `kind` on four references to a probe finds that which
/// is implemented for the most of them.
#[derive(Debug)]
pub struct Probe<T>(PhantomData<fn(T)>);

/// A probe of a value's type.
pub fn probe<T>(_: &T) -> Probe<T> {
    Probe(PhantomData)
}

/// A result whose error can be shown to people.
#[derive(Debug)]
pub struct Displayed;
/// A result whose error can be shown to developers.
#[derive(Debug)]
pub struct Debugged;
/// A result whose error says nothing.
#[derive(Debug)]
pub struct Silent;
/// No result.
#[derive(Debug)]
pub struct Plain;

pub trait DisplayedKind {
    fn kind(&self) -> Displayed {
        Displayed
    }
}
impl<T, E: Display> DisplayedKind for &&&Probe<Result<T, E>> {}

pub trait DebuggedKind {
    fn kind(&self) -> Debugged {
        Debugged
    }
}
impl<T, E: Debug> DebuggedKind for &&Probe<Result<T, E>> {}

pub trait SilentKind {
    fn kind(&self) -> Silent {
        Silent
    }
}
impl<T, E> SilentKind for &Probe<Result<T, E>> {}

pub trait PlainKind {
    fn kind(&self) -> Plain {
        Plain
    }
}
impl<T> PlainKind for Probe<T> {}

macro_rules! of_results {
    ($kind:ident $(: $bound:ident)?, |$error:ident| $words:expr) => {
        impl $kind {
            /// With the output.
            pub fn part<T: RecordedOutput, E $(: $bound)?>(&self, result: &Result<T, E>) -> Part {
                match result {
                    Ok(output) => output.as_part(),
                    Err($error) => Part::Error($words),
                }
            }

            /// Without the output.
            pub fn error<T, E $(: $bound)?>(&self, result: &Result<T, E>) -> Part {
                match result {
                    Ok(_) => Part::Nothing,
                    Err($error) => Part::Error($words),
                }
            }
        }
    };
}

of_results!(Displayed: Display, |error| error.to_string());
of_results!(Debugged: Debug, |error| format!("{error:?}"));
of_results!(Silent, |_error| "failed".to_owned());

impl Plain {
    /// With the output.
    pub fn part<T: RecordedOutput>(&self, output: &T) -> Part {
        output.as_part()
    }

    /// Without the output.
    pub fn error<T>(&self, _: &T) -> Part {
        Part::Nothing
    }
}

fn note_part(observation: &ObservationHandle, part: impl FnOnce() -> Part) {
    if observation.is_recorded() {
        match part() {
            Part::Output(output) => {
                observation.output(&output);
            }
            Part::Error(error) => {
                observation.error(&error);
            }
            Part::Nothing => (),
        }
    }
}

/// Runs a function's body.
pub fn call<T>(builder: ObservationBuilder, body: impl FnOnce() -> T, part: impl FnOnce(&T) -> Part) -> T {
    observed::call(builder, body, |observation, output| note_part(observation, || part(output)))
}

/// Runs an async function's body.
pub fn run<F: Future>(
    builder: ObservationBuilder,
    body: F,
    part: impl FnOnce(&F::Output) -> Part,
) -> impl Future<Output = F::Output> {
    observed::run(builder, body, |observation, output| note_part(observation, || part(output)))
}

/// As [`run`], and flushes, for a step.
pub fn run_step<F: Future>(
    builder: ObservationBuilder,
    body: F,
    part: impl FnOnce(&F::Output) -> Part,
    flush: StepFlush,
) -> impl Future<Output = F::Output> {
    flushed(builder.langfuse().clone(), flush, run(builder, body, part))
}

/// A future whose output is known to be `T`, so that the compiler need not guess it.
pub fn giving<T, F: Future<Output = T>>(future: F) -> F {
    future
}

/// Runs the body of a function that gives a stream.
pub fn stream<S: Stream>(
    builder: ObservationBuilder,
    body: impl FnOnce() -> S,
    part: impl Fn(&S::Item) -> Part,
) -> impl Stream<Item = S::Item> {
    let running = Running::start(builder);
    let stream = running.in_scope(body);
    Items::of(running, stream, part)
}

/// As [`stream`], of a function that may give an error instead.
pub fn try_stream<S: Stream, E>(
    builder: ObservationBuilder,
    body: impl FnOnce() -> Result<S, E>,
    error: impl FnOnce(&Result<(), &E>) -> Part,
    part: impl Fn(&S::Item) -> Part,
) -> Result<impl Stream<Item = S::Item>, E> {
    let running = Running::start(builder);
    let result = running.in_scope(body);
    opened(running, result, error, part)
}

/// As [`stream`], of an async function.
pub async fn run_stream<F: Future<Output: Stream>>(
    builder: ObservationBuilder,
    body: F,
    part: impl Fn(&<F::Output as Stream>::Item) -> Part,
) -> impl Stream<Item = <F::Output as Stream>::Item> {
    let running = Running::start(builder);
    let stream = running.scope(body).await;
    Items::of(running, stream, part)
}

/// As [`try_stream`], of an async function.
pub async fn run_try_stream<S: Stream, E>(
    builder: ObservationBuilder,
    body: impl Future<Output = Result<S, E>>,
    error: impl FnOnce(&Result<(), &E>) -> Part,
    part: impl Fn(&S::Item) -> Part,
) -> Result<impl Stream<Item = S::Item>, E> {
    let running = Running::start(builder);
    let result = running.scope(body).await;
    opened(running, result, error, part)
}

fn opened<S: Stream, E>(
    running: Running,
    result: Result<S, E>,
    error: impl FnOnce(&Result<(), &E>) -> Part,
    part: impl Fn(&S::Item) -> Part,
) -> Result<impl Stream<Item = S::Item>, E> {
    match result {
        Ok(stream) => Ok(Items::of(running, stream, part)),
        Err(failed) => {
            note_part(&running, || error(&Err(&failed)));
            running.complete();
            Err(failed)
        }
    }
}
