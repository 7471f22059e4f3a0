//! The writer of events: a name that the operator chooses, and an incarnation.
//!
//! # Branches
//!
//! The clock of an event of the actor covers all of its earlier events to the same memory, so a
//! write whose caller has not seen one of them cannot be an event of the actor: the stream would
//! hold that the caller had seen it, and a conflict would be swallowed. Such a stale write is
//! refused, or, where the operator has chosen so ([`crate::settings::StaleWrites`]), it is written
//! by a **branch** of the actor, `NAME.INCARNATION.bN`, whose clock is what the caller has seen and
//! its own entry. The stream then finds the conflict as it does for two nodes.
//!
//! A branch is no second identity. Its events have their places among those of the node: one
//! counter numbers all events of an incarnation, the published ones are one chain, and N is the
//! counter of the first event of the branch. So no record, no fence and no start knows of branches,
//! and whatever makes sure that no counter is used twice makes sure of it for them: a folder that
//! was copied or rolled back becomes a new incarnation, and writes the events that were not
//! published again as branches of that one. A second incarnation beside the first, with a counter
//! of its own, would need all of that twice.
//!
//! A caller that goes on with the token of its last write goes on in its branch, as long as the
//! node shows no later event of that branch; another caller begins a new one. So the clock of a
//! memory gets an entry for each branch, and not for each stale write. No entry ever leaves a
//! clock, so a memory has at most [`MAX_BRANCHES`] branches of one node; then stale writes of it
//! are refused.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

/// The most bytes of a node's name.
const MAX_NAME: usize = 64;
/// The letters of an incarnation: lower-case letters and digits without those that look alike
/// (Crockford's base 32).
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Letters of an incarnation, of 5 bits each.
const INCARNATION_LETTERS: usize = 20;

/// The name of a node, which the operator chooses: 1 to 64 letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

/// A text that is no node's name, or no actor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActorError {
    /// The name is empty, too long, or has a character that a name cannot have.
    #[error("the name of a node has 1 to 64 of these characters: A to Z, a to z, 0 to 9, - and _")]
    Name,
    /// The incarnation is not 20 letters of Crockford's base 32.
    #[error("an incarnation has 20 of these characters: 0 to 9 and a to z without i, l, o and u")]
    Incarnation,
    /// The text has no dot between a name and an incarnation.
    #[error("an actor is written as NAME.INCARNATION")]
    Actor,
}

impl NodeName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeName {
    type Err = ActorError;

    fn from_str(text: &str) -> Result<NodeName, ActorError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(is_allowed) {
            Ok(NodeName(text.to_owned()))
        } else {
            Err(ActorError::Name)
        }
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A life of a node's counter: 100 random bits, which lie beside the counter on disk. It changes
/// when the counter can no longer be trusted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(String);

impl Incarnation {
    /// The incarnation of 128 random bits, of which the lowest 100 count.
    #[must_use]
    pub fn from_random_bits(bits: u128) -> Incarnation {
        let letter = |at: usize| LETTERS[(bits >> (5 * at)) as usize & 31] as char;
        Incarnation((0..INCARNATION_LETTERS).map(letter).collect())
    }

    /// An incarnation that no other is likely to be.
    #[must_use]
    pub fn random() -> Incarnation {
        let random = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
        // A UUID has fixed bits among its random ones; the digest has none.
        Incarnation::from_random_bits(xxh3_128(&random))
    }

    /// The incarnation as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Incarnation {
    type Err = ActorError;

    fn from_str(text: &str) -> Result<Incarnation, ActorError> {
        if text.len() == INCARNATION_LETTERS && text.bytes().all(|byte| LETTERS.contains(&byte)) {
            Ok(Incarnation(text.to_owned()))
        } else {
            Err(ActorError::Incarnation)
        }
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The writer of events, which is their `node_id` and the name of their entry in vector clocks:
/// `NAME.INCARNATION`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor {
    /// The name that the operator has chosen.
    pub name: NodeName,
    /// The life of its counter.
    pub incarnation: Incarnation,
}

impl FromStr for Actor {
    type Err = ActorError;

    fn from_str(text: &str) -> Result<Actor, ActorError> {
        let (name, incarnation) = text.rsplit_once('.').ok_or(ActorError::Actor)?;
        Ok(Actor { name: name.parse()?, incarnation: incarnation.parse()? })
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.name, self.incarnation)
    }
}

/// The most branches of a node in the clock of one memory.
pub const MAX_BRANCHES: usize = 100;

/// The writer of one event: its `node_id`, and the name of its entry in vector clocks. It is the
/// actor of its node, or a branch of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventActor {
    /// The actor of the node.
    pub actor: Actor,
    /// The counter of the first event of the branch; 0 is the actor itself.
    pub branch: u64,
}

