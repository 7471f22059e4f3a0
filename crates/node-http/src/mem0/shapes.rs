//! The shapes of bodies and answers of Mem0's API, for the OpenAPI document.

use super::body::{SETTINGS, UNSUPPORTED_SETTINGS};
use super::expiration::{MEMBER, SHOW_EXPIRED};
use crate::answer_shapes::TEXTS;
use crate::description::{Component, Member, Shape, optional, required};

const OPTIONAL_TEXT: Shape = Shape::Nullable(&Shape::Text);
const OPTIONAL_TEXTS: Shape = Shape::Nullable(&TEXTS);
const OPTIONAL_OBJECT: Shape = Shape::Nullable(&Shape::Map(&Shape::Any));

/// The members of a memory.
const MEMORY_MEMBERS: [Member; 13] = [
    required("agent_id", OPTIONAL_TEXT, ""),
    required("app_id", OPTIONAL_TEXT, ""),
    required("categories", TEXTS, ""),
    required("created_at", Shape::Time, ""),
    required(MEMBER, OPTIONAL_TEXT, "The last day on which it is shown, in UTC."),
    required("id", Shape::Name, ""),
    required("memory", Shape::Text, "The text."),
    required("metadata", Shape::Map(&Shape::Any), ""),
    required("role", Shape::Text, "The role of the message that it was added by."),
    required("run_id", OPTIONAL_TEXT, "The same as `session_id`."),
    required("session_id", OPTIONAL_TEXT, ""),
    required("updated_at", Shape::Time, ""),
    required("user_id", OPTIONAL_TEXT, ""),
];

/// The same members, each of which may be absent.
const SELECTED_MEMBERS: [Member; 13] = {
    let mut members = MEMORY_MEMBERS;
    let mut at = 0;
    while at < members.len() {
        members[at].is_required = false;
        at += 1;
    }
    members
};

/// A memory.
pub(super) static MEMORY: Component = Component {
    name: "Mem0Memory",
    description: "A memory as clients of Mem0's API see it.",
    shape: Shape::Object(&[&MEMORY_MEMBERS]),
};

/// A memory in a list whose client may have asked for some members alone.
pub(super) static SELECTED_MEMORY: Component = Component {
    name: "Mem0SelectedMemory",
    description: "A memory as clients of Mem0's API see it, with the members that `fields` names, or with all.",
    shape: Shape::Object(&[
        &SELECTED_MEMBERS,
        &[optional("score", Shape::Share { default: None }, "Of a search: from 0 to 1, by the words of the query.")],
    ]),
};

/// The memories of a list.
pub(super) const MEMORIES: Shape = Shape::List { items: &Shape::Component(&MEMORY), least: 0 };
/// The memories of a search or a page.
pub(super) const SELECTED_MEMORIES: Shape = Shape::List { items: &Shape::Component(&SELECTED_MEMORY), least: 0 };

static ADDED: Component = Component {
    name: "Mem0Added",
    description: "The memory of a message or of a fact, and what has become of it.",
    shape: Shape::Object(&[&[
        required("data", Shape::Object(&[&[required("memory", Shape::Text, "")]]), ""),
        required(
            "event",
            Shape::Words(&["ADD", "UPDATE", "NONE"]),
            "ADD: it is new. UPDATE: it was there with other metadata. NONE: all was there.",
        ),
        optional("event_id", Shape::Name, "The id of the event, where something was written."),
        required("id", Shape::Name, ""),
        required("memory", Shape::Text, "The text."),
    ]]),
};

/// The answer of an add.
pub(super) const ADDED_LIST: Shape = Shape::List { items: &Shape::Component(&ADDED), least: 0 };

