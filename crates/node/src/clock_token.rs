//! The opaque token by which a caller says what it has seen of a memory.
//!
//! A read answers with a token, and a write that carries it has exactly the causality of that read.
//! The token is a memory's id, a vector clock, a version and its issuer as one array of canonical
//! JSON, in base64url without padding (RFC 4648, section 5), so that it fits a header, a URL and an
//! ETag. It is opaque to callers, but not secret: a caller who writes one could as well write an
//! event.
//!
//! The issuer is the incarnation of the node and an opening of its database. By it a node knows the
//! tokens that it has handed out itself from those of a copy of its folder, which counts with the
//! same actor until one of the two becomes a new incarnation.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use json::{Number, Value, ValueKind};
use memory::clock::{Clock, write_clock};

use crate::hybrid_clock::MAX_VERSION;

/// The form of tokens that this version writes, as the first item of the array.
const FORM: u64 = 1;

/// The causality of one memory as a caller has seen it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockToken {
    /// The memory.
    pub memory_id: String,
    /// The clock of the memory as it was shown; empty where the caller has seen that it does not
    /// exist.
    pub clock: Clock,
    /// The version of the memory as it was shown, at most 2^63-1.
    pub version: u64,
    /// The incarnation and the opening of the node that has handed it out.
    pub issuer: String,
}

/// A text that is no token of this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no clock token; use one that a read or a write of this memory has answered with")]
pub struct InvalidToken;

impl ClockToken {
    /// The token as text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = format!("[{FORM},").into_bytes();
        json::write_string(&mut text, &self.memory_id);
        text.push(b',');
        let entries: Vec<(&str, u64)> = self.clock.entries().iter().map(|(name, n)| (name.as_str(), *n)).collect();
        write_clock(&mut text, &entries);
        text.extend_from_slice(format!(",{},", self.version).as_bytes());
        json::write_string(&mut text, &self.issuer);
        text.push(b']');
        URL_SAFE_NO_PAD.encode(text)
    }

    /// Reads a token.
    ///
    /// # Errors
    /// [`InvalidToken`] for any text that [`ClockToken::encode`] does not write.
    pub fn decode(text: &str) -> Result<ClockToken, InvalidToken> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidToken)?;
        let document = json::parse(&bytes).map_err(|_| InvalidToken)?;
        let token = from_json(document.root()).ok_or(InvalidToken)?;
        // One token has one text: a cut, a padded or a rewritten one is none.
        if token.encode() == text { Ok(token) } else { Err(InvalidToken) }
    }
}

fn from_json(value: Value<'_>) -> Option<ClockToken> {
    let mut items = value.items();
    let form = counter(items.next()?)?;
    let memory_id = items.next()?.as_str().filter(|id| !id.is_empty())?.to_owned();
    let clock = items.next().filter(|clock| clock.kind() == ValueKind::Object)?;
    let version = counter(items.next()?)?;
    let issuer = items.next()?.as_str()?.to_owned();
    if form != FORM || items.next().is_some() {
        return None;
    }
    let entries: Option<Vec<_>> = clock.members().map(|(name, n)| Some((name.to_owned(), counter(n)?))).collect();
    Some(ClockToken { memory_id, clock: Clock::from_entries(entries?), version, issuer })
}

fn counter(value: Value<'_>) -> Option<u64> {
    match value.as_number()? {
        Number::Int(n) => u64::try_from(n).ok().filter(|n| *n <= MAX_VERSION),
        Number::Float(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(entries: &[(&str, u64)]) -> ClockToken {
        let clock = Clock::from_entries(entries.iter().map(|(name, n)| ((*name).to_owned(), *n)));
        ClockToken { memory_id: "m/1 \"ü\"".to_owned(), clock, version: MAX_VERSION, issuer: "i.o".to_owned() }
    }

    #[test]
    fn a_token_is_read_as_it_is_written() {
        for token in [token(&[]), token(&[("~", 7), ("b", 1), ("a", MAX_VERSION)])] {
            assert_eq!(ClockToken::decode(&token.encode()), Ok(token));
        }
    }

    #[test]
    fn a_token_fits_a_header_and_a_url() {
        let text = token(&[("a?b/c", 3), ("n\u{0}", 9)]).encode();
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'), "{text}");
    }

    #[test]
    fn other_texts_are_refused() {
        let texts = [
            "[]",
            "[1]",
            "[2,\"m\",{},0,\"i\"]",
            "[1,\"\",{},0,\"i\"]",
            "[1,\"m\",[],0,\"i\"]",
            "[1,\"m\",{\"a\":0},0,\"i\"]",
            "[1,\"m\",{\"a\":1.5},0,\"i\"]",
            "[1,\"m\",{\"a\":9223372036854775808},0,\"i\"]",
            "[1,\"m\",{},-1,\"i\"]",
            "[1,\"m\",{},0,0]",
            "[1,\"m\",{},0]",
            "[1,\"m\",{},0,\"i\",0]",
            "[1, \"m\",{},0,\"i\"]",
            "{}",
        ];
        for text in texts {
            assert_eq!(ClockToken::decode(&URL_SAFE_NO_PAD.encode(text)), Err(InvalidToken), "{text}");
        }
        let whole = token(&[("a", 3)]).encode();
        for text in ["", "%", &whole[1..], &format!("{whole}="), &format!("{whole}A")] {
            assert_eq!(ClockToken::decode(text), Err(InvalidToken), "{text}");
        }
    }
}
