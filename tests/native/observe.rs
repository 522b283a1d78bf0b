//! `#[observe]` and `#[step]`: of whatever kind the function is, it does what it did, and is an observation.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};

use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, stream};
use langfuse_edge::{Langfuse, StepFlush, current_observation, observe, step};
use serde::Serialize;
use serde_json::json;

use crate::receiver::Receiver;

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

struct Secret;

#[derive(Clone, Serialize)]
struct Document {
    title: String,
}

#[derive(Debug)]
struct NotDisplayed;

#[observe]
fn add(one: i32, other: i32) -> i32 {
    one + other
}

#[observe(name = "search documents", kind = "retriever", skip(secret), rename(query = "q"))]
async fn search(query: &str, (limit, _): (usize, bool), secret: &Secret, _unused: u8) -> Vec<Document> {
    let Secret = secret;
    tokio::task::yield_now().await;
    let lengthy = add(1, i32::try_from(limit).unwrap_or_default());
    vec![Document { title: format!("{query} {lengthy}") }; limit]
}

#[observe]
fn parse(text: &str) -> Result<i32, std::num::ParseIntError> {
    let number: i32 = text.parse()?;
    Ok(number)
}

#[observe]
async fn parse_later(text: String) -> Result<i32, Box<dyn std::error::Error + Send + Sync>> {
    tokio::task::yield_now().await;
    if text.is_empty() {
        return Err("nothing there".into());
    }
    Ok(text.parse()?)
}

#[observe]
fn debugged() -> Result<(), NotDisplayed> {
    Err(NotDisplayed)
}

#[observe(skip_output)]
fn secretly(fails: bool) -> Result<Secret, String> {
    if fails { Err("no".to_owned()) } else { Ok(Secret) }
}

#[observe(skip_all)]
fn longest<'a, T>(one: &'a [T], other: &'a [T]) -> &'a [T]
where
    T: Serialize,
{
    if one.len() > other.len() { one } else { other }
}

#[observe]
async fn show<T: Display + Serialize>(value: T, times: impl Into<u32> + Serialize) -> String {
    value.to_string().repeat(times.into() as usize)
}

#[observe]
fn chained(number: i32) -> impl Iterator<Item = i32> + Serialize + use<> {
    vec![number].into_iter().collect::<Numbers>()
}

#[derive(Serialize)]
struct Numbers(Vec<i32>);

impl FromIterator<i32> for Numbers {
    fn from_iter<I: IntoIterator<Item = i32>>(numbers: I) -> Self {
        Self(numbers.into_iter().collect())
    }
}

impl Iterator for Numbers {
    type Item = i32;

    fn next(&mut self) -> Option<i32> {
        self.0.pop()
    }
}

struct Counter {
    langfuse: Langfuse,
    count: u32,
}

impl Counter {
    #[observe(client = self.langfuse, kind = "tool")]
    fn increase(&mut self, by: u32) -> &mut u32 {
        self.count += by;
        &mut self.count
    }

    #[observe(client = self.langfuse)]
    async fn increase_later(&mut self, by: u32) -> u32 {
        *self.increase(by)
    }

    #[observe]
    fn into_count(self) -> u32 {
        self.count
    }
}

trait Answers {
    async fn answer(&self, question: &str) -> String;

    #[observe]
    fn name(&self) -> String {
        "nobody".to_owned()
    }
}

impl Answers for Counter {
    #[observe(client = self.langfuse, kind = "agent")]
    async fn answer(&self, question: &str) -> String {
        format!("{question} {}", self.count)
    }
}

#[async_trait::async_trait]
trait Boxed: Send + Sync {
    async fn boxed(&self, number: u32) -> Result<u32, String>;
}

#[async_trait::async_trait]
impl Boxed for Counter {
    #[observe(client = self.langfuse)]
    async fn boxed(&self, number: u32) -> Result<u32, String> {
        tokio::task::yield_now().await;
        if number == 0 {
            return Err("zero".to_owned());
        }
        Ok(self.count + number)
    }
}

