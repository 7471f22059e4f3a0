//! No circle among the modules of a crate: whoever reads a module can read first what it uses.
//!
//! A module is a file; a module written inside a file belongs to that file. Modules are compared
//! level by level: below each module its children are the nodes, each with all that lies in it, and
//! the items of the module's own file are a node beside them, called `self`. There is an edge where
//! a file names something of another node: in a `use`, a type, an expression or a macro. A name is
//! followed through the imports and re-exports of the module that it is taken from, so that
//! `ports::Clock` means `ports::clock` where `ports` only re-exports it.
//!
//! Four things are no edge: what tests name, links in comments, a variable or a field with the name
//! of a module, and the re-export (`pub use`) of a child. So a parent which only re-exports has no
//! edge to its children, and they may use its items freely. A parent that calls a child which uses
//! the parent's items is a circle: those items belong in a child of their own.
//!
//! A circle is a strongly connected component of more than one node. [`LEFT`] lists those that are
//! left; a new one does not get onto the list, and one that is gone or has become smaller must be
//! struck from it.

use super::module_graph::circles;
use super::{Source, none, sources};
use std::collections::BTreeMap;

/// The circles that are left: the module whose level it is, the nodes by name, and why it is left.
const LEFT: &[(&str, &[&str], &str)] = &[];

#[test]
fn no_circle_among_the_modules_of_a_crate() {
    let all: Vec<Source> = sources(&["src", "crates"]).into_iter().filter(|source| !source.is_test).collect();
    let mut by_crate: BTreeMap<String, Vec<&Source>> = BTreeMap::new();
    for source in &all {
        let (root, file) = split(&source.path);
        if file != "main.rs" {
            by_crate.entry(root.to_owned()).or_default().push(source);
        }
    }
    assert!(by_crate.len() > 10, "the sources of the crates are not found");
    let mut wrong = Vec::new();
    let mut is_found = vec![false; LEFT.len()];
    for (root, files) in by_crate {
        let files: Vec<(&str, &syn::File)> = files.iter().map(|file| (split(&file.path).1, &file.syntax)).collect();
        for circle in circles(&files) {
            let level = [&[root.clone(), "src".to_owned()][usize::from(root.is_empty())..], &circle.level].concat();
            let level = level.join("/");
            match LEFT.iter().position(|(at, nodes, _)| *at == level && circle.is_of(nodes)) {
                Some(at) => is_found[at] = true,
                None => wrong.push(format!("{level}: {}", circle.shown())),
            }
        }
    }
    let gone = LEFT.iter().zip(is_found).filter(|(_, is_found)| !is_found);
    wrong.extend(gone.map(|((level, nodes, _), _)| {
        format!("{level}: the circle {} is not there as listed: correct LEFT", nodes.join(" - "))
    }));
    none("modules of a crate in a circle: move what both need to a module of its own", &wrong);
}