/// A change of a memory.
pub(super) static HISTORY_ENTRY: Component = Component {
    name: "Mem0HistoryEntry",
    description: "A change of a memory.",
    shape: Shape::Object(&[&[
        required("action", Shape::Words(&["ADD", "UPDATE", "DELETE"]), "The same as `event`."),
        required("actor_id", OPTIONAL_TEXT, "The writer of its event, where that is known."),
        required("created_at", Shape::Nullable(&Shape::Time), ""),
        required("event", Shape::Words(&["ADD", "UPDATE", "DELETE"]), ""),
        required("id", Shape::Name, "The id of the event, where one event alone has made the change."),
        required("input", Shape::List { items: &Shape::Any, least: 0 }, ""),
        required("memory_id", Shape::Name, ""),
        required("new_memory", OPTIONAL_TEXT, "The text after it."),
        required("new_value", OPTIONAL_TEXT, "The same as `new_memory`."),
        required("old_memory", OPTIONAL_TEXT, "The text before it."),
        required("old_value", OPTIONAL_TEXT, "The same as `old_memory`."),
        required("updated_at", Shape::Nullable(&Shape::Time), ""),
        required("user_id", OPTIONAL_TEXT, ""),
    ]]),
};

/// A page of memories.
pub(super) static PAGE: Component = Component {
    name: "Mem0Page",
    description: "A page of memories.",
    shape: Shape::Object(&[&[
        required("count", Shape::Count, "All memories that pass."),
        required("next", OPTIONAL_TEXT, "The path of the next page."),
        required("previous", OPTIONAL_TEXT, "The path of the page before."),
        required("results", SELECTED_MEMORIES, ""),
    ]]),
};

/// The users, agents, apps and runs that have memories.
pub(super) static ENTITIES: Component = Component {
    name: "Mem0Entities",
    description: "The users, agents, apps and runs that have memories.",
    shape: Shape::Object(&[&[
        required("count", Shape::Count, ""),
        required("next", OPTIONAL_TEXT, ""),
        required("previous", OPTIONAL_TEXT, ""),
        required("results", Shape::List { items: &Shape::Component(&ENTITY), least: 0 }, ""),
        required("total_agents", Shape::Count, ""),
        required("total_apps", Shape::Count, ""),
        required("total_runs", Shape::Count, ""),
        required("total_users", Shape::Count, ""),
    ]]),
};

static ENTITY: Component = Component {
    name: "Mem0Entity",
    description: "A user, an agent, an app or a run.",
    shape: Shape::Object(&[&[
        required("created_at", Shape::Time, "The time of its first memory."),
        required("id", Shape::Name, "The same as `name`."),
        required("name", Shape::Name, ""),
        required("owner", Shape::Text, "The name of the token that asks."),
        required("total_memories", Shape::Ordinal, ""),
        required("type", ENTITY_TYPE, ""),
        required("updated_at", Shape::Time, "The time of its last memory."),
    ]]),
};

/// The types of entities.
pub(super) const ENTITY_TYPE: Shape = Shape::Words(&["user", "agent", "app", "run"]);

/// The answer of a call that only says that it is done.
pub(super) static MESSAGE: Component = Component {
    name: "Mem0Message",
    description: "The outcome in words.",
    shape: Shape::Object(&[&[
        optional("cascade_count", Shape::Count, "With delete_linked=true: 0, as there are no linked memories here."),
        required("message", Shape::Text, ""),
    ]]),
};

/// The members by which a body names entities.
pub(super) const ENTITY_MEMBERS: &[Member] = &[
    optional("agent_id", OPTIONAL_TEXT, "The agent."),
    optional("app_id", OPTIONAL_TEXT, "The app."),
    optional("run_id", OPTIONAL_TEXT, "The session, as Mem0 calls it."),
    optional("session_id", OPTIONAL_TEXT, "The session, as HelixAgent calls it."),
    optional("user_id", OPTIONAL_TEXT, "The user."),
];

/// The members by which a search names entities: an empty name would mean all.
pub(super) const NAMED_ENTITY_MEMBERS: &[Member] = &[
    optional("agent_id", Shape::Name, "Memories of this agent alone."),
    optional("app_id", Shape::Name, "Memories of this app alone."),
    optional("run_id", Shape::Name, "Memories of this session alone."),
    optional("session_id", Shape::Name, "Memories of this session alone."),
    optional("user_id", Shape::Name, "Memories of this user alone."),
];

