//! `helixstream run`: start, watch, shut down. The stream threads, the mirror and HTTP have threads
//! of their own, and this one waits for a signal or a failure.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::anyhow;

use super::kafka::{self, Memory};
use super::kill::KillAt;
use super::live_line::LiveLineUpdater;
use super::metrics_page::MetricsPage;
use super::mirror::Mirrors;
use super::rotation::{ReadSettings, Rotation, Watched};
use super::services::Booting;
use super::signals::{LOOK, unless_signalled, wait_for, watch_signals};
use super::stream_threads::{STOP_LIMIT, StreamThreads, no_thread};
use super::{
    CommandError, Program, digest, end, http, mirror, mirrored_topics, resolvers, rights, schema_registry, settings,
    state, state_guard, topology_from_file,
};
use crate::edges::cli::{self, KafkaArgs, Purpose, RunArgs};
use crate::edges::clock::MachineClock;
use crate::edges::state_dir::{InstanceDir, StateAccess};
use mirror_postgres::Database;
use streams::error::{Error, with_code};
use streams::ports::Codec;
use streams::runtime::{
    self, Instance, InstancePorts, NoObserver, RuntimeConfig, StandbyThread, StepObserver, Workers,
};
use streams::task_assignment::StateOnDisk;
use streams::topology::Topology;
use streams::topology_digest::TopologyDigest;
use streams_kafka::KafkaSettings;
use streams_kafka::client_log::log_repeated_lines;
use streams_kafka::renewal::{CurrentSettings, SharedClients};
use streams_rocksdb::{RocksStores, StoreMemory};
use topology_file::Topology as File;
use topology_file::keys::STATE_ACCESS;
use topology_file::setting::TaskAssignor;

/// How long the engine waits for the group to let go.
const LEAVE_LIMIT: Duration = Duration::from_secs(6);
/// How often an instance looks what is paused.
const CONTROL_INTERVAL: Duration = Duration::from_secs(1);
/// Threads that open and restore stores.
const WORKERS: usize = 2;

/// Everything that is decided before anything is started.
struct RunPlan {
    file: File,
    /// Services that are started first.
    booting: Option<Booting>,
    kafka: KafkaArgs,
    engine: Topology,
    threads: usize,
    state_dir: PathBuf,
    state_access: StateAccess,
    database: Option<Database>,
    mirror_codec: Option<Arc<dyn Codec>>,
    /// Digest that the instances of the application compare.
    digest: TopologyDigest,
    accepted_change: Option<String>,
    /// Topics of which what is gone is skipped.
    earliest_available: BTreeSet<String>,
    /// The tasks whose state lies on this instance's disk, for its members of the group, where they
    /// tell it.
    state_on_disk: Option<StateOnDisk>,
}

