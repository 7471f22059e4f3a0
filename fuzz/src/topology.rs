//! Topology files (`config`): every complaint points at text that is there, and a file that is
//! accepted can be built, described, and read again with its variables filled in.

use helixstream::Program;
use helixstream::app::topology_description::describe;
use helixstream::app::topology_from_file::build;
use helixstream::edges::cli::DescribeFormat;
use helixstream::script::{self, Budget, ExpressionCompiler, Script};
use helixstream::topology_file::expression::{Flaw, Scripting};
use helixstream::topology_file::problem::Problems;
use helixstream::topology_file::setting::ScriptLimits;
use helixstream::topology_file::variables::{Variables, of_process};
use helixstream::topology_file::{ParseOptions, Topology, filled};
use testkit::Random;

use crate::plain::Target;

/// The target, with the inputs of its plain form.
pub const TARGET: Target = Target {
    name: "topology",
    check,
    generate,
    dictionary: DICTIONARY,
    shared: &["topologies", "tests/topology/wrong"],
    inputs: 500,
};

const FILE: &str = "topology.toml";

/// Reads the bytes as a topology file; returns whether it is accepted.
///
/// # Panics
/// A property does not hold.
pub fn check(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    match read(text, Variables::From(&of_process)) {
        Ok(file) => {
            assert_describes_itself(&file, text);
            true
        }
        Err(problems) => {
            assert_points_at_text(&problems);
            false
        }
    }
}

fn read(text: &str, variables: Variables<'_>) -> Result<Topology, Problems> {
    let operators = Program::default().operators;
    ParseOptions { operators: &operators, variables, alone: Some(&[]), scripting: Some(&Rhai) }.read(FILE, text)
}

/// Rhai, as the program looks into expressions; files of scripts are not looked at.
struct Rhai;

impl Scripting for Rhai {
    fn file(&self, _: &str, _: &str) -> Option<Result<(String, String), String>> {
        None
    }

    fn resolver(&self, text: &str, limits: &ScriptLimits) -> Result<(), Flaw> {
        Script::check(text, budget(limits)).map_err(flaw)
    }

    fn expression(&self, text: &str, has_aggregate: bool, limits: &ScriptLimits) -> Result<(), Flaw> {
        ExpressionCompiler::new(budget(limits)).check(text, has_aggregate).map_err(flaw)
    }
}

fn budget(limits: &ScriptLimits) -> Budget {
    Budget { operations: limits.operations, bytes: limits.bytes, items: limits.items, depth: limits.depth }
}

fn flaw(flaw: script::Flaw) -> Flaw {
    Flaw { code: flaw.code, at: flaw.at, message: flaw.message, fix: flaw.fix }
}

/// Every complaint has a message, a fix and a place: at most one line, within the text, between
/// characters.
fn assert_points_at_text(problems: &Problems) {
    assert!(!problems.list.is_empty(), "a file is refused without a reason");
    for problem in &problems.list {
        assert!(!problem.message.is_empty() && !problem.fix.is_empty(), "{problem:?}");
        let text = problem.elsewhere.as_deref().map_or(&problems.text, |(_, text)| text);
        let place = text.get(problem.span.clone());
        assert!(place.is_some_and(|place| !place.contains('\n')), "{problem:?} of {text:?}");
    }
    for colour in [false, true] {
        let shown = problems.render(colour);
        assert!(shown.matches("error").count() >= problems.list.len(), "{shown}");
    }
}

/// The engine accepts the file, and its text with its variables filled in, as state directories
/// keep it, is the same topology.
fn assert_describes_itself(file: &Topology, text: &str) {
    if let Err(error) = build(file, &None) {
        panic!("the check passes what the engine refuses: {error:?}");
    }
    let kept = filled(FILE, text).unwrap_or_else(|problems| panic!("{problems}")).to_string();
    let again = read(&kept, Variables::Filled).unwrap_or_else(|problems| panic!("{problems}"));
    for format in [DescribeFormat::Text, DescribeFormat::Mermaid, DescribeFormat::Dot, DescribeFormat::Json] {
        let [first, second] =
            [file, &again].map(|file| describe(file, format).unwrap_or_else(|error| panic!("{error:?}")));
        assert!(!first.is_empty());
        assert_eq!(first, second);
    }
}

const DICTIONARY: &[&[u8]] = &[
    b"[[source]]\n",
    b"[[processor]]\n",
    b"[[sink]]\n",
    b"[[store]]\n",
    b"[[script]]\n",
    b"[dead_letters]\n",
    b"[resolver]\n",
    b"[kafka]\n",
    b"[run]\n",
    b"name = \"a\"\n",
    b"topic = \"t\"\n",
    b"from = [\"a\"]\n",
    b"operator = \"filter\"\n",
    b"operator = \"resolve\"\n",
    b"partitions = 0\n",
    b"when = 'value.n > 1'\n",
    b"retention = \"1d\"\n",
    b"${HOME}",
    b"${A:-x}",
    b"$${",
    b"${",
    b"\"\"\"",
    b"'",
    b"\"",
    b" = ",
    b"\n",
    b"#",
    b"{",
    b"}",
    b"[",
    b"]",
    b"1e9",
    b"-1",
    b"true",
    b"1979-05-27T07:32:00Z",
    b"\xc3\xa9",
    b"\xf0\x9f\x8d\xb5",
];

/// A chain of generic operators between a source and a sink, mostly sound.
fn generate(random: &mut Random) -> Vec<u8> {
    let mut text = String::from(
        "application_id = \"app\"\n[dead_letters]\ntopic = \"dead\"\npartitions = 1\n\
         [[source]]\nname = \"in\"\ntopic = \"events\"\npartitions = 3\n",
    );
    if random.one_in(2) {
        text =
            text.replace("\"app\"", random.pick(&["\"${APP:-app}\"", "\"${A:-a}-b\"", "'app-1'", "\"\"\"app\"\"\""]));
    }
    let mut from = String::from("in");
    for index in 0..random.below(5) {
        let name = format!("{}{index}", if random.one_in(20) { "é." } else { "p" });
        let operator = random.pick(&[
            "operator = \"filter\"\nwhen = 'value.n > 1'",
            "operator = \"map\"\nset = { n = 'value.n + 1' }",
            "operator = \"map\"\nkeep = [\"a\", \"b.c\"]",
            "operator = \"rekey\"\nkey = 'value.k'",
            "operator = \"branch\"\nbranches = { a = 'value.n == 1' }",
        ]);
        let operator = if random.one_in(20) { "operator = \"filter\"\nwhen = 'value.'" } else { operator };
        text += &format!("[[processor]]\nname = \"{name}\"\nfrom = [\"{from}\"]\n{operator}\n");
        from = name + if operator.contains("branch") { ".a" } else { ".records" };
    }
    text += &format!(
        "[[sink]]\nname = \"out\"\ntopic = \"out\"\npartitions = {}\nfrom = \"{from}\"\n",
        random.pick(&["1", "3", "\"${N:-2}\"", "300", "12", "0"])
    );
    text.into_bytes()
}
