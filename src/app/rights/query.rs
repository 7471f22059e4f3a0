//! Compares the rights that a command needs with those that the brokers allow. A broker that does
//! not tell (one without an authoriser allows all; an old one, or another implementation, may say
//! nothing) is no reason to stop: the calls themselves are refused then, and say by which right.

use std::collections::BTreeMap;

use anyhow::anyhow;

use super::Need;
use streams::error::Result;
use streams::ports::NewTopic;
use streams::ports::rights::{Commands, Operation, Resource};
use streams_kafka::KafkaSettings;
use streams_kafka::admin::ClusterAdmin;
use streams_kafka::allowed::{Allowed, may_use_transactional_id};

/// Result of a comparison.
#[derive(Debug, Default)]
pub struct Report {
    /// Needs that are not allowed.
    pub missing: Vec<Need>,
    /// Topics that do not exist, so that no broker reports their rights.
    pub absent: Vec<String>,
    /// Topics of which the principal may not even know whether they exist.
    pub hidden: Vec<String>,
    /// Topics whose settings the principal may not read.
    pub closed: Vec<String>,
    /// Questions without an answer, and the reasons.
    pub unknown: Vec<String>,
    /// How many rights were asked for.
    pub asked: usize,
}

/// Asks the brokers for the rights on topics, groups and the cluster.
///
/// # Errors
/// [`Error::Fatal`](streams::error::Error::Fatal) alone; the report has all other problems.
pub fn query_rights(admin: &ClusterAdmin, needs: &[Need]) -> Result<Report> {
    let mut report = Report { asked: needs.len(), ..Report::default() };
    let topics = record_answer(&mut report, names(needs, Resource::Topic), |names| admin.allowed_on_topics(names))?;
    let groups = record_answer(&mut report, names(needs, Resource::Group), |names| admin.allowed_on_groups(names))?;
    let is_create = |need: &&Need| need.right.operation == Operation::Create;
    let asks_cluster = needs.iter().any(|need| need.right.resource == Resource::Cluster || is_create(&need));
    let cluster = match asks_cluster {
        true => record_answer(&mut report, vec![""], |_| Ok(vec![admin.allowed_on_cluster()?]))?,
        false => BTreeMap::new(),
    };
    let makes_any = cluster.get("").and_then(|allowed| allowed.has(Operation::Create)) == Some(true);
    for need in needs {
        let told = match need.right.resource {
            Resource::Topic if need.right.operation == Operation::Create => continue,
            Resource::Topic => &topics,
            Resource::Group => &groups,
            Resource::Cluster => &cluster,
            Resource::TransactionalId => continue,
        };
        let mut names = Vec::new();
        for name in &need.names {
            let Some(allowed) = told.get(name.as_str()) else { continue };
            if allowed.has(need.right.operation) == Some(false) && !is_open(admin, need, name, allowed)? {
                names.push(name.clone());
            }
        }
        if !names.is_empty() {
            report.missing.push(Need { names, ..need.clone() });
        }
    }
    for (name, allowed) in &topics {
        match allowed {
            Allowed::Absent => report.absent.push((*name).to_owned()),
            Allowed::Nothing => report.hidden.push((*name).to_owned()),
            _ if allowed.has(Operation::DescribeConfigs) == Some(false) => report.closed.push((*name).to_owned()),
            _ => {}
        }
    }
    if !makes_any {
        for need in needs.iter().filter(is_create) {
            create(admin, need, &topics, &mut report)?;
        }
    }
    Ok(report)
}

/// Whether the settings of a topic may be read of which the principal may know nothing else: that
/// right alone does not include Describe, and nobody tells of it then, so it is tried.
fn is_open(admin: &ClusterAdmin, need: &Need, topic: &str, allowed: &Allowed) -> Result<bool> {
    if (need.right.resource, need.right.operation) != (Resource::Topic, Operation::DescribeConfigs) {
        return Ok(false);
    }
    Ok(*allowed == Allowed::Nothing && admin.may_describe_configs(topic)?)
}