/// Runs until a signal or a failure.
pub fn run(args: &RunArgs, program: &Program) -> Result<(), CommandError> {
    let signalled = watch_signals()?;
    let plan = plan(args, program)?;
    // Checked before anything is started, so that a mistake is told at once and as one.
    let memory = Memory::share(plan.file.values.runtime.memory, plan.threads);
    kafka::settings(&plan.kafka, Some(&plan.file), "", memory)?;
    let sinks = |database| mirror::sinks(database, &plan.file, plan.mirror_codec.as_ref());
    let mirror_sinks = plan.database.as_ref().map(sinks).transpose()?;
    let observer = KillAt::of_run().map_err(CommandError::Usage)?;
    let server = http::bind(&args.http, plan.file.run.http_listen.as_deref(), &plan.file.run)?;
    plan.booting.as_ref().map_or(Ok(()), |services| services.start(&signalled))?;
    if let Some(database) = &plan.database {
        mirror::refuse_foreign_tables(database)?;
    }
    plan.state_access.apply();
    let slot =
        InstanceDir::lock(&plan.state_dir, args.slot, &plan.file.values.resolver.application_id, plan.state_access)?;
    state_guard::refuse_lost_state(&slot, &plan.file, &args.accept_reset, program)?;
    let kept = state::KeptSettings::read(&args.topology, &plan.file)?;
    let read = settings_reader(&plan, &slot, memory);
    let kafka = read()?;
    let watched = Watched::of(&kafka)?;
    tracing::info!(
        "slot {} of {}, instance {}, application {}, topology digest {}, brokers {}, mirror {}",
        slot.number,
        plan.state_dir.display(),
        slot.instance_id,
        kafka.application_id,
        plan.digest,
        kafka.bootstrap_servers,
        plan.database.as_ref().map_or("none".to_owned(), ToString::to_string),
    );
    warn_of_retention(&plan.file);
    let observer: Arc<dyn StepObserver> = match observer {
        Some(kill) => Arc::new(kill),
        None => Arc::new(NoObserver),
    };
    let workers = Arc::new(Workers::start(WORKERS).map_err(|e| no_thread("the threads that restore tasks", &e))?);
    let started = start(&plan, &kafka, &slot, memory, (workers.clone(), observer), &signalled)?;
    let Some((instance, clients)) = started else { return Ok(()) };
    // A topology that processes nothing, since it was refused or no broker answered, is not that of
    // the slot's last run.
    kept.keep(&slot)?;
    let current = CurrentSettings::new(kafka);
    let mirrors = mirror_sinks.map(|sinks| Mirrors::start(sinks, &current)).transpose()?;
    let status = mirrors.as_ref().map_or(Vec::new(), Mirrors::status);
    let pages = Arc::new(MetricsPage::new(instance.metrics(), status));
    let http = server.map(|server| http::serve(server, pages.clone())).transpose()?;
    let mut threads = StreamThreads::start(&instance, &current)?;
    let standby = start_standby(&instance)?;
    tracing::info!("{} stream threads run", plan.threads);
    let rotation = watch_files(watched, &current, read, &instance, clients)?;
    let mut health = runtime::HealthCheck::new(&instance);
    let mut live_line = LiveLineUpdater::new(pages);
    let failure = threads.watch(&signalled, &mut || {
        health.run();
        log_repeated_lines();
        live_line.update();
        mirrors.as_ref().map_or(Ok(()), Mirrors::check)
    });
    tracing::info!("stopping: processed records are committed first");
    instance.stop();
    let stopped = join_all(threads, standby, &workers, mirrors);
    rotation.end();
    drop((http, health, live_line));
    end::close((instance, workers, current));
    failure.map_or(stopped, Err)?;
    tracing::info!("stopped");
    Ok(())
}

/// Waits for the end of all threads that the stopped instance has started.
fn join_all(
    threads: StreamThreads,
    standby: Option<JoinHandle<()>>,
    workers: &Workers,
    mirrors: Option<Mirrors>,
) -> Result<(), CommandError> {
    let mirrors_end = mirrors.map_or(Vec::new(), Mirrors::stop);
    let deadline = Instant::now() + STOP_LIMIT;
    let stopped = threads.join(deadline);
    standby.iter().for_each(|standby| _ = wait_for(standby, deadline));
    // What was being restored is given up by now, and closes its store.
    workers.finish(deadline.saturating_duration_since(Instant::now()));
    let mirrors_limit = Instant::now() + Duration::from_secs(1);
    mirrors_end.iter().for_each(|mirror| _ = wait_for(mirror, mirrors_limit));
    stopped
}

/// Reads how the instance reaches Kafka, as often as it is asked.
fn settings_reader(plan: &RunPlan, slot: &InstanceDir, memory: Memory) -> ReadSettings {
    let args = plan.kafka.clone();
    let file = plan.file.clone();
    let digest = plan.digest.clone();
    let instance_id = slot.instance_id.clone();
    let state_on_disk = plan.state_on_disk.clone();
    Box::new(move || {
        let settings = kafka::settings(&args, Some(&file), &instance_id, memory)?;
        let (topology, state_on_disk) = (Some(digest.clone()), state_on_disk.clone());
        Ok(KafkaSettings { topology, state_on_disk, ..settings })
    })
}

