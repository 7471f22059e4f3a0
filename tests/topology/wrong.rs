//! Wrong files, one for each kind of error, with several errors each: all of them are told at once,
//! and the whole of what is told is what `wrong/*.txt` keeps.

use crate::support::Helix;
use crate::{assert_kept, changed, here, topology};
use testkit::process::temp_dir;
use testkit::repo_path;

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let mut files: Vec<String> = std::fs::read_dir(here("wrong"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().unwrap().strip_suffix(".toml").map(str::to_owned))
        .collect();
    files.sort();
    assert!(files.len() > 10, "{files:?}");
    for file in files {
        let finished = topology(&here("wrong"), &["check", &format!("{file}.toml")]);
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(2), ""), "{file}: {finished:?}");
        assert_kept(&format!("wrong/{file}.txt"), &finished.stderr);
    }
}

#[test]
fn a_sound_file_is_told_in_one_line() {
    let folder = repo_path("topologies");
    for entry in std::fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            continue;
        }
        let name = entry.file_name().into_string().unwrap();
        let finished = topology(&folder, &["check", &name]);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert!(finished.stdout.starts_with(&format!("{name}: sound: ")), "{finished:?}");
        assert!(finished.stdout.lines().count() == 1 && finished.stderr.is_empty(), "{finished:?}");
    }
}

#[test]
fn other_commands_complain_in_the_same_words_and_without_colours() {
    let dir = temp_dir("topology");
    std::fs::write(dir.join("t.toml"), changed(&[("partitions = 12", "partitions = 0")])).unwrap();
    std::fs::write(dir.join("in.jsonl"), "").unwrap();
    let checked = topology(&dir, &["check", "t.toml"]);
    let run = |arguments: &[&str]| {
        let mut command = Helix::command();
        command.args(arguments).current_dir(&dir);
        Helix::spawn_command(command).finish()
    };
    let replay = run(&["replay", "--topology", "t.toml", "--input", "in.jsonl", "--output", "out"]);
    assert_eq!((replay.code, &replay.stderr), (Some(2), &checked.stderr));
    let started = run(&["run", "--topology", "t.toml", "--no-mirror"]);
    assert_eq!((started.code, &started.stderr), (Some(2), &checked.stderr));
    assert!(!checked.stderr.contains('\u{1b}'), "{}", checked.stderr);
}

#[test]
fn a_file_that_is_not_there_is_told() {
    let finished = topology(&here("wrong"), &["check", "nowhere.toml"]);
    finished.assert_failed(2, &["cannot read the topology file nowhere.toml", "[HS0010]"]);
}
