//! `helixstream topology`: checks, describes and compares topology files, without a broker.

use std::path::Path;

use anyhow::anyhow;

use super::scripting::Rhai;
use super::topology_description::{self, TopologyDescription, diff};
use super::{CommandError, Program, resolvers, settings};
use crate::edges::cli::{DescribeFormat, TopologyAction};
use topology_file::schema;

/// Does what is asked for.
pub fn topology(action: &TopologyAction, program: &Program) -> Result<(), CommandError> {
    match action {
        TopologyAction::Check { file } => check(file, program),
        TopologyAction::Describe { file, format } => describe(file, *format, program),
        TopologyAction::Diff { old, new } => compare(old, new, program),
        TopologyAction::Schema => {
            print!("{}", schema::text(&program.operators)?);
            Ok(())
        }
    }
}

fn check(path: &Path, program: &Program) -> Result<(), CommandError> {
    let name = path.display().to_string();
    let text = settings::text(path)?;
    let names = program.resolvers.names();
    let file = settings::reading(program, &Rhai { reads_files: true }, Some(&names)).read(&name, &text);
    let file = file.map_err(CommandError::Topology)?;
    resolvers::join(&file, &program.resolvers)?;
    let shape = TopologyDescription::of(&file)?;
    println!(
        "{name}: sound: {}, {}, {}",
        count(shape.subtopologies.len(), "sub-topology", "sub-topologies"),
        count(file.graph.nodes.len(), "node", "nodes"),
        count(file.graph.stores.len(), "store", "stores"),
    );
    Ok(())
}

fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

fn describe(path: &Path, format: DescribeFormat, program: &Program) -> Result<(), CommandError> {
    print!("{}", topology_description::describe(&settings::read(path, program)?, format)?);
    Ok(())
}

fn compare(old: &Path, new: &Path, program: &Program) -> Result<(), CommandError> {
    let shape = |path: &Path| TopologyDescription::of(&settings::read(path, program)?);
    let old = shape(old)?;
    let new = shape(new)?;
    let diff = diff::compare(&old, &new);
    diff.lines.iter().for_each(|(word, text)| println!("{word:<8} {text}"));
    let lost: Vec<&str> = diff.losses.iter().map(|loss| loss.store.as_str()).collect();
    if lost.is_empty() {
        println!("state survives");
        return Ok(());
    }
    Err(anyhow!(
        "the state of these stores does not survive the change: {}; `helixstream run` refuses to start without --accept-reset for \
         each of them [HS0061]",
        lost.join(", ")
    ).into())
}
