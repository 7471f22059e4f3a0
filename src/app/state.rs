//! `helixstream state`: reads the stores of a stopped instance.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal as _, Write as _};
use std::ops::ControlFlow;

use anyhow::anyhow;

use super::{CommandError, Program, Resolver, resolvers, settings, topology_from_file};
use crate::edges::cli::{StateAction, StateTarget, TopologyArgs};
use crate::edges::state_dir::InstanceDir;
use memory::state::{ReadFailure, Rows};
use memory::view::ResolutionContext;
use memory_operators::inspect;
use streams::error::with_code;
use streams::offset::StartOffset;
use streams::ports::TaskStore;
use streams::record::TaskId;
use streams::store::checkpoint::Position;
use streams::topology::StoreKind;
use streams_rocksdb::{RocksStores, StoreMemory};
use topology_file::Topology as File;
use topology_file::keys::SCRIPT;
use topology_file::script::{Script, names};
use topology_file::store::Store;
use topology_file::variables::Variables;

/// The texts that a run keeps in its slot, so that its state can be read as it was resolved.
pub const KEPT_TOPOLOGY: &str = "topology.toml";
const KEPT_SETTINGS: &str = "settings";

/// Name that is shown where a slot keeps no topology.
const MEMORY_TOPOLOGY: &str = include_str!("../../topologies/memory.toml");

/// The texts of a run, which its slot keeps beside the state.
pub struct KeptSettings {
    topology: String,
    overrides: String,
}

impl KeptSettings {
    /// Reads the topology file once more, and the settings that override it.
    pub fn read(args: &TopologyArgs, file: &File) -> Result<KeptSettings, CommandError> {
        let topology = without_connections(&file.file, &settings::text(&args.topology)?, &file.scripts)?;
        let overrides = settings::variable_list("HELIXSTREAM_SET").into_iter().chain(args.set.iter().cloned());
        Ok(KeptSettings { topology, overrides: overrides.collect::<Vec<_>>().join("\n") })
    }

    /// Writes them into the slot, in place of those of the run before.
    pub fn keep(&self, slot: &InstanceDir) -> Result<(), CommandError> {
        slot.write_text(KEPT_TOPOLOGY, &self.topology)?;
        slot.write_text(KEPT_SETTINGS, &self.overrides)?;
        Ok(())
    }
}

/// The file without what says how to reach Kafka, Postgres and the schema registry: passwords have
/// no place beside the state. Variables are filled in, since the state was resolved with what they
/// were, and so are the texts of scripts.
fn without_connections(file: &str, text: &str, scripts: &[Script]) -> Result<String, CommandError> {
    let mut table = topology_file::filled(file, text).map_err(CommandError::Topology)?;
    table.remove("run");
    table.remove("kafka");
    table.remove("schema_registry");
    let kept = table.get_mut(SCRIPT.name).and_then(toml::Value::as_array_mut).into_iter().flatten();
    for (table, script) in kept.filter_map(toml::Value::as_table_mut).zip(scripts) {
        table.remove("file");
        table.insert("source".to_owned(), script.text.clone().into());
    }
    Ok(toml::to_string(&table)?)
}

/// Prints one memory or all.
pub fn state(action: &StateAction, program: &Program) -> Result<(), CommandError> {
    match action {
        StateAction::Get { memory_id, target } => get(memory_id, target, program),
        StateAction::Dump { target } => dump(target, program),
    }
}

/// A store of memories, open for reading.
struct Open {
    task: TaskId,
    db: Box<dyn TaskStore>,
    file: std::sync::Arc<File>,
    custom: Resolver,
    next_offset: Option<StartOffset>,
}

impl Open {
    fn show(&self, id: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let context = ResolutionContext { settings: &self.file.values.resolver, custom: self.custom.as_deref() };
        inspect::memory(&StoreRows(&*self.db), id, &context).map_err(|e| {
            anyhow!(with_code(format!("read the memory {id} of task {}: {:#}", self.task, anyhow!(e)), "HS3001"))
        })
    }
}

struct StoreRows<'s>(&'s dyn TaskStore);

impl Rows for StoreRows<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadFailure> {
        Ok(self.0.get(0, key)?.map(|value| value.to_vec()))
    }
}

fn get(id: &str, target: &StateTarget, program: &Program) -> Result<(), CommandError> {
    let found = open_all(target, program)?;
    for open in &found.open {
        if let Some(json) = open.show(id)? {
            print(&json)?;
            return Ok(());
        }
    }
    found.all_lies_on_disk()?;
    let dir = target.state_dir.display();
    Err(anyhow!(
        "the state under {dir} holds no memory `{id}`: another instance may own it, or it never existed; look into the state directories of all \
         instances [HS3017]"
    )
    .into())
}

fn dump(target: &StateTarget, program: &Program) -> Result<(), CommandError> {
    let found = open_all(target, program)?;
    for open in &found.open {
        let mut ids = Vec::new();
        open.db.scan(0, b"", &mut |key, _| {
            ids.extend(inspect::memory_of(key).map(str::to_owned));
            ControlFlow::Continue(())
        })?;
        for id in ids {
            let is_read = open.show(&id)?.map(|json| print(&json)).transpose()?;
            if is_read == Some(false) {
                return Ok(());
            }
        }
    }
    found.all_lies_on_disk()
}

