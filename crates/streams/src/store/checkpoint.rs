//! Checkpoints: the state of a task at a commit, as the committed offset's metadata carries it, and
//! the position of each store. Both are short texts with a version.
//!
//! Metadata: `1 <stream time> <store>:<changelog offset>:<checksum> … @topic:0:<topic id>
//! @owner/<instance id>:<thread>:0 #topology:<generation>:<digest> #<part>:<generation>:<digest>
//! …`; a release that knows no topic ids, owners or digests takes these words for stores that its
//! topology lacks, and passes over them.
//! Position: `1 <next offset> <stream time> <changelog offset> <checksum or ->`.

use super::Checksum;
use crate::error::{Error, Result};
use crate::offset::{Offset, StartOffset};
use crate::ports::TopicId;
use crate::record::TaskId;
use crate::stream_time::StreamTime;
use crate::topology_digest::{Stamp, TopologyDigest};

/// The one version that this release reads and writes.
const VERSION: &str = "1";
/// Greatest metadata of an offset that a broker accepts by default (`offset.metadata.max.bytes`).
pub const METADATA_MAX_BYTES: usize = 4096;
/// Prefix of the id of the topic that the offset belongs to, in hexadecimal digits. It has the form
/// of a store, and no store is named so.
const TOPIC: &str = "@topic:0:";
/// Prefix of the stream thread that made the commit: the id of its instance, its number, and `0`.
/// It has the form of a store too.
const OWNER: &str = "@owner/";
/// In the place of a changelog offset: nothing was ever written.
const NO_CHANGELOG: i64 = -1;

/// In the place of a next offset: the content belongs to no commit yet.
const RESTORING: i64 = -1;
/// In the place of a next offset: nothing was read yet, and the log's first record comes next.
const BEGINNING: i64 = -2;

/// In the place of stream time: there was no record yet.
const NO_STREAM_TIME: i64 = -1;

/// The checkpoint of a task: its state after some prefix of its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The next record of the source partition.
    pub next_offset: StartOffset,
    /// Stream time after the records before it.
    pub stream_time: StreamTime,
    /// Of each store: the offset of its last changelog record, and its checksum.
    pub stores: Vec<StoreCheckpoint>,
}

/// The checkpoint of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreCheckpoint {
    /// The offset of its last changelog record, if there is one.
    pub changelog_offset: Option<Offset>,
    /// The checksum of its content.
    pub checksum: Checksum,
}

impl StoreCheckpoint {
    /// A store that never had an entry.
    pub const EMPTY: StoreCheckpoint = StoreCheckpoint { changelog_offset: None, checksum: 0 };
}

/// Metadata of a committed offset that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// Another release has written it, in a version that this one does not know.
    #[error("a committed offset's metadata has version `{0}` [HS3006]")]
    Version(String),
    /// Another program has written it.
    #[error("the metadata of a committed offset cannot be read: `{0}`; another program has committed it [HS1028]")]
    Unreadable(String),
}

impl From<MetadataError> for Error {
    fn from(error: MetadataError) -> Error {
        match error {
            MetadataError::Version(found) => unknown_version("a committed offset's metadata", &found),
            unreadable @ MetadataError::Unreadable(_) => Error::Fatal(unreadable.to_string()),
        }
    }
}

fn unknown_version(what: &str, found: &str) -> Error {
    Error::Fatal(format!(
        "{what} has version `{found}`, and this release reads version {VERSION}: run the release that wrote it, or a later one [HS3006]"
    ))
}

/// The stream thread that made a commit, and so owned the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskOwner<'t> {
    /// The id of its instance.
    pub instance_id: &'t str,
    /// Its number within the instance.
    pub thread: usize,
}

impl<'t> TaskOwner<'t> {
    /// The owner by a commit's metadata; `None` where an earlier release wrote it.
    pub fn find(metadata: &'t str) -> Option<TaskOwner<'t>> {
        let word = metadata.split(' ').find_map(|word| word.strip_prefix(OWNER))?;
        let (instance_id, thread) = word.strip_suffix(":0")?.rsplit_once(':')?;
        Some(TaskOwner { instance_id, thread: thread.parse().ok()? })
    }

    /// As a word of the metadata; `None` where the instance's id is no word.
    fn word(&self) -> Option<String> {
        let TaskOwner { instance_id, thread } = self;
        (!instance_id.contains(char::is_whitespace)).then(|| format!("{OWNER}{instance_id}:{thread}:0"))
    }
}

/// The origin of a commit, which its metadata carries besides the state.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommitContext<'t> {
    /// The id of the topic whose offset is committed, where the brokers know ids.
    pub topic: Option<TopicId>,
    /// The stream thread that makes the commit.
    pub owner: Option<TaskOwner<'t>>,
    /// Which topology made the commit.
    pub stamp: Option<&'t Stamp>,
}

