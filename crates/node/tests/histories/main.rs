//! Generated histories of several nodes: writes with and without tokens, publishing, following,
//! kills between the commit and the mark, restarts, copied folders, folders that are rolled back.
//! Kafka and the stream are in memory (`world`); the nodes and their databases are real.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use futures::executor::block_on;
use helixstream_node::clock_token::ClockToken;
use helixstream_node::settings::{StaleWrites, system_clock};
use helixstream_node::write::{Fields, MemoryWrite, Refusal, Seen, WriteError, WriteKind};
use testkit::{Random, seeds};
use world::{Folder, Kafka, Options, SeenIds, is_before, is_less};

const HOUR_NS: u64 = 3_600_000_000_000;
const MEMORIES: [&str; 3] = ["m1", "m2", "m3"];

/// A token that a caller holds, and what it stands for.
#[derive(Clone)]
struct Held {
    token: ClockToken,
    seen: SeenIds,
    folder: usize,
    name: String,
}

/// What is known of an accepted write.
struct Written {
    memory_id: String,
    /// What its caller had seen by its token, or what the node assumed.
    seen: SeenIds,
}

/// Folders that share a past: a copy, and a folder whose node has lost what it had answered.
struct History {
    random: Random,
    kafka: Kafka,
    folders: Vec<Folder>,
    held: Vec<Held>,
    written: BTreeMap<String, Written>,
    /// Ids of events that a folder had when a copy of it was made to roll it back to.
    backups: BTreeMap<usize, SeenIds>,
    accepted_in: BTreeMap<usize, SeenIds>,
    lost: SeenIds,
    /// What each folder has shown its session, by memory; and the same of the backups.
    shown: BTreeMap<usize, BTreeMap<String, SeenIds>>,
    shown_in_backups: BTreeMap<usize, BTreeMap<String, SeenIds>>,
    has_copies: bool,
    stale_writes: StaleWrites,
    serial: usize,
    /// How many stale writes were accepted.
    branches: usize,
}

impl History {
    fn new(seed: u64, root: &Path, has_copies: bool, stale_writes: StaleWrites) -> History {
        let clocks: [fn() -> u64; 3] = [system_clock, || system_clock() + HOUR_NS, || system_clock() - HOUR_NS];
        let folder = |at: usize| {
            let options = Options { clock: clocks[at], stale_writes };
            Folder::open(&root.join(format!("n{at}")), &format!("n{at}"), options)
        };
        History {
            random: Random::new(seed),
            kafka: Kafka::default(),
            folders: (0..3).map(folder).collect(),
            held: Vec::new(),
            written: BTreeMap::new(),
            backups: BTreeMap::new(),
            accepted_in: BTreeMap::new(),
            lost: SeenIds::new(),
            shown: BTreeMap::new(),
            shown_in_backups: BTreeMap::new(),
            has_copies,
            stale_writes,
            serial: 0,
            branches: 0,
        }
    }

    fn turn(&mut self, root: &Path) {
        let at = self.random.below(self.folders.len());
        match self.random.below(if self.has_copies { 24 } else { 21 }) {
            0..=7 => self.write(at),
            8..=11 => self.read(at),
            12..=14 => {
                let (count, is_killed) = (1 + self.random.below(4), self.random.one_in(4));
                self.folders[at].publish(&mut self.kafka, at, count, is_killed);
            }
            15..=18 => self.folders[at].follow(&self.kafka, 1 + self.random.below(6)),
            19 => self.fail_one(at),
            20 => self.folders[at].restart(),
            21 => self.copy(at, root),
            22 => {
                let path = root.join(format!("backup-{at}"));
                let _ = std::fs::remove_dir_all(&path);
                self.folders[at].copy_to(&path);
                self.backups.insert(at, self.accepted_in.get(&at).cloned().unwrap_or_default());
                self.shown_in_backups.insert(at, self.shown.get(&at).cloned().unwrap_or_default());
            }
            _ => self.roll_back(at, root),
        }
    }

    /// A broker refuses the first waiting event for ever.
    fn fail_one(&mut self, at: usize) {
        if self.random.one_in(3)
            && let Some(text) = self.folders[at].fail_first(&self.kafka, at)
        {
            let id = self.written.keys().find(|id| text.contains(id.as_str())).unwrap().clone();
            self.lost.insert(id);
        }
    }

    fn copy(&mut self, at: usize, root: &Path) {
        if self.folders.len() < 5 {
            let path = root.join(format!("copy-{}", self.folders.len()));
            self.folders[at].copy_to(&path);
            let name = self.folders[at].name.clone();
            let accepted = self.accepted_in.get(&at).cloned().unwrap_or_default();
            self.accepted_in.insert(self.folders.len(), accepted);
            let shown = self.shown.get(&at).cloned().unwrap_or_default();
            self.shown.insert(self.folders.len(), shown);
            let options = Options { clock: system_clock, stale_writes: self.stale_writes };
            self.folders.push(Folder::open(&path, &name, options));
        }
    }

