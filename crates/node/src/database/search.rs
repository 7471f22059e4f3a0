//! Searches: by words through FTS5, and by an embedding through all embeddings that the filters let
//! pass.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

use sqlx::query_as;

use super::queries::{
    CountedRow, Readers, is_cut, json_array, limit_of, page_bytes, shown, shown_bytes, shown_columns,
};
use super::schema::failure;
use crate::ports::JournalError;
use crate::search::{
    MAX_COMPARED, MAX_DIMENSIONS, MAX_SEARCH_BYTES, MAX_SEARCH_WORDS, Near, NearHits, SearchHit, SearchQuery, WordHits,
};

/// The best hits by words that a search by both looks at.
const MAX_WORD_HITS: usize = 1000;
/// Bytes of embeddings that are read at a time, so that other readers have their turn between.
const BYTES_AT_A_TIME: usize = 1 << 20;
/// Hits that are kept before the best of them are picked.
const MAX_KEPT: usize = 4096;

/// A hit as it is read: a [`CountedRow`] and its score.
type HitRow = (String, String, bool, String, String, i64, i64, f64);

/// An embedding as it is read: number and id of its memory, its dimensions, and its direction where
/// these are as many as asked for.
type KeysRow = (i64, String, i64, Option<Vec<u8>>);

/// The conditions of a search but that on users, on the columns of `search_keys`. Their values are
/// the first five parameters of a statement.
macro_rules! filters {
    () => {
        "(?1 IS NULL OR search_keys.session_id = ?1) AND (?2 IS NULL OR search_keys.type = ?2)
        AND (?3 IS NULL OR search_keys.category = ?3) AND (?4 IS NULL OR search_keys.created_at >= ?4)
        AND (?5 IS NULL OR search_keys.created_at <= ?5)"
    };
}

/// A statement with the values of `filters`.
macro_rules! filtered {
    ($statement:expr, $query:expr) => {
        query_as($statement)
            .bind(&$query.session_id)
            .bind(&$query.kind)
            .bind(&$query.category)
            .bind($query.created_from.map(saturated))
            .bind($query.created_to.map(saturated))
    };
}

/// A time as the database has it.
fn saturated(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// The words of a search as FTS5 reads them: each in quotes, any of them is enough. `None` where
/// there is no word.
///
/// FTS5 parses a chain of alternatives in quadratic time, and compares every part of a word such as
/// `a-b-c` at every place where it may stand. So each word counts once, a word counts for each of
/// its parts, and what is beyond the limits is left out.
fn fts_query(text: &str) -> Option<String> {
    let (mut seen, mut query) = (BTreeSet::new(), String::new());
    let (mut parts, mut bytes) = (0, 0);
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if parts == MAX_SEARCH_WORDS {
            break;
        }
        let more = word.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).count();
        let is_left_out = parts + more > MAX_SEARCH_WORDS || bytes + word.len() > MAX_SEARCH_BYTES;
        if more == 0 || is_left_out || !seen.insert(word.to_lowercase()) {
            continue;
        }
        (parts, bytes) = (parts + more, bytes + word.len());
        if !query.is_empty() {
            query.push_str(" OR ");
        }
        query.push('"');
        query.push_str(&word.replace('"', "\"\""));
        query.push('"');
    }
    (!query.is_empty()).then_some(query)
}

/// A memory that was found, before it is read.
#[derive(Debug, PartialEq)]
struct Found {
    score: f64,
    memory_id: String,
}

/// The best of what was found: by score, and of equal scores by id.
struct Best {
    found: Vec<Found>,
    limit: usize,
    min_score: f64,
}

impl Best {
    fn new(query: &SearchQuery) -> Best {
        let min_score = query.min_score.unwrap_or(f64::NEG_INFINITY);
        Best { found: Vec::new(), limit: limit_of(query.limit), min_score }
    }

