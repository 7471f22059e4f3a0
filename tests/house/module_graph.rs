//! The modules of a crate and who of them names whom, read from the sources; `circles` has the rule
//! that is kept by it.

use super::is_test_only;
use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// A strongly connected component of more than one node.
#[derive(Debug)]
pub struct Circle {
    /// The module whose children it is among, from the root of the crate.
    pub level: Path,
    pub nodes: Vec<String>,
    /// For each edge within it the places of it, as `from -> to (file:line)`.
    edges: Vec<String>,
}

impl Circle {
    pub fn is_of(&self, nodes: &[&str]) -> bool {
        self.nodes.iter().map(String::as_str).eq(nodes.iter().copied())
    }

    pub fn shown(&self) -> String {
        format!("{}\n    {}", self.nodes.join(" - "), self.edges.join("\n    "))
    }
}

/// Names from the root of a crate, which itself is the empty path.
type Path = Vec<String>;

/// The circles at all levels of a crate, of which the files are given by their paths from `src`.
pub fn circles(files: &[(&str, &syn::File)]) -> Vec<Circle> {
    let mut modules = Modules::default();
    let mut scanned = Vec::new();
    for (path, syntax) in files {
        let module = module_of(path);
        modules.owner.insert(module.clone(), module.clone());
        let mut scanner = Scanner { at: module.clone(), file: module.clone(), modules: &mut modules, used: Vec::new() };
        scanner.visit_file(syntax);
        scanned.push((*path, module, scanner.used));
    }
    let mut edges: BTreeMap<(Path, Path), String> = BTreeMap::new();
    for (path, file, used) in &scanned {
        for Used { at, segments, line, is_import, is_reexport } in used {
            let target = if *is_import { modules.resolve(at, segments, 0) } else { modules.resolve_path(at, segments) };
            let Some(target) = target else { continue };
            let is_child = target.len() > file.len() && target.starts_with(file);
            if target != *file && !(*is_reexport && is_child) {
                edges.entry((file.clone(), target)).or_insert_with(|| format!("{path}:{line}"));
            }
        }
    }
    let levels: BTreeSet<Path> = scanned.iter().map(|(_, module, _)| module.clone()).collect();
    levels.iter().flat_map(|level| circles_of(level, &edges)).collect()
}

fn module_of(path: &str) -> Path {
    let inner = path.trim_end_matches(".rs");
    let parts = inner.split('/').filter(|part| !matches!(*part, "lib" | "mod"));
    parts.map(str::to_owned).collect()
}

fn circles_of(level: &Path, edges: &BTreeMap<(Path, Path), String>) -> Vec<Circle> {
    let node = |module: &Path| -> Option<String> {
        let below = module.strip_prefix(level.as_slice())?;
        Some(below.first().map_or("self".to_owned(), String::clone))
    };
    let mut graph: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for ((from, to), place) in edges {
        let (Some(from), Some(to)) = (node(from), node(to)) else { continue };
        graph.entry(to.clone()).or_default();
        let targets = graph.entry(from.clone()).or_default();
        if from != to {
            targets.entry(to).or_insert_with(|| place.clone());
        }
    }
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        graph.keys().map(|from| (from, reached(&graph, from))).collect();
    let mut found: Vec<Circle> = Vec::new();
    for node in graph.keys() {
        let with = |other: &&String| reached[node].contains(*other) && reached[*other].contains(node);
        let nodes: Vec<String> = graph.keys().filter(with).cloned().collect();
        if nodes.len() < 2 || nodes[0] != *node {
            continue;
        }
        let within = |(from, to): (&String, &String)| nodes.contains(from) && nodes.contains(to);
        let pairs = graph.iter().flat_map(|(from, to)| to.iter().map(move |(to, place)| (from, to, place)));
        let edges = pairs.filter(|(from, to, _)| within((from, to)));
        let edges = edges.map(|(from, to, place)| format!("{from} -> {to} ({place})")).collect();
        found.push(Circle { level: level.clone(), nodes, edges });
    }
    found
}

