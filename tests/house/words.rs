//! What no file may contain: code that gives up, code that waits for somebody, code that is commented out.

use super::{Source, files, is_test_only, none, root, sources};
use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// Shipped code; tests may give up.
const SHIPPED: &[&str] = &["src", "crates", "examples", "benches"];
/// Checks for tests, which may give up as tests do.
const FOR_TESTS: &[&str] = &["crates/streams/src/testing/", "crates/testkit/", "crates/reference-model/"];
const GIVE_UP_METHODS: &[&str] = &["unwrap", "expect", "unwrap_err", "expect_err"];
const GIVE_UP_MACROS: &[&str] = &["panic", "unreachable", "todo", "unimplemented", "dbg"];

#[test]
fn shipped_code_does_not_give_up() {
    let mut found = Vec::new();
    for source in sources(SHIPPED).into_iter().filter(|source| !source.is_test && !is_for_tests(&source.path)) {
        let mut finder = GiveUps { path: &source.path, found: &mut found };
        finder.visit_file(&source.syntax);
    }
    none("unwrap, expect, panic! and their like: return an error instead", &found);
}

fn is_for_tests(path: &str) -> bool {
    FOR_TESTS.iter().any(|folder| path.starts_with(folder))
}

struct GiveUps<'a> {
    path: &'a str,
    found: &'a mut Vec<String>,
}

impl GiveUps<'_> {
    fn add(&mut self, ident: &syn::Ident) {
        self.found.push(format!("{}:{}: {ident}", self.path, ident.span().start().line));
    }

    /// Inside macros (`info!("{}", x.unwrap())`) there are only tokens: `.` and one of the names.
    fn search_tokens(&mut self, tokens: TokenStream) {
        let mut after_dot = false;
        for token in tokens {
            let is_dot = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == '.');
            match token {
                TokenTree::Ident(ident) if after_dot && GIVE_UP_METHODS.iter().any(|name| ident == name) => {
                    self.add(&ident);
                }
                TokenTree::Group(group) => self.search_tokens(group.stream()),
                _ => {}
            }
            after_dot = is_dot;
        }
    }
}

impl<'ast> Visit<'ast> for GiveUps<'_> {
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

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if GIVE_UP_METHODS.iter().any(|name| call.method == name) {
            self.add(&call.method);
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        if let Some(name) =
            called.path.segments.last().filter(|last| GIVE_UP_MACROS.iter().any(|name| last.ident == name))
        {
            self.add(&name.ident);
        }
        self.search_tokens(called.tokens.clone());
        visit::visit_macro(self, called);
    }
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not hold them.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX"), concat!("HA", "CK")];
    let folders = [
        "src",
        "crates",
        "fuzz",
        "tests",
        "examples",
        "benches",
        "scripts",
        "topologies",
        "migrations",
        "schemas",
        ".ci",
    ];
    let mut paths = files(&folders);
    let top = std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap());
    paths.extend(top.filter(|entry| entry.path().is_file()).map(|entry| entry.file_name().into_string().unwrap()));
    let mut found = Vec::new();
    for path in paths.iter().filter(|path| !path.ends_with(".jsonl") && *path != "Cargo.lock") {
        let bytes = std::fs::read(root().join(path)).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for (index, line) in text.lines().enumerate() {
            let mut words_of_line = line.split(|c: char| !c.is_ascii_alphanumeric());
            if words_of_line.any(|word| words.contains(&word)) {
                found.push(format!("{path}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    none("something is left for later: do it now, or file it", &found);
}

#[test]
fn no_code_is_commented_out() {
    let sources = sources(&["src", "crates", "fuzz", "tests", "examples", "benches"]);
    let found: Vec<String> = sources.iter().flat_map(commented_out).collect();
    none("code in a comment: the history keeps it", &found);
}

fn commented_out(source: &Source) -> Vec<String> {
    let lines = source.text.lines().enumerate();
    let comments = lines.filter_map(|(index, line)| Some((index + 1, line.trim().strip_prefix("// ")?.trim())));
    let code = comments.filter(|(_, text)| is_statement(text));
    code.map(|(line, text)| format!("{}:{line}: {text}", source.path)).collect()
}

/// Prose does not end in a semicolon and parse.
fn is_statement(text: &str) -> bool {
    text.ends_with(';')
        && text.contains(['(', '=', ':', '!', '.'])
        && syn::parse_str::<syn::File>(&format!("fn f() {{ {text} }}")).is_ok()
}

#[test]
fn the_rules_find_what_they_look_for() {
    assert!(is_statement("let x = 5;") && is_statement("self.commit()?;"));
    assert!(!is_statement("the first wins;") && !is_statement("An offset, then its metadata."));
    let text = "fn f() { a.unwrap(); info!(\"{}\", b.expect(\"x\")); unreachable!() }\n#[cfg(test)] mod t { fn g() { c.unwrap() } }";
    let syntax = syn::parse_file(text).unwrap();
    let mut found = Vec::new();
    GiveUps { path: "x", found: &mut found }.visit_file(&syntax);
    assert_eq!(found, ["x:1: unwrap", "x:1: expect", "x:1: unreachable"]);
}
