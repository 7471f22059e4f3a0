//! Generic operators read Avro of any schema by that of its writer, and an event as the event that
//! it is.

use crate::drive::{Out, event, run_all, run_with, samples, shipped, topology};
use crate::to_avro::{self, framed};
use apache_avro::Schema;
use avro::Avro;
use avro::settings::RegistrySettings;
use std::sync::Arc;
use std::time::Duration;
use streams::ports::Codec;
use testkit::{Registry, repo_path, unique};

const EVENT: &str = include_str!("../../schemas/event.v1.avsc");

fn codec(registry: &Registry) -> Arc<dyn Codec> {
    let settings = RegistrySettings {
        url: registry.url(),
        register: true,
        wait: Duration::from_secs(60),
        ..RegistrySettings::default()
    };
    Arc::new(Avro::new(settings).unwrap())
}

/// The memory topology with a filter before `decode`.
fn filtered() -> String {
    let text = std::fs::read_to_string(repo_path("topologies/memory.toml")).unwrap();
    let text = text.replacen("from = [\"events\"]", "from = [\"some.records\"]", 1);
    format!(
        "{text}\n[[processor]]\nname = \"some\"\noperator = \"filter\"\nfrom = [\"events\"]\nwhen = 'value.event_id != \"\"'\n"
    )
}

#[test]
fn events_in_avro_go_through_a_filter_as_they_do_without_one() {
    let registry = Registry::shared();
    let (id, codec) = (registry.register(&unique("filtered"), EVENT), codec(registry));
    let schema = Schema::parse_str(EVENT).unwrap();
    let mut records = samples();
    for record in records.iter_mut().step_by(2) {
        if let Some(body) = to_avro::event(&schema, record.value.as_deref()) {
            record.value = Some(framed(id, &body));
        }
    }
    let show = |outs: Vec<Out>| outs.into_iter().map(|o| (o.topic, o.key, o.value)).collect::<Vec<_>>();
    let plain = show(run_with(&shipped("memory.toml", &[]), &records, Some(codec.clone())));
    let through = show(run_with(&topology(&filtered(), &[]), &records, Some(codec)));
    assert!(plain.len() > 100 && plain == through);
}

#[test]
fn a_foreign_schema_is_read_as_its_writer_meant_it() {
    let registry = Registry::shared();
    let schema = r#"{"type":"record","name":"Order","namespace":"shop","fields":[
        {"name":"id","type":"string"},{"name":"n","type":["null","long"]},{"name":"tags","type":{"type":"map","values":"int"}}]}"#;
    let (id, codec) = (registry.register(&unique("orders"), schema), codec(registry));
    let text = "application_id = \"app\"\n[dead_letters]\ntopic = \"dead\"\npartitions = 1\n\
        [[source]]\nname = \"in\"\ntopic = \"helixagent.memory.events\"\npartitions = 1\nformat = \"avro\"\n\
        [[processor]]\nname = \"p\"\noperator = \"map\"\nfrom = \"in\"\nset = { n = 'value.n + 1' }\n\
        [[sink]]\nname = \"out\"\ntopic = \"out\"\npartitions = 1\nfrom = \"p.records\"\n";
    // "a"; the union's second branch, 20; one block of two entries; the end of the map.
    let body = b"\x02a\x02\x28\x04\x02z\x02\x02y\x04\x00";
    let value = |value: Vec<u8>| reference_model::Record { value: Some(value), ..event(0, "{}") };
    let records = [value(framed(id, body)), value(framed(id, &body[..4])), event(2, "{\"n\":1}")];
    let outs = run_all(&topology(text, &[]), &records, Some(codec));
    let class = |out: &Out| {
        let found = out.headers.iter().find(|(name, _)| name == "__streams.errors.exception");
        found.map_or(String::new(), |(_, class)| class.clone())
    };
    assert_eq!(String::from_utf8_lossy(&outs[0].value), r#"{"id":"a","n":21,"tags":{"y":2,"z":1}}"#);
    assert_eq!(outs.iter().map(class).collect::<Vec<_>>(), ["", "malformed_avro", "malformed_avro"]);
}
