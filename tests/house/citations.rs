//! Every page that a source or another page cites is there, and so is the section:
//! `docs/semantics.md, section 5`, `docs/exactly-once.md, "Slots"`, `docs/postgres.md#poolers`, and
//! the links of Markdown pages. So are the files of the repository that a page names, and the types
//! that the glossary says are in them.

use super::{files, none, root};
use std::collections::{BTreeMap, BTreeSet};

const FOLDERS: &[&str] = &[
    "src",
    "crates",
    "fuzz",
    "tests",
    "clients",
    "examples",
    "benches",
    "scripts",
    "topologies",
    "schemas",
    "migrations",
    "docs",
];
/// Folders whose files are data of tests, and hold what others wrote.
const DATA: &[&str] = &["fuzz/corpus/", "tests/fixtures/", "tests/topology/wrong/", "tests/topology/shown/"];
/// The pages of the contract: each citation of them names their folder.
const CONTRACT: &[&str] = &["semantics.md", "exactly-once.md"];
/// Avro schemas whose text may not change, since the schema registry knows a schema by its text,
/// documentation included. They were written while the contract lay outside of the repository.
const FROZEN: &[&str] = &[
    "schemas/conflict-record.v1.avsc",
    "schemas/event.v1.avsc",
    "schemas/resolved-memory.v1.avsc",
    "schemas/user-snapshot.v1.avsc",
];

/// The headings of a page, and the words in bold that open its paragraphs and list items.
#[derive(Default)]
struct Page {
    /// The numbers of headings like `## 5. Outputs`.
    numbers: BTreeSet<String>,
    names: BTreeSet<String>,
    /// As GitHub makes them of headings.
    anchors: BTreeSet<String>,
}

impl Page {
    fn read(text: &str) -> Page {
        let mut page = Page::default();
        let mut in_code = false;
        for line in text.lines() {
            if line.trim_start().starts_with("```") {
                in_code = !in_code;
            }
            if in_code {
                continue;
            }
            if let Some(heading) = line.strip_prefix('#').map(|rest| rest.trim_start_matches('#')) {
                page.add_heading(heading.trim());
            } else if let Some(bold) = line.trim_start_matches(['-', ' ']).strip_prefix("**") {
                let name = bold.split("**").next().unwrap_or_default();
                page.names.insert(name.trim_end_matches(['.', ':']).to_owned());
            }
        }
        page
    }

    fn add_heading(&mut self, heading: &str) {
        let (number, name) = heading.split_once(". ").unwrap_or(("", heading));
        if !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()) {
            self.numbers.insert(number.to_owned());
            self.names.insert(name.to_owned());
        }
        self.names.insert(heading.to_owned());
        self.anchors.insert(anchor(heading));
    }
}

/// GitHub's anchor of a heading: lower case, spaces as hyphens, and of the rest letters, digits,
/// hyphens and underscores.
fn anchor(heading: &str) -> String {
    let lower = heading.to_lowercase();
    let kept = lower.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The pages of the repository by their paths from the root.
fn pages() -> BTreeMap<String, Page> {
    let top = std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let paths = top.chain(files(FOLDERS)).filter(|path| path.ends_with(".md"));
    paths.map(|path| (path.clone(), Page::read(&read(&path)))).collect()
}

fn read(path: &str) -> String {
    String::from_utf8_lossy(&std::fs::read(root().join(path)).unwrap()).into_owned()
}

/// A citation of a page: its path from the root, what follows it, and the line where it stands.
struct Citation {
    path: String,
    rest: String,
    line: usize,
}

/// What is cited in a text: each `….md`, with what stands behind it. A citation may go on in the
/// next line of a comment.
fn citations(text: &str) -> Vec<Citation> {
    let is_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    let ends = text.match_indices(".md").map(|(at, found)| at + found.len());
    let ends = ends.filter(|end| !text[*end..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_'));
    let found = ends.map(|end| {
        let start = text[..end].rfind(|c: char| !is_path(c)).map_or(0, |at| at + 1);
        let line = text[..end].matches('\n').count() + 1;
        let path = text[..end].get(start..).unwrap_or_default().to_owned();
        Citation { path, rest: unwrapped(&text[end..]), line }
    });
    found.collect()
}

/// The rest of a line, and the next one without the marks of a comment.
fn unwrapped(text: &str) -> String {
    let mut lines = text.lines();
    let (first, second) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let second = second.trim_start().trim_start_matches(['/', '!', '#', '-', '*']).trim();
    format!("{} {second}", first.trim_end())
}

/// What is wrong with the section that a citation names, if it names one.
fn wrong_section(page: &Page, rest: &str) -> Option<String> {
    if let Some(fragment) = rest.strip_prefix('#') {
        let end = fragment.find(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '_'))).unwrap_or(fragment.len());
        let cited = &fragment[..end];
        return (!page.anchors.contains(cited)).then(|| format!("has no anchor #{cited}"));
    }
    let rest = rest.trim_start_matches('`');
    let rest = rest.strip_prefix(',').or_else(|| rest.strip_prefix(" (")).unwrap_or_default().trim_start();
    let mut rest = rest;
    if let Some(numbers) = rest.strip_prefix("sections ").or_else(|| rest.strip_prefix("section ")) {
        let end = numbers.find([',', ')', ':', ';', '.', '"', '`']).unwrap_or(numbers.len());
        let cited: Vec<&str> = numbers[..end].split([' ', '-']).filter(is_number).collect();
        if cited.is_empty() {
            return Some(format!("is cited without a number: section {}", &numbers[..end]));
        }
        if let Some(unknown) = cited.iter().find(|number| !page.numbers.contains(**number)) {
            return Some(format!("has no section {unknown}"));
        }
        rest = numbers[end..].strip_prefix(',').unwrap_or_default().trim_start();
    }
    let name = rest.strip_prefix('"')?.split('"').next()?;
    (!page.names.contains(name)).then(|| format!("has no heading \"{name}\""))
}

fn is_number(word: &&str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_digit())
}

