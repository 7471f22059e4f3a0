//! The operators of a program by their names.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{OperatorSpec, Parameter, ParameterKind};

/// Keys that every `[[processor]]` has, so that no parameter can have their names.
pub const RESERVED_KEYS: &[&str] = &["name", "operator", "from", "stores"];

/// The operators that topology files of a program can name, in the order in which messages list
/// them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperatorRegistry(Vec<Arc<OperatorSpec>>);

/// The reason why an operator is not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryError {
    /// Another operator has the name.
    #[error(
        "the operator `{0}` cannot be registered: another operator of this program has this name; choose another name [HS0062]"
    )]
    NameTaken(&'static str),
    /// A name has other characters than it may have, or none.
    #[error(
        "the operator `{operator}` cannot be registered: the name `{name}` does not consist of letters, digits, `-` and `_` [HS0062]"
    )]
    InvalidName {
        /// The operator.
        operator: &'static str,
        /// The name of it, of a parameter or of an output.
        name: &'static str,
    },
    /// A parameter has the name of a key that every processor has.
    #[error(
        "the operator `{operator}` cannot be registered: every processor has the key `{parameter}`; choose another name for \
         the parameter [HS0062]"
    )]
    ReservedKey {
        /// The operator.
        operator: &'static str,
        /// Its parameter.
        parameter: &'static str,
    },
    /// Two parameters or two outputs of an operator have one name, or it has two parameters that
    /// name branches.
    #[error("the operator `{operator}` cannot be registered: it has `{name}` twice [HS0062]")]
    Twice {
        /// The operator.
        operator: &'static str,
        /// The name.
        name: &'static str,
    },
    /// An operator that is registered already has a parameter of this name that is of another kind.
    #[error(
        "the operator `{operator}` cannot be registered: its parameter `{parameter}` is of another kind than the parameter of \
         this name of the operator `{other}`; choose another name for the parameter [HS0062]"
    )]
    OtherKind {
        /// The operator.
        operator: &'static str,
        /// Its parameter.
        parameter: &'static str,
        /// The operator that has it already.
        other: &'static str,
    },
}

impl OperatorRegistry {
    /// The registry with one operator more.
    ///
    /// # Errors
    /// Its name is taken, or a topology file could not name it or a part of it.
    pub fn with(mut self, spec: OperatorSpec) -> Result<OperatorRegistry, RegistryError> {
        if self.find(spec.name).is_some() {
            return Err(RegistryError::NameTaken(spec.name));
        }
        check_names(&spec)?;
        for parameter in &spec.parameters {
            let same_name = |other: &&Arc<OperatorSpec>| {
                other.parameter(parameter.name).is_some_and(|known| known.kind != parameter.kind)
            };
            if let Some(other) = self.0.iter().find(same_name) {
                let operator = spec.name;
                let parameter = parameter.name;
                let other = other.name;
                return Err(RegistryError::OtherKind { operator, parameter, other });
            }
        }
        self.0.push(Arc::new(spec));
        Ok(self)
    }

    /// The registry with several operators more, in their order.
    ///
    /// # Errors
    /// As for [`OperatorRegistry::with`].
    pub fn with_all(self, specs: impl IntoIterator<Item = OperatorSpec>) -> Result<OperatorRegistry, RegistryError> {
        specs.into_iter().try_fold(self, OperatorRegistry::with)
    }

    /// An operator by its name.
    pub fn find(&self, name: &str) -> Option<&Arc<OperatorSpec>> {
        self.0.iter().find(|spec| spec.name == name)
    }

    /// All operators, in the order in which they were registered.
    pub fn iter(&self) -> impl Iterator<Item = &OperatorSpec> {
        self.0.iter().map(|spec| &**spec)
    }

    /// The parameters of all operators in the order in which they were registered, each name once,
    /// and the operators that have it.
    pub fn parameters(&self) -> Vec<(&Parameter, Vec<&OperatorSpec>)> {
        let mut all: Vec<(&Parameter, Vec<&OperatorSpec>)> = Vec::new();
        for spec in self.iter() {
            for parameter in &spec.parameters {
                match all.iter_mut().find(|(known, _)| known.name == parameter.name) {
                    Some((_, operators)) => operators.push(spec),
                    None => all.push((parameter, vec![spec])),
                }
            }
        }
        all
    }
}

