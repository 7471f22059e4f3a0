//! An OAuth token server over HTTPS: it answers a client's id and secret with a signed JWT of short
//! life (RFC 6749 section 4.4, RFC 7519), and publishes the key to check it with (RFC 7517), where
//! a Kafka broker fetches it.

use super::certificates::{Authority, Identity};
use super::process::temp_dir;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The client that the server knows. Its id is the token's subject and so the principal on the
/// broker.
pub const CLIENT: &str = "helix";
/// The secret of [`CLIENT`].
pub const SECRET: &str = "token-client-secret";
/// How long a token is good for where a test does not ask for another time.
pub const LIFE: Duration = Duration::from_secs(30);

/// The server, on a thread of its own until the process ends.
#[derive(Debug)]
pub struct TokenServer {
    port: u16,
    issued: Arc<Issued>,
}

/// Tokens that the server has issued.
#[derive(Debug, Default)]
struct Issued {
    tokens: AtomicU64,
    /// When the last of them expires, in seconds since 1970; clients that ask at the same time may
    /// overtake each other.
    expiry: AtomicU64,
}

struct Service {
    /// The folder with the key that tokens are signed with.
    dir: PathBuf,
    /// The answer to a request for the keys.
    keys: String,
    /// How long a token is good for.
    life: Duration,
    issued: Arc<Issued>,
}

fn openssl(dir: &Path, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(arguments).current_dir(dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("run openssl");
    child.stdin.take().expect("standard input is piped").write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}");
    output.stdout
}

impl TokenServer {
    /// Starts it with a certificate of `authority`; its tokens are good for `life`.
    pub fn start(authority: &Authority, life: Duration) -> TokenServer {
        let dir = temp_dir("token-server");
        openssl(&dir, &["genrsa", "-out", "signing.key", "2048"], b"");
        let modulus = openssl(&dir, &["rsa", "-in", "signing.key", "-noout", "-modulus"], b"");
        let modulus = String::from_utf8(modulus).unwrap();
        let modulus = modulus.trim().strip_prefix("Modulus=").expect("openssl tells the modulus");
        let bytes = (0..modulus.len() / 2).map(|at| u8::from_str_radix(&modulus[2 * at..2 * at + 2], 16).unwrap());
        let modulus = URL_SAFE_NO_PAD.encode(bytes.collect::<Vec<u8>>());
        let key = json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "1", "n": modulus, "e": "AQAB"});
        let issued = Arc::new(Issued::default());
        let keys = json!({ "keys": [key] }).to_string();
        let service = Arc::new(Service { dir, keys, life, issued: issued.clone() });
        let tls = Arc::new(tls(&authority.sign("token server")));
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("listen on a free port");
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let service = service.clone();
                let tls = tls.clone();
                // A client that hangs up early is no matter of the server's.
                std::thread::spawn(move || _ = service.serve(stream, tls));
            }
        });
        TokenServer { port, issued }
    }

    /// Where tokens are asked for.
    pub fn token_url(&self) -> String {
        format!("https://localhost:{}/token", self.port)
    }

    /// Where the key lies.
    pub fn keys_url(&self) -> String {
        format!("https://localhost:{}/keys", self.port)
    }

    /// How many tokens it has given out.
    pub fn issued(&self) -> u64 {
        self.issued.tokens.load(Ordering::Relaxed)
    }

    /// When the last token that it has given out so far expires.
    pub fn expiry(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.issued.expiry.load(Ordering::Relaxed))
    }
}

fn tls(identity: &Identity) -> ServerConfig {
    let chain = CertificateDer::pem_file_iter(&identity.certificate).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    config.with_no_client_auth().with_single_cert(chain, key).unwrap()
}

impl Service {
    fn serve(&self, stream: TcpStream, tls: Arc<ServerConfig>) -> std::io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let connection = ServerConnection::new(tls).map_err(std::io::Error::other)?;
        let mut stream = BufReader::new(StreamOwned::new(connection, stream));
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 || line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_owned());
        }
        let header = |name: &str| {
            let values = head.iter().filter_map(|line| line.split_once(':'));
            values.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        let length = header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
        let (status, answer) = match path {
            "/keys" => ("200 OK", self.keys.clone()),
            "/token" => self.token(header("authorization").unwrap_or_default(), &String::from_utf8_lossy(&body)),
            _ => ("404 Not Found", "{}".to_owned()),
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close");
        let stream = stream.get_mut();
        write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{answer}", answer.len())?;
        stream.flush()?;
        stream.conn.send_close_notify();
        stream.flush()
    }

    fn token(&self, authorization: &str, body: &str) -> (&'static str, String) {
        let expected = format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{SECRET}")));
        if authorization != expected || !body.contains("grant_type=client_credentials") {
            return ("401 Unauthorized", json!({"error": "invalid_client"}).to_string());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let life = self.life.as_secs();
        self.issued.tokens.fetch_add(1, Ordering::Relaxed);
        self.issued.expiry.fetch_max(now + life, Ordering::Relaxed);
        let claims = json!({"sub": CLIENT, "iss": "helixstream-tests", "aud": "kafka", "scope": "kafka",
            "iat": now, "exp": now + life});
        let encode = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let text = format!("{}.{}", encode(json!({"alg": "RS256", "typ": "JWT", "kid": "1"})), encode(claims));
        let signature = openssl(&self.dir, &["dgst", "-sha256", "-sign", "signing.key"], text.as_bytes());
        let token = format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature));
        let answer = json!({"access_token": token, "token_type": "Bearer", "expires_in": life});
        ("200 OK", answer.to_string())
    }
}
