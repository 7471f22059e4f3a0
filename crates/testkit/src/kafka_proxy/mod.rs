//! A proxy in front of a Kafka broker that knows the framing of Kafka's protocol: it counts the
//! calls of each API and does one fault to the calls that it is told.
//!
//! The broker must advertise the proxy's address to the clients of the proxy ([`listeners`]), since
//! they connect to what the metadata names.
//!
//! A broker answers the requests of a connection in their order, and so does the proxy: an answer
//! that is held back holds back those after it, and a connection with an answer that never comes is
//! silent from then on. The client's own limit (`socket.timeout.ms` of librdkafka) ends that.

mod answers;

pub use answers::Level;
pub use kafka_protocol::messages::ApiKey;

use crate::ports::free_port;
use bytes::{Buf, Bytes};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// Which calls of an API get a fault, counted from the moment at which it is armed. A call that
/// asks for nothing that the error could stand in is not counted: a Metadata request that asks for
/// the brokers alone, for an error of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Calls {
    /// The call of this number alone; the first one is 1.
    Number(u64),
    /// Each call, until the fault is lifted.
    Every,
}

/// When a fault happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Before the broker gets the request, which it never does where the fault takes it away.
    Before,
    /// After the broker has done what was asked.
    After,
}

/// The thing that happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The client gets this error code of Kafka's in place of the broker's answer.
    Error(i16, Level),
    /// The connection is closed.
    Disconnect,
    /// The request or the answer, and all that come after it, wait for so long.
    Delay(Duration),
    /// No answer comes, to this request and to all further ones of its connection.
    Swallow,
}

/// A fault to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallFault {
    /// The API.
    pub api: ApiKey,
    /// Its calls that are meant.
    pub calls: Calls,
    /// When it happens.
    pub side: Side,
    /// The thing that happens.
    pub action: Action,
}

/// The calls that the proxy has seen since a fault was armed.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// All requests of each API, by its number.
    pub calls: BTreeMap<i16, u64>,
    /// Calls that had the fault.
    pub faults: u64,
    /// When the first of them had it.
    pub first_fault: Option<Instant>,
}

#[derive(Default)]
struct ProxyState {
    fault: Option<CallFault>,
    seen: Seen,
    /// Calls that the fault could have been done to.
    countable: u64,
    /// Why a fault could not be done as it was armed; the test that armed it is told.
    flaw: Option<String>,
    ended: bool,
    /// Both ends of every open connection, by its number.
    streams: BTreeMap<u64, [TcpStream; 2]>,
    connections: u64,
}

struct Traffic {
    target: u16,
    state: Mutex<ProxyState>,
}

/// The proxy, on a port of `localhost`; it ends when it is dropped.
pub struct KafkaProxy {
    port: u16,
    shared: Arc<Traffic>,
}

/// Settings of a broker with a further listener for each proxy, of which the broker advertises the
/// proxy's port; for [`crate::broker::More::properties`].
pub fn listeners(ports: &[ProxyPorts]) -> String {
    let named = |of: fn(&ProxyPorts) -> u16| -> String {
        let each = ports.iter().enumerate();
        each.map(|(at, ports)| format!(",PROXY{at}://localhost:{}", of(ports))).collect()
    };
    let protocols: String = (0..ports.len()).map(|at| format!(",PROXY{at}:PLAINTEXT")).collect();
    format!(
        "listeners=PLAINTEXT://localhost:{{client}},CONTROLLER://localhost:{{controller}}{}
advertised.listeners=PLAINTEXT://localhost:{{client}}{}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT{protocols}
",
        named(|ports| ports.broker),
        named(|ports| ports.proxy),
    )
}

/// The two ports of a proxy.
#[derive(Debug, Clone, Copy)]
pub struct ProxyPorts {
    /// The port of the broker's listener behind it.
    pub broker: u16,
    /// Its own port.
    pub proxy: u16,
}

impl ProxyPorts {
    /// Ports that nobody has.
    pub fn free() -> ProxyPorts {
        ProxyPorts { broker: free_port(), proxy: free_port() }
    }
}

