//! A client that reads a stream of events.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long a reader waits for the next bytes: longer than the time between two heartbeats.
const PATIENCE: Duration = Duration::from_secs(120);

/// An event as the client was sent it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SentEvent {
    /// Its name; empty for a comment.
    pub name: String,
    /// Its id, if it has one.
    pub id: Option<String>,
    /// Its data.
    pub data: String,
}

impl SentEvent {
    /// The data as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The content of the memory in the data, or the id of a memory that has left.
    pub fn content(&self) -> String {
        let json = self.json();
        let pointer = if self.name == "left" { "/memory_id" } else { "/memory/content" };
        json.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("{pointer} in {self:?}")).to_owned()
    }
}

/// An open stream.
pub struct EventReader {
    input: BufReader<TcpStream>,
    text: String,
}

impl EventReader {
    /// Sends a request, and reads the head of the answer, which is 200 with a stream of events.
    pub fn open(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> EventReader {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n");
        headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        let mut input = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(input.read_line(&mut head).unwrap() > 0, "the connection ended: {head}");
        }
        let lower = head.to_lowercase();
        assert!(lower.starts_with("http/1.1 200 ") && lower.contains("content-type: text/event-stream"), "{head}");
        EventReader { input, text: String::new() }
    }

    /// The next block of lines; `None` at the end of the stream, or where the connection was cut.
    fn next_block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let mut size = String::new();
            self.input.read_line(&mut size).ok().filter(|bytes| *bytes > 0)?;
            let size = usize::from_str_radix(size.trim(), 16).unwrap_or_else(|error| panic!("{error}: {size:?}"));
            let mut chunk = vec![0; size + 2];
            self.input.read_exact(&mut chunk).ok()?;
            if size == 0 {
                return None;
            }
            self.text.push_str(std::str::from_utf8(&chunk[..size]).unwrap());
        }
    }

    /// The next event, or a comment, as WHATWG HTML reads it; `None` at the end.
    pub fn next_of_any_kind(&mut self) -> Option<SentEvent> {
        let mut event = SentEvent::default();
        for line in self.next_block()?.lines() {
            match line.split_once(": ") {
                Some(("event", name)) => event.name = name.to_owned(),
                Some(("id", id)) => event.id = Some(id.to_owned()),
                Some(("data", data)) => event.data.push_str(data),
                _ => assert!(line.starts_with(':'), "{line:?} is neither a field nor a comment"),
            }
        }
        Some(event)
    }

    /// The next event; comments are left out.
    pub fn next(&mut self) -> Option<SentEvent> {
        std::iter::from_fn(|| self.next_of_any_kind()).find(|event| !event.name.is_empty())
    }

    /// The next event, which has this name.
    #[track_caller]
    pub fn next_named(&mut self, name: &str) -> SentEvent {
        let event = self.next().expect("the stream has ended");
        assert_eq!(event.name, name, "{event:?}");
        event
    }
}
