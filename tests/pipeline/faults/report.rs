//! The page of the matrix, `docs/fault-matrix.md`.

use super::Ran;
use super::cell::Outcome;
use super::matrix::When;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::process::Command;
use std::time::Duration;
use testkit::kafka_proxy::Side;
use testkit::repo_path;

/// The columns: which calls, on which side.
const COLUMNS: [(When, Side); 6] = [
    (When::First, Side::Before),
    (When::First, Side::After),
    (When::Later, Side::Before),
    (When::Later, Side::After),
    (When::Every, Side::Before),
    (When::Every, Side::After),
];

const HEAD: &str = "# The fault matrix

`make faults` writes this page (`tests/pipeline/faults`). Each cell is a run of the memory topology
with two stream threads, on a real broker behind a proxy that knows the framing of Kafka's protocol
(`crates/testkit/src/kafka_proxy`), while events arrive. One call of one API gets a fault, or each
call for two seconds after the first. Then the fault is over, all events are processed, and what
came out, read committed, is compared byte by byte with what `helixstream replay` makes of the
events and what the driver makes of the repartition topics. About every third run begins without
its stores and restores them.

- **before**: the broker does not get the request; **after**: it has done what was asked, and the
  client gets the fault in place of the answer. For the error of an API that only asks there is no
  difference, and the cell stands under \"after\".
- **first**, **later**, **every**: the calls that get the fault; the number of the later call stands
  in the table's title.
- An error is Kafka's code in an answer of the API's own form. `connection cut` closes the
  connection; `delayed` holds the request or the answer back for 1.5 s; `never answered` is silence,
  which `socket.timeout.ms` of the client ends, 3 s here. Errors of `CreateTopics` are met where the
  internal topics are missing, those of `DeleteRecords` where the repartition topics are purged each
  second; there the comparison leaves out what only the repartition topics could tell: the last form
  of each memory and the dead letters are compared, and not each record.
- Left out are errors that refuse one record (INVALID_RECORD, INVALID_TIMESTAMP), which then is a
  dead letter as it should be, so that the outputs are not those of `replay`
  (`crates/streams/src/runtime/tests/errors.rs` has them); and \"before\" for
  DUPLICATE_SEQUENCE_NUMBER, since no broker has what it has never got.
- The process ends over errors that Kafka documents as not retriable, and that no new producer and
  no new member of the group mends, or over a topic that is not there, with the code that its kind
  of error has. `tests/pipeline/faults/ends.rs` has the codes, and the errors over which it goes on
  all the same, with the reason. Every other end fails the cell, and so does going on where it
  should end, a signal, and a call of an API that has no cells.
- Errors of topics and partitions are done to calls that ask for topics and partitions: a Metadata
  request for the brokers alone, as each client sends that has just connected, does not count as a
  call, and neither does an OffsetFetch for whatever the group has, for the error of a partition.
- Not in the matrix, and not called by the instance of these runs: the APIs of SASL and of client
  telemetry, OffsetForLeaderEpoch, ListGroups, and the calls of the mirror, of nodes and of the
  commands that ask for rights (DescribeCluster).

| in a cell | the run |
|---|---|
| `·` | went on: the call was made again, or its answer was not needed; no transaction was aborted and no producer replaced |
| `abort` | went on: a transaction was aborted, and its records were processed again. A rebalance or a slow answer aborts one as well, so this is not always the effect of the fault |
| `producer` | went on: a stream thread replaced its producer |
| `HS…` | the process ended with an error of this code (`helixstream explain`); started again without the fault, it finished the work |
| **`FAILED`** | is a fault of helixstream |

";

/// Kept with the page, since a later run no longer shows them.
const SHOWN: &str = "## Faults that it has shown

All of them are mended.

- **OffsetFetch, COORDINATOR_NOT_AVAILABLE or NOT_COORDINATOR, first and every**: the process ended
  by a signal. librdkafka 2.12.1 follows a null pointer where a client without a group lists
  committed offsets and is told that the coordinator has moved (`rd_kafka_handle_OffsetFetch`).
- **OffsetFetch, UNKNOWN_MEMBER_ID, first and every**: the process ended with HS2002, \"the
  membership is lost\", though it had only asked and was no member.
- **Metadata, LEADER_NOT_AVAILABLE, every**: a start while a leader was being elected ended with
  HS2004, as if there were no such topic.
- **ListOffsets, TOPIC_AUTHORIZATION_FAILED, first**: the process ended with HS1017, \"records were
  deleted before they were processed\", though none were. `rd_kafka_query_watermark_offsets` of
  librdkafka 2.12.1 sends one request for the first offset and one for the end. Where the first
  answer is an error and both are there when it looks, it forgets the error and gives the end for
  both. Each error of ListOffsets that librdkafka does not retry itself can do this. With
  `--from-earliest-available` the task would skip all records up to the end. Each of the two is
  asked for by a call of its own now, and one answer that records are gone is asked again.
