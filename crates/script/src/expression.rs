//! Expressions of topology files: Rhai without statements, so without loops, functions and
//! variables of its own. What one makes nests no deeper than its text and the record do, so it runs
//! on the thread that asks.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rhai::{AST, Dynamic, Engine, INT, Map, Scope};

use super::sandbox::{byte_of, engine, failure};
use super::uses::{Part, Uses};
use super::values::{self, Left};
use super::{Budget, Flaw, MAX_TEXT_CHARS, functions};
use json::{self, Value, ValueKind};
use memory::event::Class;
use memory::strategy::ResolverFailure;
use streams::ports::{Evaluated, ExpressionFailure, ExpressionInput, Expressions};

/// The class of a dead letter whose expression failed, went over its budget or gave what it must
/// not.
const SCRIPT_FAILED: &str = "script_failed";

/// Variables of an expression, besides `aggregate`.
const NAMES: [&str; 4] = ["key", "value", "headers", "timestamp"];
const AGGREGATE: &str = "aggregate";

/// Compiles expressions within one budget; they share its engine.
#[derive(Clone)]
pub struct ExpressionCompiler {
    engine: Arc<Engine>,
    budget: Budget,
}

impl ExpressionCompiler {
    /// For expressions that may take so much at most, each time that they are asked.
    pub fn new(budget: Budget) -> ExpressionCompiler {
        let mut engine = engine(&budget);
        functions::of_expressions(&mut engine);
        ExpressionCompiler { engine: Arc::new(engine), budget }
    }

    /// Compiles expressions that look at the same record, and at an aggregate if there is one.
    ///
    /// # Errors
    /// Which is wrong, and how.
    pub fn compile(&self, texts: &[&str], has_aggregate: bool) -> Result<Compiled, (usize, Flaw)> {
        let one = |(at, text): (usize, &&str)| self.read(text, has_aggregate).map_err(|flaw| (at, flaw));
        let list = texts.iter().enumerate().map(one).collect::<Result<_, _>>()?;
        Ok(Compiled { engine: self.engine.clone(), budget: self.budget, list, uses: Uses::of(texts) })
    }

    /// Whether a text is an expression.
    ///
    /// # Errors
    /// A description of the problem.
    pub fn check(&self, text: &str, has_aggregate: bool) -> Result<(), Flaw> {
        self.read(text, has_aggregate).map(|_| ())
    }

    fn read(&self, text: &str, has_aggregate: bool) -> Result<AST, Flaw> {
        let mut names = Scope::new();
        let known = NAMES.into_iter().chain(has_aggregate.then_some(AGGREGATE));
        known.clone().for_each(|name| _ = names.push_dynamic(name, Dynamic::UNIT));
        self.engine.compile_expression_with_scope(&names, text).map_err(|e| Flaw {
            code: "HS7001",
            at: byte_of(text, e.position()),
            message: e.err_type().to_string(),
            fix: format!(
                "write one Rhai expression (https://rhai.rs/book) over {}; statements, loops and function definitions are not allowed",
                known.collect::<Vec<_>>().join(", ")
            ),
        })
    }
}

/// Expressions, compiled.
pub struct Compiled {
    engine: Arc<Engine>,
    budget: Budget,
    list: Vec<AST>,
    uses: Uses,
}

impl Expressions for Compiled {
    fn each(&self, given: &ExpressionInput<'_>, visit: &mut dyn FnMut(usize, Evaluated) -> ControlFlow<()>) {
        let mut scope = match self.scope(given) {
            Ok(scope) => scope,
            Err(failure) => {
                let _ = visit(0, Err(failure));
                return;
            }
        };
        for (at, expression) in self.list.iter().enumerate() {
            let run = AssertUnwindSafe(|| self.evaluate(&mut scope, expression));
            let made = catch_unwind(run).unwrap_or_else(|_| Err(failed("the engine failed")));
            if visit(at, made).is_break() {
                return;
            }
        }
    }
}

