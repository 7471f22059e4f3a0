//! Each run of a randomised test draws new seeds. A run that fails names the seed that replays it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::OnceLock;
use std::thread;

/// The variable that replays a run: a test's first seed.
const VARIABLE: &str = "SEED";

/// Successive seeds. When the test panics, the one that it had in hand is printed.
#[derive(Debug)]
pub struct Seeds {
    next: u64,
    left: u64,
    current: Option<u64>,
}

impl Iterator for Seeds {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.current = None;
        self.left = self.left.checked_sub(1)?;
        self.current = Some(self.next);
        self.next = self.next.wrapping_add(1);
        self.current
    }
}

impl Drop for Seeds {
    fn drop(&mut self) {
        if let (true, Some(seed)) = (thread::panicking(), self.current) {
            eprintln!("this test failed at seed {seed}: {VARIABLE}={seed} replays it");
        }
    }
}

/// So many successive seeds, the first as of [`seed`].
///
/// # Panics
/// The variable `SEED` is not a number.
#[must_use]
pub fn seeds(count: u64) -> Seeds {
    Seeds { next: drawn(), left: count, current: None }
}

/// The seed of this process, drawn when it is first asked for, or the number of the variable
/// `SEED`. It is printed: libtest shows what a failing test prints.
///
/// # Panics
/// The variable `SEED` is not a number.
#[must_use]
pub fn seed() -> u64 {
    let seed = drawn();
    eprintln!("{VARIABLE}={seed} replays this test");
    seed
}

/// The number of the variable `SEED`, if it is set.
///
/// # Panics
/// It is not a number.
#[must_use]
pub fn given_seed() -> Option<u64> {
    let text = std::env::var(VARIABLE).ok()?;
    Some(text.trim().parse().unwrap_or_else(|error| panic!("{VARIABLE}={text} is not a number: {error}")))
}

fn drawn() -> u64 {
    static DRAWN: OnceLock<u64> = OnceLock::new();
    // The standard library's hash maps draw their keys from the system's source of randomness. 32
    // bits are easy to type.
    *DRAWN.get_or_init(|| given_seed().unwrap_or_else(|| RandomState::new().build_hasher().finish() >> 32))
}

#[cfg(test)]
mod tests {
    use super::{seed, seeds};

    #[test]
    fn seeds_are_successive_and_the_same_for_a_whole_process() {
        let first = seed();
        assert_eq!(seeds(3).collect::<Vec<_>>(), [first, first + 1, first + 2]);
    }
}
