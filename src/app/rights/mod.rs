//! The rights that each command needs on Kafka, computed from a topology: the one list that `topics
//! acls` prints, that `topics check` and each command hold against what the brokers allow, and that
//! docs/kafka-acls.md shows.
//!
//! Only what is needed is listed. Kafka's own rule saves the rest: Read, Write and Delete include
//! Describe, and so does Read on a group, which is all that standbys ask for; looking for a
//! transaction that nobody ends asks the brokers for nothing beyond the records themselves.

mod query;

use super::{conflict_topics, mirrored_topics};
use crate::edges::cli::Purpose;
use operators::spec::Form;
use streams::ports::rights::{Operation, Resource, Right};
use streams::topology::{TopicRef, changelog_topic};
use topology_file::Topology as File;
use topology_file::graph::GraphNodeKind;

pub use query::{Report, connection, query_rights, require};

/// A right, what it is for, and the resources that it is needed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The ACL.
    pub right: Right,
    /// The names that are asked about; of a prefix those that will be used.
    pub names: Vec<String>,
    /// Its purpose in a few words.
    pub why: String,
}

impl Need {
    fn topic(operation: Operation, topic: &str, why: &str) -> Need {
        Need { right: Right::topic(operation, topic), names: vec![topic.to_owned()], why: why.to_owned() }
    }
}

/// Names as they are in a topology file.
struct Names<'f> {
    file: &'f File,
    application_id: &'f str,
}

impl<'f> Names<'f> {
    fn of(file: &'f File) -> Names<'f> {
        Names { file, application_id: &file.values.resolver.application_id }
    }

    fn prefix(&self) -> String {
        format!("{}-", self.application_id)
    }

    fn sources(&self) -> Vec<&'f str> {
        distinct(self.file.graph.sources().map(|(_, topic, _)| topic))
    }

    /// The sinks' topics and the dead letters'.
    fn sinks(&self) -> Vec<&'f str> {
        let dead = self.file.graph.dead_letters.iter().map(|dead| dead.topic.as_str());
        distinct(self.file.graph.sinks().map(|(_, topic, _)| topic).chain(dead))
    }

    fn repartitions(&self) -> Vec<String> {
        let nodes = self.file.graph.nodes.iter().filter(|node| matches!(node.kind, GraphNodeKind::Repartition));
        nodes.map(|node| TopicRef::Repartition(node.name.clone()).full_name(self.application_id)).collect()
    }

    /// Repartition topics and changelogs.
    fn internal(&self) -> Vec<String> {
        let changelogs = self.file.graph.stores.iter().map(|store| changelog_topic(self.application_id, &store.name));
        self.repartitions().into_iter().chain(changelogs).collect()
    }

    fn on_internal(&self, operations: &[Operation], why: &str) -> Vec<Need> {
        let names = self.internal();
        if names.is_empty() {
            return Vec::new();
        }
        let need = |operation: &Operation| Need {
            right: Right::prefixed(*operation, Resource::Topic, &self.prefix()),
            names: names.clone(),
            why: why.to_owned(),
        };
        operations.iter().map(need).collect()
    }

    /// All topics of the topology that other programs know.
    fn world(&self) -> Vec<&'f str> {
        distinct(self.sources().into_iter().chain(self.sinks()))
    }

    fn on_world(&self, operations: &[Operation], why: &str) -> Vec<Need> {
        let on = |topic: &str| operations.iter().map(|one| Need::topic(*one, topic, why)).collect::<Vec<_>>();
        self.world().into_iter().flat_map(on).collect()
    }
}