/// The path from the root of a page that a file names: links of pages are relative to the page, all
/// else to the root.
fn resolve(file: &str, cited: &str, is_link: bool) -> String {
    let folder = if is_link { file.rsplit_once('/').map_or("", |(folder, _)| folder) } else { "" };
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in cited.split('/') {
        match part {
            "." | "" => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// What is wrong with the citations of one file.
fn offences(file: &str, text: &str, pages: &BTreeMap<String, Page>) -> Vec<String> {
    let mut found = Vec::new();
    let is_page = file.ends_with(".md");
    for Citation { path, rest, line } in citations(text) {
        let before = text.lines().nth(line - 1).unwrap_or_default();
        // The rest of a URL.
        if path.starts_with("//") {
            continue;
        }
        let is_link = is_page && before.contains(&format!("]({path}"));
        let name = path.rsplit('/').next().unwrap_or_default();
        let target = resolve(file, &path, is_link);
        let is_named_by_folder = is_link || path.starts_with("docs/") || is_page && file.starts_with("docs/");
        if CONTRACT.contains(&name) && !is_named_by_folder {
            found.push(format!("{file}:{line}: cite it as docs/{name}"));
        } else if let Some(page) = pages.get(&target) {
            found.extend(wrong_section(page, &rest).map(|wrong| format!("{file}:{line}: {target} {wrong}")));
        } else if is_link || path.starts_with("docs/") || path.contains("../") {
            found.push(format!("{file}:{line}: there is no {target}"));
        }
    }
    found
}

#[test]
fn cited_pages_and_their_sections_are_there() {
    let pages = pages();
    let is_text = |path: &String| !DATA.iter().any(|data| path.starts_with(data)) && !path.ends_with(".jsonl");
    let is_frozen = |path: &String| FROZEN.contains(&path.as_str());
    let top = std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap());
    let top = top.filter(|entry| entry.path().is_file()).map(|entry| entry.file_name().into_string().unwrap());
    let paths = files(FOLDERS).into_iter().chain(top.filter(|path| path != "Cargo.lock"));
    let paths = paths.filter(|path| is_text(path) && !is_frozen(path) && path != "tests/house/citations.rs");
    let found: Vec<String> = paths.flat_map(|path| offences(&path, &read(&path), &pages)).collect();
    none("a page or a section that is cited is not there", &found);
}

/// The files and folders that a page names between backticks, and are not there; and the types that
/// it says are in a file (`Type` in `src/file.rs`), and are not.
fn missing_files(page: &str, text: &str, exists: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_code = false;
    for (index, line) in text.lines().enumerate() {
        in_code ^= line.trim_start().starts_with("```");
        let parts: Vec<&str> = line.split('`').collect();
        for at in (1..parts.len()).step_by(2).filter(|_| !in_code) {
            let path = parts[at];
            let is_path = path.split_once('/').is_some_and(|(folder, _)| FOLDERS.contains(&folder));
            if !is_path || path.contains(['*', '{', '<', '…', ' ']) {
                continue;
            }
            let Some(source) = exists(path) else {
                found.push(format!("{page}:{}: there is no {path}", index + 1));
                continue;
            };
            if parts[at - 1] == " in " && at > 2 && !defines(&source, parts[at - 2]) {
                found.push(format!("{page}:{}: {path} has no {}", index + 1, parts[at - 2]));
            }
        }
    }
    found
}

/// Whether a Rust source has an item of this name.
fn defines(source: &str, name: &str) -> bool {
    let items = ["struct", "enum", "trait", "fn", "type", "mod", "const"];
    let words: Vec<&str> =
        source.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|w| !w.is_empty()).collect();
    words.windows(2).any(|pair| items.contains(&pair[0]) && pair[1] == name)
}

#[test]
fn files_and_types_that_pages_name_are_there() {
    let exists = |path: &str| {
        let path = root().join(path);
        path.exists().then(|| std::fs::read_to_string(path).unwrap_or_default())
    };
    let paths = pages().into_keys().filter(|path| !path.starts_with("benches/"));
    let found: Vec<String> = paths.flat_map(|path| missing_files(&path, &read(&path), &exists)).collect();
    none("a page names a file that is not there, or a type that is not in it", &found);
}

#[test]
fn files_and_types_that_are_gone_are_found() {
    let exists = |path: &str| (path == "src/a.rs").then(|| "pub struct Task {\n}\n".to_owned());
    let missing = |text: &str| missing_files("p.md", text, &exists);
    assert_eq!(missing("`Task` in `src/a.rs`; `src/a.rs`; `src/x/{a,b}.rs`\n```\n`src/c.rs`\n```\n"), [""; 0]);
    assert_eq!(missing("\nA `Thread` in `src/a.rs`"), ["p.md:2: src/a.rs has no Thread"]);
    assert_eq!(missing("`Task` in `src/b.rs`"), ["p.md:1: there is no src/b.rs"]);
}

#[test]
fn wrong_citations_are_found() {
    let text = "# P\n\n## 5. Outputs\n\n### Conflict record\n\n- **Slots.** One each.\n\n```\n# no heading\n```\n";
    let pages = BTreeMap::from([("docs/semantics.md".to_owned(), Page::read(text))]);
    let wrong = |file: &str, text: &str| offences(file, text, &pages);
    for good in [
        "//! docs/semantics.md",
        "//! docs/semantics.md, section 5",
        "//! (docs/semantics.md, sections 5 and 5)",
        "//! docs/semantics.md,\n//! section 5, \"Conflict record\".",
        "//! `docs/semantics.md` (\"Slots\")",
        "//! docs/semantics.md#conflict-record says",
        "//! docs/semantics.md says \"nothing\" of it",
        "//! https://example.org/other/semantics.md",
    ] {
        assert_eq!(wrong("src/x.rs", good), [""; 0], "{good}");
    }
    for (bad, why) in [
        ("//! semantics.md, section 5", "cite it as docs/semantics.md"),
        ("//! ../shared/semantics.md", "cite it as docs/semantics.md"),
        ("//! docs/semantic.md", "there is no docs/semantic.md"),
        ("//! docs/semantics.md, section 7", "has no section 7"),
        ("//! docs/semantics.md, sections 5 to 8", "has no section 8"),
        ("//! docs/semantics.md, section five", "without a number"),
        ("//! docs/semantics.md,\n//! section 5, \"Conflicts\"", "has no heading \"Conflicts\""),
        ("//! docs/semantics.md (\"no heading\")", "has no heading \"no heading\""),
        ("//! docs/semantics.md#slots", "has no anchor #slots"),
    ] {
        let found = wrong("src/x.rs", bad);
        assert!(found.len() == 1 && found[0].starts_with("src/x.rs:1: ") && found[0].contains(why), "{bad}: {found:?}");
    }
    assert_eq!(wrong("docs/y.md", "[s](semantics.md#5-outputs) [t](../docs/semantics.md)"), [""; 0]);
    assert_eq!(wrong("docs/y.md", "\n[s](semantics.md#6)"), ["docs/y.md:2: docs/semantics.md has no anchor #6"]);
    assert_eq!(wrong("docs/y.md", "[s](gone.md)"), ["docs/y.md:1: there is no docs/gone.md"]);
}
