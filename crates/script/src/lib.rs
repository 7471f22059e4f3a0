//! Code of users in Rhai: custom resolvers, which are compiled once and called for each field in
//! conflict, and the expressions of topology files, asked for each record.
//!
//! A script is `fn resolve(path, contenders)`. It is a function of these two alone: the engine has
//! no clock, no random numbers, no files, no modules, no `eval`, no `print`, and of floats only
//! what IEEE 754 says to the last bit. Each call has a [`Budget`].
//!
//! | file | what it is |
//! |---|---|
//! | `budget` | limits of one call |
//! | `expression` | expressions over a record |
//! | `flaw` | why a text is refused |
//! | `uses` | members of a record that an expression uses |
//! | `sandbox` | the engine: permitted code and its limits |
//! | `functions` | functions that a script may call |
//! | `values` | JSON to values of the engine, and back |

mod budget;
mod expression;
mod flaw;
mod functions;
mod sandbox;
#[cfg(test)]
mod tests;
mod uses;
mod values;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use rhai::Dynamic;

pub use budget::Budget;
pub use expression::{Compiled, ExpressionCompiler};
pub use flaw::Flaw;
use memory::strategy::{Contender, CustomResolver, Resolution, ResolverFailure};
use sandbox::{Answer, Sandbox};

/// One question to the script.
struct Question {
    path: String,
    contenders: Dynamic,
    /// Whether a contender clears the field.
    clears: bool,
}

/// The thread that the script runs on, and the way there and back. Values may nest as deep as the
/// budget has items, and each level of one takes stack when it is copied or dropped: more than a
/// stream thread has.
struct Worker {
    questions: Sender<Question>,
    answers: Receiver<Answer>,
}

/// A compiled script.
pub struct Script {
    name: String,
    budget: Budget,
    worker: Mutex<Worker>,
}

/// Stack for parsing and calls, and for each level of a value: 20,000 levels were measured to need
/// less than half of it.
const STACK_BYTES: usize = 32 << 20;
const STACK_BYTES_OF_LEVEL: usize = 4 << 10;
/// How much of an error's text goes into a conflict record: a script may throw anything.
const MAX_TEXT_CHARS: usize = 200;

impl Script {
    /// Compiles a script.
    ///
    /// # Errors
    /// A description of the problem with its text, and its place.
    pub fn compile(name: &str, text: &str, budget: Budget) -> Result<Script, Flaw> {
        let sandbox = Sandbox::new(text, budget)?;
        let (questions, asked) = channel();
        let (tell, answers) = channel();
        let stack = STACK_BYTES + budget.items * STACK_BYTES_OF_LEVEL;
        let body = move || serve(&sandbox, &asked, &tell);
        thread::Builder::new().name(format!("script {name}")).stack_size(stack).spawn(body).map_err(|e| Flaw {
            code: "HS0008",
            at: 0,
            message: format!("the operating system refuses a thread for the script: {e}"),
            fix: "raise the limits of threads and memory of this process, or lower `script_items`".to_owned(),
        })?;
        Ok(Script { name: name.to_owned(), budget, worker: Mutex::new(Worker { questions, answers }) })
    }

    /// Whether a text is a script, without running it.
    ///
    /// # Errors
    /// A description of the problem, and its place.
    pub fn check(text: &str, budget: Budget) -> Result<(), Flaw> {
        Sandbox::new(text, budget).map(|_| ())
    }

    fn run_on_worker(&self, path: &str, contenders: &[Contender<'_>]) -> Answer {
        let clears = contenders.iter().any(|c| c.value == b"null");
        let contenders = values::contenders(contenders, &self.budget)?;
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = || ResolverFailure("its thread is gone".to_owned());
        worker.questions.send(Question { path: path.to_owned(), contenders, clears }).map_err(|_| gone())?;
        worker.answers.recv().unwrap_or_else(|_| Err(gone()))
    }
}

impl CustomResolver for Script {
    fn resolve(&self, path: &str, contenders: &[Contender<'_>]) -> Result<Resolution, ResolverFailure> {
        self.run_on_worker(path, contenders).map_err(|ResolverFailure(why)| {
            let shown: String = why.chars().take(MAX_TEXT_CHARS).collect();
            let more = if shown.len() < why.len() { "…" } else { "" };
            ResolverFailure(format!("script {}: {shown}{more}", self.name))
        })
    }
}

/// Answers until nobody can ask any more.
fn serve(sandbox: &Sandbox, asked: &Receiver<Question>, tell: &Sender<Answer>) {
    for Question { path, contenders, clears } in asked {
        let run = AssertUnwindSafe(|| sandbox.run(&path, contenders, clears));
        let answer = catch_unwind(run).unwrap_or_else(|_| Err(ResolverFailure("the engine failed".to_owned())));
        if tell.send(answer).is_err() {
            return;
        }
    }
}
