//! The digest of a topology: one number for everything that decides outputs, and a short one for
//! each named part of it.
//!
//! The instances of an application must run the same topology, or their outputs contradict each
//! other. So each commit carries the digest of the topology that made it, and each member of the
//! group shows its own in its client id. The engine does not know what decides outputs: the program
//! hands over named texts. The hashes find mistakes, not forgeries.

use std::fmt;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// The digest of a topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopologyDigest {
    whole: u64,
    /// A hash of each part, by the part's name.
    parts: Vec<(String, u32)>,
}

/// A digest as a commit carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// How often the topology was changed on purpose, plus one. The greatest generation is the one
    /// that holds.
    pub generation: u64,
    /// The topology of that generation.
    pub digest: TopologyDigest,
}

/// Prefix of the word about the topology in a commit's metadata. No store is named so: topics are
/// named after stores.
const MARK: char = '#';
/// The name under which a commit's metadata carries the digest of the whole.
const WHOLE: &str = "topology";

impl TopologyDigest {
    /// The digest of named parts. Names are single words of letters, since a commit's metadata
    /// carries them.
    pub fn of(parts: &[(&str, String)]) -> TopologyDigest {
        let mut whole = Xxh3::new();
        for (name, text) in parts {
            for bytes in [name.as_bytes(), text.as_bytes()] {
                whole.update(&(bytes.len() as u64).to_le_bytes());
                whole.update(bytes);
            }
        }
        // The low half of the hash.
        let part = |(name, text): &(&str, String)| ((*name).to_owned(), xxh3_64(text.as_bytes()) as u32);
        TopologyDigest { whole: whole.digest(), parts: parts.iter().map(part).collect() }
    }

    /// The names of the parts in which another digest differs; a part that only one of the two has
    /// differs as well.
    pub fn differences<'d>(&'d self, other: &'d TopologyDigest) -> Vec<&'d str> {
        let names = |one: &'d TopologyDigest| one.parts.iter().map(|(name, _)| name.as_str());
        let mut found: Vec<&str> = Vec::new();
        for name in names(self).chain(names(other)) {
            if self.part(name) != other.part(name) && !found.contains(&name) {
                found.push(name);
            }
        }
        found
    }

    fn part(&self, name: &str) -> Option<u32> {
        self.parts.iter().find(|(known, _)| known == name).map(|(_, hash)| *hash)
    }
}

impl fmt::Display for TopologyDigest {
    /// Sixteen hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.whole)
    }
}

impl Stamp {
    /// As words of a commit's metadata. Each has the form of a store that no topology has, which a
    /// release that knows no digests passes over.
    pub fn words(&self) -> String {
        let Stamp { generation, digest } = self;
        let parts = digest.parts.iter().map(|(name, hash)| format!(" {MARK}{name}:{generation}:{hash:08x}"));
        format!(" {MARK}{WHOLE}:{generation}:{digest}{}", parts.collect::<String>())
    }

    /// Whether a word of a commit's metadata is about the topology.
    pub fn is_word(word: &str) -> bool {
        word.starts_with(MARK)
    }

    /// The stamp in a commit's metadata; `None` where an earlier release wrote it.
    pub fn find(metadata: &str) -> Option<Stamp> {
        let mut whole = None;
        let mut parts = Vec::new();
        for word in metadata.split(' ').filter_map(|word| word.strip_prefix(MARK)) {
            let (rest, hash) = word.rsplit_once(':')?;
            let (name, generation) = rest.rsplit_once(':')?;
            match name {
                WHOLE => whole = Some((generation.parse().ok()?, u64::from_str_radix(hash, 16).ok()?)),
                name => parts.push((name.to_owned(), u32::from_str_radix(hash, 16).ok()?)),
            }
        }
        whole.map(|(generation, whole)| Stamp { generation, digest: TopologyDigest { whole, parts } })
    }
}

/// A member's client id with the digest of what it runs, for others to read.
pub fn client_id_with(client_id: &str, digest: &TopologyDigest) -> String {
    format!("{client_id}.{digest}")
}

/// A client id without the digest that [`client_id_with`] put there, and that digest if there is
/// one.
pub fn split_client_id(client_id: &str) -> (&str, Option<&str>) {
    let is_digest = |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match client_id.rsplit_once('.') {
        Some((rest, digest)) if is_digest(digest) => (rest, Some(digest)),
        _ => (client_id, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(graph: &str, limits: &str) -> TopologyDigest {
        TopologyDigest::of(&[("graph", graph.to_owned()), ("limits", limits.to_owned())])
    }

    #[test]
    fn each_part_tells_and_is_named() {
        let one = digest("a", "b");
        assert_eq!(one, digest("a", "b"));
        assert_eq!(one.differences(&digest("a", "b")), [""; 0]);
        assert_eq!(one.differences(&digest("x", "b")), ["graph"]);
        assert_eq!(one.differences(&digest("b", "a")), ["graph", "limits"]);
        assert_ne!(digest("ab", "").to_string(), digest("a", "b").to_string(), "parts do not run into each other");
        let more = TopologyDigest::of(&[("graph", "a".to_owned()), ("limits", "b".to_owned()), ("new", String::new())]);
        assert_eq!((one.differences(&more), more.differences(&one)), (vec!["new"], vec!["new"]));
    }

    #[test]
    fn a_stamp_is_found_among_the_words_of_a_commit() {
        let stamp = Stamp { generation: 7, digest: digest("a", "b") };
        assert_eq!(Stamp::find(&format!("1 99 memories:5:ab{}", stamp.words())), Some(stamp));
        assert_eq!(Stamp::find("1 99 memories:5:ab"), None);
        assert_eq!(Stamp::find("1 99 #topology:x:1"), None);
        assert_eq!(Stamp::find(""), None);
    }

    #[test]
    fn a_client_id_is_read_with_and_without_a_digest() {
        let with = client_id_with("app.v2-1a2b-0", &digest("a", "b"));
        assert_eq!(split_client_id(&with), ("app.v2-1a2b-0", Some(&*digest("a", "b").to_string())));
        assert_eq!(split_client_id("app.v2-1a2b-0"), ("app.v2-1a2b-0", None));
        assert_eq!(split_client_id("rdkafka"), ("rdkafka", None));
    }
}
