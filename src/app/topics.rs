//! `helixstream topics`: creates or checks the topics of a topology. `run` creates internal topics
//! only; this command creates all.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::anyhow;

use super::kafka::{self, Memory};
use super::{CommandError, Program, digest, rights, settings, topology_from_file};
use crate::edges::cli::{AclsArgs, Purpose, TopicsAction};
use streams::error::Error;
use streams::ports::rights::{Commands, Operation};
use streams::ports::{Admin, BatchLimit, NewTopic};
use streams::runtime::{RuntimeConfig, batch_limit, check_metadata, internal_topics};
use streams::topology::Topology;
use streams_kafka::KafkaSettings;
use streams_kafka::admin::ClusterAdmin;
use streams_kafka::restore_consumer::RestoreConsumer;
use topology_file::Topology as File;

/// Purpose of a topic, which decides its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TopicRole {
    Source,
    Sink,
    Internal,
}

/// A topic that the topology needs.
struct Wanted {
    topic: NewTopic,
    role: TopicRole,
    /// Whether dead letters go there.
    is_dead_letters: bool,
}

/// How long `plan` waits for a broker, which it can do without.
const PLAN_PATIENCE: Duration = Duration::from_secs(5);
/// How long a topic that was made may take to be there.
const THERE: Duration = Duration::from_secs(30);
/// Room for keys and headers above the greatest event.
const EVENT_ROOM: usize = 1 << 20;
/// Kafka 4's default for how far ahead of the broker a record's time may lie (KIP-1030).
const AFTER_MAX_MS: i64 = 3_600_000;

/// Plans, creates or checks.
pub fn topics(action: &TopicsAction, program: &Program) -> Result<(), CommandError> {
    let target = action.target();
    let file = settings::load(&target.topology, target.application_id.as_deref(), program)?;
    let engine = topology_from_file::build(&file, &None)?;
    let clients = kafka::settings(&target.kafka, Some(&file), "topics", Memory::share(file.values.runtime.memory, 1))?;
    if let TopicsAction::Acls(args) = action {
        acls(args, &file, &clients);
        return Ok(());
    }
    let admin = ClusterAdmin::new(&clients, &RestoreConsumer::new(&clients)?)?;
    let is_plan = matches!(action, TopicsAction::Plan(_));
    let patience = kafka::patience(Some(&file));
    let mut existing = BTreeMap::new();
    match admin.wait_for_brokers(if is_plan { patience.min(PLAN_PATIENCE) } else { patience }) {
        Ok(()) => {
            require(action, &admin, &clients, &file)?;
            existing = find(&admin, &file, &engine)?;
        }
        Err(e) if is_plan => eprintln!("{e}\nshown as if no topic existed:"),
        Err(e) => return Err(e.into()),
    }
    let wanted = wanted(&file, &engine, &existing)?;
    match action {
        TopicsAction::Plan(_) => {
            wanted.iter().for_each(|w| println!("{}", line(w, &existing)));
            Ok(())
        }
        TopicsAction::Create(_) => create(&admin, &wanted, &existing),
        TopicsAction::Check(args) => {
            let report = rights_report(&args.purposes, &admin, &clients, &file)?;
            let has_room = has_room(&admin, &file, &engine, program)?;
            check(&admin, &file, (&wanted, &existing), &report, &clients)?;
            match has_room {
                true => Ok(()),
                false => {
                    Err(anyhow!("the brokers would refuse the commits of this topology: see above [HS1026]").into())
                }
            }
        }
        TopicsAction::Acls(_) => Ok(()),
    }
}

/// The rights without which the command itself would see less than there is, or fail half-way.
fn require(
    action: &TopicsAction,
    admin: &ClusterAdmin,
    clients: &KafkaSettings,
    file: &File,
) -> Result<(), CommandError> {
    let (command, needs) = match action {
        TopicsAction::Create(_) => ("topics create", rights::needs(file, Purpose::TopicsCreate)),
        TopicsAction::Plan(_) => {
            let needs = rights::needs(file, Purpose::TopicsCheck).into_iter();
            ("topics plan", needs.filter(|need| need.right.operation == Operation::Describe).collect())
        }
        // Says itself what it cannot see.
        TopicsAction::Check(_) | TopicsAction::Acls(_) => return Ok(()),
    };
    rights::require(admin, clients, command, &needs)?;
    Ok(())
}

