//! The operator `map`: replaces the value of each record, as a whole or field by field. The result
//! is canonical JSON.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::expressions::expression_input;
use super::tree::{NoObject, Tree};
use super::{Input, Outputs};
use json::{self, ValueKind};
use memory::event::Class;
use streams::ports::{ExpressionFailure, Expressions};
use streams::processor::{Processor, ProcessorContext, ProcessorError};
use streams::record::Record;

/// Changes of a value. In this order: `value` replaces it, all fields but `keep` are removed,
/// `drop` is removed, `set` is set. All expressions see the record as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapFields {
    /// Whether the first expression makes the whole value.
    pub has_value: bool,
    /// The only fields that stay, if any are named; each a path of names.
    pub keep: Vec<Vec<String>>,
    /// Fields that go.
    pub drop: Vec<Vec<String>>,
    /// Fields that the further expressions make, in their order.
    pub set: Vec<Vec<String>>,
}

/// Changes values.
pub struct Map {
    /// The input of the operator.
    pub input: Input,
    /// The change of the value.
    pub fields: Arc<MapFields>,
    /// The expressions that `fields` speaks of.
    pub expressions: Arc<dyn Expressions>,
    /// The output for the records.
    pub records: Outputs,
}

impl Processor for Map {
    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let Some(taken) = self.input.read_json(record, ctx)? else { return Ok(()) };
        let taken = taken.record();
        let made = self.evaluate(&taken).and_then(|made| self.value(&taken, made));
        match made {
            Ok(value) => self.records.emit(&Record { value: Some(&value), ..taken }, ctx),
            Err(failure) => self.input.send_dead_letter(failure.class, &failure.message, record, ctx),
        }
    }
}

impl Map {
    fn evaluate(&self, record: &Record<'_>) -> Result<Vec<Vec<u8>>, ExpressionFailure> {
        let mut all = Ok(Vec::new());
        self.expressions.each(&expression_input(record), &mut |_, made| match (made, &mut all) {
            (Ok(json), Ok(list)) => {
                list.push(json);
                ControlFlow::Continue(())
            }
            (Err(failure), _) => {
                all = Err(failure);
                ControlFlow::Break(())
            }
            (_, Err(_)) => ControlFlow::Break(()),
        });
        all
    }

    fn value(&self, record: &Record<'_>, made: Vec<Vec<u8>>) -> Result<Vec<u8>, ExpressionFailure> {
        let MapFields { has_value, keep, drop, set } = &*self.fields;
        let mut made = made.into_iter();
        let whole = if *has_value { made.next() } else { None };
        let text = whole.as_deref().or(record.value).unwrap_or(b"null");
        let document = json::parse(text).map_err(|e| ExpressionFailure {
            class: Class::of_json(e.fault).as_str(),
            message: format!("the value can't be read as JSON: {e}"),
        })?;
        let has_fields = [keep, drop, set].iter().any(|paths| !paths.is_empty());
        if has_fields && document.root().kind() != ValueKind::Object {
            let what = if *has_value { "what `value` gives" } else { "the value" };
            return Err(wrong_type(format!("{what} is no object, so it has no fields to keep, drop or set")));
        }
        let mut tree = Tree::Whole(document.root());
        if !keep.is_empty() {
            let mut kept = Tree::Object(BTreeMap::new());
            for path in keep {
                if let Some(value) = tree.remove(&names(path)) {
                    put(&mut kept, path, value)?;
                }
            }
            tree = kept;
        }
        drop.iter().for_each(|path| _ = tree.remove(&names(path)));
        for (path, json) in set.iter().zip(made) {
            put(&mut tree, path, Tree::Made(Cow::Owned(json)))?;
        }
        let mut out = Vec::with_capacity(text.len());
        tree.write(&mut out);
        Ok(out)
    }
}

fn names(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

fn put<'v>(tree: &mut Tree<'v>, path: &'v [String], value: Tree<'v>) -> Result<(), ExpressionFailure> {
    tree.put(&names(path), value).map_err(|NoObject(at)| {
        let whole = path.join(".");
        let part = path[..at].join(".");
        wrong_type(format!("`{whole}` cannot be set: `{part}` is no object"))
    })
}

fn wrong_type(message: String) -> ExpressionFailure {
    ExpressionFailure { class: Class::WrongType.as_str(), message }
}
