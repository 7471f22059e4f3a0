//! Input and result of an operator's `build`.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::super::{Input, Outputs};
use streams::ports::Expressions;
use streams::processor::Processor;

/// A `[[processor]]` of a checked topology file, as the `build` of its operator sees it.
pub trait OperatorContext {
    /// The processor's name in the file.
    fn name(&self) -> &str;

    /// The application id.
    fn application_id(&self) -> &str;

    /// The processor's stores, in the file's order; as many as the operator keeps.
    fn stores(&self) -> Vec<StoreContext>;

    /// How the processor reads its records as JSON.
    ///
    /// # Errors
    /// The key of a source is not an expression.
    fn input(&self) -> Result<Input, BuildError>;

    /// The nodes that read an output; none where nobody does.
    ///
    /// # Errors
    /// The key of a sink is not an expression.
    fn output(&self, name: &str) -> Result<Outputs, BuildError>;

    /// The outputs that the file names in a branch parameter, in its order.
    fn branches(&self) -> Vec<String>;

    /// The expressions of these parameters, in the order of the parameters and the file. They are
    /// evaluated together, so that the record is read once.
    ///
    /// # Errors
    /// A text is not an expression, which the check of the file reports.
    fn expressions(&self, parameters: &[&str]) -> Result<Arc<dyn Expressions>, BuildError>;

    /// The value of a parameter that is no expression, and the paths of a table of expressions;
    /// `None` where the file does not have it.
    fn parameter(&self, name: &str) -> Option<ParameterValue>;

    /// Whether the file has the parameter.
    fn has(&self, parameter: &str) -> bool;

    /// Additions of the program besides the file: settings and connections, in a type that the
    /// operators of the program know.
    fn environment(&self) -> &dyn Any;
}

impl dyn OperatorContext + '_ {
    /// The only store, or the first one.
    ///
    /// # Errors
    /// The operator keeps no store.
    pub fn store(&self) -> Result<StoreContext, BuildError> {
        self.stores().into_iter().next().ok_or(BuildError::NoStore)
    }

    /// A whole number.
    ///
    /// # Errors
    /// The file does not have it, or it is of another kind.
    pub fn number(&self, parameter: &str) -> Result<u64, BuildError> {
        match self.parameter(parameter) {
            Some(ParameterValue::Number(number)) => Ok(number),
            _ => Err(BuildError::missing(parameter, "number")),
        }
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// The file does not have it, or it is of another kind.
    pub fn boolean(&self, parameter: &str) -> Result<bool, BuildError> {
        match self.parameter(parameter) {
            Some(ParameterValue::Boolean(value)) => Ok(value),
            _ => Err(BuildError::missing(parameter, "boolean")),
        }
    }

    /// A string, or the name that was chosen.
    ///
    /// # Errors
    /// The file does not have it, or it is of another kind.
    pub fn text(&self, parameter: &str) -> Result<String, BuildError> {
        match self.parameter(parameter) {
            Some(ParameterValue::Text(text)) => Ok(text),
            _ => Err(BuildError::missing(parameter, "string")),
        }
    }

    /// A time.
    ///
    /// # Errors
    /// The file does not have it, or it is of another kind.
    pub fn duration(&self, parameter: &str) -> Result<Duration, BuildError> {
        match self.parameter(parameter) {
            Some(ParameterValue::Duration(time)) => Ok(time),
            _ => Err(BuildError::missing(parameter, "duration")),
        }
    }

    /// The paths of fields, or of a table of expressions; none where the file does not have the
    /// parameter.
    pub fn paths(&self, parameter: &str) -> Vec<Vec<String>> {
        match self.parameter(parameter) {
            Some(ParameterValue::Paths(paths)) => paths,
            _ => Vec::new(),
        }
    }

    /// The environment, where the program supplies one of this type.
    ///
    /// # Errors
    /// It does not.
    pub fn environment_of<T: 'static>(&self) -> Result<&T, BuildError> {
        let missing = BuildError::NoEnvironment(std::any::type_name::<T>());
        self.environment().downcast_ref().ok_or(missing)
    }
}

/// A store of a processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreContext {
    /// Its name, by which [`streams::processor::ProcessorContext::store`] opens it.
    pub name: String,
    /// After how much stream time a key is forgotten that is not written; `None`: never.
    pub retention: Option<Duration>,
}

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParameterValue {
    /// A string, or the name that was chosen.
    Text(String),
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Number(u64),
    /// A time.
    Duration(Duration),
    /// Paths of fields.
    Paths(Vec<Vec<String>>),
}

/// Makes the processors of a node, one for each task (Kafka Streams' `ProcessorSupplier`).
pub struct ProcessorSupplier {
    /// Makes one.
    pub make: Box<dyn Fn() -> Box<dyn Processor> + Send + Sync>,
    /// The interval of stream time at which each is punctuated; `None`: never.
    pub punctuation_interval: Option<Duration>,
}

impl ProcessorSupplier {
    /// A supplier of processors that are not punctuated, unless a store of theirs has a
    /// `retention`.
    pub fn new<P: Processor + 'static>(make: impl Fn() -> P + Send + Sync + 'static) -> ProcessorSupplier {
        ProcessorSupplier { make: Box::new(move || Box::new(make())), punctuation_interval: None }
    }

    /// The same, punctuated at an interval of stream time. Where a store has a `retention`, the
    /// shorter of both intervals counts.
    #[must_use]
    pub fn punctuated_every(self, interval: Duration) -> ProcessorSupplier {
        ProcessorSupplier { punctuation_interval: Some(interval), ..self }
    }
}

impl fmt::Debug for ProcessorSupplier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interval = &self.punctuation_interval;
        f.debug_struct("ProcessorSupplier").field("punctuation_interval", interval).finish_non_exhaustive()
    }
}

/// The reason why no processor could be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A text is not an expression: a whole message with its code.
    #[error("{0}")]
    Expression(String),
    /// The operator asks for a parameter that the file does not have, or that is of another kind.
    #[error("it has no parameter `{parameter}` that is a {kind}")]
    MissingParameter {
        /// The parameter.
        parameter: String,
        /// The kind that the operator asks for.
        kind: &'static str,
    },
    /// The operator asks for a store and keeps none.
    #[error("its operator asks for a store, and its specification has none")]
    NoStore,
    /// The operator asks for an environment that this program does not supply.
    #[error("its operator needs a {0}, which this program does not supply")]
    NoEnvironment(&'static str),
    /// The operator refuses what the file says of it.
    #[error("{0}")]
    Refused(String),
}

impl BuildError {
    fn missing(parameter: &str, kind: &'static str) -> BuildError {
        BuildError::MissingParameter { parameter: parameter.to_owned(), kind }
    }
}
