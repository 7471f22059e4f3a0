//! The shapes of the bodies of writes and searches, for the OpenAPI document. A test holds the
//! names of fields against those that the node reads.

use node::write::{MAX_ABSORBED, MAX_MEMORY_ID};

use crate::description::{Component, Member, Shape, optional, required};

/// A list of entities.
pub(crate) const ENTITIES: Shape = Shape::List { items: &Shape::Component(&ENTITY), least: 0 };
/// A list of relationships.
pub(crate) const RELATIONSHIPS: Shape = Shape::List { items: &Shape::Component(&RELATIONSHIP), least: 0 };

const CONFIDENCE: Member = optional("confidence", Shape::Number, "");
const STRENGTH: Member = optional("strength", Shape::Number, "");

static ENTITY: Component = Component {
    name: "Entity",
    description: "An entity. It may have other members, which are kept.",
    shape: Shape::OpenObject(&[&[required("id", Shape::Name, "")], ENTITY_MEMBERS]),
};

static RELATIONSHIP: Component = Component {
    name: "Relationship",
    description: "A relationship of two entities. It may have other members, which are kept.",
    shape: Shape::OpenObject(&[&[required("id", Shape::Name, "")], RELATIONSHIP_MEMBERS]),
};

const ENTITY_MEMBERS: &[Member] = &[optional("type", Shape::Text, ""), optional("name", Shape::Text, ""), CONFIDENCE];
const RELATIONSHIP_MEMBERS: &[Member] = &[
    optional("from_entity", Shape::Text, ""),
    optional("to_entity", Shape::Text, ""),
    optional("type", Shape::Text, ""),
    STRENGTH,
];
const ID_IN_PATH: Member = optional("id", Shape::Name, "Absent, or the id in the path.");

/// The body of an entity whose id the path has.
pub(crate) static NEW_ENTITY: Component = Component {
    name: "NewEntity",
    description: "An entity. It may have other members, which are kept.",
    shape: Shape::OpenObject(&[&[ID_IN_PATH], ENTITY_MEMBERS]),
};

/// The body of a relationship whose id the path has.
pub(crate) static NEW_RELATIONSHIP: Component = Component {
    name: "NewRelationship",
    description: "A relationship of two entities. It may have other members, which are kept.",
    shape: Shape::OpenObject(&[&[ID_IN_PATH], RELATIONSHIP_MEMBERS]),
};

/// The fields that a write may have, besides the memories that it absorbs.
const FIELD_MEMBERS: &[Member] = &[
    optional("user_id", Shape::Nullable(&Shape::Name), "The user whose memory it is."),
    optional("session_id", Shape::Nullable(&Shape::Name), "The session in which it was made."),
    optional("content", Shape::Nullable(&Shape::Text), "The text."),
    optional(
        "embedding",
        Shape::Nullable(&Shape::List { items: &Shape::Number, least: 0 }),
        "The embedding of the text.",
    ),
    optional("importance", Shape::Nullable(&Shape::Number), ""),
    optional(
        "expires_at",
        Shape::Nullable(&Shape::Time),
        "When the memory expires: the node deletes it {EXPIRY_GRACE} after this time. It lies in the metadata as \
         helixagent.expires_at; null is never.",
    ),
    optional("tags", Shape::Nullable(&Shape::List { items: &Shape::Text, least: 0 }), ""),
    optional("entities", Shape::Nullable(&ENTITIES), "Written by their ids; others stay."),
    optional("relationships", Shape::Nullable(&RELATIONSHIPS), "Written by their ids; others stay."),
    optional(
        "metadata",
        Shape::Nullable(&Shape::Map(&Shape::Any)),
        "Written key by key; null under a key clears that key, and other keys stay.",
    ),
];

const MERGED_FROM: Member =
    optional("merged_from", Shape::Nullable(&Shape::List { items: &Shape::Text, least: 0 }), "");

/// The body of a write.
pub(crate) static FIELDS: Component = Component {
    name: "Fields",
    description: "The fields of a memory that a caller may write. A field that is absent is not written; null clears it.",
    shape: Shape::Object(&[FIELD_MEMBERS, &[MERGED_FROM]]),
};

/// The body of a create.
pub(crate) static NEW_MEMORY: Component = Component {
    name: "NewMemory",
    description: "The fields of a new memory, and its id where the caller chooses it.",
    shape: Shape::Object(&[
        FIELD_MEMBERS,
        &[
            MERGED_FROM,
            optional(
                "memory_id",
                Shape::NameUpTo(MAX_MEMORY_ID),
                "The id, at most {MAX_MEMORY_ID} bytes; the node draws one where it is absent.",
            ),
        ],
    ]),
};

/// The body of a merge.
pub(crate) static MERGE: Component = Component {
    name: "Merge",
    description: "The memories that a memory absorbs, and fields of it to write.",
    shape: Shape::Object(&[
        FIELD_MEMBERS,
        &[
            required(
                "merged_from",
                Shape::ListUpTo { items: &Shape::Name, most: MAX_ABSORBED },
                "The memories that are absorbed.",
            ),
            optional(
                "clocks",
                Shape::Map(&Shape::Text),
                "The clock tokens of the absorbed memories by their ids, as If-Match has that of the memory itself. Of one \
                 that is absent, the write has seen what the session was shown, or else what the node shows.",
            ),
        ],
    ]),
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_fields_are_those_that_the_node_reads() {
        let described: BTreeSet<&str> = FIELDS.shape.members().map(|member| member.name).collect();
        let read: BTreeSet<&str> = node::write::FIELDS.into_iter().chain(["expires_at"]).collect();
        assert_eq!(described, read);
    }
}
