//! The JSON Schema of topology files: it is what the code makes, it takes what is shipped, and it
//! refuses what the reader refuses.

use helixstream::Program;
use jsonschema::Validator;
use toml::{Table, Value};
use topology_file::key::{Key, Section};
use topology_file::keys::{SECTIONS, SETTINGS};
use topology_file::operator::processor_keys;
use topology_file::schema;
use topology_file::setting::SPECS;

use crate::support::Helix;
use crate::{changed, memory_toml};
use testkit::repo_path;

fn validator() -> Validator {
    jsonschema::draft7::new(&schema::schema(&Program::default().operators)).expect("the schema compiles")
}

fn json(text: &str) -> serde_json::Value {
    let table: Table = text.parse().expect("is TOML");
    serde_json::to_value(table).expect("is JSON")
}

#[test]
fn the_file_is_what_the_code_makes() {
    let kept = std::fs::read_to_string(repo_path("schemas/topology.schema.json")).unwrap_or_default();
    let made = schema::text(&Program::default().operators).unwrap();
    assert!(kept == made, "renew it: helixstream topology schema > schemas/topology.schema.json");
    assert_eq!(Helix::run_ok(&["topology", "schema"]).stdout, made);
}

#[test]
fn what_is_shipped_satisfies_it() {
    let validator = validator();
    for entry in std::fs::read_dir(repo_path("topologies")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(&json(&text)).map(|e| format!("{e} at {}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", path.display());
        assert!(text.starts_with("#:schema ../schemas/topology.schema.json\n"), "{}", path.display());
    }
}

#[test]
fn variables_stand_for_any_value() {
    let text = changed(&[
        ("partitions = 12", "partitions = \"${PARTITIONS:-12}\""),
        ("trust_clocks = false", "trust_clocks = \"${TRUST}\""),
        ("strategy = \"merge_all\"", "strategy = \"${STRATEGY}\""),
        ("from = [\"resolve.conflicts\"]", "from = \"${FROM}\""),
        ("# content = \"last", "metadata.lang = \"last"),
    ]);
    assert!(validator().is_valid(&json(&text)));
}

/// The memory topology with one table changed; `None` where it has no such table and none can be
/// made.
fn with(section: &str, change: impl FnOnce(&mut Table)) -> Table {
    let mut root: Table = memory_toml().parse().expect("is TOML");
    let script =
        || "name = \"s\"\nsource = \"fn resolve(path, contenders) { defer() }\"".parse::<Table>().expect("is TOML");
    let entry = root.entry(section).or_insert_with(|| match section {
        "script" => Value::Array(vec![Value::Table(script())]),
        _ => Value::Table(Table::new()),
    });
    match entry {
        Value::Array(list) => change(list[0].as_table_mut().expect("is a table")),
        Value::Table(table) => change(table),
        other => panic!("{section} is {other}"),
    }
    root
}

/// Both the schema and the reader refuse the file.
#[track_caller]
fn assert_refused(validator: &Validator, what: &str, file: &Table) {
    assert!(!validator.is_valid(&serde_json::to_value(file).expect("is JSON")), "the schema takes {what}");
    let text = toml::to_string(file).expect("is TOML");
    assert!(topology_file::parse("t", &text, &Program::default().operators).is_err(), "the reader takes {what}");
}

/// The tables whose keys are listed, with all keys of processors.
fn sections() -> Vec<(&'static str, Vec<Key>)> {
    let keys = |section: &Section| match section.name {
        "processor" => processor_keys(&Program::default().operators),
        _ => section.keys.to_vec(),
    };
    SECTIONS.iter().map(|section| (section.name, keys(section))).collect()
}

/// All tables with their keys.
fn tables() -> Vec<(&'static str, Vec<&'static str>)> {
    let listed = sections().into_iter().map(|(section, keys)| (section, keys.iter().map(|key| key.name).collect()));
    let settings = SETTINGS.iter().map(|(section, _)| {
        (*section, SPECS.iter().filter(|spec| spec.section == *section).map(|spec| spec.key).collect())
    });
    listed.chain(settings).collect()
}

#[test]
fn unknown_keys_and_wrong_types_are_refused_by_schema_and_reader_alike() {
    let validator = validator();
    for (section, keys) in tables() {
        let unknown = with(section, |table| _ = table.insert("colour".to_owned(), "red".into()));
        assert_refused(&validator, &format!("an unknown key in {section}"), &unknown);
        for key in keys {
            for wrong in [Value::Float(1.5), Value::Table(Table::new()), Value::Array(vec![Value::Integer(7)])] {
                let what = format!("{key} = {wrong} in {section}");
                let file = with(section, |table| _ = table.insert(key.to_owned(), wrong));
                assert_refused(&validator, &what, &file);
            }
        }
    }
    for (key, value) in [("colour", Value::from("red")), ("source", Value::from(1)), ("application_id", 7.into())] {
        let mut root: Table = memory_toml().parse().unwrap();
        root.insert(key.to_owned(), value);
        assert_refused(&validator, key, &root);
    }
}

#[test]
fn missing_keys_are_refused_by_schema_and_reader_alike() {
    let validator = validator();
    for (section, keys) in sections() {
        for key in keys.iter().filter(|key| key.needed) {
            let file = with(section, |table| _ = table.remove(key.name));
            assert_refused(&validator, &format!("{section} without {}", key.name), &file);
        }
    }
    for table in ["application_id", "dead_letters", "source"] {
        let mut root: Table = memory_toml().parse().unwrap();
        root.remove(table);
        assert_refused(&validator, &format!("a file without {table}"), &root);
    }
    let bare = changed(&[("stores = [\"memories\"]", "")]);
    assert_refused(&validator, "a resolver without a store", &bare.parse().unwrap());
    for told in [
        "operator = \"filter\"",
        "operator = \"map\"",
        "operator = \"branch\"\nbranch = []",
        "operator = \"decode\"\nwhen = \"true\"",
    ] {
        let file = changed(&[("operator = \"decode\"", told)]);
        assert_refused(&validator, told, &file.parse().unwrap());
    }
}

#[test]
fn examples_and_defaults_satisfy_it() {
    let validator = validator();
    for spec in SPECS {
        let example: Table = format!("value = {}", spec.example).parse().unwrap();
        let file = with(spec.section, |table| _ = table.insert(spec.key.to_owned(), example["value"].clone()));
        assert!(validator.is_valid(&serde_json::to_value(&file).unwrap()), "{} = {}", spec.key, spec.example);
    }
    let operators = Program::default().operators;
    for (section, keys) in sections() {
        for key in keys {
            let example: Table = format!("value = {}", key.example).parse().unwrap();
            let file = with(section, |table| {
                table.insert(key.name.to_owned(), example["value"].clone());
                // The example of an operator keeps a store; what tells one stands beside it.
                if key.name == "operator" {
                    table.insert("stores".to_owned(), "memories".into());
                }
                let with_parameter = operators.iter().find(|op| op.parameter(key.name).is_some());
                if let Some(op) = with_parameter.filter(|_| section == "processor") {
                    table.insert("operator".to_owned(), op.name.into());
                    for other in op.parameters.iter().filter(|other| other.is_required) {
                        let example: Table = format!("value = {}", other.example).parse().unwrap();
                        table.insert(other.name.to_owned(), example["value"].clone());
                    }
                    table.insert("stores".to_owned(), "memories".into());
                }
            });
            assert!(validator.is_valid(&serde_json::to_value(&file).unwrap()), "{} = {}", key.name, key.example);
        }
    }
}
