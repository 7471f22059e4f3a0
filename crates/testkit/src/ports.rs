//! Free TCP ports that stay free: a stopped server must find its port again when the test starts it
//! anew.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

// Below the kernel's range for outgoing connections (32768 and up): a port of a stopped server is
// not taken by a client meanwhile.
const FIRST: u32 = 23_000;
const COUNT: u32 = 9_000;

/// A port on 127.0.0.1 that nobody listens on and that this process has not given out before.
///
/// Two test processes start at places that differ, so they rarely look at the same port at the same
/// time; a server that finds its port taken all the same is started again on another one.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + (std::process::id().wrapping_mul(61).wrapping_add(step)) % COUNT;
        let port = u16::try_from(port).unwrap();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}
