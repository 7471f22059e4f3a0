//! What the mirror must have of the outputs: the last resolved memory of each key, each conflict
//! record once, and nothing that SQL would resolve differently.

use crate::trial::Trial;
use std::collections::BTreeMap;
use testkit::postgres::{query, try_query};
use testkit::{Record, wait_until};

/// Waits until the snapshots and conflicts of a trial are mirrored, and holds them, and the
/// rebuild, against the topics.
#[track_caller]
pub fn assert_outputs_mirrored(url: &str, trial: &Trial) {
    let mut last: BTreeMap<String, Record> = BTreeMap::new();
    last.extend(trial.read("snapshots").into_iter().map(|record| (record.key_text(), record)));
    let snapshots: Vec<Record> = last.into_values().collect();
    for (table, records) in [("memory_snapshots", snapshots), ("memory_conflicts", trial.read("conflicts"))] {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let expected = records.iter().map(|record| {
            let place = [record.partition.to_string(), record.offset.to_string()];
            [&place[..], &[hex(record.value.as_deref().unwrap_or_default())]].concat()
        });
        let mut expected: Vec<Vec<String>> = expected.collect();
        expected.sort();
        assert!(!expected.is_empty(), "{table}");
        let sql = format!(
            "select kafka_partition, kafka_offset, encode(kafka_value, 'hex') from {table} where error_class is null"
        );
        wait_until(table, || {
            let mut found = try_query(url, &sql).unwrap_or_default();
            found.sort();
            found == expected
        });
    }
    assert_eq!(query(url, "select memory_id, state, fields from diff_rebuilt()"), Vec::<Vec<String>>::new());
}
