//! Secrets: passwords, private keys, tokens, and URLs that may hold one. A [`Secret`] never shows
//! its value, and a [`SecretSource`] says where the value comes from: it was given as it is, or it
//! stands in a file of its own, as Docker and Kubernetes mount secrets. Every key and every
//! variable that takes a secret has a twin that takes such a file (`password` and `password_file`,
//! `HELIXSTREAM_KAFKA_PASSWORD` and `HELIXSTREAM_KAFKA_PASSWORD_FILE`).
//!
//! A source keeps the path, so that whoever connects later reads the file anew and sees a password
//! that was changed meanwhile. No message of this module holds any of a file's content.

use std::ffi::OsString;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Text that is shown in the place of a secret.
pub const HIDDEN: &str = "[hidden]";

/// The most that a secret's file may hold, in bytes: room for a chain of certificates with its key.
const MAX_BYTES: u64 = 256 << 10;

/// A value that no log line, no message and no debug output shows.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Secret(String);

impl Secret {
    /// Hides a value.
    pub fn new(value: impl Into<String>) -> Secret {
        Secret(value.into())
    }

    /// The value itself, for the library that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// Parts of the names of settings whose values are secrets.
const SECRET_PARTS: &[&str] =
    &["password", "passphrase", "passwd", "secret", "token", "jaas", "private.key.pem", "ssl.key.pem"];
/// Settings whose values may hold a secret although their names do not say so: librdkafka takes
/// options there of which some are secrets (`sasl.oauthbearer.config`), or a command line.
const SECRET_NAMES: &[&str] = &["sasl.oauthbearer.config", "sasl.kerberos.kinit.cmd"];
/// Ends of names whose values are paths of files, addresses or functions, which are no secrets
/// themselves.
const OPEN_ENDS: &[&str] = &["_file", ".file", ".location", "_url", ".url", "_cb"];

/// Whether the value of a setting of this name is a secret, by its name: librdkafka's properties
/// and our own keys.
pub fn names_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_open = OPEN_ENDS.iter().any(|end| name.ends_with(end));
    !is_open && (SECRET_NAMES.contains(&name.as_str()) || SECRET_PARTS.iter().any(|part| name.contains(part)))
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// It was given as it is.
    Value(Secret),
    /// It is what a file holds, without the line end behind it.
    File {
        /// The file.
        path: PathBuf,
        /// The key or variable that names the file, as a message calls it:
        /// `HELIXSTREAM_KAFKA_PASSWORD_FILE`.
        named_by: String,
    },
}

impl SecretSource {
    /// A secret that was given as it is.
    pub fn value(value: impl Into<String>) -> SecretSource {
        SecretSource::Value(Secret::new(value))
    }

    /// A secret in a file; `named_by` is the key or variable that names the file.
    pub fn file(path: impl Into<PathBuf>, named_by: impl Into<String>) -> SecretSource {
        SecretSource::File { path: path.into(), named_by: named_by.into() }
    }

    /// The secret of the variable `name`, or of the file that the variable `<name>_FILE` names. An
    /// empty variable counts as none.
    ///
    /// # Errors
    /// Both are set, or one of them is not UTF-8. A file that cannot be read is reported by
    /// [`SecretSource::read`].
    pub fn from_variables(name: &str) -> Result<Option<SecretSource>, SecretError> {
        SecretSource::from_lookup(name, &|name| std::env::var_os(name))
    }

    fn from_lookup(name: &str, lookup: &dyn Fn(&str) -> Option<OsString>) -> Result<Option<SecretSource>, SecretError> {
        let file_name = format!("{name}_FILE");
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        match (set(name), set(&file_name)) {
            (Some(_), Some(_)) => Err(SecretError::Both { value: name.to_owned(), file: file_name }),
            (Some(value), None) => match value.into_string() {
                Ok(value) => Ok(Some(SecretSource::value(value))),
                Err(_) => Err(SecretError::VariableNotText { name: name.to_owned() }),
            },
            (None, Some(path)) => Ok(Some(SecretSource::file(path, file_name))),
            (None, None) => Ok(None),
        }
    }

    /// The secret as it is now: a file is read anew each time.
    ///
    /// # Errors
    /// The file cannot be read, is empty, too large, no regular file, or not UTF-8. No error holds
    /// any of its content.
    pub fn read(&self) -> Result<Secret, SecretError> {
        match self {
            SecretSource::Value(secret) => Ok(secret.clone()),
            SecretSource::File { path, named_by } => {
                let wrong = |why| SecretError::File { path: path.clone(), named_by: named_by.clone(), why };
                read_file(path).map_err(wrong)
            }
        }
    }
}

