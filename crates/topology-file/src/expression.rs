//! The parameters of a file's operators: expressions and fields. Whether an expression is one is
//! for the engine to say that runs it ([`Scripting`]); it says so while the file is read, so that
//! it is told with all else.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use super::codes;
use super::keys::BRANCH;
use super::setting::ScriptLimits;
use super::table::{At, Doc, Table, kind};
use super::value::show_duration;
use operators::spec::{OperatorRegistry, OperatorSpec, Parameter, ParameterKind, ParameterValue};

/// Describes why the text of an expression or a script is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The code of the kind, one of [`codes`].
    pub code: &'static str,
    /// The byte of the text that is meant.
    pub at: usize,
    /// The problem.
    pub message: String,
    /// The remedy.
    pub fix: String,
}

/// Compiler that knows the language of expressions and scripts, and finds the files of scripts.
pub trait Scripting {
    /// The text of a script's file, by how the file `topology` names it, and the path that it was
    /// found by; nothing where files of scripts are not looked at.
    fn file(&self, topology: &str, path: &str) -> Option<Result<(String, String), String>>;

    /// Whether a text is a resolver.
    ///
    /// # Errors
    /// A description of the problem.
    fn resolver(&self, text: &str, limits: &ScriptLimits) -> Result<(), Flaw>;

    /// Whether a text is an expression over a record, or over one and an aggregate.
    ///
    /// # Errors
    /// A description of the problem.
    fn expression(&self, text: &str, has_aggregate: bool, limits: &ScriptLimits) -> Result<(), Flaw>;
}

/// An expression and where it stands.
pub type Expression = At<String>;

/// The parameters of an operator, as a topology file has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperatorParams {
    /// Each by its label, which is the parameter's name and what it is for within it, such as
    /// `when`, `set.a.b` and `branch.deletes`; in the order of the operator's specification, then
    /// of the file.
    pub list: Vec<(String, ParamValue)>,
    /// The names of outputs that the file makes, in its order.
    pub outputs: Vec<String>,
    /// Whether there may be more than could be read, and so outputs that are not known.
    pub is_hidden: bool,
}

/// The value of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParamValue {
    /// An expression.
    Expression {
        /// Its text.
        text: Expression,
        /// Whether it sees an aggregate beside the record.
        has_aggregate: bool,
    },
    /// Fields by their paths, which have dots.
    Fields(Vec<String>),
    /// A value that is neither.
    Plain(ParameterValue),
}

impl ParamValue {
    /// The value for an operator, where it is no expression.
    pub fn plain(&self) -> Option<ParameterValue> {
        match self {
            ParamValue::Expression { .. } => None,
            ParamValue::Fields(paths) => Some(ParameterValue::Paths(paths.iter().map(|path| split(path)).collect())),
            ParamValue::Plain(value) => Some(value.clone()),
        }
    }

    /// The value as descriptions and the topology digest show it.
    fn shown(&self) -> String {
        match self {
            ParamValue::Expression { text, .. } => text.value.clone(),
            ParamValue::Fields(paths) => paths.join(", "),
            ParamValue::Plain(ParameterValue::Text(text)) => text.clone(),
            ParamValue::Plain(ParameterValue::Boolean(value)) => value.to_string(),
            ParamValue::Plain(ParameterValue::Number(number)) => number.to_string(),
            ParamValue::Plain(ParameterValue::Duration(time)) => show_duration(*time),
            ParamValue::Plain(ParameterValue::Paths(paths)) => {
                paths.iter().map(|path| path.join(".")).collect::<Vec<_>>().join(", ")
            }
        }
    }
}

fn split(path: &str) -> Vec<String> {
    path.split('.').map(str::to_owned).collect()
}

