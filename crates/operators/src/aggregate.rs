//! The operators `aggregate` and `count`: keep for each key what all its records come to, and give
//! it out when it changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::expressions::{expression_input, key, one};
use super::{Input, LEFT_OUT, MISSING_KEY, Outputs};
use json::Number;
use memory::view::ObjectWriter;
use streams::ports::{Evaluated, ExpressionFailure, ExpressionInput, Expressions};
use streams::processor::{Processor, ProcessorContext, ProcessorError, Retained};
use streams::record::{Headers, Record};

/// How a record comes to what was there.
#[derive(Clone)]
pub enum Fold {
    /// By an expression over both; another one says what stands before the first record.
    Expressions {
        /// Before the first record.
        initial: Arc<dyn Expressions>,
        /// With a record more.
        add: Arc<dyn Expressions>,
    },
    /// An object of counts: the member that an expression names is one more. `()` counts nowhere.
    Count {
        /// The member.
        by: Arc<dyn Expressions>,
    },
}

/// Keeps aggregates.
pub struct Aggregate {
    /// Its name in the file.
    pub name: String,
    /// The input of the operator.
    pub input: Input,
    /// How records come together.
    pub fold: Fold,
    /// Its store.
    pub rows: Retained,
    /// Whether keys are forgotten that no record came for.
    pub forgets: bool,
    /// The output for the aggregates.
    pub aggregates: Outputs,
}

impl Processor for Aggregate {
    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let Some(taken) = self.input.read_json(record, ctx)? else { return Ok(()) };
        let taken = taken.record();
        let Some(key) = taken.key else {
            let message = "the record has no key, and state is kept by key: give it one (operator `rekey`)";
            return self.input.send_dead_letter(MISSING_KEY, message, record, ctx);
        };
        let old = self.rows.get(ctx, key)?;
        let new = match self.add(old.as_deref(), &expression_input(&taken)) {
            Ok(Some(new)) => new,
            Ok(None) => {
                ctx.count(LEFT_OUT, &self.name, 1);
                return Ok(());
            }
            Err(failure) => return self.input.send_dead_letter(failure.class, &failure.message, record, ctx),
        };
        let is_same = old.as_deref() == Some(&new);
        if !is_same || self.forgets {
            self.rows.put(ctx, key, &new)?;
        }
        if is_same {
            return Ok(());
        }
        // What a record says of itself in its headers does not hold for an aggregate.
        self.aggregates.emit(&Record { value: Some(&new), headers: Headers::NONE, ..taken }, ctx)
    }

    fn punctuate(&mut self, _boundary_ms: i64, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        self.rows.punctuate(ctx)
    }
}

impl Aggregate {
    /// The aggregate after one more record; `None` where the record does not count.
    fn add(&self, old: Option<&[u8]>, given: &ExpressionInput<'_>) -> Result<Option<Vec<u8>>, ExpressionFailure> {
        match &self.fold {
            Fold::Expressions { initial, add } => {
                let first: Evaluated = old.map_or_else(|| one(&**initial, given), |json| Ok(json.to_vec()));
                one(&**add, &ExpressionInput { aggregate: Some(&first?), ..*given }).map(Some)
            }
            Fold::Count { by } => {
                let Some(member) = one(&**by, given).and_then(|json| key(&json))? else { return Ok(None) };
                Ok(Some(counted(old, &String::from_utf8_lossy(&member))))
            }
        }
    }
}

/// An object of counts with one more.
fn counted(old: Option<&[u8]>, member: &str) -> Vec<u8> {
    let document = old.and_then(|json| json::parse(json).ok());
    let members = document.iter().flat_map(|document| document.root().members());
    let count = |value: json::Value<'_>| match value.as_number() {
        Some(Number::Int(n)) => u64::try_from(n).unwrap_or(0),
        _ => 0,
    };
    let mut counts: BTreeMap<&str, u64> = members.map(|(name, value)| (name, count(value))).collect();
    let of_member = counts.entry(member).or_default();
    *of_member = of_member.saturating_add(1);
    let mut out = Vec::with_capacity(old.map_or(0, <[u8]>::len) + member.len() + 8);
    let mut object = ObjectWriter::new(&mut out);
    counts.iter().for_each(|(name, n)| object.integer(name, *n));
    object.end();
    out
}