/// The members of an update.
pub(super) const UPDATE_MEMBERS: &[Member] = &[
    EXPIRATION,
    optional("memory", OPTIONAL_TEXT, "The new text, as HelixAgent calls it; `text` goes before."),
    optional("memory_id", OPTIONAL_TEXT, "Absent, or the id in the path."),
    METADATA_TO_WRITE,
    TEXT_TO_WRITE,
];
const METADATA_TO_WRITE: Member =
    optional("metadata", OPTIONAL_OBJECT, "Written key by key; null under a key clears it, and other keys stay.");
const EXPIRATION: Member = optional(
    MEMBER,
    OPTIONAL_TEXT,
    "The last day on which the memory is shown, in UTC, such as 2026-11-28. The node deletes the memory {EXPIRY_GRACE} \
         after that day ends. Null: it never expires.",
);
const TEXT_TO_WRITE: Member = optional("text", OPTIONAL_TEXT, "The new text.");

/// The body of an update.
pub(super) static UPDATE: Component = Component {
    name: "Mem0Update",
    description: "At least one of the new text, metadata and `expiration_date`.",
    shape: Shape::Object(&[UPDATE_MEMBERS, &SETTINGS, &UNSUPPORTED_SETTINGS]),
};

/// The members of an item of a batch of updates.
pub(super) const BATCH_UPDATE_MEMBERS: &[Member] = &[EXPIRATION, MEMORY_ID, METADATA_TO_WRITE, TEXT_TO_WRITE];
/// The members of an item of a batch of deletes.
pub(super) const BATCH_DELETE_MEMBERS: &[Member] = &[MEMORY_ID];
const MEMORY_ID: Member = required("memory_id", Shape::Name, "");

/// The members of a message.
pub(super) const MESSAGE_MEMBERS: &[Member] = &[
    required("content", Shape::Name, "The text, which is not all white space."),
    optional("role", OPTIONAL_TEXT, "The speaker of the message: `user` where it is absent."),
];

/// The members of an add beside its messages.
pub(super) const ADD_MEMBERS: &[Member] = &[
    optional("categories", OPTIONAL_TEXTS, ""),
    EXPIRATION,
    optional(
        "filters",
        Shape::Nullable(&Shape::Object(&[ENTITY_MEMBERS, &UNSUPPORTED_SETTINGS])),
        "Names of entities, where they are not beside it.",
    ),
    optional("metadata", OPTIONAL_OBJECT, "Metadata of each memory."),
];

/// The members by which a search or a page chooses memories and their members.
pub(super) const CHOICE_MEMBERS: &[Member] = &[
    optional("categories", OPTIONAL_TEXTS, "Memories of one of these categories."),
    optional("fields", OPTIONAL_TEXTS, "The members of memories that the answer is to have; none is all."),
    optional(SHOW_EXPIRED, Shape::Nullable(&Shape::Boolean), "Whether memories whose last day is over are shown."),
    optional("metadata", OPTIONAL_OBJECT, "Memories with these keys and values in their metadata."),
];

/// Conditions on memories.
pub(super) const FILTERS: Shape = Shape::Component(&CONDITIONS);
/// Conditions of HelixAgent's searches, which have keys of metadata among them.
pub(super) const OPEN_FILTERS: Shape = Shape::Component(&OPEN_CONDITIONS);

static CONDITIONS: Component = Component {
    name: "Mem0Filters",
    description: "Conditions, all of which hold. A request has at most {MOST_CONDITIONS}, of which at most \
                  {MOST_TEXT_CONDITIONS} are on the text.",
    shape: Shape::Object(&[
        FILTER_MEMBERS,
        &[
            optional("AND", Shape::Component(&PARTS), "All of these hold."),
            optional("OR", Shape::Component(&PARTS), "One of these holds."),
            optional("NOT", Shape::Component(&PARTS), "None of these holds."),
        ],
    ]),
};
static PARTS: Component = Component {
    name: "Mem0FilterParts",
    description: "Conditions, or a list of them.",
    shape: Shape::Either(&[
        Shape::Component(&CONDITIONS),
        Shape::List { items: &Shape::Component(&CONDITIONS), least: 0 },
    ]),
};

