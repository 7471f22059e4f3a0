//! Custom resolvers of a topology file: scripts, each in a file beside it or in the file itself.

use super::codes;
use super::expression::Scripting;
use super::keys::SCRIPT;
use super::problem::Problem;
use super::setting::ScriptLimits;
use super::table::{At, Doc, Table};

/// A script that strategies may name.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// Its name.
    pub name: String,
    /// The file that it stands in, from the folder of the topology file; none where its text is in
    /// that file.
    pub file: Option<At<String>>,
    /// Its text; empty until the file is read.
    pub text: String,
    /// Where its text stands in the topology file, if it stands there.
    pub source: Option<std::ops::Range<usize>>,
}

/// Reads the files of scripts, and notes what is wrong with their texts.
pub fn check(doc: &Doc<'_>, topology: &str, scripts: &mut [Script], scripting: &dyn Scripting, limits: &ScriptLimits) {
    for script in scripts {
        let mut place = None;
        if let Some(file) = &script.file {
            match scripting.file(topology, &file.value) {
                None => continue,
                Some(Ok((path, text))) => (place, script.text) = (Some(path), text),
                Some(Err(why)) => {
                    let fix = "write the path of a file, relative to the folder of this topology file";
                    doc.wrong(&file.span, codes::UNREADABLE_SCRIPT, why, fix);
                    continue;
                }
            }
        } else if script.source.is_none() {
            continue;
        }
        let Err(flaw) = scripting.resolver(&script.text, limits) else { continue };
        match (place, &script.file, &script.source) {
            (Some(path), Some(file), _) => {
                let problem = Problem::at(&script.text, flaw.at..flaw.at + 1, flaw.code, flaw.message, flaw.fix);
                doc.wrong_elsewhere(&file.span, problem.of(&path, &script.text));
            }
            (_, _, Some(span)) => {
                doc.wrong(&doc.within(span, &script.text, flaw.at), flaw.code, flaw.message, flaw.fix);
            }
            _ => {}
        }
    }
}

/// Reads the scripts of a file; what is wrong with them is noted in `doc`.
pub fn read<'d>(doc: &'d Doc<'d>, root: &Table<'d, '_>) -> Vec<Script> {
    let mut scripts: Vec<Script> = Vec::new();
    for t in root.sections(&SCRIPT).0 {
        let name = t.text("name");
        let file = t.text("file");
        let source = t.text("source");
        match (&file, &source) {
            (Some(file), Some(_)) => {
                let message = format!("{} has both a `file` and a `source`", t.what);
                doc.wrong(&file.span, codes::CONFLICTING_SETTINGS, message, "remove one of the two");
            }
            (None, None) if !t.has("file") && !t.has("source") && !t.misspells(&["file", "source"]) => {
                let fix = "add its file, for example `file = \"scripts/longest.rhai\"`";
                let message = format!("{} has neither a `file` nor a `source`", t.what);
                doc.wrong(&t.span, codes::MISSING_KEY, message, fix);
            }
            _ => {}
        }
        let Some(name) = name else { continue };
        if scripts.iter().any(|s| s.name == name.value) {
            let message = format!("two scripts have the name `{}`", name.value);
            doc.wrong(&name.span, codes::DUPLICATE_NAME, message, "choose another name for one of them");
            continue;
        }
        scripts.push(Script {
            name: name.value.to_owned(),
            file: file.map(|f| At { value: f.value.to_owned(), span: f.span }),
            text: source.as_ref().map_or(String::new(), |s| s.value.to_owned()),
            source: source.map(|s| s.span),
        });
    }
    scripts
}

/// The names of all resolvers: those of scripts, and those that the program has `registered`.
pub fn names<'n>(scripts: &'n [Script], registered: &[&'n str]) -> Vec<&'n str> {
    scripts.iter().map(|s| s.name.as_str()).chain(registered.iter().copied()).collect()
}
