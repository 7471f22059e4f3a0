//! Each log line of WARN and ERROR has a code (`HS1012`), each code that the sources print has an
//! entry in docs/operations.md, and each entry is of a code that the sources print.

use super::{Source, is_test_only, none, root, sources};
use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use syn::visit::{self, Visit};

const PAGE: &str = "docs/operations.md";
/// What an entry consists of, in this order.
const PARTS: [&str; 3] = ["**What happened.** ", "**Why.** ", "**What to do.** "];

/// Where each code stands in shipped code, and the log lines that have none.
#[derive(Default)]
struct Codes {
    path: String,
    /// The first place of each code.
    found: BTreeMap<String, String>,
    /// `warn!` and `error!` without a field `code`.
    missing: Vec<String>,
    /// Errors with which an instance or a command ends, of which the text has no code.
    uncoded: Vec<String>,
}

impl Codes {
    fn of(sources: &[Source]) -> Codes {
        let mut codes = Codes::default();
        for source in sources.iter().filter(|source| !source.is_test) {
            codes.path.clone_from(&source.path);
            codes.visit_file(&source.syntax);
        }
        codes
    }

    fn add_text(&mut self, text: &str, line: usize) {
        for code in codes_in(text) {
            let place = format!("{}:{line}", self.path);
            self.found.entry(code.to_owned()).or_insert(place);
        }
    }

    /// Inside macros and attributes there are only tokens.
    fn search_tokens(&mut self, tokens: TokenStream) {
        let mut is_doc = false;
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.search_tokens(group.stream()),
                // `#[doc = "…"]` of an item inside a macro.
                TokenTree::Ident(ident) => is_doc = ident == "doc",
                TokenTree::Literal(literal) if !is_doc => {
                    self.add_text(&literal.to_string(), literal.span().start().line);
                }
                _ => {}
            }
        }
    }
}

/// The codes in a text: `HS` and four digits, with nothing else beside them.
pub(super) fn codes_in(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| is_code(word))
}

fn is_code(word: &str) -> bool {
    word.len() == 6 && word.strip_prefix("HS").is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
}

/// `code = …` or the variable `code`, as a field of a log line.
fn has_code(tokens: TokenStream) -> bool {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let fields = tokens.split(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ','));
    let is_code = |field: &[TokenTree]| matches!(field.first(), Some(TokenTree::Ident(ident)) if ident == "code");
    fields.into_iter().any(is_code)
}

/// Whether a path is that of an error with which an instance or a command ends.
fn is_ending(path: &syn::Path) -> bool {
    let mut names = path.segments.iter().rev().map(|segment| segment.ident.to_string());
    let (kind, of) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
    of == "Error" && matches!(kind.as_str(), "Fatal" | "Disagreement")
}

/// The literal text of `"…".to_owned()` or `format!("…", …)`; `None` for another expression.
fn text_of(argument: &syn::Expr) -> Option<String> {
    let literal = match argument {
        syn::Expr::MethodCall(call) => match &*call.receiver {
            syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => return Some(text.value()),
            _ => return None,
        },
        syn::Expr::Macro(called) => called.mac.tokens.clone().into_iter().next()?,
        _ => return None,
    };
    syn::parse_str::<syn::LitStr>(&literal.to_string()).ok().map(|text| text.value())
}

/// `… [HS2004]`, or a placeholder behind which the code stands.
fn ends_with_code(text: &str) -> bool {
    let end = text.trim_end_matches(']').rsplit(['[', ' ']).next().unwrap_or_default();
    text.ends_with(']') && is_code(end) || text.ends_with('}')
}

impl<'ast> Visit<'ast> for Codes {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_test_only(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        if !is_test_only(&function.attrs) {
            visit::visit_item_fn(self, function);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if !is_test_only(&item.attrs) {
            visit::visit_item_impl(self, item);
        }
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.search_tokens(list.tokens.clone());
        }
    }

    fn visit_lit_str(&mut self, literal: &'ast syn::LitStr) {
        self.add_text(&literal.value(), literal.span().start().line);
    }

