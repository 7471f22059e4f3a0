//! The operators that a topology file can name, what each is told by its keys, and how they may be joined.

/// What records are, so that an operator gets what it can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// As they come from a topic of the world.
    Message,
    /// JSON of any kind: messages that an operator has read, or what one has made.
    Json,
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
            Form::Json => "JSON as an operator reads or makes it",
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

    /// Whether they are told apart from others by a format of ours: `helixagent` and `avro` hold no other JSON.
    pub fn has_formats(self) -> bool {
        matches!(self, Form::Memory | Form::Conflict | Form::UserSnapshot)
    }
}

/// The form of an output's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputForm {
    /// Always this.
    Always(Form),
    /// What the operator takes, where messages are JSON once they are read.
    Same,
}

/// An output of an operator.
#[derive(Debug, PartialEq, Eq)]
pub struct Output {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub form: OutputForm,
    /// Whether nobody need take it.
    pub is_optional: bool,
}

/// What an operator takes and gives.
#[derive(Debug, PartialEq, Eq)]
pub struct Operator {
    /// Its name in the file.
    pub name: &'static str,
    /// What a person reads of it.
    pub what: &'static str,
    /// What it reads: all of one of these.
    pub takes: &'static [Form],
    /// Its outputs. Something must take each that is not optional: nothing is dropped in silence.
    pub outputs: &'static [Output],
    /// The key of `[[processor]]` whose tables name further outputs, each of what it takes.
    pub named_outputs: Option<&'static str>,
    /// The keys of `[[processor]]` that it is told by, and whether each must be there.
    pub keys: &'static [(&'static str, bool)],
    /// How many stores it keeps.
    pub stores: usize,
    /// Whether it must read a repartition topic, since its state hangs on the key.
    pub keyed: bool,
    /// Whether it must stand on a source's log, since it says where in it each record stood.
    pub of_source: bool,
}

const fn output(name: &'static str, form: OutputForm) -> Output {
    Output { name, form, is_optional: false }
}

const RECORDS: &[Output] = &[output("records", OutputForm::Same)];
const ANY_JSON: &[Form] = &[Form::Message, Form::Json, Form::Memory, Form::Conflict, Form::UserSnapshot];
const MADE: OutputForm = OutputForm::Always(Form::Json);

/// An operator without state that reads any JSON.
const fn plain(name: &'static str, what: &'static str, keys: &'static [(&'static str, bool)]) -> Operator {
    Operator {
        name,
        what,
        takes: ANY_JSON,
        outputs: RECORDS,
        named_outputs: None,
        keys,
        stores: 0,
        keyed: false,
        of_source: false,
    }
}

/// All operators.
pub const OPERATORS: &[Operator] = &[
    Operator {
        takes: &[Form::Message, Form::Json],
        outputs: &[output("events", OutputForm::Always(Form::Event))],
        of_source: true,
        ..plain("decode", "decodes events of every encoding into one compact form, keyed by memory", &[])
    },
    Operator {
        takes: &[Form::Event],
        outputs: &[
            output("snapshots", OutputForm::Always(Form::Memory)),
            output("conflicts", OutputForm::Always(Form::Conflict)),
            Output { name: "users", form: OutputForm::Always(Form::UserChange), is_optional: true },
        ],
        stores: 1,
        keyed: true,
        ..plain("resolve", "applies events to memories", &[])
    },
    Operator {
        takes: &[Form::UserChange],
        outputs: &[output("snapshots", OutputForm::Always(Form::UserSnapshot))],
        stores: 1,
        keyed: true,
        ..plain("user_snapshots", "stores the memories of users, and emits users that have changed", &[])
    },
    plain("filter", "passes on the records for which `when` is true", &[("when", true)]),
    Operator {
        outputs: &[output("records", MADE)],
        ..plain(
            "map",
            "changes the value of records: `value` as a whole, then only `keep`, without `drop`, with `set`",
            &[("value", false), ("keep", false), ("drop", false), ("set", false)],
        )
    },
    plain("rekey", "sets another `key`; `()` leaves a record out", &[("key", true)]),
    Operator {
        outputs: &[Output { name: OTHERWISE, form: OutputForm::Same, is_optional: true }],
        named_outputs: Some("branch"),
        ..plain("branch", "sends each record to the first `branch` whose `when` is true", &[("branch", true)])
    },
    Operator {
        outputs: &[output("aggregates", MADE)],
        stores: 1,
        keyed: true,
        ..plain(
            "aggregate",
            "stores an aggregate of the records of each key: `initial`, then `add` for each record",
            &[("initial", true), ("add", true)],
        )
    },
    Operator {
        outputs: &[output("aggregates", MADE)],
        stores: 1,
        keyed: true,
        ..plain(
            "count",
            "stores an object of counts for each key, by the result of `by` for each record",
            &[("by", true)],
        )
    },
];

/// Those whose stores may have a `retention`.
pub const RETAINED: &[&str] = &["aggregate", "count"];

/// The output of `branch` that its file does not name.
pub const OTHERWISE: &str = "otherwise";

/// The operator of that name.
pub fn operator(name: &str) -> Option<&'static Operator> {
    OPERATORS.iter().find(|o| o.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::PROCESSOR;

    #[test]
    fn operators_are_told_by_keys_that_are_there() {
        for (op, key) in OPERATORS.iter().flat_map(|op| op.keys.iter().map(move |(key, _)| (op.name, *key))) {
            assert!(PROCESSOR.keys.iter().any(|known| known.name == key && !known.needed), "{op}: {key}");
        }
        for op in OPERATORS {
            assert!(op.outputs.iter().all(|o| !o.name.contains('.')) && operator(op.name) == Some(op));
        }
    }
}
