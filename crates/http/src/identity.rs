//! The client of a request, as the routes of an API see it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::tokens::{Right, Token};

/// The client of a request. Every request that reaches a route of an [`Api`](super::Api) has it as
/// an extension. Access control has looked at the rights already: GET and HEAD need `read`, every
/// other method needs `act`, and a route with the layer [`require_read`](super::require_read) needs
/// `read` in any case.
#[derive(Clone, Debug)]
pub struct Identity(Option<Arc<Token>>);

impl Identity {
    /// The client that showed this token, or any client where there is no token file.
    pub(super) fn new(token: Option<Arc<Token>>) -> Identity {
        Identity(token)
    }

    /// The name of the token; `None` where there is no token file.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.as_ref().map(|token| token.name.as_str())
    }

    /// Whether the client has the right `read`.
    #[must_use]
    pub fn may_read(&self) -> bool {
        self.0.as_ref().is_none_or(|token| token.rights.contains(&Right::Read))
    }

    /// The users that the token is bound to; `None` where it is bound to none, so that all users
    /// are the client's.
    #[must_use]
    pub fn users(&self) -> Option<&BTreeSet<String>> {
        self.0.as_ref().and_then(|token| token.users.as_ref())
    }

    /// Whether the client may see and write what belongs to a user, or, for `None`, what belongs to
    /// no user.
    #[must_use]
    pub fn may_use(&self, user: Option<&str>) -> bool {
        self.users().is_none_or(|users| user.is_some_and(|user| users.contains(user)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_is_bound_to_users_has_no_other_ones() {
        let bound =
            |users: Option<&[String]>| Identity(Some(Arc::new(Token::make("n", &[Right::Read], users).unwrap().1)));
        let two = bound(Some(&["a".to_owned(), "b".to_owned()]));
        assert!(two.may_use(Some("a")) && two.may_use(Some("b")));
        assert!(!two.may_use(Some("c")) && !two.may_use(Some("")) && !two.may_use(None));
        let writer = Identity(Some(Arc::new(Token::make("n", &[Right::Act], None).unwrap().1)));
        assert!(two.may_read() && Identity(None).may_read() && !writer.may_read());
        for all in [bound(None), Identity(None)] {
            assert!(all.may_use(Some("a")) && all.may_use(None));
        }
    }
}
