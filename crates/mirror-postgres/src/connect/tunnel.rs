//! TLS for sqlx: its own TLS verifies otherwise than libpq (it trusts the system's authorities
//! beside those of `sslrootcert`, and takes one authority of a file, or none of version 1). So TLS
//! is spoken here, and sqlx is handed the plain end of a socket that only this process can get hold
//! of.
//!
//! All of it runs on a thread of its own, since sqlx's runtimes stand still between two calls.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, split};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio_openssl::SslStream;

use super::options::{Host, Ssl};
use super::tls;

/// How long sqlx may take to connect to its end, and the server to close after us.
const WAIT: Duration = Duration::from_secs(10);
/// `SSLRequest` of Postgres' protocol: its length and its code.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Why there is no tunnel.
#[derive(Debug)]
pub(super) enum NoTunnel {
    /// There is no connection at all.
    Unreachable(String),
    /// The server does not speak TLS.
    Plain,
    /// It does, and the two do not agree.
    Refused(String),
}

/// The plain end of an encrypted connection.
#[derive(Debug)]
pub(super) struct Tunnel {
    /// Name of the abstract socket, without the zero byte before it.
    pub(super) name: String,
    /// Why the connection broke, if it did.
    broke: Arc<Mutex<Option<String>>>,
}

impl Tunnel {
    /// Connects and encrypts.
    pub(super) async fn open(host: &Host, ssl: &Ssl) -> Result<Tunnel, NoTunnel> {
        let host = host.clone();
        let ssl = ssl.clone();
        let runtime = runtime().map_err(|e| NoTunnel::Unreachable(e.to_string()))?;
        let open = runtime.spawn(async move {
            let at = host.address.as_deref().unwrap_or(&host.name);
            let unreachable = |e: io::Error| NoTunnel::Unreachable(e.to_string());
            let mut socket = TcpStream::connect((at, host.port)).await.map_err(unreachable)?;
            socket.set_nodelay(true).map_err(unreachable)?;
            socket.write_all(&SSL_REQUEST).await.map_err(unreachable)?;
            match socket.read_u8().await.map_err(unreachable)? {
                b'S' => {}
                b'N' => return Err(NoTunnel::Plain),
                _ => return Err(NoTunnel::Unreachable("what answers there is not PostgreSQL".to_owned())),
            }
            let stream = tls::greet(socket, &ssl, &host.name).await.map_err(NoTunnel::Refused)?;
            let name = format!("helixstream-{}", uuid::Uuid::new_v4().simple());
            // As sqlx looks for it: it takes the name for a folder.
            let listener = listen(&format!("{name}/.s.PGSQL.{}", host.port)).map_err(unreachable)?;
            let broke = Arc::new(Mutex::new(None));
            let tunnel = Tunnel { name, broke: Arc::clone(&broke) };
            tokio::spawn(async move {
                if let Err(e) = serve(listener, stream, &broke).await {
                    record_failure(&broke, &e);
                }
            });
            Ok(tunnel)
        });
        open.await.unwrap_or_else(|e| Err(NoTunnel::Unreachable(e.to_string())))
    }

    /// Why the connection broke, if it did.
    pub(super) fn why_broken(&self) -> Option<String> {
        self.broke.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Runtime of the tunnels.
fn runtime() -> io::Result<&'static Runtime> {
    static MAKING: Mutex<()> = Mutex::new(());
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let _one_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("postgres-tls").enable_all().build()?;
    Ok(RUNTIME.get_or_init(|| runtime))
}

fn listen(name: &str) -> io::Result<UnixListener> {
    let listener = StdListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Keeps why a connection broke.
fn record_failure(broke: &Mutex<Option<String>>, error: &io::Error) {
    *broke.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
}

/// Lets this process in, once, and carries bytes until either side ends.
async fn serve(listener: UnixListener, stream: SslStream<TcpStream>, broke: &Mutex<Option<String>>) -> io::Result<()> {
    let ours = async {
        loop {
            let (plain, _) = listener.accept().await?;
            // Anybody on this machine can connect to a socket without a file; the kernel says who
            // it is.
            if plain.peer_cred()?.pid() == i32::try_from(std::process::id()).ok() {
                return Ok::<UnixStream, io::Error>(plain);
            }
        }
    };
    let plain = tokio::time::timeout(WAIT, ours).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    drop(listener);
    let ((mut from_us, mut to_us), (mut from_server, mut to_server)) = (plain.into_split(), split(stream));
    let out = async {
        copy(&mut from_us, &mut to_server).await.inspect_err(|e| record_failure(broke, e))?;
        to_server.shutdown().await
    };
    let back = async {
        // Noted before our end sees the connection break, so that it can be told why.
        copy(&mut from_server, &mut to_us).await.inspect_err(|e| record_failure(broke, e))?;
        to_us.shutdown().await
    };
    let mut back = std::pin::pin!(back);
    tokio::select! {
        done = &mut back => done,
        done = out => {
            done?;
            // What the server still says is of no interest; that it closes, is.
            tokio::time::timeout(WAIT, back).await.unwrap_or(Ok(()))
        }
    }
}