/// What can be reached from a node in one step or more.
fn reached<'g>(graph: &'g BTreeMap<String, BTreeMap<String, String>>, from: &str) -> BTreeSet<&'g String> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&String> = graph.get(from).into_iter().flat_map(BTreeMap::keys).collect();
    while let Some(next) = open.pop() {
        if found.insert(next) {
            open.extend(graph.get(next).into_iter().flat_map(BTreeMap::keys));
        }
    }
    found
}

/// The modules of a crate, and what their names mean.
#[derive(Default)]
struct Modules {
    /// All modules, also those inside of files, and the module that is the file.
    owner: BTreeMap<Path, Path>,
    /// Names that a module imports, and what they stand for, as written there.
    aliases: BTreeMap<(Path, String), Path>,
    /// Other crates that a module imports by their own names: `pub use streams;`.
    crates: BTreeSet<(Path, String)>,
    /// Modules from which a module imports everything.
    globs: BTreeMap<Path, Vec<Path>>,
    /// Names of items that a module defines.
    items: BTreeSet<(Path, String)>,
}

impl Modules {
    /// The file that defines what `segments` name in the module `at`; `None` where it is not of
    /// this crate.
    fn resolve(&self, at: &Path, segments: &[String], depth: usize) -> Option<Path> {
        let (mut at, mut rest) = (at.clone(), segments);
        let first = rest.first()?;
        if first == "crate" {
            (at, rest) = (Path::new(), &rest[1..]);
        } else if first == "self" {
            rest = &rest[1..];
        } else if first != "super" && !self.has(&at, first) {
            return None;
        }
        while rest.first().is_some_and(|segment| segment == "super") {
            at.pop();
            rest = &rest[1..];
        }
        self.walk(at, rest, depth)
    }

    /// As [`Modules::resolve`], for a path outside of imports. A single name does not stand for a
    /// module there: it is a variable's or a field's, unless an item of that name is imported.
    fn resolve_path(&self, at: &Path, segments: &[String]) -> Option<Path> {
        if let [name] = segments
            && self.owner.contains_key(&child(at, name))
        {
            if let Some(item) = self.aliases.get(&(at.clone(), name.clone())) {
                return self.resolve(at, item, 0);
            }
            let globs = self.globs.get(at).into_iter().flatten();
            let mut modules = globs.filter_map(|glob| self.resolve(at, glob, 0));
            return modules.find(|module| self.items.contains(&(module.clone(), name.clone())));
        }
        self.resolve(at, segments, 0)
    }

    fn has(&self, at: &Path, name: &str) -> bool {
        let key = (at.clone(), name.to_owned());
        self.owner.contains_key(&child(at, name)) || self.aliases.contains_key(&key) || self.items.contains(&key)
    }

    fn walk(&self, mut at: Path, mut rest: &[String], depth: usize) -> Option<Path> {
        // Imports may stand in a round: `use super::*` in a child, `pub use child::*` in its
        // parent.
        const DEEPEST: usize = 16;
        while let Some(name) = rest.first() {
            let inner = child(&at, name);
            if self.owner.contains_key(&inner) {
                (at, rest) = (inner, &rest[1..]);
                continue;
            }
            if self.crates.contains(&(at.clone(), name.clone())) {
                return None;
            }
            if depth < DEEPEST {
                if let Some(target) = self.aliases.get(&(at.clone(), name.clone())) {
                    let target = [target.as_slice(), &rest[1..]].concat();
                    return self.resolve(&at, &target, depth + 1);
                }
                if !self.items.contains(&(at.clone(), name.clone())) {
                    let globs = self.globs.get(&at).into_iter().flatten();
                    let mut modules = globs.filter_map(|glob| self.resolve(&at, glob, depth + 1));
                    if let Some(module) = modules.find(|module| *module != at && self.has(module, name)) {
                        return self.walk(module, rest, depth + 1);
                    }
                }
            }
            break;
        }
        self.owner.get(&at).cloned()
    }
}

fn child(at: &Path, name: &str) -> Path {
    [at.as_slice(), &[name.to_owned()]].concat()
}

