//! Rhai behind the configuration's [`Scripting`]: so that problems of expressions and scripts are
//! reported together with all others in a topology file.

use std::sync::Arc;

use operators::spec::BuildError;
use script::{Budget, ExpressionCompiler, Script};
use streams::ports::Expressions;
use topology_file::Topology as File;
use topology_file::expression::{Flaw, Scripting};
use topology_file::setting::ScriptLimits;
use topology_file::table::beside;

/// The engine of scripts.
pub struct Rhai {
    /// Whether files of scripts are read.
    pub reads_files: bool,
}

/// The budget that settings say.
pub fn budget(limits: &ScriptLimits) -> Budget {
    Budget { operations: limits.operations, bytes: limits.bytes, items: limits.items, depth: limits.depth }
}

fn flaw_of(flaw: script::Flaw) -> Flaw {
    Flaw { code: flaw.code, at: flaw.at, message: flaw.message, fix: flaw.fix }
}

impl Scripting for Rhai {
    fn file(&self, topology: &str, path: &str) -> Option<Result<(String, String), String>> {
        if !self.reads_files {
            return None;
        }
        let place = beside(topology, path);
        let shown = place.display().to_string();
        let read = std::fs::read_to_string(&place);
        Some(read.map(|text| (shown.clone(), text)).map_err(|e| format!("cannot read the script {shown}: {e}")))
    }

    fn resolver(&self, text: &str, limits: &ScriptLimits) -> Result<(), Flaw> {
        Script::check(text, budget(limits)).map_err(flaw_of)
    }

    fn expression(&self, text: &str, has_aggregate: bool, limits: &ScriptLimits) -> Result<(), Flaw> {
        ExpressionCompiler::new(budget(limits)).check(text, has_aggregate).map_err(flaw_of)
    }
}

/// Compiles the expressions of a file's nodes.
pub struct Compiler<'f> {
    file: &'f File,
    compiler: ExpressionCompiler,
}

impl<'f> Compiler<'f> {
    /// Within the file's limits.
    pub fn of(file: &'f File) -> Compiler<'f> {
        Compiler { file, compiler: ExpressionCompiler::new(budget(&file.values.scripts)) }
    }

    /// Expressions that look at the same record, and at an aggregate if there is one.
    ///
    /// # Errors
    /// Which is wrong, and how: of a file that was checked none is.
    pub fn compile(&self, node: &str, texts: &[&str], has_aggregate: bool) -> Result<Arc<dyn Expressions>, BuildError> {
        let compiled = self.compiler.compile(texts, has_aggregate).map_err(|(at, flaw)| {
            let text = texts.get(at).copied().unwrap_or_default();
            BuildError::Expression(format!(
                "{}: the expression `{text}` of `{node}`: {}; {} [{}]",
                self.file.file, flaw.message, flaw.fix, flaw.code
            ))
        })?;
        Ok(Arc::new(compiled))
    }
}
