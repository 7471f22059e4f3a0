//! The command line: what it accepts, what it answers, with which code.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

mod support;

use support::{Finished, Helix};
use testkit::process::temp_dir;
use testkit::repo_path;

fn memory_toml() -> String {
    std::fs::read_to_string(repo_path("topologies/memory.toml")).unwrap()
}

/// Replays an empty input through a topology file.
fn replay_empty(topology: &str, more: &[&str]) -> Finished {
    let dir = temp_dir("cli");
    let file = dir.join("t.toml");
    std::fs::write(&file, topology).unwrap();
    std::fs::write(dir.join("in.jsonl"), "").unwrap();
    let (file, input, output) = (file.display().to_string(), dir.join("in.jsonl"), dir.join("out"));
    let mut arguments =
        vec!["replay", "--topology", &file, "--input", input.to_str().unwrap(), "--output", output.to_str().unwrap()];
    arguments.extend(more);
    Helix::run(&arguments)
}

/// The line of the first place in `text` that has `part`.
fn line_of(text: &str, part: &str) -> usize {
    text.lines().position(|l| l.contains(part)).unwrap_or_else(|| panic!("no line has {part:?}")) + 1
}

#[test]
fn version_and_help_are_told() {
    let own = format!("helixstream {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(Helix::run_ok(&["-V"]).stdout, own);
    let version = Helix::run_ok(&["--version"]).stdout;
    let Some(libraries) = version.strip_prefix(&own) else { panic!("{version}") };
    let lines: Vec<&str> = libraries.lines().collect();
    let mechanisms = match cfg!(feature = "gssapi") {
        true => "SASL mechanisms: GSSAPI, PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER",
        false => "SASL mechanisms: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER",
    };
    for (line, begin) in
        lines.iter().zip(["librdkafka 2.", "OpenSSL 3.", "RocksDB ", mechanisms, "librdkafka features: "])
    {
        assert!(line.starts_with(begin), "{version}");
    }
    assert!(lines.len() == 5 && lines[4].contains("ssl") && lines[4].contains("oidc"), "{version}");
    let help = Helix::run_ok(&["--help"]);
    for command in ["run", "replay", "produce", "topics", "topology", "conflicts", "state", "explain"] {
        assert!(help.stdout.contains(&format!("  {command}")), "{}", help.stdout);
        let own = Helix::run_ok(&[command, "--help"]);
        assert!(own.stdout.contains("Usage: helixstream"), "{}", own.stdout);
    }
}

#[test]
fn every_flag_has_its_variable() {
    let commands: [&[&str]; 11] = [
        &["run"],
        &["replay"],
        &["produce"],
        &["topics", "create"],
        &["topology", "describe"],
        &["state", "dump"],
        &["conflicts", "list"],
        &["conflicts", "show"],
        &["conflicts", "resolve"],
        &["services", "up"],
        &["nodes", "list"],
    ];
    for command in commands {
        let help = Helix::run_ok(&[command, &["--help"]].concat()).stdout;
        for flag in help.split_whitespace().filter_map(|w| w.strip_prefix("--")) {
            let flag = flag.trim_matches(|c: char| !c.is_ascii_alphabetic());
            if ["help", "version"].contains(&flag) || flag.is_empty() {
                continue;
            }
            let variable = format!("HELIXSTREAM_{}", flag.replace('-', "_").to_uppercase());
            assert!(help.contains(&variable), "{command:?}: --{flag} without {variable}:\n{help}");
        }
    }
}

#[test]
fn the_rights_of_the_mirror_have_the_nodes_topic_where_that_is_mirrored() {
    let file = repo_path("topologies/memory.toml").display().to_string();
    let acls = |more: &[&str]| {
        Helix::run_ok(&[&["topics", "acls", "--topology", &file, "--for", "mirror"], more].concat()).stdout
    };
    assert!(acls(&["--set", "nodes_topic=my.nodes"]).contains(" --topic my.nodes"));
    assert!(acls(&[]).contains(" --topic helixagent.memory.nodes"), "memory.toml mirrors the nodes");
    assert!(!acls(&["--set", "nodes_topic=off"]).contains("nodes"));
    // A topic that is mirrored into another table would lose rows of both.
    for (topic, node) in [("events", "events"), ("snapshots", "snapshots"), ("conflicts", "conflicts")] {
        let setting = format!("nodes_topic=helixagent.memory.{topic}");
        let same = ["topics", "acls", "--topology", &file, "--set", &setting];
        let (topic, node) = (format!("is `helixagent.memory.{topic}`"), format!("the topic of `{node}` too"));
        Helix::run(&same).assert_failed(2, &["`nodes_topic` of [mirror]", &topic, &node, "[HS4530]"]);
    }
    let wrong = ["topics", "acls", "--topology", &file, "--set", "nodes_topic=a b"];
    Helix::run(&wrong).assert_failed(2, &["`a b` is not the name of a topic", "or off"]);
}

#[test]
fn a_code_is_explained() {
    let list = Helix::run_ok(&["explain"]).stdout;
    assert!(list.contains("\n  HS0099  this version has no such code\n"), "{list}");
    let entry = Helix::run_ok(&["explain", "hs0099"]).stdout;
    assert!(entry.starts_with("HS0099: this version has no such code\n\nWhat happened. "), "{entry}");
    Helix::run(&["explain", "HS0999"]).assert_failed(2, &["no code `HS0999`", "The nearest code is", "[HS0099]"]);
}

#[test]
fn usage_errors_exit_2() {
    let cases: [(&[&str], &str); 8] = [
        (&[], "Usage"),
        (&["fly"], "error[HS0001]: unrecognized subcommand 'fly'"),
        (&["replay"], "--topology"),
        (&["run", "--topology", "nowhere.toml"], "cannot read the topology file nowhere.toml"),
        (&["run", "--topology", "t", "--threads", "0"], "--threads"),
        (&["run", "--topology", "t", "--slot=-1"], "--slot"),
        (&["run", "--topology", "t", "--no-mirror", "--postgres-url", "postgres://u:geheim@h/d"], "use one of the two"),
        (&["produce", "--input", "f", "--rate", "0"], "--rate"),
    ];
    for (arguments, part) in cases {
        let finished = Helix::run(arguments);
        finished.assert_failed(2, &[part]);
        assert!(!finished.stderr.contains("geheim"), "{}", finished.stderr);
    }
}

#[test]
fn a_wrong_setting_exits_2_and_says_what_there_is() {
    let cases = [
        (
            "strategi=merge_all",
            &[
                "--set `strategi=merge_all`",
                "did you mean `strategy`?",
                "max_clock_skew",
                "strategy.<path>",
                "[HS0014]",
            ][..],
        ),
        ("strategy=newest", &["`newest` is not one of last_write_wins, importance, vector_clock, merge_all, custom"]),
        ("strategy", &["not of the form KEY=VALUE", "[HS0003]"]),
        (
            "strategy.contents=importance",
            &["`contents` is not the path of a field; did you mean `content`?", "[HS0020]"],
        ),
        ("max_clock_skew=2", &["`2` is not a duration", "like 2s"]),
        ("trust_clocks=yes", &["`yes` is not true or false"]),
        ("max_value_bytes=0", &["max_value_bytes=0", "is not a size", "[HS0018]"]),
        ("strategy=custom", &["--set: `strategy` is `custom`, but the topology file has no [[script]]", "[HS7005]"]),
    ];
    for (assignment, parts) in cases {
        replay_empty(&memory_toml(), &["--set", assignment]).assert_failed(2, parts);
    }
}

#[test]
fn good_settings_are_taken() {
    let assignments = [
        "strategy=last_write_wins",
        "strategy.metadata.lang=vector_clock",
        "strategy.entities=importance",
        "delete_policy=delete_wins",
        "trust_clocks=true",
        "unclocked=concurrent",
        "max_clock_skew=0s",
        "max_value_bytes=1000",
        "max_clock_entries=3",
        "max_contenders=2",
    ];
    let flags: Vec<&str> = assignments.iter().flat_map(|a| ["--set", a]).collect();
    assert_eq!(replay_empty(&memory_toml(), &flags).code, Some(0));
}

/// Each case: what is replaced in memory.toml by what, the text whose line the message must name,
/// and what it must say.
type Case = (&'static str, &'static str, &'static str, &'static [&'static str]);

const WRONG_FILES: &[Case] = &[
    (
        "partitions = 3\nfrom = [\"resolve",
        "partition = 3\nfrom = [\"resolve",
        "partition = 3",
        &["unknown key `partition` in [[sink]]", "did you mean `partitions`?"],
    ),
    ("[limits]", "[limit]", "[limit]", &["unknown key `limit` in the file", "did you mean `limits`?"]),
    ("partitions = 12", "partitions = \"12\"", "partitions = \"12\"", &["is a string, not an integer"]),
    ("partitions = 12", "partitions = 0", "partitions = 0", &["`partitions` of [[source]] is 0", "from 1 to"]),
    ("strategy = \"merge_all\"", "strategy = \"merge\"", "strategy = \"merge\"", &["`merge` is not one of"]),
    ("trust_clocks = false", "trust_clocks = \"false\"", "trust_clocks = ", &["is not true or false"]),
    ("commit_interval = \"100ms\"", "commit_interval = 100", "commit_interval = ", &["is not a duration", "100ms"]),
    (
        "# content = \"last",
        "contents = \"last",
        "contents = ",
        &["error[HS0020]: ", "not the path of a field; did you mean `content`?"],
    ),
    (
        "from = [\"events\"]",
        "from = [\"event\"]",
        "from = [\"event\"]",
        &["reads from `event`, but no node has that name", "did you mean `events`?"],
    ),
    (
        "\"resolve.conflicts\"",
        "\"resolve.conflict\"",
        "resolve.conflict\"",
        &["`resolve` has no output `conflict`", "\"resolve.conflicts\""],
    ),
    (
        "\"resolve.conflicts\"",
        "\"resolve\"",
        "from = [\"resolve\"]",
        &["reads from `resolve`, but does not say from which output"],
    ),
    ("from = [\"by-memory\"]", "from = []", "from = []", &["`from` of [[processor]] is empty"]),
    (
        "from = [\"by-memory\"]",
        "from = [\"events\"]",
        "",
        &["must read from a repartition, and not directly from `events`"],
    ),
    (
        "operator = \"resolve\"",
        "operator = \"solve\"",
        "operator = \"solve\"",
        &["the operator `solve`, which does not exist", "decode"],
    ),
    ("[[store]]\nname = \"memories\"", "[[store]]", "[[store]]", &["[[store]] has no `name`"]),
    (
        "stores = [\"memories\"]",
        "",
        "name = \"resolve\"",
        &["names no store, but its operator `resolve` needs 1 store"],
    ),
    ("name = \"conflicts\"", "name = \"snapshots\"", "", &["two sinks have the name `snapshots`"]),
    (
        "topic = \"helixagent.memory.conflicts\"",
        "topic = \"helixagent.memory.events\"",
        "",
        &["which source `events` reads", "choose another topic"],
    ),
    (
        "topic = \"helixagent.memory.conflicts\"",
        "topic = \"a b\"",
        "topic = \"a b\"",
        &["`a b` is not a valid name of a topic"],
    ),
    (
        "from = [\"decode.events\"]",
        "from = [\"decode.events\", \"loop.events\"]\n[[processor]]\nname = \"loop\"\noperator = \"decode\"\nfrom = [\"by-memory\"]",
        "",
        &["the nodes form a cycle"],
    ),
    (
        "[dead_letters]",
        "[dead_letter]",
        "[dead_letter]",
        &["unknown key `dead_letter`", "did you mean `dead_letters`?"],
    ),
    (
        "topic = \"helixagent.memory.dead-letters\"",
        "topic = \"helixagent.memory.conflicts\"",
        "",
        &["both write to `helixagent.memory.conflicts`"],
    ),
    ("application_id = \"helixstream\"", "", "", &["the file has no `application_id`"]),
    (
        "application_id = \"helixstream\"",
        "application_id = \"a b\"",
        "application_id",
        &["the application id `a b` does not consist of"],
    ),
    ("[[sink]]\nname = \"conflicts\"", "[sink]\nname = \"conflicts\"", "", &["duplicate key", "two brackets"]),
    ("name = \"by-memory\"", "name = by-memory", "name = by-memory", &["TOML"]),
    ("name = \"decode\"\n", "name = \"dec.ode\"\n", "dec.ode", &["characters other than"]),
];

#[test]
fn what_is_wrong_in_a_topology_file_is_told_with_line_and_fix() {
    for (old, new, place, parts) in WRONG_FILES {
        let good = memory_toml();
        assert!(good.contains(old), "memory.toml lacks {old:?}");
        let bad = good.replacen(old, new, 1);
        let finished = replay_empty(&bad, &[]);
        finished.assert_failed(2, parts);
        finished.assert_failed(2, &["t.toml:", "fix: "]);
        if !place.is_empty() && !place.contains('\n') {
            finished.assert_failed(2, &[&format!("t.toml:{}:", line_of(&bad, place))]);
        }
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let bad = memory_toml().replace("partitions = 12", "partitions = -1").replace("threads = 2", "threads = \"two\"");
    replay_empty(&bad, &[]).assert_failed(2, &["`partitions` of [[source]] is -1", "`threads` of [run] is a string"]);
}

#[test]
fn nodes_that_nothing_reaches_are_told() {
    let island = "\n[[repartition]]\nname = \"island\"\nfrom = [\"far.events\"]\n[[processor]]\nname = \"far\"\noperator = \"decode\"\nfrom = [\"island\"]\n";
    replay_empty(&(memory_toml() + island), &[]).assert_failed(2, &["the nodes form a cycle", "island"]);
    let unread = "\n[[source]]\nname = \"more\"\ntopic = \"more\"\npartitions = 1\n";
    replay_empty(&(memory_toml() + unread), &[]).assert_failed(2, &["no node reads from source `more`"]);
    let idle = "\n[[store]]\nname = \"spare\"\n";
    replay_empty(&(memory_toml() + idle), &[]).assert_failed(2, &["no processor uses the store `spare`"]);
    let both = memory_toml().replace("from = [\"by-memory\"]", "from = [\"by-memory\", \"events\"]");
    replay_empty(&both, &[])
        .assert_failed(2, &["processor `resolve` reads from 2 sources or repartitions: by-memory, events"]);
}

#[test]
fn a_flag_beats_a_variable_which_beats_the_file() {
    let dir = temp_dir("cli");
    let file = dir.join("t.toml");
    std::fs::write(&file, memory_toml()).unwrap();
    std::fs::write(dir.join("in.jsonl"), "").unwrap();
    let run = |variable: Option<&str>, flag: Option<&str>| {
        let mut command = Helix::command();
        command
            .args(["replay", "--topology"])
            .arg(&file)
            .arg("--input")
            .arg(dir.join("in.jsonl"))
            .arg("--output")
            .arg(dir.join("out"));
        command.args(flag.into_iter().flat_map(|f| ["--set", f]));
        command.envs(variable.map(|v| ("HELIXSTREAM_SET", v)));
        Helix::spawn_command(command).finish()
    };
    // `custom` is refused wherever it stands, so the message tells which of the three was taken.
    run(Some("strategy=custom; trust_clocks=true"), None)
        .assert_failed(2, &["HELIXSTREAM_SET: `strategy` is `custom`"]);
    assert_eq!(run(Some("strategy=custom"), Some("strategy=merge_all")).code, Some(0));
    run(Some("strategy=merge_all"), Some("strategy=custom")).assert_failed(2, &["--set: `strategy` is `custom`"]);
    std::fs::write(&file, memory_toml().replace("strategy = \"merge_all\"", "strategy = \"custom\"")).unwrap();
    run(None, None).assert_failed(2, &["t.toml:", ": `strategy` is `custom`"]);
    assert_eq!(run(Some("strategy=importance"), None).code, Some(0));
}

#[test]
fn an_empty_variable_counts_as_none() {
    let mut command = Helix::command();
    command.args(["run", "--topology", "nowhere.toml"]);
    let flags = ["SLOT", "THREADS", "HTTP_LISTEN", "POSTGRES_URL", "NO_MIRROR", "SET", "X", "LOG_FORMAT", "STATE_DIR"];
    command.envs(flags.map(|flag| (format!("HELIXSTREAM_{flag}"), "")));
    Helix::spawn_command(command).finish().assert_failed(2, &["cannot read the topology file nowhere.toml"]);
}

#[test]
fn a_json_log_has_one_object_a_line() {
    let dir = temp_dir("cli");
    let (file, state) = (repo_path("topologies/memory.toml"), dir.join("state"));
    let mut command = Helix::command();
    command.args(["run", "--log-format", "json", "--bootstrap-servers", "localhost:1", "--set", "broker_timeout=1s"]);
    command.arg("--topology").arg(file).arg("--state-dir").arg(state);
    let finished = Helix::spawn_command(command).finish();
    finished.assert_failed(1, &["no Kafka broker at localhost:1"]);
    let (message, log) =
        finished.stderr.lines().collect::<Vec<_>>().split_last().map(|(m, l)| (*m, l.to_vec())).unwrap();
    assert!(message.starts_with("helixstream: "), "{message}");
    assert!(!log.is_empty());
    for line in log {
        let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(value["level"].is_string() && value["message"].is_string(), "{line}");
    }
}
