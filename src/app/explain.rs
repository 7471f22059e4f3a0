//! `helixstream explain`: prints what docs/operations.md says about the code of a log line or an
//! error.

use std::io::{self, Write};

use anyhow::anyhow;

use super::CommandError;
use topology_file::problem::nearest;

/// The page, in the version that belongs to this program.
const PAGE: &str = include_str!("../../docs/operations.md");

/// Prints the entry of a code; without one a list of all codes.
///
/// # Errors
/// The page has no such code, or the standard output cannot be written.
pub fn explain(code: Option<&str>) -> Result<(), CommandError> {
    let page = Page::read(PAGE);
    let text = match code {
        None => page.list(),
        Some(code) => page.explain(code).map_err(CommandError::Usage)?,
    };
    match io::stdout().write_all(text.as_bytes()) {
        // `explain | head` has read enough.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|e| anyhow!("write to the standard output: {e} [HS0093]").into()),
    }
}

/// The entries of the page below the headings of their groups.
struct Page<'a> {
    groups: Vec<Group<'a>>,
}

/// A heading of the second level, and the entries below it.
struct Group<'a> {
    heading: &'a str,
    entries: Vec<Entry<'a>>,
}

/// `### HS2004: heading`, and the Markdown below it.
struct Entry<'a> {
    code: &'a str,
    heading: &'a str,
    body: Vec<&'a str>,
}

impl<'a> Page<'a> {
    fn read(text: &'a str) -> Page<'a> {
        let mut groups: Vec<Group> = Vec::new();
        let mut in_code_block = false;
        let mut in_entry = false;
        for line in text.lines() {
            in_code_block ^= line.starts_with("```");
            let group = groups.last_mut();
            if in_code_block || !line.starts_with('#') {
                if let Some(entry) = group.and_then(|group| group.entries.last_mut()).filter(|_| in_entry) {
                    entry.body.push(line);
                }
            } else if let Some(heading) = line.strip_prefix("## ") {
                in_entry = false;
                groups.push(Group { heading, entries: Vec::new() });
            } else {
                let entry = line.strip_prefix("### ").and_then(|heading| heading.split_once(": "));
                let entry = entry.filter(|(code, _)| code.starts_with("HS"));
                in_entry = entry.is_some();
                if let (Some(group), Some((code, heading))) = (group, entry) {
                    group.entries.push(Entry { code, heading, body: Vec::new() });
                }
            }
        }
        groups.retain(|group| !group.entries.is_empty());
        Page { groups }
    }

    fn entries(&self) -> impl Iterator<Item = &Entry<'a>> {
        self.groups.iter().flat_map(|group| &group.entries)
    }

    fn list(&self) -> String {
        let group = |group: &Group| {
            let lines = group.entries.iter().map(|entry| format!("  {}  {}\n", entry.code, plain(entry.heading)));
            format!("{}\n\n{}", plain(group.heading), lines.collect::<String>())
        };
        self.groups.iter().map(group).collect::<Vec<_>>().join("\n")
    }

    /// The entry of a code, which may stand in brackets, in small letters, or without its `HS`.
    fn explain(&self, asked: &str) -> Result<String, String> {
        let asked = asked.trim_matches(|c: char| c.is_whitespace() || c == '[' || c == ']').to_uppercase();
        let is_number = !asked.is_empty() && asked.chars().all(|c| c.is_ascii_digit());
        let code = if is_number { format!("HS{asked:0>4}") } else { asked };
        let Some(entry) = self.entries().find(|entry| entry.code == code) else {
            let near = nearest(&code, self.entries().map(|entry| entry.code));
            let near = near.map(|near| format!("The nearest code is {near}. ")).unwrap_or_default();
            return Err(format!(
                "this version has no code `{code}`. {near}`helixstream explain` without a code lists all of them [HS0099]"
            ));
        };
        let body = plain(entry.body.join("\n").trim());
        Ok(format!("{}: {}\n\n{body}\n", entry.code, plain(entry.heading)))
    }
}

/// Markdown as plain text: no marks of bold and code, blocks of code indented, and links as their
/// text with the path from the root of the repository.
fn plain(markdown: &str) -> String {
    let blocks = markdown.split("```").enumerate();
    let blocks = blocks.map(|(index, block)| match index % 2 {
        0 => without_marks(&without_links(block)),
        // Behind the opening fence stands the name of the language.
        _ => {
            let lines = block.split_once('\n').map_or("", |(_, lines)| lines).trim_end().lines();
            lines.map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
        }
    });
    blocks.collect()
}

fn without_links(markdown: &str) -> String {
    let mut plain = String::new();
    let mut rest = markdown;
    while let Some((before, behind)) = rest.split_once("](") {
        let (Some(open), Some((target, after))) = (before.rfind('['), behind.split_once(')')) else { break };
        let text = &before[open + 1..];
        plain += &before[..open];
        plain += &match target.split_once("://") {
            Some(_) => format!("{text} ({target})"),
            None if target.starts_with('#') => text.to_owned(),
            None if target.split('#').next() == Some(text.trim_matches('`')) => from_root(target),
            None => format!("{text} ({})", from_root(target)),
        };
        rest = after;
    }
    plain + rest
}

/// The path of a link that stands in the folder `docs`, from the root of the repository.
fn from_root(target: &str) -> String {
    target.strip_prefix("../").map_or_else(|| format!("docs/{target}"), str::to_owned)
}

/// Text between backticks stays as it is.
fn without_marks(markdown: &str) -> String {
    let parts = markdown.split('`').enumerate();
    parts.map(|(index, part)| if index % 2 == 0 { part.replace("**", "") } else { part.to_owned() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "# Page\n\n## General\n\n### About\n\nx\n\n## Kafka (HS2xxx)\n\n\
        ### HS2001: a topic `t` is gone\n\n**What happened.** See [the page](glossary.md#the-engine),\n[`http.md`](http.md) and `**`.\n\n\
        ```sh\n# not a heading\nrun `x`\n```\n\n**Why.** [Here](#x).\n\n### HS2010: else\n\nw\n\n## End\n\ny\n";

    #[test]
    fn an_entry_is_plain_text() {
        let page = Page::read(SMALL);
        let text = "HS2001: a topic t is gone\n\nWhat happened. See the page (docs/glossary.md#the-engine),\ndocs/http.md and **.\n\n    \
            # not a heading\n    run `x`\n\nWhy. Here.\n";
        for asked in ["HS2001", "hs2001", "2001", "[HS2001]"] {
            assert_eq!(page.explain(asked).unwrap(), text);
        }
        assert_eq!(page.explain("HS2010").unwrap(), "HS2010: else\n\nw\n");
        assert_eq!(page.list(), "Kafka (HS2xxx)\n\n  HS2001  a topic t is gone\n  HS2010  else\n");
    }

    #[test]
    fn an_unknown_code_leads_to_the_nearest() {
        let page = Page::read(SMALL);
        let nearest = page.explain("2011").unwrap_err();
        assert!(nearest.starts_with("this version has no code `HS2011`. The nearest code is HS2001."), "{nearest}");
        assert!(page.explain("broken").unwrap_err().contains("`BROKEN`. `helixstream explain` without a code"));
    }

    #[test]
    fn every_entry_of_the_page_is_plain_text() {
        let page = Page::read(PAGE);
        for entry in page.entries() {
            let text = page.explain(entry.code).unwrap();
            assert!(text.contains("What to do. ") && !text.contains("](") && !text.contains("**What"), "{text}");
        }
        assert!(page.list().contains("  HS0099  this version has no such code\n"));
    }
}