/// The metadata that goes with a committed offset.
pub fn encode_metadata(checkpoint: &Checkpoint, stores: &[&str], origin: CommitContext<'_>) -> String {
    use std::fmt::Write;
    let mut text = format!("{VERSION} {}", stream_time_word(checkpoint.stream_time));
    for (name, store) in stores.iter().zip(&checkpoint.stores) {
        // Writing to a string does not fail.
        let _ = write!(text, " {name}:{}:{:x}", changelog_word(store.changelog_offset), store.checksum);
    }
    if let Some(TopicId(id)) = origin.topic {
        let _ = write!(text, " {TOPIC}{id:x}");
    }
    if let Some(word) = origin.owner.and_then(|owner| owner.word()) {
        let _ = write!(text, " {word}");
    }
    text.extend(origin.stamp.map(Stamp::words));
    text
}

/// The most bytes that the metadata of a task with these stores can have, in an instance of this
/// id.
pub fn max_metadata_bytes(stores: &[&str], instance_id: &str, digest: Option<&TopologyDigest>) -> usize {
    let store = StoreCheckpoint { changelog_offset: Offset::new(i64::MAX), checksum: Checksum::MAX };
    let (next_offset, stream_time) = (StartOffset::Beginning, StreamTime::of(i64::MAX));
    let checkpoint = Checkpoint { next_offset, stream_time, stores: vec![store; stores.len()] };
    let stamp = digest.map(|digest| Stamp { generation: u64::MAX, digest: digest.clone() });
    let owner = TaskOwner { instance_id, thread: usize::MAX };
    let origin = CommitContext { topic: Some(TopicId(u128::MAX)), owner: Some(owner), stamp: stamp.as_ref() };
    encode_metadata(&checkpoint, stores, origin).len()
}

/// The id of the topic in a commit's metadata; `None` where an earlier release wrote it, or the
/// brokers knew no ids.
pub fn topic_id_of(metadata: &str) -> Option<TopicId> {
    let digits = metadata.split(' ').find_map(|word| word.strip_prefix(TOPIC))?;
    u128::from_str_radix(digits, 16).ok().map(TopicId)
}

/// A changelog offset as both texts have it.
fn changelog_word(offset: Option<Offset>) -> i64 {
    offset.map_or(NO_CHANGELOG, Offset::number)
}

/// Reads the word back; `None` where it is none.
fn changelog_offset(word: &str) -> Option<Option<Offset>> {
    word.parse().ok().map(Offset::new)
}

/// The next offset as positions have it.
fn next_offset_word(next: Option<StartOffset>) -> i64 {
    match next {
        None => RESTORING,
        Some(StartOffset::Beginning) => BEGINNING,
        Some(StartOffset::At(offset)) => offset.number(),
    }
}

/// Reads the word back; `None` where it is none.
fn next_offset(word: &str) -> Option<Option<StartOffset>> {
    match word.parse().ok()? {
        RESTORING => Some(None),
        BEGINNING => Some(Some(StartOffset::Beginning)),
        number => Offset::new(number).map(|offset| Some(offset.into())),
    }
}

/// Stream time as both texts have it.
fn stream_time_word(time: StreamTime) -> i64 {
    time.ms().unwrap_or(NO_STREAM_TIME)
}

/// Reads the word back; `None` where it is none.
fn stream_time(word: &str) -> Option<StreamTime> {
    word.parse().ok().map(StreamTime::of)
}

fn parse_store(part: &str) -> Option<(&str, StoreCheckpoint)> {
    let (rest, checksum) = part.rsplit_once(':')?;
    let (name, offset) = rest.rsplit_once(':')?;
    let checksum = Checksum::from_str_radix(checksum, 16).ok()?;
    Some((name, StoreCheckpoint { changelog_offset: changelog_offset(offset)?, checksum }))
}

