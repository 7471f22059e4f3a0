//! The engine that scripts run in: nothing of the world, nothing without an end.

use rhai::packages::{
    ArithmeticPackage, BasicIteratorPackage, BasicMapPackage, BasicStringPackage, LogicPackage, Package,
};
use rhai::{AST, CallFnOptions, Dynamic, Engine, EvalAltResult, OptimizationLevel, Position, Scope};

use super::values::{self, Cleared, Deferred};
use super::{Budget, Flaw, functions};
use memory::strategy::{Resolution, ResolverFailure};

/// The function that is asked.
const ENTRY: &str = "resolve";
/// Variables that one function may have at a time, and functions of a script.
const MAX_VARIABLES: usize = 32;
const MAX_FUNCTIONS: usize = 64;
/// Nesting of expressions; parsing one takes stack.
const MAX_NESTING: usize = 32;

/// Symbols that would reach beyond the arguments, or differ between machines: `**` of floats is the
/// C library's.
const FORBIDDEN: &[&str] = &["eval", "print", "debug", "**", "**=", "Fn", "call", "curry", "is_def_var", "is_def_fn"];

/// The result of one call of a script.
pub type Answer = Result<Resolution, ResolverFailure>;

/// An engine and the script in it.
pub struct Sandbox {
    engine: Engine,
    script: AST,
    budget: Budget,
}

impl Sandbox {
    /// Reads a script.
    ///
    /// # Errors
    /// A description of the problem.
    pub fn new(text: &str, budget: Budget) -> Result<Sandbox, Flaw> {
        let mut engine = engine(&budget);
        BasicMapPackage::new().register_into_engine(&mut engine);
        BasicIteratorPackage::new().register_into_engine(&mut engine);
        functions::of_resolvers(&mut engine);
        let script = engine.compile(text).map_err(|e| Flaw {
            code: "HS7002",
            at: byte_of(text, e.position()),
            message: e.err_type().to_string(),
            fix: "correct the line so that it is valid Rhai (https://rhai.rs/book); functions that reach outside of `path` and \
                  `contenders` are disabled"
                .to_owned(),
        })?;
        let is_entry = |f: &rhai::ScriptFnMetadata<'_>| f.name == ENTRY && f.params.len() == 2;
        if !script.iter_functions().any(|f| is_entry(&f)) {
            let message = format!("the script has no function `{ENTRY}` with two parameters");
            let fix = format!("define it: `fn {ENTRY}(path, contenders) {{ … }}`");
            return Err(Flaw { code: "HS7004", at: 0, message, fix });
        }
        // What stands outside of functions would never run.
        Ok(Sandbox { engine, script: script.clone_functions_only(), budget })
    }

    /// Asks the script once.
    pub fn run(&self, path: &str, contenders: Dynamic, clears: bool) -> Answer {
        let options = CallFnOptions::new().eval_ast(false);
        let mut scope = Scope::new();
        let arguments = (path.to_owned(), contenders);
        let made: Dynamic = self
            .engine
            .call_fn_with_options(options, &mut scope, &self.script, ENTRY, arguments)
            .map_err(|e| failure(*e))?;
        if made.is::<Deferred>() {
            return Ok(Resolution::Defer);
        }
        if made.is::<Cleared>() || (made.is_unit() && clears) {
            return Ok(Resolution::Value(b"null".to_vec()));
        }
        if made.is_unit() {
            let why = "it returned nothing, and no contender clears the field: return a value, defer() or clear()";
            return Err(ResolverFailure(why.to_owned()));
        }
        values::json(&made, &self.budget).map(Resolution::Value)
    }
}

/// An engine within a budget that has operators and texts, and no functions yet.
pub(super) fn engine(budget: &Budget) -> Engine {
    let mut engine = Engine::new_raw();
    ArithmeticPackage::new().register_into_engine(&mut engine);
    LogicPackage::new().register_into_engine(&mut engine);
    BasicStringPackage::new().register_into_engine(&mut engine);
    for symbol in FORBIDDEN {
        engine.disable_symbol(*symbol);
    }
    engine
        .set_optimization_level(OptimizationLevel::None)
        .set_strict_variables(true)
        .set_allow_anonymous_fn(false)
        .set_max_operations(budget.operations)
        .set_max_call_levels(budget.depth)
        .set_max_string_size(budget.bytes)
        .set_max_array_size(budget.items)
        .set_max_map_size(budget.items)
        .set_max_variables(MAX_VARIABLES)
        .set_max_functions(MAX_FUNCTIONS)
        .set_max_strings_interned(0)
        .set_max_expr_depths(MAX_NESTING, MAX_NESTING);
    engine
}

/// The innermost error, in the engine's words: where a function was called from says little more.
pub(super) fn failure(error: EvalAltResult) -> ResolverFailure {
    ResolverFailure(error.unwrap_inner().to_string())
}

/// The byte of a text that a position of the engine means.
pub(super) fn byte_of(text: &str, position: Position) -> usize {
    let Some(line) = position.line() else { return text.trim_end().len() };
    let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let column = position.position().unwrap_or(1).saturating_sub(1);
    start + text[start..].chars().take_while(|c| *c != '\n').take(column).map(char::len_utf8).sum::<usize>()
}
