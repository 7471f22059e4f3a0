//! The subscription: which memories the node keeps, and what it fetches and forgets where the
//! setting has changed between two starts.
//!
//! Memories that are newly subscribed are asked for by sync requests, since their records were
//! read and left out. Reading the topic from its beginning would bring them, too, but only as far
//! as that reaches back.

use std::collections::BTreeSet;

use json::{ObjectWriter, ValueKind};
use sqlx::query_as;

use super::connection::statement;
use super::schema::{damage, failure};
use super::view::MemoryRow;
use super::writer::Writer;
use crate::overlay::Heading;
use crate::ports::JournalError;
use crate::settings::Subscription;

/// The most users that are asked for one by one: the stream looks at all its memories for each.
const MAX_USERS: usize = 16;

/// A memory as it is shown: its id, user, session and status.
type KnownRow = (String, Option<String>, Option<String>, String);

/// The part of a subscription that the one before did not have.
#[derive(Debug, PartialEq, Eq)]
enum Added {
    Nothing,
    Users(BTreeSet<String>),
    /// Anything: memories of sessions, many users, or all.
    Anything,
}

impl Writer {
    /// Whether the subscription asks for a memory. One that the node has written stays.
    pub(super) fn is_kept(&self, row: &MemoryRow, heading: &Heading) -> bool {
        let (user, session) = (heading.user_id.as_deref(), heading.session_id.as_deref());
        let is_active = heading.status == "active";
        row.is_own || self.settings.subscription.keeps(user, session, is_active, row.exists)
    }

    /// Removes a memory that the subscription does not ask for.
    pub(super) async fn forget(&mut self, memory_id: &str) -> Result<(), JournalError> {
        let old = self.memory_row(memory_id).await?;
        let words = "DELETE FROM memories_fts WHERE rowid = (SELECT number FROM memories WHERE memory_id = ?)";
        self.connection.queue(&statement(words).bind(memory_id))?;
        self.forget_states(memory_id)?;
        self.connection.queue(&statement("DELETE FROM memories WHERE memory_id = ?").bind(memory_id))?;
        self.note_change(memory_id, &old.last_shown, &MemoryRow::default())
    }

    /// Compares the subscription with the one of the last start. Where it has changed, what is new
    /// is asked for, and what is no longer asked for is removed, in one transaction.
    pub(super) async fn begin_subscription(&mut self) -> Result<(), JournalError> {
        let stored = query_as("SELECT subscription, EXISTS (SELECT 1 FROM positions) FROM identity");
        let stored: (Option<String>, bool) =
            stored.fetch_one(self.connection.ready().await?).await.map_err(|error| failure(&error))?;
        let (stored, has_read) = stored;
        let present = written(&self.settings.subscription)?;
        if stored.as_ref() == Some(&present) {
            return Ok(());
        }
        // A database of an earlier version does not say: it may have kept nothing.
        let none = Subscription::Selected { users: BTreeSet::new(), sessions: BTreeSet::new() };
        let before = match &stored {
            Some(text) => read(text).ok_or_else(|| damage("the subscription in `identity` cannot be read"))?,
            None => none,
        };
        let added = if has_read { added(&before, &self.settings.subscription) } else { Added::Nothing };
        self.connection.begin();
        let changed = self.change_subscription(&present, &added).await;
        match changed {
            Ok(()) => self.connection.commit().await,
            Err(_) => self.connection.roll_back_all().await.and(changed),
        }
    }

    async fn change_subscription(&mut self, present: &str, added: &Added) -> Result<(), JournalError> {
        match added {
            Added::Nothing => {}
            Added::Users(users) => {
                for user in users {
                    self.note_request(Some(user)).await?;
                }
            }
            Added::Anything => self.note_request(None).await?,
        }
        self.connection.queue(&statement("UPDATE identity SET subscription = ?").bind(present))?;
        let rows = query_as(
            "SELECT memory_id, user_id, session_id, status FROM memories WHERE own = 0 AND status IS NOT NULL",
        );
        let rows: Vec<KnownRow> =
            rows.fetch_all(self.connection.ready().await?).await.map_err(|error| failure(&error))?;
        for (memory_id, user, session, status) in rows {
            let is_active = status == "active";
            if !self.settings.subscription.keeps(user.as_deref(), session.as_deref(), is_active, true) {
                self.forget(&memory_id).await?;
            }
        }
        Ok(())
    }
}

