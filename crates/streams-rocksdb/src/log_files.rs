//! Looks through a database's manifest and write-ahead logs before RocksDB reads them, for damage
//! that RocksDB 11.8 does not report.
//!
//! Both are RocksDB's log files: blocks of 32 KiB with records that have a header of checksum,
//! length and type. RocksDB verifies the checksums, but two fields of the header decide before that
//! whether it gets so far (`ReadPhysicalRecord` in `db/log_reader.cc`):
//!
//! - A length that reaches past the end of a manifest counts as a write that was under way, and so
//!   does a manifest that ends with the first parts of a record. The record and all behind it are
//!   left out without a word. The tables that they added are lost, and a later write-ahead log then
//!   leaves a store that claims more than it has.
//! - A type that only recycled logs have (these are off here) stops RocksDB at its record for ever.
//!
//! One flipped bit makes either. A power loss or a kill in the middle of a write to the manifest
//! may leave such an end as well. The two cannot be told apart, so that task is rebuilt, too: that
//! costs time and loses nothing.
//!
//! A place that RocksDB does not look at is not damaged. A header of zeros, as a power loss leaves
//! it where a file had grown and its content was not written, makes it go on with the next block,
//! and a wrong checksum makes it drop the rest of the block.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

const BLOCK_BYTES: usize = 32 << 10;
/// Checksum (4 bytes), length (2, little-endian) and type (1).
const HEADER_BYTES: usize = 7;
/// Types of first and of middle parts of a record.
const PARTS: [u8; 2] = [2, 3];
/// Types that only recycled logs have (`db/log_format.h`).
const RECYCLED: [u8; 6] = [5, 6, 7, 8, 11, 131];

/// The first damage in the log files of a database, if there is any. A file that cannot be read is
/// left to RocksDB, which fails at it and says why.
pub(super) fn damage(database: &Path) -> Option<String> {
    let found = |path: &Path, is_whole: bool| {
        let what = damage_of(path, is_whole).ok().flatten()?;
        Some(format!("{}: {what}", path.display()))
    };
    let current = fs::read_to_string(database.join("CURRENT")).unwrap_or_default();
    if let Some(manifest) = current.strip_suffix('\n')
        && let Some(what) = found(&database.join(manifest), true)
    {
        return Some(what);
    }
    let files = fs::read_dir(database).ok()?.filter_map(Result::ok).map(|file| file.path());
    let mut logs = files.filter(|path| path.extension().is_some_and(|end| end == "log"));
    logs.find_map(|path| found(&path, false))
}

/// Goes through the headers of a file as RocksDB does. `is_whole`: it ends with a whole record. The
/// end of a write-ahead log may be torn, which RocksDB finds by itself.
fn damage_of(path: &Path, is_whole: bool) -> io::Result<Option<String>> {
    let mut file = File::open(path)?;
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    let mut start = 0;
    // Where the part begins that another one is to follow.
    let mut open = None;
    loop {
        block.clear();
        file.by_ref().take(BLOCK_BYTES as u64).read_to_end(&mut block)?;
        if block.is_empty() {
            let ended = |place| format!("it ends with the part of a record at byte {place}");
            return Ok(open.filter(|_| is_whole).map(ended));
        }
        let mut at = 0;
        while let Some(header) = block.get(at..at + HEADER_BYTES) {
            let end = at + HEADER_BYTES + usize::from(u16::from_le_bytes([header[4], header[5]]));
            let kind = header[6];
            let place = start + at as u64;
            if RECYCLED.contains(&kind) || (is_whole && kind == 0) {
                return Ok(Some(format!("the record at byte {place} has the type {kind}")));
            }
            if end > block.len() && is_whole {
                return Ok(Some(format!("the record at byte {place} does not end in its block")));
            }
            if end > block.len() || kind == 0 || !has_checksum(&block[at..end]) {
                // RocksDB looks at nothing further in this block, if it goes on at all.
                at = block.len();
                break;
            }
            open = PARTS.contains(&kind).then_some(place);
            at = end;
        }
        if is_whole && block.len() < BLOCK_BYTES && at < block.len() {
            return Ok(Some(format!("it ends in the header of the record at byte {}", start + at as u64)));
        }
        start += block.len() as u64;
    }
}

