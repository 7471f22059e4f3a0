//! The group as its coordinator describes it: who is a member, and which partitions each has. The
//! assignment comes as the bytes that the leader of the classic protocol wrote
//! (`ConsumerProtocolAssignment`), which every version begins alike.

use rdkafka::groups::GroupList;

use streams::error::{Error, Result};
use streams::ports::GroupMember;
use streams::record::TopicPartition;

/// The state of a group in which its assignments hold.
const STABLE: &str = "Stable";

/// The members of a group; `None` where there is no such group or it is about to change.
pub(super) fn members(list: &GroupList, group: &str) -> Result<Option<Vec<GroupMember>>> {
    let Some(found) = list.groups().iter().find(|one| one.name() == group && one.state() == STABLE) else {
        return Ok(None);
    };
    let member = |one: &rdkafka::groups::GroupMemberInfo| {
        let bytes = one.assignment().unwrap_or_default();
        let partitions = assignment(bytes).ok_or_else(|| {
            Error::Retry(format!(
                "the assignment of member {} of group {group} cannot be read [HS2002]",
                one.client_id()
            ))
        });
        Ok(GroupMember { client_id: one.client_id().to_owned(), partitions: partitions? })
    };
    found.members().iter().map(member).collect::<Result<Vec<_>>>().map(Some)
}

/// Reads big-endian numbers and texts.
struct Bytes<'b>(&'b [u8]);

impl<'b> Bytes<'b> {
    fn short(&mut self) -> Option<i16> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i16::from_be_bytes(*number))
    }

    fn int(&mut self) -> Option<i32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i32::from_be_bytes(*number))
    }

    fn text(&mut self) -> Option<&'b str> {
        let len = usize::try_from(self.short()?).ok()?;
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }
}

/// The partitions of an assignment; a member that has just joined has none, and no bytes.
fn assignment(bytes: &[u8]) -> Option<Vec<TopicPartition>> {
    let mut partitions = Vec::new();
    if bytes.is_empty() {
        return Some(partitions);
    }
    let mut bytes = Bytes(bytes);
    bytes.short().filter(|version| *version >= 0)?;
    for _ in 0..bytes.int()? {
        let topic: std::sync::Arc<str> = bytes.text()?.into();
        for _ in 0..bytes.int()? {
            partitions.push(TopicPartition::new(topic.clone(), bytes.int()?));
        }
    }
    Some(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read_whatever_follows_it() {
        let mut bytes = vec![0, 1, 0, 0, 0, 2];
        bytes.extend([0, 1, b'a', 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 7]);
        bytes.extend([0, 2, b'b', b'c', 0, 0, 0, 1, 0, 0, 1, 0]);
        let expected = [("a", 0), ("a", 7), ("bc", 256)].map(|(topic, n)| TopicPartition::new(topic, n));
        assert_eq!(assignment(&bytes).as_deref(), Some(&expected[..]));
        bytes.extend([0, 0, 0, 4, 1, 2, 3, 4]);
        assert_eq!(assignment(&bytes).as_deref(), Some(&expected[..]), "user data of the leader");
        assert_eq!(assignment(&[]), Some(Vec::new()));
    }

    #[test]
    fn bytes_of_another_form_are_none() {
        for bytes in [&[0][..], &[255, 255, 0, 0, 0, 0], &[0, 0, 0, 0, 0, 1], &[0, 0, 0, 0, 0, 1, 0, 9, b'a']] {
            assert_eq!(assignment(bytes), None, "{bytes:?}");
        }
    }
}