/// The part that is to be fetched where a subscription follows another one.
fn added(before: &Subscription, present: &Subscription) -> Added {
    match (before, present) {
        (Subscription::All, _) => Added::Nothing,
        (Subscription::Selected { .. }, Subscription::All) => Added::Anything,
        (
            Subscription::Selected { users: old_users, sessions: old_sessions },
            Subscription::Selected { users, sessions },
        ) => {
            let new: BTreeSet<String> = users.difference(old_users).cloned().collect();
            if !sessions.is_subset(old_sessions) || new.len() > MAX_USERS {
                Added::Anything
            } else if new.is_empty() {
                Added::Nothing
            } else {
                Added::Users(new)
            }
        }
    }
}

/// A subscription as the database has it: canonical JSON.
fn written(subscription: &Subscription) -> Result<String, JournalError> {
    let mut out = Vec::new();
    match subscription {
        Subscription::All => json::write_string(&mut out, "all"),
        Subscription::Selected { users, sessions } => {
            let mut object = ObjectWriter::new(&mut out);
            object.array("sessions", sessions, |out, session| json::write_string(out, session));
            object.array("users", users, |out, user| json::write_string(out, user));
            object.end();
        }
    }
    String::from_utf8(out).map_err(|error| damage(&error.to_string()))
}

/// Reads what [`written`] wrote.
fn read(text: &str) -> Option<Subscription> {
    let document = json::parse(text.as_bytes()).ok()?;
    let root = document.root();
    if root.as_str() == Some("all") {
        return Some(Subscription::All);
    }
    let object = Some(root).filter(|root| root.kind() == ValueKind::Object)?;
    let texts = |name: &str| object.get(name)?.items().map(|item| item.as_str().map(str::to_owned)).collect();
    let (users, sessions): (Option<BTreeSet<String>>, Option<BTreeSet<String>>) = (texts("users"), texts("sessions"));
    Some(Subscription::Selected { users: users?, sessions: sessions? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(users: &[&str], sessions: &[&str]) -> Subscription {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Subscription::Selected { users: set(users), sessions: set(sessions) }
    }

    #[test]
    fn a_subscription_is_read_as_it_is_written() {
        for subscription in [Subscription::All, selected(&[], &[]), selected(&["u", "\"ü"], &["s"])] {
            assert_eq!(read(&written(&subscription).unwrap()), Some(subscription));
        }
        for text in ["", "1", "\"none\"", "{}", r#"{"users":[]}"#, r#"{"users":[1],"sessions":[]}"#] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_new_is_fetched_and_no_more() {
        let users = |names: &[&str]| Added::Users(names.iter().map(|name| (*name).to_owned()).collect());
        let many: Vec<String> = (0..=MAX_USERS).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for (before, present, expected) in [
            (Subscription::All, selected(&["u"], &["s"]), Added::Nothing),
            (selected(&["u"], &[]), Subscription::All, Added::Anything),
            (selected(&["u", "v"], &["s"]), selected(&["u"], &[]), Added::Nothing),
            (selected(&["u"], &[]), selected(&["v", "w"], &[]), users(&["v", "w"])),
            (selected(&["u"], &["s"]), selected(&["u", "v"], &["s"]), users(&["v"])),
            (selected(&["u"], &["s"]), selected(&["u"], &["t"]), Added::Anything),
            (selected(&[], &[]), selected(&many, &[]), Added::Anything),
        ] {
            assert_eq!(added(&before, &present), expected, "{before:?} {present:?}");
        }
    }

    #[test]
    fn a_memory_that_says_too_little_stays_where_it_is_known() {
        let of_users = selected(&["u"], &[]);
        let of_sessions = selected(&[], &["s"]);
        let keeps = |subscription: &Subscription, user: &str, session: &str, is_active: bool, is_known: bool| {
            let (user, session) = (Some(user).filter(|u| !u.is_empty()), Some(session).filter(|s| !s.is_empty()));
            subscription.keeps(user, session, is_active, is_known)
        };
        assert!(keeps(&of_users, "u", "", true, false) && !keeps(&of_users, "v", "s", true, true));
        assert!(keeps(&of_users, "", "t", true, true) && !keeps(&of_users, "", "t", true, false));
        assert!(keeps(&of_sessions, "v", "s", true, false) && !keeps(&of_sessions, "v", "t", true, true));
        assert!(keeps(&of_sessions, "v", "", false, true) && !keeps(&of_sessions, "v", "", false, false));
        assert!(!keeps(&of_sessions, "", "t", true, true) && keeps(&Subscription::All, "", "", true, false));
    }
}