/// A path that a file names.
struct Used {
    /// The module that it stands in.
    at: Path,
    segments: Path,
    line: usize,
    /// Whether it stands in a `use`.
    is_import: bool,
    is_reexport: bool,
}

/// Collects what a file defines, imports and names, without its tests.
struct Scanner<'m> {
    /// The module at this place of the file.
    at: Path,
    /// The module that the file is.
    file: Path,
    modules: &'m mut Modules,
    used: Vec<Used>,
}

impl Scanner<'_> {
    fn use_path(&mut self, segments: Path, line: usize) {
        self.used.push(Used { at: self.at.clone(), segments, line, is_import: false, is_reexport: false });
    }

    fn use_import(&mut self, segments: Path, line: usize, is_reexport: bool) {
        self.used.push(Used { at: self.at.clone(), segments, line, is_import: true, is_reexport });
    }

    fn import(&mut self, tree: &syn::UseTree, prefix: &mut Path, is_reexport: bool) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.import(&path.tree, prefix, is_reexport);
                prefix.pop();
            }
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.import(tree, prefix, is_reexport));
            }
            syn::UseTree::Name(syn::UseName { ident }) => self.import_name(prefix, ident, ident, is_reexport),
            syn::UseTree::Rename(syn::UseRename { ident, rename, .. }) => {
                self.import_name(prefix, ident, rename, is_reexport);
            }
            syn::UseTree::Glob(glob) => {
                self.modules.globs.entry(self.at.clone()).or_default().push(prefix.clone());
                self.use_import(prefix.clone(), glob.span().start().line, is_reexport);
            }
        }
    }

    fn import_name(&mut self, prefix: &Path, ident: &syn::Ident, name: &syn::Ident, is_reexport: bool) {
        let line = ident.span().start().line;
        let mut path = prefix.clone();
        if ident != "self" {
            path.push(ident.to_string());
        }
        let name = if name == "self" { path.last().cloned().unwrap_or_default() } else { name.to_string() };
        if path.len() > 1 || path.first() != Some(&name) {
            self.modules.aliases.insert((self.at.clone(), name), path.clone());
        } else {
            self.modules.crates.insert((self.at.clone(), name));
        }
        self.use_import(path, line, is_reexport);
    }

    /// Macros are not parsed: any `a::b::c` among their tokens counts as a path.
    fn tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut line, mut colons) = (Path::new(), 0, 0);
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 && !path.is_empty() {
                        self.use_path(std::mem::take(&mut path), line);
                    }
                    (line, colons) = (ident.span().start().line, 0);
                    path.push(ident.to_string());
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    if !path.is_empty() {
                        self.use_path(std::mem::take(&mut path), line);
                    }
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        if !path.is_empty() {
            self.use_path(path, line);
        }
    }
}

impl<'ast> Visit<'ast> for Scanner<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if is_test_only(attributes(item)) {
            return;
        }
        if let Some(name) = name_of(item) {
            self.modules.items.insert((self.at.clone(), name));
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !is_test_only(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if module.content.is_some() {
            self.at.push(module.ident.to_string());
            self.modules.owner.insert(self.at.clone(), self.file.clone());
            visit::visit_item_mod(self, module);
            self.at.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let is_reexport = !matches!(item.vis, syn::Visibility::Inherited);
        self.import(&item.tree, &mut Path::new(), is_reexport);
    }

    // `pub(in crate::a)` says who may see an item, not what the item uses.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.use_path(segments, path.span().start().line);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        visit::visit_path(self, &called.path);
        self.tokens(called.tokens.clone());
    }
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn name_of(item: &syn::Item) -> Option<String> {
    let name = match item {
        syn::Item::Const(item) => &item.ident,
        syn::Item::Enum(item) => &item.ident,
        syn::Item::Fn(item) => &item.sig.ident,
        syn::Item::Macro(item) => item.ident.as_ref()?,
        syn::Item::Static(item) => &item.ident,
        syn::Item::Struct(item) => &item.ident,
        syn::Item::Trait(item) => &item.ident,
        syn::Item::Type(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}