impl KafkaProxy {
    /// Listens, and connects to the broker for each connection. The broker need not be there yet.
    pub fn start(ports: ProxyPorts) -> KafkaProxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, ports.proxy)).expect("nobody else has the port");
        let shared = Arc::new(Traffic { target: ports.broker, state: Mutex::default() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept_all(&listener));
        KafkaProxy { port: ports.proxy, shared }
    }

    /// `host:port` for clients.
    pub fn bootstrap(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Does this fault from now on in place of any other, and counts anew.
    pub fn arm(&self, fault: CallFault) {
        let mut state = self.shared.lock();
        (state.fault, state.seen, state.countable) = (Some(fault), Seen::default(), 0);
    }

    /// Does no fault any more. A connection that is silent stays so.
    pub fn lift(&self) {
        self.shared.lock().fault = None;
    }

    /// Counts anew, with no fault.
    pub fn reset(&self) {
        let mut state = self.shared.lock();
        (state.fault, state.seen, state.flaw) = (None, Seen::default(), None);
    }

    /// The calls since it last began to count.
    ///
    /// # Panics
    /// Where an armed error could not be put into an answer: the call had another fault than the
    /// one that is under test.
    #[track_caller]
    pub fn seen(&self) -> Seen {
        let state = self.shared.lock();
        let (seen, flaw) = (state.seen.clone(), state.flaw.clone());
        drop(state);
        assert!(flaw.is_none(), "{}", flaw.unwrap_or_default());
        seen
    }
}

impl fmt::Debug for KafkaProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaProxy").field("port", &self.port).field("fault", &self.shared.lock().fault).finish()
    }
}

