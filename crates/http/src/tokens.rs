//! The token file: one bearer token a line, with its rights.
//!
//! ```text
//! # name:sha256:hash of the token:rights[:users]
//! grafana:sha256:<64 hexadecimal digits>:read
//! support:sha256:<64 hexadecimal digits>:read,act:u-17,u-18
//! ```
//!
//! A token is 256 random bits, so SHA-256 is the right hash: there is nothing to guess that a slow
//! one (bcrypt, Argon2) would protect, and a slow one would let every request with a wrong token
//! cost us a tenth of a second of processor time. The file holds no secret that could be used, but
//! whoever can write to it can let himself in.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::digest::{SHA256, digest};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use super::random;

/// Prefix of every token that we create, so that scanners for leaked secrets can find it.
const PREFIX: &str = "hxs_";
/// The longest name.
const MAX_NAME: usize = 64;

/// A right that a token grants to its bearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// See pages: GET and HEAD.
    Read,
    /// Change something: every other method.
    Act,
}

impl Right {
    /// Reads `read` or `act`.
    ///
    /// # Errors
    /// It is neither; the text itself is not repeated, since it may be a token in the wrong place.
    pub fn parse(text: &str) -> Result<Right, String> {
        match text {
            "read" => Ok(Right::Read),
            "act" => Ok(Right::Act),
            _ => Err("a right is `read` or `act`, several are separated by commas".to_owned()),
        }
    }

    /// As the token file has it.
    pub fn name(self) -> &'static str {
        match self {
            Right::Read => "read",
            Right::Act => "act",
        }
    }
}

/// A line of the token file.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// Name of its owner in logs and pages.
    pub name: String,
    /// Rights that it grants.
    pub rights: BTreeSet<Right>,
    /// The users that its bearer may see; `None` means all.
    pub users: Option<BTreeSet<String>>,
    digest: [u8; 32],
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Token { name, rights, users, digest: _ } = self;
        f.debug_struct("Token")
            .field("name", name)
            .field("rights", rights)
            .field("users", users)
            .finish_non_exhaustive()
    }
}

impl Token {
    /// Makes a token: its text, which is shown once and kept nowhere, and the entry that the token
    /// file gets.
    ///
    /// # Errors
    /// The name or a user cannot stand in the file, no right is named, or the system gives no
    /// random bytes.
    pub fn make(name: &str, rights: &[Right], users: Option<&[String]>) -> Result<(String, Token), String> {
        let secret = random::secret().map_err(|e| e.to_string())?;
        let text = format!("{PREFIX}{secret}");
        let coded = |why: String| format!("{why} [HS6506]");
        check_name(name).map_err(coded)?;
        if rights.is_empty() {
            return Err("a token needs at least one right: read, act [HS6506]".to_owned());
        }
        let users: Option<BTreeSet<String>> = users.map(|users| users.iter().cloned().collect());
        users.iter().flatten().try_for_each(|user| check_user(user)).map_err(coded)?;
        let digest = hash(text.as_bytes());
        Ok((text, Token { name: name.to_owned(), rights: rights.iter().copied().collect(), users, digest }))
    }

    /// The entry as a line of the token file.
    pub fn line(&self) -> String {
        let rights: Vec<&str> = self.rights.iter().map(|right| right.name()).collect();
        let mut line = format!("{}:sha256:", self.name);
        // Writing to a string cannot fail.
        self.digest.iter().for_each(|byte| _ = write!(line, "{byte:02x}"));
        line = format!("{line}:{}", rights.join(","));
        if let Some(users) = &self.users {
            let users: Vec<&str> = users.iter().map(String::as_str).collect();
            line = format!("{line}:{}", users.join(","));
        }
        line
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@');
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_plain) {
        return Err(format!("a name has 1 to {MAX_NAME} letters, digits, `.`, `_`, `-` and `@`"));
    }
    Ok(())
}

fn check_user(user: &str) -> Result<(), String> {
    if user.is_empty() || user.trim() != user || user.contains(|c: char| c == ',' || c.is_control()) {
        return Err(
            "users are separated by commas, and no user's id is empty or has a comma or a control character".to_owned()
        );
    }
    Ok(())
}

/// SHA-256 of a token.
fn hash(token: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, token).as_ref());
    bytes
}

/// Why a token file cannot be used. No message repeats a line's content: it may hold a token by
/// mistake.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// It cannot be read.
    #[error("cannot read the token file {}: {why} [HS6504]", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why. Not called `source`: it would be shown twice.
        why: io::Error,
    },
    /// A line of it is wrong.
    #[error("{}:{line}: {what}; `helixstream http token` makes a valid line [HS6504]", file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// The line's number, from 1.
        line: usize,
        /// The text describes the problem.
        what: String,
    },
}

/// All tokens of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens(Vec<Arc<Token>>);

impl Tokens {
    /// Reads a token file.
    ///
    /// # Errors
    /// The file cannot be read, or a line of it is wrong.
    pub fn read(file: &Path) -> Result<Tokens, TokenFileError> {
        let text = fs::read_to_string(file).map_err(|why| TokenFileError::Io { file: file.to_owned(), why })?;
        Tokens::parse(&text).map_err(|(line, what)| TokenFileError::Line { file: file.to_owned(), line, what })
    }