/// Rights for these purposes that the principal lacks; the purposes of `run` are the default.
fn rights_report(
    purposes: &[Purpose],
    admin: &ClusterAdmin,
    clients: &KafkaSettings,
    file: &File,
) -> Result<rights::Report, CommandError> {
    let of_run = [Purpose::Run, Purpose::Mirror];
    let has_mirror = file.run.postgres_url.is_some();
    let default = if has_mirror { &of_run[..] } else { &of_run[..1] };
    let needs = rights::needs_of(file, if purposes.is_empty() { default } else { purposes });
    let mut report = rights::query_rights(admin, &needs)?;
    report.try_transactions(clients, &needs)?;
    Ok(report)
}

/// Prints the ACLs that each purpose needs.
fn acls(args: &AclsArgs, file: &File, clients: &KafkaSettings) {
    let (principal, connection) = (args.principal.clone().or_else(|| clients.principal()), rights::connection(clients));
    let all = Purpose::all();
    for purpose in if args.purposes.is_empty() { all } else { &args.purposes } {
        let needs = rights::needs(file, *purpose);
        let of = needs.iter().map(|need| &need.right).collect();
        println!("# {}: {}", purpose.name(), purpose.text());
        for line in (Commands { of, principal: principal.as_deref(), connection: &connection }).lines() {
            println!("{line}");
        }
        println!();
    }
}

