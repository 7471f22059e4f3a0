//! Maps records of the nodes topic to rows of `memory_registered_nodes`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::outputs::{instant, read, text_or_null};
use mirror::ports::{Cells, LogRecord, NoCells, RowMapper, RowPolicy, Unreadable};

/// The version of the form of records that is read.
const SCHEMA_VERSION: u64 = 1;

/// Reads records of the nodes topic into rows, of which the last of each key stands, in each
/// partition.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeRows;

const COLUMNS: &[&str] = &[
    "node_id",
    "node_name",
    "incarnation",
    "node_type",
    "state",
    "successor",
    "software_version",
    "capabilities",
    "counter",
    "published_counter",
    "outbox_depth",
    "outbox_since",
    "joined_at",
    "heartbeat_at",
];

/// A node's record.
#[derive(Deserialize)]
struct NodeFields<'r> {
    schema_version: u64,
    node_id: String,
    name: String,
    incarnation: String,
    r#type: String,
    state: String,
    successor: Option<String>,
    software_version: String,
    #[serde(borrow)]
    capabilities: &'r RawValue,
    counter: i64,
    published_counter: i64,
    outbox_depth: i64,
    outbox_since: Option<String>,
    joined_at: String,
    heartbeat_at: String,
}

impl NodeFields<'_> {
    /// Holds the members against the contract, as a node does.
    fn check(&self, key: Option<&[u8]>) -> Result<(), Unreadable> {
        let unreadable = |class, message: &str| Err(Unreadable { class, message: message.to_owned() });
        if self.schema_version != SCHEMA_VERSION {
            return unreadable(
                "unknown_version",
                "`schema_version` is not 1; a newer version of helixstream has written it",
            );
        }
        if self.node_id != format!("{}.{}", self.name, self.incarnation) || key != Some(self.node_id.as_bytes()) {
            return unreadable("wrong_key", "the key is not `node_id`, or that is not the name and the incarnation");
        }
        let has_state = match self.state.as_str() {
            "running" | "stopped" => true,
            "replaced" => self.successor.is_some(),
            _ => false,
        };
        if !has_state {
            return unreadable("wrong_type", "`state` is not running, stopped, or replaced with a successor");
        }
        if !["primary", "replica", "worker"].contains(&self.r#type.as_str()) {
            return unreadable("wrong_type", "`type` is not primary, replica or worker");
        }
        if !self.capabilities.get().starts_with('[') {
            return unreadable("wrong_type", "`capabilities` is not an array");
        }
        Ok(())
    }
}

impl RowMapper for NodeRows {
    fn table(&self) -> &'static str {
        "memory_registered_nodes"
    }

    fn row_policy(&self) -> RowPolicy {
        RowPolicy::UpsertByPartitionAndKey
    }

    fn columns(&self) -> &'static [&'static str] {
        COLUMNS
    }

    fn cells(&self, record: &LogRecord<'_>, to: &mut dyn Cells) -> Result<(), NoCells> {
        let empty =
            || Unreadable { class: "empty_value", message: "the record has no value: the node was removed".to_owned() };
        let node: NodeFields<'_> = read(record.value.ok_or_else(empty)?)?;
        node.check(record.key)?;
        let outbox_since = node.outbox_since.as_deref().map(|text| instant("outbox_since", text)).transpose()?;
        let times = (instant("joined_at", &node.joined_at)?, instant("heartbeat_at", &node.heartbeat_at)?);
        to.text(&node.node_id);
        to.text(&node.name);
        to.text(&node.incarnation);
        to.text(&node.r#type);
        to.text(&node.state);
        text_or_null(node.successor.as_deref(), to);
        to.text(&node.software_version);
        to.json(node.capabilities.get().as_bytes());
        to.integer(node.counter);
        to.integer(node.published_counter);
        to.integer(node.outbox_depth);
        match outbox_since {
            Some(nanos) => to.instant(nanos),
            None => to.null(),
        }
        to.instant(times.0);
        to.instant(times.1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_cells::row_of;
    use super::*;

    const ID: &str = "agent-7.0123456789abcdefghjk";

    fn node(more: &str) -> String {
        format!(
            r#"{{"capabilities":["search"],"counter":12,"heartbeat_at":"1970-01-01T00:00:02Z","incarnation":"0123456789abcdefghjk",
            "joined_at":"1970-01-01T00:00:01Z","name":"agent-7","node_id":"{ID}","outbox_depth":3,"published_chain":"0f",
            "published_counter":9,"schema_version":1,"software_version":"helixstream 0.1.0","type":"worker"{more}}}"#
        )
    }

    fn row(key: &str, value: Option<&str>) -> Result<Vec<(&'static str, String)>, &'static str> {
        row_of(&NodeRows, &[], Some(key), value)
    }

    #[test]
    fn a_record_fills_its_columns() {
        let running = row(ID, Some(&node(r#","state":"running","shoe_size":46"#))).unwrap();
        let expected = [
            ("node_id", ID),
            ("node_name", "agent-7"),
            ("incarnation", "0123456789abcdefghjk"),
            ("node_type", "worker"),
            ("state", "running"),
            ("software_version", "helixstream 0.1.0"),
            ("capabilities", r#"["search"]"#),
            ("counter", "12"),
            ("published_counter", "9"),
            ("outbox_depth", "3"),
            ("joined_at", "@1000000000"),
            ("heartbeat_at", "@2000000000"),
        ];
        assert_eq!(running, expected.map(|(name, cell)| (name, cell.to_owned())));
        let more = r#","state":"replaced","successor":"agent-7.1","outbox_since":"1970-01-01T00:00:00Z""#;
        let replaced = row(ID, Some(&node(more))).unwrap();
        assert!(replaced.contains(&("successor", "agent-7.1".to_owned())), "{replaced:?}");
        assert!(replaced.contains(&("outbox_since", "@0".to_owned())), "{replaced:?}");
    }

    #[test]
    fn what_cannot_be_read_has_a_class() {
        let good = node(r#","state":"stopped""#);
        assert!(row(ID, Some(&good)).is_ok());
        assert_eq!(row(ID, None), Err("empty_value"));
        assert_eq!(row("other", Some(&good)), Err("wrong_key"));
        for (from, to, class) in [
            ("\"schema_version\":1", "\"schema_version\":2", "unknown_version"),
            ("\"name\":\"agent-7\"", "\"name\":\"agent-8\"", "wrong_key"),
            ("\"counter\":12", "\"counter\":1.5", "wrong_type"),
            ("\"counter\":12", "\"counter\":9223372036854775808", "wrong_type"),
            ("\"counter\":12,", "", "missing_field"),
            ("stopped", "asleep", "wrong_type"),
            ("stopped", "replaced", "wrong_type"),
            ("worker", "king", "wrong_type"),
            ("[\"search\"]", "\"search\"", "wrong_type"),
            ("1970-01-01T00:00:02Z", "then", "bad_timestamp"),
            ("}", "", "malformed_json"),
        ] {
            assert!(good.contains(from), "{from}");
            assert_eq!(row(ID, Some(&good.replace(from, to))), Err(class), "{from} as {to}");
        }
    }
}