    /// The text of `Error::Fatal(format!("…"))` ends with a code. One that is passed on
    /// (`Error::Fatal(what)`) has it from elsewhere.
    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let syn::Expr::Path(function) = &*call.func
            && is_ending(&function.path)
            && let Some(text) = call.args.first().and_then(text_of)
            && !ends_with_code(&text)
        {
            let line = function.path.segments.first().map_or(0, |first| first.ident.span().start().line);
            self.uncoded.push(format!("{}:{line}: {text}", self.path));
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        let name = called.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default();
        let line = called.path.segments.last().map_or(0, |last| last.ident.span().start().line);
        if matches!(name.as_str(), "warn" | "error") && !has_code(called.tokens.clone()) {
            self.missing.push(format!("{}:{line}: {name}!", self.path));
        }
        self.search_tokens(called.tokens.clone());
        visit::visit_macro(self, called);
    }
}

/// An entry of the page: its code, its heading, the line, and what is wrong with it.
struct Entry {
    code: String,
    heading: String,
    line: usize,
    wrong: Vec<String>,
}

/// The entries of the page, in its order.
fn entries(page: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut in_code_block = false;
    let mut in_entry = false;
    // The digit behind `HS` of the group, from its heading: `## Kafka (HS2xxx)`.
    let mut group = None;
    let mut parts: Vec<usize> = Vec::new();
    let close = |entries: &mut Vec<Entry>, parts: &mut Vec<usize>, in_entry: bool| {
        let found = std::mem::take(parts);
        if let Some(entry) = entries.last_mut().filter(|_| in_entry && found != [0, 1, 2]) {
            entry.wrong.push(format!("it needs the paragraphs {} in this order, each once", PARTS.join(", ")));
        }
    };
    for (index, line) in page.lines().enumerate() {
        in_code_block ^= line.starts_with("```");
        if in_code_block || !line.starts_with('#') {
            if let Some(entry) = entries.last_mut().filter(|_| in_entry) {
                parts.extend(PARTS.iter().position(|part| line.starts_with(part)));
                if line.starts_with('|') {
                    entry.wrong.push("a table is no plain text: use a list".to_owned());
                }
            }
            continue;
        }
        close(&mut entries, &mut parts, in_entry);
        in_entry = false;
        if let Some(heading) = line.strip_prefix("## ") {
            group = heading.split_once("(HS").and_then(|(_, range)| range.strip_suffix("xxx)")).map(str::to_owned);
        } else if let Some(heading) = line.strip_prefix("### ").filter(|heading| codes_in(heading).next().is_some()) {
            in_entry = true;
            let (code, text) = heading.split_once(": ").unwrap_or((heading, ""));
            let mut wrong = Vec::new();
            if !is_code(code) || text.is_empty() {
                wrong.push("its heading is not of the form `### HS2004: first words of the message`".to_owned());
            } else if group.as_deref() != code.get(2..3) {
                wrong.push("it stands in the group of another range".to_owned());
            }
            entries.push(Entry { code: code.to_owned(), heading: text.to_owned(), line: index + 1, wrong });
        }
    }
    close(&mut entries, &mut parts, in_entry);
    entries
}

/// What is wrong with the entries of the page, each by itself and beside each other.
fn wrong_entries(entries: &[Entry]) -> Vec<String> {
    let mut found = Vec::new();
    let mut headings: BTreeMap<&str, &str> = BTreeMap::new();
    let mut last = "";
    for Entry { code, heading, line, wrong } in entries {
        found.extend(wrong.iter().map(|wrong| format!("{PAGE}:{line}: {code}: {wrong}")));
        if code.as_str() <= last {
            found.push(format!(
                "{PAGE}:{line}: {code} stands behind {last}: the list is sorted, and each code is in it once"
            ));
        }
        if let Some(other) = headings.insert(heading, code) {
            found.push(format!("{PAGE}:{line}: {code} has the same heading as {other}"));
        }
        last = code;
    }
    found
}

/// The sources that print codes: not the reference model and what else only tests use.
fn shipped() -> Vec<Source> {
    sources(&["src", "crates"])
}

