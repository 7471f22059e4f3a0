//! A change of one memory as its user sees it, in the form in which it travels on the internal
//! topic keyed by user.
//!
//! Version 1: byte 1, a byte (0: the memory is no longer the user's, 1: it is), the memory's id as
//! length and content, and where it is the user's the resolved memory, canonical JSON, to the end.

use crate::binary::{BinaryError, Reader, put_bytes};

/// The version that [`Change::encode`] writes.
pub const VERSION: u8 = 1;

/// Change of a memory for one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// The memory's id.
    pub memory: &'a str,
    /// The resolved memory, active; `None` where it is not the user's any more, or not active.
    pub resolved: Option<&'a [u8]>,
}

impl<'a> Change<'a> {
    /// Appends its form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.push(u8::from(self.resolved.is_some()));
        put_bytes(out, self.memory.as_bytes());
        out.extend_from_slice(self.resolved.unwrap_or_default());
    }

    /// Reads what [`Change::encode`] wrote.
    ///
    /// # Errors
    /// [`BinaryError`]: the log is damaged, or another version of this program wrote it.
    pub fn decode(value: &'a [u8]) -> Result<Change<'a>, BinaryError> {
        let mut r = Reader::new(value);
        match r.u8("version of a user's change")? {
            VERSION => {}
            found => return Err(BinaryError::UnknownVersion { what: "a user's change", found, known: "1" }),
        }
        let is_kept = match r.u8("kind of a user's change")? {
            0 => false,
            1 => true,
            _ => return Err(BinaryError::Invalid("kind of a user's change")),
        };
        let memory = r.str("memory id")?;
        match (is_kept, r.remaining()) {
            (false, []) => Ok(Change { memory, resolved: None }),
            (true, json) if !json.is_empty() => Ok(Change { memory, resolved: Some(json) }),
            _ => Err(BinaryError::Invalid("resolved memory")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_comes_back_as_it_went() {
        for change in [Change { memory: "é", resolved: Some(b"{}") }, Change { memory: "m", resolved: None }] {
            let mut bytes = Vec::new();
            change.encode(&mut bytes);
            assert_eq!(Change::decode(&bytes), Ok(change));
        }
    }

    #[test]
    fn damage_and_other_versions_are_told_apart() {
        assert!(matches!(Change::decode(&[2, 1]), Err(BinaryError::UnknownVersion { found: 2, .. })));
        for damaged in [&[][..], &[1], &[1, 2, 1, b'm'], &[1, 1, 1, b'm'], &[1, 0, 1, b'm', b'{'], &[1, 0, 9, b'm']] {
            assert!(Change::decode(damaged).is_err(), "{damaged:?}");
        }
    }
}