/// Reads the metadata back. A store that it does not name is new, and empty. Empty metadata (an
/// offset set by hand) knows no store at all.
///
/// # Errors
/// This release did not write it, and cannot read it.
pub fn decode_metadata(
    next_offset: Offset,
    text: &str,
    stores: &[&str],
) -> std::result::Result<Option<Checkpoint>, MetadataError> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut parts = text.split(' ');
    let version = parts.next().unwrap_or_default();
    if version != VERSION {
        return Err(MetadataError::Version(version.to_owned()));
    }
    let bad = || MetadataError::Unreadable(text.to_owned());
    let stream_time = parts.next().and_then(stream_time).ok_or_else(bad)?;
    let next_offset = StartOffset::At(next_offset);
    let mut checkpoint = Checkpoint { next_offset, stream_time, stores: vec![StoreCheckpoint::EMPTY; stores.len()] };
    for part in parts.filter(|part| !Stamp::is_word(part)) {
        let (name, store) = parse_store(part).ok_or_else(bad)?;
        if let Some(at) = stores.iter().position(|known| *known == name) {
            checkpoint.stores[at] = store;
        }
    }
    Ok(Some(checkpoint))
}

/// Where a store's content stands, kept in the store itself and written with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The next record of the task's source; `None` while restoring, when the content belongs to no
    /// commit yet.
    pub next_offset: Option<StartOffset>,
    /// Stream time at that point.
    pub stream_time: StreamTime,
    /// The offset of the last changelog record that is in the store, if there is one.
    pub changelog_offset: Option<Offset>,
    /// The content's checksum; `None` in the midst of a restore from the beginning, which computes
    /// it at its end.
    pub checksum: Option<Checksum>,
}

impl Position {
    /// The position of a store at a checkpoint.
    pub fn at(checkpoint: &Checkpoint, store: &StoreCheckpoint) -> Position {
        Position {
            next_offset: Some(checkpoint.next_offset),
            stream_time: checkpoint.stream_time,
            changelog_offset: store.changelog_offset,
            checksum: Some(store.checksum),
        }
    }

    /// The position in the midst of a restore.
    pub fn restoring(changelog_offset: Option<Offset>, checksum: Option<Checksum>) -> Position {
        Position { next_offset: None, stream_time: StreamTime::NONE, changelog_offset, checksum }
    }

    /// Whether the content belongs to no commit yet.
    pub fn is_restoring(&self) -> bool {
        self.next_offset.is_none()
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let Position { next_offset, stream_time, changelog_offset, checksum } = self;
        let stream_time = stream_time_word(*stream_time);
        let next_offset = next_offset_word(*next_offset);
        let changelog_offset = changelog_word(*changelog_offset);
        let checksum = checksum.map_or("-".to_owned(), |sum| format!("{sum:x}"));
        format!("{VERSION} {next_offset} {stream_time} {changelog_offset} {checksum}").into_bytes()
    }

