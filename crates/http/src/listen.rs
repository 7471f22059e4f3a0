//! The listen address of HTTP, as users write it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Reads an address to listen on: a port alone (`8080`, `:8080`) means this machine only
/// (127.0.0.1), and any other address is written out, as in `0.0.0.0:8080` or `[::]:8080`.
/// `localhost` is 127.0.0.1.
///
/// # Errors
/// The text is no such address; the message says how one is written.
pub fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let port = text.strip_prefix("localhost:").or_else(|| text.strip_prefix(':')).unwrap_or(text);
    if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) {
        let number: u16 = port.parse().map_err(|_| format!("the port {port} is not one of 0 to 65535 [HS6501]"))?;
        return Ok(SocketAddr::new(loopback, number));
    }
    text.parse().map_err(|_| {
        format!(
            "`{text}` is not an address to listen on: write a port (`8080` means 127.0.0.1:8080, which only this machine reaches) or an IP \
             address with a port (`0.0.0.0:8080` and `[::]:8080` mean every interface) [HS6501]"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_means_this_machine_and_another_address_is_written_out() {
        for (text, expected) in [
            ("8080", "127.0.0.1:8080"),
            (":8080", "127.0.0.1:8080"),
            ("localhost:8080", "127.0.0.1:8080"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::1]:8080", "[::1]:8080"),
            ("0.0.0.0:8080", "0.0.0.0:8080"),
            ("[::]:8080", "[::]:8080"),
            ("10.1.2.3:80", "10.1.2.3:80"),
        ] {
            assert_eq!(parse_address(text), Ok(expected.parse().unwrap()), "{text}");
        }
        for text in ["", ":", "*:8080", "0.0.0.0", "::1", "host:8080", "70000", ":70000", "80 80", "localhost", "-1"] {
            let message = parse_address(text).unwrap_err();
            assert!(message.contains("address to listen on") || message.contains("0 to 65535"), "{text}: {message}");
        }
    }
}
