//! Where secrets stand in a topology file. A complaint shows the line that it is about, and on that
//! line, or as part of it, may stand a password: it is shown as `[hidden]`.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::kafka::{KAFKA, passes_through};
use super::key::{Section, Takes};
use super::keys::{RUN, SCHEMA_REGISTRY, top};
use super::problem::nearest;
use super::secret_ranges::SecretRanges;
use secret::names_secret;

/// Tables that say how servers are reached: a key that is unknown there may be a secret whose name
/// has a slip of the pen.
const CONNECTIONS: [&Section; 3] = [&RUN, &KAFKA, &SCHEMA_REGISTRY];

/// The secrets of a text that is TOML.
pub fn in_tables(text: &str, root: &DeTable<'_>) -> SecretRanges {
    let mut found = Vec::new();
    for (name, value) in root {
        let name: &str = name.get_ref();
        let section = CONNECTIONS.into_iter().find(|section| section.name == name);
        match (section, value.get_ref()) {
            (Some(section), DeValue::Table(table)) => {
                let secrets = table.iter().filter(|(key, _)| is_secret(section, key.get_ref()));
                secrets.for_each(|(_, value)| strings(text, value, &mut found));
            }
            (Some(_), _) => strings(text, value, &mut found),
            (None, value_of) if !top().contains(&name) => {
                let is_near = nearest(name, CONNECTIONS.iter().map(|section| section.name)).is_some();
                if is_near || names_secret(name) || matches!(value_of, DeValue::Table(_)) {
                    strings(text, value, &mut found);
                }
            }
            (None, _) => {}
        }
    }
    SecretRanges::sorted(found)
}

/// Places of possible secrets in a text that is no TOML: what stands behind `=` in the tables of
/// connections, and behind a secret's name anywhere.
pub fn in_lines(text: &str) -> SecretRanges {
    let mut found = Vec::new();
    let mut start = 0;
    let mut is_connection = false;
    let mut open: Option<&str> = None;
    for line in text.split_inclusive('\n') {
        let content = line.trim_end();
        let end = start + content.len();
        if let Some(quotes) = open {
            found.push(start..end);
            open = open.filter(|_| !content.contains(quotes));
        } else if content.trim_start().starts_with('[') {
            let name = content.trim_start().trim_start_matches('[');
            let is_name = |section: &&Section| {
                let rest = name.trim_start().trim_start_matches(['"', '\'']).strip_prefix(section.name);
                rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'))
            };
            is_connection = CONNECTIONS.iter().any(is_name);
        } else if let Some(at) = value_of_secret(content, is_connection) {
            let value = content[at..].trim_start();
            found.push(end - value.len()..end);
            open = ["\"\"\"", "'''"].into_iter().find(|quotes| value.matches(quotes).count() == 1);
        }
        start += line.len();
    }
    SecretRanges::sorted(found)
}

fn is_secret(section: &Section, key: &str) -> bool {
    let known = section.keys.iter().find(|known| known.name == key);
    known.map_or_else(
        || names_secret(key) || section.name != KAFKA.name || !passes_through(key),
        |known| known.takes == Takes::Secret,
    )
}

/// The strings of a value, without the quotes around them.
fn strings(text: &str, value: &Spanned<DeValue<'_>>, found: &mut Vec<Range<usize>>) {
    match value.get_ref() {
        DeValue::Table(table) => table.iter().for_each(|(_, value)| strings(text, value, found)),
        DeValue::Array(list) => list.iter().for_each(|value| strings(text, value, found)),
        DeValue::String(_) => {
            let span = value.span();
            let raw = text.get(span.clone()).unwrap_or_default();
            let quotes = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quotes| raw.starts_with(quotes));
            let quotes = quotes.map_or(0, str::len);
            let inner = span.start + quotes..span.end.saturating_sub(quotes).max(span.start + quotes);
            if !is_variable(&text[inner.clone()]) {
                found.push(inner);
            }
        }
        _ => found.push(value.span()),
    }
}

/// Whether a string is one variable without a default: its name is no secret.
fn is_variable(text: &str) -> bool {
    let name = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    name.is_some_and(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
}

/// Where in a line the value of a secret begins.
fn value_of_secret(line: &str, is_connection: bool) -> Option<usize> {
    let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '"' | '\'');
    line.match_indices('=').find_map(|(at, _)| {
        let before = line[..at].trim_end();
        let key = before.rsplit(|c| !is_key(c)).next().unwrap_or_default().trim_matches(['"', '\'']);
        let is_url = CONNECTIONS.iter().flat_map(|section| section.keys).any(|known| {
            known.takes == Takes::Secret && (known.name == key || key.ends_with(&format!(".{}", known.name)))
        });
        (is_connection || is_url || names_secret(key)).then_some(at + 1)
    })
}

