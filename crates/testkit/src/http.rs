//! One plain HTTP request, for servers of tests.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Sends a request with JSON in and out to this port of the machine; the status and the body, or
/// nothing where nobody answers. More lines of the head end with CR and LF each.
pub fn call(port: u16, method: &str, path: &str, head: &str, body: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n{head}Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.split_whitespace().nth(1)?.parse().ok()?, body.to_owned()))
}