#[observe]
fn by_hand(number: u32) -> impl Future<Output = Result<u32, String>> + Send {
    async move {
        tokio::task::yield_now().await;
        Ok(number)
    }
}

#[observe]
fn pinned<'a>(text: &'a str) -> BoxFuture<'a, usize> {
    Box::pin(async move { text.len() })
}

#[observe(kind = "generation")]
fn tokens(count: usize) -> impl Stream<Item = String> {
    stream::iter(0..count).map(|number| {
        observe("inner").start().end();
        format!("t{number} ")
    })
}

#[observe]
fn boxed_tokens(prompt: &str) -> BoxStream<'_, Result<u32, String>> {
    stream::iter([Ok(1), Ok(2), Err(format!("no more {prompt}"))]).boxed()
}

#[observe]
async fn opened(works: bool) -> Result<impl Stream<Item = Document>, String> {
    tokio::task::yield_now().await;
    if !works {
        return Err("closed".to_owned());
    }
    Ok(stream::iter([Document { title: "one".to_owned() }]))
}

type Tokens = Pin<Box<dyn Stream<Item = Secret> + Send>>;

#[observe(stream, skip_output)]
async fn aliased() -> Tokens {
    Box::pin(stream::iter([Secret, Secret]))
}

#[step]
async fn triage(mail: &str) -> Result<usize, String> {
    Ok(mail.len())
}

#[step(flush = StepFlush::none())]
async fn quiet(mail: &str) -> Result<usize, String> {
    Ok(mail.len())
}

#[step(name = "reply to it")]
async fn reply(mail: &str) -> Result<usize, String> {
    let length = triage(mail).await?;
    if length > 4 { Err("too long".to_owned()) } else { Ok(length) }
}

/// Runs something as a child of an observation of this client, which makes the client the one that records.
async fn within<T>(langfuse: &Langfuse, future: impl Future<Output = T>) -> T {
    let output = langfuse.observe("root").run(future).await;
    assert!(langfuse.flush().await.ok);
    output
}

