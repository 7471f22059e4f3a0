//! The keys of `[[processor]]` that are parameters of operators: those of all operators that a
//! program has registered.

use super::key::{Key, Takes};
use super::keys::PROCESSOR;
use operators::spec::{OperatorRegistry, OperatorSpec, Parameter, ParameterKind};

/// All keys of `[[processor]]`: those that every processor has, then the parameters of all
/// operators.
pub fn processor_keys(operators: &OperatorRegistry) -> Vec<Key> {
    let parameters = operators.parameters().into_iter().map(|(parameter, _)| key_of(parameter));
    PROCESSOR.keys.iter().copied().chain(parameters).collect()
}

/// The description of a parameter, by each of the operators that have it.
pub(super) fn description_of(name: &str, operators: &[&OperatorSpec]) -> String {
    let one = |spec: &&OperatorSpec| {
        let parameter = spec.parameter(name)?;
        Some(format!("{}: {}", spec.name, parameter.description))
    };
    operators.iter().filter_map(one).collect::<Vec<_>>().join(" ")
}

/// A parameter as a key. Whether its operator requires it is checked with the operator: no key is
/// required of all.
pub(super) fn key_of(parameter: &Parameter) -> Key {
    let Parameter { name, kind, example, description, is_required: _ } = *parameter;
    let takes = match kind {
        ParameterKind::Expression | ParameterKind::AggregateExpression => Takes::Expression,
        ParameterKind::Expressions => Takes::Expressions,
        ParameterKind::Fields => Takes::Fields,
        ParameterKind::Branches => Takes::Branches,
        ParameterKind::Text => Takes::Text,
        ParameterKind::Choice(known) => Takes::Choice(known),
        ParameterKind::Boolean => Takes::Boolean,
        ParameterKind::Number { min, max } => Takes::Number(min, max),
        ParameterKind::Duration { min, max } => Takes::Duration(min, max),
    };
    Key { name, takes, example, needed: false, what: description }
}

#[cfg(test)]
mod tests {
    use super::*;
    use operators::spec::RESERVED_KEYS;

    #[test]
    fn the_keys_of_every_processor_are_reserved() {
        let names: Vec<&str> = PROCESSOR.keys.iter().map(|key| key.name).collect();
        assert_eq!(names, RESERVED_KEYS);
    }

    #[test]
    fn parameters_that_operators_share_are_one_key_with_both_descriptions() {
        let build = |_: &dyn operators::spec::OperatorContext| Err(operators::spec::BuildError::NoStore);
        let key = Parameter::optional("key", ParameterKind::Expression, "\"key\"", "which records are one.");
        let mine = OperatorSpec { parameters: vec![key], ..OperatorSpec::new("mine", "for a test", build) };
        let registry = OperatorRegistry::default().with_all(operators::specs()).unwrap().with(mine).unwrap();
        assert_eq!(processor_keys(&registry).iter().filter(|key| key.name == "key").count(), 1);
        let shared = registry.parameters().into_iter().find(|(parameter, _)| parameter.name == "key").unwrap();
        let description = description_of("key", &shared.1);
        assert!(description.starts_with("rekey: ") && description.ends_with(" mine: which records are one."));
    }
}
