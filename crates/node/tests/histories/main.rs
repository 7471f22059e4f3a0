//! Generated histories of several nodes: writes with and without tokens, publishing, following,
//! kills at named steps, restarts, and folders that are lost, copied or rolled back. Kafka and the
//! stream are in memory (`world`); the nodes and their databases are real.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

mod claims;
mod folder;
mod merges;
mod oracle;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use folder::{Folder, Kind, STEPS};
use futures::executor::block_on;
use helixstream_node::clock_token::ClockToken;
use helixstream_node::settings::{StaleWrites, system_clock};
use helixstream_node::write::{Fields, MemoryWrite, Refusal, Seen, WriteError, WriteKind};
use testkit::{Random, seeds};
use world::{Kafka, SeenIds};

const HOUR_NS: u64 = 3_600_000_000_000;
const MEMORIES: [&str; 3] = ["m1", "m2", "m3"];

/// Histories of each kind in a run, and the variable that asks for another number.
const HISTORIES: u64 = 40;
const VARIABLE: &str = "HISTORIES";

/// A token that a caller holds, and what it stands for.
#[derive(Clone)]
struct Held {
    token: ClockToken,
    seen: SeenIds,
    line: String,
}

/// What is known of an event that is durable.
struct Written {
    memory_id: String,
    /// What its caller had seen by its token, or what the node assumed, of each memory that it
    /// changes.
    seen: BTreeMap<String, SeenIds>,
    /// Whether it is the event of a merge that absorbs, which says nothing of what was seen.
    is_absorb: bool,
    /// The last event of its write.
    part_of: String,
}

/// A write that a caller asks for, and what it has seen.
struct Asked {
    memory_id: &'static str,
    write: MemoryWrite,
    seen: SeenIds,
    /// The memories that it absorbs, and what the caller has seen of them.
    absorbed: BTreeMap<String, SeenIds>,
    has_session: bool,
}

/// What each folder has shown its session, by memory.
type ShownIds = BTreeMap<String, SeenIds>;

/// Folders of nodes whose clocks are up to two hours apart, and all that is known of what they did.
struct History {
    random: Random,
    kafka: Kafka,
    kind: Kind,
    folders: Vec<Folder>,
    held: Vec<Held>,
    written: BTreeMap<String, Written>,
    accepted_in: BTreeMap<usize, SeenIds>,
    /// Events that a folder has lost, by a roll-back or with all that it had.
    lost: SeenIds,
    shown: BTreeMap<usize, ShownIds>,
    /// What a folder had accepted, and had shown, when the backup of it was made.
    backups: BTreeMap<usize, (SeenIds, ShownIds, String)>,
    serial: usize,
    /// How many stale writes were accepted.
    branches: usize,
    /// How many merges were.
    merges: usize,
}

impl History {
    fn new(seed: u64, root: &Path, kind: Kind) -> History {
        let clocks: [fn() -> u64; 3] = [system_clock, || system_clock() + HOUR_NS, || system_clock() - HOUR_NS];
        let folder = |at: usize| {
            let name = format!("n{at}");
            Folder::open(&root.join(&name), &name, &name, kind, clocks[at])
        };
        History {
            random: Random::new(seed),
            kafka: Kafka::default(),
            kind,
            folders: (0..3).map(folder).collect(),
            held: Vec::new(),
            written: BTreeMap::new(),
            accepted_in: BTreeMap::new(),
            lost: SeenIds::new(),
            shown: BTreeMap::new(),
            backups: BTreeMap::new(),
            serial: 0,
            branches: 0,
            merges: 0,
        }
    }

