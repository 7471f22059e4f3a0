//! Rights that a client needs on Kafka: an operation on a resource, as ACLs name both. Plain
//! values, so that the list of what each command needs, the questions that are asked of a broker
//! and the messages about a refusal are made of the same thing.
//!
//! Kafka's own names are used throughout (KIP-11, KIP-290; "Operations and resources on protocols"
//! of Kafka's documentation).

use std::fmt;

/// An operation, as Kafka's ACLs name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Fetch records of a topic; be a member of a group and commit its offsets.
    Read,
    /// Produce to a topic; use a transactional id.
    Write,
    /// Make a topic.
    Create,
    /// Delete records of a topic, or the topic.
    Delete,
    /// See that a topic is there, its partitions and the ends of its log; look at a group or a
    /// transaction.
    Describe,
    /// Read the settings of a topic.
    DescribeConfigs,
    /// Speak for the cluster, as the end of a hanging transaction does.
    ClusterAction,
    /// Start an idempotent producer, on brokers before Kafka 2.8.
    IdempotentWrite,
}

impl Operation {
    /// The name that `kafka-acls.sh --operation` takes.
    pub fn name(self) -> &'static str {
        match self {
            Operation::Read => "Read",
            Operation::Write => "Write",
            Operation::Create => "Create",
            Operation::Delete => "Delete",
            Operation::Describe => "Describe",
            Operation::DescribeConfigs => "DescribeConfigs",
            Operation::ClusterAction => "ClusterAction",
            Operation::IdempotentWrite => "IdempotentWrite",
        }
    }
}

/// Type of the resource of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// A topic.
    Topic,
    /// A consumer group.
    Group,
    /// The id of a transactional producer.
    TransactionalId,
    /// The cluster as a whole; it has no name.
    Cluster,
}

impl Resource {
    /// The kind in a word, such as `transactional id`.
    pub fn word(self) -> &'static str {
        self.words().0
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Resource::Topic => ("topic", "topics"),
            Resource::Group => ("group", "groups"),
            Resource::TransactionalId => ("transactional id", "transactional ids"),
            Resource::Cluster => ("cluster", "clusters"),
        }
    }

    fn flag(self) -> &'static str {
        match self {
            Resource::Topic => "--topic",
            Resource::Group => "--group",
            Resource::TransactionalId => "--transactional-id",
            Resource::Cluster => "--cluster",
        }
    }
}

/// Which names an ACL covers (KIP-290).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pattern {
    /// The one name.
    Literal,
    /// All names that begin so.
    Prefixed,
}

/// One ACL that a client needs. Its `Display` is for messages: `Write on topic x`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Right {
    /// The kind of resource.
    pub resource: Resource,
    /// Which names it covers.
    pub pattern: Pattern,
    /// The resource's name, or the prefix; empty for the cluster.
    pub name: String,
    /// The operation.
    pub operation: Operation,
}

/// In the place of a principal that is not known.
const NOBODY: &str = "User:NAME";

impl Right {
    /// An operation on the resource of this name.
    pub fn literal(operation: Operation, resource: Resource, name: &str) -> Right {
        Right { resource, pattern: Pattern::Literal, name: name.to_owned(), operation }
    }

    /// An operation on all resources whose names begin so.
    pub fn prefixed(operation: Operation, resource: Resource, prefix: &str) -> Right {
        Right { pattern: Pattern::Prefixed, ..Right::literal(operation, resource, prefix) }
    }

    /// An operation on a topic.
    pub fn topic(operation: Operation, topic: &str) -> Right {
        Right::literal(operation, Resource::Topic, topic)
    }

    /// Reading with a consumer group.
    pub fn group(group: &str) -> Right {
        Right::literal(Operation::Read, Resource::Group, group)
    }

    /// Using the transactional ids of an application, `<application id>-<instance id>-<thread>`. An
    /// instance makes its id up, so only a prefix can be granted.
    pub fn transactions_of(application_id: &str) -> Right {
        Right::prefixed(Operation::Write, Resource::TransactionalId, &format!("{application_id}-"))
    }

    /// An operation on the cluster.
    pub fn cluster(operation: Operation) -> Right {
        Right::literal(operation, Resource::Cluster, "")
    }

