//! Settings from the topology file, variables and flags: a flag beats a variable, which beats the
//! file.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::mirrored_topics::check_nodes_topic;
use super::scripting::Rhai;
use super::{CommandError, Program};
use crate::edges::cli::TopologyArgs;
use topology_file::expression::Scripting;
use topology_file::script::names;
use topology_file::variables::{self, Variables};
use topology_file::{ParseOptions, Topology, setting::Values};

/// Reads the topology file and lays variables and flags over it.
pub fn load(args: &TopologyArgs, application_id: Option<&str>, program: &Program) -> Result<Topology, CommandError> {
    let mut topology = read_whole(&args.topology, program)?;
    overrides(&mut topology.values, &args.set)?;
    if let Some(id) = application_id {
        topology_file::check_application_id(id)
            .map_err(|e| CommandError::Usage(format!("--application-id: {e} [HS0019]")))?;
        topology.values.resolver.application_id = id.to_owned();
    }
    topology.values.check(&names(&topology.scripts, &program.resolvers.names())).map_err(CommandError::Usage)?;
    check_nodes_topic(&topology)?;
    Ok(topology)
}

/// The text of a topology file.
pub fn text(path: &Path) -> Result<String, CommandError> {
    std::fs::read_to_string(path).map_err(|e| {
        let file = path.display();
        CommandError::Usage(format!(
            "cannot read the topology file {file}: {e}; name a topology file, for example topologies/memory.toml [HS0010]"
        ))
    })
}

/// How a topology file is read, with the variables of this process.
pub fn reading<'r>(
    program: &'r Program,
    scripting: &'r dyn Scripting,
    alone: Option<&'r [&'r str]>,
) -> ParseOptions<'r> {
    let variables = Variables::From(&variables::of_process);
    ParseOptions { operators: &program.operators, variables, alone, scripting: Some(scripting) }
}

/// Reads and checks a topology file, but for the files of its scripts.
pub fn read(path: &Path, program: &Program) -> Result<Topology, CommandError> {
    let file = path.display().to_string();
    let text = text(path)?;
    reading(program, &Rhai { reads_files: false }, None).read(&file, &text).map_err(CommandError::Topology)
}

/// Reads and checks a topology file, the files of its scripts too.
pub fn read_whole(path: &Path, program: &Program) -> Result<Topology, CommandError> {
    let file = path.display().to_string();
    let text = text(path)?;
    reading(program, &Rhai { reads_files: true }, None).read(&file, &text).map_err(CommandError::Topology)
}

/// Lays `HELIXSTREAM_SET`, then the flags, over the settings.
pub fn overrides(values: &mut Values, flags: &[String]) -> Result<(), CommandError> {
    for assignment in variable_list("HELIXSTREAM_SET") {
        values.set_text(&assignment, "HELIXSTREAM_SET").map_err(CommandError::Usage)?;
    }
    for assignment in flags {
        values.set_text(assignment, "--set").map_err(CommandError::Usage)?;
    }
    Ok(())
}

/// A variable that stands for a repeatable flag: several, separated by `;` or new lines.
pub fn variable_list(name: &str) -> Vec<String> {
    let text = std::env::var(name).unwrap_or_default();
    text.split([';', '\n']).map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect()
}
/// Warns that a flag puts a secret on the command line, once for each flag: settings are joined
/// more than once in a run. `instead` is what takes the secret from a file.
pub fn warn_of_command_line(flag: &str, instead: &str) {
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(flag.to_owned()) {
        tracing::warn!(
            code = "HS0092",
            "{flag} puts a secret on the command line, where every user of this machine can read it; give it by {instead} instead"
        );
    }
}