/// Watches the files that Kafka's clients are made of. When they change, the threads get new
/// clients, each after its next commit.
fn watch_files(
    watched: Watched,
    current: &CurrentSettings,
    read: ReadSettings,
    instance: &Arc<Instance>,
    clients: SharedClients,
) -> anyhow::Result<Rotation> {
    let instance = instance.clone();
    let renew = move |settings: &KafkaSettings| {
        clients.renew(settings)?;
        instance.renew_clients();
        Ok(())
    };
    Rotation::start(watched, current, read, Box::new(renew))
}

/// Warns of the cost of a retention of tombstones.
fn warn_of_retention(file: &File) {
    if file.values.resolver.tombstone_retention_ns.is_some() {
        tracing::warn!(
            code = "HS0091",
            "tombstone_retention is set: deleted memories are forgotten, and older events for memories that are not known become dead letters \
             (`expired`); resolved memories depend on the order of arrival for events that are later than the retention, and SQL rebuilds nothing"
        );
    }
}

fn plan(args: &RunArgs, program: &Program) -> Result<RunPlan, CommandError> {
    let file = settings::load(&args.topology, args.application_id.as_deref(), program)?;
    let codecs = schema_registry::codecs(&args.registry, &file, schema_registry::THREAD_WAIT)?;
    let digest = digest::of(&file, &program.resolvers, codecs.stream.is_some())?;
    let engine = topology_from_file::build_with(&file, &resolvers::join(&file, &program.resolvers)?, codecs.stream)?;
    let threads = args.threads.map(usize::from).or(file.run.threads).unwrap_or(1);
    let state_dir =
        args.state_dir.clone().or_else(|| file.run.state_dir.clone()).unwrap_or_else(|| PathBuf::from("state"));
    let booting = Booting::of_run(args, &file)?;
    let kafka = booting.as_ref().map_or_else(|| args.kafka.clone(), |services| services.kafka(&args.kafka));
    let database = mirror_database(args, &file, booting.as_ref())?;
    if database.is_none() && !args.mirror.no_mirror && !mirrored_topics::event_sources(&file).is_empty() {
        tracing::warn!(
            code = "HS4050",
            "no --postgres-url is set, so no records are mirrored to Postgres; set it, or --no-mirror if no mirror is wanted"
        );
    }
    let state_access = match (args.state_access, file.run.state_access.as_deref()) {
        (Some(cli::StateAccessArgument::Owner), _) | (None, None | Some("owner")) => StateAccess::Owner,
        (Some(cli::StateAccessArgument::GroupRead), _) | (None, Some("group_read")) => StateAccess::GroupRead,
        (Some(cli::StateAccessArgument::GroupWrite), _) | (None, Some("group_write")) => StateAccess::GroupWrite,
        (None, Some(other)) => {
            return Err(CommandError::Usage(format!(
                "`state_access` of [run]: `{other}` is not one of {STATE_ACCESS} [HS0018]"
            )));
        }
    };
    let mirror_codec = codecs.mirror;
    let accepted_change = args.accept_topology_change.clone();
    let earliest_available = settings::variable_list("HELIXSTREAM_FROM_EARLIEST_AVAILABLE").into_iter();
    let earliest_available = earliest_available.chain(args.from_earliest_available.iter().cloned()).collect();
    let is_state_aware = file.values.runtime.task_assignor == TaskAssignor::StateAware;
    let state_on_disk = is_state_aware.then(StateOnDisk::default);
    Ok(RunPlan {
        file,
        booting,
        kafka,
        engine,
        threads,
        state_dir,
        state_access,
        database,
        mirror_codec,
        digest,
        accepted_change,
        earliest_available,
        state_on_disk,
    })
}

/// The database of the mirror, if there is one.
fn mirror_database(args: &RunArgs, file: &File, booting: Option<&Booting>) -> Result<Option<Database>, CommandError> {
    let postgres = &args.mirror.postgres;
    match booting.and_then(Booting::mirror) {
        _ if args.mirror.no_mirror => Ok(None),
        Some(place) => mirror::database_at(postgres, file, &place.url, place.password).map(Some),
        None => mirror::database(postgres, file),
    }
}

