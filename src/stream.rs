//! Streams that are observed until they are exhausted or dropped.

use std::fmt::Display;
use std::pin::Pin;
use std::task::{self, Poll};

use futures_core::Stream;
use pin_project_lite::pin_project;
use serde::Serialize;
use serde_json::Value;

use crate::context::Context;
use crate::observation::Level;
use crate::observed::Running;
use crate::recording::ObservationBuilder;

/// So many parts of a stream are kept for the output; those beyond are counted.
const KEPT_PARTS: usize = 10_000;
/// Parts beyond so many bytes of text are counted as well: an output has 1 MiB at most.
const KEPT_TEXT: usize = 1_000_000;

const STOPPED_EARLY: &str = "the consumer stopped early";

/// Features `stream` and `macros`.
impl ObservationBuilder {
    /// Reads `stream` as this observation, which starts now and ends when the stream is exhausted. The output is what came: of
    /// texts the whole text, of anything else a list, of which 10,000 items or 1 MB are kept and the others counted.
    ///
    /// A stream that is dropped before its end gives the observation level WARNING. What the stream observes while it is
    /// read becomes a child.
    pub fn stream<S>(self, stream: S) -> impl Stream<Item = S::Item> + use<S>
    where
        S: Stream,
        S::Item: Serialize,
    {
        Observed::new(Running::start(self), stream, Part::of)
    }

    /// As [`stream`](Self::stream), of results: an error gives the observation level ERROR, with the error as the status
    /// message.
    pub fn try_stream<S, T, E>(self, stream: S) -> impl Stream<Item = Result<T, E>> + use<S, T, E>
    where
        S: Stream<Item = Result<T, E>>,
        T: Serialize,
        E: Display,
    {
        Observed::new(Running::start(self), stream, |item: &Result<T, E>| match item {
            Ok(item) => Part::of(item),
            Err(error) => Part::Error(error.to_string()),
        })
    }
}

/// What a result or an item of a stream means for its observation.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "it is for the macros")]
pub enum Part {
    /// It is output.
    Output(Value),
    /// It is an error.
    Error(String),
    /// It is neither, or nobody wants to know.
    Nothing,
}

impl Part {
    pub(crate) fn of(value: &(impl Serialize + ?Sized)) -> Self {
        match serde_json::to_value(value) {
            Ok(Value::Null) => Self::Nothing,
            Ok(value) => Self::Output(value),
            Err(_) => Self::Output("[not serializable]".into()),
        }
    }
}

pin_project! {
    /// A stream whose observation is current while it is read.
    #[derive(Debug)]
    pub(crate) struct Observed<S, Note> {
        #[pin]
        stream: S,
        context: Context,
        note: Note,
        reading: Option<Reading>,
    }
}

impl<S: Stream, Note: Fn(&S::Item) -> Part> Observed<S, Note> {
    pub(crate) fn new(running: Running, stream: S, note: Note) -> Self {
        let context = Context::current().with_observation(running.clone());
        let reading = Reading { running: Some(running), parts: Parts::default(), has_failed: false };
        Self { stream, context, note, reading: Some(reading) }
    }
}

impl<S: Stream, Note: Fn(&S::Item) -> Part> Stream for Observed<S, Note> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        let restore = this.context.enter();
        let item = this.stream.poll_next(cx);
        drop(restore);
        match &item {
            Poll::Ready(Some(item)) => {
                if let Some(reading) = this.reading.as_mut().filter(|reading| reading.is_recorded()) {
                    reading.add((this.note)(item));
                }
            }
            Poll::Ready(None) => {
                if let Some(reading) = this.reading.take() {
                    reading.complete();
                }
            }
            Poll::Pending => (),
        }
        item
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.stream.size_hint()
    }
}

/// How far a stream has been read: dropped before the end, its consumer did not want the rest.
#[derive(Debug)]
struct Reading {
    running: Option<Running>,
    parts: Parts,
    has_failed: bool,
}

impl Reading {
    fn is_recorded(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.is_recorded())
    }

    fn add(&mut self, part: Part) {
        match (part, &self.running) {
            (Part::Output(value), _) => self.parts.add(value),
            (Part::Error(error), Some(running)) => {
                self.has_failed = true;
                running.error(&error);
            }
            _ => (),
        }
    }

    fn complete(mut self) {
        self.end(false);
    }

    fn end(&mut self, is_early: bool) {
        let Some(running) = self.running.take() else { return };
        if let Some(output) = std::mem::take(&mut self.parts).output() {
            running.output(&output);
        }
        if is_early && !self.has_failed && !std::thread::panicking() {
            running.complain(Level::Warning, STOPPED_EARLY);
        }
        running.complete();
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.end(true);
    }
}

#[derive(Debug, Default)]
struct Parts {
    kept: Vec<Value>,
    bytes: usize,
    more: usize,
}

impl Parts {
    fn add(&mut self, part: Value) {
        if self.kept.len() >= KEPT_PARTS || self.bytes >= KEPT_TEXT {
            self.more += 1;
            return;
        }
        self.bytes += match &part {
            Value::String(text) => text.len(),
            other => other.to_string().len(),
        };
        self.kept.push(part);
    }

    fn output(mut self) -> Option<Value> {
        if self.kept.is_empty() {
            return None;
        }
        if self.more > 0 {
            self.kept.push(format!("…[{} more parts]", self.more).into());
        }
        let texts: Option<Vec<_>> = self.kept.iter().map(Value::as_str).collect();
        Some(texts.map_or_else(|| Value::Array(self.kept.clone()), |texts| texts.concat().into()))
    }
}
