//! Sizes that keep the code readable, and a first line that says why a file exists.

use super::{none, sources};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;
const ALL: &[&str] = &["src", "crates", "fuzz", "tests", "examples", "benches"];

#[test]
fn no_file_is_longer_than_500_lines() {
    let long = sources(ALL).into_iter().filter_map(|source| {
        let lines = source.text.lines().count();
        (lines > FILE_LINES).then(|| format!("{}: {lines} lines", source.path))
    });
    none("files have at most 500 lines: split by what they do", &long.collect::<Vec<_>>());
}

#[test]
fn no_function_is_longer_than_70_lines() {
    let mut long = Vec::new();
    for source in sources(ALL) {
        let mut functions = Functions { path: &source.path, long: &mut long };
        functions.visit_file(&source.syntax);
    }
    none("functions have at most 70 lines: split by what they do", &long);
}

#[test]
fn every_file_says_why_it_exists() {
    let silent = sources(ALL).into_iter().filter(|source| !source.text.starts_with("//! "));
    let silent: Vec<String> = silent.map(|source| format!("{}:1", source.path)).collect();
    none("a file opens with //! and why it exists", &silent);
}

struct Functions<'a> {
    path: &'a str,
    long: &'a mut Vec<String>,
}

impl Functions<'_> {
    fn check(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let (first, last) = (signature.span().start().line, block.span().end().line);
        let lines = last + 1 - first;
        if lines > FUNCTION_LINES {
            self.long.push(format!("{}:{first}: {} has {lines} lines", self.path, signature.ident));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.check(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.check(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.check(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }
}
