//! The operators that a topology file can name, and how they may be joined.

/// What an operator takes and gives.
#[derive(Debug, PartialEq, Eq)]
pub struct Operator {
    /// Its name in the file.
    pub name: &'static str,
    /// What a person reads of it.
    pub what: &'static str,
    /// Its outputs, each of which something must take: nothing is dropped in silence.
    pub outputs: &'static [&'static str],
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
        outputs: &["events"],
        stores: 0,
        keyed: false,
    },
    Operator {
        name: "resolve",
        what: "applies events to memories",
        outputs: &["snapshots", "conflicts"],
        stores: 1,
        keyed: true,
    },
];

/// The operator of that name.
pub fn operator(name: &str) -> Option<&'static Operator> {
    OPERATORS.iter().find(|o| o.name == name)
}
