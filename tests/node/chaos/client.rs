//! A client that writes through all nodes, and notes what it was answered and what it had seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use testkit::{Random, wait_for};

use super::http::{self, Answer};
use super::{ANY, GROWING, Progress};

/// How a write ended for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was answered with success; the id of its event.
    Accepted(String),
    /// It was answered with a refusal, with this status.
    Refused(u16),
    /// There was no answer.
    Unanswered,
}

/// A write as its client knows it.
#[derive(Debug)]
pub(super) struct Written {
    /// A key of the metadata that no other write has; a delete carries none.
    pub mark: Option<String>,
    pub memory_id: String,
    pub end: End,
    /// The marks that the client had seen of a growing memory, where it carried a token.
    pub seen: Option<BTreeSet<String>>,
}

/// A memory as the client has last seen it.
#[derive(Clone)]
struct Held {
    token: String,
    /// The keys of the metadata.
    marks: BTreeSet<String>,
}

impl Held {
    fn of(answer: &Value) -> Option<Held> {
        let metadata = answer["memory"]["metadata"].as_object();
        let marks = metadata.into_iter().flatten().map(|(key, _)| key.clone()).collect();
        Some(Held { token: answer["clock"].as_str()?.to_owned(), marks })
    }
}

/// A request that writes.
struct Write {
    method: &'static str,
    path: String,
    headers: String,
    body: String,
}

pub(super) struct Client<'r> {
    name: usize,
    random: Random,
    urls: &'r [String],
    progress: &'r Progress,
    held: BTreeMap<&'static str, Held>,
    written: Vec<Written>,
}

/// Creates a memory, for the clients to write to.
pub(super) fn create(url: &str, id: &str, user: &str) -> Written {
    let mark = format!("first-{id}");
    let body = json!({"memory_id": id, "user_id": user, "content": "first", "metadata": {&mark: 0}}).to_string();
    let answer = wait_for("a memory to be created", || http::request(url, "POST", "/v1/memories", "", &body).ok());
    assert_eq!(answer.status, 201, "{answer:?}");
    let event_id = answer.body["event"]["event_id"].as_str().unwrap().to_owned();
    Written { mark: Some(mark), memory_id: id.to_owned(), end: End::Accepted(event_id), seen: None }
}

impl<'r> Client<'r> {
    pub fn new(name: usize, seed: u64, urls: &'r [String], progress: &'r Progress) -> Client<'r> {
        Client { name, random: Random::new(seed), urls, progress, held: BTreeMap::new(), written: Vec::new() }
    }

    /// Reads and writes until the round is over, and returns all its writes.
    pub fn write_until_over(mut self) -> Vec<Written> {
        while !self.progress.is_over.load(Ordering::SeqCst) {
            let id = if self.random.one_in(2) { self.random.pick(&GROWING) } else { self.random.pick(&ANY) };
            match self.random.below(3) {
                0 => self.read(id),
                _ => self.write(id),
            }
        }
        self.written
    }

    fn read(&mut self, id: &'static str) {
        let url = self.random.pick(self.urls);
        let session = if self.random.one_in(3) { format!("X-Session-Id: s{}\r\n", self.name) } else { String::new() };
        if let Ok(answer) = http::request(&url, "GET", &format!("/v1/memories/{id}"), &session, "") {
            self.note(id, &answer.body);
        }
    }

    /// What the client has seen now. A refusal encloses the memory, too.
    fn note(&mut self, id: &'static str, answer: &Value) {
        if let Some(held) = Held::of(answer) {
            self.held.insert(id, held);
        }
    }

    /// What the client has seen behind a write of its own: the token of the answer has what it had
    /// seen before, and this write. The memory of the answer may show more, which others have
    /// written, and less, where the node has not seen yet what the client has.
    fn note_own(&mut self, id: &'static str, answer: &Value, seen: Option<BTreeSet<String>>, mark: &str) {
        let token = answer["clock"].as_str().unwrap().to_owned();
        match seen {
            Some(mut marks) => {
                marks.insert(mark.to_owned());
                self.held.insert(id, Held { token, marks });
            }
            // The node has assumed something that it does not say.
            None => drop(self.held.remove(id)),
        }
    }

    fn write(&mut self, id: &'static str) {
        let url = self.random.pick(self.urls);
        let mark = format!("c{}-{}", self.name, self.written.len());
        let (mut write, has_mark) = self.request(id, &mark);
        let held = if self.random.one_in(3) { None } else { self.held.get(id).cloned() };
        match &held {
            Some(held) => write.headers.push_str(&format!("If-Match: \"{}\"\r\n", held.token)),
            None if self.random.one_in(2) => write.headers.push_str(&format!("X-Session-Id: s{}\r\n", self.name)),
            None => {}
        }
        let has_key = self.random.one_in(2);
        if has_key {
            write.headers.push_str(&format!("Idempotency-Key: {mark}\r\n"));
        }
        let seen = held.map(|held| held.marks);
        let answer = send(&url, &write, has_key);
        let end = match &answer {
            None => End::Unanswered,
            Some(answer) if answer.status < 300 => {
                self.progress.accepted.fetch_add(1, Ordering::SeqCst);
                self.note_own(id, &answer.body, seen.clone(), &mark);
                End::Accepted(answer.body["event"]["event_id"].as_str().unwrap().to_owned())
            }
            Some(answer) => {
                self.note(id, &answer.body);
                End::Refused(answer.status)
            }
        };
        let seen = seen.filter(|_| GROWING.contains(&id));
        let mark = has_mark.then_some(mark);
        self.written.push(Written { mark, memory_id: id.to_owned(), end, seen });
    }

    /// A write of some kind, and whether its event carries the mark.
    fn request(&mut self, id: &str, mark: &str) -> (Write, bool) {
        let path = format!("/v1/memories/{id}");
        let mut body = json!({"metadata": {mark: self.random.below(100)}});
        if self.random.one_in(2) {
            body["content"] = json!(mark);
        }
        let kind = if GROWING.contains(&id) { 9 } else { self.random.below(10) };
        let (method, path) = match kind {
            0 => ("DELETE", path),
            1 => {
                let others: Vec<&str> = ANY.into_iter().filter(|other| *other != id).collect();
                body["merged_from"] = json!([self.random.pick(&others)]);
                ("POST", format!("{path}/merge"))
            }
            2..=4 => {
                body["user_id"] = json!(format!("u-{}", self.random.below(3)));
                body["content"] = json!(mark);
                ("PUT", path)
            }
            _ => {
                if self.random.one_in(3) {
                    body["tags"] = json!([format!("t{}", self.random.below(5))]);
                }
                ("PATCH", path)
            }
        };
        let body = if method == "DELETE" { String::new() } else { body.to_string() };
        (Write { method, path, headers: String::new(), body }, method != "DELETE")
    }
}

/// Sends a write. One with a key is sent until it is answered.
fn send(url: &str, write: &Write, has_key: bool) -> Option<Answer> {
    let Write { method, path, headers, body } = write;
    let send = || http::request(url, method, path, headers, body).ok().filter(|answer| answer.status != 503);
    let answer = if has_key { Some(wait_for("an answer to a write with a key", send)) } else { send() };
    let is_known = |answer: &Answer| matches!(answer.status, 200..=202 | 400 | 404 | 409 | 410);
    assert!(answer.as_ref().is_none_or(is_known), "{method} {path} with {body} is answered with {answer:?}");
    answer
}