    /// The command that adds the ACL, without what says where the cluster is; the principal is
    /// `User:NAME` where it is not known.
    pub fn command(&self, principal: Option<&str>) -> String {
        let one = Commands { of: vec![self], principal, connection: "" };
        one.lines().join("; ")
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (one, many) = self.resource.words();
        let operation = self.operation.name();
        match (self.resource, self.pattern) {
            (Resource::Cluster, _) => write!(f, "{operation} on the cluster"),
            (_, Pattern::Literal) => write!(f, "{operation} on {one} {}", self.name),
            (_, Pattern::Prefixed) => write!(f, "{operation} on {many} with the prefix {}", self.name),
        }
    }
}

/// Several rights as commands of `kafka-acls.sh`: those on the same resources in one, since each
/// call takes seconds.
#[derive(Clone, Debug)]
pub struct Commands<'r> {
    /// The rights.
    pub of: Vec<&'r Right>,
    /// The principal that is to have them, such as `User:helixstream`.
    pub principal: Option<&'r str>,
    /// The option that names the cluster, such as `--bootstrap-server localhost:9092`; may be
    /// empty.
    pub connection: &'r str,
}

impl Commands<'_> {
    /// The commands, in the order of the rights.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<(Vec<Operation>, Resource, Pattern, Vec<&str>)> = Vec::new();
        for right in &self.of {
            let same = |line: &&mut (Vec<Operation>, Resource, Pattern, Vec<&str>)| {
                (line.1, line.2) == (right.resource, right.pattern) && line.3 == [right.name.as_str()]
            };
            match lines.iter_mut().find(same) {
                Some(line) if line.0.contains(&right.operation) => {}
                Some(line) => line.0.push(right.operation),
                None => {
                    lines.push((vec![right.operation], right.resource, right.pattern, vec![right.name.as_str()]));
                }
            }
        }
        let mut merged: Vec<(Vec<Operation>, Resource, Pattern, Vec<&str>)> = Vec::new();
        for line in lines {
            let same = merged.iter_mut().find(|other| (&other.0, other.1, other.2) == (&line.0, line.1, line.2));
            match same {
                Some(other) => other.3.extend(line.3),
                None => merged.push(line),
            }
        }
        merged.iter().map(|line| self.line(line)).collect()
    }

    fn line(&self, (operations, resource, pattern, names): &(Vec<Operation>, Resource, Pattern, Vec<&str>)) -> String {
        let mut words = vec!["kafka-acls.sh".to_owned()];
        if !self.connection.is_empty() {
            words.push(self.connection.to_owned());
        }
        words.push(format!("--add --allow-principal {}", quoted(self.principal.unwrap_or(NOBODY))));
        words.extend(operations.iter().map(|operation| format!("--operation {}", operation.name())));
        match resource {
            Resource::Cluster => words.push(resource.flag().to_owned()),
            _ => words.extend(names.iter().map(|name| format!("{} {}", resource.flag(), quoted(name)))),
        }
        if *pattern == Pattern::Prefixed {
            words.push("--resource-pattern-type prefixed".to_owned());
        }
        words.join(" ")
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-:=,@/+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_is_told_with_the_command_that_adds_it() {
        let right = Right::topic(Operation::Write, "events");
        assert_eq!(right.to_string(), "Write on topic events");
        assert_eq!(
            right.command(Some("User:me")),
            "kafka-acls.sh --add --allow-principal User:me --operation Write --topic events"
        );
        let right = Right::transactions_of("app");
        assert_eq!(right.to_string(), "Write on transactional ids with the prefix app-");
        assert_eq!(
            right.command(None),
            "kafka-acls.sh --add --allow-principal User:NAME --operation Write --transactional-id app- --resource-pattern-type prefixed"
        );
        let right = Right::cluster(Operation::ClusterAction);
        assert_eq!(right.to_string(), "ClusterAction on the cluster");
        assert!(right.command(None).ends_with("--operation ClusterAction --cluster"));
    }

    #[test]
    fn rights_on_the_same_resources_share_a_command() {
        let read = |topic: &str| Right::topic(Operation::Read, topic);
        let rights =
            [read("a"), Right::topic(Operation::DescribeConfigs, "a"), read("b"), read("c"), Right::group("a")];
        let commands = Commands {
            of: rights.iter().collect(),
            principal: Some("User:CN=x y"),
            connection: "--bootstrap-server b:1",
        };
        let add = "kafka-acls.sh --bootstrap-server b:1 --add --allow-principal 'User:CN=x y'";
        assert_eq!(
            commands.lines(),
            [
                format!("{add} --operation Read --operation DescribeConfigs --topic a"),
                format!("{add} --operation Read --topic b --topic c"),
                format!("{add} --operation Read --group a"),
            ]
        );
    }
}
