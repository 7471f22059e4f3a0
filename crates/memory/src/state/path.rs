//! Field paths: the names of registers.

use std::fmt;

/// The fields of a memory, in the order of their paths' UTF-8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Field {
    /// `content`
    Content = 1,
    /// `embedding`
    Embedding = 2,
    /// `entities.<id>`
    Entity = 3,
    /// `importance`
    Importance = 4,
    /// `merged_from`
    MergedFrom = 5,
    /// `metadata.<key>`
    Metadata = 6,
    /// `relationships.<id>`
    Relationship = 7,
    /// `session_id`
    SessionId = 8,
    /// `tags`
    Tags = 9,
    /// `user_id`
    UserId = 10,
}

use Field::{Content, Embedding, Entity, Importance, MergedFrom, Metadata, Relationship, SessionId, Tags, UserId};

const ALL: [Field; 10] =
    [Content, Embedding, Entity, Importance, MergedFrom, Metadata, Relationship, SessionId, Tags, UserId];

impl Field {
    /// The field's name in events and in resolved memories.
    pub fn name(self) -> &'static str {
        match self {
            Content => "content",
            Embedding => "embedding",
            Entity => "entities",
            Importance => "importance",
            MergedFrom => "merged_from",
            Metadata => "metadata",
            Relationship => "relationships",
            SessionId => "session_id",
            Tags => "tags",
            UserId => "user_id",
        }
    }

    /// The field of a [name](Field::name).
    fn from_name(name: &str) -> Option<Field> {
        Some(match name {
            "content" => Content,
            "embedding" => Embedding,
            "entities" => Entity,
            "importance" => Importance,
            "merged_from" => MergedFrom,
            "metadata" => Metadata,
            "relationships" => Relationship,
            "session_id" => SessionId,
            "tags" => Tags,
            "user_id" => UserId,
            _ => return None,
        })
    }

    /// Whether the field is written key by key.
    pub fn is_keyed(self) -> bool {
        matches!(self, Entity | Metadata | Relationship)
    }

    /// The field of a stored code.
    pub fn from_code(code: u8) -> Option<Field> {
        ALL.get(usize::from(code).checked_sub(1)?).copied()
    }
}

/// A field path. Its order is that of the path's UTF-8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path<'a> {
    /// The field.
    pub field: Field,
    /// The key within a keyed field, else empty.
    pub key: &'a str,
}

impl<'a> Path<'a> {
    /// A field that has no keys.
    pub const fn of(field: Field) -> Path<'static> {
        Path { field, key: "" }
    }

    /// Reads `content` or `metadata.<key>`; `None` for no path of a memory.
    pub fn parse(path: &'a str) -> Option<Path<'a>> {
        let (name, key) = path.split_once('.').map_or((path, None), |(name, key)| (name, Some(key)));
        let field = Field::from_name(name)?;
        match (field.is_keyed(), key) {
            (true, Some(key)) => Some(Path { field, key }),
            (false, None) => Some(Path::of(field)),
            _ => None,
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.field.name())?;
        if self.field.is_keyed() { write!(f, ".{}", self.key) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_that_of_the_bytes() {
        let mut paths: Vec<String> =
            ALL.iter().map(|f| f.name().to_owned()).filter(|n| Path::parse(n).is_some()).collect();
        for name in ["entities", "metadata", "relationships"] {
            paths.extend(["", "a", "a.b", "b", "é"].map(|k| format!("{name}.{k}")));
        }
        paths.sort();
        let parsed: Vec<Path<'_>> = paths.iter().filter_map(|p| Path::parse(p)).collect();
        assert_eq!(parsed.len(), paths.len());
        assert!(parsed.is_sorted());
        assert_eq!(parsed.iter().map(Path::to_string).collect::<Vec<_>>(), paths);
        for (i, f) in ALL.iter().enumerate() {
            assert_eq!((*f as u8, Field::from_code(*f as u8)), (i as u8 + 1, Some(*f)));
            assert_eq!(Field::from_name(f.name()), Some(*f));
        }
    }

    #[test]
    fn other_names_are_no_paths() {
        for p in ["", "content.x", "metadata", "meta", "status"] {
            assert_eq!(Path::parse(p), None, "{p}");
        }
    }
}
