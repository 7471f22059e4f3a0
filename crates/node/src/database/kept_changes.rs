//! Which changes are kept where there are too many: a share for each user.
//!
//! Half of the room is for the last changes, whoever their user is, so that a reader of all users
//! has no gap there. The other half is for older ones, and of these the user who has most loses the
//! oldest first. So nobody who writes much, or much at a time, takes from the others what they have
//! within an equal share, and a node of one user keeps its last changes.

use std::collections::{BTreeMap, HashMap};

use sqlx::{query, query_as};

use super::connection::statement;
use super::schema::{damage, failure, unsigned};
use super::writer::Writer;
use crate::ports::JournalError;

/// A removal goes below the limits by one part in `SLACK`, so that not every further change needs
/// one.
const SLACK: i64 = 16;

/// A change that is not among the last ones: number, user, user before, bytes.
type OlderChange = (i64, Option<String>, Option<String>, i64);

impl Writer {
    /// Removes changes where there are too many, and returns the number of the last one.
    pub(super) async fn trim_changes(&mut self) -> Result<u64, JournalError> {
        let sql = |error: sqlx::Error| failure(&error);
        let (number, total) = (self.state.last_change.number, self.state.last_change.total);
        let kept: Option<(i64, i64)> =
            self.connection.fetch_optional(&statement("SELECT changes, bytes FROM kept_changes")).await?;
        let (changes, bytes) = kept.ok_or_else(|| damage("`kept_changes` has no row"))?;
        let most = |limit: u64| i64::try_from(limit).unwrap_or(i64::MAX).max(1);
        let (most_changes, most_bytes) = (most(self.settings.kept_changes), most(self.settings.kept_change_bytes));
        if changes <= most_changes && bytes <= most_bytes {
            return unsigned(number);
        }
        let older = query_as(
            "SELECT number, user_id, old_user_id, bytes FROM changes INDEXED BY changes_sizes
            WHERE number < min(?3, max(?1 + 1, coalesce((SELECT min(number) FROM changes WHERE total > ?2), ?3)))
            ORDER BY number",
        );
        // The last one stays, whatever the limits are.
        let older = older.bind(number.saturating_sub(most_changes / 2)).bind(total.saturating_sub(most_bytes / 2));
        let older = older.bind(number);
        let older: Vec<OlderChange> = older.fetch_all(self.connection.ready().await?).await.map_err(sql)?;
        let room = Room {
            changes: most_changes - most_changes / SLACK - (changes - i64::try_from(older.len()).unwrap_or(changes)),
            bytes: most_bytes - most_bytes / SLACK - (bytes - older.iter().map(|change| change.3).sum::<i64>()),
        };
        self.remove_changes(&removed(&older, &room)).await?;
        unsigned(number)
    }

    /// Removes these changes, and notes whose they were.
    async fn remove_changes(&mut self, removed: &[&OlderChange]) -> Result<(), JournalError> {
        let sql = |error: sqlx::Error| failure(&error);
        let numbers: Vec<String> = removed.iter().map(|change| change.0.to_string()).collect();
        let gone = query("DELETE FROM changes WHERE number IN (SELECT value FROM json_each(?))");
        gone.bind(format!("[{}]", numbers.join(","))).execute(self.connection.ready().await?).await.map_err(sql)?;
        let mut last: BTreeMap<&str, i64> = BTreeMap::new();
        for (number, user_id, old_user_id, _) in removed {
            for user in [user_id, old_user_id] {
                let known = last.entry(user.as_deref().unwrap_or_default()).or_default();
                *known = (*known).max(*number);
            }
        }
        for (user, number) in last {
            let put = query(
                "INSERT INTO removed_changes (user_id, number) VALUES (?, ?)
                ON CONFLICT (user_id) DO UPDATE SET number = max(number, excluded.number)",
            );
            put.bind(user).bind(number).execute(self.connection.ready().await?).await.map_err(sql)?;
        }
        self.forget_removed_changes().await
    }

