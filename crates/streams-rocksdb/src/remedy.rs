//! Errors of RocksDB, by what is done about them.

use ::rocksdb::ErrorKind;

use streams::error::Error;
use streams::record::TaskId;

/// Turns an error of RocksDB into one with a remedy.
pub(super) fn remedy(task: TaskId, doing: &str, error: ::rocksdb::Error) -> Error {
    let kind = error.kind();
    let text = error.into_string();
    let says = |what: &str| text.contains(what);
    let what = format!("{doing}: {text}");
    match kind {
        ErrorKind::IOError if says("No space left") || says("quota exceeded") => {
            Error::Fatal(format!("{what}; free some space on the disk of the state directory [HS3007]"))
        }
        ErrorKind::IOError if says("Permission denied") || says("Read-only file system") => {
            Error::Fatal(format!("{what}; let this user write to the state directory [HS3004]"))
        }
        ErrorKind::IOError if says("Too many open files") => {
            Error::Fatal(format!("{what}; raise the limit of open files (ulimit -n) [HS3008]"))
        }
        ErrorKind::IOError if says("/LOCK") => Error::Retry(format!("{what} [HS3009]")),
        ErrorKind::Busy | ErrorKind::TryAgain | ErrorKind::TimedOut => Error::Retry(format!("{what} [HS3009]")),
        ErrorKind::NotSupported => {
            Error::Fatal(format!("{what}; a newer version has written this store: run that version [HS3006]"))
        }
        _ => Error::Corrupted { task, what },
    }
}
