//! Custom resolvers: called for a field in conflict only, with the contenders in last-write order;
//! what they answer, defer or fail at shows as docs/semantics.md, section 4, says.

use memory::state::Layout;
use memory::strategy::{Contender, CustomResolver, Resolution, ResolverFailure};

use crate::ours;
use reference_model::{Decision, Strategy, generate, json};

/// What the resolver of these tests does with a path and its contenders' values, canonical JSON.
enum Rule {
    Choose(usize),
    Make(&'static str),
    Defer,
    Fail,
}

/// A rule that depends on all that a resolver sees, and so does each of its answers in turn.
fn rule(path: &str, values: &[&str]) -> Rule {
    let made = match path.split('.').next() {
        Some("content" | "session_id" | "user_id") => r#""made""#,
        Some("importance") => "42",
        Some("embedding") => "[0.25,1]",
        Some("tags" | "merged_from") => r#"["made"]"#,
        Some("metadata") => r#"{"a":[1,null]}"#,
        _ => "null",
    };
    let seen: usize = path.len() + values.iter().enumerate().map(|(i, v)| (i + 1) * v.len()).sum::<usize>();
    match seen % 5 {
        0 => Rule::Choose(0),
        1 => Rule::Choose(values.len() - 1),
        2 => Rule::Make(made),
        3 => Rule::Defer,
        _ => Rule::Fail,
    }
}

struct Ours;

impl CustomResolver for Ours {
    fn resolve(&self, path: &str, contenders: &[Contender<'_>]) -> Result<Resolution, ResolverFailure> {
        let values: Vec<&str> = contenders.iter().map(|c| std::str::from_utf8(c.value).expect("is UTF-8")).collect();
        match rule(path, &values) {
            Rule::Choose(at) => Ok(Resolution::Value(values[at].as_bytes().to_vec())),
            Rule::Make(text) => Ok(Resolution::Value(text.as_bytes().to_vec())),
            Rule::Defer => Ok(Resolution::Defer),
            Rule::Fail => Err(ResolverFailure("out of budget".to_owned())),
        }
    }
}

fn theirs(path: &str, contenders: &[reference_model::Contender]) -> Decision {
    let values: Vec<String> = contenders.iter().map(|c| c.value.canonical()).collect();
    match rule(path, &values.iter().map(String::as_str).collect::<Vec<_>>()) {
        Rule::Choose(at) => Decision::Value(contenders[at].value.clone()),
        Rule::Make(text) => Decision::Value(json::parse(text.as_bytes(), 128).expect("is JSON")),
        Rule::Defer => Decision::Defer,
        Rule::Fail => Decision::Fail,
    }
}

#[test]
fn a_custom_resolver_decides_as_the_page_says() {
    let (mut pending, mut failed) = (0, 0);
    for seed in testkit::seeds(4_000) {
        let mut stream = generate::stream(seed, 12, false);
        stream.settings.strategy = Strategy::Custom(theirs);
        let ours = ours::run_with(&stream.records, &stream.settings, Layout::default(), Some(&Ours));
        let theirs = reference_model::run(&stream.records, &stream.settings);
        let snapshots: Vec<&str> = ours.snapshots.iter().map(|(_, value, _)| value.as_str()).collect();
        assert_eq!(snapshots, theirs.snapshots.iter().map(|e| e.value.as_str()).collect::<Vec<_>>(), "stream {seed}");
        let normalised = |value: &str| reference_model::run::normalise_conflict(value);
        let conflicts: Vec<String> = ours.conflicts.iter().map(|(_, value, _)| normalised(value)).collect();
        let expected: Vec<String> = theirs.conflicts.iter().map(|e| normalised(&e.value)).collect();
        assert_eq!(conflicts, expected, "stream {seed}");
        pending += conflicts.iter().filter(|c| c.contains(r#""status":"pending""#)).count();
        failed +=
            ours.conflicts.iter().filter(|(_, c, _)| c.contains("the custom resolver failed (out of budget)")).count();
    }
    assert!(pending > 100 && failed > 100, "{pending} pending, {failed} failed");
}
