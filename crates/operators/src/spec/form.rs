//! The forms of records on the edges of a topology, by which a topology file is checked.

/// The form of the records that an operator reads or emits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// Records as they are in the topic of a source, in any of the encodings that sources accept.
    Message,
    /// JSON of any kind: messages that an operator has read, or values that one has made.
    Json,
    /// Events in the compact form of the repartition topic, which only operators read.
    Event,
    /// Resolved memories, a public format.
    Memory,
    /// Conflict records, a public format.
    Conflict,
    /// Changes of users' memories, in a form that only operators read.
    UserChange,
    /// User snapshots, a public format.
    UserSnapshot,
}

impl Form {
    /// The name of the form in a message.
    pub fn what(self) -> &'static str {
        match self {
            Form::Message => "messages as a source reads them",
            Form::Json => "JSON as an operator reads or makes it",
            Form::Event => "decoded events",
            Form::Memory => "resolved memories",
            Form::Conflict => "conflict records",
            Form::UserChange => "changes of users' memories",
            Form::UserSnapshot => "user snapshots",
        }
    }

    /// Whether a topic that other programs read may hold such records.
    pub fn is_public(self) -> bool {
        !matches!(self, Form::Event | Form::UserChange)
    }

    /// Whether sinks can write such records as `helixagent` and `avro`, which have no place for
    /// other JSON.
    pub fn has_formats(self) -> bool {
        matches!(self, Form::Memory | Form::Conflict | Form::UserSnapshot)
    }
}

/// The forms that an operator reads which works on any JSON.
pub const ANY_JSON: &[Form] = &[Form::Message, Form::Json, Form::Memory, Form::Conflict, Form::UserSnapshot];

/// The form of an output's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputForm {
    /// Always this form.
    Always(Form),
    /// The form of the operator's input; messages are JSON once an operator has read them.
    Same,
}
