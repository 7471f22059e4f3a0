//! The server: it accepts connections, speaks TLS where that is set, and passes requests to the
//! routes, all on one thread of its own, so that clients take no time from the threads that process
//! records.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{any, get, post};
use axum::{Router, middleware};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use super::access::{self, Access};
use super::connections::{ConnectionPermit, Connections, Limits};
use super::hosts::{self, Hosts};
use super::login;
use super::sessions::Sessions;
use super::status::{self, InstanceStatus};
use super::streamed;
use super::throttle::Throttle;
use super::tls::{TlsError, TlsFiles};
use super::tokens::{TokenFileError, Tokens};
use super::watched::Watched;

/// How often time limits and changed files are looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Connections that the kernel keeps for us until we take them.
const BACKLOG: u32 = 1024;
/// How long we rest when the system accepts no connection, for want of file descriptors say.
const REST: Duration = Duration::from_millis(100);
/// How long requests that are being answered may take when the server stops.
const STOP_LIMIT: Duration = Duration::from_millis(150);
/// The first byte of a TLS handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 0x16;
/// Answer to a client that speaks plain HTTP to a TLS port.
const SPEAK_TLS: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 45\r\nConnection: close\r\n\r\nthis port speaks TLS: use https:// [HS6516]\r\n";

/// How HTTP is served.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Where.
    pub address: SocketAddr,
    /// Clients that have access ([`Tokens`]); without it every client that can connect.
    pub token_file: Option<PathBuf>,
    /// Names of hosts that requests may name besides `localhost` and addresses. Without any, every
    /// name is taken, but where the address is a loopback address and no token is asked for: there
    /// `localhost` and addresses alone are.
    pub hosts: Vec<String>,
    /// Certificate and key; without them plain HTTP is spoken.
    pub tls: Option<TlsFiles>,
    /// Limits of the clients.
    pub limits: Limits,
}

/// Why HTTP cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The token file cannot be used.
    #[error(transparent)]
    Tokens(#[from] TokenFileError),
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A name in the list of hosts is none.
    #[error("{0}")]
    Hosts(String),
    /// The address cannot be taken.
    #[error("cannot serve HTTP at {address}: {why}; choose another --http-listen, or stop what listens there [HS6502]")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why. Not called `source`: it would be shown twice.
        why: io::Error,
    },
}

/// The routes of a program that a server serves beside the pages of its status, under the same
/// access control, limits and TLS. Each request has an [`Identity`](super::Identity) as an
/// extension, and a request that does not reach its route is answered with a
/// [`Problem`](super::Problem). The router reads bodies within a limit of its own: that of
/// [`Limits`] is for forms.
pub struct Api {
    /// The beginning of all paths, such as `/v1`; the paths of the router are without it.
    pub prefix: &'static str,
    /// The routes, with a fallback for other paths.
    pub router: Router,
}

/// A server that has its address and its files, and serves nothing yet.
pub struct Server {
    runtime: Runtime,
    listener: TcpListener,
    address: SocketAddr,
    hosts: Hosts,
    tokens: Option<Arc<Watched<Tokens>>>,
    tls: Option<Arc<Watched<ServerConfig>>>,
    limits: Limits,
}

impl Server {
    /// Reads the files and takes the address.
    ///
    /// # Errors
    /// A file or the name of a host cannot be used, or the address is taken.
    pub fn bind(settings: &HttpSettings) -> Result<Server, HttpError> {
        settings.hosts.iter().try_for_each(|name| hosts::check(name)).map_err(HttpError::Hosts)?;
        let tokens = settings.token_file.as_ref().map(|file| {
            let path = file.clone();
            Watched::new("token file", vec![file.clone()], move || Tokens::read(&path)).map(Arc::new)
        });
        let tls = settings.tls.as_ref().map(|files| {
            let paths = vec![files.certificate.clone(), files.key.clone()];
            let files = files.clone();
            Watched::new("certificate", paths, move || files.load()).map(Arc::new)
        });
        let tokens = tokens.transpose()?;
        let tls = tls.transpose()?;
        let failed = |why| HttpError::Bind { address: settings.address, why };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let listener = {
            let _inside = runtime.enter();
            listen(settings.address, settings.limits.send_buffer).map_err(failed)?
        };
        let address = listener.local_addr().map_err(failed)?;
        let hosts = Hosts::new(&settings.hosts, address.ip().is_loopback(), tokens.is_none());
        Ok(Server { runtime, listener, address, hosts, tokens, tls, limits: settings.limits })
    }

