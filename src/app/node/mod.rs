//! `helixstream node`: a node of the distributed memory beside an agent. Its database opens first.
//! Then the publisher and the follower, which need Kafka, start on threads of their own. HTTP is
//! served whether Kafka is there or not.

mod figures;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;

use super::kafka::{self, Memory};
use super::kill::KillAt;
use super::services::Booting;
use super::settings::load;
use super::signals::{LOOK, watch_signals};
use super::{CommandError, Program, http};
use crate::edges::cli::{NodeArgs, NodeRoleArgument, StaleWritesArgument, TopologyArgs};
use figures::NodeFigures;
use node::expiry_timer::{ExpiryTimer, ExpiryTimerSettings};
use node::follower::{Follower, FollowerSettings};
use node::kafka::{APPLICATION_ID, KafkaClients, Topics};
use node::loops::NodeLoops;
use node::node::Node;
use node::publisher::{Publisher, PublisherSettings};
use node::registry::{NodeDirectory, NodeRole, NodesTopic};
use node::settings::{NodeError, NodeSettings, RECORD_REST, StaleWrites, Subscription};
use node_http::extractor::{Extractor, ExtractorSettings};
use secret::SecretSource;
use streams::error::Error;
use streams_kafka::KafkaSettings;
use streams_kafka::admin::ClusterAdmin;
use streams_kafka::client_log::log_repeated_lines;
use streams_kafka::producer::TransactionalProducers;
use streams_kafka::restore_consumer::RestoreConsumer;
use topology_file::RunDefaults;

/// The address that HTTP is served at where none is set. HelixAgent expects its memory server at
/// this port.
const HTTP_LISTEN: &str = "8001";
/// The variable with the key of the extractor, and with `_FILE` behind it that of its file.
const EXTRACTOR_KEY: &str = "HELIXSTREAM_EXTRACTOR_KEY";
/// Queues of the Kafka clients together, in bytes.
const MEMORY: u64 = 32 << 20;
/// How long the last events may take to be published after a signal.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// How long the followers may take to end; they have written nothing that a kill would lose.
const FOLLOWER_STOP_LIMIT: Duration = Duration::from_secs(1);

/// Runs until a signal or a failure.
pub fn node(args: &NodeArgs, program: &Program) -> Result<(), CommandError> {
    // The allocator asks for huge pages. They serve a stream of events; a node has little memory in
    // use, and holds three times as much with them (prctl(2), PR_SET_THP_DISABLE). An older kernel
    // cannot do without, which costs memory alone.
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!("the system keeps huge pages: {error}");
    }
    let signalled = watch_signals()?;
    let usage = |e: node::actor::ActorError| CommandError::Usage(format!("--node-name: {e} [HS8050]"));
    let observe_step = KillAt::of_node().map_err(CommandError::Usage)?;
    let mut settings = NodeSettings {
        subscription: subscription(args),
        stale_writes: match args.stale_writes {
            StaleWritesArgument::Refuse => StaleWrites::Refuse,
            StaleWritesArgument::Concurrent => StaleWrites::Concurrent,
        },
        observe_step,
        ..NodeSettings::new(&args.node_dir, args.node_name.parse().map_err(usage)?)
    };
    if let Some(topology) = &args.topology {
        let topology = TopologyArgs { topology: topology.clone(), set: args.set.clone() };
        let values = load(&topology, None, program)?.values;
        let most = values.runtime.max_output_bytes;
        settings.max_memory_bytes = most - RECORD_REST.min(most / 2);
        (settings.limits, settings.resolver) = (values.limits, values.resolver);
    }
    let event_bytes = settings.limits.max_value_bytes;
    let booting = Booting::of_node(args)?;
    let kafka = booting.as_ref().map_or_else(|| args.kafka.clone(), |services| services.kafka(&args.kafka));
    let kafka = KafkaSettings {
        application_id: APPLICATION_ID.to_owned(),
        ..kafka::settings(&kafka, None, &args.node_name, Memory::share(MEMORY, 1))?
    };
    let extractor = extractor(args)?;
    let server = http::bind(&args.http, Some(HTTP_LISTEN), &RunDefaults::default())?;
    let server = server.ok_or_else(|| Error::Bug("a node has no address for HTTP".to_owned()))?;
    booting.map_or(Ok(()), |services| services.start(&signalled))?;
    let node = Node::open(settings).map_err(|e| match e {
        NodeError::OtherName { .. } => CommandError::Usage(e.to_string()),
        e => CommandError::Failure(e.into()),
    })?;
    let threads = NodeThreads::start(args, &kafka, node, observe_step)?;
    tracing::info!(
        "node {}, folder {}, brokers {}, events topic {}, snapshots topic {}",
        args.node_name,
        args.node_dir.display(),
        kafka.bootstrap_servers,
        args.events_topic,
        args.snapshots_topic,
    );
    let [own, of_mem0] = node_http::apis(threads.node.clone(), threads.loops.clone(), event_bytes, extractor);
    let mcp = node_mcp::api(own.router.clone());
    let http = http::serve_apis(server, threads.figures.clone(), vec![own, of_mem0, mcp])?;
    let failure = threads.watch(&signalled);
    tracing::info!("stopping: accepted events are published first, for {} s at most", STOP_LIMIT.as_secs());
    drop(http);
    threads.stop();
    if let Some(failure) = failure {
        return Err(failure.into());
    }
    tracing::info!("stopped");
    Ok(())
}

