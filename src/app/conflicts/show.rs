//! Conflicts for people and for programs.

use std::io::{IsTerminal as _, Write as _};

use anyhow::anyhow;

use super::read::{self, Found};
use super::topics::Topics;
use crate::app::CommandError;
use crate::edges::cli::{ConflictFormat, ListArgs, ShowArgs, StatusFilter};
use json::rfc3339;
use memory_operators::settlement::Conflict;

/// The most of an id or a path that a line shows, in characters; as JSON all of it is printed.
const CELL: usize = 100;
/// The most of a value.
const VALUE: usize = 2_000;

/// Lists conflicts, the oldest first.
pub fn list(topics: &Topics, args: &ListArgs) -> Result<(), CommandError> {
    let wanted = |asked: &Option<String>, found: Option<&str>| asked.is_none() || asked.as_deref() == found;
    let status = match args.status {
        StatusFilter::Pending => Some("pending"),
        StatusFilter::AutoResolved => Some("auto_resolved"),
        StatusFilter::Superseded => Some("superseded"),
        StatusFilter::All => None,
    };
    // Whose record it was at first decides for the last one too: the user and the memory do not
    // change.
    let mine = |c: &Conflict<'_>| wanted(&args.user, c.user_id.as_deref()) && wanted(&args.memory, Some(&c.memory_id));
    let stays = |c: &Conflict<'_>| mine(c) && (status != Some("pending") || c.status == "pending");
    let mut rows = Vec::new();
    for found in read::all(topics, &stays)? {
        let last = read::parse(&found.last)?;
        if status.is_none_or(|status| last.status == status) {
            let at = rfc3339::parse(&last.detected_at).unwrap_or_default();
            rows.push((at, last.conflict_id.clone(), found.clone()));
        }
    }
    rows.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    let mut out = String::new();
    for (_, _, found) in &rows {
        match args.format {
            ConflictFormat::Json => out.push_str(&shown(&found.last)),
            ConflictFormat::Text => out.push_str(&line(found)?),
        }
        out.push('\n');
    }
    print(&out)
}

/// One conflict in one line.
fn line(Found { first, last }: &Found) -> anyhow::Result<String> {
    let first = read::parse(first)?;
    let last = read::parse(last)?;
    let Conflict { conflict_id, status, conflict_type, detected_at, memory_id, .. } = &last;
    let user = last.user_id.as_deref().map_or(String::new(), |user| format!("  user {}", cell(user)));
    let paths: Vec<_> = first.fields.iter().map(|f| cell(&f.path)).collect();
    let paths = if paths.is_empty() { "delete against update".to_owned() } else { paths.join(", ") };
    let [id, status, kind, at, memory] =
        [conflict_id, status, conflict_type, detected_at, memory_id].map(|text| cell(text));
    Ok(format!("{id}  {status}  {kind}  {at}  memory {memory}{user}  {paths}"))
}

fn cell(text: &str) -> std::borrow::Cow<'_, str> {
    escape::cell(text, CELL)
}

/// JSON as it is, but on a terminal without what a terminal obeys.
fn shown(json: &str) -> std::borrow::Cow<'_, str> {
    if std::io::stdout().is_terminal() { escape::json(json) } else { json.into() }
}

/// Shows one conflict.
pub fn show(topics: &Topics, args: &ShowArgs) -> Result<(), CommandError> {
    let found = read::one(topics, &args.conflict_id)?;
    let mut out = String::new();
    match args.format {
        ConflictFormat::Json => {
            out.push_str(&shown(&found.first));
            out.push('\n');
            if found.last != found.first {
                out.push_str(&shown(&found.last));
                out.push('\n');
            }
        }
        ConflictFormat::Text => text(&found, &mut out)?,
    }
    print(&out)
}

fn text(found: &Found, out: &mut String) -> anyhow::Result<()> {
    let first = read::parse(&found.first)?;
    let last = read::parse(&found.last)?;
    let mut say = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    say(line(found)?);
    for field in &first.fields {
        say(format!("{}: {}", cell(&field.path), cell(&field.reason)));
        say(format!("  shows  {}", value(field.value.get())));
        for c in &field.contenders {
            let node = c.node_id.as_deref().map_or(String::new(), |node| format!("  {}", cell(node)));
            let event = cell(&c.event_id);
            let at = cell(&c.timestamp);
            let version = c.version;
            say(format!("  {event}{node}  {at}  version {version}  {}", value(c.value.get())));
        }
        if let Some(total) = field.contenders_total {
            say(format!("  {total} contend, of which these are the last"));
        }
    }
    if let Some(against) = first.delete_update {
        say(format!("delete against update: {}", value(against.get())));
    }
    match &last.superseded_by {
        Some(by) => say(format!("superseded by {}", cell(by))),
        None if first.fields.is_empty() => {}
        None => say(format!(
            "settle it: helixstream conflicts resolve {} --winner EVENT_ID, or --path PATH --value JSON",
            cell(&last.conflict_id)
        )),
    }
    Ok(())
}

fn value(text: &str) -> std::borrow::Cow<'_, str> {
    escape::cell(text, VALUE)
}

/// Writes it all; that nobody reads on is no failure.
fn print(text: &str) -> Result<(), CommandError> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(anyhow!("cannot write to the standard output: {e} [HS0007]").into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_makes_no_line_and_no_command_and_is_cut() {
        let long = "x".repeat(3_000);
        let record = serde_json::json!({
            "conflict_id": "c\u{1b}[2J", "memory_id": format!("m\nfalse  line{long}"), "user_id": "u\u{202e}", "conflict_type": "t\u{9b}",
            "local_event_id": "a", "remote_event_id": "b", "status": "pending\r", "resolution_strategy": "merge_all",
            "detected_at": "d\u{7}", "resolved_at": "r", "resolved_by": "app", "resolved_version": null,
            "fields": [{ "path": "p\n", "value": long, "reason": "r\u{1b}", "winner_event_id": null,
                "contenders": [{ "event_id": "e\u{1b}", "timestamp": "t\n", "version": 1, "value": "\u{9b}", "vector_clock": {} }] }],
        });
        let text = record.to_string();
        let found = Found { first: text.clone(), last: text };
        let row = line(&found).unwrap();
        assert!(row.starts_with(r"c\x1b[2J  pending\r  t\u{9b}  d\x07  memory m\nfalse  line"), "{row}");
        assert!(row.contains(r"user u\u{202e}  p\n") && row.chars().count() < 400, "{row}");
        let mut all = String::new();
        super::text(&found, &mut all).unwrap();
        assert!(!all.chars().any(|c| c.is_control() && c != '\n') && all.lines().count() == 5, "{all}");
        assert!(all.lines().all(|line| line.chars().count() < 2_100));
    }
}
