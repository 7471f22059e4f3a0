//! The ids of memories that are added. An add names no id: the id follows from what is added, so
//! that the same add is the same memory, on every node.

use std::collections::BTreeSet;

use json::ObjectWriter;
use uuid::Uuid;

/// The beginning of the name that the UUID is made of.
const NAME: &str = "helixstream:mem0:";

/// The parts of an add that make its memory the one that it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct AddIdentity<'a> {
    /// The tenant: the users that the client's token is bound to; `None` where it is bound to none.
    pub tenant: Option<&'a BTreeSet<String>>,
    /// The user.
    pub user_id: Option<&'a str>,
    /// The session, or run.
    pub session_id: Option<&'a str>,
    /// The category, as canonical JSON.
    pub category: Option<&'a [u8]>,
    /// The agent.
    pub agent_id: Option<&'a str>,
    /// The app.
    pub app_id: Option<&'a str>,
    /// The text as it is added.
    pub text: &'a str,
}

impl AddIdentity<'_> {
    /// The id of the memory: the UUIDv5, in the URL namespace, of `helixstream:mem0:` and the
    /// canonical JSON array `[tenant, user, session, category, text]`. An object with `agent_id`
    /// and `app_id` follows where there is one of them, and last the number of memories with this
    /// identity that are not it any more, because their text was changed, because another memory
    /// has absorbed them, or because they belong to another user now.
    pub fn id(&self, former: u32) -> String {
        let mut name = NAME.as_bytes().to_vec();
        name.push(b'[');
        match self.tenant {
            Some(users) => {
                name.push(b'[');
                for (at, user) in users.iter().enumerate() {
                    if at > 0 {
                        name.push(b',');
                    }
                    json::write_string(&mut name, user);
                }
                name.push(b']');
            }
            None => name.extend_from_slice(b"null"),
        }
        for text in [self.user_id, self.session_id] {
            name.push(b',');
            match text {
                Some(text) => json::write_string(&mut name, text),
                None => name.extend_from_slice(b"null"),
            }
        }
        name.push(b',');
        name.extend_from_slice(self.category.unwrap_or(b"null"));
        name.push(b',');
        json::write_string(&mut name, self.text);
        if self.agent_id.is_some() || self.app_id.is_some() {
            name.push(b',');
            let mut object = ObjectWriter::new(&mut name);
            self.agent_id.iter().for_each(|agent| object.str("agent_id", agent));
            self.app_id.iter().for_each(|app| object.str("app_id", app));
            object.end();
        }
        if former > 0 {
            name.push(b',');
            name.extend_from_slice(former.to_string().as_bytes());
        }
        name.push(b']');
        Uuid::new_v5(&Uuid::NAMESPACE_URL, &name).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: AddIdentity<'static> = AddIdentity {
        tenant: None,
        user_id: None,
        session_id: None,
        category: None,
        agent_id: None,
        app_id: None,
        text: "likes tea",
    };

    #[test]
    fn an_id_is_that_of_the_documented_name() {
        let of = |name: &str| Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).to_string();
        assert_eq!(PLAIN.id(0), of("helixstream:mem0:[null,null,null,null,\"likes tea\"]"));
        // Other programs compute the same ids, so they must not change.
        assert_eq!(PLAIN.id(0), "afc58080-124d-5e77-9e6d-df1b385ae60a");
        let tenant = BTreeSet::from(["u".to_owned(), "v".to_owned()]);
        let whole = AddIdentity {
            tenant: Some(&tenant),
            user_id: Some("u"),
            session_id: Some("s\""),
            category: Some(b"\"c\""),
            agent_id: Some("a"),
            ..PLAIN
        };
        let name = "helixstream:mem0:[[\"u\",\"v\"],\"u\",\"s\\\"\",\"c\",\"likes tea\",{\"agent_id\":\"a\"},2]";
        assert_eq!(whole.id(2), of(name));
    }

    #[test]
    fn every_part_makes_another_memory() {
        let tenant = BTreeSet::from(["u".to_owned()]);
        let all = [
            PLAIN,
            AddIdentity { tenant: Some(&tenant), ..PLAIN },
            AddIdentity { user_id: Some("x"), ..PLAIN },
            AddIdentity { session_id: Some("x"), ..PLAIN },
            AddIdentity { category: Some(b"\"x\""), ..PLAIN },
            AddIdentity { agent_id: Some("x"), ..PLAIN },
            AddIdentity { app_id: Some("x"), ..PLAIN },
            AddIdentity { text: "x", ..PLAIN },
        ];
        let ids: BTreeSet<String> = all.iter().flat_map(|identity| [identity.id(0), identity.id(1)]).collect();
        assert_eq!(ids.len(), 2 * all.len());
    }
}