#[cfg(test)]
mod tests {

    use operators::spec::OperatorRegistry;

    const MARKER: &str = "hunter2";

    fn operators() -> OperatorRegistry {
        let shipped = memory_operators::specs().into_iter().chain(operators::specs());
        OperatorRegistry::default().with_all(shipped).unwrap()
    }

    fn complaints(text: &str) -> String {
        match crate::parse("t", text, &operators()) {
            Ok(file) => panic!("sound: {file:?}"),
            Err(problems) => problems.to_string(),
        }
    }

    #[test]
    fn no_complaint_shows_a_secret_that_stands_on_its_line() {
        for text in [
            "[kafka]\npassword = \"hunter2\"\npassword_file = \"f\"",
            "[kafka]\npasword = \"hunter2\"",
            "[kafka]\nPassword = 'hunter2'",
            "[kafka]\npassword = [\"hunter2\"]",
            "[kafka]\n\"sasl.password\" = { a = \"hunter2\" }",
            "[kafka]\npassword = \"a${hunter2\"",
            "[kafka]\npassword = \"hunter2${\"",
            "[kafka]\npassword = \"${A:-hunter2}${\"",
            "kafka = { password = \"hunter2\", securty = \"ssl\" }",
            "kafak = { password = \"hunter2\" }",
            "kafka = \"hunter2\"",
            "kafka = [{ password = \"hunter2\" }]",
            "[run]\nthreads = 0\npostgres_url = \"postgres://u:hunter2@h/d\"\npostgres_ulr = \"postgres://u:hunter2@h/d\"",
            "[schema_registry]\npassword = \"hunter2\"\npasswort = \"hunter2\"",
            "schema_registry = { url = \"http://u:hunter2@h\", user = 5 }",
            // Not TOML.
            "[kafka]\npassword = \"hunter2",
            "[kafka]\npassword = hunter2",
            "[kafka]\npasword = hunter2",
            "[kafka]\npassword = \"\"\"hunter2\nhunter2",
            "[kafka]\n\"ssl.key.pem\" = '''\nhunter2\nhunter2\n'' '\nhunter2\n'''\nx",
            "kafka = { password = \"hunter2\", }}",
            "kafka.password = \"hunter2\" x",
            "[ kafka ]\npassword = \"hunter2\" x",
            "[run]\npostgres_url = \"postgres://u:hunter2@h/d",
            "[sink]\npassword = hunter2",
        ] {
            let told = complaints(text);
            assert!(!told.contains(MARKER), "{text}\n{told}");
            assert!(told.contains("error[HS0") && told.contains("t:"), "{told}");
        }
    }

    #[test]
    fn no_debug_output_of_a_file_shows_a_secret() {
        let memory = include_str!("../../../topologies/memory.toml");
        let text = memory
            .replace("[kafka] ", "[kafka]\nkey_password = \"hunter2\"\n\"sasl.password\" = \"hunter2\"\n#")
            .replace("[schema_registry] ", "[schema_registry]\nurl = \"http://u:hunter2@h\"\npassword = \"hunter2\"\n#")
            .replace("[run] ", "[run]\npostgres_url = \"postgres://u:hunter2@h/d\"\n#");
        assert_eq!(text.matches(MARKER).count(), 5);
        let file = crate::parse("t", &text, &operators()).unwrap();
        assert!(!format!("{file:?}").contains(MARKER), "a panic or a log line may show it");
    }

    #[test]
    fn what_is_no_secret_is_shown_as_it_stands() {
        let told = complaints("[kafka]\npassword = \"${NOWHERE_SET}\"\nsecurity = \"tls\"");
        assert!(told.contains("password = \"${NOWHERE_SET}\"") && told.contains("security = \"tls\""), "{told}");
    }

    #[test]
    fn a_place_behind_a_secret_stays_the_place_that_is_meant() {
        let told =
            complaints("kafka = { password = \"a secret that is longer than its cover\", securty = \"ssl\" }\nx = 1");
        let at = told.rfind("securty = ").unwrap();
        let line_start = told[..at].rfind('\n').unwrap() + 1;
        let caret_line = told[at..].lines().nth(1).unwrap();
        assert_eq!(caret_line.find('^'), Some(at - line_start), "{told}");
        let told = complaints("[kafka]\npassword = \"\"\"a\nb\nc\"\"\"\nsecurity = \"tls\"");
        assert!(told.contains("t:5:12"), "{told}");
    }
}
