//! Child processes and folders that never outlive the test process, however it ends.
//!
//! - A child gets a signal from the kernel when its parent *thread* dies, so all are started by one
//!   thread that lives as long as the process.
//! - Folders lie in one folder of this process. A small shell that sits on a pipe removes it when
//!   the process is gone, even by SIGKILL.
//! - On an ordinary exit the children are killed before the process ends; that shell removes the
//!   folder after it.

use rustix::process::{Pid, Signal};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// A child process; ended and reaped when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    end: Signal,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` as a child that gets the signal `end` when it is dropped, or when this
    /// process dies.
    pub fn start(command: Command, end: Signal) -> io::Result<Process> {
        cleaner();
        let (answer, child) = mpsc::channel();
        let job = Job { command, end, answer };
        spawner().send(job).expect("the spawning thread lives as long as the process");
        let child = child.recv().expect("the spawning thread answers")?;
        living().insert(child.id(), end);
        Ok(Process { child, end, status: None })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The standard streams that were asked for as pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends a signal; nothing happens when the process has been reaped.
    pub fn signal(&self, signal: Signal) {
        if self.status.is_none() {
            // The process may just have ended by itself.
            let _ = rustix::process::kill_process(pid_of(self.child.id()), signal);
        }
    }

    /// The exit status if it has ended.
    pub fn poll(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("wait for a child of ours");
            if self.status.is_some() {
                living().remove(&self.child.id());
            }
        }
        self.status
    }

    /// Waits for the end; `None` when it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.poll() {
                return Some(status);
            }
            if start.elapsed() > limit {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait(Duration::from_secs(60)).expect("a killed process ends");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(self.end);
        // A process that a test has paused must run to serve the signal.
        self.signal(Signal::CONT);
        if self.wait(Duration::from_secs(20)).is_none() {
            self.kill();
        }
    }
}

/// A fresh folder of this process's own, `stem-1`, `stem-2`, …; readable by all, since PostgreSQL
/// runs as another user.
pub fn temp_dir(stem: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let dir = cleaner().root.join(format!("{stem}-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir(&dir).expect("create a folder in the temporary folder");
    dir
}

struct Job {
    command: Command,
    end: Signal,
    answer: mpsc::Sender<io::Result<Child>>,
}

fn spawner() -> mpsc::Sender<Job> {
    static SPAWNER: LazyLock<Mutex<mpsc::Sender<Job>>> = LazyLock::new(|| {
        let (jobs, inbox) = mpsc::channel::<Job>();
        std::thread::spawn(move || {
            for mut job in inbox {
                let signal = job.end;
                let parent = std::process::id();
                // SAFETY: both calls are plain system calls, allowed between fork and exec.
                unsafe {
                    job.command.pre_exec(move || {
                        rustix::process::set_parent_process_death_signal(Some(signal))?;
                        // The parent may have died before the line above took effect.
                        let orphaned = rustix::process::getppid() != Some(pid_of(parent));
                        if orphaned { Err(io::Error::other("the test process is gone")) } else { Ok(()) }
                    });
                }
                // A test that has given up waiting needs no answer: the child is then dropped, and
                // dies with this process.
                let _ = job.answer.send(job.command.spawn());
            }
        });
        Mutex::new(jobs)
    });
    SPAWNER.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The children that have not been reaped, with the signal that ends each.
fn living() -> MutexGuard<'static, BTreeMap<u32, Signal>> {
    static LIVING: Mutex<BTreeMap<u32, Signal>> = Mutex::new(BTreeMap::new());
    LIVING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pid_of(id: u32) -> Pid {
    Pid::from_raw(i32::try_from(id).expect("a process id")).expect("a process id above 0")
}

struct Cleaner {
    root: PathBuf,
    watchdog: Mutex<Child>,
}

fn cleaner() -> &'static Cleaner {
    static CLEANER: OnceLock<Cleaner> = OnceLock::new();
    CLEANER.get_or_init(|| {
        let root =
            tempfile::Builder::new().prefix("helixstream-test-").tempdir().expect("create a temporary folder").keep();
        std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755)).expect("open the temporary folder");
        let watchdog = Mutex::new(start_watchdog(&root));
        // SAFETY: the handler is a plain function without arguments.
        let registered = unsafe { libc::atexit(at_exit) };
        assert_eq!(registered, 0, "register the clean-up");
        Cleaner { root, watchdog }
    })
}

/// A shell that waits for the other end of its input to close. In a process group of its own:
/// Ctrl-C is not for it.
fn start_watchdog(root: &Path) -> Child {
    // The servers are dying while it works, so the folder may need a second try.
    let script = r#"trap '' INT TERM HUP
        cat >/dev/null
        for _ in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$1" 2>/dev/null && exit; sleep 0.3; done"#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "watchdog"]).arg(root).process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("start the watchdog shell")
}

extern "C" fn at_exit() {
    for (id, end) in living().iter() {
        let pid = pid_of(*id);
        // Errors mean that it is gone already.
        let _ = rustix::process::kill_process(pid, *end);
        let _ = rustix::process::kill_process(pid, Signal::CONT);
        let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
    }
    // The watchdog removes the folder by itself, which takes a while where there were many topics
    // and databases.
    drop(cleaner().watchdog.lock().unwrap_or_else(PoisonError::into_inner).stdin.take());
}
