//! Variables in topology files. What is wrong with them is in `wrong/variables.toml`.

use std::path::Path;

use crate::support::{Finished, Helix};
use crate::{changed, topology};
use helixstream::Program;
use testkit::process::temp_dir;
use topology_file::Topology;
use topology_file::variables::Variables;

fn describe(dir: &Path, variables: &[(&str, &str)]) -> Finished {
    let mut command = Helix::command();
    command.args(["topology", "describe", "t.toml"]).current_dir(dir).envs(variables.iter().copied());
    Helix::spawn_command(command).finish()
}

#[test]
fn values_come_from_the_environment_or_from_the_default() {
    let dir = temp_dir("topology");
    let text = changed(&[
        ("topic = \"helixagent.memory.events\"", "topic = \"${T_PREFIX}.${T_EVENTS:-events}\""),
        ("partitions = 12", "partitions = \"${T_PARTITIONS:-24}\""),
    ]);
    std::fs::write(dir.join("t.toml"), text).unwrap();
    let with_default = describe(&dir, &[("T_PREFIX", "mine"), ("T_EVENTS", "")]);
    assert!(with_default.stdout.contains("source          24  mine.events\n"), "{with_default:?}");
    let without = describe(&dir, &[("T_PREFIX", "mine"), ("T_EVENTS", "all"), ("T_PARTITIONS", "7")]);
    assert!(without.stdout.contains("source           7  mine.all\n"), "{without:?}");
    // An empty variable counts as none.
    for variables in [&[][..], &[("T_PREFIX", "")]] {
        let unset = describe(&dir, variables);
        unset.assert_failed(
            2,
            &["error[HS0012]: the environment variable `T_PREFIX` is not set", "t.toml:", "fix: set it"],
        );
    }
}

fn parse(text: &str) -> Topology {
    let lookup = |name: &str| (name == "SET").then(|| "set".to_owned());
    topology_file::parse_with("t", text, Variables::From(&lookup), &Program::default().operators)
        .unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn numbers_booleans_and_names_are_read_from_strings_with_variables() {
    let file = parse(&changed(&[
        ("trust_clocks = false", "trust_clocks = \"${TRUST:-true}\""),
        ("# max_contenders = 100", "max_contenders = \"${MOST:-7}\""),
        ("threads = 2", "threads = \"${THREADS:-5}\""),
        ("commit_interval = \"100ms\"", "commit_interval = \"${COMMIT:-20}ms\""),
        ("from = [\"resolve.conflicts\"]", "from = \"${FROM:-resolve}.conflicts\""),
        ("# \"compression.type\" = \"lz4\"", "\"client.id\" = \"${SET}-$${SET}-$SET\""),
    ]));
    assert!(file.values.resolver.trust_clocks);
    assert_eq!((file.values.resolver.max_contenders, file.run.threads), (7, Some(5)));
    assert_eq!(file.values.runtime.commit_interval.as_millis(), 20);
    assert_eq!(file.kafka.pass_through["client.id"].expose(), "set-${SET}-$SET");
}

#[test]
fn without_a_variable_a_string_is_no_number() {
    let text = changed(&[("partitions = 12", "partitions = \"12\"")]);
    let problems =
        topology_file::parse_with("t", &text, Variables::From(&|_| None), &Program::default().operators).unwrap_err();
    assert!(problems.to_string().contains("is a string, not an integer"), "{problems}");
}

#[test]
fn a_file_says_where_a_variable_stands_that_is_not_set() {
    let dir = temp_dir("topology");
    // Letters of several bytes before it, and a string over several lines.
    let text = changed(&[("strategy = \"merge_all\"", "strategy = \"\"\"\né→${NO_SUCH}\"\"\"")]);
    let line = text.lines().position(|line| line.contains("NO_SUCH")).unwrap() + 1;
    std::fs::write(dir.join("t.toml"), text).unwrap();
    let finished = topology(&dir, &["check", "t.toml"]);
    finished.assert_failed(2, &[&format!("t.toml:{line}:3\n"), "é→${NO_SUCH}", "  ^^^^^^^^^^"]);
}
