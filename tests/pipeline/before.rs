//! Whatever programs of earlier commits have written is read: `tests/fixtures/before-11` and
//! `tests/fixtures/before-13`, which the script `make` in each of them describes.

use crate::events::Events;
use crate::expect;
use crate::instance::Instance;
use crate::mirrored::assert_outputs_mirrored;
use crate::support::Helix;
use crate::trial::{Trial, assert_mirrored, database};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use testkit::broker::More;
use testkit::process::temp_dir;
use testkit::{Broker, postgres, records, repo_path};

/// A folder of fixtures. Its name is also the application id, and the beginning of the topics'
/// names.
#[derive(Clone, Copy)]
struct Fixtures(&'static str);

impl Fixtures {
    fn file(self, name: &str) -> PathBuf {
        repo_path("tests/fixtures").join(self.0).join(name)
    }

    /// The content of a compressed file.
    fn decompressed(self, name: &str) -> String {
        let output = Command::new("gzip").args(["-dc"]).arg(self.file(name)).output().expect("start gzip");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Unpacks an archive into a folder that is not there yet.
    fn unpack(self, name: &str, folder: PathBuf) -> PathBuf {
        std::fs::create_dir(&folder).unwrap();
        let status =
            Command::new("tar").arg("-xzf").arg(self.file(name)).arg("-C").arg(&folder).status().expect("start tar");
        assert!(status.success(), "{name}");
        folder
    }

    /// The application as the earlier program left it, on a broker that goes on with the data of
    /// the one that it ran on; and the state folder.
    fn trial(self) -> (Trial, String) {
        let data = self.unpack("kafka.tar.gz", temp_dir(self.0).join("data"));
        // The fixtures are older than what a broker forgets by default: a store that was idle for
        // longer than its changelog keeps tombstones (a day) is restored anew, and offsets of a
        // group without members expire (a week).
        let properties = "log.cleaner.delete.retention.ms=9000000000000\noffsets.retention.minutes=2000000000\n";
        let more = More { data: Some(data), properties: properties.to_owned(), ..More::default() };
        let broker = Arc::new(Broker::start_with_more(more));
        let text = std::fs::read_to_string(self.file("topology.toml")).unwrap();
        let trial = Trial::begun_before(self.0, &text, &["snapshot_interval=5s"], broker);
        let kept = self.unpack("state.tar.gz", PathBuf::from(trial.path("kept"))).display().to_string();
        let written = sorted(&self.decompressed("state.jsonl.gz"));
        assert_eq!(dumped(&kept), written, "the state directory is read as it was written");
        (trial, kept)
    }
}

/// The records that a restore of all stores reads.
fn changes(trial: &Trial) -> u64 {
    trial.changelogs().iter().map(|topic| records::read_committed(trial.broker(), topic).len() as u64).sum()
}

/// What `state dump` says of the state of a stopped instance, sorted.
fn dumped(folder: &str) -> Vec<String> {
    sorted(&Helix::run_ok(&["state", "dump", "--state-dir", folder]).stdout)
}

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn one_thread(trial: &Trial, state: &str, url: &str) -> Instance {
    trial.start(state, &["--threads", "1", "--postgres-url", url])
}

#[test]
fn state_topics_and_mirror_of_the_commit_before_issue_11_go_on() {
    let fixtures = Fixtures("before-11");
    let (trial, kept) = fixtures.trial();
    let written = dumped(&kept);
    let (dump, url) = (trial.path("mirror.sql"), database());
    std::fs::write(&dump, fixtures.decompressed("mirror.sql.gz")).unwrap();
    postgres::run_file(&url, &dump);
    let before = trial.read("snapshots").len();
    assert!(before > 0 && written.len() > 10);

    // The folder's position, the offsets' metadata and the changelogs agree: nothing is restored,
    // and nothing comes out.
    let mut instance = one_thread(&trial, "kept", &url);
    instance.wait_until_ready();
    trial.wait_until_done(&mut [&mut instance]);
    assert_eq!(instance.restored(), 0);
    assert_eq!(instance.records(), 0, "nothing is processed again");
    instance.stop();
    assert_eq!(dumped(&kept), written);
    assert_eq!(trial.read("snapshots").len(), before);

    // The changelogs alone give the same state.
    let mut instance = one_thread(&trial, "fresh", &url);
    instance.wait_until_ready();
    assert_eq!(instance.restored(), changes(&trial));
    instance.stop();
    assert_eq!(dumped(&trial.path("fresh")), written);

    // All goes on, and the outputs of both programs together are those of one.
    let mut instance = one_thread(&trial, "kept", &url);
    trial.feed(&Events::new(25, 10).take(200));
    trial.wait_until_done(&mut [&mut instance]);
    let events = expect::assert_outputs(&trial);
    assert_mirrored(&url, &events);
    assert_outputs_mirrored(&url, &trial);
    instance.stop();
}

/// The program was killed in mid-stream, with a transaction open.
const KILLED: Fixtures = Fixtures("before-13");

#[test]
fn state_that_the_commit_before_issue_13_left_in_mid_stream_is_gone_on_with() {
    let (trial, kept) = KILLED.trial();
    let before = trial.read("snapshots").len();
    let mut instance = trial.start("kept", &["--threads", "2", "--no-mirror"]);
    trial.wait_until_done(&mut [&mut instance]);
    assert_eq!(instance.restored(), 0, "the state folder is at the commits of the old program");
    instance.wait_until_answered();
    instance.stop();
    expect::assert_outputs(&trial);
    assert!(before > 0 && trial.read("snapshots").len() > before, "each program has done a part");

    // The changelogs, which both programs have written to, give the same state.
    let mut instance = trial.start("fresh", &["--threads", "1", "--no-mirror"]);
    instance.wait_until_ready();
    assert_eq!(instance.restored(), changes(&trial));
    instance.stop();
    assert_eq!(dumped(&trial.path("fresh")), dumped(&kept));
}

#[test]
fn changelogs_of_the_commit_before_issue_13_are_restored_in_mid_stream() {
    let (trial, _) = KILLED.trial();
    let written = changes(&trial);
    let mut instance = trial.start("fresh", &["--threads", "2", "--no-mirror"]);
    trial.wait_until_done(&mut [&mut instance]);
    assert!(instance.restored() >= written, "{} of {written} records", instance.restored());
    instance.stop();
    expect::assert_outputs(&trial);
}