/// The names of one kind of resource that are asked about, each once.
fn names(needs: &[Need], resource: Resource) -> Vec<&str> {
    let of = needs.iter().filter(|need| need.right.resource == resource);
    let mut names: Vec<&str> = of.flat_map(|need| need.names.iter().map(String::as_str)).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Asks about some names; a question that fails is noted.
fn record_answer<'n>(
    report: &mut Report,
    names: Vec<&'n str>,
    question: impl FnOnce(&[&str]) -> Result<Vec<Allowed>>,
) -> Result<BTreeMap<&'n str, Allowed>> {
    match question(&names) {
        Ok(answers) => Ok(names.into_iter().zip(answers).collect()),
        Err(error) if error.is_fatal() => Err(error),
        Err(error) => {
            report.unknown.push(error.to_string());
            Ok(BTreeMap::new())
        }
    }
}

/// Tries, without making them, to make the topics that are not there.
fn create(admin: &ClusterAdmin, need: &Need, topics: &BTreeMap<&str, Allowed>, report: &mut Report) -> Result<()> {
    let is_there =
        |name: &String| !matches!(topics.get(name.as_str()), Some(Allowed::Absent | Allowed::Nothing) | None);
    let new = |name: &String| NewTopic { name: name.clone(), partitions: 1, replication: None, config: Vec::new() };
    let wanted: Vec<NewTopic> = need.names.iter().filter(|name| !is_there(name)).map(new).collect();
    match admin.may_create(&wanted) {
        Err(error) if error.is_fatal() => return Err(error),
        Err(error) => report.unknown.push(error.to_string()),
        Ok(answers) => {
            let refused = wanted.into_iter().zip(answers).filter(|(_, may)| !may).map(|(topic, _)| topic.name);
            let names: Vec<String> = refused.collect();
            if !names.is_empty() {
                report.missing.push(Need { names, ..need.clone() });
            }
        }
    }
    Ok(())
}

impl Report {
    /// Tries the transactional ids, which no broker tells the rights on: a producer is started and
    /// ended. The id is one of the application that no instance uses.
    ///
    /// # Errors
    /// A setting that librdkafka does not take.
    pub fn try_transactions(&mut self, kafka: &KafkaSettings, needs: &[Need]) -> Result<()> {
        let is_tried =
            |need: &&Need| (need.right.resource, need.right.operation) == (Resource::TransactionalId, Operation::Write);
        for need in needs.iter().filter(is_tried) {
            for name in &need.names {
                match may_use_transactional_id(kafka, name) {
                    Ok(true) => {}
                    Ok(false) => self.missing.push(need.clone()),
                    Err(error) if error.is_fatal() => return Err(error),
                    Err(error) => self.unknown.push(error.to_string()),
                }
            }
        }
        Ok(())
    }

    /// One line for each missing right: the right, what it is for, and the command that adds it.
    pub fn lines(&self, kafka: &KafkaSettings) -> Vec<String> {
        let principal = kafka.principal();
        let connection = connection(kafka);
        let line = |need: &Need| {
            let commands = Commands { of: vec![&need.right], principal: principal.as_deref(), connection: &connection };
            format!("{} ({}): {}", need.right, need.why, commands.lines().join("; "))
        };
        self.missing.iter().map(line).collect()
    }
}

/// The option of `kafka-acls.sh` that names the cluster.
pub fn connection(kafka: &KafkaSettings) -> String {
    format!("--bootstrap-server {}", kafka.bootstrap_servers)
}

/// Asks whether all that a command needs is allowed. The answer names the resources that could not
/// be asked about since it does not exist yet.
///
/// # Errors
/// All that is missing, each with the ACL to add.
pub fn require(admin: &ClusterAdmin, kafka: &KafkaSettings, command: &str, needs: &[Need]) -> anyhow::Result<Report> {
    let mut report = query_rights(admin, needs)?;
    for why in &report.unknown {
        tracing::debug!("could not list the rights of this principal: {why}");
    }
    if report.missing.is_empty() {
        return Ok(report);
    }
    // A command that goes on uses its transactional ids at once; one that is about to stop says all
    // that is missing.
    report.try_transactions(kafka, needs)?;
    let who = kafka
        .principal()
        .map_or("the principal of this client".to_owned(), |principal| format!("the principal {principal}"));
    let lines = report.lines(kafka).join("\n  ");
    Err(anyhow!(
        "`helixstream {command}` is not allowed what it needs on Kafka: {who} lacks {}; add these ACLs and start again \
         (`helixstream topics acls` lists all) [HS2030]:\n  {lines}",
        count(report.missing.len())
    ))
}

fn count(rights: usize) -> String {
    if rights == 1 { "a right".to_owned() } else { format!("{rights} rights") }
}