#[tokio::test]
async fn functions_are_observations_with_their_arguments_by_name_and_their_result() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();

    let found = within(&langfuse, search("cats", (2, true), &Secret, 1)).await;

    assert_eq!(found.iter().map(|found| found.title.as_str()).collect::<Vec<_>>(), ["cats 3", "cats 3"]);
    let search = receiver.row("search documents").await;
    assert_eq!(
        (&search["type"], &search["input"]),
        (&json!("RETRIEVER"), &json!(r#"{"q":"cats","limit":2}"#))
    );
    assert_eq!(search["output"], r#"[{"title":"cats 3"},{"title":"cats 3"}]"#);
    assert_eq!(search["parentObservationId"], receiver.row("root").await["id"]);
    let add = receiver.row("add").await;
    assert_eq!((&add["input"], &add["output"]), (&json!(r#"{"one":1,"other":2}"#), &json!("3")));
    assert_eq!(add["parentObservationId"], search["id"]);
}

#[tokio::test]
async fn an_error_gives_level_error_with_the_words_of_the_error_and_is_passed_on() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();

    let failed = within(&langfuse, async {
        let later = parse_later(String::new()).await;
        (parse("x").is_err(), later.is_err(), debugged().is_err(), secretly(true).is_err())
    });

    assert_eq!(failed.await, (true, true, true, true));
    for (name, words) in [
        ("parse", "invalid digit found in string"),
        ("parse_later", "nothing there"),
        ("debugged", "NotDisplayed"),
        ("secretly", "no"),
    ] {
        let row = receiver.row(name).await;
        assert_eq!((&row["level"], &row["statusMessage"]), (&json!("ERROR"), &json!(words)), "{name}");
        assert_eq!(row["output"], json!(null));
    }
}

#[tokio::test]
async fn what_succeeds_has_the_value_for_its_output_unless_that_is_left_out() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();

    let succeeded = within(&langfuse, async {
        let later = parse_later("12".to_owned()).await.ok();
        (parse("7").ok(), later, secretly(false).is_ok(), longest(&[1, 2], &[3]).len())
    });

    assert_eq!(succeeded.await, (Some(7), Some(12), true, 2));
    let expected = [
        ("parse", json!("7"), json!(r#"{"text":"7"}"#)),
        ("parse_later", json!("12"), json!(r#"{"text":"12"}"#)),
        ("secretly", json!(null), json!(r#"{"fails":false}"#)),
        ("longest", json!("[1,2]"), json!(null)),
    ];
    for (name, output, input) in expected {
        let row = receiver.row(name).await;
        assert_eq!(
            (&row["output"], &row["input"], &row["level"]),
            (&output, &input, &json!("DEFAULT")),
            "{name}"
        );
    }
}

#[tokio::test]
async fn generics_lifetimes_opaque_types_and_methods_are_what_they_were() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let mut counter = Counter { langfuse: langfuse.clone(), count: 0 };

    let shown = within(&langfuse, async {
        *counter.increase(1) += 10;
        counter.increase_later(2).await;
        let answer = counter.answer("how many?").await;
        let boxed: Box<dyn Boxed> = Box::new(Counter { langfuse: langfuse.clone(), count: 1 });
        assert_eq!((boxed.boxed(1).await, boxed.boxed(0).await), (Ok(2), Err("zero".to_owned())));
        assert_eq!((by_hand(3).await, pinned("four").await), (Ok(3), 4));
        assert_eq!(chained(5).next(), Some(5));
        (show("x", 3_u8).await, answer, counter.name(), counter.into_count())
    });

    assert_eq!(shown.await, ("xxx".to_owned(), "how many? 13".to_owned(), "nobody".to_owned(), 13));
    let expected = [
        ("show", json!("xxx"), json!(r#"{"value":"x","times":3}"#)),
        ("increase_later", json!("13"), json!(r#"{"by":2}"#)),
        ("answer", json!("how many? 13"), json!(r#"{"question":"how many?"}"#)),
        ("name", json!("nobody"), json!(null)),
        ("into_count", json!("13"), json!(null)),
        ("by_hand", json!("3"), json!(r#"{"number":3}"#)),
        ("pinned", json!("4"), json!(r#"{"text":"four"}"#)),
        ("chained", json!("[5]"), json!(r#"{"number":5}"#)),
    ];
    for (name, output, input) in expected {
        let row = receiver.row(name).await;
        assert_eq!((&row["output"], &row["input"]), (&output, &input), "{name}");
    }
    let boxed = receiver.rows("boxed").await;
    assert_eq!((&boxed[0]["output"], &boxed[1]["statusMessage"]), (&json!("2"), &json!("zero")));
}

#[tokio::test]
async fn a_stream_is_observed_until_it_is_exhausted_and_what_it_does_becomes_a_child() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();

    let (text, results, titles) = within(&langfuse, async {
        let text: String = tokens(3).collect().await;
        assert!(current_observation().is_some_and(|current| current.is_open()), "the root is current again");
        let results: Vec<_> = boxed_tokens("today").collect().await;
        let titles = match opened(true).await {
            Ok(documents) => documents.map(|document| document.title).collect().await,
            Err(_) => Vec::new(),
        };
        assert!(opened(false).await.is_err());
        assert_eq!(aliased().await.count().await, 2);
        (text, results.len(), titles)
    })
    .await;

    assert_eq!((text.as_str(), results, titles), ("t0 t1 t2 ", 3, vec!["one".to_owned()]));
    let tokens = receiver.row("tokens").await;
    assert_eq!((&tokens["output"], &tokens["level"]), (&json!("t0 t1 t2 "), &json!("DEFAULT")));
    assert_eq!((&tokens["type"], &tokens["input"]), (&json!("GENERATION"), &json!(r#"{"count":3}"#)));
    assert_eq!(receiver.row("inner").await["parentObservationId"], tokens["id"]);
    let boxed = receiver.row("boxed_tokens").await;
    assert_eq!((&boxed["output"], &boxed["level"]), (&json!("[1,2]"), &json!("ERROR")));
    assert_eq!(boxed["statusMessage"], "no more today");
    let opened = receiver.rows("opened").await;
    assert_eq!(
        (&opened[0]["output"], &opened[1]["statusMessage"]),
        (&json!(r#"[{"title":"one"}]"#), &json!("closed"))
    );
    let aliased = receiver.row("aliased").await;
    assert_eq!((&aliased["output"], &aliased["level"]), (&json!(null), &json!("DEFAULT")));
}

#[tokio::test]
async fn what_is_dropped_before_its_end_has_a_warning_and_what_came_until_then() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();

    within(&langfuse, async {
        let mut read = Box::pin(tokens(1000));
        assert_eq!((read.next().await, read.next().await), (Some("t0 ".to_owned()), Some("t1 ".to_owned())));
        drop(read);
        let mut abandoned = Box::pin(parse_later("1".to_owned()));
        assert!(abandoned.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    })
    .await;

    let tokens = receiver.row("tokens").await;
    assert_eq!((&tokens["output"], &tokens["level"]), (&json!("t0 t1 "), &json!("WARNING")));
    assert_eq!(tokens["statusMessage"], "the consumer stopped early");
    let abandoned = receiver.row("parse_later").await;
    assert_eq!(
        (&abandoned["level"], &abandoned["statusMessage"]),
        (&json!("WARNING"), &json!("dropped before it was complete"))
    );
}

#[tokio::test]
async fn of_a_long_stream_the_first_parts_are_kept_and_the_others_counted() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let items = langfuse.observe("numbers").stream(stream::iter(0..10_005_u32)).count().await;
    let large = (0..3).map(|_| "x".repeat(500_000));
    let texts = langfuse.observe("texts").stream(stream::iter(large)).count().await;
    let results = stream::iter([Ok(1), Err("no luck")]);
    let failed = langfuse.observe("results").try_stream(results).count().await;

    assert!(langfuse.flush().await.ok);

    assert_eq!((items, texts, failed), (10_005, 3, 2));
    let ends = |name: &'static str, end: &'static str| {
        let row = receiver.row(name);
        async move { assert!(row.await["output"].as_str().is_some_and(|output| output.ends_with(end)), "{name}") }
    };
    ends("numbers", "9999,\"…[5 more parts]\"]").await;
    ends("texts", "x…[1 more parts]").await;
    let results = receiver.row("results").await;
    assert_eq!((&results["output"], &results["statusMessage"]), (&json!("[1]"), &json!("no luck")));
}

#[tokio::test]
async fn a_step_is_flushed_when_it_ends_also_when_it_fails() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();
    let root = langfuse.observe("root").start();

    let (short, long) = root
        .scope(async {
            let short = reply("mail").await;
            assert_eq!(receiver.state("observations").await, 2, "before anybody else flushes");
            (short, reply("a mail").await)
        })
        .await;

    assert_eq!((short, long), (Ok(4), Err("too long".to_owned())));
    assert_eq!(receiver.state("observations").await, 4);
    let rows = receiver.rows("reply to it").await;
    assert_eq!((&rows[0]["output"], &rows[1]["statusMessage"]), (&json!("4"), &json!("too long")));
}

#[tokio::test]
async fn a_step_may_say_how_it_flushes() {
    let receiver = Receiver::start();
    let langfuse = receiver.client();

    let root = langfuse.observe("root").start();
    assert_eq!(root.scope(quiet("mail")).await, Ok(4));

    assert_eq!((langfuse.stats().queued, receiver.state("requests").await), (1, 0));
    root.end();
    assert!(langfuse.flush().await.ok);
    assert_eq!(receiver.row("quiet").await["output"], "4");
}

#[tokio::test]
async fn futures_of_observed_functions_can_be_spawned() {
    fn can_be_spawned<T: Send + 'static>(_: T) {}
    can_be_spawned(parse_later(String::new()));
    can_be_spawned(reply("mail"));
    can_be_spawned(by_hand(1));
    can_be_spawned(tokens(1));
    can_be_spawned(opened(true));
}
