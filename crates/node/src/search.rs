//! Searches of memories: by words, by an embedding, or by both.
//!
//! HelixAgent's memories have a type, a category and a summary, for which events have no fields of
//! their own. They travel among the metadata, each under its name behind [`METADATA_PREFIX`].

use std::collections::BTreeSet;

use json::{Number, Value};

use crate::shown::ShownMemory;

/// The prefix of the metadata keys that hold a field of HelixAgent's or Mem0's memories.
pub const METADATA_PREFIX: &str = "helixagent.";

/// The words of a search that count: its first different ones. A word such as `a-b-c` counts for
/// each of its parts.
pub const MAX_SEARCH_WORDS: usize = 64;

/// The bytes of the words of a search that count, as UTF-8.
pub const MAX_SEARCH_BYTES: usize = 4096;

/// How many numbers of embeddings a search compares at most: 174,762 embeddings of 1536 dimensions.
/// The embeddings of a search lie side by side in no index; each is read.
pub const MAX_COMPARED: u64 = 1 << 28;

/// The most numbers of an embedding that is compared. One with more is skipped, as one with another
/// number of dimensions is: a search reads several embeddings at a time.
pub const MAX_DIMENSIONS: usize = 1 << 16;

/// A search over active memories.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchQuery {
    /// Words of content and tags, in any order; letter case and accents do not matter. A memory
    /// with one of them is a hit, and more and rarer words score higher. Words beyond the first
    /// [`MAX_SEARCH_WORDS`] different ones, or [`MAX_SEARCH_BYTES`], are not searched for.
    pub text: String,
    /// Memories of these users alone; `None` is all, also those without a user.
    pub users: Option<BTreeSet<String>>,
    /// Memories of this session alone.
    pub session_id: Option<String>,
    /// Memories of this HelixAgent type alone.
    pub kind: Option<String>,
    /// Memories of this HelixAgent category alone.
    pub category: Option<String>,
    /// Memories whose first event is not before this time, in nanoseconds since 1970.
    pub created_from: Option<u64>,
    /// Memories whose first event is not after this time, in nanoseconds since 1970.
    pub created_to: Option<u64>,
    /// Hits with at least this score.
    pub min_score: Option<f64>,
    /// How many at most: the best ones; at least 1, and no more than
    /// [`MAX_PAGE`](crate::shown::MAX_PAGE).
    pub limit: usize,
}

/// A memory that a search has found.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchHit {
    /// The memory.
    pub memory: ShownMemory,
    /// The score: greater is better. Hits come by score, and of equal ones by id.
    pub score: f64,
}

/// The hits of a search by words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WordHits {
    /// The hits, the best first.
    pub hits: Vec<SearchHit>,
    /// Whether further ones are left out because these have
    /// [`MAX_PAGE_BYTES`](crate::shown::MAX_PAGE_BYTES).
    pub is_truncated: bool,
}

/// The embedding that memories are compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct Near {
    /// Its direction.
    pub direction: Direction,
    /// How much the similarity counts beside the words, from 0 to 1.
    pub weight: f64,
}

/// The hits of a search by an embedding.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NearHits {
    /// The hits, the best first.
    pub hits: Vec<SearchHit>,
    /// Whether further ones are left out because these have
    /// [`MAX_PAGE_BYTES`](crate::shown::MAX_PAGE_BYTES).
    pub is_truncated: bool,
    /// How many embeddings were compared.
    pub compared: u64,
    /// How many memories were left out because their embeddings have another number of dimensions,
    /// or more than [`MAX_DIMENSIONS`].
    pub skipped: u64,
    /// Whether the search has ended at [`MAX_COMPARED`]: there may be better hits.
    pub is_cut: bool,
}

/// The direction of an embedding: the vector of length 1 that points where it points.
#[derive(Clone, Debug, PartialEq)]
pub struct Direction(Vec<f32>);

impl Direction {
    /// The direction of a vector; `None` where it has none: it is empty, or all zeros.
    #[must_use]
    pub fn of(vector: &[f64]) -> Option<Direction> {
        // Squares of large numbers would be infinite, and those of small ones zero.
        let greatest = vector.iter().fold(0.0, |greatest: f64, x| greatest.max(x.abs()));
        if greatest == 0.0 || !greatest.is_finite() {
            return None;
        }
        let length = vector.iter().map(|x| (x / greatest).powi(2)).sum::<f64>().sqrt();
        let unit = |x: &f64| (x / greatest / length) as f32;
        Some(Direction(vector.iter().map(unit).collect()))
    }

    /// The direction of a vector in JSON; `None` where it has none, or is no list of numbers.
    #[must_use]
    pub fn of_json(embedding: Value<'_>) -> Option<Direction> {
        let double = |number: Number| match number {
            Number::Int(whole) => whole as f64,
            Number::Float(double) => double,
        };
        let numbers: Option<Vec<f64>> = embedding.items().map(|item| item.as_number().map(double)).collect();
        Direction::of(&numbers?)
    }

    /// How many numbers it has.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.0.len()
    }

    /// As bytes: 32-bit floats, little-endian.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|x| x.to_le_bytes()).collect()
    }

    /// The cosine of the angle to a direction in the form of [`Direction::to_bytes`]: from -1 to 1.
    pub(crate) fn cosine(&self, other: &[u8]) -> f64 {
        // Several sums at a time, so that the processor adds several numbers at a time.
        const LANES: usize = 8;
        let mut sums = [0f32; LANES];
        let (parts, rest) = self.0.as_chunks::<LANES>();
        let (other_parts, other_rest) = other.as_chunks::<{ LANES * 4 }>();
        for (part, bytes) in parts.iter().zip(other_parts) {
            let (numbers, _) = bytes.as_chunks::<4>();
            for ((sum, x), y) in sums.iter_mut().zip(part).zip(numbers) {
                *sum += x * f32::from_le_bytes(*y);
            }
        }
        let (numbers, _) = other_rest.as_chunks::<4>();
        let end: f32 = rest.iter().zip(numbers).map(|(x, y)| x * f32::from_le_bytes(*y)).sum();
        f64::from(sums.iter().sum::<f32>() + end).clamp(-1.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cosine(a: &[f64], b: &[f64]) -> f64 {
        Direction::of(a).unwrap().cosine(&Direction::of(b).unwrap().to_bytes())
    }

    #[test]
    fn a_cosine_depends_on_directions_alone() {
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} {b}");
        near(cosine(&[3.0, 0.0], &[5.0, 0.0]), 1.0);
        near(cosine(&[1.0, 0.0], &[0.0, 2.0]), 0.0);
        near(cosine(&[1.0, 1.0], &[-2.0, -2.0]), -1.0);
        near(cosine(&[1.0, 0.0], &[1.0, 1.0]), 0.5f64.sqrt());
        near(cosine(&[1e300, 1e300], &[1e-300, 1e-300]), 1.0);
        let long: Vec<f64> = (0..1537).map(|n| f64::from(n % 7) - 3.0).collect();
        near(cosine(&long, &long), 1.0);
        let reversed: Vec<f64> = long.iter().rev().copied().collect();
        let dot: f64 = long.iter().zip(&reversed).map(|(x, y)| x * y).sum();
        let square: f64 = long.iter().map(|x| x * x).sum();
        near(cosine(&long, &reversed), dot / square);
    }

    #[test]
    fn a_vector_without_a_direction_is_none() {
        for vector in [&[][..], &[0.0, -0.0], &[f64::INFINITY, 1.0]] {
            assert_eq!(Direction::of(vector), None, "{vector:?}");
        }
    }
}
