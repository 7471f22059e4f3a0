//! The parameters of a file's operators: expressions and fields. Whether an expression is one is
//! for the engine to say that runs it ([`Scripting`]); it says so while the file is read, so that
//! it is told with all else.

use std::ops::Range;

use toml::Spanned;
use toml::de::DeValue;

use super::codes;
use super::keys::BRANCH;
use super::operator::{OTHERWISE, Operator, operator};
use super::setting::ScriptLimits;
use super::table::{At, Doc, Table, kind};

/// What is wrong with the text of an expression or a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The code of the kind, one of [`codes`].
    pub code: &'static str,
    /// The byte of the text that is meant.
    pub at: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub fix: String,
}

/// What knows the language of expressions and scripts, and finds the files of scripts.
pub trait Scripting {
    /// The text of a script's file, by how the file `topology` names it, and the path that it was found by; nothing
    /// where files of scripts are not looked at.
    fn file(&self, topology: &str, path: &str) -> Option<Result<(String, String), String>>;

    /// Whether a text is a resolver.
    ///
    /// # Errors
    /// What is wrong with it.
    fn resolver(&self, text: &str, limits: &ScriptLimits) -> Result<(), Flaw>;

    /// Whether a text is an expression over a record, or over one and an aggregate.
    ///
    /// # Errors
    /// What is wrong with it.
    fn expression(&self, text: &str, has_aggregate: bool, limits: &ScriptLimits) -> Result<(), Flaw>;
}

/// An expression and where it stands.
pub type Expression = At<String>;

/// The parameters of an operator, as a topology file has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OperatorParams {
    /// Its expressions, in the order in which it uses them, by what they are for: `when`, `set.a.b`, `branch.deletes`.
    pub expressions: Vec<(String, Expression)>,
    /// The fields that `keep` names; paths with dots.
    pub keep: Vec<String>,
    /// The fields that `drop` names.
    pub drop: Vec<String>,
    /// The fields that `set` makes, in the order of their expressions.
    pub set: Vec<Vec<String>>,
    /// The names of outputs that the file makes, in its order.
    pub outputs: Vec<String>,
    /// Whether there may be more than could be read, and so outputs that are not known.
    pub is_hidden: bool,
}

impl OperatorParams {
    /// The text of an expression.
    pub fn expression(&self, name: &str) -> Option<&str> {
        self.expressions.iter().find(|(label, _)| label == name).map(|(_, text)| text.value.as_str())
    }

    /// The labels of all expressions with their texts, and the other keys as they stand.
    pub fn shown(&self) -> Vec<(String, String)> {
        let list = |name: &str, of: &[String]| (!of.is_empty()).then(|| (name.to_owned(), of.join(", ")));
        let fields = [list("keep", &self.keep), list("drop", &self.drop)];
        let (whole, rest): (Vec<_>, Vec<_>) = self.expressions.iter().partition(|(label, _)| label == "value");
        let text = |(label, text): &(String, Expression)| (label.clone(), text.value.clone());
        let whole = whole.into_iter().map(text);
        whole.chain(fields.into_iter().flatten()).chain(rest.into_iter().map(text)).collect()
    }
}

/// Reads the parameters of the operator of a `[[processor]]`; what is wrong is noted in `doc`.
pub fn read(doc: &Doc<'_>, t: &Table<'_, '_>, name: &str) -> OperatorParams {
    let mut params = OperatorParams::default();
    let Some(op) = operator(name) else {
        params.is_hidden = true;
        return params;
    };
    only_own_keys(doc, t, op);
    for (key, _) in op.keys {
        match *key {
            "branch" => branches(doc, t, &mut params),
            "set" => set(doc, t, &mut params),
            "keep" => params.keep = fields(doc, t, key),
            "drop" => params.drop = fields(doc, t, key),
            key => params.expressions.extend(t.text(key).map(|text| (key.to_owned(), owned(text)))),
        }
    }
    if op.name == "map"
        && params == OperatorParams::default()
        && !op.keys.iter().any(|(key, _)| t.has(key) || t.misspells(&[key]))
    {
        let fix = "add at least one of the parameters `value`, `keep`, `drop` and `set`";
        doc.wrong(&t.span, codes::EMPTY_MAP, format!("{} with the operator `map` changes nothing", t.what), fix);
    }
    params
}

fn owned(text: At<&str>) -> Expression {
    At { value: text.value.to_owned(), span: text.span }
}