#[test]
fn each_code_has_an_entry_and_each_entry_a_code() {
    let page = std::fs::read_to_string(root().join(PAGE)).unwrap();
    let entries = entries(&page);
    let codes = Codes::of(&shipped());
    let listed: BTreeSet<&str> = entries.iter().map(|entry| entry.code.as_str()).collect();
    let mut found = wrong_entries(&entries);
    let unlisted = codes.found.iter().filter(|(code, _)| !listed.contains(code.as_str()));
    found.extend(unlisted.map(|(code, place)| format!("{place}: {code} has no entry in {PAGE}")));
    let unused = entries.iter().filter(|entry| !codes.found.contains_key(&entry.code));
    found.extend(unused.map(|entry| format!("{PAGE}:{}: no source prints {}", entry.line, entry.code)));
    none("the codes of messages and the entries of docs/operations.md differ", &found);
}

#[test]
fn each_log_line_of_warn_and_error_has_a_code() {
    let codes = Codes::of(&shipped());
    none("a log line without a code: warn!(code = \"HS1001\", …), and an entry in docs/operations.md", &codes.missing);
}

#[test]
fn each_error_that_ends_an_instance_has_a_code() {
    let codes = Codes::of(&shipped());
    none("an error without a code at its end: `… [HS1001]`, and an entry in docs/operations.md", &codes.uncoded);
}

#[test]
fn wrong_entries_are_found() {
    let parts = "**What happened.** a\n\n**Why.** b\n\n**What to do.** c\n";
    let of = |page: &str| wrong_entries(&entries(page));
    let good =
        format!("## K (HS2xxx)\n\n### HS2001: one\n\n{parts}\n### HS2003: two\n\n{parts}\n## End\n\n### Other\n");
    assert_eq!(of(&good), [""; 0]);
    for (page, why) in [
        (good.replace("HS2003", "HS2001"), "HS2001 stands behind HS2001"),
        (good.replace("HS2003", "HS2000"), "HS2000 stands behind HS2001"),
        (good.replace("HS2003", "HS3003"), "HS3003: it stands in the group of another range"),
        (good.replace(": two", ": one"), "HS2003 has the same heading as HS2001"),
        (good.replace(": two", ""), "its heading is not of the form"),
        (good.replacen("**Why.** b", "b", 1), "docs/operations.md:3: HS2001: it needs the paragraphs"),
        (good.replacen("**Why.** b", "**Why.** b\n| x |", 1), "a table is no plain text"),
    ] {
        let found = of(&page);
        assert!(found.len() == 1 && found[0].contains(why), "{why}: {found:?}");
    }
}

#[test]
fn codes_and_log_lines_without_one_are_found() {
    let text = "/// HS0001\n#[error(\"x [HS0002]\")]\nfn f() { warn!(\"HS00035\"); tracing::error!(task = 1, code, \"x\"); }\n\
        fn g() { bail!(\"{} [HS0004]\", 1); tracing::warn!(code = \"HS0005\", \"x\"); let c = \"a [HS0006]\"; info!(\"x\") }\n\
        #[cfg(test)] mod tests { fn t() { warn!(\"HS0007\") } }\n\
        fn h() { Error::Fatal(\"no code\".to_owned()); Error::Fatal(format!(\"{x} no code\")); Error::Fatal(what);\
        Error::Fatal(format!(\"a [HS0004]\")); Error::Retry(\"b\".to_owned()); }";
    let syntax = syn::parse_file(text).unwrap();
    let source = Source { path: "x".to_owned(), text: text.to_owned(), syntax, is_test: false };
    let codes = Codes::of(&[source]);
    assert_eq!(codes.missing, ["x:3: warn!"]);
    assert_eq!(codes.uncoded, ["x:6: no code", "x:6: {x} no code"]);
    let found: Vec<(&str, &str)> = codes.found.iter().map(|(code, place)| (code.as_str(), place.as_str())).collect();
    assert_eq!(found, [("HS0002", "x:2"), ("HS0004", "x:4"), ("HS0005", "x:4"), ("HS0006", "x:4")]);
}