- **Produce, DUPLICATE_SEQUENCE_NUMBER, every**: the cell went well, and one of those after it ended
  with HS3011, which advises to delete the state. librdkafka takes this answer for a delivery whose
  offset is not known and reports -1001, which was committed as the position in the changelog. Such
  a transaction is aborted now, and the cell ends with all stores built anew.

";

/// Writes the page.
pub fn write(ran: &[Ran], took: Duration, seed: u64) {
    std::fs::write(repo_path("docs/fault-matrix.md"), page(ran, took, seed)).unwrap();
}

fn page(ran: &[Ran], took: Duration, seed: u64) -> String {
    let mut page = HEAD.to_owned();
    page += &summary(ran, took, seed);
    page += SHOWN;
    let mut apis: Vec<String> = Vec::new();
    for one in ran {
        let api = format!("{:?}", one.cell.api);
        if !apis.contains(&api) {
            apis.push(api);
        }
    }
    apis.sort();
    for api in apis {
        let of_api: Vec<&Ran> = ran.iter().filter(|one| format!("{:?}", one.cell.api) == api).collect();
        page += &table(&api, &of_api);
    }
    page
}

fn summary(ran: &[Ran], took: Duration, seed: u64) -> String {
    let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
    for one in ran {
        *classes.entry(class(one)).or_default() += 1;
    }
    let count = |name: &str| classes.get(name).copied().unwrap_or(0);
    let (count_all, minutes, commit) = (ran.len(), took.as_secs().div_ceil(60), commit());
    let mut text =
        format!("## The last run\n\n{count_all} cells in {minutes} minutes, `SEED={seed}`, at {commit}.\n\n");
    text += "| outcome | cells |\n|---|---|\n";
    for (name, title) in [
        ("retried", "went on without an abort or a new producer"),
        ("aborted", "a transaction was aborted"),
        ("new producer", "a producer was replaced"),
        ("ended", "the process ended with a code, and another one finished the work"),
        ("failed", "failed"),
    ] {
        _ = writeln!(text, "| {title} | {} |", count(name));
    }
    text + "\n"
}

fn class(ran: &Ran) -> &'static str {
    match ran.done.as_ref().map(|done| &done.outcome) {
        Err(_) => "failed",
        Ok(Outcome::Retried) => "retried",
        Ok(Outcome::Aborted) => "aborted",
        Ok(Outcome::NewProducer) => "new producer",
        Ok(Outcome::Restarted(_)) => "ended",
    }
}

fn table(api: &str, ran: &[&Ran]) -> String {
    let later = ran.iter().find(|one| one.cell.when == When::Later).map(|one| one.cell.calls());
    let mut text = format!("## {api}\n\n");
    if let Some(later) = later {
        _ = writeln!(text, "The later call is {later}.\n");
    }
    text += "| fault | first, before | first, after | later, before | later, after | every, before | every, after |\n";
    text += "|---|---|---|---|---|---|---|\n";
    let mut names: Vec<&str> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut in_order: Vec<&&Ran> = ran.iter().collect();
    in_order.sort_by_key(|one| (one.cell.name.starts_with(char::is_lowercase), one.cell.name));
    in_order.iter().for_each(|one| _ = seen.insert(one.cell.name).then(|| names.push(one.cell.name)));
    for name in names {
        let cells = COLUMNS.map(|column| {
            let found = ran.iter().find(|one| one.cell.name == name && (one.cell.when, one.cell.side) == column);
            found.map_or(String::new(), |one| shown(one))
        });
        _ = writeln!(text, "| {name} | {} |", cells.join(" | "));
    }
    text + "\n"
}

fn shown(ran: &Ran) -> String {
    match ran.done.as_ref().map(|done| &done.outcome) {
        Err(_) => "**FAILED**".to_owned(),
        Ok(Outcome::Retried) => "·".to_owned(),
        Ok(Outcome::Aborted) => "abort".to_owned(),
        Ok(Outcome::NewProducer) => "producer".to_owned(),
        Ok(Outcome::Restarted(code)) => code.clone(),
    }
}

/// The commit of the checkout, as a reader can find it.
fn commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty"]).current_dir(repo_path(".")).output();
    let text = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let text = text.map(|text| String::from_utf8_lossy(&text).trim().to_owned());
    text.map_or("an unknown commit".to_owned(), |text| format!("commit {text}"))
}
