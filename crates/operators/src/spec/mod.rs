//! The specification of an operator: everything that a topology file, its JSON Schema, its
//! description and the program that runs it know about the operator. [`OperatorRegistry`] holds
//! those of a program.

mod build;
mod form;
mod registry;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use build::{BuildError, OperatorContext, ParameterValue, ProcessorSupplier, StoreContext};
pub use form::{ANY_JSON, Form, OutputForm};
pub use registry::{OperatorRegistry, RESERVED_KEYS, RegistryError};

/// The function that makes a [`ProcessorSupplier`] from a `[[processor]]` of a checked topology
/// file.
pub type Build = Arc<dyn Fn(&dyn OperatorContext) -> Result<ProcessorSupplier, BuildError> + Send + Sync>;

/// An operator, as a `[[processor]]` of a topology file names it.
#[derive(Clone)]
pub struct OperatorSpec {
    /// The name that `operator` of a `[[processor]]` has: letters, digits, `-` and `_`.
    pub name: &'static str,
    /// A description of one line, which the JSON Schema and `topology check` show.
    pub description: &'static str,
    /// The version of the code that `build` returns, for operators of a program's own. The
    /// instances of an application compare it: change it when the operator comes to emit other
    /// records for the same input, so that an old and a new program never process records side by
    /// side.
    pub version: &'static str,
    /// The forms of records that it reads; all inputs of a processor have one of them.
    pub accepts: Vec<Form>,
    /// Its outputs. A branch parameter adds further ones, whose names the file has.
    pub outputs: Vec<OutputSpec>,
    /// Its parameters: the keys of a `[[processor]]` beside those that every processor has.
    pub parameters: Vec<Parameter>,
    /// Behaviour of a processor that has none of the parameters ("changes nothing"), where that is
    /// an error.
    pub without_parameters: Option<&'static str>,
    /// How many stores it keeps.
    pub stores: usize,
    /// Whether its stores may have a `retention`.
    pub retention: RetentionSupport,
    /// Whether it must read from a repartition, since its state depends on all records of a key
    /// being together.
    pub is_keyed: bool,
    /// Whether it must read the records of a source as they are in the source's topic, since it
    /// notes the offset of each.
    pub reads_source: bool,
    /// Whether its store holds memories in the layout that `helixstream state` reads.
    pub stores_memories: bool,
    /// The tables of settings, such as `resolver`, on which its outputs depend; the instances of an
    /// application compare them.
    pub settings: &'static [&'static str],
    /// Makes the supplier of its processors.
    pub build: Build,
}

impl OperatorSpec {
    /// An operator without parameters and state that reads any JSON and has the one output
    /// `records` in the form of its input. Set the other fields by a struct update:
    /// `OperatorSpec { stores: 1, is_keyed: true, ..OperatorSpec::new(…) }`.
    pub fn new(
        name: &'static str,
        description: &'static str,
        build: impl Fn(&dyn OperatorContext) -> Result<ProcessorSupplier, BuildError> + Send + Sync + 'static,
    ) -> OperatorSpec {
        OperatorSpec {
            name,
            description,
            version: "",
            accepts: ANY_JSON.to_vec(),
            outputs: vec![OutputSpec::required("records", OutputForm::Same)],
            parameters: Vec::new(),
            without_parameters: None,
            stores: 0,
            retention: RetentionSupport::Unsupported,
            is_keyed: false,
            reads_source: false,
            stores_memories: false,
            settings: &[],
            build: Arc::new(build),
        }
    }

    /// A parameter by its name.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }

    /// Whether one of its outputs always has this form.
    pub fn produces(&self, form: Form) -> bool {
        self.outputs.iter().any(|output| output.form == OutputForm::Always(form))
    }
}

impl fmt::Debug for OperatorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperatorSpec").field("name", &self.name).field("version", &self.version).finish_non_exhaustive()
    }
}

/// A registry has one operator of a name, so name and version identify it.
impl PartialEq for OperatorSpec {
    fn eq(&self, other: &OperatorSpec) -> bool {
        (self.name, self.version) == (other.name, other.version)
    }
}

impl Eq for OperatorSpec {}

/// An output of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSpec {
    /// Its name: `from` of other nodes has it as `processor.output`.
    pub name: &'static str,
    /// The form of its records.
    pub form: OutputForm,
    /// Whether it is correct that no node reads it. Otherwise `topology check` refuses such a file:
    /// no record is lost unnoticed.
    pub is_optional: bool,
    /// The records that it has, for a message: "records that match no branch".
    pub description: &'static str,
}

impl OutputSpec {
    /// An output that some node must read.
    pub const fn required(name: &'static str, form: OutputForm) -> OutputSpec {
        OutputSpec { name, form, is_optional: false, description: "" }
    }

    /// An output that no node needs to read.
    pub const fn optional(name: &'static str, form: OutputForm) -> OutputSpec {
        OutputSpec { name, form, is_optional: true, description: "" }
    }
}

/// Whether the stores of an operator may have a `retention`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionSupport {
    /// Yes: a key that is gone means nothing to the operator. It keeps its rows in a
    /// [`streams::processor::Retained`], and is punctuated at the interval of that.
    Supported,
    /// No.
    Unsupported,
    /// No, and this setting is what its user probably looks for: "to forget …, set …".
    Instead(&'static str),
}

/// A parameter of an operator: a key of `[[processor]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// The key.
    pub name: &'static str,
    /// The values that it may have. Operators that share a name of a parameter share its kind.
    pub kind: ParameterKind,
    /// A value as TOML, which messages and the JSON Schema show.
    pub example: &'static str,
    /// A description of one line, which editors show.
    pub description: &'static str,
    /// Whether a processor must have it.
    pub is_required: bool,
}

impl Parameter {
    /// A parameter that every processor of the operator has.
    pub const fn required(
        name: &'static str,
        kind: ParameterKind,
        example: &'static str,
        description: &'static str,
    ) -> Parameter {
        Parameter { name, kind, example, description, is_required: true }
    }

    /// A parameter that a processor may leave out.
    pub const fn optional(
        name: &'static str,
        kind: ParameterKind,
        example: &'static str,
        description: &'static str,
    ) -> Parameter {
        Parameter { name, kind, example, description, is_required: false }
    }
}

/// The values that a parameter may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// An expression over a record.
    Expression,
    /// An expression over a record and the aggregate of the records before it.
    AggregateExpression,
    /// A table of expressions by the paths of fields.
    Expressions,
    /// Paths of fields: a list, or one alone.
    Fields,
    /// A list of tables with `name` and `when`, each of which adds an output of that name.
    Branches,
    /// Any string.
    Text,
    /// One of these names, separated by `, `.
    Choice(&'static str),
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Number {
        /// The least.
        min: u64,
        /// The greatest.
        max: u64,
    },
    /// A time with its unit, such as `2s`.
    Duration {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
}
