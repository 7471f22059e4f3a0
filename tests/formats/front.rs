//! What stands before a registry in a company's network: a small HTTP server that decides about
//! each request by itself or hands it on to the real registry, over TLS or without. It also answers
//! as Confluent's registry does, which cannot be had from Maven Central.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use testkit::Registry;

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// With the query.
    pub path: String,
    /// By names in small letters.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// What is done with it.
pub enum Reply {
    /// The real registry answers.
    Pass,
    Answer(u16, String),
}

/// Confluent's form of an error.
pub fn error(status: u16, code: u32, message: &str) -> Reply {
    Reply::Answer(status, serde_json::json!({ "error_code": code, "message": message }).to_string())
}

type Rule = dyn Fn(&Request) -> Reply + Send + Sync;

/// A server; ended when dropped.
pub struct Front {
    port: u16,
    scheme: &'static str,
    ended: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Request>>>,
    thread: Option<JoinHandle<()>>,
}

impl Front {
    pub fn start(rule: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Front {
        Front::start_with(None, Arc::new(rule))
    }

    /// Over TLS, with `localhost.pem` of the folder; with `ca.pem` as the authority of clients
    /// where they are `verified`.
    pub fn start_tls(dir: &Path, verified: bool, rule: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Front {
        Front::start_with(Some(Arc::new(tls(dir, verified))), Arc::new(rule))
    }

    fn start_with(tls: Option<Arc<ServerConfig>>, rule: Arc<Rule>) -> Front {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (ended, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (scheme, is_over, noted) = (if tls.is_some() { "https" } else { "http" }, ended.clone(), seen.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let (tls, rule, noted) = (tls.clone(), rule.clone(), noted.clone());
                std::thread::spawn(move || {
                    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                    match tls {
                        None => serve(stream, &*rule, &noted),
                        Some(tls) => {
                            serve(StreamOwned::new(ServerConnection::new(tls).unwrap(), stream), &*rule, &noted)
                        }
                    };
                });
            }
        });
        Front { port, scheme, ended, seen, thread: Some(thread) }
    }

    /// The registry's address behind it.
    pub fn url(&self) -> String {
        self.url_at("localhost")
    }

    /// The same by another name of this machine.
    pub fn url_at(&self, host: &str) -> String {
        format!("{}://{host}:{}/apis/ccompat/v7", self.scheme, self.port)
    }

    /// The requests that came.
    pub fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// Ends it: its port refuses connections from then on.
    pub fn stop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.stop();
    }
}

fn tls(dir: &Path, verified: bool) -> ServerConfig {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let read = |name: &str| std::fs::read(dir.join(name)).unwrap();
    let chain = CertificateDer::pem_slice_iter(&read("localhost.pem")).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(&read("localhost.key")).unwrap();
    let builder = match verified {
        false => ServerConfig::builder().with_no_client_auth(),
        true => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(&read("ca.pem")).unwrap()).unwrap();
            ServerConfig::builder()
                .with_client_cert_verifier(WebPkiClientVerifier::builder(roots.into()).build().unwrap())
        }
    };
    builder.with_single_cert(chain, key).unwrap()
}

fn serve(mut stream: impl Read + Write, rule: &Rule, seen: &Mutex<Vec<Request>>) -> Option<()> {
    let request = read(&mut stream)?;
    let reply = rule(&request);
    seen.lock().unwrap().push(request.clone());
    let (status, body) = match reply {
        Reply::Answer(status, body) => (status, body),
        Reply::Pass => {
            let path = request.path.strip_prefix("/apis/ccompat/v7").expect("the registry's path");
            Registry::shared().call(&request.method, path, &request.body).expect("the registry answers")
        }
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
    stream.flush().ok()
}

fn read(stream: &mut impl Read) -> Option<Request> {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        text.push(byte[0]);
    }
    let text = String::from_utf8(text).ok()?;
    let mut lines = text.lines();
    let mut first = lines.next()?.split(' ').map(str::to_owned);
    let (method, path) = (first.next()?, first.next()?);
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let headers: BTreeMap<_, _> = lines.filter_map(header).collect();
    let mut body = vec![0; headers.get("content-length").map_or(0, |n| n.parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    Some(Request { method, path, headers, body: String::from_utf8(body).ok()? })
}
