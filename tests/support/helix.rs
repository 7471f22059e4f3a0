//! The built binary: run to its end, or in the background with what it says kept in files.

use rustix::process::Signal;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use testkit::process::{Process, temp_dir};
use testkit::wait;

/// A `helixstream` in the background; killed when dropped.
#[derive(Debug)]
pub struct Helix {
    process: Process,
    dir: PathBuf,
}

/// How a `helixstream` ended and what it said.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Helix {
    /// A command for the binary, without any `HELIXSTREAM_` variable of the surroundings.
    pub fn command() -> Command {
        Helix::clean_command(Path::new(env!("CARGO_BIN_EXE_helixstream")))
    }

    /// A command for a built example, which has the same command line, without the same variables.
    #[track_caller]
    pub fn example_command(name: &str) -> Command {
        let folder = Path::new(env!("CARGO_BIN_EXE_helixstream")).parent().expect("the binary lies in a folder");
        let path = folder.join("examples").join(name);
        assert!(path.exists(), "{} is not built: run `cargo build --examples`", path.display());
        Helix::clean_command(&path)
    }

    /// A command for another program that has the same command line (an earlier or later version of
    /// this one), without the same variables.
    pub fn command_of(program: &Path) -> Command {
        Helix::clean_command(program)
    }

    fn clean_command(program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HELIXSTREAM_") {
                command.env_remove(name);
            }
        }
        command.env_remove("RUST_LOG");
        command
    }

    /// Starts it with `arguments`.
    pub fn spawn(arguments: &[&str]) -> Helix {
        let mut command = Helix::command();
        command.args(arguments);
        Helix::spawn_command(command)
    }

    /// Starts a command made with [`Helix::command`].
    pub fn spawn_command(mut command: Command) -> Helix {
        let dir = temp_dir("helixstream");
        command.stdin(Stdio::null());
        command.stdout(File::create(dir.join("stdout")).unwrap()).stderr(File::create(dir.join("stderr")).unwrap());
        let process = Process::start(command, Signal::KILL).expect("start helixstream");
        Helix { process, dir }
    }

    /// Runs it with `arguments` to its end.
    #[track_caller]
    #[must_use = "how it ended is to be looked at"]
    pub fn run(arguments: &[&str]) -> Finished {
        Helix::spawn(arguments).finish()
    }

    /// Runs it with `arguments` to its end; panics with what it said when its exit code is not 0.
    #[track_caller]
    pub fn run_ok(arguments: &[&str]) -> Finished {
        let finished = Helix::run(arguments);
        assert_eq!(finished.code, Some(0), "helixstream {arguments:?}: {finished:?}");
        finished
    }

    /// Waits for its end.
    #[track_caller]
    #[must_use = "how it ended is to be looked at"]
    pub fn finish(self) -> Finished {
        self.finish_after("that was asked of it, or its work was done")
    }

    /// Waits for its end, which is to come after `event`; a panic names the event.
    #[track_caller]
    #[must_use = "how it ended is to be looked at"]
    pub fn finish_after(mut self, event: &str) -> Finished {
        let limit = wait::LIMIT;
        let Some(status) = self.process.wait(limit) else {
            panic!(
                "helixstream does not end within {limit:?} after {event}; it wrote to standard output:\n{}",
                self.stdout()
            );
        };
        Finished { code: status.code(), stdout: self.stdout(), stderr: self.stderr() }
    }

    /// SIGTERM, then waits for its end.
    #[track_caller]
    #[must_use = "how it ended is to be looked at"]
    pub fn terminate(self) -> Finished {
        self.process.signal(Signal::TERM);
        self.finish()
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(mut self) -> Finished {
        self.process.kill();
        Finished { code: None, stdout: self.stdout(), stderr: self.stderr() }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.poll().is_none()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> String {
        read(self.dir.join("stdout"))
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        read(self.dir.join("stderr"))
    }

    /// Waits until its standard error has `text`; panics when it ends before.
    #[track_caller]
    pub fn wait_for_stderr(&mut self, text: &str) {
        wait::wait_for_within(wait::LIMIT, &format!("helixstream to say {text:?}"), || {
            let ended = !self.is_running();
            let said = self.stderr();
            assert!(said.contains(text) || !ended, "helixstream ended before it said {text:?}:\n{said}");
            said.contains(text).then_some(())
        });
    }
}

/// A test that fails shows what its instances said, whichever of its assertions it was: an
/// assertion on a topic or a table cannot know.
impl Drop for Helix {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let stderr = self.stderr();
            let lines: Vec<&str> = stderr.lines().collect();
            let shown = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
            eprintln!("standard error of helixstream, process {}, last lines:\n{}\n", self.pid(), shown.join("\n"));
        }
    }
}

/// So many lines of an instance's standard error are shown when its test fails.
const SHOWN_LINES: usize = 200;

fn read(path: PathBuf) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
}

impl Finished {
    /// Panics unless it ended with exit code 0.
    #[track_caller]
    pub fn assert_ended_well(&self) {
        assert_eq!(self.code, Some(0), "{self:?}");
    }

    /// Panics unless it ended with `code`, and standard error has each of `parts`.
    #[track_caller]
    pub fn assert_failed(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for part in parts {
            assert!(self.stderr.contains(part), "standard error lacks {part:?}:\n{}", self.stderr);
        }
    }
}