static OPEN_CONDITIONS: Component = Component {
    name: "Mem0OpenFilters",
    description: "Conditions, all of which hold. A key that is not listed is one of the metadata, with its value. A \
                  request has at most {MOST_CONDITIONS}, of which at most {MOST_TEXT_CONDITIONS} are on the text.",
    shape: Shape::OpenObject(&[
        FILTER_MEMBERS,
        &[
            optional("AND", Shape::Component(&OPEN_PARTS), "All of these hold."),
            optional("OR", Shape::Component(&OPEN_PARTS), "One of these holds."),
            optional("NOT", Shape::Component(&OPEN_PARTS), "None of these holds."),
        ],
    ]),
};
static OPEN_PARTS: Component = Component {
    name: "Mem0OpenFilterParts",
    description: "Conditions, or a list of them.",
    shape: Shape::Either(&[
        Shape::Component(&OPEN_CONDITIONS),
        Shape::List { items: &Shape::Component(&OPEN_CONDITIONS), least: 0 },
    ]),
};

const FILTER_MEMBERS: &[Member] = &[
    optional("agent_id", NAME_CONDITION, ""),
    optional("app_id", NAME_CONDITION, ""),
    optional("categories", CATEGORY_CONDITION, ""),
    optional("created_at", TIME_CONDITION, ""),
    optional("keywords", TEXT_CONDITION, "A part of the text."),
    optional("memory_ids", Shape::Any, "A list of ids."),
    optional(
        "metadata",
        Shape::Map(&Shape::Any),
        "Keys with their values; or `eq`, `ne`, `contains` with such an object.",
    ),
    optional("run_id", NAME_CONDITION, ""),
    optional("session_id", NAME_CONDITION, "The same as `run_id`."),
    optional("text", TEXT_CONDITION, "A part of the text."),
    optional("updated_at", TIME_CONDITION, ""),
    optional("user_id", NAME_CONDITION, ""),
];
const NAME_CONDITION: Shape = Shape::Component(&NAMES);
const CATEGORY_CONDITION: Shape = Shape::Component(&CATEGORIES);
const TIME_CONDITION: Shape = Shape::Component(&TIMES);
const TEXT_CONDITION: Shape = Shape::Component(&PART_OF_TEXT);
const NAME_OR_NULL: Shape = Shape::Nullable(&Shape::Name);

static NAMES: Component = Component {
    name: "Mem0NameCondition",
    description: "A name; `*` for any; null for none; or an object of operators.",
    shape: Shape::Either(&[
        NAME_OR_NULL,
        Shape::Object(&[&[
            optional("eq", NAME_OR_NULL, ""),
            optional("in", Shape::List { items: &NAME_OR_NULL, least: 0 }, ""),
            optional("ne", NAME_OR_NULL, ""),
        ]]),
    ]),
};
static CATEGORIES: Component = Component {
    name: "Mem0CategoryCondition",
    description: "A category, a list of which one is there, or an object of operators: `contains` has a part of a \
                  category, in any case of letters.",
    shape: Shape::Either(&[
        Shape::Text,
        TEXTS,
        Shape::Object(&[&[
            optional("contains", Shape::Text, ""),
            optional("eq", Shape::Any, ""),
            optional("in", TEXTS, ""),
        ]]),
    ]),
};
static TIMES: Component = Component {
    name: "Mem0TimeCondition",
    description: "A time with a zone, or a date, which is the whole day; or an object of operators.",
    shape: Shape::Either(&[
        Shape::Text,
        Shape::Object(&[&[
            optional("eq", Shape::Text, ""),
            optional("gt", Shape::Text, ""),
            optional("gte", Shape::Text, ""),
            optional("lt", Shape::Text, ""),
            optional("lte", Shape::Text, ""),
            optional("ne", Shape::Text, ""),
        ]]),
    ]),
};
static PART_OF_TEXT: Component = Component {
    name: "Mem0TextCondition",
    description: "A part of the text, or an object of operators: `icontains` is in any case of letters.",
    shape: Shape::Either(&[
        Shape::Text,
        Shape::Object(&[&[
            optional("contains", Shape::Text, ""),
            optional("eq", Shape::Text, ""),
            optional("icontains", Shape::Text, ""),
        ]]),
    ]),
};