impl OperatorParams {
    /// The values that belong to a parameter: its own, or those within it, each with the rest of
    /// its label.
    fn of<'p>(&'p self, parameter: &str) -> impl Iterator<Item = (&'p str, &'p ParamValue)> {
        self.list.iter().filter_map(move |(label, value)| {
            let rest = label.strip_prefix(parameter)?;
            (rest.is_empty() || rest.starts_with('.')).then_some((rest.trim_start_matches('.'), value))
        })
    }

    /// Whether the file has the parameter.
    pub fn has(&self, parameter: &str) -> bool {
        self.of(parameter).next().is_some()
    }

    /// The value of a parameter that has only one.
    pub fn value(&self, parameter: &str) -> Option<&ParamValue> {
        self.of(parameter).find(|(rest, _)| rest.is_empty()).map(|(_, value)| value)
    }

    /// The texts of a parameter's expressions, and whether each sees an aggregate.
    pub fn expressions_of<'p>(&'p self, parameter: &str) -> impl Iterator<Item = (&'p str, bool)> {
        self.of(parameter).filter_map(|(_, value)| match value {
            ParamValue::Expression { text, has_aggregate } => Some((text.value.as_str(), *has_aggregate)),
            _ => None,
        })
    }

    /// The paths of a table of expressions, in the order of [`OperatorParams::expressions_of`].
    pub fn paths_of(&self, parameter: &str) -> Vec<Vec<String>> {
        self.of(parameter).filter(|(rest, _)| !rest.is_empty()).map(|(rest, _)| split(rest)).collect()
    }

    /// All labels with the texts of their values.
    pub fn shown(&self) -> Vec<(String, String)> {
        self.list.iter().map(|(label, value)| (label.clone(), value.shown())).collect()
    }

    fn add(&mut self, label: impl Into<String>, value: ParamValue) {
        self.list.push((label.into(), value));
    }

    fn add_expression(&mut self, label: impl Into<String>, text: At<&str>, has_aggregate: bool) {
        let text = At { value: text.value.to_owned(), span: text.span };
        self.add(label, ParamValue::Expression { text, has_aggregate });
    }
}

/// Reads the parameters of a `[[processor]]` with this operator; what is wrong is noted in `doc`.
pub fn read(
    doc: &Doc<'_>,
    t: &Table<'_, '_>,
    spec: Option<&OperatorSpec>,
    operators: &OperatorRegistry,
) -> OperatorParams {
    let mut params = OperatorParams::default();
    let Some(spec) = spec else {
        params.is_hidden = true;
        return params;
    };
    only_own_parameters(doc, t, spec, operators);
    for parameter in &spec.parameters {
        read_one(doc, t, spec, parameter, &mut params);
    }
    if let Some(what) = spec.without_parameters
        && params == OperatorParams::default()
        && !spec.parameters.iter().any(|own| t.has(own.name) || t.misspells(&[own.name]))
    {
        let names: Vec<String> = spec.parameters.iter().map(|own| format!("`{}`", own.name)).collect();
        let (last, others) = names
            .split_last()
            .map_or((String::new(), String::new()), |(last, others)| (last.clone(), others.join(", ")));
        let fix = format!("add at least one of the parameters {others} and {last}");
        let message = format!("{} with the operator `{}` {what}", t.what, spec.name);
        doc.wrong(&t.span, codes::EMPTY_MAP, message, fix);
    }
    params
}

fn read_one(doc: &Doc<'_>, t: &Table<'_, '_>, spec: &OperatorSpec, parameter: &Parameter, params: &mut OperatorParams) {
    let key = parameter.name;
    let plain = match parameter.kind {
        ParameterKind::Branches => return branches(doc, t, spec, key, params),
        ParameterKind::Expressions => return table(doc, t, key, params),
        ParameterKind::Fields => {
            let fields = fields(doc, t, key);
            if !fields.is_empty() {
                params.add(key, ParamValue::Fields(fields));
            }
            return;
        }
        kind @ (ParameterKind::Expression | ParameterKind::AggregateExpression) => {
            if let Some(text) = t.text(key) {
                params.add_expression(key, text, kind == ParameterKind::AggregateExpression);
            }
            return;
        }
        ParameterKind::Text | ParameterKind::Choice(_) => {
            t.text(key).map(|text| ParameterValue::Text(text.value.to_owned()))
        }
        ParameterKind::Boolean => t.setting(key, |raw| raw.boolean()).map(|at| ParameterValue::Boolean(at.value)),
        ParameterKind::Number { min, max } => {
            t.setting(key, |raw| raw.number(min, max)).map(|at| ParameterValue::Number(at.value))
        }
        ParameterKind::Duration { min, max } => {
            t.setting(key, |raw| raw.duration(min, max)).map(|at| ParameterValue::Duration(at.value))
        }
    };
    if let Some(value) = plain {
        params.add(key, ParamValue::Plain(value));
    }
}

