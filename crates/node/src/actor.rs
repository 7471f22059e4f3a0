//! The writer of events: a name that the operator chooses, and an incarnation.

use std::fmt;
use std::str::FromStr;

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
