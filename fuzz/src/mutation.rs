//! Changes of an input that keep most of it, so that the result still reaches deep into a reader.

use testkit::Random;

/// The longest input that a mutation makes.
const MAX_BYTES: usize = 64 << 10;

/// An input with one to four changes.
pub fn mutate(random: &mut Random, mut input: Vec<u8>, dictionary: &[&[u8]]) -> Vec<u8> {
    for _ in 0..1 + random.below(4) {
        change(random, &mut input, dictionary);
    }
    input.truncate(MAX_BYTES);
    input
}

/// The start of one input and the end of another.
pub fn splice(random: &mut Random, a: &[u8], b: &[u8]) -> Vec<u8> {
    let end = random.below(a.len() + 1);
    let start = random.below(b.len() + 1);
    [&a[..end], &b[start..]].concat()
}

fn change(random: &mut Random, input: &mut Vec<u8>, dictionary: &[&[u8]]) {
    let at = random.below(input.len() + 1);
    let end = (at + random.below(12)).min(input.len());
    match random.below(7) {
        0 if at < input.len() => input[at] = random.number() as u8,
        1 if at < input.len() => input[at] ^= 1 << random.below(8),
        2 => drop(input.drain(at..end)),
        3 => {
            let copy = input[at..end].to_vec();
            let to = random.below(input.len() + 1);
            drop(input.splice(to..to, copy));
        }
        4 => input.truncate(at),
        5 if !dictionary.is_empty() => drop(input.splice(at..end, random.pick(dictionary).iter().copied())),
        _ if !dictionary.is_empty() => drop(input.splice(at..at, random.pick(dictionary).iter().copied())),
        _ => input.insert(at, random.number() as u8),
    }
}
