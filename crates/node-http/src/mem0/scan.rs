//! All memories that pass a filter, some at a time.

use std::collections::BTreeSet;

use http::Problem;
use node::shown::ListQuery;

use super::fields::Mem0Memory;
use super::filter::Filter;
use crate::problems;
use crate::request::Client;
use crate::service::NodeService;

/// Memories that are read from the database at a time; fewer where they are large.
const READ_AT_A_TIME: usize = 32;

/// The memories that a request is about: active ones that its client may see and that pass a
/// filter.
pub(super) struct Scope {
    /// Their users; `None` is all, also no user.
    pub users: Option<BTreeSet<String>>,
    /// Their session, where the filter names one.
    pub session_id: Option<String>,
    /// The filter.
    pub filter: Filter,
}

impl Scope {
    /// The scope of a filter. A client that names a user whose memories it may not see is refused;
    /// where it names none, the scope is what it may see.
    pub fn of(client: &Client, filter: Filter) -> Result<Scope, Problem> {
        let mut users = client.users().cloned();
        if let Some(named) = filter.limits("user") {
            let named: BTreeSet<String> = named.iter().flatten().cloned().collect();
            let foreign = named.iter().find(|user| !client.may_use(Some(user)));
            if foreign.is_some() {
                return Err(problems::foreign_user("your token may not see the memories of this user"));
            }
            // A filter may name "no user" beside users, for which the database cannot be asked.
            let is_whole = filter.limits("user").is_some_and(|all| all.iter().all(Option::is_some));
            if is_whole {
                users = Some(named);
            }
        }
        let mut sessions = filter.limits("run").into_iter().flatten();
        let session_id = match (sessions.next(), sessions.next()) {
            (Some(Some(session)), None) => Some(session.clone()),
            _ => None,
        };
        Ok(Scope { users, session_id, filter })
    }

    /// Whether the client may see a memory and the filter lets it pass.
    pub fn has(&self, client: &Client, memory: &Mem0Memory) -> bool {
        client.may_use(memory.user_id.as_deref()) && self.filter.passes(memory)
    }
}

/// A walk through all memories of a scope, by their ids.
pub(super) struct Scan<'s> {
    service: &'s NodeService,
    client: &'s Client,
    scope: &'s Scope,
    query: ListQuery,
    is_done: bool,
}

impl<'s> Scan<'s> {
    /// Begins at the first.
    pub fn new(service: &'s NodeService, client: &'s Client, scope: &'s Scope) -> Scan<'s> {
        let query = ListQuery {
            users: scope.users.clone(),
            session_id: scope.session_id.clone(),
            limit: READ_AT_A_TIME,
            ..ListQuery::default()
        };
        Scan { service, client, scope, query, is_done: false }
    }

    /// The next ones; they may be none although more follow. `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Vec<Mem0Memory>>, Problem> {
        if self.is_done {
            return Ok(None);
        }
        let page = self.service.node.list(self.query.clone()).await.map_err(|error| problems::of_database(&error))?;
        self.is_done = page.next.is_none();
        self.query.after = page.next;
        let mut memories = Vec::with_capacity(page.memories.len());
        for shown in &page.memories {
            let memory = Mem0Memory::of(shown)?;
            if self.scope.has(self.client, &memory) {
                memories.push(memory);
            }
            // A filter may look through much text, and other requests go on meanwhile.
            tokio::task::yield_now().await;
        }
        Ok(Some(memories))
    }
}
