//! Keeps `run` from leaving state behind without permission: the topology of the last run in this
//! slot is compared with the topology of now.

use anyhow::anyhow;

use super::state::KEPT_TOPOLOGY;
use super::topology_description::{TopologyDescription, diff};
use super::{CommandError, Program, settings};
use crate::edges::state_dir::InstanceDir;
use topology_file::Topology as File;
use topology_file::variables::Variables;

/// Refuses a topology with which the state of a store would not go on, unless that is accepted for
/// this store.
pub fn refuse_lost_state(
    slot: &InstanceDir,
    file: &File,
    flags: &[String],
    program: &Program,
) -> Result<(), CommandError> {
    let unreadable = |e| anyhow!("read the state directory {}: {e} [HS3004]", slot.tasks.display());
    let has_state = std::fs::read_dir(&slot.tasks).map_err(unreadable)?.next().is_some();
    let Some(kept) = slot.read_text(KEPT_TOPOLOGY)?.filter(|_| has_state) else { return Ok(()) };
    let mut last = match topology_file::parse_with(KEPT_TOPOLOGY, &kept, Variables::Filled, &program.operators) {
        Ok(last) => last,
        Err(problems) => {
            tracing::warn!(
                code = "HS3021",
                "the topology of the last run in slot {} cannot be read, so nothing says whether its state survives: {}",
                slot.number,
                problems.summary()
            );
            return Ok(());
        }
    };
    // A slot holds the state of one application, whichever way its id was set.
    last.values.resolver.application_id.clone_from(&file.values.resolver.application_id);
    let now = TopologyDescription::of(file)?;
    let accepted: Vec<String> =
        settings::variable_list("HELIXSTREAM_ACCEPT_RESET").into_iter().chain(flags.to_vec()).collect();
    let mut refused = Vec::new();
    for loss in diff::compare(&TopologyDescription::of(&last)?, &now).losses {
        if accepted.contains(&loss.store) {
            tracing::warn!(
                code = "HS3022",
                "the state of store `{}` ({}) is left behind, as accepted: {}",
                loss.store,
                loss.changelog,
                loss.why
            );
            continue;
        }
        let stays = now.stores().any(|(_, store)| store.name == loss.store && store.changelog.topic == loss.changelog);
        let advice = match stays {
            true => format!(" (delete `{}` first, or give the store another name)", loss.changelog),
            false => String::new(),
        };
        refused.push(format!(
            "the state of store `{name}` in `{}` would be lost: {}; keep the topology as it was, or accept the loss with \
             --accept-reset {name}{advice} [HS3023]",
            loss.changelog,
            loss.why,
            name = loss.store,
        ));
    }
    if refused.is_empty() { Ok(()) } else { Err(CommandError::Usage(refused.join("\nhelixstream: "))) }
}
