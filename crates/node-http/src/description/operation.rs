//! The description of one method of a route.

use super::error_kind::ErrorKind;
use super::shape::Shape;

/// A method of a route.
pub(crate) struct Operation {
    /// Its id, which clients that are generated name their function by.
    pub id: &'static str,
    /// The group that it belongs to.
    pub tag: Tag,
    /// Its effect in a few words.
    pub summary: &'static str,
    /// Its effect in detail; empty where the summary says it all.
    pub description: &'static str,
    /// Whether it reads although its method is none of reading: a token needs the right `read`,
    /// too.
    pub is_reading: bool,
    /// Its parameters: those of the query that are not among them are refused.
    pub parameters: &'static [&'static Parameter],
    /// Its body.
    pub body: Option<RequestBody>,
    /// Its answers, one for each status.
    pub answers: &'static [AnswerDescription],
    /// The errors that it answers with, besides those of the server.
    pub errors: &'static [&'static [&'static ErrorKind]],
}

impl Operation {
    /// A description without any part.
    pub const EMPTY: Operation = Operation {
        id: "",
        tag: Tag::Memories,
        summary: "",
        description: "",
        is_reading: false,
        parameters: &[],
        body: None,
        answers: &[],
        errors: &[],
    };

    /// The names of the query parameters.
    pub fn query_names(&self) -> impl Iterator<Item = &'static str> {
        self.parameters
            .iter()
            .filter(|parameter| parameter.place == ParameterPlace::Query)
            .map(|parameter| parameter.name)
    }
}

/// Groups of operations.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tag {
    Memories,
    Search,
    Parts,
    Changes,
    Sync,
    Node,
    Mem0,
}

impl Tag {
    /// All groups, in the order of the document.
    pub const ALL: [Tag; 7] = [Tag::Memories, Tag::Search, Tag::Parts, Tag::Changes, Tag::Sync, Tag::Node, Tag::Mem0];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Tag::Memories => "memories",
            Tag::Search => "search",
            Tag::Parts => "entities and relationships",
            Tag::Changes => "events and history",
            Tag::Sync => "synchronisation",
            Tag::Node => "node",
            Tag::Mem0 => "Mem0",
        }
    }

    /// Its contents in a sentence.
    pub fn description(self) -> &'static str {
        match self {
            Tag::Memories => "Memories: create, read, write, delete, merge, list.",
            Tag::Search => "Search by words, by an embedding, or by both.",
            Tag::Parts => "The entities and relationships of a memory, each by its id.",
            Tag::Changes => "Events of a memory, its history, its conflicts, and all changes as they come.",
            Tag::Sync => "The state of the node beside the stream, and user snapshots.",
            Tag::Node => "The nodes, and this document.",
            Tag::Mem0 => {
                "Mem0's API, for Mem0's own clients under /mem0, and for HelixAgent's memory client at the root, too. \
                 docs/mem0.md says how it differs from Mem0. Paths of Mem0 that a node does not have are answered with \
                 501 (HS8080) whatever the method is; of each of them one method is listed."
            }
        }
    }
}

/// A parameter of a path, a query or a header.
pub(crate) struct Parameter {
    /// The name by which operations refer to it in the document; two parameters of one name have
    /// two.
    pub key: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Where it stands.
    pub place: ParameterPlace,
    /// Its values.
    pub shape: Shape,
    /// Whether a request must have it.
    pub is_required: bool,
    /// Its effect.
    pub description: &'static str,
}

/// Where a parameter stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParameterPlace {
    Path,
    Query,
    Header,
}

impl Parameter {
    /// A parameter of the query that may be absent.
    pub const fn query(name: &'static str, shape: Shape, description: &'static str) -> Parameter {
        Parameter { key: name, name, place: ParameterPlace::Query, shape, is_required: false, description }
    }

    /// A parameter of the path.
    pub const fn path(name: &'static str, shape: Shape, description: &'static str) -> Parameter {
        Parameter { key: name, name, place: ParameterPlace::Path, shape, is_required: true, description }
    }

    /// A header that may be absent.
    pub const fn header(name: &'static str, shape: Shape, description: &'static str) -> Parameter {
        Parameter { key: name, name, place: ParameterPlace::Header, shape, is_required: false, description }
    }

    /// The parameter under this key.
    pub const fn keyed(mut self, key: &'static str) -> Parameter {
        self.key = key;
        self
    }

    /// The parameter that a request must have.
    pub const fn required(mut self) -> Parameter {
        self.is_required = true;
        self
    }
}

/// The body of a request.
pub(crate) struct RequestBody {
    /// Its contents.
    pub description: &'static str,
    /// The media types that are read.
    pub media_types: &'static [&'static str],
    /// Its values.
    pub shape: Shape,
}

/// An answer that is no error.
pub(crate) struct AnswerDescription {
    /// Its status.
    pub status: u16,
    /// Its contents, or what has happened.
    pub description: &'static str,
    /// Its headers.
    pub headers: &'static [&'static AnswerHeader],
    /// The media type of its body.
    pub media_type: &'static str,
    /// The values of its body.
    pub shape: Shape,
}

impl AnswerDescription {
    /// An answer of JSON with the status 200.
    pub const fn ok(description: &'static str, shape: Shape) -> AnswerDescription {
        AnswerDescription { status: 200, description, headers: &[], media_type: "application/json", shape }
    }

    /// The answer with another status.
    pub const fn with_status(mut self, status: u16) -> AnswerDescription {
        self.status = status;
        self
    }

    /// The answer with headers.
    pub const fn with_headers(mut self, headers: &'static [&'static AnswerHeader]) -> AnswerDescription {
        self.headers = headers;
        self
    }
}

/// A header of an answer.
pub(crate) struct AnswerHeader {
    /// Its name.
    pub name: &'static str,
    /// Its meaning.
    pub description: &'static str,
}