    /// Where it listens; the port is the system's choice where none was named.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// How many tokens it knows; `None` without a token file.
    pub fn tokens(&self) -> Option<usize> {
        self.tokens.as_ref().map(|tokens| tokens.current().len())
    }

    /// Serves the pages of a status, until the handle is dropped.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn start(self, status: Arc<dyn InstanceStatus>) -> io::Result<RunningServer> {
        self.serve(status, Vec::new())
    }

    /// Serves the pages of a status and APIs with a prefix each, until the handle is dropped.
    ///
    /// # Errors
    /// The system starts no thread.
    pub fn start_with_apis(self, status: Arc<dyn InstanceStatus>, apis: Vec<Api>) -> io::Result<RunningServer> {
        self.serve(status, apis)
    }

    fn serve(self, status: Arc<dyn InstanceStatus>, apis: Vec<Api>) -> io::Result<RunningServer> {
        let Server { runtime, listener, address, hosts, tokens, tls, limits } = self;
        let access = Arc::new(Access {
            tokens: tokens.clone(),
            hosts,
            sessions: Sessions::default(),
            cookie: format!("helixstream_session_{}", address.port()),
            secure: tls.is_some(),
            body_bytes: limits.body_bytes,
            refusals: Throttle::default(),
            apis: apis.iter().map(|api| api.prefix).collect(),
        });
        let own = Router::new()
            .route("/login", get(login::form).post(login::log_in))
            .route(access::LOGOUT, post(login::log_out))
            .with_state(access.clone());
        let mut router = status::routes(status).merge(own);
        for api in apis {
            router = nested(router, api);
        }
        let router = router.layer(middleware::from_fn_with_state(access, access::check));
        let serving = Arc::new(Serving {
            router,
            tls: tls.clone(),
            limits,
            plain: Throttle::default(),
            failed: Throttle::default(),
        });
        let (stop, stopped) = watch::channel(false);
        let connections = Arc::new(Connections::new(limits));
        let body = move || {
            runtime.block_on(async {
                tokio::spawn(close_slow(connections.clone()));
                tokio::spawn(refresh(tokens, tls));
                accept(listener, &connections, &serving, stopped).await;
            });
            // A file system that hangs may hold a reading of a file: the process does not wait for
            // it.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name("http".to_owned()).spawn(body)?;
        Ok(RunningServer { stop, thread: Some(thread) })
    }
}

/// Adds the routes of an API below their prefix.
fn nested(router: Router, api: Api) -> Router {
    // `nest` leaves out the prefix with a slash and nothing behind it.
    let root = TowerToHyperService::new(api.router.clone());
    let with_slash = move |request: Request| {
        let root = root.clone();
        async move { root.call(request).await }
    };
    router.route(&format!("{}/", api.prefix), any(with_slash)).nest(api.prefix, api.router)
}