impl Compiled {
    fn evaluate(&self, scope: &mut Scope<'static>, expression: &AST) -> Evaluated {
        let made: Dynamic = self.engine.eval_ast_with_scope(scope, expression).map_err(|e| failed(&failure(*e).0))?;
        values::json(&made, &self.budget).map_err(of_budget)
    }

    fn scope(&self, given: &ExpressionInput<'_>) -> Result<Scope<'static>, ExpressionFailure> {
        let mut scope = Scope::new();
        let mut left = Left::of(&self.budget);
        if self.uses.key {
            scope.push_dynamic("key", self.key(given, &mut left)?);
        }
        let document = json::parse(given.value).map_err(|e| malformed("the value", &e))?;
        scope.push_dynamic("value", value(document.root(), &self.uses.value, &mut left).map_err(of_budget)?);
        if self.uses.headers {
            let mut headers = Map::new();
            for (name, text) in given.headers {
                left.item().map_err(of_budget)?;
                let text = text.map_or(Ok(Dynamic::UNIT), |text| left.text(&String::from_utf8_lossy(text)));
                headers.insert(name.into(), text.map_err(of_budget)?);
            }
            scope.push_dynamic("headers", headers.into());
        }
        scope.push_dynamic("timestamp", INT::from(given.timestamp_ms).into());
        if let Some(aggregate) = given.aggregate.filter(|_| self.uses.aggregate) {
            let document = json::parse(aggregate).map_err(|e| malformed("the aggregate", &e))?;
            scope.push_dynamic(AGGREGATE, values::value(document.root(), &mut left).map_err(of_budget)?);
        }
        Ok(scope)
    }

    fn key(&self, given: &ExpressionInput<'_>, left: &mut Left) -> Result<Dynamic, ExpressionFailure> {
        let Some(key) = given.key else { return Ok(Dynamic::UNIT) };
        let text = std::str::from_utf8(key).map_err(|_| failed("the record's key is no text in UTF-8"))?;
        left.text(text).map_err(of_budget)
    }
}

/// As much of a value as is looked at.
fn value(json: Value<'_>, part: &Part, left: &mut Left) -> Result<Dynamic, ResolverFailure> {
    let members = match part {
        Part::Members(members) if members.is_empty() => return Ok(Dynamic::UNIT),
        Part::Members(members) if json.kind() == ValueKind::Object => members,
        _ => return values::value(json, left),
    };
    let mut map = Map::new();
    for (key, member) in json.members().filter(|(key, _)| members.contains(*key)) {
        left.item()?;
        map.insert(key.into(), values::value(member, left)?);
    }
    Ok(map.into())
}

fn malformed(what: &str, error: &json::JsonError) -> ExpressionFailure {
    ExpressionFailure {
        class: Class::of_json(error.fault).as_str(),
        message: format!("{what} can't be read as JSON: {error}"),
    }
}

fn of_budget(ResolverFailure(why): ResolverFailure) -> ExpressionFailure {
    failed(&why)
}

/// A script may throw anything, so a long text is cut.
fn failed(why: &str) -> ExpressionFailure {
    let shown: String = why.chars().take(MAX_TEXT_CHARS).collect();
    let more = if shown.len() < why.len() { "…" } else { "" };
    ExpressionFailure { class: SCRIPT_FAILED, message: format!("the expression failed: {shown}{more}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use streams::record::Headers;

    const BUDGET: Budget = Budget { operations: 1_000, bytes: 1 << 10, items: 100, depth: 8 };

    fn asked(texts: &[&str], value: &str) -> Vec<Result<String, String>> {
        let compiled =
            ExpressionCompiler::new(BUDGET).compile(texts, true).unwrap_or_else(|(at, flaw)| panic!("{at}: {flaw:?}"));
        let given = ExpressionInput {
            key: Some(b"k"),
            value: value.as_bytes(),
            headers: Headers::List(&[("h", Some(b"x"))]),
            timestamp_ms: 7,
            aggregate: Some(b"[1]"),
        };
        let mut all = Vec::new();
        compiled.each(&given, &mut |at, made| {
            assert_eq!(at, all.len());
            all.push(
                made.map(|json| String::from_utf8(json).unwrap()).map_err(|e| format!("{}: {}", e.class, e.message)),
            );
            ControlFlow::Continue(())
        });
        all
    }

    fn one(text: &str) -> Result<String, String> {
        asked(&[text], r#"{"a":{"b":[1,2.5,18446744073709551615]},"n":3}"#).remove(0)
    }

    #[test]
    fn an_expression_gives_canonical_json() {
        for (text, expected) in [
            ("value.n + 1", "4"),
            ("#{ z: key, a: headers.h, t: timestamp }", r#"{"a":"x","t":7,"z":"k"}"#),
            ("value.a.b", "[1,2.5,18446744073709551615]"),
            ("if value.n > 2 { \"big\" } else { () }", "\"big\""),
            ("switch value.n { 1 => false, _ => true }", "true"),
            ("value.none ?? 5", "5"),
            ("value?.none?.deeper", "null"),
            ("aggregate.put(value.n)", "[1,3]"),
            ("value.put(\"n\", 1).without(\"a\")", r#"{"n":1}"#),
            ("sum([1, 2]) + sum(#{ a: 4 })", "7"),
            ("sum([1, 0.5])", "1.5"),
            ("\"a\" in value && value.contains(\"n\") && value.keys().len == 2", "true"),
        ] {
            assert_eq!(one(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn an_expression_fails_by_itself() {
        let all = asked(&["value.x.y", "value.n", "1 / 0"], "{\"n\":1}");
        assert!(all[0].as_ref().unwrap_err().starts_with("script_failed: the expression failed: "), "{all:?}");
        assert_eq!(all[1].as_deref(), Ok("1"));
        assert!(all[2].is_err() && one("sum([\"x\"])").is_err() && one("9223372036854775807 + 1").is_err());
        let big = format!("[{}1]", "1,".repeat(200));
        assert!(asked(&["value"], &big)[0].as_ref().unwrap_err().contains("`script_items`"));
        assert_eq!(asked(&["key"], &big), [Ok("\"k\"".to_owned())], "what is not looked at takes no budget");
        assert!(asked(&["key"], "no")[0].as_ref().unwrap_err().starts_with("malformed_json: "));
        let long: String = (0..9).fold("\"xxxxxxxxxx\"".to_owned(), |text, _| format!("({text} + {text})"));
        assert!(one(&long).unwrap_err().contains("too large"), "{:?}", one(&long));
    }

    #[test]
    fn what_is_no_expression_is_told_with_its_place() {
        let flaw = |text: &str| ExpressionCompiler::new(BUDGET).check(text, false).unwrap_err();
        for (text, part) in [
            ("let x = 1; x", "let"),
            ("while true {}", "while"),
            ("fn f() { 1 }", "fn"),
            ("value.x = 1", "="),
            ("1; 2", ";"),
            ("valu.x", "valu"),
            ("aggregate", "aggregate"),
            ("eval(\"1\")", "eval"),
            ("|x| x", "|"),
        ] {
            let found = flaw(text);
            assert_eq!(found.at, text.find(part).unwrap(), "{text}: {found:?}");
        }
        assert!(flaw("").fix.contains("over key, value, headers, timestamp;"));
    }

    #[test]
    fn nothing_changes_a_value_in_its_place() {
        for text in
            ["value.a.b.push(1)", "value.clear()", "value.remove(\"n\")", "value.a.set(\"b\", 1)", "value += #{}"]
        {
            let is_refused = ExpressionCompiler::new(BUDGET).check(text, false).is_err() || one(text).is_err();
            assert!(is_refused, "{text}");
        }
    }
}