/// Notes keys that another operator is told by, and those of this one that are missing.
fn only_own_keys(doc: &Doc<'_>, t: &Table<'_, '_>, op: &Operator) {
    let is_of_operators = |key: &str| super::operator::OPERATORS.iter().any(|o| o.keys.iter().any(|(k, _)| *k == key));
    for (key, _) in t.entries() {
        if is_of_operators(key.value) && !op.keys.iter().any(|(own, _)| *own == key.value) {
            let fix = match op.keys {
                [] => format!("remove it: the operator `{}` has no parameters", op.name),
                keys => {
                    let keys: Vec<String> = keys.iter().map(|(key, _)| format!("`{key}`")).collect();
                    format!("remove it: the parameters of `{}` are: {}", op.name, keys.join(", "))
                }
            };
            let message = format!("the operator `{}` has no parameter `{}`", op.name, key.value);
            doc.wrong(&key.span, codes::UNKNOWN_PARAMETER, message, fix);
        }
    }
    for (key, _) in op.keys.iter().filter(|(key, needed)| *needed && !t.has(key) && !t.misspells(&[key])) {
        let fix = format!("add it: `{key} = {}`", t.example(key));
        let message = format!("the operator `{}` requires the parameter `{key}`, which is missing", op.name);
        doc.wrong(&t.span, codes::MISSING_KEY, message, fix);
    }
}

fn branches(doc: &Doc<'_>, t: &Table<'_, '_>, params: &mut OperatorParams) {
    let (tables, is_whole) = t.sections(&BRANCH);
    params.is_hidden |= !is_whole;
    if is_whole && tables.is_empty() && t.has(BRANCH.name) {
        let fix = "write at least one branch, or use the operator `filter`";
        doc.wrong(&t.span, codes::EMPTY_VALUE, format!("`branch` of {} is empty", t.what), fix);
    }
    for branch in tables {
        let (name, when) = (branch.text("name"), branch.text("when"));
        let Some(name) = name else {
            params.is_hidden = true;
            continue;
        };
        if name.value == OTHERWISE {
            let fix = format!("choose another name: `{OTHERWISE}` is the output for records that match no branch");
            doc.wrong(&name.span, codes::RESERVED_NAME, format!("the branch name `{OTHERWISE}` is reserved"), fix);
        } else if params.outputs.iter().any(|other| other == name.value) {
            let message = format!("two branches have the name `{}`", name.value);
            doc.wrong(&name.span, codes::DUPLICATE_NAME, message, "choose another name for one of them");
        } else {
            params.outputs.push(name.value.to_owned());
            params.expressions.extend(when.map(|when| (format!("branch.{}", name.value), owned(when))));
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

/// `set = { "a.b" = "…" }`; without quotes it is a table in TOML, which is read as the path that it spells.
fn set(doc: &Doc<'_>, t: &Table<'_, '_>, params: &mut OperatorParams) {
    let Some(table) = t.table("set") else { return };
    let before = params.set.len();
    set_within(doc, &table, "", params);
    if params.set.len() == before && table.entries().next().is_none() {
        let fix = "write `set = { field = \"expression\" }`, or remove it";
        doc.wrong(&table.span, codes::EMPTY_VALUE, "`set` is empty", fix);
    }
    let at = |path: &[String], other: &[String]| path.len() < other.len() && other.starts_with(path);
    if let Some((outer, inner)) = params.set.iter().find_map(|a| Some((a, params.set.iter().find(|b| at(a, b))?))) {
        let message = format!("`set` sets the field `{}`, and `{}` within it", outer.join("."), inner.join("."));
        doc.wrong(&table.span, codes::OVERLAPPING_FIELDS, message, "remove one of the two");
    }
}

fn set_within(doc: &Doc<'_>, table: &Table<'_, '_>, prefix: &str, params: &mut OperatorParams) {
    for (key, value) in table.entries() {
        let path = if prefix.is_empty() { key.value.to_owned() } else { format!("{prefix}.{}", key.value) };
        if let DeValue::Table(inner) = value.get_ref() {
            set_within(doc, &Table::new(doc, inner, table.what.clone(), value.span()), &path, params);
        } else if is_path(doc, &path, &key.span) {
            set_one(doc, path, value, params);
        }
    }
}

fn set_one(doc: &Doc<'_>, path: String, value: &Spanned<DeValue<'_>>, params: &mut OperatorParams) {
    let Some(text) = value.get_ref().as_str() else {
        let message = format!("`set.{path}` is {}, not an expression", kind(value.get_ref()));
        let fix =
            "write an expression as a string; a text in it needs quotes of its own: '\"text\"', and not \"'text'\"";
        doc.wrong(&value.span(), codes::WRONG_TYPE, message, fix);
        return;
    };
    let names: Vec<String> = path.split('.').map(str::to_owned).collect();
    if params.set.contains(&names) {
        let message = format!("`set` sets the field `{path}` twice");
        doc.wrong(&value.span(), codes::OVERLAPPING_FIELDS, message, "remove one of the two");
        return;
    }
    params.set.push(names);
    params.expressions.push((format!("set.{path}"), At { value: text.to_owned(), span: value.span() }));
}

/// Notes what is wrong with expressions, if there is something that knows.
pub struct Checker<'c> {
    /// The file.
    pub doc: &'c Doc<'c>,
    /// What knows.
    pub scripting: Option<&'c dyn Scripting>,
    /// What they may take.
    pub limits: ScriptLimits,
}

impl Checker<'_> {
    /// Of an operator's.
    pub fn operator(&self, operator: &str, params: &OperatorParams) {
        for (label, expression) in &params.expressions {
            self.expression(expression, operator == "aggregate" && label == "add");
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
