//! Password files as libpq reads them (`~/.pgpass`, `PGPASSFILE`):
//! `host:port:database:user:password` a line, `*` for any, `\` before a `:` or `\` that is meant as
//! such.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The login that a password is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Login<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) database: &'a str,
    pub(super) user: &'a str,
}

/// The password in a file; `None` where there is no such file or none of its lines is for this
/// login. A file that others can read is left alone, with a warning.
pub(super) fn password(file: &Path, login: Login<'_>) -> Option<String> {
    match read(file) {
        Ok(text) => text.lines().find_map(|line| of_line(line, login)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => {
            tracing::warn!(code = "HS4054", "the password file {} is not used: {e}", file.display());
            None
        }
    }
}

fn read(file: &Path) -> io::Result<String> {
    let metadata = std::fs::metadata(file)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(io::Error::other("group or others have access to it; its mode must be 0600 or less (chmod 0600)"));
    }
    std::fs::read_to_string(file)
}

/// The password of a line, if the line is for this login.
fn of_line(line: &str, login: Login<'_>) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let port = login.port.to_string();
    let mut rest = line;
    for expected in [login.host, &port, login.database, login.user] {
        let (field, behind) = field(rest);
        let behind = behind?;
        if &rest[..rest.len() - behind.len() - 1] != "*" && field != expected {
            return None;
        }
        rest = behind;
    }
    Some(field(rest).0)
}

/// A field without its escapes, and what stands behind its `:`.
fn field(text: &str) -> (String, Option<&str>) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            ':' => return (value, Some(&text[at + 1..])),
            '\\' => value.extend(chars.next().map_or(Some('\\'), |(_, escaped)| Some(escaped))),
            c => value.push(c),
        }
    }
    (value, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Login<'static> {
        Login { host: "db.example", port: 5432, database: "memories", user: "me" }
    }

    #[test]
    fn lines_are_read_as_libpq_reads_them() {
        let cases = [
            ("db.example:5432:memories:me:secret", Some("secret")),
            ("*:*:*:*:any", Some("any")),
            ("*:5432:*:me:", Some("")),
            (r"db.example:5432:memories:me:a\:b\\c\d", Some(r"a:b\cd")),
            ("db.example:5432:memories:me:cut:here", Some("cut")),
            (r"\*:5432:memories:me:literal star", None),
            (r"db\.example:5432:memories:me:escaped", Some("escaped")),
            ("db.example:5433:memories:me:other port", None),
            ("db.example:5432:memories:you:other user", None),
            ("#db.example:5432:memories:me:comment", None),
            ("db.example:5432:memories:me", None),
            ("", None),
        ];
        for (line, expected) in cases {
            assert_eq!(of_line(line, login()).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pgpass");
        std::fs::write(&file, "other:*:*:*:no\n*:*:*:*:first\n*:*:*:*:second\n").unwrap();
        let mode = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o600);
        assert_eq!(password(&file, login()).as_deref(), Some("first"));
        mode(0o640);
        assert_eq!(password(&file, login()), None);
        assert_eq!(password(&folder.path().join("none"), login()), None);
    }
}