    fn turn(&mut self, root: &Path) {
        let at = self.random.below(self.folders.len());
        match self.random.below(if self.kind.has_copies { 32 } else { 29 }) {
            0..=7 => self.write(at),
            8..=11 => self.read(at),
            12..=14 => {
                let count = 1 + self.random.below(4);
                let kill_at = if self.random.one_in(4) { Some(self.random.pick(&STEPS)) } else { None };
                self.folders[at].publish(&mut self.kafka, at, count, kill_at);
            }
            15..=18 => {
                let count = 1 + self.random.below(6);
                if self.random.one_in(6) {
                    let (step, kafka) = (self.random.pick(&STEPS), &self.kafka);
                    self.folders[at].killed_at(step, |folder| folder.follow(kafka, count));
                } else {
                    self.folders[at].follow(&self.kafka, count);
                }
            }
            19..=25 => (0..1 + self.random.below(4)).for_each(|_| self.kafka.deliver_one(&mut self.random)),
            26 => self.fail_one(at),
            27 => self.folders[at].restart(),
            28 => self.lose(at),
            29 => self.copy(at, root),
            30 => {
                let path = root.join(format!("backup-{at}"));
                let _ = std::fs::remove_dir_all(&path);
                self.folders[at].copy_to(&path);
                let accepted = self.accepted_in.get(&at).cloned().unwrap_or_default();
                let shown = self.shown.get(&at).cloned().unwrap_or_default();
                self.backups.insert(at, (accepted, shown, self.folders[at].line.clone()));
            }
            _ => self.roll_back(at, root),
        }
    }

    /// A broker refuses the first waiting event for ever.
    fn fail_one(&mut self, at: usize) {
        if self.random.one_in(3)
            && let Some(text) = self.folders[at].fail_first(&self.kafka, at)
        {
            let id = self.written.keys().find(|id| text.contains(id.as_str())).unwrap();
            let part_of = &self.written[id].part_of;
            let whole = self.written.iter().filter(|(_, written)| written.part_of == *part_of);
            self.lost.extend(whole.map(|(id, _)| id.clone()));
        }
    }

    /// The disk of a node is gone, with all that was not published.
    fn lose(&mut self, at: usize) {
        if self.random.one_in(2) {
            self.serial += 1;
            let line = format!("{}-{}", self.folders[at].name, self.serial);
            self.folders[at].lose(&line);
            self.lost.extend(self.accepted_in.remove(&at).unwrap_or_default());
            self.shown.remove(&at);
        }
    }

    fn copy(&mut self, at: usize, root: &Path) {
        if self.folders.len() < 5 {
            let (new, path) = (self.folders.len(), root.join(format!("copy-{}", self.folders.len())));
            let Folder { name, line, .. } = &self.folders[at];
            self.folders[at].copy_to(&path);
            let copy = Folder::open(&path, name, line, self.kind, system_clock);
            let accepted = self.accepted_in.get(&at).cloned().unwrap_or_default();
            self.accepted_in.insert(new, accepted);
            let shown = self.shown.get(&at).cloned().unwrap_or_default();
            self.shown.insert(new, shown);
            self.folders.push(copy);
        }
    }

    fn roll_back(&mut self, at: usize, root: &Path) {
        let Some((kept, shown, line)) = self.backups.get(&at).cloned() else { return };
        self.folders[at].roll_back(&root.join(format!("backup-{at}")));
        self.folders[at].line = line;
        let accepted = self.accepted_in.insert(at, kept.clone()).unwrap_or_default();
        self.lost.extend(accepted.difference(&kept).cloned());
        self.shown.insert(at, shown);
    }

    fn read(&mut self, at: usize) {
        let memory_id = self.random.pick(&MEMORIES);
        let session = if self.random.one_in(2) { Some("s") } else { None };
        let folder = &self.folders[at];
        let Some(memory) = block_on(folder.node.read(memory_id, session)).unwrap() else { return };
        let seen = self.seen_ids(at, memory_id);
        if session.is_some() {
            self.shown.entry(at).or_default().insert(memory_id.to_owned(), seen.clone());
            // The node notes it before the next change; a copy of the folder is made behind that.
            folder.node.journal().mark_published(0).unwrap();
        }
        if !memory.is_pending {
            let snapshot = self.kafka.snapshot(memory_id, folder.position()).expect("a resolved memory was published");
            assert_eq!(memory.json, snapshot.value, "nothing is pending, so the view is the resolved memory");
        }
        self.held.push(Held { token: memory.token, seen, line: folder.line.clone() });
    }

