//! Resources used by a process or a thread of this machine, from `/proc`.

use anyhow::{Context as _, Result};
use std::time::Instant;

/// Clock ticks a second in `/proc`: fixed on Linux.
const TICKS: f64 = 100.0;

/// Resources that a piece of work used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// Seconds of the clock.
    pub wall_s: f64,
    /// Seconds of processors, user and system.
    pub cpu_s: f64,
}

/// Wall and processor time of a process or of the calling thread, from now on.
pub struct Watch {
    pid: Option<u32>,
    start: Instant,
    cpu_s: f64,
}

impl Watch {
    /// Begins to count the process `pid`, to a hundredth of a processor second.
    pub fn start(pid: u32) -> Result<Watch> {
        Ok(Watch { pid: Some(pid), start: Instant::now(), cpu_s: process_cpu_s(pid)? })
    }

    /// Begins to count the calling thread.
    pub fn thread() -> Result<Watch> {
        Ok(Watch { pid: None, start: Instant::now(), cpu_s: thread_cpu_s()? })
    }

    /// The resources used since an earlier reading.
    pub fn read(&self) -> Result<Spent> {
        let cpu_s = self.pid.map_or_else(thread_cpu_s, process_cpu_s)? - self.cpu_s;
        Ok(Spent { wall_s: self.start.elapsed().as_secs_f64(), cpu_s })
    }
}

/// User and system seconds of a process so far; also of one that has ended and was not waited for.
pub fn process_cpu_s(pid: u32) -> Result<f64> {
    let stat = Stat::read(pid)?;
    Ok((stat.number(11)? + stat.number(12)?) as f64 / TICKS)
}

/// How many threads a process has.
pub fn threads(pid: u32) -> Result<u64> {
    Stat::read(pid)?.number(17)
}

/// Whether a process has ended; it was not waited for yet.
pub fn has_ended(pid: u32) -> Result<bool> {
    Ok(matches!(Stat::read(pid)?.0.first().map(String::as_str), Some("Z" | "X")))
}

/// The fields of `/proc/<pid>/stat` behind the process's name.
struct Stat(Vec<String>);

impl Stat {
    fn read(pid: u32) -> Result<Stat> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("read a process's times")?;
        let after_name = text.rsplit_once(')').context("a process's times have no name")?.1;
        Ok(Stat(after_name.split_whitespace().map(str::to_owned).collect()))
    }

    fn number(&self, field: usize) -> Result<u64> {
        self.0.get(field).context("a process's times are cut")?.parse().context("a process's times are numbers")
    }
}

fn thread_cpu_s() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").context("read a thread's times")?;
    let nanos: u64 = text.split_whitespace().next().context("a thread's times are cut")?.parse()?;
    Ok(nanos as f64 / 1e9)
}

/// Greatest resident memory of a process so far, in MiB; `None` when it has ended.
pub fn peak_mib(pid: u32) -> Result<Option<u64>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).context("read a process's memory")?;
    Ok(number_of(&text, "VmHWM:").map(|kib| kib / 1024))
}

/// Memory of a process that no file backs, in MiB: what it takes from others.
pub fn anonymous_mib(pid: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).context("read a process's memory")?;
    let kib = number_of(&text, "RssAnon:").context("the process has ended")?;
    Ok(kib as f64 / 1024.0)
}

/// Conditions under which the figures hold.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let memory = number_of(&read("/proc/meminfo"), "MemTotal:").unwrap_or(0) / 1024;
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().next().unwrap_or("unknown");
    format!("{cores} cores ({}), {memory} MiB, load {load} at the start", model.trim_start_matches([' ', '\t', ':']))
}

fn number_of(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}
