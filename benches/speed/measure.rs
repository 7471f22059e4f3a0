//! Reads what the kernel counts of a process.

use anyhow::{Context as _, Result};
use std::time::Instant;

/// Clock ticks a second in `/proc`: fixed on Linux.
const TICKS: f64 = 100.0;

/// User and system seconds of a process so far.
pub fn cpu_s(pid: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).context("read a process's times")?;
    let after_name = text.rsplit_once(')').context("a process's times have no name")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |index: usize| -> Result<f64> { Ok(fields.get(index).context("a process's times are cut")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) / TICKS)
}

/// Greatest resident memory of a process so far, in MiB.
pub fn peak_mib(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).context("read a process's memory")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("a process without memory")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024)
}

/// Wall and processor time of a process, from now on.
pub struct Watch {
    pid: u32,
    start: Instant,
    cpu_s: f64,
}

impl Watch {
    /// Begins to count.
    pub fn start(pid: u32) -> Result<Watch> {
        Ok(Watch { pid, start: Instant::now(), cpu_s: cpu_s(pid)? })
    }

    /// (wall, processor) seconds since the start.
    pub fn read(&self) -> Result<(f64, f64)> {
        Ok((self.start.elapsed().as_secs_f64(), cpu_s(self.pid)? - self.cpu_s))
    }
}