/// Whether the brokers take what commits tell of the state; prints what is wrong.
fn has_room(admin: &dyn Admin, file: &File, engine: &Topology, program: &Program) -> Result<bool, CommandError> {
    // The registry changes the digest and not its length.
    let config = RuntimeConfig { digest: Some(digest::of(file, &program.resolvers, false)?), ..runtime_config(file) };
    match check_metadata(admin, engine, &config) {
        Ok(_) => Ok(true),
        Err(Error::Fatal(what)) => {
            println!("wrong    committed offsets: {what}");
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

fn runtime_config(file: &File) -> RuntimeConfig {
    RuntimeConfig { application_id: file.values.resolver.application_id.clone(), ..RuntimeConfig::default() }
}

/// The topology's own topics, as the file says.
fn world(file: &File) -> Vec<Wanted> {
    let replication = i32::try_from(file.values.runtime.replication_factor).ok().filter(|n| *n > 0);
    let topic = |name: &str, partitions, role, bytes: usize| {
        let mut config = vec![
            ("max.message.bytes".to_owned(), bytes.to_string()),
            ("message.timestamp.type".to_owned(), "CreateTime".to_owned()),
            ("retention.ms".to_owned(), "-1".to_owned()),
        ];
        // The events topic keeps the broker's own limit: stream time leans on it.
        if role == TopicRole::Sink {
            config.push(("message.timestamp.after.max.ms".to_owned(), i64::MAX.to_string()));
        }
        let is_dead_letters = file.graph.dead_letters.as_ref().is_some_and(|dead| dead.topic == name);
        Wanted { topic: NewTopic { name: name.to_owned(), partitions, replication, config }, role, is_dead_letters }
    };
    let event_bytes = file.values.limits.max_value_bytes + EVENT_ROOM;
    let output_bytes = file.values.runtime.max_output_bytes;
    let sources = file.graph.sources().map(|(_, name, n)| topic(name, n, TopicRole::Source, event_bytes));
    let sinks = file.graph.sinks().map(|(_, name, n)| topic(name, n, TopicRole::Sink, output_bytes));
    let dead = file.graph.dead_letters.iter();
    let dead =
        dead.map(|d| topic(&d.topic, d.partitions, TopicRole::Sink, topology_from_file::dead_letter_bytes(file)));
    let mut all: Vec<Wanted> = Vec::new();
    for wanted in sources.chain(sinks).chain(dead) {
        // Sinks of several sub-topologies may share a topic.
        if !all.iter().any(|other| other.topic.name == wanted.topic.name) {
            all.push(wanted);
        }
    }
    all
}

/// Partition counts of the topics that exist, among those that the topology needs.
fn find(admin: &dyn Admin, file: &File, engine: &Topology) -> Result<BTreeMap<String, i32>, CommandError> {
    let counts = world(file).into_iter().map(|w| (w.topic.name, w.topic.partitions)).collect();
    let mut names: Vec<String> = world(file).into_iter().map(|w| w.topic.name).collect();
    names.extend(internal_topics(engine, &runtime_config(file), &counts)?.into_iter().map(|t| t.name));
    let asked: Vec<&str> = names.iter().map(String::as_str).collect();
    let found = admin.topics(&asked)?.into_iter().flatten();
    Ok(found.map(|info| (info.name, info.partitions)).collect())
}

/// All topics that the topology needs, given those that exist.
fn wanted(file: &File, engine: &Topology, existing: &BTreeMap<String, i32>) -> Result<Vec<Wanted>, CommandError> {
    let mut all = world(file);
    let mut counts = existing.clone();
    for w in &all {
        counts.entry(w.topic.name.clone()).or_insert(w.topic.partitions);
    }
    let replication = i32::try_from(file.values.runtime.replication_factor).ok().filter(|n| *n > 0);
    for topic in internal_topics(engine, &runtime_config(file), &counts)? {
        let topic = NewTopic { name: topic.name, partitions: topic.partitions, replication, config: topic.config };
        all.push(Wanted { topic, role: TopicRole::Internal, is_dead_letters: false });
    }
    Ok(all)
}

fn line(wanted: &Wanted, existing: &BTreeMap<String, i32>) -> String {
    let topic = &wanted.topic;
    match existing.get(&topic.name) {
        Some(has) => format!("exists  {}  {has} partitions", topic.name),
        None => {
            let config: Vec<String> = topic.config.iter().map(|(k, v)| format!("{k}={v}")).collect();
            format!("create  {}  {} partitions  {}", topic.name, topic.partitions, config.join(" "))
        }
    }
}

fn create(admin: &dyn Admin, wanted: &[Wanted], existing: &BTreeMap<String, i32>) -> Result<(), CommandError> {
    let missing = wanted.iter().filter(|w| !existing.contains_key(&w.topic.name));
    let missing: Vec<NewTopic> = missing.map(|w| w.topic.clone()).collect();
    if !missing.is_empty() {
        admin.create_topics(&missing)?;
        wait_until_there(admin, &missing)?;
    }
    for w in wanted {
        match existing.get(&w.topic.name) {
            Some(has) => println!("exists   {}  {has} partitions", w.topic.name),
            None => println!("created  {}  {} partitions", w.topic.name, w.topic.partitions),
        }
    }
    Ok(())
}

/// A topic is made before every broker knows of it; a caller may use it as soon as this returns.
fn wait_until_there(admin: &dyn Admin, made: &[NewTopic]) -> Result<(), CommandError> {
    let names: Vec<&str> = made.iter().map(|t| t.name.as_str()).collect();
    let started = Instant::now();
    loop {
        let found = admin.topics(&names)?;
        let missing = names.iter().zip(&found).find(|(_, info)| info.is_none());
        match missing {
            None => return Ok(()),
            Some((name, _)) if started.elapsed() > THERE => {
                return Err(anyhow!(
                    "topic `{name}` was created, but no broker knows it after {} s: check the brokers, then `helixstream topics check` [HS2009]",
                    THERE.as_secs()
                )
                .into());
            }
            Some(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Problems lose records and fail the check; remarks are warnings.
fn check(
    admin: &dyn Admin,
    file: &File,
    (wanted, existing): (&[Wanted], &BTreeMap<String, i32>),
    report: &rights::Report,
    clients: &KafkaSettings,
) -> Result<(), CommandError> {
    let mut wrong = 0;
    for w in wanted {
        let name = &w.topic.name;
        let Some(has) = existing.get(name) else {
            if report.hidden.contains(name) {
                println!("hidden   {name}: it is not there, or this principal may not know it");
            } else if w.role == TopicRole::Internal {
                // `run` makes internal topics itself.
                println!("ok       {name}: will be made by `run`");
            } else {
                wrong += 1;
                println!("missing  {name}: make it with `helixstream topics create`");
            }
            continue;
        };
        if *has != w.topic.partitions {
            println!("warning  {name}: has {has} partitions, the topology file says {}", w.topic.partitions);
        }
        if report.closed.contains(name) {
            println!(
                "warning  {name}: its settings are not checked: this principal may not read them (DescribeConfigs)"
            );
            continue;
        }
        let config: BTreeMap<String, String> = admin.topic_config(name)?.into_iter().collect();
        let mut remarks = remarks(file, w, &config);
        remarks.extend(size_remarks(w, &config));
        wrong += remarks.iter().filter(|(is_wrong, _)| *is_wrong).count();
        for (is_wrong, text) in &remarks {
            println!("{}  {name}: {text}", if *is_wrong { "wrong  " } else { "warning" });
        }
        if remarks.is_empty() {
            println!("ok       {name}: {has} partitions");
        }
    }
    let lacking = report.missing.len();
    report.lines(clients).iter().for_each(|line| println!("denied   {line}"));
    report.unknown.iter().for_each(|why| println!("unknown  rights of this principal: {why}"));
    if lacking == 0 && report.unknown.is_empty() {
        println!("ok       rights: {} are needed and allowed{}", report.asked, not_asked(report));
    }
    match (wrong, lacking) {
        (0, 0) => Ok(()),
        (wrong, 0) => Err(anyhow!("{wrong} topics are missing or set so that records are lost: see above [HS2014]").into()),
        (0, lacking) => Err(anyhow!("{lacking} rights are missing: see above [HS2030]").into()),
        (wrong, lacking) => Err(anyhow!(
            "{wrong} topics are missing or set so that records are lost, and {lacking} rights are missing: see above [HS2014]"
        )
        .into()),
    }
}

/// Resources whose rights no broker reports.
fn not_asked(report: &rights::Report) -> String {
    match report.absent.len() {
        0 => String::new(),
        1 => " (those on one topic are not known before it is made)".to_owned(),
        count => format!(" (those on {count} topics are not known before the topics are made)"),
    }
}

/// Compares the batch limit of a topic with the batches that are sent to it.
fn size_remarks(wanted: &Wanted, config: &BTreeMap<String, String>) -> Vec<(bool, String)> {
    let sent = wanted.topic.config.iter().find(|(name, _)| name == "max.message.bytes");
    let sent = sent.and_then(|(_, bytes)| bytes.parse::<usize>().ok());
    let (Some(sent), Some((setting, limit))) = (sent, batch_limit(config)) else { return Vec::new() };
    let mut remarks = Vec::new();
    let after = match wanted.role {
        // The events' own limit is looked at by itself.
        TopicRole::Source => return remarks,
        TopicRole::Sink if wanted.is_dead_letters => "larger dead letters go without their value",
        TopicRole::Sink => "larger outputs become dead letters (`output_too_large`)",
        TopicRole::Internal => "a larger record stops the instance",
    };
    if limit < sent {
        remarks.push((
            // `run` refuses an internal topic whose max.message.bytes is less than it needs.
            wanted.role == TopicRole::Internal && setting == "max.message.bytes",
            format!(
                "takes records of at most {limit} bytes, and up to {sent} may be sent: {after}; raise its {setting}"
            ),
        ));
    }
    if limit < BatchLimit::DEFAULT_BYTES {
        remarks.push((
            false,
            format!(
                "accepts batches of at most {limit} bytes, so all batches of an instance are limited to this size, \
                 which is slow: raise its {setting} to {} or more",
                BatchLimit::DEFAULT_BYTES
            ),
        ));
    }
    remarks
}

/// Problems (`true`) and remarks about a topic's settings.
fn remarks(file: &File, wanted: &Wanted, config: &BTreeMap<String, String>) -> Vec<(bool, String)> {
    let has = |key: &str| config.get(key).map(String::as_str).unwrap_or_default();
    let number = |key: &str| has(key).parse::<i64>().ok();
    let mut remarks = Vec::new();
    let limit = file.values.limits.max_value_bytes;
    if wanted.role == TopicRole::Source {
        if number("max.message.bytes").is_some_and(|n| usize::try_from(n).is_ok_and(|n| n < limit)) {
            let text =
                format!("takes records of {} bytes, less than the event limit of {limit}", has("max.message.bytes"));
            remarks.push((false, format!("{text}: raise its max.message.bytes, or lower max_value_bytes")));
        }
        if number("message.timestamp.after.max.ms").is_some_and(|n| n > AFTER_MAX_MS) {
            let text = "takes times far ahead of the broker's clock, and stream time runs with them: lower its message.timestamp.after.max.ms";
            remarks.push((false, text.to_owned()));
        }
        return remarks;
    }
    if has("message.timestamp.type") == "LogAppendTime" {
        let text = "puts its own times in place of ours: set message.timestamp.type=CreateTime";
        remarks.push((wanted.role == TopicRole::Internal, text.to_owned()));
    }
    if number("retention.ms").is_some_and(|n| n >= 0) && has("cleanup.policy").contains("delete") {
        let text =
            format!("drops records after {} ms, counted from event times: set retention.ms=-1", has("retention.ms"));
        remarks.push((true, text));
    }
    if number("message.timestamp.after.max.ms").is_some_and(|n| n < i64::MAX) {
        let text =
            "refuses times far ahead of the broker's clock: set message.timestamp.after.max.ms=9223372036854775807";
        remarks.push((wanted.role == TopicRole::Internal, text.to_owned()));
    }
    remarks
}