/// The abilities of this program's nodes, in order: each serves all of its interfaces.
fn capabilities() -> Vec<String> {
    let mut words = [&node_http::CAPABILITIES[..], &[node_mcp::CAPABILITY]].concat();
    words.sort_unstable();
    words.into_iter().map(str::to_owned).collect()
}

/// The extractor, if one is set. It is reached when it is first needed.
fn extractor(args: &NodeArgs) -> Result<Option<Extractor>, CommandError> {
    let (Some(url), Some(model)) = (&args.extractor_url, &args.extractor_model) else { return Ok(None) };
    let usage = |error: &dyn std::fmt::Display| CommandError::Usage(error.to_string());
    let key = match &args.extractor_key_file {
        Some(file) => Some(SecretSource::file(file, "--extractor-key-file")),
        None => SecretSource::from_variables(EXTRACTOR_KEY).map_err(|error| usage(&error))?,
    };
    let settings = ExtractorSettings { url: url.clone(), model: model.clone(), key };
    Extractor::new(settings).map(Some).map_err(|error| usage(&error))
}

/// The memories that the node keeps.
fn subscription(args: &NodeArgs) -> Subscription {
    if args.subscribe.is_none() && args.subscribe_sessions.is_none() {
        return Subscription::All;
    }
    let named = |list: &Option<Vec<String>>| list.iter().flatten().filter(|name| !name.is_empty()).cloned().collect();
    Subscription::Selected { users: named(&args.subscribe), sessions: named(&args.subscribe_sessions) }
}

/// The threads of a node that runs, and what they share.
struct NodeThreads {
    node: Node,
    loops: NodeLoops,
    figures: Arc<NodeFigures>,
}

