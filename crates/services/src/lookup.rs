//! The addresses of a host's name, looked up within the limit of a check.
//!
//! The system's lookup (getaddrinfo) has no limit of its own: where no DNS server answers, it takes
//! half a minute and longer, and nothing can end it. So it runs on a thread, and whoever waits for
//! it goes on at the limit; the thread ends when the system has given up.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::oneshot;

/// A lookup of the addresses of a host, with this port.
pub(super) type Lookup = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// The system's lookup.
pub(super) fn of_system(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    (host, port).to_socket_addrs().map(Iterator::collect)
}

/// The addresses of a host, looked up by the system within `limit`.
///
/// # Errors
/// The lookup has failed, or has not ended ([`io::ErrorKind::TimedOut`]).
pub fn addresses(host: &str, port: u16, limit: Duration) -> io::Result<Vec<SocketAddr>> {
    addresses_by(of_system, host, port, limit)
}

/// The same by this lookup.
pub(super) fn addresses_by(lookup: Lookup, host: &str, port: u16, limit: Duration) -> io::Result<Vec<SocketAddr>> {
    let (sender, receiver) = channel();
    look_up(lookup, host, port, move |found| _ = sender.send(found))?;
    receiver.recv_timeout(limit).unwrap_or_else(|error| {
        Err(match error {
            RecvTimeoutError::Timeout => {
                io::Error::new(io::ErrorKind::TimedOut, "the lookup of the name has not ended within the limit")
            }
            RecvTimeoutError::Disconnected => ended(),
        })
    })
}

/// Looks a host up on a thread of its own.
fn look_up(
    lookup: Lookup,
    host: &str,
    port: u16,
    told: impl FnOnce(io::Result<Vec<SocketAddr>>) + Send + 'static,
) -> io::Result<()> {
    let host = host.to_owned();
    let thread = std::thread::Builder::new().name("lookup".to_owned());
    thread.spawn(move || told(lookup(&host, port))).map(drop)
}

fn ended() -> io::Error {
    io::Error::other("the thread that looks the host up has ended without a result")
}

/// The lookup of HTTP requests. That of reqwest runs on a thread of the request's event loop, which
/// waits for it when it ends.
pub(super) struct HttpLookup(pub Lookup);

impl Resolve for HttpLookup {
    fn resolve(&self, name: Name) -> Resolving {
        let (sender, receiver) = oneshot::channel();
        // The request sets the port.
        let begun = look_up(self.0, name.as_str(), 0, move |found| _ = sender.send(found));
        Box::pin(async move {
            begun?;
            let found = receiver.await.map_err(|_| ended())??;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lookup_that_does_not_end_is_given_up_at_the_limit() {
        let never: Lookup = |_, _| loop {
            std::thread::park();
        };
        let error = addresses_by(never, "example.org", 80, Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn the_addresses_and_the_error_of_the_system_are_passed_on() {
        let limit = Duration::from_secs(60);
        let local = addresses("127.0.0.1", 80, limit).unwrap();
        assert_eq!(local, ["127.0.0.1:80".parse().unwrap()]);
        // No lookup takes such a name.
        assert_eq!(addresses("no\0name", 80, limit).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
