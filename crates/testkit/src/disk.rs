//! A disk that can be full: a small file system in memory, in a mount namespace of its own, so that
//! nobody else sees it.

use super::process::{Process, temp_dir};
use super::{skip, wait_for};
use rustix::process::Signal;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The small disk; gone when dropped. Processes that are to see it are started with
/// [`SmallDisk::inside`].
#[derive(Debug)]
pub struct SmallDisk {
    /// Sits in the namespace and keeps it.
    holder: Process,
    path: PathBuf,
}

/// File that `fill` creates and `free` removes.
const BALLAST: &str = "ballast";

impl SmallDisk {
    /// A disk of so many MiB that belongs to a user and group. `None` where the system does not let
    /// us and that is allowed: see [`skip`].
    pub fn new(mib: usize, (user, group): (u32, u32)) -> Option<SmallDisk> {
        if !rustix::process::geteuid().is_root() {
            skip::allow("small-disk", "only root may mount the small disk that this test fills");
            return None;
        }
        let dir = temp_dir("disk");
        let path = dir.join("mounted");
        let ready = dir.join("ready");
        std::fs::create_dir(&path).unwrap();
        let mut command = Command::new("unshare");
        let script = r#"mount -t tmpfs -o "$1" tmpfs "$2" && : >"$3" && exec sleep infinity"#;
        command.args(["--mount", "sh", "-c", script, "disk"]);
        command.arg(format!("size={mib}m,mode=755,uid={user},gid={group}")).arg(&path).arg(&ready);
        command.stdin(Stdio::null());
        let mut holder = Process::start(command, Signal::KILL).expect("start unshare");
        let mounted = wait_for("the small disk", || match ready.exists() {
            true => Some(true),
            false => holder.poll().map(|_| false),
        });
        if !mounted {
            skip::allow("small-disk", "the system does not let us mount the small disk that this test fills");
            return None;
        }
        Some(SmallDisk { holder, path })
    }

    /// Where it is mounted, for those inside.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same folder for us, who are outside.
    pub fn outside(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.pid()));
        root.join(self.path.strip_prefix("/").unwrap())
    }

    /// The same command as one that sees the disk. A user that it was to run as is lost: see
    /// `as_user`.
    pub fn inside(&self, command: &Command) -> Command {
        let mut within = Command::new("nsenter");
        within.args(["--mount", "--target", &self.holder.pid().to_string(), "--"]);
        within.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => within.env(name, value),
                None => within.env_remove(name),
            };
        }
        if let Some(dir) = command.get_current_dir() {
            within.current_dir(dir);
        }
        within
    }

    /// The same command as one that runs as another user, and still ends with this process.
    pub fn as_user(command: &Command, (user, group): (u32, u32)) -> Command {
        let mut switched = Command::new("setpriv");
        switched.args(["--pdeathsig", "QUIT", "--clear-groups"]);
        switched.args(["--reuid", &user.to_string(), "--regid", &group.to_string(), "--"]);
        switched.arg(command.get_program()).args(command.get_args());
        switched
    }

    /// Fills it to the last byte; once more, it takes what others have freed since.
    pub fn fill(&self) {
        let ballast = self.outside().join(BALLAST);
        let mut ballast = std::fs::File::options().create(true).append(true).open(ballast).unwrap();
        // Ever smaller pieces: what does not fit as a whole may fit in part.
        for size in [1 << 20, 4096, 1] {
            let piece = vec![7; size];
            while ballast.write_all(&piece).is_ok() {}
        }
    }

    /// Takes away what `fill` wrote.
    pub fn free(&self) {
        std::fs::remove_file(self.outside().join(BALLAST)).unwrap();
    }
}