    /// Reads a token file's text; an error has the line's number.
    fn parse(text: &str) -> Result<Tokens, (usize, String)> {
        let mut tokens: Vec<Arc<Token>> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let token = parse_line(line).map_err(|what| (index + 1, what))?;
            if tokens.iter().any(|other| other.name == token.name) {
                return Err((index + 1, "an earlier line has the same name".to_owned()));
            }
            if tokens.iter().any(|other| other.digest == token.digest) {
                return Err((
                    index + 1,
                    "an earlier line has the same hash: make a separate token for each name".to_owned(),
                ));
            }
            tokens.push(Arc::new(token));
        }
        Ok(Tokens(tokens))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them has this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|token| token.name == name)
    }

    /// The token that a client shows. Every hash is compared, each in constant time, so that the
    /// time reveals nothing about a guess.
    pub(super) fn find(&self, shown: &str) -> Option<Arc<Token>> {
        let digest = hash(shown.as_bytes());
        let mut found = u64::MAX;
        for (index, token) in (0u64..).zip(&self.0) {
            let same: Choice = token.digest.ct_eq(&digest);
            found = u64::conditional_select(&found, &index, same);
        }
        self.0.get(usize::try_from(found).ok()?).cloned()
    }

    /// The token as the file has it now, if it still has one of this name and hash.
    pub(super) fn same(&self, token: &Token) -> Option<Arc<Token>> {
        self.0.iter().find(|other| other.name == token.name && other.digest == token.digest).cloned()
    }
}

fn parse_line(line: &str) -> Result<Token, String> {
    let mut parts = line.splitn(5, ':').map(str::trim);
    let (Some(name), Some(algorithm), Some(hash), Some(rights)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(
            "the line does not have the parts name:sha256:HASH:RIGHTS or name:sha256:HASH:RIGHTS:USERS".to_owned()
        );
    };
    let users = parts.next();
    check_name(name)?;
    if algorithm != "sha256" {
        return Err("the second part is not `sha256`, the only hash there is".to_owned());
    }
    let digest = parse_hash(hash).ok_or_else(|| {
        let length = hash.len();
        format!("the third part is not 64 hexadecimal digits, the SHA-256 of the token (it has {length} characters)")
    })?;
    let rights =
        rights.split(',').map(|right| Right::parse(right.trim())).collect::<Result<BTreeSet<Right>, String>>()?;
    let users = users.map(|users| {
        let all = users.split(',').map(|user| user.trim().to_owned());
        all.map(|user| check_user(&user).map(|()| user)).collect::<Result<BTreeSet<String>, String>>()
    });
    Ok(Token { name: name.to_owned(), rights, users: users.transpose()?, digest })
}

fn parse_hash(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut digest = [0; 32];
    for (at, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of `test`, as `printf %s test | sha256sum` prints it.
    const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn a_made_token_is_found_by_its_line_and_nothing_else_is() {
        let users = ["u-1".to_owned(), "u:2".to_owned()];
        let (one, first) = Token::make("grafana", &[Right::Read], None).unwrap();
        let (two, second) = Token::make("support", &[Right::Act, Right::Read], Some(&users)).unwrap();
        assert!(one.starts_with("hxs_") && one.len() == 47 && one != two, "{one}");
        let tokens = Tokens::parse(&format!("# ours\r\n\r\n{}\n  {}  \n", first.line(), second.line())).unwrap();
        assert_eq!(tokens.len(), 2);
        assert_eq!(tokens.find(&one).as_deref(), Some(&first));
        assert_eq!(tokens.find(&two).as_deref(), Some(&second));
        assert!(second.line().ends_with(":read,act:u-1,u:2"), "{}", second.line());
        let changed = one.to_uppercase();
        let cut = &one[..46];
        for wrong in ["", "hxs_", &changed, cut, &format!("{one} "), &first.line()] {
            assert_eq!(tokens.find(wrong), None, "{wrong}");
        }
        assert!(!format!("{tokens:?}").contains(&first.line()[15..40]));
    }

    #[test]
    fn the_hash_is_that_of_sha256sum() {
        let tokens = Tokens::parse(&format!("me:sha256:{}:read", HASH.to_uppercase())).unwrap();
        assert_eq!(tokens.find("test").unwrap().name, "me");
    }

    #[test]
    fn a_wrong_line_is_told_by_its_number_without_its_content() {
        let good = format!("me:sha256:{HASH}:read");
        let cases = [
            ("geheim".to_owned(), "does not have the parts"),
            ("a:geheim".to_owned(), "does not have the parts"),
            (format!("a:sha1:{HASH}:read"), "not `sha256`"),
            ("a:sha256:geheim:read".to_owned(), "64 hexadecimal digits"),
            (format!("a:sha256:{HASH}:geheim"), "a right is `read` or `act`"),
            (format!("a:sha256:{HASH}:"), "a right is `read` or `act`"),
            (format!("ge heim:sha256:{HASH}:read"), "a name has"),
            (format!("a:sha256:{HASH}:read:"), "users are separated by commas"),
            (format!("a:sha256:{HASH}:read:x,,y"), "users are separated by commas"),
            (format!("me:sha256:{}:read", HASH.replace('9', "8")), "the same name"),
            (format!("other:sha256:{HASH}:read"), "the same hash"),
        ];
        for (line, expected) in cases {
            let (number, what) = Tokens::parse(&format!("\n{good}\n{line}\n")).unwrap_err();
            assert_eq!(number, 3, "{line}");
            assert!(what.contains(expected) && !what.contains("geheim"), "{line}: {what}");
        }
    }
}
