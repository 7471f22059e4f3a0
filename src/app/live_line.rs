//! The live line of a running instance on a terminal, and the rate that all other places show.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::metrics_page::MetricsPage;
use crate::edges::cli::terminal::{LiveLine, Progress};
use memory_operators::{CONFLICTS, RESOLVED};
use streams::runtime::TaskStatus;
use streams::task::state::TaskState;

/// Time between two measurements of the rate.
const MEASURE: Duration = Duration::from_secs(1);
/// How much of the rate before stays in the one shown.
const INERTIA: f64 = 0.5;

/// Measures the rate, and updates the live line or the progress bar of a restoration.
pub struct LiveLineUpdater {
    pages: Arc<MetricsPage>,
    measured: Instant,
    records: u64,
    line: Option<LiveLine>,
    bar: Option<Progress>,
}

impl LiveLineUpdater {
    /// Begins to watch.
    pub fn new(pages: Arc<MetricsPage>) -> LiveLineUpdater {
        LiveLineUpdater { pages, measured: Instant::now(), records: 0, line: LiveLine::new(), bar: None }
    }

    /// Called often; does something once a second.
    pub fn update(&mut self) {
        let since = self.measured.elapsed();
        if since < MEASURE {
            return;
        }
        let records = self.pages.totals().records;
        let now = records.saturating_sub(self.records) as f64 / since.as_secs_f64();
        let rate = self.pages.rate() * INERTIA + now * (1.0 - INERTIA);
        (self.measured, self.records) = (Instant::now(), records);
        self.pages.set_rate(if rate < 0.5 { 0.0 } else { rate });
        if self.line.is_some() {
            self.show();
        }
    }

    fn show(&mut self) {
        let tasks = self.pages.metrics().tasks();
        let restoring = |task: &&TaskStatus| matches!(task.state, TaskState::Restoring | TaskState::Rebuilding);
        let mut done = 0;
        let mut of = 0;
        for task in tasks.values().filter(restoring) {
            done += task.restored.0;
            of += task.restored.1;
        }
        if of > done {
            self.bar.get_or_insert_with(|| Progress::new("restore", Some(of), false)).set(done, Some(of));
        } else {
            self.bar = None;
        }
        if let Some(line) = &self.line {
            line.show(line_text(&self.pages));
        }
    }
}

/// The live line.
fn line_text(pages: &MetricsPage) -> String {
    let mirror = match pages.mirror() {
        None => "no mirror".to_owned(),
        Some(figures) if figures.down => "mirror down".to_owned(),
        Some(figures) => figures.lag.map_or("mirror lag unknown".to_owned(), |lag| format!("mirror lag {lag}")),
    };
    let standbys = pages.metrics().standbys();
    let standby = match standbys.len() {
        0 => String::new(),
        count => format!(" · {count} standbys, lag {}", standbys.values().map(|status| status.lag).sum::<u64>()),
    };
    format!(
        "{:.0}/s · lag {} · {} memories · {} conflicts · {} dead letters · {mirror}{standby}",
        pages.rate(),
        pages.metrics().lag(),
        pages.counted(RESOLVED),
        pages.counted(CONFLICTS),
        pages.counted("dead_letters"),
    )
}
