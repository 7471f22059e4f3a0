//! The codes of the problems of a configuration. A code names a kind of trouble by its cause and
//! remedy; `docs/operations.md` has an entry for each, which `helixstream explain` prints.

/// A text is not TOML.
pub const NOT_TOML: &str = "HS0011";
/// A variable that the file names has no value and no default.
pub const UNSET_VARIABLE: &str = "HS0012";
/// A text begins as a reference to a variable does, and is none.
pub const MALFORMED_VARIABLE: &str = "HS0013";
/// There is no such key, table or setting.
pub const UNKNOWN_KEY: &str = "HS0014";
/// A key or table that is required is not there.
pub const MISSING_KEY: &str = "HS0015";
/// A value is of another TOML type than its key has.
pub const WRONG_TYPE: &str = "HS0016";
/// A value is empty where something must be named.
pub const EMPTY_VALUE: &str = "HS0017";
/// A value is not one of those allowed, or outside of the allowed range.
pub const INVALID_VALUE: &str = "HS0018";
/// A name has characters or a length that topics, groups or metrics cannot have.
pub const INVALID_NAME: &str = "HS0019";
/// There is no field of that path.
pub const INVALID_FIELD_PATH: &str = "HS0020";
/// Two settings exclude each other, or set the same.
pub const CONFLICTING_SETTINGS: &str = "HS0021";
/// A table has one bracket and needs two, or the other way round.
pub const WRONG_BRACKETS: &str = "HS0022";
/// A key of `[kafka]` has no use with the chosen `security` or `mechanism`.
pub const UNUSED_KAFKA_KEY: &str = "HS0023";
/// A key of `[kafka]` is missing that the chosen `security` or `mechanism` needs.
pub const MISSING_KAFKA_KEY: &str = "HS0024";
/// Commits are further apart than a transaction may last.
pub const COMMIT_INTERVAL_TOO_LONG: &str = "HS0025";
/// Two nodes, stores, outputs or scripts have the same name.
pub const DUPLICATE_NAME: &str = "HS0030";
/// A name has a meaning of its own.
pub const RESERVED_NAME: &str = "HS0031";
/// There is no such operator.
pub const UNKNOWN_OPERATOR: &str = "HS0032";
/// An operator has no such parameter.
pub const UNKNOWN_PARAMETER: &str = "HS0033";
/// A `map` changes nothing.
pub const EMPTY_MAP: &str = "HS0034";
/// `set` makes one field twice, or a field within another.
pub const OVERLAPPING_FIELDS: &str = "HS0035";
/// A processor names more or fewer stores than its operator has.
pub const WRONG_NUMBER_OF_STORES: &str = "HS0036";
/// An operator with state by key does not read from a repartition.
pub const MISSING_REPARTITION: &str = "HS0037";
/// `from` names a node that does not exist.
pub const UNKNOWN_NODE: &str = "HS0038";
/// `from` names a sink.
pub const INPUT_FROM_SINK: &str = "HS0039";
/// `from` names no output of a processor, or one that does not exist.
pub const UNKNOWN_OUTPUT: &str = "HS0040";
/// A sink or repartition reads from a source or repartition without a processor between them.
pub const NO_PROCESSOR_BETWEEN: &str = "HS0041";
/// Two sources read the same topic.
pub const TOPIC_READ_TWICE: &str = "HS0042";
/// A sink writes to a topic that a source reads.
pub const TOPIC_READ_AND_WRITTEN: &str = "HS0043";
/// Two sinks write to a topic that they cannot share.
pub const TOPIC_WRITTEN_TWICE: &str = "HS0044";
/// A source or sink names an internal topic.
pub const INTERNAL_TOPIC: &str = "HS0045";
/// A processor names a store that is not defined.
pub const UNKNOWN_STORE: &str = "HS0046";
/// Two processors have the same store.
pub const SHARED_STORE: &str = "HS0047";
/// No processor has the store.
pub const UNUSED_STORE: &str = "HS0048";
/// A store has a `retention` that its operator does not support.
pub const UNSUPPORTED_RETENTION: &str = "HS0049";
/// The topology has no source.
pub const NO_SOURCE: &str = "HS0050";
/// No node reads an output.
pub const UNUSED_OUTPUT: &str = "HS0051";
/// Nodes form a cycle.
pub const CYCLE: &str = "HS0052";
/// No record reaches a node.
pub const UNREACHABLE_NODE: &str = "HS0053";
/// A node reads from several sources or repartitions.
pub const SEVERAL_LOGS: &str = "HS0054";
/// An operator cannot read the records of its input.
pub const UNREADABLE_INPUT: &str = "HS0055";
/// A node has inputs of records that cannot be mixed.
pub const MIXED_INPUTS: &str = "HS0056";
/// A sink reads records of an internal form.
pub const INTERNAL_RECORDS: &str = "HS0057";
/// A sink's format cannot represent the records.
pub const UNSUPPORTED_FORMAT: &str = "HS0058";
/// `decode` does not read records as they stand in their source's topic.
pub const DECODE_NOT_AT_SOURCE: &str = "HS0059";
/// A text is not an expression.
pub const INVALID_EXPRESSION: &str = "HS7001";
/// A text is not a script.
pub const INVALID_SCRIPT: &str = "HS7002";
/// The file of a script cannot be read.
pub const UNREADABLE_SCRIPT: &str = "HS7003";
/// A script does not define the function that is called.
pub const NO_SCRIPT_FUNCTION: &str = "HS7004";
/// A strategy is `custom`, and no custom resolver decides.
pub const NO_CUSTOM_RESOLVER: &str = "HS7005";