    /// Keeps at most as many rows in `removed_changes` as changes may be kept. Where there are
    /// more, `floor` takes the place of the older half: no change up to it is kept, whoever its
    /// user is.
    async fn forget_removed_changes(&mut self) -> Result<(), JournalError> {
        let sql = |error: sqlx::Error| failure(&error);
        let users = query_as("SELECT count(*) FROM removed_changes");
        let (users,): (i64,) = users.fetch_one(self.connection.ready().await?).await.map_err(sql)?;
        if u64::try_from(users).unwrap_or(0) <= self.settings.kept_changes.max(1) {
            return Ok(());
        }
        for statement in [
            "UPDATE kept_changes SET floor = (SELECT number FROM removed_changes ORDER BY number
                LIMIT 1 OFFSET (SELECT count(*) / 2 FROM removed_changes))",
            "DELETE FROM removed_changes WHERE number <= (SELECT floor FROM kept_changes)",
            "DELETE FROM changes WHERE number <= (SELECT floor FROM kept_changes)",
        ] {
            query(statement).execute(self.connection.ready().await?).await.map_err(sql)?;
        }
        Ok(())
    }
}

/// Room for older changes.
struct Room {
    changes: i64,
    bytes: i64,
}

/// The changes of this list, which begins with the oldest, that are removed so that the others have
/// room.
fn removed<'c>(older: &'c [OlderChange], room: &Room) -> Vec<&'c OlderChange> {
    let mut totals: HashMap<Option<&str>, (i64, i64)> = HashMap::new();
    for (_, user_id, _, bytes) in older {
        let total = totals.entry(user_id.as_deref()).or_default();
        *total = (total.0 + 1, total.1 + bytes);
    }
    let most_changes = share(totals.values().map(|total| total.0).collect(), room.changes);
    let most_bytes = share(totals.values().map(|total| total.1).collect(), room.bytes);
    let mut kept: HashMap<Option<&str>, (i64, i64)> = HashMap::new();
    let mut removed = Vec::new();
    for change in older.iter().rev() {
        // Behind one that does not fit no older one is kept: no reader could begin there.
        let of_user = kept.entry(change.1.as_deref()).or_default();
        *of_user = (of_user.0 + 1, of_user.1 + change.3);
        if of_user.0 > most_changes || of_user.1 > most_bytes {
            removed.push(change);
        }
    }
    removed
}

/// The most that each may have so that all together have no more than the room.
fn share(mut totals: Vec<i64>, room: i64) -> i64 {
    totals.sort_unstable();
    let mut left = room.max(0);
    for (at, total) in totals.iter().enumerate() {
        let equal = left / i64::try_from(totals.len() - at).unwrap_or(i64::MAX);
        if *total > equal {
            return equal;
        }
        left -= total;
    }
    i64::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_leaves_those_alone_that_have_less() {
        assert_eq!(share(vec![10, 1, 2], 9), 6);
        assert_eq!(share(vec![10, 1, 2], 13), i64::MAX);
        assert_eq!(share(vec![10, 10, 10], 10), 3);
        assert_eq!(share(vec![10, 0], 0), 0);
        assert_eq!(share(vec![1, 2], -5), 0);
        assert_eq!(share(vec![], 0), i64::MAX);
    }

    #[test]
    fn of_the_user_who_has_most_the_oldest_are_removed_until_the_rest_has_room() {
        let seed = testkit::seed();
        let mut random = testkit::Random::new(seed);
        for _ in 0..500 {
            let names = [None, Some("a"), Some("b"), Some("c")];
            let older: Vec<OlderChange> = (1..=random.below(60) as i64)
                .map(|n| (n, random.pick(&names).map(str::to_owned), None, random.below(100) as i64))
                .collect();
            let room = Room { changes: random.below(60) as i64, bytes: random.below(3000) as i64 };
            let gone: Vec<i64> = removed(&older, &room).iter().map(|change| change.0).collect();
            let kept: Vec<&OlderChange> = older.iter().filter(|change| !gone.contains(&change.0)).collect();
            assert!(kept.len() as i64 <= room.changes, "SEED={seed}");
            assert!(kept.iter().map(|change| change.3).sum::<i64>() <= room.bytes, "SEED={seed}");
            for name in names {
                let of_user = |change: &&&OlderChange| change.1.as_deref() == name;
                let all: Vec<&OlderChange> = older.iter().filter(|change| of_user(&change)).collect();
                let last_gone = all.iter().filter(|change| gone.contains(&change.0)).map(|change| change.0).max();
                // What is kept of a user has no gap.
                assert!(kept.iter().filter(of_user).all(|change| Some(change.0) > last_gone), "SEED={seed}");
                let few = all.len() as i64 <= room.changes / 4
                    && all.iter().map(|change| change.3).sum::<i64>() <= room.bytes / 4;
                assert!(!few || last_gone.is_none(), "an equal share is kept; SEED={seed}");
            }
        }
    }
}