/// Waits for a broker, checks and makes topics. `None` when a signal came meanwhile: nothing was
/// started yet.
fn start(
    plan: &RunPlan,
    kafka: &KafkaSettings,
    slot: &InstanceDir,
    memory: Memory,
    (executor, observer): (Arc<Workers>, Arc<dyn StepObserver>),
    signalled: &AtomicBool,
) -> Result<Option<(Arc<Instance>, SharedClients)>, CommandError> {
    let runtime = &plan.file.values.runtime;
    let engine = plan.engine.clone();
    let config = RuntimeConfig {
        application_id: kafka.application_id.clone(),
        instance_id: slot.instance_id.clone(),
        commit_interval: runtime.commit_interval,
        task_timeout: runtime.task_timeout,
        uncommitted_bytes: memory.uncommitted_bytes,
        purge_interval: runtime.purge.then_some(runtime.purge_interval),
        replication: i32::try_from(runtime.replication_factor).ok().filter(|n| *n > 0),
        stop_timeout: LEAVE_LIMIT,
        batch_bytes: kafka.batch_bytes(),
        contact_timeout: runtime.session_timeout.max(runtime.transaction_timeout),
        digest: Some(plan.digest.clone()),
        accepted_change: plan.accepted_change.clone(),
        earliest_available: plan.earliest_available.clone(),
        control_interval: Some(CONTROL_INTERVAL),
        check_interval: runtime.check_interval,
        has_static_members: runtime.static_membership,
        state_on_disk: plan.state_on_disk.clone(),
        restore_grace: runtime.restore_grace,
        ..RuntimeConfig::default()
    };
    let stores = StoreMemory {
        cache_bytes: memory.store_bytes,
        write_buffer_bytes: memory.store_bytes * 3 / 8,
        ..StoreMemory::default()
    };
    let stores = Arc::new(RocksStores::new(&slot.tasks, &stores)?);
    let clients = SharedClients::new(kafka, plan.file.graph.stores.iter().any(|store| store.standby > 0))?;
    let patience = runtime.broker_timeout;
    let threads = plan.threads;
    let purposes = if plan.database.is_some() { &[Purpose::Run, Purpose::Mirror][..] } else { &[Purpose::Run] };
    let needs = rights::needs_of(&plan.file, purposes);
    let kafka = kafka.clone();
    unless_signalled(signalled, move || {
        let admin = clients.admin.get();
        admin.wait_for_brokers(patience)?;
        let asked = rights::require(&admin, &kafka, "run", &needs)?;
        let clock = Arc::new(MachineClock::default());
        let SharedClients { admin: shared, restore, standby } = clients.clone();
        let ports = InstancePorts { admin: shared, restore, standby, stores, clock, executor, observer };
        let instance = prepare(&engine, &config, threads, &ports, patience)?;
        if !asked.absent.is_empty() {
            // On topics that it has just made.
            rights::require(&admin, &kafka, "run", &needs)?;
        }
        Ok((instance, clients))
    })
}

/// Makes the instance; what is transient (a topic just made, a broker that is busy) is tried again
/// for a while.
fn prepare(
    engine: &Topology,
    config: &RuntimeConfig,
    threads: usize,
    ports: &InstancePorts,
    patience: Duration,
) -> anyhow::Result<Arc<Instance>> {
    let started = Instant::now();
    loop {
        match Instance::new(engine, config.clone(), threads, ports.clone()) {
            Err(Error::Retry(why)) if started.elapsed() < patience => {
                tracing::debug!("could not prepare the topics, which is retried: {why}");
                thread::sleep(LOOK);
            }
            // What is still to be retried after so long ends the command.
            Err(Error::Retry(why)) => return Err(anyhow!(with_code(why, "HS2002"))),
            prepared => return Ok(prepared?),
        }
    }
}

/// The thread that keeps stores of others' tasks warm, where any store is to be.
fn start_standby(instance: &Arc<Instance>) -> anyhow::Result<Option<JoinHandle<()>>> {
    if !instance.has_standbys() {
        return Ok(None);
    }
    let standby = StandbyThread::new(instance);
    let thread = thread::Builder::new().name("standby".to_owned()).spawn(move || standby.run());
    thread.map_err(|e| no_thread("the thread of the standby tasks", &e)).map(Some)
}
