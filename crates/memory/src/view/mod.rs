//! Reads a memory's state: who contends for a field, what the frontier shows, what the resolved
//! memory is (docs/semantics.md, sections 3 to 5). Reading changes nothing and depends on the state
//! alone.

mod record;

pub use super::clock::write_clock;
pub use json::ObjectWriter;
pub use record::Resolved;

use std::borrow::Cow;

use super::causality::EventHeader;
use super::settings::{DeletePolicy, ResolverSettings};
use super::state::{Field, Memory, Path, Register, RegisterWrite, StateError, digest};
use super::strategy::{self, CustomResolver, Picked, in_conflict};

/// The context in which a topology resolves its memories: its settings, and its custom resolver if
/// it has one.
#[derive(Clone, Copy)]
pub struct ResolutionContext<'s> {
    /// The settings.
    pub settings: &'s ResolverSettings,
    /// Decides fields whose strategy is `custom`.
    pub custom: Option<&'s dyn CustomResolver>,
}

/// The visible frontier: what of a memory's frontier is left on reading.
#[derive(Clone, Debug)]
pub struct VisibleFrontier {
    /// The frontier events that are left on reading, as indexes of headers.
    pub left: Vec<u32>,
    /// Whether the memory is active.
    pub is_active: bool,
}

impl<'s> ResolutionContext<'s> {
    /// The visible part of the frontier, and whether the memory is active.
    pub fn visible_frontier(&self, memory: &Memory<'_>) -> VisibleFrontier {
        let frontier = &memory.frontier;
        let mut left = frontier.clone();
        if frontier.len() > 1 {
            left.retain(|e| {
                let e = memory.header(*e);
                !frontier
                    .iter()
                    .map(|f| memory.header(*f))
                    .any(|f| e.is_delete != f.is_delete && e.presumed_before(f, self.settings))
            });
        }
        let is_active = match self.settings.delete_policy {
            DeletePolicy::UpdateWins => left.iter().any(|e| !memory.header(*e).is_delete),
            DeletePolicy::DeleteWins => !left.is_empty() && left.iter().all(|e| !memory.header(*e).is_delete),
        };
        VisibleFrontier { left, is_active }
    }

    /// The live writes of a register that contend, in order of arrival. None may be left, where
    /// deletes are presumed to have seen them all.
    pub fn contenders<'r, 'a>(&self, memory: &Memory<'a>, register: &'r Register<'a>) -> Cow<'r, [RegisterWrite<'a>]> {
        let mut left = Cow::Borrowed(&register.writes[..]);
        if !memory.deletes.is_empty() && register.path.field != Field::UserId {
            let seen = |w: &RegisterWrite<'a>| {
                memory.deletes.iter().any(|d| memory.header(w.by).presumed_before(memory.header(*d), self.settings))
            };
            if left.iter().any(&seen) {
                left.to_mut().retain(|w| !seen(w));
            }
        }
        // Skew before time: the other way round, each of two could hide the other.
        self.less(memory, &mut left, EventHeader::presumed_by_skew);
        self.less(memory, &mut left, EventHeader::presumed_by_time);
        left
    }

    fn less<'a>(
        &self,
        memory: &Memory<'a>,
        left: &mut Cow<'_, [RegisterWrite<'a>]>,
        presumed: impl Fn(&EventHeader<'a>, &EventHeader<'_>, &ResolverSettings) -> bool,
    ) {
        if left.len() < 2 {
            return;
        }
        let hidden = |w: &RegisterWrite<'a>, by: &[RegisterWrite<'a>]| {
            by.iter().any(|x| presumed(memory.header(w.by), memory.header(x.by), self.settings))
        };
        if left.iter().any(|w| hidden(w, left)) {
            let kept = left.iter().filter(|w| !hidden(w, left)).copied().collect();
            *left = Cow::Owned(kept);
        }
    }

    /// Picks among the contenders of a path; `None` if there is none.
    ///
    /// # Errors
    /// [`StateError`]: a large value could not be read.
    pub fn pick<'a>(
        &self,
        memory: &Memory<'a>,
        path: Path<'_>,
        contenders: &[RegisterWrite<'a>],
    ) -> Result<Option<Picked<'a>>, StateError> {
        self.pick_among(memory, path, contenders, in_conflict(contenders))
    }

    fn pick_among<'a>(
        &self,
        memory: &Memory<'a>,
        path: Path<'_>,
        contenders: &[RegisterWrite<'a>],
        is_conflict: bool,
    ) -> Result<Option<Picked<'a>>, StateError> {
        let settings = self.settings;
        let strategy =
            if settings.overrides.is_empty() { settings.strategy } else { settings.strategy_of(&path.to_string()) };
        strategy::pick(memory, path, contenders, is_conflict, strategy, self.custom)
    }

    /// Resolved value of a field without keys.
    ///
    /// # Errors
    /// As [`ResolutionContext::pick`].
    pub fn field<'a>(&self, memory: &Memory<'a>, field: Field) -> Result<Option<Picked<'a>>, StateError> {
        match memory.register(Path::of(field)) {
            Some(register) => self.pick(memory, register.path, &self.contenders(memory, register)),
            None => Ok(None),
        }
    }

    /// Resolved value of the embedding, among the contenders that belong to the content that is
    /// resolved.
    ///
    /// # Errors
    /// As [`ResolutionContext::pick`].
    pub fn embedding<'a>(
        &self,
        memory: &Memory<'a>,
        contenders: &[RegisterWrite<'a>],
        content: Option<&Picked<'a>>,
    ) -> Result<Option<Picked<'a>>, StateError> {
        let resolved = content.map_or_else(|| digest(b"null"), Picked::digest);
        let belongs = |w: &&RegisterWrite<'a>| match (w.content, content) {
            (Some(carried), _) => carried == resolved,
            (None, None) => true,
            (None, Some(content)) => content.writers().any(|writer| {
                let text = memory.header(writer.by);
                let embedding = memory.header(w.by);
                text.is_before(embedding, self.settings) || text.presumed_before(embedding, self.settings)
            }),
        };
        let belonging: Vec<RegisterWrite<'a>> = contenders.iter().filter(belongs).copied().collect();
        self.pick_among(memory, Path::of(Field::Embedding), &belonging, in_conflict(contenders))
    }
}
