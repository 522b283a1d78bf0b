//! A server that takes everything and keeps nothing but the heads of requests: what a test of connections needs, and one
//! of many records.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

pub(crate) struct Sink {
    address: SocketAddr,
    /// For each connection, the heads of its requests.
    connections: Arc<Mutex<Vec<Vec<String>>>>,
}

impl Sink {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let connections = Arc::<Mutex<Vec<Vec<String>>>>::default();
        let all = Arc::clone(&connections);
        // It ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let all = Arc::clone(&all);
                let number = {
                    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                    all.push(Vec::new());
                    all.len() - 1
                };
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream);
                    while let Some(head) = answer(&mut reader) {
                        all.lock().unwrap_or_else(PoisonError::into_inner)[number].push(head);
                    }
                });
            }
        });
        Self { address, connections }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn connections(&self) -> Vec<Vec<String>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers one request, and gives its head in lower case; none at the end of the connection.
fn answer(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    head.make_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let mut body = vec![0; length.map_or(Some(0), |length| length.trim().parse().ok())?];
    reader.read_exact(&mut body).ok()?;
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    reader.get_mut().write_all(answer.as_bytes()).ok()?;
    Some(head)
}