/// Each of them once, in their order.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut all = Vec::new();
    for name in names {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

/// Rights that a principal needs for a purpose. No right is listed twice.
pub fn needs(file: &File, purpose: Purpose) -> Vec<Need> {
    let names = Names::of(file);
    let all = match purpose {
        Purpose::Run => run(&names),
        Purpose::Mirror => [read_mirrored(file), mirror_groups(file)].concat(),
        Purpose::MirrorVerify => read_mirrored(file),
        Purpose::TopicsCreate => {
            let operations = [Operation::Create, Operation::Describe];
            let internal = names.on_internal(&operations, "makes internal topics and sees that they are there");
            [names.on_world(&operations, "makes the topic and sees that it is there"), internal].concat()
        }
        Purpose::TopicsCheck => {
            let operations = [Operation::Describe, Operation::DescribeConfigs];
            let why = "looks at topics and their settings";
            [names.on_world(&operations, why), names.on_internal(&operations, why)].concat()
        }
        Purpose::Produce => names.sources().into_iter().flat_map(produce).collect(),
        Purpose::ConflictsList => conflict_records(file),
        Purpose::ConflictsResolve => [conflict_records(file), settlements(&names)].concat(),
        Purpose::SyncRequest => sync_request(&names),
        Purpose::HangingTransactions => hanging_transactions(&names),
    };
    distinct_needs(all)
}

/// Rights that a principal needs for several purposes, each once.
pub fn needs_of(file: &File, purposes: &[Purpose]) -> Vec<Need> {
    distinct_needs(purposes.iter().flat_map(|purpose| needs(file, *purpose)))
}

fn distinct_needs(all: impl IntoIterator<Item = Need>) -> Vec<Need> {
    let mut needs: Vec<Need> = Vec::new();
    for need in all {
        match needs.iter_mut().find(|other| other.right == need.right) {
            Some(other) => {
                let more = need.names.into_iter().filter(|name| !other.names.contains(name));
                let more: Vec<String> = more.collect();
                other.names.extend(more);
            }
            None => needs.push(need),
        }
    }
    needs
}

/// Rights to publish records on a topic.
pub fn produce(topic: &str) -> Vec<Need> {
    vec![Need::topic(Operation::Write, topic, "publishes records")]
}

/// Rights to list the nodes of the distributed memory.
pub fn list_nodes(topic: &str) -> Vec<Need> {
    vec![Need::topic(Operation::Read, topic, "reads the records of the nodes")]
}

fn run(names: &Names<'_>) -> Vec<Need> {
    let mut all = Vec::new();
    all.extend(names.sources().into_iter().map(|topic| Need::topic(Operation::Read, topic, "reads the source")));
    for topic in names.sinks() {
        all.push(Need::topic(Operation::Write, topic, "writes outputs"));
        all.push(Need::topic(Operation::DescribeConfigs, topic, "learns the largest record that the topic takes"));
    }
    let operations = [Operation::Read, Operation::Write, Operation::DescribeConfigs];
    all.extend(names.on_internal(&operations, "reads, writes and checks its repartition topics and changelogs"));
    if names.file.values.runtime.purge {
        let why = "purges what is committed of a repartition topic ([runtime] purge)";
        all.extend(names.repartitions().iter().map(|topic| Need::topic(Operation::Delete, topic, why)));
    }
    all.push(Need {
        right: Right::group(names.application_id),
        names: vec![names.application_id.to_owned()],
        why: "is a member of the group and commits its offsets; standbys look at the members".to_owned(),
    });
    all.push(Need {
        right: Right::transactions_of(names.application_id),
        names: vec![format!("{}rights-check", names.prefix())],
        why: "commits in transactions".to_owned(),
    });
    all
}

fn read_mirrored(file: &File) -> Vec<Need> {
    let topics = mirrored_topics::mirrored(file).into_iter().flat_map(|(_, topics)| topics);
    topics.map(|topic| Need::topic(Operation::Read, &topic, "reads what is mirrored")).collect()
}

fn mirror_groups(file: &File) -> Vec<Need> {
    let application_id = &file.values.resolver.application_id;
    let names: Vec<String> =
        mirrored_topics::mirrored(file).into_iter().map(|(group, _)| format!("{application_id}-{group}")).collect();
    let right =
        Right::prefixed(Operation::Read, Resource::Group, &format!("{application_id}-{}", mirrored_topics::GROUP));
    vec![Need { right, names, why: "is a member of the mirrors' groups".to_owned() }]
}

fn conflict_records(file: &File) -> Vec<Need> {
    let topics = conflict_topics::names(file);
    topics.iter().map(|topic| Need::topic(Operation::Read, topic, "reads conflict records")).collect()
}

/// `conflicts resolve` publishes on the first source.
fn settlements(names: &Names<'_>) -> Vec<Need> {
    let topic = names.sources().into_iter().next();
    topic.map(|topic| Need::topic(Operation::Write, topic, "publishes the event that settles")).into_iter().collect()
}

/// A node that asks publishes on a source and reads the answer from the topics of resolved
/// memories.
fn sync_request(names: &Names<'_>) -> Vec<Need> {
    let write = names.sources().into_iter().map(|topic| Need::topic(Operation::Write, topic, "publishes the request"));
    let graph = &names.file.graph;
    let answers = graph.sinks().filter(|(node, ..)| node.from.iter().any(|input| graph.produces(input, Form::Memory)));
    let answers = distinct(answers.map(|(_, topic, _)| topic));
    let read = answers.iter().map(|topic| Need::topic(Operation::Read, topic, "reads the answer"));
    write.chain(read).collect()
}

/// Rights for `kafka-transactions.sh find-hanging` and `abort`, which an operator calls, never this
/// program.
fn hanging_transactions(names: &Names<'_>) -> Vec<Need> {
    let why = "find-hanging looks at the producers of a partition";
    let mut all: Vec<Need> =
        names.sources().into_iter().map(|topic| Need::topic(Operation::Read, topic, why)).collect();
    all.extend(names.on_internal(&[Operation::Read], why));
    let prefix = names.prefix();
    all.push(Need {
        right: Right::prefixed(Operation::Describe, Resource::TransactionalId, &prefix),
        names: vec![format!("{prefix}rights-check")],
        why: "find-hanging looks at transactions".to_owned(),
    });
    all.push(Need {
        right: Right::cluster(Operation::ClusterAction),
        names: vec![String::new()],
        why: "abort ends a transaction".to_owned(),
    });
    all
}