impl FromStr for EventActor {
    type Err = ActorError;

    fn from_str(text: &str) -> Result<EventActor, ActorError> {
        let at = text.match_indices('.').nth(1).map_or(text.len(), |(at, _)| at);
        let actor: Actor = text[..at].parse()?;
        let branch = branch_of(&text[..at], text).ok_or(ActorError::Actor)?;
        Ok(EventActor { actor, branch })
    }
}

impl fmt::Display for EventActor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&branch_name(&self.actor.to_string(), self.branch))
    }
}

/// The name of a branch of an actor; that of branch 0 is the actor's own.
pub(crate) fn branch_name(actor: &str, branch: u64) -> String {
    if branch == 0 { actor.to_owned() } else { format!("{actor}.b{branch}") }
}

/// The branch of an actor that an entry of a clock names: 0 is the actor itself, and `None`
/// somebody else.
pub(crate) fn branch_of(actor: &str, entry: &str) -> Option<u64> {
    let rest = entry.strip_prefix(actor)?;
    if rest.is_empty() {
        return Some(0);
    }
    let branch = rest.strip_prefix(".b")?.parse().ok()?;
    // One branch has one name.
    Some(branch).filter(|branch| *branch > 0 && branch_name(actor, *branch) == entry)
}

/// Whether an entry of a clock names a branch of a node, in whichever incarnation.
pub(crate) fn is_branch_of_node(name: &NodeName, entry: &str) -> bool {
    let rest = entry.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix('.'));
    rest.is_some_and(|rest| rest.contains(".b"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_read_as_it_is_written() {
        for bits in
            testkit::seeds(100).map(|seed| u128::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
        {
            let actor = Actor { name: "agent-7".parse().unwrap(), incarnation: Incarnation::from_random_bits(bits) };
            assert_eq!(actor.to_string().parse(), Ok(actor));
        }
    }

    #[test]
    fn the_lowest_hundred_bits_count() {
        let one = Incarnation::from_random_bits(1);
        assert_eq!(one.as_str(), "10000000000000000000");
        assert_eq!(Incarnation::from_random_bits(1 | 1 << 100), one);
        assert_ne!(Incarnation::from_random_bits(1 | 1 << 99), one);
    }

    #[test]
    fn a_branch_has_one_name() {
        let actor = "agent.00000000000000000000";
        for branch in [0, 1, 10, u64::MAX] {
            assert_eq!(branch_of(actor, &branch_name(actor, branch)), Some(branch));
        }
        for other in ["agent.00000000000000000001", "b", "", "agent.00000000000000000000.s1"] {
            assert_eq!(branch_of(actor, other), None, "{other}");
        }
        for branch in [0, 7] {
            let writer = EventActor { actor: actor.parse().unwrap(), branch };
            assert_eq!(writer.to_string().parse(), Ok(writer));
        }
        for wrong in ["agent", "agent.00000000000000000000.b0", "agent.00000000000000000000.b1.b1"] {
            assert!(wrong.parse::<EventActor>().is_err(), "{wrong}");
        }
        for wrong in [".b", ".b0", ".b01", ".b+1", ".b1.b1", "b1", ".b-1"] {
            assert_eq!(branch_of(actor, &format!("{actor}{wrong}")), None, "{wrong}");
        }
        let name = "agent".parse().unwrap();
        assert!(is_branch_of_node(&name, &branch_name(actor, 7)) && !is_branch_of_node(&name, actor));
        assert!(!is_branch_of_node(&name, "agent-7.00000000000000000000.b7"));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "a.b", "a b", "ü", &"n".repeat(65)] {
            assert_eq!(text.parse::<NodeName>(), Err(ActorError::Name), "{text}");
        }
        assert_eq!("agent".parse::<Actor>(), Err(ActorError::Actor));
        assert_eq!("agent.0000000000000000000o".parse::<Actor>(), Err(ActorError::Incarnation));
        assert_eq!("agent.000".parse::<Actor>(), Err(ActorError::Incarnation));
        assert_eq!(".00000000000000000000".parse::<Actor>(), Err(ActorError::Name));
    }
}