    /// A token that may be carried to this folder: one that only names what is published may go
    /// anywhere. Where folders are copied, no other node can know whose an unpublished counter is:
    /// the event may be written again under another name, and the counter given to another one.
    fn token(&mut self, at: usize, memory_id: &str) -> Option<Held> {
        let is_published = |held: &Held| {
            let seen = self.with_past(memory_id, &held.seen);
            let seen = self.kafka.events.iter().filter(|one| seen.contains(&one.event.event_id));
            let names: BTreeSet<(&str, u64)> = seen.map(|one| (one.actor(), one.counter())).collect();
            held.token.clock.entries().iter().all(|(actor, n)| names.contains(&(actor, *n)))
        };
        let may_use = |held: &&Held| {
            let is_here = held.line == self.folders[at].line;
            held.token.memory_id == memory_id && (is_here || !self.kind.has_copies || is_published(held))
        };
        let held: Vec<Held> = self.held.iter().filter(may_use).cloned().collect();
        if held.is_empty() { None } else { Some(self.random.pick(&held)) }
    }

    /// A write by a caller who has seen something, as it says or as the node assumes.
    fn asked(&mut self, at: usize) -> Asked {
        self.serial += 1;
        let memory_id = self.random.pick(&MEMORIES);
        let held = if self.random.one_in(3) { None } else { self.token(at, memory_id) };
        let seen = match &held {
            Some(held) => Seen::Token(held.token.encode()),
            None if self.random.one_in(2) => Seen::Session("s".to_owned()),
            None => Seen::Present,
        };
        let kind = match self.random.below(9) {
            0 => WriteKind::Delete,
            1 => WriteKind::Replace,
            2 => WriteKind::Merge,
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
        let has_session = matches!(seen, Seen::Session(_));
        let seen_ids = self.seen_of(at, memory_id, held.as_ref(), has_session);
        let write = MemoryWrite::new(memory_id, kind, fields).with_seen(seen);
        let mut asked = Asked { memory_id, write, seen: seen_ids, absorbed: BTreeMap::new(), has_session };
        if kind == WriteKind::Merge {
            self.ask_to_absorb(at, &mut asked);
        }
        asked
    }

    /// What a caller has seen of a memory: what its token says, what its session was shown, or what
    /// the node shows.
    fn seen_of(&self, at: usize, memory_id: &str, held: Option<&Held>, has_session: bool) -> SeenIds {
        let shown = self.shown.get(&at).and_then(|memories| memories.get(memory_id));
        match (held, shown) {
            (Some(held), _) => held.seen.clone(),
            (None, Some(shown)) if has_session => shown.clone(),
            (None, _) => self.seen_ids(at, memory_id),
        }
    }

    fn write(&mut self, at: usize) {
        let Asked { memory_id, write, seen, absorbed, has_session } = self.asked(at);
        let is_merge = write.kind == WriteKind::Merge;
        // Behind the answer the caller goes on, so nobody knows when the last step comes.
        let kill_at = if self.random.one_in(6) { Some(self.random.pick(&STEPS[..3])) } else { None };
        let result = match kill_at {
            Some(step) => self.folders[at].killed_at(step, |folder| block_on(folder.node.write(write))),
            None => block_on(self.folders[at].node.write(write)),
        };
        let accepted = match result {
            Ok(accepted) => accepted,
            Err(WriteError::Refused(Refusal::Stale(_))) => {
                // It may be one of the absorbed memories of which the caller lacks something.
                assert!(is_merge || self.kind.stale_writes == StaleWrites::Refuse);
                return;
            }
            Err(WriteError::Refused(Refusal::InvalidToken)) => return,
            Err(other) => panic!("the write is refused: {other}"),
        };
        let event_id = accepted.event_id;
        if let Some(step) = kill_at {
            let is_durable = self.folders[at].has(memory_id, &event_id);
            assert_eq!(is_durable, step == "committed", "killed when the write was {step}");
            if !is_durable {
                return;
            }
        }
        self.branches += usize::from(accepted.actor.branch > 0);
        let mut ids = seen;
        if is_merge {
            self.merges += 1;
            self.note_parts(at, memory_id, &event_id, &mut ids, &absorbed);
        }
        self.note_written(at, &event_id, memory_id, &event_id, BTreeMap::from([(memory_id.to_owned(), ids.clone())]));
        ids.insert(event_id);
        if has_session {
            self.shown.entry(at).or_default().insert(memory_id.to_owned(), ids.clone());
        }
        // A caller without an answer has no token.
        if kill_at.is_none() {
            let line = self.folders[at].line.clone();
            self.held.push(Held { token: accepted.token, seen: ids, line });
        }
    }

    /// An event is durable in a folder.
    fn note_written(
        &mut self,
        at: usize,
        event_id: &str,
        memory_id: &str,
        part_of: &str,
        seen: BTreeMap<String, SeenIds>,
    ) {
        let (memory_id, part_of) = (memory_id.to_owned(), part_of.to_owned());
        self.accepted_in.entry(at).or_default().insert(event_id.to_owned());
        self.written.insert(event_id.to_owned(), Written { memory_id, seen, is_absorb: false, part_of });
    }

    fn settle(&mut self) {
        while self.folders.iter().any(|folder| folder.status().outbox_depth > 0) {
            for at in 0..self.folders.len() {
                self.folders[at].publish(&mut self.kafka, at, 100, None);
            }
        }
        self.kafka.deliver_all(&mut self.random);
        for folder in &self.folders {
            folder.follow(&self.kafka, usize::MAX);
        }
    }
}

/// A folder for a history. A disk that is memory is enough, since a killed process loses nothing
/// that it has written.
fn folder_in_memory() -> tempfile::TempDir {
    let shared_memory = Path::new("/dev/shm");
    if shared_memory.is_dir() { tempfile::tempdir_in(shared_memory) } else { tempfile::tempdir() }.unwrap()
}

/// Runs histories of a kind, and returns how many stale writes were accepted in them. There are
/// merges in them.
fn run(histories: u64, kind: Kind) -> usize {
    let given = std::env::var(VARIABLE).ok();
    let histories = given.map_or(histories, |text| text.parse().expect("HISTORIES is a number"));
    let history = |seed| {
        let root = folder_in_memory();
        let mut history = History::new(seed, root.path(), kind);
        for _ in 0..80 {
            history.turn(root.path());
        }
        history.settle();
        history.check();
        (history.branches, history.merges)
    };
    let counts: Vec<(usize, usize)> = seeds(histories).map(history).collect();
    assert!(histories < 10 || counts.iter().any(|(_, merges)| *merges > 0), "nothing was merged");
    counts.into_iter().map(|(branches, _)| branches).sum()
}

#[test]
fn no_write_is_lost_and_no_conflict_is_swallowed_or_made_up() {
    let kind = Kind { test: 0, has_copies: false, stale_writes: StaleWrites::Refuse };
    assert_eq!(run(HISTORIES, kind), 0);
}

#[test]
fn copied_and_rolled_back_folders_make_no_twins_and_swallow_nothing() {
    let kind = Kind { test: 1, has_copies: true, stale_writes: StaleWrites::Refuse };
    assert_eq!(run(HISTORIES, kind), 0);
}

#[test]
fn stale_writes_that_are_accepted_swallow_nothing_and_make_no_twins() {
    let kind = |has_copies| Kind { test: 2, has_copies, stale_writes: StaleWrites::Concurrent };
    let accepted: usize = [false, true].map(|has_copies| run(HISTORIES / 2, kind(has_copies))).into_iter().sum();
    assert!(accepted > 0, "no write was stale");
}