/// Notes parameters of other operators, and those of this one that are missing.
fn only_own_parameters(doc: &Doc<'_>, t: &Table<'_, '_>, spec: &OperatorSpec, operators: &OperatorRegistry) {
    let is_of_operators = |key: &str| operators.iter().any(|other| other.parameter(key).is_some());
    for (key, _) in t.entries() {
        if is_of_operators(key.value) && spec.parameter(key.value).is_none() {
            let fix = match spec.parameters.as_slice() {
                [] => format!("remove it: the operator `{}` has no parameters", spec.name),
                own => {
                    let own: Vec<String> = own.iter().map(|own| format!("`{}`", own.name)).collect();
                    format!("remove it: the parameters of `{}` are: {}", spec.name, own.join(", "))
                }
            };
            let message = format!("the operator `{}` has no parameter `{}`", spec.name, key.value);
            doc.wrong(&key.span, codes::UNKNOWN_PARAMETER, message, fix);
        }
    }
    let is_missing = |own: &&Parameter| own.is_required && !t.has(own.name) && !t.misspells(&[own.name]);
    for Parameter { name, example, .. } in spec.parameters.iter().filter(is_missing) {
        let message = format!("the operator `{}` requires the parameter `{name}`, which is missing", spec.name);
        doc.wrong(&t.span, codes::MISSING_KEY, message, format!("add it: `{name} = {example}`"));
    }
}

fn branches(doc: &Doc<'_>, t: &Table<'_, '_>, spec: &OperatorSpec, key: &'static str, params: &mut OperatorParams) {
    let (tables, is_whole) = t.tables(key, BRANCH.keys);
    params.is_hidden |= !is_whole;
    if is_whole && tables.is_empty() && t.has(key) {
        let fix = "write at least one branch, or use the operator `filter`";
        doc.wrong(&t.span, codes::EMPTY_VALUE, format!("`{key}` of {} is empty", t.what), fix);
    }
    for branch in tables {
        let name = branch.text("name");
        let when = branch.text("when");
        let Some(name) = name else {
            params.is_hidden = true;
            continue;
        };
        if let Some(own) = spec.outputs.iter().find(|own| own.name == name.value) {
            let what = match own.description {
                "" => format!("an output that `{}` always has", spec.name),
                records => format!("the output for {records}"),
            };
            let fix = format!("choose another name: `{}` is {what}", own.name);
            doc.wrong(&name.span, codes::RESERVED_NAME, format!("the branch name `{}` is reserved", own.name), fix);
        } else if params.outputs.iter().any(|other| other == name.value) {
            let message = format!("two branches have the name `{}`", name.value);
            doc.wrong(&name.span, codes::DUPLICATE_NAME, message, "choose another name for one of them");
        } else {
            params.outputs.push(name.value.to_owned());
            if let Some(when) = when {
                params.add_expression(format!("{key}.{}", name.value), when, false);
            }
        }
    }
}

/// Fields by their paths; an empty name in one is noted.
fn fields(doc: &Doc<'_>, t: &Table<'_, '_>, key: &str) -> Vec<String> {
    let (found, is_whole) = t.strings(key);
    if is_whole && found.is_empty() && t.has(key) {
        let fix = "write at least one field, or remove the key";
        doc.wrong(&t.span, codes::EMPTY_VALUE, format!("`{key}` of {} is empty", t.what), fix);
    }
    found.into_iter().filter(|path| is_path(doc, path.value, &path.span)).map(|path| path.value.to_owned()).collect()
}

