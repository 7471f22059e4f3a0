//! Modes of the state's folders and files, RocksDB's too, and what other users can do with them.
//! Whoever runs this needs to be root to be other users.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use crate::Trial;
use crate::http::{curl, make_token};
use crate::https::certificates;
use crate::support::{Finished, Helix};
use testkit::process::temp_dir;
use testkit::{Broker, SmallDisk, ports, wait_for};

/// Users and a group that no system has.
const FIRST: u32 = 61_001;
const SECOND: u32 = 61_002;
const GROUP: u32 = 61_003;

/// Every file and folder below `dir`, with `dir` itself: path and mode.
fn modes(dir: &Path) -> Vec<(PathBuf, bool, u32)> {
    let data = fs::metadata(dir).unwrap();
    let mut all = vec![(dir.to_owned(), data.is_dir(), data.mode() & 0o777)];
    if data.is_dir() {
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        // A file of RocksDB's may be gone by now.
        all.extend(entries.filter(|path| path.exists()).flat_map(|path| modes(&path)));
    }
    all
}

pub fn assert_modes(dir: &Path, folder: u32, file: u32) {
    let all = modes(dir);
    assert!(all.iter().any(|(path, ..)| path.ends_with("CURRENT")), "no database in {all:?}");
    for (path, is_dir, mode) in all {
        let expected = if is_dir { folder } else { file };
        assert_eq!(format!("{mode:o}"), format!("{expected:o}"), "{}", path.display());
    }
}

#[test]
fn state_is_for_its_user_alone_and_the_log_tells_of_what_lets_others_in() {
    let trial = Trial::new();
    assert_eq!(trial.topics("create").code, Some(0));
    trial.produce_samples();
    let dir = certificates();
    let tokens = dir.join("tokens");
    let token = make_token(&tokens, "me", &[]);
    let port = ports::free_port();
    let file = |name: &str| dir.join(name).display().to_string();
    let [ca, certificate, key, tokens] = ["ca.pem", "server.pem", "server.key", "tokens"].map(file);
    // Folders that are there already may be open to others.
    let state = Path::new(&trial.path("state")).to_owned();
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, Permissions::from_mode(0o777)).unwrap();
    let listen = format!("0.0.0.0:{port}");
    let tls = ["--http-tls-cert", &certificate, "--http-tls-key", &key, "--http-token-file", &tokens];
    let mut helix = trial.run(&[&["--http-listen", &listen, "--log-level", "trace"], &tls[..]].concat());
    let ask = |path: &str, more: &[&str]| {
        curl(&format!("https://localhost:{port}{path}"), &[&["--cacert", &ca], more].concat())
    };
    wait_for("the instance to be ready", || {
        assert!(helix.is_running(), "{}", helix.stderr());
        (ask("/ready", &[]).code == 200).then_some(())
    });
    let bearer = format!("Authorization: Bearer {token}");
    assert_eq!(ask("/metrics", &["-H", &bearer]).code, 200);
    assert_eq!(ask("/metrics", &["-H", "Authorization: Bearer geheim"]).code, 401);
    assert_eq!(ask("/login", &["--data-urlencode", &format!("token={token}")]).code, 303);
    assert_eq!(ask(&format!("/metrics?token={token}"), &[]).code, 401);
    assert_eq!(curl(&format!("http://localhost:{port}/"), &[]).code, 400);
    helix.wait_for_stderr("does not speak TLS");

    let slot = state.join("0");
    assert_eq!(fs::metadata(&state).unwrap().mode() & 0o777, 0o777, "a folder that is there keeps its mode");
    assert_modes(&slot, 0o700, 0o600);
    let said = helix.terminate();
    assert_eq!(said.code, Some(0), "{said:?}");
    let other = format!("every user can write to the state directory {} (mode 0777)", state.display());
    for part in [other.as_str(), "a token that is not in the token file was refused", "me logged in"] {
        assert!(said.stderr.contains(part), "no {part:?} in {}", said.stderr);
    }
    assert!(!said.stderr.contains(&token) && !said.stderr.contains("geheim"), "a token in the log");
    assert!(!said.stderr.contains(slot.to_str().unwrap()) || !said.stderr.contains("(mode 0700)"), "{}", said.stderr);
    assert_modes(&slot, 0o700, 0o600);
    // Another user cannot read it, whatever the folder above allows.
    let read = As { user: FIRST, group: GROUP }.helix(&["state", "dump", "--state-dir", &trial.path("state")]);
    read.assert_failed(1, &["Permission denied"]);
}

