//! Sessions of browsers that have logged in. A session lies in memory: logging out ends it for
//! good, and a restart ends all of them.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq as _;

use super::random;
use super::tokens::{Token, Tokens};

/// How long a session lasts.
pub(super) const LIFE: Duration = Duration::from_secs(12 * 3600);
/// Sessions at most; a new one then takes the place of the one that would end first.
const MOST: usize = 1000;

/// A session of a browser.
#[derive(Clone)]
pub(super) struct Session {
    /// The token that was logged in with.
    pub token: Arc<Token>,
    form_token: String,
    ends: Instant,
}

impl Session {
    /// Token that every form of a page carries, so that no other site can send it in the browser's
    /// name.
    pub fn form_token(&self) -> &str {
        &self.form_token
    }

    /// Whether a form came from a page of ours.
    pub fn is_form_token(&self, shown: &str) -> bool {
        self.form_token.as_bytes().ct_eq(shown.as_bytes()).into()
    }
}

/// All sessions, by the hash of their id: nothing that this process could leak of its memory's keys
/// is an id.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<Vec<u8>, Session>>);

impl Sessions {
    fn all(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session; its id is for the browser's cookie alone.
    ///
    /// # Errors
    /// The system provides no random bytes.
    pub fn begin(&self, token: Arc<Token>) -> io::Result<String> {
        let id = random::secret()?;
        let form_token = random::secret()?;
        let now = Instant::now();
        let mut all = self.all();
        all.retain(|_, session| session.ends > now);
        if all.len() >= MOST
            && let Some(first) = all.iter().min_by_key(|(_, session)| session.ends).map(|(key, _)| key.clone())
        {
            all.remove(&first);
        }
        all.insert(key(&id), Session { token, form_token, ends: now + LIFE });
        Ok(id)
    }

    /// The session of an id, if it has not ended and its token is still in the file, with the
    /// rights that the file now grants.
    pub fn find(&self, id: &str, tokens: &Tokens) -> Option<Session> {
        let mut session = self.all().get(&key(id)).filter(|session| session.ends > Instant::now())?.clone();
        session.token = tokens.same(&session.token)?;
        Some(session)
    }

    /// Ends a session.
    pub fn end(&self, id: &str) {
        self.all().remove(&key(id));
    }
}

fn key(id: &str) -> Vec<u8> {
    digest(&SHA256, id.as_bytes()).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::super::tokens::Right;
    use super::*;

    fn tokens(text: &str) -> Tokens {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("t"), text).unwrap();
        Tokens::read(&dir.path().join("t")).unwrap()
    }

    #[test]
    fn a_session_lasts_until_it_ends_or_its_token_goes() {
        let (text, entry) = Token::make("me", &[Right::Read], None).unwrap();
        let now = tokens(&entry.line());
        let sessions = Sessions::default();
        let id = sessions.begin(now.find(&text).unwrap()).unwrap();
        let session = sessions.find(&id, &now).unwrap();
        assert_eq!(session.token.name, "me");
        assert!(
            session.is_form_token(session.form_token()) && !session.is_form_token("") && !session.is_form_token(&id)
        );
        assert!(sessions.find("", &now).is_none() && sessions.find(session.form_token(), &now).is_none());
        // Rights are those of the file now.
        let more = tokens(&format!("{},act", entry.line()));
        assert!(sessions.find(&id, &more).unwrap().token.rights.contains(&Right::Act));
        let (_, other) = Token::make("me", &[Right::Read], None).unwrap();
        assert!(sessions.find(&id, &tokens(&other.line())).is_none(), "another token of the same name");
        sessions.end(&id);
        assert!(sessions.find(&id, &now).is_none());
    }

    #[test]
    fn there_are_never_more_than_a_thousand() {
        let (_, entry) = Token::make("me", &[Right::Read], None).unwrap();
        let sessions = Sessions::default();
        let token = Arc::new(entry.clone());
        let ids: Vec<String> = (0..=MOST).map(|_| sessions.begin(token.clone()).unwrap()).collect();
        let now = tokens(&entry.line());
        assert_eq!(sessions.all().len(), MOST);
        assert!(sessions.find(&ids[0], &now).is_none() && sessions.find(&ids[MOST], &now).is_some());
    }
}