fn is_path(doc: &Doc<'_>, path: &str, span: &Range<usize>) -> bool {
    let is_path = !path.split('.').any(str::is_empty);
    if !is_path {
        let message = format!("`{path}` is not the path of a field");
        doc.wrong(span, codes::INVALID_FIELD_PATH, message, "write names separated by dots: \"metadata.lang\"");
    }
    is_path
}

/// `set = { "a.b" = "…" }`; without quotes it is a table in TOML, which is read as the path that it
/// spells.
fn table(doc: &Doc<'_>, t: &Table<'_, '_>, key: &str, params: &mut OperatorParams) {
    let Some(table) = t.table(key) else { return };
    table_within(doc, &table, key, "", params);
    let paths = params.paths_of(key);
    if paths.is_empty() && table.entries().next().is_none() {
        let fix = format!("write `{key} = {{ field = \"expression\" }}`, or remove it");
        doc.wrong(&table.span, codes::EMPTY_VALUE, format!("`{key}` is empty"), fix);
    }
    let at = |path: &[String], other: &[String]| path.len() < other.len() && other.starts_with(path);
    if let Some((outer, inner)) = paths.iter().find_map(|a| Some((a, paths.iter().find(|b| at(a, b))?))) {
        let message = format!("`{key}` sets the field `{}`, and `{}` within it", outer.join("."), inner.join("."));
        doc.wrong(&table.span, codes::OVERLAPPING_FIELDS, message, "remove one of the two");
    }
}

fn table_within(doc: &Doc<'_>, table: &Table<'_, '_>, key: &str, prefix: &str, params: &mut OperatorParams) {
    for (name, value) in table.entries() {
        let path = if prefix.is_empty() { name.value.to_owned() } else { format!("{prefix}.{}", name.value) };
        if let DeValue::Table(inner) = value.get_ref() {
            table_within(doc, &Table::new(doc, inner, table.what.clone(), value.span()), key, &path, params);
        } else if is_path(doc, &path, &name.span) {
            table_entry(doc, key, &path, value, params);
        }
    }
}

fn table_entry(doc: &Doc<'_>, key: &str, path: &str, value: &Spanned<DeValue<'_>>, params: &mut OperatorParams) {
    let Some(text) = value.get_ref().as_str() else {
        let message = format!("`{key}.{path}` is {}, not an expression", kind(value.get_ref()));
        let fix =
            "write an expression as a string; a text in it needs quotes of its own: '\"text\"', and not \"'text'\"";
        doc.wrong(&value.span(), codes::WRONG_TYPE, message, fix);
        return;
    };
    let label = format!("{key}.{path}");
    if params.list.iter().any(|(known, _)| *known == label) {
        let message = format!("`{key}` sets the field `{path}` twice");
        doc.wrong(&value.span(), codes::OVERLAPPING_FIELDS, message, "remove one of the two");
        return;
    }
    params.add_expression(label, At { value: text, span: value.span() }, false);
}

/// Notes what is wrong with expressions, if there is something that knows.
pub struct Checker<'c> {
    /// The file.
    pub doc: &'c Doc<'c>,
    /// The compiler.
    pub scripting: Option<&'c dyn Scripting>,
    /// Their limits.
    pub limits: ScriptLimits,
}

impl Checker<'_> {
    /// Of an operator's.
    pub fn operator(&self, params: &OperatorParams) {
        for (_, value) in &params.list {
            if let ParamValue::Expression { text, has_aggregate } = value {
                self.expression(text, *has_aggregate);
            }
        }
    }

    /// Of one alone.
    pub fn expression(&self, expression: &Expression, has_aggregate: bool) {
        let check = |scripting: &dyn Scripting| scripting.expression(&expression.value, has_aggregate, &self.limits);
        if let Some(Err(flaw)) = self.scripting.map(check) {
            let span = self.doc.within(&expression.span, &expression.value, flaw.at);
            self.doc.wrong(&span, flaw.code, flaw.message, flaw.fix);
        }
    }
}
