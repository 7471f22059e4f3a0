//! `helixstream` with a resolver of its own, for fields whose strategy is `custom`:
//!
//! `cargo run --example custom_resolver -- replay --topology topologies/memory.toml --set
//! strategy.content=custom:shortest --input tests/fixtures/helixagent-events.jsonl --output out`

use std::process::ExitCode;

use helixstream::Program;
use helixstream::memory::strategy::{Contender, CustomResolver, Resolution, ResolverFailure};

/// The shortest value that is not null wins, then the smallest by its bytes. It looks at the
/// contenders alone, so all instances decide alike.
struct Shortest;

impl CustomResolver for Shortest {
    fn resolve(&self, path: &str, contenders: &[Contender<'_>]) -> Result<Resolution, ResolverFailure> {
        let written = contenders.iter().map(|contender| contender.value).filter(|value| *value != b"null");
        let shortest = written.min_by_key(|value| (value.len(), *value));
        shortest
            .map(|value| Resolution::Value(value.to_vec()))
            .ok_or_else(|| ResolverFailure(format!("all contenders clear {path}")))
    }
}

fn main() -> ExitCode {
    helixstream::main(Program::default().with_resolver("shortest", Shortest))
}
