//! `merge_all`: joins what can be joined, field by field. The default.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use super::last_write;
use super::picked::{Picked, PickedValue, greatest, string_array};
use crate::state::{Field, Memory, Path, RegisterWrite, StateError};

pub(super) fn pick<'a>(
    memory: &Memory<'a>,
    path: Path<'_>,
    contenders: &[RegisterWrite<'a>],
) -> Result<Picked<'a>, StateError> {
    let field = path.field;
    let reason = match field {
        Field::Tags | Field::MergedFrom => return union(memory, contenders),
        Field::Content => "longest content, then last-write order",
        Field::Importance => "greatest importance, then last-write order",
        Field::Entity => "greatest confidence, then last-write order",
        Field::Relationship => "greatest strength, then last-write order",
        Field::Embedding | Field::Metadata | Field::SessionId | Field::UserId => "greatest in last-write order",
    };
    // A cleared content has length 0, as an empty one; a cleared importance, entity or relationship
    // is less than any.
    let cleared_is_least = matches!(field, Field::Importance | Field::Entity | Field::Relationship);
    let winner = greatest(contenders, |a, b| {
        let cleared = (a.value.is_null(), b.value.is_null());
        let decided = match cleared {
            (true, false) if cleared_is_least => Ordering::Less,
            (false, true) if cleared_is_least => Ordering::Greater,
            _ => a.value.rank(field).compare(&b.value.rank(field)),
        };
        if decided == Ordering::Equal { last_write::order(memory, a, b) } else { Ok(decided) }
    })?;
    Ok(Picked::won(winner, reason))
}

/// The union of sets of strings; a cleared one adds nothing, and only cleared ones give null.
fn union<'a>(memory: &Memory<'a>, contenders: &[RegisterWrite<'a>]) -> Result<Picked<'a>, StateError> {
    let mut sets = Vec::with_capacity(contenders.len());
    for write in contenders.iter().filter(|w| !w.value.is_null()) {
        sets.push(memory.bytes(&write.value)?);
    }
    let value = if sets.is_empty() { b"null".to_vec() } else { join(&sets) };
    let reason = "union of the contenders".to_owned();
    Ok(Picked { winner: None, ties: Vec::new(), value: PickedValue::Made(value), reason, deferred: false })
}

/// The sorted union of canonical JSON arrays of strings.
fn join(sets: &[&[u8]]) -> Vec<u8> {
    let documents: Vec<_> = sets.iter().filter_map(|set| json::parse(set).ok()).collect();
    let all: BTreeSet<&str> =
        documents.iter().flat_map(|d| d.root().items()).filter_map(|item| item.as_str()).collect();
    string_array(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_sorted_by_the_bytes_of_the_texts_not_of_their_escapes() {
        let joined = join(&[br#"["b","\n"]"#, br#"["A","b"]"#]);
        assert_eq!(String::from_utf8_lossy(&joined), r#"["\n","A","b"]"#);
    }
}
