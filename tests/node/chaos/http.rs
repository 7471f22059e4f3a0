//! Requests over connections of their own. A process that is killed or frozen may leave one without
//! an answer.

use std::io::{Error, ErrorKind, Read as _, Result, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long a request waits for an answer: a node that is frozen gives none.
const PATIENCE: Duration = Duration::from_secs(3);

/// A status and a body of JSON.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

/// Sends a request and reads the answer to its end.
///
/// # Errors
/// There is no whole answer: whether the node has read the request is not known.
pub fn request(url: &str, method: &str, path: &str, headers: &str, body: &str) -> Result<Answer> {
    let host = url.strip_prefix("http://").expect("an address of a node");
    let address: SocketAddr = host.parse().expect("an address of a node");
    let mut connection = TcpStream::connect_timeout(&address, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    write!(
        connection,
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n{headers}\r\n{body}"
    )?;
    let mut text = String::new();
    connection.read_to_string(&mut text)?;
    let broken = || Error::new(ErrorKind::UnexpectedEof, "the answer is not whole");
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(broken)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(broken)?;
    Ok(Answer { status, body: serde_json::from_str(body).map_err(|_| broken())? })
}

/// The body of an answer to GET; `None` where there is none with success.
pub fn get(url: &str, path: &str) -> Option<Value> {
    request(url, "GET", path, "", "").ok().filter(|answer| answer.status == 200).map(|answer| answer.body)
}
