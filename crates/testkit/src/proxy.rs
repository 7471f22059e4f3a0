//! A TCP proxy in front of a server, for the faults of a network: it is cut, or it swallows
//! everything, and it comes back.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

/// The way of connections and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// It passes them on.
    Open,
    /// It closes every connection.
    Closed,
    /// It takes connections and bytes, and passes nothing on.
    Silent,
    /// The test is over.
    Ended,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    /// Both ends of every connection.
    streams: Vec<TcpStream>,
}

#[derive(Debug)]
struct Shared {
    target: u16,
    state: Mutex<State>,
    changed: Condvar,
}

/// A proxy on a port of 127.0.0.1, for a server on another port of it.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Listens on `port` and connects to `target` for each connection. The server need not be there
    /// yet.
    pub fn start(port: u16, target: u16) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("nobody else has the port");
        let state = Mutex::new(State { mode: Mode::Open, streams: Vec::new() });
        let shared = Arc::new(Shared { target, state, changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept_all(&listener));
        Proxy { port, shared }
    }

    /// Closes all connections, and every new one at once.
    pub fn cut(&self) {
        self.shared.set(Mode::Closed);
    }

    /// Passes nothing on any more, and closes nothing: neither end learns that the other is away.
    pub fn silence(&self) {
        self.shared.set(Mode::Silent);
    }

    /// Passes everything on again, first what it has kept.
    pub fn heal(&self) {
        self.shared.set(Mode::Open);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.set(Mode::Ended);
        // The listening thread looks at the mode with the next connection.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn set(&self, mode: Mode) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.mode = mode;
        if matches!(mode, Mode::Closed | Mode::Ended) {
            for stream in state.streams.drain(..) {
                // The other end may have closed it.
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.changed.notify_all();
    }

    fn accept_all(self: &Arc<Self>, listener: &TcpListener) {
        for connection in listener.incoming() {
            match (self.state.lock().unwrap_or_else(PoisonError::into_inner).mode, connection) {
                (Mode::Ended, _) => return,
                (Mode::Open | Mode::Silent, Ok(connection)) => {
                    let shared = Arc::clone(self);
                    thread::spawn(move || shared.serve(connection));
                }
                (Mode::Closed, _) | (_, Err(_)) => {}
            }
        }
    }

    /// Passes the bytes of one connection on in both directions. Where the server is away, the
    /// connection is closed.
    fn serve(self: &Arc<Self>, client: TcpStream) {
        if !self.may_pass() {
            return;
        }
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.target)) else { return };
        let copies = (client.try_clone(), server.try_clone(), client.try_clone(), server.try_clone());
        let (Ok(kept_client), Ok(kept_server), Ok(to_client), Ok(from_server)) = copies else { return };
        self.state.lock().unwrap_or_else(PoisonError::into_inner).streams.extend([kept_client, kept_server]);
        let back = Arc::clone(self);
        thread::spawn(move || back.copy(from_server, to_client));
        self.copy(client, server);
    }

    fn copy(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if !self.may_pass() || to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        // Either may be closed.
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    /// Waits while nothing is passed on; then whether the connection still is.
    fn may_pass(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.changed.wait_while(state, |state| state.mode == Mode::Silent);
        state.unwrap_or_else(PoisonError::into_inner).mode == Mode::Open
    }
}

#[cfg(test)]
mod tests {
    use super::Proxy;
    use crate::ports::free_port;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::time::Duration;

    /// Sends a byte and reads the same back; `None` where the connection is closed or silent.
    fn echo(connection: &mut TcpStream, byte: u8) -> Option<u8> {
        let mut answer = [0];
        connection.write_all(&[byte]).ok()?;
        connection.read_exact(&mut answer).ok()?;
        Some(answer[0])
    }

    #[test]
    fn a_proxy_passes_on_cuts_and_is_silent() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (port, target) = (free_port(), server.local_addr().unwrap().port());
        std::thread::spawn(move || {
            for connection in server.incoming() {
                let mut connection = connection.unwrap();
                std::thread::spawn(move || std::io::copy(&mut connection.try_clone().unwrap(), &mut connection));
            }
        });
        let proxy = Proxy::start(port, target);
        let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let mut first = connect();
        assert_eq!(echo(&mut first, 1), Some(1));

        proxy.silence();
        first.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert_eq!(echo(&mut first, 2), None);
        proxy.heal();
        first.set_read_timeout(None).unwrap();
        let mut kept = [0];
        first.read_exact(&mut kept).unwrap();
        assert_eq!(kept, [2], "what was kept is passed on");

        proxy.cut();
        assert_eq!(echo(&mut first, 3), None);
        assert_eq!(echo(&mut connect(), 4), None);
        proxy.heal();
        assert_eq!(echo(&mut connect(), 5), Some(5));
    }
}
