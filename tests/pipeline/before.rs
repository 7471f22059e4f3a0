//! Whatever the program of the commit before issue 11 has written is read:
//! `tests/fixtures/before-11`, which its script `make` describes.

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

/// The application id, and the beginning of the topics' names.
const NAME: &str = "before-11";

/// A file of the fixtures.
fn fixture(name: &str) -> PathBuf {
    repo_path("tests/fixtures").join(NAME).join(name)
}

/// The content of a compressed file.
fn decompressed(name: &str) -> String {
    let output = Command::new("gzip").args(["-dc"]).arg(fixture(name)).output().expect("start gzip");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Unpacks an archive into a folder that is not there yet.
fn unpack(name: &str, folder: PathBuf) -> PathBuf {
    std::fs::create_dir(&folder).unwrap();
    let status = Command::new("tar").arg("-xzf").arg(fixture(name)).arg("-C").arg(&folder).status().expect("start tar");
    assert!(status.success(), "{name}");
    folder
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
    let data = unpack("kafka.tar.gz", temp_dir(NAME).join("data"));
    // A store that was idle for longer than its changelog keeps tombstones, a day by default, is
    // restored anew. The fixture is older than that.
    let properties = "log.cleaner.delete.retention.ms=9000000000000\n".to_owned();
    let broker = Arc::new(Broker::start_with_more(More { data: Some(data), properties, ..More::default() }));
    let text = std::fs::read_to_string(fixture("topology.toml")).unwrap();
    let trial = Trial::begun_before(NAME, &text, &["snapshot_interval=5s"], broker.clone());
    let kept = unpack("state.tar.gz", PathBuf::from(trial.path("kept"))).display().to_string();
    let written = sorted(&decompressed("state.jsonl.gz"));
    assert_eq!(dumped(&kept), written, "the state directory is read as it was written");
    let (dump, url) = (trial.path("mirror.sql"), database());
    std::fs::write(&dump, decompressed("mirror.sql.gz")).unwrap();
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
    let changes: usize = trial.changelogs().iter().map(|topic| records::read_committed(&broker, topic).len()).sum();
    assert_eq!(instance.restored(), changes as u64);
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
