//! The screen of `make run`: two nodes write the same memory while they cannot see each other. The
//! real script runs with a Kafka and a PostgreSQL of its own, and leaves no process behind.

use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use testkit::process::Process;
use testkit::{LIMIT, wait_for};

use super::{checkout, make, noting};

/// A `make run` of a checkout, and its screen.
struct Screen {
    run: Process,
    checkout: PathBuf,
}

impl Screen {
    fn start(checkout: &Path, bin: &Path) -> Screen {
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let target = Path::new(env!("CARGO_BIN_EXE_helixstream")).ancestors().nth(2).unwrap().to_owned();
        let mut run = make(checkout, &["run"]);
        let said = std::fs::File::create(checkout.join("said")).unwrap();
        run.env("PATH", path).env("CARGO_TARGET_DIR", target).stdin(std::process::Stdio::null());
        run.stdout(said.try_clone().unwrap()).stderr(said);
        let run = Process::start(run, Signal::TERM).unwrap();
        Screen { run, checkout: checkout.to_owned() }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.checkout.join("said")).unwrap()
    }

    fn wait_for(&mut self, text: &str) {
        wait_for(&format!("make run to show {text:?}"), || {
            assert!(self.run.poll().is_none(), "make run ended:\n{}", self.text());
            self.text().contains(text).then_some(())
        });
    }

    /// The cells of the table below a line that begins with this title.
    #[track_caller]
    fn table(&self, title: &str) -> Vec<Vec<String>> {
        let text = self.text();
        let below =
            text.split_once(&format!("\n== {title}")).unwrap_or_else(|| panic!("{title:?} is missing:\n{text}")).1;
        // A log line of the stream may stand between any two lines of the table. The first row has
        // the names of the columns.
        let part = below.lines().take_while(|line| !line.starts_with("== "));
        let rows = part.filter(|line| line.contains('│')).skip(1);
        rows.map(|row| row.split('│').map(|cell| cell.trim().to_owned()).collect()).collect()
    }
}

/// The processes that work in a checkout, or in the data of its PostgreSQL, with their names.
fn processes(checkout: &Path) -> Vec<String> {
    let mut folders = vec![checkout.to_owned()];
    folders.extend(std::fs::canonicalize(checkout.join(".dev/postgres")));
    let names = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let process = entry.ok()?.path();
        let folder = std::fs::read_link(process.join("cwd")).ok()?;
        let is_ours = folders.iter().any(|ours| folder.starts_with(ours));
        is_ours.then(|| std::fs::read_to_string(process.join("comm")).unwrap_or_default().trim().to_owned())
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[track_caller]
fn wait_for_none(checkout: &Path) {
    wait_for("every process of make run to end", || {
        let left = processes(checkout);
        if left.is_empty() { Some(()) } else { None }
    });
}

/// Removes the data of PostgreSQL where it lies elsewhere, as `make clean` does.
struct Data(PathBuf);

impl Drop for Data {
    fn drop(&mut self) {
        if let Ok(elsewhere) = std::fs::read_link(self.0.join(".dev/postgres")) {
            let _ = std::fs::remove_dir_all(elsewhere);
        }
    }
}

#[test]
fn make_run_shows_two_nodes_in_conflict_and_leaves_no_process_behind() {
    let checkout = checkout();
    let _data = Data(checkout.clone());
    let bin = noting(&checkout, &[]);
    let mut screen = Screen::start(&checkout, &bin);
    screen.wait_for("== how to write to the nodes");

    // Node, content, importance, tags, pending, conflicts, clock.
    let (green, coffee) = ("drinks green tea in the morning", "drinks coffee");
    assert_eq!(
        screen.table("two nodes share a memory"),
        [
            ["laptop", "drinks tea", "", "", "false", "[]", "laptop:1"],
            ["phone", "drinks tea", "", "", "false", "[]", "laptop:1"],
        ]
    );
    assert_eq!(
        screen.table("cut off from Kafka, both write it"),
        [
            ["laptop", green, "0.9", "", "true", "[]", "laptop:2"],
            ["phone", coffee, "", r#"["drink"]"#, "true", "[]", "laptop:1 phone:1"],
        ]
    );
    let after = screen.table("both were killed (kill -9) and reach Kafka again");
    let [laptop, phone] = &after[..] else { panic!("{after:?}") };
    assert_eq!((&laptop[0][..], &phone[0][..], &laptop[1..]), ("laptop", "phone", &phone[1..]));
    let outcome = laptop[1].as_str();
    assert!([green, coffee].contains(&outcome), "{after:?}");
    assert_eq!(laptop[2..], ["0.9", r#"["drink"]"#, "false", r#"["content"]"#, "laptop:2 phone:1"]);
    let conflicts = screen.table("the conflict (Postgres, memory_conflicts_current)");
    let [conflict] = &conflicts[..] else { panic!("{conflicts:?}") };
    let contenders = format!("{coffee} against {green}");
    assert_eq!(conflict[..4], ["concurrent_update", "content", contenders.as_str(), outcome]);
    assert!(!conflict[4].is_empty(), "the reason is missing: {conflict:?}");

    let running = processes(&checkout);
    for (name, count) in [("helixstream", 3), ("java", 1), ("postgres", 1)] {
        let found = running.iter().filter(|one| one.starts_with(name)).count();
        assert!(found >= count, "{name}: {running:?}");
    }
    // The script itself, which can stop nothing then.
    let script = std::fs::read_to_string(checkout.join(".dev/lock")).unwrap();
    kill_process(Pid::from_raw(script.trim().parse().unwrap()).unwrap(), Signal::KILL).unwrap();
    wait_for_none(&checkout);

    // What is there goes on, and ends in good order.
    let mut screen = Screen::start(&checkout, &bin);
    screen.wait_for("PostgreSQL runs at");
    wait_for("the stream", || processes(&checkout).iter().any(|name| name == "helixstream").then_some(()));
    screen.run.signal(Signal::TERM);
    screen.run.wait(LIMIT).expect("make run ends after SIGTERM");
    wait_for_none(&checkout);
    assert!(screen.text().contains("stopping Kafka"), "{}", screen.text());
}
