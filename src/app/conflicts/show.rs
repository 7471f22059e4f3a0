//! Conflicts for people and for programs.

use std::io::Write as _;

use anyhow::Context as _;

use super::Topics;
use super::read::{self, Found};
use crate::app::Stop;
use crate::domain::time;
use crate::edges::cli::{ConflictFormat, ListArgs, ShowArgs, StatusFilter};
use crate::memories::settle::Conflict;

/// Lists conflicts, the oldest first.
pub fn list(topics: &Topics, args: &ListArgs) -> Result<(), Stop> {
    let wanted = |asked: &Option<String>, found: Option<&str>| asked.is_none() || asked.as_deref() == found;
    let status = match args.status {
        StatusFilter::Pending => Some("pending"),
        StatusFilter::AutoResolved => Some("auto_resolved"),
        StatusFilter::Superseded => Some("superseded"),
        StatusFilter::All => None,
    };
    // Whose record it was at first decides for the last one too: the user and the memory do not change.
    let mine = |c: &Conflict<'_>| wanted(&args.user, c.user_id.as_deref()) && wanted(&args.memory, Some(&c.memory_id));
    let stays = |c: &Conflict<'_>| mine(c) && (status != Some("pending") || c.status == "pending");
    let mut rows = Vec::new();
    for found in read::all(topics, &stays)? {
        let last = read::parse(&found.last)?;
        if status.is_none_or(|status| last.status == status) {
            let at = time::parse(&last.detected_at).unwrap_or_default();
            rows.push((at, last.conflict_id.clone(), found.clone()));
        }
    }
    rows.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    let mut out = String::new();
    for (_, _, found) in &rows {
        match args.format {
            ConflictFormat::Json => out.push_str(&found.last),
            ConflictFormat::Text => out.push_str(&line(found)?),
        }
        out.push('\n');
    }
    print(&out)
}

/// One conflict in one line.
fn line(Found { first, last }: &Found) -> anyhow::Result<String> {
    let (first, last) = (read::parse(first)?, read::parse(last)?);
    let Conflict { conflict_id, status, conflict_type, detected_at, memory_id, .. } = &last;
    let user = last.user_id.as_deref().map_or(String::new(), |user| format!("  user {user}"));
    let paths: Vec<&str> = first.fields.iter().map(|f| f.path.as_str()).collect();
    let paths = if paths.is_empty() { "delete against update".to_owned() } else { paths.join(", ") };
    Ok(format!("{conflict_id}  {status}  {conflict_type}  {detected_at}  memory {memory_id}{user}  {paths}"))
}

/// Shows one conflict.
pub fn show(topics: &Topics, args: &ShowArgs) -> Result<(), Stop> {
    let found = read::one(topics, &args.conflict_id)?;
    let mut out = String::new();
    match args.format {
        ConflictFormat::Json => {
            out.push_str(&found.first);
            out.push('\n');
            if found.last != found.first {
                out.push_str(&found.last);
                out.push('\n');
            }
        }
        ConflictFormat::Text => text(&found, &mut out)?,
    }
    print(&out)
}

fn text(found: &Found, out: &mut String) -> anyhow::Result<()> {
    let (first, last) = (read::parse(&found.first)?, read::parse(&found.last)?);
    let mut say = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    say(line(found)?);
    for field in &first.fields {
        say(format!("{}: {}", field.path, field.reason));
        say(format!("  shows  {}", field.value.get()));
        for c in &field.contenders {
            let node = c.node_id.as_deref().map_or(String::new(), |node| format!("  {node}"));
            let version = c.version;
            say(format!("  {}{node}  {}  version {version}  {}", c.event_id, c.timestamp, c.value.get()));
        }
        if let Some(total) = field.contenders_total {
            say(format!("  {total} contend, of which these are the last"));
        }
    }
    if let Some(against) = first.delete_update {
        say(format!("delete against update: {}", against.get()));
    }
    match &last.superseded_by {
        Some(by) => say(format!("superseded by {by}")),
        None if first.fields.is_empty() => {}
        None => say(format!(
            "settle it: helixstream conflicts resolve {} --winner EVENT_ID, or --path PATH --value JSON",
            last.conflict_id
        )),
    }
    Ok(())
}

/// Writes it all; that nobody reads on is no failure.
fn print(text: &str) -> Result<(), Stop> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(e).context("write to the standard output").map_err(Stop::from)
        }
        _ => Ok(()),
    }
}
