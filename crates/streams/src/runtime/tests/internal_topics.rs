//! Topics at start: what is missing, what is wrong, what is made.

use super::*;
use crate::ports::Admin;

fn refused(prepare: impl Fn(&World)) -> String {
    let world = World::new();
    prepare(&world);
    let admin = Client(world.broker.clone());
    crate::runtime::internal_topics::prepare(&admin, &topology(), &world.config).unwrap_err().to_string()
}

#[test]
fn internal_topics_are_made_as_the_contract_says() {
    let world = World::new();
    world.start();
    let admin = Client(world.broker.clone());
    let found: Vec<i32> =
        admin.topics(&[REPARTITION, CHANGELOG]).unwrap().into_iter().map(|topic| topic.unwrap().partitions).collect();
    assert_eq!(found, [PARTITIONS, PARTITIONS]);
    let config = |topic: &str| -> Vec<String> {
        let mut settings: Vec<String> =
            admin.topic_config(topic).unwrap().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        settings.sort();
        settings
    };
    let common = [
        "max.message.bytes=16777216",
        "message.timestamp.after.max.ms=9223372036854775807",
        "message.timestamp.type=CreateTime",
    ];
    let changelog = [
        "cleanup.policy=compact",
        common[0],
        common[1],
        common[2],
        "min.cleanable.dirty.ratio=0.2",
        "retention.ms=-1",
        "segment.bytes=67108864",
    ];
    assert_eq!(config(CHANGELOG), changelog);
    let repartition =
        ["cleanup.policy=delete", common[0], common[1], common[2], "retention.ms=-1", "segment.bytes=52428800"];
    assert_eq!(config(REPARTITION), repartition);
    // A second start finds them, and a source that has grown changes nothing.
    world.broker.create("lines", 7);
    world.start();
    assert_eq!(admin.topics(&[REPARTITION]).unwrap()[0].as_ref().unwrap().partitions, PARTITIONS);
}

#[test]
fn a_missing_topic_of_the_world_is_named() {
    let error = refused(|world| world.broker.lock().counts.retain(|topic, _| topic != "out"));
    assert!(error.contains("`out`") && error.contains("topics create"), "{error}");
}

#[test]
fn a_wrong_partition_count_says_what_it_has_and_needs() {
    for (topic, count) in [(CHANGELOG, 5), (REPARTITION, 5)] {
        let error = refused(|world| world.broker.create(topic, count));
        assert!(error.contains(&format!("`{topic}` has 5 partitions and needs 2")), "{error}");
    }
    let error = refused(|world| {
        [(CHANGELOG, 2), (REPARTITION, 3)].iter().for_each(|(topic, n)| world.broker.create(topic, *n))
    });
    assert!(error.contains(&format!("`{REPARTITION}` has 3 partitions and needs 2")), "{error}");
}

#[test]
fn a_setting_that_would_lose_state_is_refused() {
    let error = refused(|world| {
        world.broker.create(CHANGELOG, 2);
        let setting = ("cleanup.policy".to_owned(), "delete".to_owned());
        world.broker.lock().configs.insert(CHANGELOG.to_owned(), vec![setting]);
    });
    assert!(error.contains("cleanup.policy=delete and needs cleanup.policy=compact"), "{error}");
}

#[test]
fn stores_whose_state_does_not_fit_into_an_offset_s_metadata_are_refused_at_the_start() {
    let built = |count: usize| {
        let names: Vec<String> = (0..count).map(|n| format!("store-{n}")).collect();
        let mut topology = Topology::builder().source("lines", "lines").process("count", ["lines"], || Box::new(Words));
        for name in &names {
            topology = topology.store(name, ["count"]);
        }
        topology.sink("out", "out", ["count"]).dead_letters("bad").build().unwrap()
    };
    let error = |limit: Option<usize>, count: usize| {
        let world = World::new();
        world.broker.lock().metadata_limit = limit;
        Instance::new(&built(count), world.config.clone(), 1, world.ports()).err().map(|error| error.to_string())
    };
    assert_eq!(error(None, 60), None);
    let told = error(None, 70).unwrap();
    assert!(
        told.contains("reads `lines` has 70 stores, whose state takes up to 4")
            && told.contains("and 4096 are allowed"),
        "{told}"
    );
    assert!(told.contains("the default of offset.metadata.max.bytes; this principal may not read"), "{told}");
    assert_eq!(error(Some(8192), 70), None, "the brokers take more");
    let told = error(Some(256), 4).unwrap();
    assert!(told.contains("and 256 are allowed (the brokers' offset.metadata.max.bytes)"), "{told}");
}
