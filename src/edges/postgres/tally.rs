//! How many rows of a batch count towards which text, partition by partition, and the call that tells it to the function that
//! keeps it. Counted here, of texts that are at hand, since to read the rows again costs the server a tenth of its time.

use std::collections::HashMap;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::fault::Fault;
use crate::streams::ports::log::TopicPartition;

/// A row that counts towards a text.
pub(super) struct Counted<'b> {
    /// Index of its partition.
    pub(super) partition: usize,
    pub(super) text: &'b [u8],
    pub(super) offset: i64,
    pub(super) timestamp_ms: i64,
}

/// Columns, as the function takes them: one place of each for a partition and text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tallies {
    topics: Vec<String>,
    partitions: Vec<i32>,
    texts: Vec<String>,
    first_offsets: Vec<i64>,
    last_offsets: Vec<i64>,
    last_timestamps_ms: Vec<i64>,
    counts: Vec<i64>,
}

impl Tallies {
    /// Of rows that come in the order of their offsets.
    pub(super) fn of<'b>(partitions: &[TopicPartition], rows: impl Iterator<Item = Counted<'b>>) -> Tallies {
        let (mut all, mut places) = (Tallies::default(), HashMap::new());
        for row in rows {
            let place = *places.entry((row.partition, row.text)).or_insert_with(|| {
                let partition = &partitions[row.partition];
                all.topics.push(partition.topic.to_string());
                all.partitions.push(partition.partition);
                all.texts.push(String::from_utf8_lossy(row.text).into_owned());
                all.first_offsets.push(row.offset);
                all.last_offsets.push(row.offset);
                all.last_timestamps_ms.push(row.timestamp_ms);
                all.counts.push(0);
                all.counts.len() - 1
            });
            all.last_offsets[place] = row.offset;
            all.last_timestamps_ms[place] = row.timestamp_ms;
            all.counts[place] += 1;
        }
        all
    }

    /// Tells them to a function of the database, in the transaction of the rows.
    pub(super) async fn tell(self, function: &str, to: &mut PgConnection) -> Result<(), Fault> {
        if self.counts.is_empty() {
            return Ok(());
        }
        let call = sqlx::query(AssertSqlSafe(format!("SELECT {function}($1, $2, $3, $4, $5, $6, $7)")));
        let call = call.bind(self.topics).bind(self.partitions).bind(self.texts).bind(self.first_offsets);
        let call = call.bind(self.last_offsets).bind(self.last_timestamps_ms).bind(self.counts);
        call.execute(to).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_counted_by_partition_and_text() {
        let partitions = [TopicPartition::new("t", 3), TopicPartition::new("t", 1)];
        let rows = [(0, "a", 5), (1, "a", 9), (0, "b", 6), (0, "a", 7)];
        let rows = rows.map(|(partition, text, offset)| Counted {
            partition,
            text: text.as_bytes(),
            offset,
            timestamp_ms: offset * 10,
        });
        let expected = Tallies {
            topics: vec!["t".to_owned(); 3],
            partitions: vec![3, 1, 3],
            texts: ["a", "a", "b"].map(str::to_owned).to_vec(),
            first_offsets: vec![5, 9, 6],
            last_offsets: vec![7, 9, 6],
            last_timestamps_ms: vec![70, 90, 60],
            counts: vec![2, 1, 1],
        };
        assert_eq!(Tallies::of(&partitions, rows.into_iter()), expected);
    }
}
