//! Additions of a program to this library: operators and custom resolvers of its own.

use memory::strategy::CustomResolver;
use operators::spec::{OperatorRegistry, OperatorSpec, RegistryError};

use super::Custom;

/// A program: the operators that its topology files can name, and the resolvers that their
/// strategies can name. The default is the binary `helixstream`: all operators that are shipped,
/// and no resolver.
#[derive(Clone)]
pub struct Program {
    /// The operators that topology files can name.
    pub operators: OperatorRegistry,
    /// The resolvers that strategies can name as `custom:<name>`.
    pub resolvers: Custom,
    refused: Option<RegistryError>,
}

impl Default for Program {
    fn default() -> Program {
        let specs = memory_operators::specs().into_iter().chain(operators::specs());
        let empty = Program { operators: OperatorRegistry::default(), resolvers: Custom::default(), refused: None };
        specs.fold(empty, Program::with_operator)
    }
}

impl Program {
    /// The program with one operator more. An operator that the registry refuses, because its name
    /// is taken for example, ends the program at its start with the registry's error.
    #[must_use]
    pub fn with_operator(mut self, spec: OperatorSpec) -> Program {
        match self.operators.clone().with(spec) {
            Ok(operators) => self.operators = operators,
            Err(e) => self.refused = self.refused.or(Some(e)),
        }
        self
    }

    /// The program with one custom resolver more, as [`Custom::with`] registers it.
    #[must_use]
    pub fn with_resolver(self, name: &str, resolver: impl CustomResolver + 'static) -> Program {
        Program { resolvers: self.resolvers.with(name, resolver), ..self }
    }

    /// The program with one custom resolver of a version more, as [`Custom::with_version`]
    /// registers it.
    #[must_use]
    pub fn with_resolver_version(self, name: &str, version: &str, resolver: impl CustomResolver + 'static) -> Program {
        Program { resolvers: self.resolvers.with_version(name, version, resolver), ..self }
    }

    /// The first operator that was refused.
    pub(super) fn refused(&self) -> Option<&RegistryError> {
        self.refused.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_shipped_operators_are_registered() {
        let program = Program::default();
        assert_eq!(program.refused(), None);
        let names: Vec<&str> = program.operators.iter().map(|spec| spec.name).collect();
        let shipped = ["decode", "resolve", "user_snapshots", "filter", "map", "rekey", "branch", "aggregate", "count"];
        assert_eq!(names, shipped);
    }

    #[test]
    fn the_first_operator_that_is_refused_is_kept() {
        let again = |name: &str| operators::specs().into_iter().find(|spec| spec.name == name).unwrap();
        let program = Program::default().with_operator(again("map")).with_operator(again("filter"));
        assert_eq!(program.refused(), Some(&RegistryError::NameTaken("map")));
    }
}