/// Reads a secret's file and cuts one line end (`\n` or `\r\n`) off its end, which editors and
/// `echo` add.
fn read_file(path: &Path) -> Result<Secret, FileFault> {
    // Asked before it is opened: to open a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(FileFault::Unreadable)?.is_file() {
        return Err(FileFault::NotRegular);
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(FileFault::Unreadable)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(FileFault::Unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(FileFault::TooLarge);
    }
    let mut text = String::from_utf8(bytes).map_err(|_| FileFault::NotText)?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() { Err(FileFault::Empty) } else { Ok(Secret(text)) }
}

/// A secret that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Its file is of no use.
    #[error("the secret file `{}`, which {named_by} names, {why} [HS0026]", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The key or variable that names the file.
        named_by: String,
        /// The problem.
        #[source]
        why: FileFault,
    },
    /// The value and the file are both given, and nothing says which of them is meant.
    #[error("{value} and {file} are both set: set only one of them [HS0021]")]
    Both {
        /// The variable that holds the value.
        value: String,
        /// The variable that names the file.
        file: String,
    },
    /// A variable holds bytes that are no text.
    #[error("the environment variable {name} is not UTF-8 text [HS0004]")]
    VariableNotText {
        /// The variable.
        name: String,
    },
}

/// Describes the problem with a secret's file.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// The system refuses to open or read it.
    #[error("cannot be read: {0}")]
    Unreadable(std::io::Error),
    /// It is a folder, a pipe or a device.
    #[error("is not a regular file")]
    NotRegular,
    /// There is nothing in it, or a line end alone.
    #[error("is empty")]
    Empty,
    /// It is larger than any secret.
    #[error("is larger than 256 KiB, so it holds something else than a secret")]
    TooLarge,
    /// It holds bytes that are no text.
    #[error("is not UTF-8 text")]
    NotText,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_with(content: &[u8]) -> (tempfile::TempDir, SecretSource) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, content).unwrap();
        (dir, SecretSource::file(path, "[kafka] password_file"))
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::new("hunter2");
        assert_eq!(
            format!("{secret} {secret:?} {:?}", SecretSource::Value(secret.clone())),
            "[hidden] [hidden] Value([hidden])"
        );
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn one_line_end_is_cut_off_a_file_and_nothing_else() {
        for (content, secret) in
            [("a b", "a b"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a \n", " a "), ("a\r", "a\r")]
        {
            let (_dir, source) = file_with(content.as_bytes());
            assert_eq!(source.read().unwrap().expose(), secret, "{content:?}");
        }
    }

    #[test]
    fn a_file_is_read_anew_each_time() {
        let (_dir, source) = file_with(b"old\n");
        assert_eq!(source.read().unwrap().expose(), "old");
        let SecretSource::File { path, .. } = &source else { panic!("{source:?}") };
        std::fs::write(path, "new\n").unwrap();
        assert_eq!(source.read().unwrap().expose(), "new");
    }

    #[test]
    fn a_file_of_no_use_is_told_with_who_names_it_and_without_its_content() {
        for (content, why) in [
            (&b""[..], "is empty"),
            (b"\r\n", "is empty"),
            (b"hunter2\xff", "is not UTF-8 text"),
            (&[b'h'; 300 << 10], "is larger than 256 KiB"),
        ] {
            let (_dir, source) = file_with(content);
            let message = source.read().unwrap_err().to_string();
            assert!(
                message.contains("/secret`, which [kafka] password_file names, ") && message.contains(why),
                "{message}"
            );
            assert!(!message.contains("hunter2") && !message.contains("hhh"), "{message}");
        }
        let (dir, _) = file_with(b"");
        let message = |path: PathBuf| SecretSource::file(path, "X").read().unwrap_err().to_string();
        assert!(message(dir.path().join("none")).contains("cannot be read: No such file"));
        assert!(message(dir.path().to_owned()).ends_with("is not a regular file [HS0026]"));
    }

    #[test]
    fn a_variable_and_the_file_of_its_twin_exclude_each_other() {
        let read = |set: &[(&str, &str)]| {
            let lookup = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
            SecretSource::from_lookup("PASSWORD", &lookup).map_err(|e| e.to_string())
        };
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("PASSWORD", ""), ("PASSWORD_FILE", "")]), Ok(None));
        assert_eq!(read(&[("PASSWORD", "p"), ("PASSWORD_FILE", "")]), Ok(Some(SecretSource::value("p"))));
        assert_eq!(read(&[("PASSWORD_FILE", "f")]), Ok(Some(SecretSource::file("f", "PASSWORD_FILE"))));
        let both = read(&[("PASSWORD", "hunter2"), ("PASSWORD_FILE", "f")]).unwrap_err();
        assert_eq!(both, "PASSWORD and PASSWORD_FILE are both set: set only one of them [HS0021]");
    }
}
