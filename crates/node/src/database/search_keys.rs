//! The keys of searches: of each active memory the values that a search filters by and compares.

use json::Value;
use sqlx::query_as;

use super::connection::statement;
use super::schema::{damage, failure, signed};
use super::writer::Writer;
use crate::overlay::Heading;
use crate::ports::JournalError;
use crate::search::{Direction, METADATA_PREFIX};

/// Memories of an earlier version that are written in one transaction.
const DUE_AT_A_TIME: i64 = 256;

/// The parts of a memory that a search looks at, besides its heading.
#[derive(Debug, Default, PartialEq)]
struct SearchKeys {
    kind: Option<String>,
    category: Option<String>,
    direction: Option<Direction>,
}

impl SearchKeys {
    fn of(json: &str) -> Result<SearchKeys, JournalError> {
        let document = json::parse(json.as_bytes()).map_err(|error| damage(&error.to_string()))?;
        let root = document.root();
        let metadata = root.get("metadata");
        let text = |name: &str| {
            let value = metadata?.get(&format!("{METADATA_PREFIX}{name}"))?;
            value.as_str().map(str::to_owned)
        };
        let direction = root.get("embedding").and_then(Direction::of_json);
        Ok(SearchKeys { kind: text("type"), category: text("category"), direction })
    }
}

/// A memory as it is shown: its heading and its JSON.
type ShownParts<'m> = (&'m Heading, &'m str);

impl Writer {
    /// Writes the keys of a memory as it is shown, where they differ from those that it had; one
    /// that is not active has none.
    pub(super) fn put_search_keys(
        &mut self,
        memory_id: &str,
        before: Option<ShownParts<'_>>,
        now: Option<ShownParts<'_>>,
    ) -> Result<(), JournalError> {
        let is_active = |(heading, _): &ShownParts<'_>| heading.status == "active";
        let (before, now) = (before.filter(is_active), now.filter(is_active));
        let Some((heading, json)) = now else {
            if before.is_none() {
                return Ok(());
            }
            let old = "DELETE FROM search_keys WHERE number = (SELECT number FROM memories WHERE memory_id = ?)";
            return self.connection.queue(&statement(old).bind(memory_id));
        };
        let has_same = |(old, old_json): ShownParts<'_>| {
            let of_heading =
                |heading: &Heading| (heading.user_id.clone(), heading.session_id.clone(), heading.created_at);
            Ok(of_heading(old) == of_heading(heading) && compared(old_json)? == compared(json)?)
        };
        if before.map_or(Ok(false), has_same)? {
            return Ok(());
        }
        self.insert_search_keys(memory_id, heading, &SearchKeys::of(json)?)
    }

    fn insert_search_keys(
        &mut self,
        memory_id: &str,
        heading: &Heading,
        keys: &SearchKeys,
    ) -> Result<(), JournalError> {
        let put = statement(
            "INSERT OR REPLACE INTO search_keys (number, memory_id, user_id, session_id, type, category, created_at,
                dimensions, direction)
            VALUES ((SELECT number FROM memories WHERE memory_id = ?1), ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        );
        let put = put
            .bind(memory_id)
            .bind(&heading.user_id)
            .bind(&heading.session_id)
            .bind(&keys.kind)
            .bind(&keys.category)
            .bind(signed(heading.created_at)?)
            .bind(keys.direction.as_ref().map_or(Ok(0), |one| i64::try_from(one.dimensions())).unwrap_or(i64::MAX))
            .bind(keys.direction.as_ref().map(Direction::to_bytes));
        self.connection.queue(&put)
    }

    /// Writes the keys of the memories that an earlier version has left without any.
    pub(super) async fn put_due_search_keys(&mut self) -> Result<(), JournalError> {
        let sql = |error: sqlx::Error| failure(&error);
        loop {
            let due = query_as(
                "SELECT search_keys_due.number, memory_id FROM search_keys_due
                LEFT JOIN memories ON memories.number = search_keys_due.number
                ORDER BY search_keys_due.number LIMIT ?",
            );
            let due: Vec<(i64, Option<String>)> =
                due.bind(DUE_AT_A_TIME).fetch_all(self.connection.ready().await?).await.map_err(sql)?;
            let Some((last, _)) = due.last() else { return Ok(()) };
            let last = *last;
            self.connection.begin();
            for (_, memory_id) in due {
                let Some(memory_id) = memory_id else { continue };
                let row = self.memory_row(&memory_id).await?;
                self.put_search_keys(&memory_id, None, row.heading.as_ref().zip(row.shown_json()))?;
            }
            self.connection.queue(&statement("DELETE FROM search_keys_due WHERE number <= ?").bind(last))?;
            self.connection.commit().await?;
        }
    }
}

/// The parts of a memory from which its keys follow, besides its heading.
fn compared(json: &str) -> Result<[Option<Vec<u8>>; 3], JournalError> {
    let document = json::parse(json.as_bytes()).map_err(|error| damage(&error.to_string()))?;
    let root = document.root();
    let metadata = |name: &str| root.get("metadata")?.get(&format!("{METADATA_PREFIX}{name}"));
    Ok([root.get("embedding"), metadata("type"), metadata("category")].map(|value| value.map(Value::canonical)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_from_the_metadata_and_the_embedding() {
        let json =
            r#"{"embedding":[3,4.0],"metadata":{"helixagent.category":"x","helixagent.type":["no text"],"type":"t"}}"#;
        let keys = SearchKeys::of(json).unwrap();
        assert_eq!((keys.kind, keys.category.as_deref()), (None, Some("x")));
        assert_eq!(keys.direction, Direction::of(&[3.0, 4.0]));
        assert_eq!(SearchKeys::of(r#"{"embedding":[0,0]}"#).unwrap(), SearchKeys::default());
    }
}