/// Writes a line; whether anybody still reads.
fn print(json: &[u8]) -> anyhow::Result<bool> {
    let mut out = std::io::stdout().lock();
    let text = String::from_utf8_lossy(json);
    let shown = if out.is_terminal() { escape::json(&text) } else { text };
    match out.write_all(shown.as_bytes()).and_then(|()| out.write_all(b"\n")) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(anyhow!("write to the standard output: {e} [HS0093]")),
    }
}

/// Memories that were found.
struct OpenedStores {
    open: Vec<Open>,
    /// Stores that are kept in memory.
    in_memory: BTreeSet<String>,
}

impl OpenedStores {
    fn all_lies_on_disk(&self) -> Result<(), CommandError> {
        let Some(store) = self.in_memory.first() else { return Ok(()) };
        let why = "its `[[store]]` has kind = \"memory\", so nothing of it lies on disk";
        let fix = "read what it resolves from the snapshots' topic, or keep it in rocksdb";
        Err(anyhow!("the store `{store}` cannot be looked into: {why}; {fix} [HS3018]").into())
    }
}

/// Every store of memories, by task; where two slots have one of the same task (it has moved), the
/// one further on.
fn open_all(target: &StateTarget, program: &Program) -> Result<OpenedStores, CommandError> {
    let mut in_memory = BTreeSet::new();
    let mut found: BTreeMap<(TaskId, String), Open> = BTreeMap::new();
    // The locks are held until all is open: nobody writes meanwhile, and later writes do not reach
    // an open database.
    let slots = InstanceDir::read_all(&target.state_dir)?;
    for slot in &slots {
        let file = std::sync::Arc::new(topology_of(slot, target, program)?);
        let custom = resolvers::join(&file, &program.resolvers)?;
        let engine = topology_from_file::build(&file, &custom)?;
        let of_memories = |store: &&Store| {
            let spec = file.graph.keeper(&store.name).and_then(|keeper| keeper.spec());
            spec.is_some_and(|spec| spec.stores_memories)
        };
        let (memory, disk): (Vec<&Store>, Vec<&Store>) =
            file.graph.stores.iter().filter(of_memories).partition(|store| store.kind == StoreKind::Memory);
        in_memory.extend(memory.iter().map(|store| store.name.clone()));
        if !slot.tasks.is_dir() {
            continue;
        }
        let stores = RocksStores::new(&slot.tasks, &StoreMemory::default())?;
        for task in stores.tasks()? {
            let subtopology = usize::try_from(task.subtopology).ok().and_then(|at| engine.subtopologies().get(at));
            let is_readable = |name: &&String| disk.iter().any(|store| store.name == **name);
            for store in subtopology.iter().flat_map(|sub| &sub.stores).filter(is_readable) {
                let db = stores.open_read_only(task, &[store])?;
                let position = db.position(0)?.map(|bytes| Position::decode(task, &bytes)).transpose();
                let next_offset = position
                    .map_err(|e| anyhow!("read the position of task {task}: {e}"))?
                    .and_then(|position| position.next_offset);
                let key = (task, store.clone());
                if found.get(&key).is_none_or(|other| other.next_offset < next_offset) {
                    found.insert(key, Open { task, db, file: file.clone(), custom: custom.clone(), next_offset });
                }
            }
        }
    }
    Ok(OpenedStores { open: found.into_values().collect(), in_memory })
}

/// The topology that is asked for, else the one that the slot's last run kept, else the memory
/// topology.
fn topology_of(slot: &InstanceDir, target: &StateTarget, program: &Program) -> Result<File, CommandError> {
    let mut file = match (&target.topology, slot.read_text(KEPT_TOPOLOGY)?) {
        (Some(path), _) => settings::read_whole(path, program)?,
        (None, Some(text)) => {
            let kept = topology_file::parse_with(KEPT_TOPOLOGY, &text, Variables::Filled, &program.operators);
            kept.map_err(CommandError::Topology)?
        }
        (None, None) => {
            let shipped = topology_file::parse("memory.toml", MEMORY_TOPOLOGY, &program.operators);
            shipped.map_err(CommandError::Topology)?
        }
    };
    if target.topology.is_none() {
        for assignment in slot.read_text(KEPT_SETTINGS)?.unwrap_or_default().lines() {
            file.values.set_text(assignment, KEPT_SETTINGS).map_err(CommandError::Usage)?;
        }
    }
    settings::overrides(&mut file.values, &target.set)?;
    file.values.check(&names(&file.scripts, &program.resolvers.names())).map_err(CommandError::Usage)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_has_no_password_and_is_the_same_topology() {
        let text = MEMORY_TOPOLOGY.replace("[kafka]", "[kafka]\n\"sasl.password\" = \"geheim\"");
        let text = text.replace("[run]", "[run]\npostgres_url = \"postgres://u:geheim@h/d\"");
        let text = text.replace("[schema_registry]", "[schema_registry]\npassword = \"geheim\"");
        let kept = without_connections("t", &text, &[]).unwrap();
        assert!(text.contains("geheim") && !kept.contains("geheim"), "{kept}");
        let file = |text| topology_file::parse("t", text, &Program::default().operators).unwrap();
        let kept = file(&kept);
        let whole = file(MEMORY_TOPOLOGY);
        assert_eq!(kept.values.resolver, whole.values.resolver);
        let names = |f: &File| f.graph.nodes.iter().map(|n| n.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&kept), names(&whole));
    }
}