impl Drop for KafkaProxy {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.ended = true;
        for stream in std::mem::take(&mut state.streams).into_values().flatten() {
            // The other end may have closed it.
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(state);
        // The listening thread looks with the next connection.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

/// Fate of the next answer of a connection.
enum Next {
    /// The broker's, as it is.
    Pass,
    /// The broker's, after a wait.
    Delayed(Duration),
    /// This one, whatever the broker says.
    InPlace(Vec<u8>),
    /// The broker's, with an error put in.
    WithError(Call, i16, Level),
    /// This one; the broker has not been asked.
    Made(Vec<u8>),
    /// The connection is closed when the broker has answered.
    Disconnect,
    /// No further answer, when the broker has answered.
    Silent,
    /// No further answer; the broker has not been asked.
    SilentUnasked,
}

/// The properties of a call that its answer must fit to.
#[derive(Debug, Clone, Copy)]
struct Call {
    api: ApiKey,
    version: i16,
    correlation: i32,
}

impl Call {
    /// The call of a request, and the request without its header; `None` for an API that is not
    /// known here.
    fn of(request: &[u8]) -> Option<(Call, Bytes)> {
        let mut peeked = request;
        if peeked.len() < 4 {
            return None;
        }
        let (api, version) = (ApiKey::try_from(peeked.get_i16()).ok()?, peeked.get_i16());
        let mut request = Bytes::copy_from_slice(request);
        let header = RequestHeader::decode(&mut request, api.request_header_version(version)).ok()?;
        Some((Call { api, version, correlation: header.correlation_id }, request))
    }

    /// The frame of an answer with this body.
    fn frame(self, body: &[u8]) -> Vec<u8> {
        let header = ResponseHeader::default().with_correlation_id(self.correlation);
        let mut frame = Vec::new();
        header.encode(&mut frame, self.api.response_header_version(self.version)).expect("a header");
        frame.extend_from_slice(body);
        frame
    }

    /// An answer of the broker with an error put in.
    fn with_error(self, answer: &[u8], code: i16, level: Level) -> Result<Vec<u8>, String> {
        let mut body = Bytes::copy_from_slice(answer);
        ResponseHeader::decode(&mut body, self.api.response_header_version(self.version))
            .map_err(|error| format!("the answer to {self:?} has no header: {error}"))?;
        let changed = answers::with_error(self.api, self.version, &body, code, level);
        let changed = changed.ok_or_else(|| format!("no place in the answer to {self:?} for {code} in {level:?}"))?;
        Ok(self.frame(&changed))
    }
}

impl Traffic {
    fn lock(&self) -> MutexGuard<'_, ProxyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept_all(self: &Arc<Self>, listener: &TcpListener) {
        for connection in listener.incoming() {
            if self.lock().ended {
                return;
            }
            if let Ok(connection) = connection {
                let shared = Arc::clone(self);
                thread::spawn(move || shared.serve(connection));
            }
        }
    }

    /// Serves one connection until either end closes it.
    fn serve(self: &Arc<Self>, client: TcpStream) {
        let Ok(broker) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.target)) else { return };
        // Small frames go at once.
        let _ = (client.set_nodelay(true), broker.set_nodelay(true));
        let copies = (client.try_clone(), broker.try_clone(), client.try_clone(), broker.try_clone());
        let (Ok(kept_client), Ok(kept_broker), Ok(to_client), Ok(from_broker)) = copies else { return };
        let mut state = self.lock();
        if state.ended {
            return;
        }
        state.connections += 1;
        let number = state.connections;
        state.streams.insert(number, [kept_client, kept_broker]);
        drop(state);
        let (next, answers) = mpsc::channel();
        let shared = Arc::clone(self);
        thread::spawn(move || shared.pass_answers(&answers, from_broker, to_client));
        // None means that either end has closed the connection, or that the fault does.
        let _ = self.pass_requests(&next, &client, &broker);
        let _ = (client.shutdown(Shutdown::Both), broker.shutdown(Shutdown::Both));
        self.lock().streams.remove(&number);
    }

    fn pass_requests(&self, next: &mpsc::Sender<Next>, mut client: &TcpStream, mut broker: &TcpStream) -> Option<()> {
        loop {
            let request = read_frame(&mut client)?;
            let call = Call::of(&request);
            let fault = self.count(&request, call.as_ref());
            let (Some((call, body)), Some(CallFault { side, action, .. })) = (call, fault) else {
                next.send(Next::Pass).ok()?;
                write_frame(&mut broker, &request)?;
                continue;
            };
            let (answer, asks) = match (action, side) {
                (Action::Disconnect, Side::Before) => return None,
                (Action::Disconnect, Side::After) => (Next::Disconnect, true),
                (Action::Delay(time), Side::Before) => {
                    thread::sleep(time);
                    (Next::Pass, true)
                }
                (Action::Delay(time), Side::After) => (Next::Delayed(time), true),
                (Action::Swallow, Side::Before) => (Next::SilentUnasked, false),
                (Action::Swallow, Side::After) => (Next::Silent, true),
                (Action::Error(code, level), side) => {
                    match answers::made(call.api, call.version, &body, code, level).map(|body| call.frame(&body)) {
                        Some(answer) if side == Side::Before => (Next::Made(answer), false),
                        Some(answer) => (Next::InPlace(answer), true),
                        None => (Next::WithError(call, code, level), true),
                    }
                }
            };
            next.send(answer).ok()?;
            if asks {
                write_frame(&mut broker, &request)?;
            }
            if action == Action::Swallow {
                // The client learns nothing until it gives up.
                while read_frame(&mut client).is_some() {}
                return None;
            }
        }
    }

    /// Counts a request, and returns the fault that it is to have.
    fn count(&self, request: &[u8], call: Option<&(Call, Bytes)>) -> Option<CallFault> {
        let api = i16::from_be_bytes(*request.first_chunk::<2>()?);
        let mut state = self.lock();
        *state.seen.calls.entry(api).or_default() += 1;
        let fault = state.fault.filter(|fault| fault.api as i16 == api)?;
        if let (Action::Error(_, level), Some((call, body))) = (fault.action, call)
            && !answers::has_place(call.api, call.version, body, level)
        {
            return None;
        }
        state.countable += 1;
        if matches!(fault.calls, Calls::Number(meant) if meant != state.countable) {
            return None;
        }
        state.seen.faults += 1;
        state.seen.first_fault.get_or_insert_with(Instant::now);
        Some(fault)
    }

    /// Passes answers on in the order of their requests, until either end closes the connection.
    fn pass_answers(&self, answers: &mpsc::Receiver<Next>, mut broker: TcpStream, mut client: TcpStream) {
        while let Ok(next) = answers.recv() {
            if self.pass_answer(next, &mut broker, &mut client).is_none() {
                break;
            }
        }
        let _ = (client.shutdown(Shutdown::Both), broker.shutdown(Shutdown::Both));
    }

    fn pass_answer(&self, next: Next, broker: &mut TcpStream, client: &mut TcpStream) -> Option<()> {
        let answer = match next {
            Next::Pass => read_frame(broker)?,
            Next::Delayed(time) => {
                let answer = read_frame(broker)?;
                thread::sleep(time);
                answer
            }
            Next::InPlace(answer) => {
                read_frame(broker)?;
                answer
            }
            Next::WithError(call, code, level) => match call.with_error(&read_frame(broker)?, code, level) {
                Ok(answer) => answer,
                Err(flaw) => {
                    self.lock().flaw = Some(flaw);
                    return None;
                }
            },
            Next::Made(answer) => answer,
            Next::Disconnect => {
                read_frame(broker)?;
                return None;
            }
            Next::Silent | Next::SilentUnasked => {
                // The broker's end stays open as long as the client's.
                while read_frame(broker).is_some() {}
                return None;
            }
        };
        write_frame(client, &answer)
    }
}

/// The next frame, without its length; `None` at the connection's end.
fn read_frame(from: &mut impl Read) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).ok()?;
    let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).ok()?];
    from.read_exact(&mut frame).ok()?;
    Some(frame)
}

fn write_frame(to: &mut impl Write, frame: &[u8]) -> Option<()> {
    let length = i32::try_from(frame.len()).ok()?;
    let mut all = length.to_be_bytes().to_vec();
    all.extend_from_slice(frame);
    to.write_all(&all).ok()
}