/// The binary as another user, who cannot reach the target folder.
struct As {
    user: u32,
    group: u32,
}

impl As {
    fn command(&self, arguments: &[&str]) -> std::process::Command {
        static COPY: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
        let copy = COPY.get_or_init(|| {
            let copy = temp_dir("binary").join("helixstream");
            fs::copy(env!("CARGO_BIN_EXE_helixstream"), &copy).unwrap();
            fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
            copy
        });
        let mut command = std::process::Command::new(copy);
        command.args(arguments);
        SmallDisk::as_user(&command, (self.user, self.group))
    }

    fn helix(&self, arguments: &[&str]) -> Finished {
        Helix::spawn_command(self.command(arguments)).finish()
    }

    /// Runs until all tasks run and so many records at least, and all that there are, are
    /// processed; what it said then.
    fn run_through(&self, trial: &Trial, access: &str, records: f64) -> String {
        let (file, broker, state) = (trial.path("t.toml"), Broker::shared().bootstrap(), trial.path("state"));
        let http = ports::free_port().to_string();
        let fixed = ["run", "--topology", &file, "--bootstrap-servers", &broker, "--state-dir", &state, "--no-mirror"];
        let more = ["--http-listen", &http, "--state-access", access];
        let mut helix = Helix::spawn_command(self.command(&[&fixed[..], &more].concat()));
        wait_for("the instance to be ready", || {
            assert!(helix.is_running(), "{}", helix.stderr());
            trial.is_through(&format!("127.0.0.1:{http}"), records)
        });
        let finished = helix.terminate();
        assert_eq!(finished.code, Some(0), "{finished:?}");
        finished.stderr
    }
}

#[test]
fn a_group_shares_the_state_where_a_setting_says_so() {
    let trial = Trial::new();
    assert_eq!(trial.topics("create").code, Some(0));
    trial.produce_samples();
    // As Kubernetes gives a volume with fsGroup: root's, of the group, what is made in it too.
    let state = PathBuf::from(trial.path("state"));
    fs::create_dir(&state).unwrap();
    chown(&state, Some(0), Some(GROUP)).unwrap();
    fs::set_permissions(&state, Permissions::from_mode(0o2770)).unwrap();
    let (first, second) = (As { user: FIRST, group: GROUP }, As { user: SECOND, group: GROUP });
    let stranger = As { user: SECOND, group: SECOND };
    let dump = ["state", "dump", "--state-dir", state.to_str().unwrap()];

    let said = first.run_through(&trial, "group_read", 603.0);
    assert!(said.contains(&format!("group {GROUP} can write to the state directory {}", state.display())), "{said}");
    assert_modes(&state.join("0"), 0o750, 0o640);
    let read = second.helix(&dump);
    assert!(read.code == Some(0) && read.stdout.lines().count() > 10, "{}", read.stderr);
    stranger.helix(&dump).assert_failed(1, &["Permission denied"]);

    // A folder that is there keeps its mode: a volume that is to be shared for writing begins
    // empty.
    fs::remove_dir_all(state.join("0")).unwrap();
    let said = first.run_through(&trial, "group_write", 0.0);
    assert!(!said.contains("can write to the state directory"), "{said}");
    let (folders, files): (Vec<_>, Vec<_>) = modes(&state.join("0")).into_iter().partition(|(_, is_dir, _)| *is_dir);
    assert!(folders.iter().all(|(_, _, mode)| *mode == 0o770), "{folders:?}");
    assert!(files.iter().all(|(_, _, mode)| mode & 0o007 == 0 && mode & 0o040 != 0), "{files:?}");
    second.run_through(&trial, "group_write", 0.0);
    first.run_through(&trial, "group_write", 0.0);
    assert!(first.helix(&dump).stdout == read.stdout, "the state has changed");
}
