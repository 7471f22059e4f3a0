//! The clock tokens of what each session has been shown. By them a write says exactly what its
//! agent has seen, and the agent need not carry them.
//!
//! Tokens are held in memory alone: an agent whose token is gone recalls the memory once more. So
//! are those of the longest ago, beyond a limit of bytes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

/// Bytes of all tokens and their keys together, beyond which the oldest are forgotten.
const MAX_BYTES: usize = 16 << 20;

/// A session and a memory.
type Key = (String, String);

/// The tokens of all sessions.
pub(crate) struct Sessions {
    shown: Mutex<Shown>,
    max_bytes: usize,
}

#[derive(Default)]
struct Shown {
    tokens: HashMap<Key, (u64, String)>,
    /// Keys by the turn at which their token was noted.
    turns: BTreeMap<u64, Key>,
    next_turn: u64,
    bytes: usize,
}

impl Sessions {
    /// No session has been shown anything yet.
    pub fn new() -> Sessions {
        Sessions { shown: Mutex::default(), max_bytes: MAX_BYTES }
    }

    /// Notes what a session has been shown of a memory.
    pub fn note(&self, session: &str, memory_id: &str, token: &str) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (session.to_owned(), memory_id.to_owned());
        shown.remove(&key);
        let turn = shown.next_turn;
        shown.next_turn += 1;
        shown.bytes += size(&key, token);
        shown.turns.insert(turn, key.clone());
        shown.tokens.insert(key, (turn, token.to_owned()));
        while shown.bytes > self.max_bytes {
            let Some((_, oldest)) = shown.turns.first_key_value().map(|(turn, key)| (*turn, key.clone())) else {
                break;
            };
            shown.remove(&oldest);
        }
    }

    /// The token of what a session was last shown of a memory.
    pub fn token(&self, session: &str, memory_id: &str) -> Option<String> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.tokens.get(&(session.to_owned(), memory_id.to_owned())).map(|(_, token)| token.clone())
    }
}

impl Shown {
    fn remove(&mut self, key: &Key) {
        if let Some((turn, token)) = self.tokens.remove(key) {
            self.turns.remove(&turn);
            self.bytes -= size(key, &token);
        }
    }
}

/// Bytes that a token takes. Its key is held twice.
fn size(key: &Key, token: &str) -> usize {
    2 * (key.0.len() + key.1.len()) + token.len() + 200
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_the_token_that_it_was_shown_last() {
        let sessions = Sessions::new();
        sessions.note("s", "m", "1");
        sessions.note("s", "n", "2");
        sessions.note("s", "m", "3");
        assert_eq!(sessions.token("s", "m").as_deref(), Some("3"));
        assert_eq!(sessions.token("s", "n").as_deref(), Some("2"));
        assert_eq!((sessions.token("t", "m"), sessions.token("s", "o")), (None, None));
    }

    #[test]
    fn the_tokens_of_the_longest_ago_are_forgotten() {
        let sessions = Sessions { max_bytes: 2 * size(&("s".to_owned(), "m1".to_owned()), "t"), ..Sessions::new() };
        for memory in ["m1", "m2", "m1", "m3"] {
            sessions.note("s", memory, "t");
        }
        let known = ["m1", "m2", "m3"].map(|memory| sessions.token("s", memory).is_some());
        assert_eq!(known, [true, false, true]);
        let shown = sessions.shown.lock().unwrap();
        assert_eq!((shown.tokens.len(), shown.turns.len(), shown.bytes), (2, 2, sessions.max_bytes));
    }
}
