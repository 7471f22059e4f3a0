//! A node with its HTTP server, and a client that speaks to it.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use helixstream_node_http::extractor::{Extractor, ExtractorSettings};
use http::server::{HttpSettings, RunningServer, Server};
use http::tokens::{Right, Token};
use http::{Family, InstanceStatus, Limits};
use node::loops::NodeLoops;
use node::registry::NodeDirectory;
use node::{Node, NodeSettings};
use secret::SecretSource;
use serde_json::Value;
use tempfile::TempDir;

use crate::document;
use crate::event_reader::EventReader;

/// How large an event may be in these tests: that the limit is one MiB saves time.
const EVENT_BYTES: usize = 1 << 20;

struct Ready;

impl InstanceStatus for Ready {
    fn waiting(&self) -> Vec<String> {
        Vec::new()
    }

    fn metrics(&self) -> Vec<Family> {
        Vec::new()
    }
}

/// A token's name, its rights, and the users it is bound to.
type TokenLine<'t> = (&'t str, &'t [Right], Option<&'t [&'t str]>);

/// Settings of a node in these tests.
#[derive(Clone, Copy)]
pub struct Options {
    /// Limits of its clients.
    pub limits: Limits,
    /// Changes that it keeps for streams of events.
    pub kept_changes: u64,
    /// Bytes of these changes.
    pub kept_change_bytes: u64,
    /// Resolved states of a memory that it keeps.
    pub kept_states: u64,
    /// Where its extractor listens, whose key is `sk-s3cret`.
    pub extractor: Option<SocketAddr>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            limits: Limits::default(),
            kept_changes: 100_000,
            kept_change_bytes: 64 << 20,
            kept_states: 100,
            extractor: None,
        }
    }
}

/// A node that is served on a port of its own. It stops when it is dropped.
pub struct Site {
    running: Option<RunningServer>,
    /// The node.
    pub node: Node,
    /// The nodes that it knows.
    pub directory: Arc<NodeDirectory>,
    address: SocketAddr,
    tokens: Vec<(String, String)>,
    options: Options,
    token_file: Option<PathBuf>,
    /// The folder of the node.
    node_folder: PathBuf,
    folder: TempDir,
}

