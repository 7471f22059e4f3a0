//! What a topology may look like, and what is said about one that cannot run.

use std::time::Duration;

use super::{NodeKind, TopicRef, Topology, TopologyBuilder, TopologyError};
use crate::processor::{Processor, ProcessorContext, ProcessorError};
use crate::record::Record;

struct Nothing;

impl Processor for Nothing {
    fn process(&mut self, _record: &Record<'_>, _ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        Ok(())
    }
}

fn process<const N: usize>(builder: TopologyBuilder, name: &str, parents: [&str; N]) -> TopologyBuilder {
    builder.process(name, parents, || Box::new(Nothing))
}

/// A topology that is sound: two sources merge through a repartition topic.
fn sound() -> TopologyBuilder {
    let builder = Topology::builder().source("a", "topic-a").source("b", "topic-b");
    let builder = process(process(builder, "pa", ["a"]), "pb", ["b"]).repartition("mid", ["pa", "pb"]);
    process(builder, "pm", ["mid"]).store("s", ["pm"]).sink("out", "topic-out", ["pm"]).dead_letters("topic-bad")
}

#[test]
fn a_topology_is_cut_at_its_repartition_topics() {
    let topology = sound().build().unwrap();
    let shape: Vec<(String, Vec<&str>)> = topology
        .subtopologies()
        .iter()
        .map(|sub| (sub.source.full_name("app"), sub.nodes.iter().map(|node| node.name.as_str()).collect()))
        .collect();
    let expected = [
        ("topic-a".to_owned(), vec!["a", "pa", "mid"]),
        ("topic-b".to_owned(), vec!["b", "pb", "mid"]),
        ("app-mid-repartition".to_owned(), vec!["mid", "pm", "out"]),
    ];
    assert_eq!(shape, expected);
    let last = &topology.subtopologies()[2];
    assert!(matches!(last.nodes[0].kind, NodeKind::Source) && last.stores == ["s"]);
    let sink = topology.subtopologies()[0].nodes[2].clone();
    assert!(
        matches!(sink.kind, NodeKind::Sink(TopicRef::Repartition(name)) if name == "mid") && sink.children.is_empty()
    );
    assert_eq!(topology.source_topics(), ["topic-a", "topic-b"]);
    assert_eq!(topology.sink_topics(), ["topic-bad", "topic-out"]);
}

#[test]
fn parts_may_be_named_in_any_order() {
    let builder = Topology::builder().sink("out", "topic-out", ["p"]);
    let topology = process(builder, "p", ["in"]).source("in", "topic-in").build().unwrap();
    let nodes: Vec<&str> = topology.subtopologies()[0].nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(nodes, ["in", "p", "out"]);
}

fn refused(builder: TopologyBuilder) -> TopologyError {
    builder.build().unwrap_err()
}

#[test]
fn names_and_parents_are_checked() {
    use TopologyError::*;
    assert_eq!(refused(Topology::builder()), NoSource);
    assert!(matches!(refused(sound().source("a", "x")), TwiceNamed { name } if name == "a"));
    assert!(matches!(refused(process(sound(), "s", ["mid"])), TwiceNamed { name } if name == "s"));
    assert!(matches!(refused(process(sound(), "a b", ["a"])), BadName { name, .. } if name == "a b"));
    assert!(matches!(refused(process(sound(), "p", ["nobody"])), UnknownParent { parent, .. } if parent == "nobody"));
    assert!(matches!(refused(process(sound(), "p", [])), NoParent { node } if node == "p"));
    assert!(matches!(refused(process(sound(), "p", ["a", "a"])), TwiceParent { node, .. } if node == "p"));
    assert!(matches!(refused(process(sound(), "p", ["out"])), BelowSink { parent, .. } if parent == "out"));
    let circle = process(process(sound(), "p", ["q", "a"]), "q", ["p"]);
    assert!(matches!(refused(circle), Cycle { node } if node == "p"));
    assert!(matches!(refused(sound().repartition("again", ["again"])), Cycle { node } if node == "again"));
    assert!(matches!(refused(sound().source("c", "topic-c")), DeadEnd { node } if node == "c"));
    assert!(matches!(refused(sound().repartition("end", ["pm"])), DeadEnd { node } if node == "end"));
}

#[test]
fn a_task_reads_one_topic_and_owns_its_stores() {
    use TopologyError::*;
    let two = process(sound(), "p", ["pa", "pb"]);
    assert!(
        matches!(refused(two), TwoSources { node, first, second } if (&*node, &*first, &*second) == ("p", "a", "b"))
    );
    assert!(matches!(refused(sound().store("t", ["pa", "pm"])), SharedStore { store, .. } if store == "t"));
    assert!(matches!(refused(sound().store("t", ["out"])), StoreUser { node, .. } if node == "out"));
    assert!(matches!(refused(sound().store::<&str>("t", [])), UnusedStore { store } if store == "t"));
}

#[test]
fn topics_and_intervals_are_checked() {
    use TopologyError::*;
    let twice = process(sound().source("c", "topic-a"), "pc", ["c"]);
    assert!(matches!(refused(twice), TopicTwice { topic, .. } if topic == "topic-a"));
    assert!(matches!(refused(sound().sink("o", "topic-a", ["pm"])), ReadAndWritten { topic } if topic == "topic-a"));
    assert!(matches!(refused(sound().sink("o", "topic-out", ["pm"])), SinkTwice { topic, .. } if topic == "topic-out"));
    assert!(matches!(refused(sound().sink("o", "topic-bad", ["pm"])), DeadLetters { topic } if topic == "topic-bad"));
    assert!(matches!(refused(sound().dead_letters("more")), DeadLetters { topic } if topic == "more"));
    let second = Duration::from_secs(1);
    assert!(matches!(refused(sound().punctuate("out", second)), PunctuatedNode { node } if node == "out"));
    assert!(matches!(refused(sound().punctuate("pm", Duration::from_micros(9))), BadInterval { millis: 0, .. }));
    assert!(matches!(refused(sound().punctuate("pm", second).punctuate("pm", second)), BadInterval { .. }));
    assert!(sound().punctuate("pm", second).build().is_ok());
}

#[test]
fn a_message_says_what_is_wrong_and_how_to_mend_it() {
    let text = refused(process(sound(), "p", ["pa", "pb"])).to_string();
    assert_eq!(
        text,
        "`p` gets records of `a` and of `b`: a task reads one topic; merge the two through one repartition topic [HS1029]"
    );
}
