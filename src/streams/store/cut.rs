//! What a commit knows about the state: in the committed offset's metadata, and at each store's own position. Both are short texts with a version.
//!
//! Metadata: `1 <stream time> <store>:<changelog offset>:<checksum> … #topology:<generation>:<digest> #<part>:<generation>:<digest> …`; releases
//! that know no digests of topologies pass over what begins with `#`. Position: `1 <next offset> <stream time> <changelog offset> <checksum or ->`.

use super::Checksum;
use crate::streams::error::{Error, Result};
use crate::streams::record::TaskId;
use crate::streams::task::{Cut, NO_STREAM_TIME};
use crate::streams::topology::Stamp;

/// The one version that this release reads and writes.
const VERSION: &str = "1";
/// What a broker takes as metadata of an offset, by default (`offset.metadata.max.bytes`).
pub const METADATA_MAX_BYTES: usize = 4096;
/// As a changelog offset: nothing was ever written.
pub const NO_CHANGELOG: i64 = -1;

/// A store at a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreCut {
    /// The offset of its last changelog record; [`NO_CHANGELOG`] if there is none.
    pub changelog_offset: i64,
    /// The checksum of its content.
    pub checksum: Checksum,
}

impl StoreCut {
    /// A store that never had an entry.
    pub const EMPTY: StoreCut = StoreCut { changelog_offset: NO_CHANGELOG, checksum: 0 };
}

fn unknown_version(what: &str, found: &str) -> Error {
    Error::Fatal(format!(
        "{what} has version `{found}`, this release reads version {VERSION}: run the release that wrote it, or a later one"
    ))
}

/// The metadata that goes with a task's committed offset; `stamp` tells which topology made the commit.
pub fn encode_metadata(task: TaskId, cut: &Cut, stores: &[&str], stamp: Option<&Stamp>) -> Result<String> {
    use std::fmt::Write;
    let mut text = format!("{VERSION} {}", cut.stream_time_ms);
    for (name, store) in stores.iter().zip(&cut.stores) {
        // Writing to a string does not fail.
        let _ = write!(text, " {name}:{}:{:x}", store.changelog_offset, store.checksum);
    }
    text.extend(stamp.map(Stamp::words));
    if text.len() > METADATA_MAX_BYTES {
        return Err(Error::Fatal(format!(
            "task {task} has too many stores for an offset's metadata ({} bytes of at most {METADATA_MAX_BYTES}): use fewer stores or shorter names",
            text.len()
        )));
    }
    Ok(text)
}

fn parse_store(part: &str) -> Option<(&str, StoreCut)> {
    let (rest, checksum) = part.rsplit_once(':')?;
    let (name, offset) = rest.rsplit_once(':')?;
    let checksum = Checksum::from_str_radix(checksum, 16).ok()?;
    Some((name, StoreCut { changelog_offset: offset.parse().ok()?, checksum }))
}

/// Reads the metadata back. A store that it does not name is new, and empty. Empty metadata (an offset set by hand) knows no store at all.
pub fn decode_metadata(next_offset: i64, text: &str, stores: &[&str]) -> Result<Option<Cut>> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut parts = text.split(' ');
    let version = parts.next().unwrap_or_default();
    if version != VERSION {
        return Err(unknown_version("a committed offset's metadata", version));
    }
    let bad = || {
        Error::Fatal(format!(
            "a committed offset's metadata cannot be read: `{text}`; reset the group's offsets or its application"
        ))
    };
    let stream_time_ms = parts.next().and_then(|part| part.parse().ok()).ok_or_else(bad)?;
    let mut cut = Cut { next_offset, stream_time_ms, stores: vec![StoreCut::EMPTY; stores.len()] };
    for part in parts.filter(|part| !Stamp::is_word(part)) {
        let (name, store) = parse_store(part).ok_or_else(bad)?;
        if let Some(at) = stores.iter().position(|known| *known == name) {
            cut.stores[at] = store;
        }
    }
    Ok(Some(cut))
}

/// Where a store's content stands, kept in the store itself and written with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The next record of the task's source; -1 while restoring, when the content belongs to no commit yet.
    pub next_offset: i64,
    /// Stream time at that point.
    pub stream_time_ms: i64,
    /// The offset of the last changelog record that is in the store.
    pub changelog_offset: i64,
    /// The content's checksum; `None` in the midst of a restore from the beginning, which computes it at its end.
    pub checksum: Option<Checksum>,
}

impl Position {
    /// The position of a store at a cut.
    pub fn at(cut: &Cut, store: &StoreCut) -> Position {
        Position {
            next_offset: cut.next_offset,
            stream_time_ms: cut.stream_time_ms,
            changelog_offset: store.changelog_offset,
            checksum: Some(store.checksum),
        }
    }