    fn add(&mut self, score: f64, memory_id: String) {
        if score >= self.min_score {
            self.found.push(Found { score, memory_id });
        }
        if self.found.len() > MAX_KEPT {
            self.pick();
        }
    }

    fn pick(&mut self) {
        let order = |one: &Found, other: &Found| match other.score.total_cmp(&one.score) {
            Ordering::Equal => one.memory_id.cmp(&other.memory_id),
            order => order,
        };
        self.found.sort_unstable_by(order);
        self.found.truncate(self.limit);
    }
}

/// The score of a blended search. The score of words has no bound, and is made a share of 1.
fn blended(weight: f64, similarity: f64, words: f64) -> f64 {
    let words = words.max(0.0);
    weight * similarity + (1.0 - weight) * words / (1.0 + words)
}

impl Readers {
    /// The memories that a search by words finds, without so many of the best ones.
    pub(crate) async fn search(&self, query: &SearchQuery, skip: usize) -> Result<WordHits, JournalError> {
        let Some(words) = fts_query(&query.text) else { return Ok(WordHits::default()) };
        // The texts of memories are read once these are picked by their scores and lengths.
        let statement = concat!(
            "WITH picked AS MATERIALIZED (SELECT memories.number AS at, memories.memory_id AS id, ",
            shown_bytes!(),
            " AS bytes, -bm25(memories_fts) AS score FROM memories_fts
            JOIN search_keys ON search_keys.number = memories_fts.rowid
            JOIN memories ON memories.number = memories_fts.rowid WHERE memories_fts MATCH ?6 AND ",
            filters!(),
            " AND (?7 IS NULL OR search_keys.user_id IN (SELECT value FROM json_each(?7)))
            AND (?8 IS NULL OR score >= ?8)
            ORDER BY score DESC, memories.memory_id LIMIT ?9 OFFSET ?10),
            summed AS (SELECT at, score, sum(bytes) OVER places - bytes AS before, row_number() OVER places AS place,
                count(*) OVER () AS total
                FROM picked WINDOW places AS (ORDER BY score DESC, id ROWS UNBOUNDED PRECEDING))
            SELECT ",
            shown_columns!(),
            ", total, score FROM summed CROSS JOIN memories ON memories.number = at
            WHERE before < ?11 ORDER BY place"
        );
        let rows = filtered!(statement, query)
            .bind(words)
            .bind(query.users.as_ref().map(json_array))
            .bind(query.min_score)
            .bind(i64::try_from(limit_of(query.limit)).unwrap_or(i64::MAX))
            .bind(i64::try_from(skip).unwrap_or(i64::MAX))
            .bind(page_bytes());
        let mut guard = self.lock().await;
        let connection = guard.as_mut().ok_or(JournalError::Stopped)?;
        let rows: Vec<HitRow> = rows.fetch_all(connection).await.map_err(|error| failure(&error))?;
        drop(guard);
        let is_truncated = is_cut(&rows, |(.., total, _)| *total);
        let hit = |(memory_id, json, is_pending, name, actor, counter, _, score): HitRow| {
            Ok(SearchHit { memory: shown((memory_id, json, is_pending, name, actor, counter))?, score })
        };
        Ok(WordHits { hits: rows.into_iter().map(hit).collect::<Result<_, JournalError>>()?, is_truncated })
    }

    /// The memories that are most similar to an embedding, blended with the words where the query
    /// has any. One such search is done at a time.
    pub(crate) async fn search_near(&self, query: &SearchQuery, near: &Near) -> Result<NearHits, JournalError> {
        let _turn = self.near_searches.lock().await;
        let words = fts_query(&query.text);
        let weight = if words.is_some() { near.weight } else { 1.0 };
        let mut word_scores = match words {
            Some(words) => self.word_scores(query, words).await?,
            None => HashMap::new(),
        };
        let (mut best, mut hits) = (Best::new(query), NearHits::default());
        let users: Vec<Option<&str>> = match &query.users {
            None => vec![None],
            Some(users) => users.iter().map(|user| Some(user.as_str())).collect(),
        };
        for user in users {
            let mut after = 0;
            while !hits.is_cut {
                let rows = self.embeddings(query, near, user, after).await?;
                let Some((last, ..)) = rows.last() else { break };
                after = *last;
                for (_, memory_id, _, direction) in rows {
                    let Some(direction) = direction else {
                        hits.skipped += 1;
                        continue;
                    };
                    hits.compared += 1;
                    let words = word_scores.remove(&memory_id).unwrap_or(0.0);
                    best.add(blended(weight, near.direction.cosine(&direction), words), memory_id);
                }
                let dimensions = u64::try_from(near.direction.dimensions()).unwrap_or(u64::MAX);
                hits.is_cut = hits.compared.saturating_mul(dimensions) > MAX_COMPARED;
            }
        }
        // Memories with the words that have no embedding, or one that cannot be compared.
        word_scores.into_iter().for_each(|(memory_id, words)| best.add(blended(weight, 0.0, words), memory_id));
        best.pick();
        (hits.hits, hits.is_truncated) = self.read_found(best.found).await?;
        Ok(hits)
    }

    /// The scores of the best hits by words, by the ids of their memories.
    async fn word_scores(&self, query: &SearchQuery, words: String) -> Result<HashMap<String, f64>, JournalError> {
        let statement = concat!(
            "SELECT search_keys.memory_id, -bm25(memories_fts) AS score FROM memories_fts
            JOIN search_keys ON search_keys.number = memories_fts.rowid WHERE memories_fts MATCH ?6 AND ",
            filters!(),
            " AND (?7 IS NULL OR search_keys.user_id IN (SELECT value FROM json_each(?7)))
            ORDER BY score DESC, search_keys.memory_id LIMIT ?8"
        );
        let rows = filtered!(statement, query)
            .bind(words)
            .bind(query.users.as_ref().map(json_array))
            .bind(i64::try_from(MAX_WORD_HITS).unwrap_or(i64::MAX));
        let mut guard = self.lock().await;
        let connection = guard.as_mut().ok_or(JournalError::Stopped)?;
        let rows: Vec<(String, f64)> = rows.fetch_all(connection).await.map_err(|error| failure(&error))?;
        Ok(rows.into_iter().collect())
    }

    /// The next embeddings behind a memory, of one user or of all.
    async fn embeddings(
        &self,
        query: &SearchQuery,
        near: &Near,
        user: Option<&str>,
        after: i64,
    ) -> Result<Vec<KeysRow>, JournalError> {
        // By the index of users where there is one, and otherwise in the order of the table.
        let statement = if user.is_some() {
            concat!(
                "SELECT number, memory_id, dimensions, CASE WHEN dimensions = ?7 THEN direction END FROM search_keys
                WHERE user_id = ?9 AND number > ?6 AND dimensions > 0 AND ",
                filters!(),
                " ORDER BY number LIMIT ?8"
            )
        } else {
            concat!(
                "SELECT number, memory_id, dimensions, CASE WHEN dimensions = ?7 THEN direction END FROM search_keys
                WHERE number > ?6 AND dimensions > 0 AND ",
                filters!(),
                " ORDER BY number LIMIT ?8"
            )
        };
        // No embedding has the dimensions NULL: without a direction each row is small.
        let dimensions = Some(near.direction.dimensions()).filter(|count| *count <= MAX_DIMENSIONS);
        let bytes = dimensions.map_or(1, |count| count * size_of::<f32>());
        let at_a_time = (BYTES_AT_A_TIME / bytes).clamp(1, MAX_KEPT);
        let mut rows = filtered!(statement, query)
            .bind(after)
            .bind(dimensions.and_then(|count| i64::try_from(count).ok()))
            .bind(i64::try_from(at_a_time).unwrap_or(i64::MAX));
        if let Some(user) = user {
            rows = rows.bind(user.to_owned());
        }
        let mut guard = self.lock().await;
        let connection = guard.as_mut().ok_or(JournalError::Stopped)?;
        rows.fetch_all(connection).await.map_err(|error| failure(&error))
    }

    /// Reads the memories that were found, until they have the bytes of a page; whether there are
    /// more. One that is no longer active is left out.
    async fn read_found(&self, found: Vec<Found>) -> Result<(Vec<SearchHit>, bool), JournalError> {
        let rows = query_as(concat!(
            "WITH picked AS (SELECT memories.number AS at, found.key AS place, ",
            shown_bytes!(),
            " AS bytes FROM json_each(?1) AS found CROSS JOIN memories ON memories.memory_id = found.value
                WHERE memories.status = 'active'),
            summed AS (SELECT at, place, sum(bytes) OVER (ORDER BY place) - bytes AS before, count(*) OVER () AS total
                FROM picked)
            SELECT ",
            shown_columns!(),
            ", total FROM summed CROSS JOIN memories ON memories.number = at WHERE before < ?2 ORDER BY place"
        ));
        let rows = rows.bind(json_array(found.iter().map(|found| &found.memory_id))).bind(page_bytes());
        let mut guard = self.lock().await;
        let connection = guard.as_mut().ok_or(JournalError::Stopped)?;
        let rows: Vec<CountedRow> = rows.fetch_all(connection).await.map_err(|error| failure(&error))?;
        drop(guard);
        let is_truncated = is_cut(&rows, |(.., total)| *total);
        let scores: HashMap<String, f64> = found.into_iter().map(|found| (found.memory_id, found.score)).collect();
        // The rows come in the order of what was found.
        let hit = |(memory_id, json, is_pending, name, actor, counter, _): CountedRow| {
            let score = scores.get(&memory_id).copied()?;
            Some(shown((memory_id, json, is_pending, name, actor, counter)).map(|memory| SearchHit { memory, score }))
        };
        Ok((rows.into_iter().filter_map(hit).collect::<Result<_, JournalError>>()?, is_truncated))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_searched_for_once_and_a_text_without_words_is_no_search() {
        assert_eq!(fts_query("green tea Green TEA - \"a\"").as_deref(), Some(r#""green" OR "tea" OR """a""""#));
        assert_eq!((fts_query(""), fts_query(" - \u{0} ")), (None, None));
    }

    #[test]
    fn a_long_text_is_searched_for_by_its_first_words() {
        let words: Vec<String> = (0..160_000).map(|n| format!("w{n}")).collect();
        let query = fts_query(&words.join(" ")).unwrap();
        assert_eq!(query.split(" OR ").count(), MAX_SEARCH_WORDS);
        assert!(query.starts_with("\"w0\" OR \"w1\" OR "));
        // A word of many parts counts for each of them, and one that is too long hides no others.
        let parts = |count: usize| vec!["p"; count].join("-");
        let query = fts_query(&format!("{} a {} b c", parts(MAX_SEARCH_WORDS + 1), parts(MAX_SEARCH_WORDS - 2)));
        assert_eq!(query.unwrap().split(" OR ").count(), 3);
        let long = "x".repeat(MAX_SEARCH_BYTES);
        assert_eq!(fts_query(&format!("tea {long} green")).as_deref(), Some(r#""tea" OR "green""#));
    }

    #[test]
    fn the_best_are_kept_whatever_their_order_and_equal_ones_by_id() {
        let mut best = Best::new(&SearchQuery { limit: 3, min_score: Some(0.0), ..SearchQuery::default() });
        for n in (0..10_000).rev() {
            best.add(f64::from(n / 2), format!("{n:05}"));
            best.add(-1.0, "below".to_owned());
        }
        best.pick();
        let found: Vec<(f64, &str)> = best.found.iter().map(|found| (found.score, found.memory_id.as_str())).collect();
        assert_eq!(found, [(4999.0, "09998"), (4999.0, "09999"), (4998.0, "09996")]);
    }
}