impl NodeThreads {
    fn start(
        args: &NodeArgs,
        settings: &KafkaSettings,
        node: Node,
        observe_step: fn(&'static str),
    ) -> Result<NodeThreads, CommandError> {
        let topics = Topics {
            events: args.events_topic.as_str().into(),
            snapshots: args.snapshots_topic.as_str().into(),
            nodes: args.nodes_topic.as_str().into(),
            dead_letters: args.dead_letters_topic.as_str().into(),
        };
        let kafka = clients(topics, settings)?;
        let topic = Arc::new(NodesTopic::new(kafka.clone()));
        let role = match args.node_role {
            NodeRoleArgument::Primary => NodeRole::Primary,
            NodeRoleArgument::Replica => NodeRole::Replica,
            NodeRoleArgument::Worker => NodeRole::Worker,
        };
        let no_thread = |e: std::io::Error| anyhow!("the operating system did not start a thread: {e} [HS0008]");
        let publisher =
            PublisherSettings { role, capabilities: capabilities(), observe_step, ..PublisherSettings::default() };
        let publisher = Publisher::start(kafka.clone(), topic, node.journal(), publisher).map_err(no_thread)?;
        let follow = FollowerSettings::default;
        let follower = Follower::start(kafka.clone(), node.journal(), follow()).map_err(no_thread)?;
        let dead_letters = if args.dead_letters_topic.is_empty() {
            None
        } else {
            Some(Arc::new(Follower::of_dead_letters(kafka.clone(), node.journal(), follow()).map_err(no_thread)?))
        };
        // The publisher reads the partitions of the nodes topic with the reader that they share.
        let reader = Arc::new(RestoreConsumer::for_standbys(settings)?);
        let directory = Arc::new(NodeDirectory::default());
        let nodes = Follower::of_nodes(KafkaClients { reader, ..kafka.clone() }, directory.clone(), follow());
        let (publisher, follower) = (Arc::new(publisher), Arc::new(follower));
        let nodes = Arc::new(nodes.map_err(no_thread)?);
        let expiry = ExpiryTimerSettings {
            publisher: publisher.clone(),
            follower: follower.clone(),
            nodes: nodes.clone(),
            directory: directory.clone(),
        };
        let expiry = ExpiryTimer::start(node.clone(), expiry).map_err(no_thread)?;
        let loops = NodeLoops {
            topics: kafka.topics,
            publisher: Some(publisher),
            follower: Some(follower),
            dead_letters,
            nodes: Some(nodes),
            expiry: Some(Arc::new(expiry)),
            directory,
        };
        let figures = NodeFigures::new(node.clone(), loops.clone());
        Ok(NodeThreads { node, loops, figures: Arc::new(figures) })
    }

    /// Waits for a signal (`None`), or for a thread that ends by itself.
    fn watch(&self, signalled: &AtomicBool) -> Option<anyhow::Error> {
        loop {
            if signalled.load(Ordering::Relaxed) {
                return None;
            }
            let publisher = self.loops.publisher.as_ref().filter(|publisher| publisher.has_ended());
            let publisher = publisher.map(|publisher| ("publisher", publisher.status().last_error));
            let follower = || {
                let mut ended = self.loops.followers().filter(|(_, follower)| follower.has_ended());
                ended.next().map(|(name, follower)| (name, follower.status().last_error))
            };
            let expiry = self.loops.expiry.as_ref().filter(|timer| timer.has_ended());
            let expiry = || expiry.map(|timer| ("expiry timer", timer.status().last_error));
            if let Some((name, why)) = publisher.or_else(follower).or_else(expiry) {
                let why = why.unwrap_or_else(|| "no reason is known".to_owned());
                return Some(anyhow!("the {name} of the node has ended: {why} [HS8051]"));
            }
            log_repeated_lines();
            thread::sleep(LOOK);
        }
    }

    fn stop(self) {
        let NodeThreads { node, loops, figures } = self;
        drop(figures);
        loops.followers().for_each(|(_, follower)| follower.request_stop());
        // It holds the publisher and the followers.
        if let Some(expiry) = &loops.expiry {
            expiry.request_stop();
        }
        let NodeLoops { publisher, follower, dead_letters, nodes, expiry, .. } = loops;
        drop(expiry);
        let followers = [follower, dead_letters, nodes].into_iter().flatten();
        // A request that is still being answered, or a session of MCP, may hold them as well. So
        // the publisher is waited for where it is, and what remains ends with the last holder.
        if let Some(publisher) = publisher {
            publisher.request_stop(STOP_LIMIT);
            let deadline = Instant::now() + STOP_LIMIT;
            while !publisher.has_ended() && Instant::now() < deadline {
                thread::sleep(LOOK);
            }
            Arc::into_inner(publisher).map(|publisher| publisher.stop(Duration::ZERO));
        }
        for follower in followers {
            Arc::into_inner(follower).map(|follower| follower.stop(FOLLOWER_STOP_LIMIT));
        }
        node.stop();
    }
}

/// The Kafka clients of a node. None connects before it is used.
pub fn clients(topics: Topics, settings: &KafkaSettings) -> Result<KafkaClients, CommandError> {
    let reader = RestoreConsumer::new(settings)?;
    let admin = ClusterAdmin::new(settings, &reader)?;
    let of_producers = settings.clone();
    Ok(KafkaClients {
        topics,
        producers: Arc::new(move |id| Box::new(TransactionalProducers::with_id(&of_producers, id.to_owned()))),
        reader: Arc::new(reader),
        admin: Arc::new(admin),
    })
}
