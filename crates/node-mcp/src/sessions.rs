//! The clock tokens of what each session has been shown. By them a write says exactly what its
//! agent has seen, and the agent need not carry them.
//!
//! Tokens are held in memory alone: an agent whose token is gone recalls the memory once more. So
//! are those of the longest ago, beyond a limit of bytes. All clients share this room, and none can
//! take it from the others, by ever new names of sessions for example: where it is used up, the
//! client that has the most is the one whose oldest tokens are forgotten.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

/// Bytes of all tokens and their keys together, beyond which the oldest are forgotten.
const MAX_BYTES: usize = 16 << 20;

/// A session of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Session {
    /// The name of the client's access token; empty where it has none.
    pub client: String,
    /// Its name among the sessions of this client.
    pub name: String,
}

/// The name of a session and a memory.
type Key = (String, String);

/// The tokens of all sessions.
pub(crate) struct Sessions {
    shown: Mutex<Shown>,
    max_bytes: usize,
}

/// The tokens of all clients.
#[derive(Default)]
struct Shown {
    /// By the name of the client.
    clients: HashMap<String, ShownToClient>,
    next_turn: u64,
    bytes: usize,
}

/// The tokens of one client.
#[derive(Default)]
struct ShownToClient {
    tokens: HashMap<Key, (u64, String)>,
    /// Keys by the turn at which their token was noted.
    turns: BTreeMap<u64, Key>,
    bytes: usize,
}

impl Sessions {
    /// No session has been shown anything yet.
    pub fn new() -> Sessions {
        Sessions { shown: Mutex::default(), max_bytes: MAX_BYTES }
    }

    /// Notes what a session has been shown of a memory.
    pub fn note(&self, session: &Session, memory_id: &str, token: &str) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = shown.next_turn;
        shown.next_turn += 1;
        let key = (session.name.clone(), memory_id.to_owned());
        shown.change(&session.client, |client| {
            client.remove(&key);
            client.bytes += size(&key, token);
            client.turns.insert(turn, key.clone());
            client.tokens.insert(key, (turn, token.to_owned()));
        });
        while shown.bytes > self.max_bytes {
            let most = shown.clients.iter().max_by_key(|(_, client)| client.bytes).map(|(name, _)| name.clone());
            let Some(most) = most else { break };
            shown.change(&most, ShownToClient::remove_oldest);
        }
    }

    /// The token of what a session was last shown of a memory.
    pub fn token(&self, session: &Session, memory_id: &str) -> Option<String> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (session.name.clone(), memory_id.to_owned());
        shown.clients.get(&session.client)?.tokens.get(&key).map(|(_, token)| token.clone())
    }
}

impl Shown {
    /// Changes what was shown to a client, and counts its bytes anew.
    fn change(&mut self, name: &str, change: impl FnOnce(&mut ShownToClient)) {
        let client = self.clients.entry(name.to_owned()).or_default();
        self.bytes -= client.bytes;
        change(client);
        self.bytes += client.bytes;
        if client.tokens.is_empty() {
            self.clients.remove(name);
        }
    }
}

impl ShownToClient {
    fn remove(&mut self, key: &Key) {
        if let Some((turn, token)) = self.tokens.remove(key) {
            self.turns.remove(&turn);
            self.bytes -= size(key, &token);
        }
    }

    fn remove_oldest(&mut self) {
        if let Some(key) = self.turns.first_key_value().map(|(_, key)| key.clone()) {
            self.remove(&key);
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

    fn session(client: &str, name: &str) -> Session {
        Session { client: client.to_owned(), name: name.to_owned() }
    }

    fn with_room_for(tokens: usize) -> Sessions {
        Sessions { max_bytes: tokens * size(&("s".to_owned(), "m1".to_owned()), "t"), ..Sessions::new() }
    }

    #[test]
    fn a_session_has_the_token_that_it_was_shown_last() {
        let sessions = Sessions::new();
        let s = session("c", "s");
        sessions.note(&s, "m", "1");
        sessions.note(&s, "n", "2");
        sessions.note(&s, "m", "3");
        assert_eq!(sessions.token(&s, "m").as_deref(), Some("3"));
        assert_eq!(sessions.token(&s, "n").as_deref(), Some("2"));
        assert_eq!((sessions.token(&session("c", "t"), "m"), sessions.token(&s, "o")), (None, None));
        assert_eq!(sessions.token(&session("d", "s"), "m"), None);
    }

    #[test]
    fn the_tokens_of_the_longest_ago_are_forgotten() {
        let sessions = with_room_for(2);
        let s = session("c", "s");
        for memory in ["m1", "m2", "m1", "m3"] {
            sessions.note(&s, memory, "t");
        }
        let known = ["m1", "m2", "m3"].map(|memory| sessions.token(&s, memory).is_some());
        assert_eq!(known, [true, false, true]);
        let shown = sessions.shown.lock().unwrap();
        let client = &shown.clients["c"];
        assert_eq!((client.tokens.len(), client.turns.len(), shown.bytes), (2, 2, sessions.max_bytes));
    }

    #[test]
    fn a_client_with_ever_new_sessions_takes_no_room_from_another_one() {
        let sessions = with_room_for(4);
        let quiet = session("quiet", "s");
        sessions.note(&quiet, "m1", "t");
        sessions.note(&quiet, "m2", "t");
        for name in 'a'..='z' {
            sessions.note(&session("loud", &name.to_string()), "m1", "t");
        }
        assert!(["m1", "m2"].iter().all(|memory| sessions.token(&quiet, memory).is_some()));
        let kept: String =
            ('a'..='z').filter(|name| sessions.token(&session("loud", &name.to_string()), "m1").is_some()).collect();
        assert_eq!(kept, "yz");
    }
}