/// Whether a record has the checksum that its header says, of its type and content.
fn has_checksum(record: &[u8]) -> bool {
    let masked = u32::from_le_bytes([record[0], record[1], record[2], record[3]]);
    masked == masked_checksum(&record[HEADER_BYTES - 1..])
}

/// A checksum as RocksDB stores it (`util/crc32c.h`).
fn masked_checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, len: usize) -> Vec<u8> {
        let content = [&[kind][..], &vec![b'x'; len]].concat();
        let len = u16::try_from(len).unwrap();
        [&masked_checksum(&content).to_le_bytes()[..], &len.to_le_bytes(), &content].concat()
    }

    fn check(bytes: &[u8], is_whole: bool) -> Option<String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), bytes).unwrap();
        damage_of(file.path(), is_whole).unwrap()
    }

    #[test]
    fn records_end_in_their_block_and_the_file_with_a_record() {
        let first = record(2, BLOCK_BYTES - HEADER_BYTES - 3);
        let whole = [&first[..], &[0; 3], &record(4, 10), &record(1, 0)].concat();
        assert_eq!(check(&whole, true), None, "three bytes at the end of a block are no header");
        for (cut, what) in [(1, "ends in the header"), (7, ""), (8, "does not end in its block")] {
            let found = check(&whole[..whole.len() - cut], true);
            assert!(if what.is_empty() { found.is_none() } else { found.unwrap().contains(what) }, "{cut}");
            assert_eq!(check(&whole[..whole.len() - cut], false), None, "a log may be torn");
        }
    }

    #[test]
    fn types_of_recycled_logs_are_damage() {
        // The first record of a log is what it keeps of the log before it.
        for kind in RECYCLED {
            let bytes = [record(130, 5), record(kind, 5)].concat();
            assert!(check(&bytes, false).unwrap().contains("at byte 12 has the type"), "{kind}");
        }
        assert_eq!(check(&[record(130, 24), record(1, 5)].concat(), false), None);
        assert!(check(&record(0, 0), true).is_some());
        assert_eq!(check(&[record(9, 4), record(200, 4)].concat(), true), None, "types of newer versions");
    }

    #[test]
    fn what_rocksdb_does_not_look_at_is_no_damage() {
        let recycled = record(5, 3);
        // RocksDB goes on with the next block.
        assert_eq!(check(&[&[0; 14][..], &recycled].concat(), false), None);
        let block = [&record(1, 20), &[0; BLOCK_BYTES][..]].concat()[..BLOCK_BYTES].to_vec();
        assert_eq!(check(&[&block[..], &record(1, 3)].concat(), false), None);
        assert!(check(&[&block[..], &record(1, 3), &recycled].concat(), false).is_some());
        // It drops the rest of the block, since the length may be what is wrong.
        let mut torn = record(1, 20);
        torn[15] ^= 1;
        assert_eq!(check(&[torn.clone(), recycled.clone()].concat(), false), None);
        assert_eq!(check(&[torn, recycled].concat(), true), None, "it refuses such a manifest");
    }

    #[test]
    fn a_manifest_ends_with_the_last_part_of_a_record() {
        let first = record(2, BLOCK_BYTES - HEADER_BYTES);
        let middle = record(3, BLOCK_BYTES - HEADER_BYTES);
        let parts = |parts: &[&[u8]]| check(&parts.concat(), true);
        assert_eq!(parts(&[&first, &middle, &record(4, 9)]), None);
        assert!(parts(&[&first]).unwrap().contains("part of a record at byte 0"));
        assert!(parts(&[&first, &middle]).unwrap().contains("part of a record at byte 32768"));
        assert!(parts(&[&record(1, 3), &record(2, 3)]).unwrap().contains("part of a record at byte 10"));
        assert_eq!(check(&first, false), None, "a log may be torn");
    }
}