    /// Reads the bytes back. Other bytes than [`Position::encode`] makes mean a corrupted store; an
    /// unknown version stops the program.
    pub fn decode(task: TaskId, bytes: &[u8]) -> Result<Position> {
        let corrupted =
            || Error::Corrupted { task, what: format!("its position reads `{}`", String::from_utf8_lossy(bytes)) };
        let text = std::str::from_utf8(bytes).map_err(|_| corrupted())?;
        let parts: Vec<&str> = text.split(' ').collect();
        match parts[..] {
            [VERSION, next, time, offset, checksum] => {
                let checksum = match checksum {
                    "-" => None,
                    hex => Some(Checksum::from_str_radix(hex, 16).map_err(|_| corrupted())?),
                };
                Ok(Position {
                    next_offset: next_offset(next).ok_or_else(corrupted)?,
                    stream_time: stream_time(time).ok_or_else(corrupted)?,
                    changelog_offset: changelog_offset(offset).ok_or_else(corrupted)?,
                    checksum,
                })
            }
            [version, ..] if version != VERSION && version.parse::<u32>().is_ok() => {
                Err(unknown_version(&format!("the store of task {task}"), version))
            }
            _ => Err(corrupted()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    const TASK: TaskId = TaskId { subtopology: 1, partition: 4 };

    fn at(number: i64) -> Offset {
        Offset::new(number).unwrap()
    }

    fn checkpoint() -> Checkpoint {
        let store = StoreCheckpoint { changelog_offset: Offset::new(17), checksum: u128::MAX - 1 };
        Checkpoint {
            next_offset: at(42).into(),
            stream_time: StreamTime::of(1_795_441_887_515),
            stores: vec![store, StoreCheckpoint::EMPTY],
        }
    }

    #[test]
    fn metadata_round_trips_and_a_new_store_is_empty() {
        let text = encode_metadata(&checkpoint(), &["a", "b"], CommitContext::default());
        assert_eq!(text, "1 1795441887515 a:17:fffffffffffffffffffffffffffffffe b:-1:0");
        assert_eq!(decode_metadata(at(42), &text, &["a", "b"]).unwrap(), Some(checkpoint()));
        let moved = decode_metadata(at(42), &text, &["new", "a"]).unwrap().unwrap();
        assert_eq!(moved.stores, [StoreCheckpoint::EMPTY, checkpoint().stores[0]]);
        assert_eq!(decode_metadata(at(42), "", &["a"]).unwrap(), None);
    }

    #[test]
    fn metadata_tells_which_topology_made_the_commit() {
        let stamp = Stamp { generation: 3, digest: TopologyDigest::of(&[("graph", "g".to_owned())]) };
        let owner = TaskOwner { instance_id: "4f:00", thread: 12 };
        let origin = CommitContext { topic: Some(TopicId(u128::MAX - 5)), owner: Some(owner), stamp: Some(&stamp) };
        let text = encode_metadata(&checkpoint(), &["a", "b"], origin);
        assert_eq!(decode_metadata(at(42), &text, &["a", "b"]).unwrap(), Some(checkpoint()));
        assert_eq!((Stamp::find(&text).as_ref(), topic_id_of(&text)), (origin.stamp, origin.topic));
        assert_eq!(TaskOwner::find(&text), origin.owner);
        assert_eq!(topic_id_of("1 99 memories:5:ab"), None, "an earlier release wrote it");
        assert_eq!(TaskOwner::find("1 99 memories:5:ab"), None, "an earlier release wrote it");
        // The release before digests and topic ids reads every word as a store, and passes over
        // those that its topology lacks.
        assert!(text.split(' ').skip(2).all(|word| parse_store(word).is_some()), "{text}");
        let unnamed = CommitContext { owner: Some(TaskOwner { instance_id: "a b", ..owner }), ..origin };
        let text = encode_metadata(&checkpoint(), &["a", "b"], unnamed);
        assert_eq!((TaskOwner::find(&text), topic_id_of(&text)), (None, origin.topic), "an id that is no word");
    }

    #[test]
    fn an_unknown_version_stops_the_program() {
        let metadata = |text| decode_metadata(Offset::FIRST, text, &[]).map_err(Error::from);
        assert!(matches!(metadata("2 whatever"), Err(Error::Fatal(what)) if what.contains("[HS3006]")));
        assert!(matches!(metadata("1 x"), Err(Error::Fatal(what)) if what.contains("[HS1028]")));
        assert!(matches!(Position::decode(TASK, b"2 0"), Err(Error::Fatal(_))));
        assert!(matches!(Position::decode(TASK, b"\xff"), Err(Error::Corrupted { .. })));
        assert!(matches!(Position::decode(TASK, b"1 0 0 0 zz"), Err(Error::Corrupted { .. })));
    }

    #[test]
    fn the_greatest_metadata_has_room_for_any() {
        let digest = TopologyDigest::of(&[("graph", "g".to_owned())]);
        let stamp = Stamp { generation: 3, digest: digest.clone() };
        let owner = Some(TaskOwner { instance_id: "4f00", thread: 1 });
        let origin = CommitContext { topic: Some(TopicId(1)), owner, stamp: Some(&stamp) };
        let text = encode_metadata(&checkpoint(), &["a", "b"], origin);
        let most = max_metadata_bytes(&["a", "b"], "4f00", Some(&digest));
        assert!(text.len() < most && most < text.len() + 180, "{} of {most}", text.len());
    }

    #[test]
    fn positions_round_trip() {
        for position in [
            Position::at(&checkpoint(), &checkpoint().stores[0]),
            Position::restoring(Offset::new(5), None),
            Position::restoring(Offset::new(5), Some(7)),
            Position { next_offset: Some(StartOffset::Beginning), ..Position::restoring(None, Some(0)) },
        ] {
            assert_eq!(Position::decode(TASK, &position.encode()).unwrap(), position);
        }
        assert_eq!(
            Position::restoring(Offset::new(5), None).encode(),
            b"1 -1 -1 5 -",
            "as every release before wrote it"
        );
        let fresh =
            Checkpoint { next_offset: StartOffset::Beginning, stream_time: StreamTime::NONE, stores: Vec::new() };
        assert_eq!(Position::at(&fresh, &StoreCheckpoint::EMPTY).encode(), b"1 -2 -1 -1 0", "the same");
        assert!(Position::decode(TASK, b"1 -3 -1 -1 0").is_err(), "no release writes it");
    }
}
