//! `helixstream mirror run`: the mirrors without the stream, scaled as their own consumer groups.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use super::contact::{Contact, Outage};
use super::mirrors::{Mirrors, sinks};
use super::setup::{MirrorSetup, existing_topics, kafka_settings, refuse_foreign_tables};
use crate::app::metrics_page::of_mirrors;
use crate::app::mirrored_topics::{mirrored_tables, optional_topics};
use crate::app::rotation::{Rotation, Watched};
use crate::app::signals::{LOOK, unless_signalled, wait_for, watch_signals};
use crate::app::{CommandError, Program, http, kafka, rights, schema_registry};
use crate::edges::cli::terminal::LiveLine;
use crate::edges::cli::{MirrorRunArgs, Purpose};
use ::http::{Family, InstanceStatus};
use mirror::{Figures, MirrorStatus};
use streams_kafka::admin::ClusterAdmin;
use streams_kafka::renewal::CurrentSettings;
use streams_kafka::restore_consumer::RestoreConsumer;

/// From the signal to the exit, at most.
const STOP_LIMIT: Duration = Duration::from_secs(9);
/// How often the live line is written.
const SHOW: Duration = Duration::from_secs(1);

/// Mirrors until a signal.
pub fn run(args: &MirrorRunArgs, program: &Program) -> Result<(), CommandError> {
    let signalled = watch_signals()?;
    let MirrorSetup { file, database, kafka } = MirrorSetup::new(&args.target, program)?;
    let codec = schema_registry::codecs(&args.target.registry, &file, schema_registry::THREAD_WAIT)?.mirror;
    let sinks = sinks(&database, &file, codec.as_ref())?;
    // The file's address is that of `run`, which may well run on this machine with the same file.
    let server = http::bind(&args.http, None, &file.run)?;
    refuse_foreign_tables(&database)?;
    tracing::info!(
        "mirroring into {database}, application {}, brokers {}",
        kafka.application_id,
        kafka.bootstrap_servers
    );
    let watched = Watched::of(&kafka)?;
    let clients = kafka.clone();
    let patience = kafka::patience(Some(&file));
    let tables = mirrored_tables(&file, None);
    let optional = optional_topics(&tables);
    let first_topic = tables.first().and_then(|table| table.topics.first()).cloned().unwrap_or_default();
    let needs = rights::needs(&file, Purpose::Mirror);
    let ready = unless_signalled(&signalled, move || {
        let admin = ClusterAdmin::new(&clients, &RestoreConsumer::new(&clients)?)?;
        admin.wait_for_brokers(patience)?;
        rights::require(&admin, &clients, "mirror run", &needs)?;
        existing_topics(&admin, &tables)
    })?;
    if ready.is_none() {
        return Ok(());
    }
    let args = args.target.kafka.clone();
    let instance = kafka.instance_id.clone();
    let current = CurrentSettings::new(kafka);
    let mirrors = Mirrors::start(sinks, &current)?;
    let contact = Contact::watch(&current, first_topic, file.values.runtime.session_timeout)?;
    let pages = Arc::new(MirrorMetricsPage { mirrors: mirrors.status(), optional, outage: contact.outage() });
    let read = Box::new(move || kafka_settings(&args, &file, &instance));
    let rotation = Rotation::start(watched, &current, read, Box::new(|_| Ok(())))?;
    let http = server.map(|server| http::serve(server, pages.clone())).transpose()?;
    let line = LiveLine::new();
    let mut shown = Instant::now();
    let mut outcome = Ok(());
    while !signalled.load(Ordering::Relaxed) && outcome.is_ok() {
        thread::sleep(LOOK);
        outcome = mirrors.check();
        if let Some(line) = &line
            && shown.elapsed() >= SHOW
        {
            shown = Instant::now();
            line.show(pages.text());
        }
    }
    drop(line);
    tracing::info!("stopping: records that were read are written to Postgres first");
    let deadline = Instant::now() + STOP_LIMIT;
    let contact = contact.stop();
    mirrors.stop().iter().for_each(|mirror| _ = wait_for(mirror, deadline));
    wait_for(&contact, deadline);
    rotation.end();
    drop(http);
    outcome?;
    tracing::info!("stopped");
    Ok(())
}

/// The mirrors' figures, by their topics, and whether Kafka is away.
struct MirrorMetricsPage {
    mirrors: Vec<(String, Arc<MirrorStatus>)>,
    /// Topics that may be missing: a mirror of them has no partition before they exist.
    optional: Vec<String>,
    outage: Outage,
}

impl MirrorMetricsPage {
    fn figures(&self) -> Vec<(&str, Figures)> {
        self.mirrors.iter().map(|(topics, status)| (topics.as_str(), status.figures())).collect()
    }

    /// The live line.
    fn text(&self) -> String {
        let one = |(topics, figures): (&str, Figures)| {
            let lag = figures.lag.map_or("lag unknown".to_owned(), |lag| format!("lag {lag}"));
            let state = match figures {
                Figures { down: true, .. } => "Postgres down".to_owned(),
                Figures { resting: 1.., .. } => format!("{} partitions wait for the schema registry", figures.resting),
                _ => lag,
            };
            format!("{topics}: {} rows, {state}", figures.rows)
        };
        let mirrors = self.figures().into_iter().map(one);
        mirrors.chain(self.outage.text()).collect::<Vec<_>>().join(" · ")
    }
}

impl InstanceStatus for MirrorMetricsPage {
    fn waiting(&self) -> Vec<String> {
        let is_optional = |topics: &str| self.optional.iter().any(|topic| topic == topics);
        let why = |(topics, figures): (&str, Figures)| match figures {
            Figures { down: true, .. } => Some(format!("mirror of {topics}: Postgres does not take rows")),
            Figures { joined: false, .. } | Figures { lag: None, .. } if is_optional(topics) => None,
            Figures { joined: false, .. } => Some(format!("mirror of {topics}: waits for its first assignment")),
            Figures { resting: 1.., .. } => Some(format!("mirror of {topics}: the schema registry is not to be had")),
            Figures { lag: None, .. } => Some(format!("mirror of {topics}: waits for a partition")),
            _ => None,
        };
        // While Kafka is away, all else follows from that.
        match self.outage.text() {
            Some(outage) => vec![outage],
            None => self.figures().into_iter().filter_map(why).collect(),
        }
    }

    fn metrics(&self) -> Vec<Family> {
        of_mirrors(&self.figures())
    }
}