/// Takes an address. The send buffer passes on to every connection, and keeps the kernel from
/// giving each more as it likes.
fn listen(address: SocketAddr, send_buffer: u32) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(send_buffer)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A server at work; dropping it stops it.
pub struct RunningServer {
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        // The thread may have ended already.
        let _ = self.stop.send(true);
        let deadline = Instant::now() + 2 * STOP_LIMIT;
        if let Some(thread) = self.thread.take() {
            while !thread.is_finished() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// Shared parts that each connection needs.
struct Serving {
    router: Router,
    tls: Option<Arc<Watched<ServerConfig>>>,
    limits: Limits,
    /// Lines about plain HTTP where TLS is spoken.
    plain: Throttle,
    /// Lines about handshakes that failed.
    failed: Throttle,
}

/// Closes slow connections, for ever.
async fn close_slow(connections: Arc<Connections>) {
    loop {
        tokio::time::sleep(LOOK).await;
        connections.close_slow();
    }
}

/// Reads files that have changed, for ever. A file system that hangs holds up nothing but this.
async fn refresh(tokens: Option<Arc<Watched<Tokens>>>, tls: Option<Arc<Watched<ServerConfig>>>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let tokens = tokens.clone();
        let tls = tls.clone();
        let reading = move || {
            tokens.iter().for_each(|tokens| tokens.refresh());
            tls.iter().for_each(|tls| tls.refresh());
        };
        // It fails only when the runtime ends.
        let _ = tokio::task::spawn_blocking(reading).await;
    }
}

/// Takes connections until the server stops.
async fn accept(
    listener: TcpListener,
    connections: &Arc<Connections>,
    serving: &Arc<Serving>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut tasks = JoinSet::new();
    let no_connection = Throttle::default();
    loop {
        let accepted = tokio::select! {
            biased;
            // An error means that the handle is gone, which stops the server as well.
            _ = stopped.changed() => break,
            Some(_) = tasks.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(slot) = connections.admit() else { continue };
                let id = slot.id;
                let task = tasks.spawn(connection(stream, peer, Arc::new(slot), serving.clone(), stopped.clone()));
                connections.served_by(id, task);
                // Tasks that were ended to make room are dropped, and their sockets closed, before
                // the next connection is taken.
                tokio::task::yield_now().await;
            }
            Err(e) => {
                if let Some(count) = no_connection.count() {
                    tracing::warn!(
                        code = "HS6055",
                        "HTTP: cannot accept a connection: {e} ({count} times since the last such line)"
                    );
                }
                tokio::time::sleep(REST).await;
            }
        }
    }
    drop(listener);
    let all = async { while tasks.join_next().await.is_some() {} };
    // Who is not done by then is cut off.
    let _ = tokio::time::timeout(STOP_LIMIT, all).await;
}

/// Serves one connection to its end. Time limits and a place that another needs end it by ending
/// this task.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    slot: Arc<ConnectionPermit>,
    serving: Arc<Serving>,
    stopped: watch::Receiver<bool>,
) {
    // Answers are written as a whole: waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let Some(tls) = &serving.tls else {
        requests(stream, peer, slot, &serving, stopped).await;
        return;
    };
    if let Some(stream) = handshake(stream, peer, tls.current(), &serving).await {
        requests(stream, peer, slot, &serving, stopped).await;
    }
}

async fn handshake(
    mut stream: TcpStream,
    peer: SocketAddr,
    config: Arc<ServerConfig>,
    serving: &Serving,
) -> Option<tokio_rustls::server::TlsStream<TcpStream>> {
    let mut first = [0];
    if stream.peek(&mut first).await.ok()? == 0 {
        return None;
    }
    if first != [HANDSHAKE] {
        if let Some(count) = serving.plain.count() {
            tracing::warn!(
                code = "HS6056",
                "HTTP: {peer} does not speak TLS, which this port asks for: let it use https:// ({count} such clients since the last such line)"
            );
        }
        // It may be gone, or understand nothing: it gets no more from us either way.
        let _ = stream.write_all(SPEAK_TLS.as_bytes()).await;
        let _ = stream.shutdown().await;
        return None;
    }
    match TlsAcceptor::from(config).accept(stream).await {
        Ok(stream) => Some(stream),
        Err(e) => {
            if let Some(count) = serving.failed.count() {
                tracing::warn!(
                    code = "HS6057",
                    "HTTP: the TLS handshake with {peer} failed: {e} ({count} failures since the last such line)"
                );
            }
            None
        }
    }
}

async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    slot: Arc<ConnectionPermit>,
    serving: &Serving,
    mut stopped: watch::Receiver<bool>,
) {
    let routes = TowerToHyperService::new(serving.router.clone());
    let of_streams = stopped.clone();
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        slot.begin(!hyper::body::Body::is_end_stream(request.body()));
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(slot.clone());
        let routes = routes.clone();
        let (slot, stopped) = (slot.clone(), of_streams.clone());
        async move {
            let response: Result<Response, Infallible> = routes.call(request).await;
            response.map(|response| streamed::follow(response, &slot, &stopped))
        }
    });
    let mut builder = http1::Builder::new();
    builder.max_buf_size(serving.limits.head_bytes).max_headers(serving.limits.head_fields);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let stop = async {
        // An error means that the handle is gone, which stops the server as well.
        let _ = stopped.changed().await;
    };
    tokio::select! {
        // An error is the client's: it is gone, or what it sends is no HTTP, and then it has been
        // told so.
        _ = serving.as_mut() => return,
        () = stop => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}
