//! A server that takes everything, and counts what it took.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use serde_json::{Value, json};

use crate::Result;

type Ids = Arc<Mutex<HashSet<Vec<u8>>>>;

pub(crate) fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("http://{}", listener.local_addr()?);
    let ids = Ids::default();
    for stream in listener.incoming() {
        let (stream, ids) = (stream?, Arc::clone(&ids));
        stream.set_nodelay(true)?;
        thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            while let Ok(true) = answer(&mut reader, &ids) {}
        });
    }
    Ok(())
}

/// The observations that the receiver has seen.
pub(crate) fn count(url: &str) -> Result<u64> {
    let address = url.strip_prefix("http://").ok_or("an http URL")?;
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /count HTTP/1.1\r\nconnection: close\r\n\r\n")?;
    let mut answer = BufReader::new(stream).lines();
    let length = answer
        .by_ref()
        .map_while(std::io::Result::ok)
        .find_map(|line| line.strip_prefix("x-count: ").map(str::to_owned));
    Ok(length.ok_or("the receiver counts")?.parse()?)
}

/// Answers one request; `false` at the end of the connection.
fn answer(reader: &mut BufReader<TcpStream>, ids: &Ids) -> Result<bool> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(false);
        }
    }
    head.make_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let mut body = vec![0; length.map_or(Ok(0), |length| length.trim().parse())?];
    reader.read_exact(&mut body)?;
    let mut seen = ids.lock().map_err(|_| "the lock is whole")?;
    let (status, answer) = if head.starts_with("get") {
        (200, String::new())
    } else if head.contains("application/x-protobuf") {
        for resource in ExportTraceServiceRequest::decode(&body[..])?.resource_spans {
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                seen.insert(span.span_id);
            }
        }
        (200, "{}".to_owned())
    } else {
        let body: Value = serde_json::from_slice(&body)?;
        let events = body["batch"].as_array().ok_or("a batch")?;
        for event in events {
            seen.insert(event["body"]["id"].to_string().into_bytes());
        }
        let successes: Vec<_> =
            events.iter().map(|event| json!({ "id": event["id"], "status": 201 })).collect();
        (207, json!({ "successes": successes, "errors": [] }).to_string())
    };
    let (count, length) = (seen.len(), answer.len());
    drop(seen);
    let head = format!(
        "HTTP/1.1 {status} OK\r\ncontent-type: application/json\r\nx-count: {count}\r\ncontent-length: {length}\r\n\r\n"
    );
    reader.get_mut().write_all((head + &answer).as_bytes())?;
    Ok(true)
}