    /// The position in the midst of a restore.
    pub fn restoring(changelog_offset: i64, checksum: Option<Checksum>) -> Position {
        Position { next_offset: -1, stream_time_ms: NO_STREAM_TIME, changelog_offset, checksum }
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let Position { next_offset, stream_time_ms, changelog_offset, checksum } = self;
        let checksum = checksum.map_or("-".to_owned(), |sum| format!("{sum:x}"));
        format!("{VERSION} {next_offset} {stream_time_ms} {changelog_offset} {checksum}").into_bytes()
    }

    /// Reads the bytes back. Other bytes than [`Position::encode`] makes mean a corrupted store; an unknown version stops the program.
    pub fn decode(task: TaskId, bytes: &[u8]) -> Result<Position> {
        let corrupted =
            || Error::Corrupted { task, what: format!("its position reads `{}`", String::from_utf8_lossy(bytes)) };
        let text = std::str::from_utf8(bytes).map_err(|_| corrupted())?;
        let parts: Vec<&str> = text.split(' ').collect();
        match parts[..] {
            [VERSION, next, time, offset, checksum] => {
                let number = |text: &str| text.parse::<i64>().map_err(|_| corrupted());
                let checksum = match checksum {
                    "-" => None,
                    hex => Some(Checksum::from_str_radix(hex, 16).map_err(|_| corrupted())?),
                };
                Ok(Position {
                    next_offset: number(next)?,
                    stream_time_ms: number(time)?,
                    changelog_offset: number(offset)?,
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
    use crate::streams::topology::TopologyDigest;

    const TASK: TaskId = TaskId { subtopology: 1, partition: 4 };

    fn cut() -> Cut {
        let store = StoreCut { changelog_offset: 17, checksum: u128::MAX - 1 };
        Cut { next_offset: 42, stream_time_ms: 1_795_441_887_515, stores: vec![store, StoreCut::EMPTY] }
    }

    #[test]
    fn metadata_round_trips_and_a_new_store_is_empty() {
        let text = encode_metadata(TASK, &cut(), &["a", "b"], None).unwrap();
        assert_eq!(text, "1 1795441887515 a:17:fffffffffffffffffffffffffffffffe b:-1:0");
        assert_eq!(decode_metadata(42, &text, &["a", "b"]).unwrap(), Some(cut()));
        let moved = decode_metadata(42, &text, &["new", "a"]).unwrap().unwrap();
        assert_eq!(moved.stores, [StoreCut::EMPTY, cut().stores[0]]);
        assert_eq!(decode_metadata(42, "", &["a"]).unwrap(), None);
    }

    #[test]
    fn metadata_tells_which_topology_made_the_commit() {
        let stamp = Stamp { generation: 3, digest: TopologyDigest::of(&[("graph", "g".to_owned())]) };
        let text = encode_metadata(TASK, &cut(), &["a", "b"], Some(&stamp)).unwrap();
        assert_eq!(decode_metadata(42, &text, &["a", "b"]).unwrap(), Some(cut()));
        assert_eq!(Stamp::find(&text), Some(stamp));
        // The release before digests reads every word as a store, and passes over those that its topology lacks.
        assert!(text.split(' ').skip(2).all(|word| parse_store(word).is_some()), "{text}");
    }

    #[test]
    fn an_unknown_version_stops_the_program() {
        assert!(matches!(decode_metadata(0, "2 whatever", &[]), Err(Error::Fatal(_))));
        assert!(matches!(decode_metadata(0, "1 x", &[]), Err(Error::Fatal(_))));
        assert!(matches!(Position::decode(TASK, b"2 0"), Err(Error::Fatal(_))));
        assert!(matches!(Position::decode(TASK, b"\xff"), Err(Error::Corrupted { .. })));
        assert!(matches!(Position::decode(TASK, b"1 0 0 0 zz"), Err(Error::Corrupted { .. })));
    }

    #[test]
    fn metadata_above_what_a_broker_takes_is_refused() {
        let names: Vec<String> = (0..30).map(|n| format!("{n:0>150}")).collect();
        let cut = Cut { stores: vec![StoreCut::EMPTY; 30], ..cut() };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(matches!(encode_metadata(TASK, &cut, &names, None), Err(Error::Fatal(_))));
    }

    #[test]
    fn positions_round_trip() {
        for position in
            [Position::at(&cut(), &cut().stores[0]), Position::restoring(5, None), Position::restoring(5, Some(7))]
        {
            assert_eq!(Position::decode(TASK, &position.encode()).unwrap(), position);
        }
    }
}