fn check_names(spec: &OperatorSpec) -> Result<(), RegistryError> {
    let operator = spec.name;
    let parameters = spec.parameters.iter().map(|parameter| parameter.name);
    let outputs = spec.outputs.iter().map(|output| output.name);
    let is_name =
        |name: &&str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    if let Some(name) = [operator].into_iter().chain(parameters.clone()).chain(outputs.clone()).find(|n| !is_name(n)) {
        return Err(RegistryError::InvalidName { operator, name });
    }
    if let Some(parameter) = parameters.clone().find(|name| RESERVED_KEYS.contains(name)) {
        return Err(RegistryError::ReservedKey { operator, parameter });
    }
    let mut seen_parameters = BTreeSet::new();
    let mut seen_outputs = BTreeSet::new();
    let twice = parameters.clone().find(|name| !seen_parameters.insert(*name));
    let twice = twice.or_else(|| outputs.clone().find(|name| !seen_outputs.insert(*name)));
    let branches = spec.parameters.iter().filter(|parameter| parameter.kind == ParameterKind::Branches);
    let twice = twice.or_else(|| branches.map(|parameter| parameter.name).nth(1));
    twice.map_or(Ok(()), |name| Err(RegistryError::Twice { operator, name }))
}

#[cfg(test)]
mod tests {
    use super::super::{OutputForm, OutputSpec, ProcessorSupplier};
    use super::*;
    use crate::specs;

    fn spec(name: &'static str) -> OperatorSpec {
        OperatorSpec::new(name, "for a test", |_| Ok(ProcessorSupplier::new(|| Nothing)))
    }

    struct Nothing;

    impl streams::processor::Processor for Nothing {
        fn process(
            &mut self,
            _: &streams::record::Record<'_>,
            _: &mut dyn streams::processor::ProcessorContext<'_>,
        ) -> Result<(), streams::processor::ProcessorError> {
            Ok(())
        }
    }

    fn number(name: &'static str) -> Parameter {
        Parameter::required(name, ParameterKind::Number { min: 1, max: 9 }, "1", "for a test")
    }

    fn shipped() -> OperatorRegistry {
        OperatorRegistry::default().with_all(specs()).unwrap()
    }

    #[test]
    fn a_name_that_is_taken_is_refused() {
        assert_eq!(shipped().with(spec("filter")), Err(RegistryError::NameTaken("filter")));
        assert!(shipped().with(spec("mine")).unwrap().find("mine").is_some());
    }

    #[test]
    fn names_that_a_file_could_not_tell_apart_are_refused() {
        let with = |parameters: Vec<Parameter>, outputs: Vec<OutputSpec>| {
            let outputs = if outputs.is_empty() { spec("x").outputs } else { outputs };
            shipped().with(OperatorSpec { parameters, outputs, ..spec("mine") }).map(|_| ())
        };
        let output = |name| OutputSpec::required(name, OutputForm::Same);
        let operator = "mine";
        let invalid = |name| Err(RegistryError::InvalidName { operator, name });
        assert_eq!(
            shipped().with(spec("a b")).map(|_| ()),
            Err(RegistryError::InvalidName { operator: "a b", name: "a b" })
        );
        assert_eq!(with(vec![number("")], vec![]), invalid(""));
        assert_eq!(with(vec![], vec![output("a.b")]), invalid("a.b"));
        assert_eq!(with(vec![number("from")], vec![]), Err(RegistryError::ReservedKey { operator, parameter: "from" }));
        let twice = Err(RegistryError::Twice { operator, name: "n" });
        assert_eq!(with(vec![number("n"), number("n")], vec![]), twice);
        assert_eq!(with(vec![], vec![output("n"), output("n")]), twice);
        let branches = |name| Parameter::required(name, ParameterKind::Branches, "[]", "for a test");
        assert_eq!(with(vec![branches("branch"), branches("n")], vec![]), twice);
        let other = Err(RegistryError::OtherKind { operator, parameter: "when", other: "filter" });
        assert_eq!(with(vec![number("when")], vec![]), other);
        assert_eq!(with(vec![number("n")], vec![output("n")]), Ok(()));
    }
}
