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
use crate::platform::host;
use crate::recording::{ObservationBuilder, ObservationHandle};

/// So many parts of a stream are kept for the output; those beyond are counted.
const KEPT_PARTS: usize = 10_000;
/// Parts beyond so many bytes of text are counted as well: an output has 1 MiB at most.
pub(crate) const KEPT_TEXT: usize = 1_000_000;

pub(crate) const STOPPED_EARLY: &str = "the consumer stopped early";

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
        Items::of(Running::start(self), stream, Part::of)
    }

    /// As [`stream`](Self::stream), of results: an error gives the observation level ERROR, with the error as the status
    /// message.
    pub fn try_stream<S, T, E>(self, stream: S) -> impl Stream<Item = Result<T, E>> + use<S, T, E>
    where
        S: Stream<Item = Result<T, E>>,
        T: Serialize,
        E: Display,
    {
        Items::of(Running::start(self), stream, |item: &Result<T, E>| match item {
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

/// What looks at a stream while it is read. Dropped before the end, the consumer did not want the rest.
pub(crate) trait Reader<Item> {
    /// An item has come.
    fn read(&mut self, item: &Item);

    /// All items have come.
    fn complete(self);
}

pin_project! {
    /// A stream whose observation is current while it is read.
    #[derive(Debug)]
    pub(crate) struct Observed<S, R> {
        #[pin]
        stream: S,
        context: Context,
        reader: Option<R>,
    }
}

impl<S: Stream, R: Reader<S::Item>> Observed<S, R> {
    pub(crate) fn new(observation: ObservationHandle, stream: S, reader: R) -> Self {
        let context = Context::current().with_observation(observation);
        Self { stream, context, reader: Some(reader) }
    }
}

impl<S: Stream, R: Reader<S::Item>> Stream for Observed<S, R> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        let restore = this.context.enter();
        let item = this.stream.poll_next(cx);
        drop(restore);
        match &item {
            Poll::Ready(Some(item)) => {
                if let Some(reader) = this.reader {
                    reader.read(item);
                }
            }
            Poll::Ready(None) => {
                if let Some(reader) = this.reader.take() {
                    reader.complete();
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

/// Makes the items the output of an observation.
#[derive(Debug)]
pub(crate) struct Items<Note> {
    running: Option<Running>,
    note: Note,
    parts: Parts,
    has_failed: bool,
}

impl<Note> Items<Note> {
    /// A stream whose items are the output of this observation, as `note` says.
    pub(crate) fn of<S: Stream>(running: Running, stream: S, note: Note) -> Observed<S, Self>
    where
        Note: Fn(&S::Item) -> Part,
    {
        let observation = running.clone();
        let reader = Self { running: Some(running), note, parts: Parts::default(), has_failed: false };
        Observed::new(observation, stream, reader)
    }

    fn end(&mut self, is_early: bool) {
        let Some(running) = self.running.take() else { return };
        if let Some(output) = std::mem::take(&mut self.parts).output() {
            running.output(&output);
        }
        if is_early && !self.has_failed && !host::is_panicking() {
            running.complain(Level::Warning, STOPPED_EARLY);
        }
        running.complete();
    }
}

impl<Item, Note: Fn(&Item) -> Part> Reader<Item> for Items<Note> {
    fn read(&mut self, item: &Item) {
        let Some(running) = self.running.as_ref().filter(|running| running.is_recorded()) else { return };
        match (self.note)(item) {
            Part::Output(value) => self.parts.add(value),
            Part::Error(error) => {
                self.has_failed = true;
                running.error(&error);
            }
            Part::Nothing => (),
        }
    }

    fn complete(mut self) {
        self.end(false);
    }
}

impl<Note> Drop for Items<Note> {
    fn drop(&mut self) {
        self.end(true);
    }
}

/// What came of a stream, as far as it is kept.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    kept: Vec<Value>,
    bytes: usize,
    more: usize,
}

impl Parts {
    pub(crate) fn add(&mut self, part: Value) {
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

    pub(crate) fn output(mut self) -> Option<Value> {
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