    fn roll_back(&mut self, at: usize, root: &Path) {
        let Some(kept) = self.backups.get(&at).cloned() else { return };
        self.folders[at].roll_back(&root.join(format!("backup-{at}")));
        let accepted = self.accepted_in.insert(at, kept.clone()).unwrap_or_default();
        self.lost.extend(accepted.difference(&kept).cloned());
        self.shown.insert(at, self.shown_in_backups.get(&at).cloned().unwrap_or_default());
    }

    fn read(&mut self, at: usize) {
        let memory_id = self.random.pick(&MEMORIES);
        let session = if self.random.one_in(2) { Some("s") } else { None };
        let folder = &self.folders[at];
        let Some(memory) = block_on(folder.node.read(memory_id, session)).unwrap() else { return };
        let seen = folder.seen_ids(&self.kafka, memory_id);
        if session.is_some() {
            self.shown.entry(at).or_default().insert(memory_id.to_owned(), seen.clone());
            // The node notes it before the next change; a copy of the folder is made behind that.
            folder.node.journal().mark_published(0).unwrap();
        }
        if !memory.is_pending {
            let snapshot = self.kafka.snapshot(memory_id, folder.position()).expect("a resolved memory was published");
            assert_eq!(memory.json, snapshot.value, "nothing is pending, so the view is the resolved memory");
        }
        self.held.push(Held { token: memory.token, seen, folder: at, name: folder.name.clone() });
    }

    /// A token that may be carried to this folder: one that only names what is published may go
    /// anywhere. Where folders are copied, no other node can know whose an unpublished counter is.
    fn token(&mut self, at: usize, memory_id: &str) -> Option<Held> {
        let may_use = |held: &&Held| {
            let is_here = held.name == self.folders[at].name;
            let published = || {
                let status = self.folders[held.folder].status();
                let own = status.actor.to_string();
                let is_own = |name: &str| name.starts_with(&own);
                held.token.issuer.starts_with(status.actor.incarnation.as_str())
                    && held.token.clock.entries().iter().all(|(name, n)| !is_own(name) || *n <= status.published)
            };
            held.token.memory_id == memory_id && (is_here || !self.has_copies || published())
        };
        let held: Vec<Held> = self.held.iter().filter(may_use).cloned().collect();
        if held.is_empty() { None } else { Some(self.random.pick(&held)) }
    }

    fn write(&mut self, at: usize) {
        self.serial += 1;
        let memory_id = self.random.pick(&MEMORIES);
        let held = if self.random.one_in(3) { None } else { self.token(at, memory_id) };
        let seen = match &held {
            Some(held) => Seen::Token(held.token.encode()),
            None if self.random.one_in(2) => Seen::Session("s".to_owned()),
            None => Seen::Present,
        };
        let kind = match self.random.below(8) {
            0 => WriteKind::Delete,
            1 => WriteKind::Replace,
            _ => WriteKind::Update,
        };
        let fields = if kind == WriteKind::Delete {
            Fields::new()
        } else {
            let path = self.random.pick(&["content", "session_id"]);
            let fields = Fields::new().with_text(path, &format!("v{}", self.serial)).unwrap();
            let metadata = format!("{{\"metadata\":{{\"k{}\":{}}}}}", self.random.below(3), self.serial);
            if self.random.one_in(2) { fields } else { Fields::from_json(metadata.as_bytes()).unwrap() }
        };
        let present = self.folders[at].seen_ids(&self.kafka, memory_id);
        let mut ids = match (&held, &seen) {
            (Some(held), _) => held.seen.clone(),
            (None, Seen::Session(_)) => {
                let shown = self.shown.get(&at).and_then(|memories| memories.get(memory_id));
                shown.cloned().unwrap_or(present)
            }
            (None, _) => present,
        };
        let has_session = matches!(seen, Seen::Session(_));
        let write = MemoryWrite::new(memory_id, kind, fields).with_seen(seen);
        let accepted = match block_on(self.folders[at].node.write(write)) {
            Ok(accepted) => accepted,
            Err(WriteError::Refused(Refusal::Stale(_))) => {
                assert_eq!(self.stale_writes, StaleWrites::Refuse);
                return;
            }
            Err(WriteError::Refused(Refusal::InvalidToken)) => return,
            Err(other) => panic!("the write is refused: {other}"),
        };
        self.branches += usize::from(accepted.actor.branch > 0);
        let written = Written { memory_id: memory_id.to_owned(), seen: ids.clone() };
        self.accepted_in.entry(at).or_default().insert(accepted.event_id.clone());
        self.written.insert(accepted.event_id.clone(), written);
        ids.insert(accepted.event_id);
        if has_session {
            self.shown.entry(at).or_default().insert(memory_id.to_owned(), ids.clone());
        }
        let name = self.folders[at].name.clone();
        self.held.push(Held { token: accepted.token, seen: ids, folder: at, name });
    }