/// A client's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// A header, by its name in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A text in the body, by its JSON pointer.
    pub fn text(&self, pointer: &str) -> String {
        let json = self.json();
        let value = json.pointer(pointer).unwrap_or_else(|| panic!("{pointer} in {self:?}"));
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    }

    /// The same answer, which should have this status.
    #[track_caller]
    pub fn of(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

impl Site {
    /// A node that asks for no token.
    pub fn open() -> Site {
        Site::start(&[])
    }

    /// A node with a token file: each token's name, and the users it is bound to.
    pub fn with_tokens(tokens: &[(&str, Option<&[&str]>)]) -> Site {
        let all: Vec<_> = tokens.iter().map(|(name, users)| (*name, &[Right::Read, Right::Act][..], *users)).collect();
        Site::start(&all)
    }

    /// A node with a token file.
    pub fn start(tokens: &[TokenLine]) -> Site {
        Site::start_with(tokens, Options::default())
    }

    /// A node with these settings, which asks for no token.
    pub fn with(options: Options) -> Site {
        Site::start_with(&[], options)
    }

    /// A node with a token file and these settings.
    pub fn start_with(tokens: &[TokenLine], options: Options) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let mut lines = String::new();
        let mut known = Vec::new();
        for (name, rights, users) in tokens {
            let users: Option<Vec<String>> = users.map(|users| users.iter().map(|user| (*user).to_owned()).collect());
            let (text, token) = Token::make(name, rights, users.as_deref()).unwrap();
            writeln!(lines, "{}", token.line()).unwrap();
            known.push(((*name).to_owned(), text));
        }
        let token_file = (!tokens.is_empty()).then(|| folder.path().join("tokens"));
        token_file.iter().for_each(|file| std::fs::write(file, &lines).unwrap());
        let node_folder = folder.path().join("node");
        let directory: Arc<NodeDirectory> = Arc::default();
        let (running, node, address) = serve(&node_folder, token_file.clone(), options, &directory);
        let running = Some(running);
        Site { running, node, directory, address, tokens: known, options, token_file, node_folder, folder }
    }

    /// Stops the server and the node.
    pub fn stop(&mut self) {
        self.stop_server();
        self.node.stop();
    }

    /// Stops the server alone.
    pub fn stop_server(&mut self) {
        drop(self.running.take());
    }

    /// Stops the server and the node, and starts both again, at another port.
    pub fn restart(&mut self) {
        self.restart_from(self.node_folder.clone());
    }

    /// The same with another folder.
    pub fn restart_from(&mut self, node_folder: PathBuf) {
        self.stop();
        let (running, node, address) = serve(&node_folder, self.token_file.clone(), self.options, &self.directory);
        (self.running, self.node, self.address, self.node_folder) = (Some(running), node, address, node_folder);
    }

    /// A copy of the folder of the node, which is stopped.
    pub fn copy_folder(&self) -> PathBuf {
        let copy = self.folder.path().join("copy");
        std::fs::create_dir(&copy).unwrap();
        for entry in self.node_folder.read_dir().unwrap() {
            let file = entry.unwrap();
            std::fs::copy(file.path(), copy.join(file.file_name())).unwrap();
        }
        copy
    }

    /// The bytes of the node's database and of its log.
    pub fn database(&self) -> [Vec<u8>; 2] {
        ["node.db", "node.db-wal"].map(|file| std::fs::read(self.node_folder.join(file)).unwrap())
    }

    /// Takes a token out of the token file.
    pub fn withdraw(&self, name: &str) {
        let file = self.token_file.as_ref().unwrap();
        let lines = std::fs::read_to_string(file).unwrap();
        let left: Vec<&str> = lines.lines().filter(|line| !line.starts_with(&format!("{name}:"))).collect();
        std::fs::write(file, left.join("\n")).unwrap();
    }

    /// Opens a stream of events without a token.
    #[track_caller]
    pub fn stream(&self, path: &str, headers: &[(&str, &str)]) -> EventReader {
        EventReader::open(self.address, path, headers)
    }

    /// Opens a stream of events with the token of this name.
    #[track_caller]
    pub fn stream_as(&self, token: &str, path: &str, headers: &[(&str, &str)]) -> EventReader {
        let bearer = self.bearer(token);
        self.stream(path, &[&[("authorization", bearer.as_str())], headers].concat())
    }

    /// A connection.
    pub fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).unwrap()
    }

    /// Whether a GET with the token of this name is answered with 200; the body is not read.
    pub fn is_answered_as(&self, token: &str, path: &str) -> bool {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let bearer = self.bearer(token);
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: {bearer}\r\n\r\n").unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).unwrap();
        start == *b"HTTP/1.1 200"
    }

    /// A page that is no part of the API, as text.
    pub fn page(&self, path: &str) -> String {
        self.send("GET", path, &[], b"").body
    }

    pub fn bearer(&self, token: &str) -> String {
        let (_, text) = self.tokens.iter().find(|(name, _)| name == token).unwrap();
        format!("Bearer {text}")
    }

    /// Sends a request without a token.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let answer = self.send(method, path, headers, body.as_bytes());
        document::check(method, path, body.as_bytes(), &answer);
        answer
    }

    /// Sends a request with the token of this name.
    #[track_caller]
    pub fn ask_as(&self, token: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let bearer = self.bearer(token);
        let mut all = vec![("authorization", bearer.as_str())];
        all.extend_from_slice(headers);
        self.ask(method, path, &all, body)
    }

    /// Reads a path.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    /// Creates a memory from JSON, which succeeds.
    #[track_caller]
    pub fn create(&self, body: &str) -> Answer {
        self.ask("POST", "/v1/memories", &[], body).of(201)
    }

    /// Sends a request of Mem0's API with the token of this name, if any, as its clients send it.
    #[track_caller]
    pub fn mem0(&self, token: &str, method: &str, path: &str, body: &str) -> Answer {
        let known = self.tokens.iter().find(|(name, _)| name == token);
        let text = known.map_or_else(|| "any".to_owned(), |(_, text)| text.clone());
        self.ask(method, path, &[("authorization", &format!("Token {text}"))], body)
    }

    /// Sends a request, with a JSON body unless it says otherwise, and reads the answer.
    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        let has_type = headers.iter().any(|(name, _)| *name == "content-type");
        if !body.is_empty() {
            write!(head, "content-length: {}\r\n", body.len()).unwrap();
            if !has_type {
                head.push_str("content-type: application/json\r\n");
            }
        }
        head.push_str("\r\n");
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer to {method} {path}"));
        let head = std::str::from_utf8(&answer[..end]).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
        let headers: Vec<(String, String)> = lines.filter_map(header).collect();
        let is_chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
        let body = answer[end + 4..].to_vec();
        let body = if is_chunked { joined_chunks(&body) } else { body };
        Answer { status, headers, body: String::from_utf8(body).unwrap() }
    }
}

/// A body that came in chunks, which is whole.
fn joined_chunks(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|bytes| bytes == b"\r\n").unwrap();
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        rest = &rest[end + 2..];
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&rest[..length]);
        rest = &rest[length + 2..];
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Opens a node and serves it at a free port.
fn serve(
    folder: &Path,
    token_file: Option<PathBuf>,
    options: Options,
    directory: &Arc<NodeDirectory>,
) -> (RunningServer, Node, SocketAddr) {
    let mut settings = NodeSettings {
        kept_changes: options.kept_changes,
        kept_change_bytes: options.kept_change_bytes,
        kept_states: options.kept_states,
        ..NodeSettings::new(folder, "n1".parse().unwrap())
    };
    settings.limits.max_value_bytes = EVENT_BYTES;
    let node = Node::open(settings).unwrap();
    let address = "127.0.0.1:0".parse().unwrap();
    let settings = HttpSettings { address, token_file, hosts: Vec::new(), tls: None, limits: options.limits };
    let server = Server::bind(&settings).unwrap();
    let address = server.address();
    let loops = NodeLoops { directory: directory.clone(), ..NodeLoops::default() };
    let extractor = options.extractor.map(|address| {
        let (url, key) = (format!("http://{address}/v1"), Some(SecretSource::value("sk-s3cret")));
        Extractor::new(ExtractorSettings { url, model: "model-1".to_owned(), key }).unwrap()
    });
    let apis = helixstream_node_http::apis(node.clone(), loops, EVENT_BYTES, extractor);
    (server.start_with_apis(Arc::new(Ready), apis.into()).unwrap(), node, address)
}
