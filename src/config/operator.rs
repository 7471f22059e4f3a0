//! The operators that a topology file can name, and how they may be joined.

/// What records are, so that an operator gets what it can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// As they come from a topic of the world.
    Message,
    /// Events in the compact form of the repartition topic, which only operators read.
    Event,
    /// Resolved memories, for the world.
    Memory,
    /// Conflict records, for the world.
    Conflict,
    /// What becomes of users' memories, in a form that only operators read.
    UserChange,
    /// User snapshots, for the world.
    UserSnapshot,
}

impl Form {
    /// What a message calls them.
    pub fn what(self) -> &'static str {
        match self {
            Form::Message => "messages as a source reads them",
            Form::Event => "decoded events",
            Form::Memory => "resolved memories",
            Form::Conflict => "conflict records",
            Form::UserChange => "changes of users' memories",
            Form::UserSnapshot => "user snapshots",
        }
    }

    /// Whether a topic of the world may hold them.
    pub fn is_public(self) -> bool {
        !matches!(self, Form::Event | Form::UserChange)
    }
}

/// What an operator takes and gives.
#[derive(Debug, PartialEq, Eq)]
pub struct Operator {
    /// Its name in the file.
    pub name: &'static str,
    /// What a person reads of it.
    pub what: &'static str,
    /// What it reads.
    pub takes: Form,
    /// Its outputs, each of which something must take: nothing is dropped in silence.
    pub outputs: &'static [(&'static str, Form)],
    /// Those of them that need not be taken: they are made where they are.
    pub optional: &'static [&'static str],
    /// How many stores it keeps.
    pub stores: usize,
    /// Whether it must read a repartition topic, since its state hangs on the key.
    pub keyed: bool,
}

/// All operators.
pub const OPERATORS: &[Operator] = &[
    Operator {
        name: "decode",
        what: "events of every encoding into one compact form, keyed by memory",
        takes: Form::Message,
        outputs: &[("events", Form::Event)],
        optional: &[],
        stores: 0,
        keyed: false,
    },
    Operator {
        name: "resolve",
        what: "applies events to memories",
        takes: Form::Event,
        outputs: &[("snapshots", Form::Memory), ("conflicts", Form::Conflict), ("users", Form::UserChange)],
        optional: &["users"],
        stores: 1,
        keyed: true,
    },
    Operator {
        name: "user_snapshots",
        what: "keeps users' memories, and emits users that have changed",
        takes: Form::UserChange,
        outputs: &[("snapshots", Form::UserSnapshot)],
        optional: &[],
        stores: 1,
        keyed: true,
    },
];

/// Those whose stores may have a `retention`.
pub const RETAINED: &[&str] = &["aggregate", "count"];

/// The operator of that name.
pub fn operator(name: &str) -> Option<&'static Operator> {
    OPERATORS.iter().find(|o| o.name == name)
}

impl Operator {
    /// What an output of it is; `None` where it has none of that name.
    pub fn output(&self, name: &str) -> Option<Form> {
        self.outputs.iter().find(|(output, _)| *output == name).map(|(_, form)| *form)
    }
}