    fn settle(&mut self) {
        while self.folders.iter().any(|folder| folder.status().outbox_depth > 0) {
            for at in 0..self.folders.len() {
                self.folders[at].publish(&mut self.kafka, at, 100, false);
            }
        }
        for folder in &self.folders {
            folder.follow(&self.kafka, usize::MAX >> 1);
        }
    }

    /// All that a caller had seen, also through what it had seen.
    fn all_seen(&self, event_id: &str) -> SeenIds {
        let mut found = SeenIds::new();
        let mut open: Vec<&str> = vec![event_id];
        while let Some(id) = open.pop() {
            for seen in &self.written[id].seen {
                if found.insert(seen.clone()) {
                    open.push(seen);
                }
            }
        }
        found
    }

    fn check(&self) {
        self.check_actors();
        let published: BTreeSet<&str> = self.kafka.events.iter().map(|one| one.event.event_id.as_str()).collect();
        for (id, written) in &self.written {
            let is_there = published.contains(id.as_str()) || self.lost.contains(id);
            assert!(is_there, "the write {id} to {} is missing", written.memory_id);
        }
        self.check_causality();
        self.check_views();
    }

    /// No actor has used a counter for two events.
    fn check_actors(&self) {
        let mut counters: BTreeMap<(&str, u64), &[u8]> = BTreeMap::new();
        for one in &self.kafka.events {
            let actor = one.event.node_id.as_deref().unwrap();
            let (_, counter) = one.event.clock.entries().iter().find(|(name, _)| name == actor).unwrap();
            let other = counters.insert((actor, *counter), &one.value);
            assert!(other.is_none_or(|other| other == one.value), "{actor} has used {counter} for two events");
        }
    }

    /// A write with a token swallows nothing that the token has not seen, and versions go with
    /// clocks. Where no folder was copied or rolled back, it has also seen all that the token has.
    fn check_causality(&self) {
        for later in &self.kafka.events {
            let seen = self.all_seen(&later.event.event_id);
            for earlier in self.kafka.events.iter().filter(|one| one.event.memory_id == later.event.memory_id) {
                let (a, b) = (&earlier.event, &later.event);
                assert!(
                    !is_less(&a.clock, &b.clock) || a.version <= b.version,
                    "the version of {b:?} is below that of {a:?}"
                );
                if a.event_id == b.event_id {
                    continue;
                }
                assert!(!is_before(a, b) || seen.contains(&a.event_id), "{b:?} swallows {a:?}");
                let is_known = self.has_copies || !seen.contains(&a.event_id) || is_before(a, b);
                assert!(is_known, "{b:?} contends with {a:?}, which its caller had seen");
            }
        }
    }

    /// Nothing is pending, and each node shows the resolved memory byte for byte.
    fn check_views(&self) {
        for folder in &self.folders {
            for memory_id in MEMORIES {
                let shown = block_on(folder.node.read(memory_id, None)).unwrap();
                let expected = self.kafka.snapshot(memory_id, self.kafka.snapshots.len());
                assert!(!shown.as_ref().is_some_and(|shown| shown.is_pending));
                assert_eq!(shown.map(|shown| shown.json), expected.map(|snapshot| snapshot.value.clone()));
            }
        }
    }
}

/// Runs a history, and returns how many stale writes were accepted in it.
fn run(seed: u64, has_copies: bool, stale_writes: StaleWrites) -> usize {
    let root = tempfile::tempdir().unwrap();
    let mut history = History::new(seed, root.path(), has_copies, stale_writes);
    for _ in 0..80 {
        history.turn(root.path());
    }
    history.settle();
    history.check();
    history.branches
}

#[test]
fn no_write_is_lost_and_no_conflict_is_swallowed() {
    seeds(8).for_each(|seed| assert_eq!(run(seed, false, StaleWrites::Refuse), 0));
}

#[test]
fn copied_and_rolled_back_folders_make_no_twins_and_swallow_nothing() {
    seeds(8).for_each(|seed| assert_eq!(run(seed, true, StaleWrites::Refuse), 0));
}

#[test]
fn stale_writes_that_are_accepted_swallow_nothing_and_make_no_twins() {
    let accepted: usize =
        [false, true].iter().flat_map(|copies| seeds(8).map(|seed| run(seed, *copies, StaleWrites::Concurrent))).sum();
    assert!(accepted > 0, "no write was stale");
}