/// The folder of a crate, and a file of it from its `src`.
fn split(path: &str) -> (&str, &str) {
    match path.split_once("/src/") {
        Some((root, file)) => (root, file),
        None => ("", path.trim_start_matches("src/")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::module_graph::circles;

    /// The circles of a crate of these files, as `level: nodes`.
    fn of(files: &[(&str, &str)]) -> Vec<String> {
        let parsed: Vec<(&str, syn::File)> =
            files.iter().map(|(path, text)| (*path, syn::parse_file(text).unwrap())).collect();
        let files: Vec<(&str, &syn::File)> = parsed.iter().map(|(path, file)| (*path, file)).collect();
        circles(&files).iter().map(|c| format!("{}: {}", c.level.join("/"), c.nodes.join(" "))).collect()
    }

    #[test]
    fn siblings_in_a_circle_are_found_however_long_it_is() {
        let lib = ("lib.rs", "mod a; mod b; mod c; mod d;");
        let three = [
            lib,
            ("a.rs", "use super::b::B; pub struct A;"),
            ("b.rs", "pub struct B; fn f() { crate::c::g() }"),
            ("c.rs", "pub fn g() { assert!(crate::a::A.is()); }"),
            ("d.rs", "use crate::a::A;"),
        ];
        assert_eq!(of(&three), [": a b c"]);
        let line = [lib, ("a.rs", "use super::b::B;"), ("b.rs", "pub struct B; use crate::c;"), ("c.rs", "")];
        assert!(of(&line).is_empty());
    }

    #[test]
    fn folders_are_compared_as_wholes_and_inside() {
        let files = [
            ("lib.rs", "pub mod a; pub mod b;"),
            ("a/mod.rs", "mod x; mod y; pub use x::X;"),
            ("a/x.rs", "use super::y::Y; pub struct X;"),
            ("a/y.rs", "use super::x::X; use crate::b::B; pub struct Y;"),
            ("b.rs", "pub struct B; impl B { fn f(a: &crate::a::X) {} }"),
        ];
        assert_eq!(of(&files), [": a b", "a: x y"]);
    }

    #[test]
    fn the_reexport_of_a_child_is_no_edge_and_is_followed() {
        let types = ("p/types.rs", "pub struct T;");
        // The child uses a sibling by the parent's re-export.
        let files = [
            ("lib.rs", "mod p;"),
            ("p/mod.rs", "mod types; mod user; pub use types::T; pub use user::use_it;"),
            types,
            ("p/user.rs", "use super::T; pub fn use_it(t: T) {}"),
        ];
        assert!(of(&files).is_empty(), "{:?}", of(&files));
        // The same where the re-exports are globs.
        let files = [
            ("lib.rs", "mod p;"),
            ("p/mod.rs", "mod types; mod user; pub use types::*; pub use user::*;"),
            types,
            ("p/user.rs", "use super::T; pub fn use_it(t: T) {}"),
        ];
        assert!(of(&files).is_empty(), "{:?}", of(&files));
    }

    #[test]
    fn a_parent_that_uses_a_child_which_uses_the_parent_is_a_circle() {
        let child = ("p/c.rs", "use super::T; pub struct C; pub fn f(t: T) {}");
        let with = |text| of(&[("lib.rs", "mod p;"), ("p/mod.rs", text), child]);
        assert!(with("mod c; pub use c::f; pub struct T;").is_empty());
        assert_eq!(with("mod c; pub struct T; fn g() { c::f(T) }"), ["p: c self"]);
        assert_eq!(with("mod c; pub struct T; use c::f;"), ["p: c self"]);
        // A name that is re-exported and used as well.
        assert_eq!(with("mod c; pub use c::C; pub struct T; fn g() -> C { C }"), ["p: c self"]);
    }

    #[test]
    fn a_variable_or_a_field_with_the_name_of_a_module_is_no_edge() {
        let child = ("p/text.rs", "use super::T; pub fn text(t: T) {}");
        let with = |text| of(&[("lib.rs", "mod p;"), ("p/mod.rs", text), child]);
        let variable = "mod text; pub struct T { text: u8 } fn f(text: u8) -> T { T { text } }";
        assert!(with(variable).is_empty(), "{:?}", with(variable));
        let field = "mod text; pub struct T { text: u8 } fn f(t: T) { println!(\"{}\", t.text.to_string()) }";
        assert!(with(field).is_empty(), "{:?}", with(field));
        // A function with the name of its module is one.
        assert_eq!(with("mod text; pub use text::text; pub struct T; fn f() { text(T) }"), ["p: self text"]);
        assert_eq!(with("mod text; pub use text::*; pub struct T; fn f() { text(T) }"), ["p: self text"]);
        assert_eq!(with("mod text; pub struct T; fn f() { text::text(T) }"), ["p: self text"]);
    }

    #[test]
    fn another_crate_that_the_root_passes_on_is_no_edge() {
        let files = [("lib.rs", "pub use streams; mod a; fn main() { a::f() }"), ("a.rs", "use crate::streams::Task;")];
        assert!(of(&files).is_empty(), "{:?}", of(&files));
        let files = [("lib.rs", "pub struct Task; mod a; fn main() { a::f() }"), ("a.rs", "use crate::Task;")];
        assert_eq!(of(&files), [": a self"]);
    }

    #[test]
    fn tests_comments_visibility_and_other_crates_are_no_edges() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use super::b::B;"),
            (
                "b.rs",
                "//! See [`super::a`].\n/// See [`crate::a::A`].\npub(in crate::a) struct B;\n#[cfg(test)] mod tests { use \
                 crate::a::A; }\n#[cfg(test)] use crate::a::A; use a::C; use std::a::D;",
            ),
        ];
        assert!(of(&files).is_empty(), "{:?}", of(&files));
    }
}
