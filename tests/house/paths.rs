//! Every path that a file names (`use` trees, types, expressions, also inside macros), made
//! absolute: `crate::streams::ports::Clock`, `std::time::Instant`, `tokio::spawn`.

use super::{Source, is_test_only};
use proc_macro2::{TokenStream, TokenTree};
use std::collections::BTreeSet;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// The members of the workspace below `crates/`, as code names them.
pub const MEMBERS: &[&str] = &[
    "avro",
    "escape",
    "http",
    "json",
    "memory",
    "memory_operators",
    "mirror",
    "mirror_postgres",
    "node",
    "node_http",
    "node_mcp",
    "operators",
    "reference_model",
    "script",
    "secret",
    "services",
    "streams",
    "streams_kafka",
    "streams_rocksdb",
    "testkit",
    "topology_file",
];

/// A path as the file means it, and where it stands.
#[derive(Debug, Clone)]
pub struct Named {
    /// Segments; the first is `crate` for the crate's own.
    pub segments: Vec<String>,
    pub line: usize,
    /// Inside `#[cfg(test)]` or `#[test]`.
    pub in_test: bool,
}

impl Named {
    pub fn starts_with(&self, prefix: &str) -> bool {
        let mut segments = self.segments.iter();
        prefix.split("::").all(|part| segments.next().is_some_and(|segment| segment == part))
    }
}

/// All paths of a file below `src` or below `crates/*/src`.
pub fn named(source: &Source) -> Vec<Named> {
    let (module, member) = (module_of(&source.path), member_of(&source.path));
    let mut collector = Collector { module, member, in_test: source.is_test, found: Vec::new() };
    collector.visit_file(&source.syntax);
    // The same name through two visits (a use tree and its path) is one.
    let mut seen = BTreeSet::new();
    collector.found.retain(|named| seen.insert((named.line, named.segments.clone(), named.in_test)));
    collector.found
}

/// The module of a file, as if all members of the workspace were modules of one crate:
/// `src/app/run.rs` is `["crate", "app", "run"]`, and `crates/streams/src/ports/mod.rs` is
/// `["crate", "streams", "ports"]`.
pub fn module_of(path: &str) -> Vec<String> {
    let path = path.strip_prefix("crates/").unwrap_or(path).replacen("/src/", "/", 1);
    let inner = path.strip_prefix("src/").unwrap_or(&path).trim_end_matches(".rs");
    let inner = inner.strip_suffix("/mod").unwrap_or(inner);
    let parts = inner.split('/').filter(|part| !matches!(*part, "lib" | "main" | "mod"));
    std::iter::once("crate").chain(parts).map(|part| part.replace('-', "_")).collect()
}

/// The member of the workspace below `crates/` that a file belongs to.
fn member_of(path: &str) -> Option<String> {
    Some(path.strip_prefix("crates/")?.split_once('/')?.0.replace('-', "_"))
}

struct Collector {
    module: Vec<String>,
    member: Option<String>,
    in_test: bool,
    found: Vec<Named>,
}

impl Collector {
    fn add(&mut self, segments: &[String], line: usize) {
        let mut rest = segments;
        let mut absolute = match segments.first().map(String::as_str) {
            Some("self") => {
                rest = &segments[1..];
                self.module.clone()
            }
            Some("super") => self.module.clone(),
            Some("crate") => {
                rest = &segments[1..];
                std::iter::once("crate".to_owned()).chain(self.member.clone()).collect()
            }
            Some(first) if MEMBERS.contains(&first) => vec!["crate".to_owned()],
            _ => Vec::new(),
        };
        while rest.first().is_some_and(|segment| segment == "super") {
            absolute.pop();
            rest = &rest[1..];
        }
        absolute.extend_from_slice(rest);
        self.found.push(Named { segments: absolute, line, in_test: self.in_test });
    }

    fn add_use_tree(&mut self, tree: &syn::UseTree, prefix: &mut Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.add_use_tree(&path.tree, prefix);
                prefix.pop();
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_use_tree(tree, prefix);
                }
            }
            syn::UseTree::Name(syn::UseName { ident }) | syn::UseTree::Rename(syn::UseRename { ident, .. }) => {
                prefix.push(ident.to_string());
                self.add(prefix, ident.span().start().line);
                prefix.pop();
            }
            syn::UseTree::Glob(glob) => self.add(prefix, glob.span().start().line),
        }
    }

    /// Macros are not parsed: any `a::b::c` among their tokens counts as a path.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut line, mut colons) = (Vec::new(), 0, 0);
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.end_path(&mut path, line);
                    }
                    line = ident.span().start().line;
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.end_path(&mut path, line);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.add_tokens(group.stream());
                    }
                }
            }
        }
        self.end_path(&mut path, line);
    }

    fn end_path(&mut self, path: &mut Vec<String>, line: usize) {
        if path.len() > 1 {
            self.add(path, line);
        }
        path.clear();
    }

    fn within(&mut self, attributes: &[syn::Attribute], visit: impl FnOnce(&mut Self)) {
        let before = self.in_test;
        self.in_test |= is_test_only(attributes);
        visit(self);
        self.in_test = before;
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.module.push(module.ident.to_string());
        self.within(&module.attrs, |this| visit::visit_item_mod(this, module));
        self.module.pop();
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.within(&function.attrs, |this| visit::visit_item_fn(this, function));
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.within(&item.attrs, |this| this.add_use_tree(&item.tree, &mut Vec::new()));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.add(&segments, path.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        self.add_tokens(called.tokens.clone());
        visit::visit_macro(self, called);
    }
}

#[test]
fn paths_are_found_wherever_they_stand() {
    let text = "use crate::{domain::Event, edges};\nuse super::ports::*;\nmod inner { use super::x; }\n\
        #[cfg(test)] mod tests { fn f() { assert!(tokio::time::x(1)); } }\nfn g() -> std::io::Result<()> { self::h::i() }";
    let syntax = syn::parse_file(text).unwrap();
    let source = Source { path: "src/app/task.rs".into(), text: text.into(), syntax, is_test: false };
    let found = named(&source);
    let found: Vec<(String, bool)> = found.iter().map(|named| (named.segments.join("::"), named.in_test)).collect();
    for (path, in_test) in [
        ("crate::domain::Event", false),
        ("crate::edges", false),
        ("crate::app::ports", false),
        ("crate::app::task::x", false),
        ("tokio::time::x", true),
        ("std::io::Result", false),
        ("crate::app::task::h::i", false),
    ] {
        assert!(found.contains(&(path.to_owned(), in_test)), "{path} is not in {found:?}");
    }
}

#[test]
fn members_of_the_workspace_count_as_modules_of_one_crate() {
    let text = "use crate::record::TaskId; use super::task; fn f() { streams::ports::x() }";
    let syntax = syn::parse_file(text).unwrap();
    let source = Source { path: "crates/streams/src/ports/log.rs".into(), text: text.into(), syntax, is_test: false };
    let found: Vec<String> = named(&source).iter().map(|named| named.segments.join("::")).collect();
    for path in ["crate::streams::record::TaskId", "crate::streams::ports::task", "crate::streams::ports::x"] {
        assert!(found.contains(&path.to_owned()), "{path} is not in {found:?}");
    }
}
