//! The resolvers of their own that a topology file names: scripts, each in a file beside it or in the file itself.

use super::keys::SCRIPT;
use super::table::{At, Doc, Table};

/// A script that strategies may name.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// Its name.
    pub name: String,
    /// The file that it stands in, from the folder of the topology file; none where its text is in that file.
    pub file: Option<At<String>>,
    /// Its text; empty until the file is read.
    pub text: String,
}

/// Reads the scripts of a file; what is wrong with them is noted in `doc`.
pub fn read<'d>(doc: &'d Doc<'d>, root: &Table<'d, '_>) -> Vec<Script> {
    let mut scripts: Vec<Script> = Vec::new();
    for t in root.sections(&SCRIPT).0 {
        let (name, file, source) = (t.text("name"), t.text("file"), t.text("source"));
        match (&file, &source) {
            (Some(file), Some(_)) => {
                let message = format!("{} has both a `file` and a `source`", t.what);
                doc.wrong(&file.span, message, "keep one of the two");
            }
            (None, None) if !t.has("file") && !t.has("source") && !t.misspells(&["file", "source"]) => {
                let fix = "name its file: `file = \"scripts/longest.rhai\"`";
                doc.wrong(&t.span, format!("{} has neither a `file` nor a `source`", t.what), fix);
            }
            _ => {}
        }
        let Some(name) = name else { continue };
        if scripts.iter().any(|s| s.name == name.value) {
            let message = format!("two scripts are named `{}`", name.value);
            doc.wrong(&name.span, message, "give one of them another name");
            continue;
        }
        scripts.push(Script {
            name: name.value.to_owned(),
            file: file.map(|f| At { value: f.value.to_owned(), span: f.span }),
            text: source.map_or(String::new(), |s| s.value.to_owned()),
        });
    }
    scripts
}

/// The names of all resolvers: those of scripts, and those that the program has `registered`.
pub fn names<'n>(scripts: &'n [Script], registered: &[&'n str]) -> Vec<&'n str> {
    scripts.iter().map(|s| s.name.as_str()).chain(registered.iter().copied()).collect()
}
