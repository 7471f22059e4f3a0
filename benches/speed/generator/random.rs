//! Java 17's `SplittableRandom` (SplitMix64), so that the input is the same bytes as the anchor's
//! generator makes.

/// A stream of pseudo-random numbers; the same seed gives what `new SplittableRandom(seed)` gives
/// in Java 17.
#[derive(Clone, Debug)]
pub struct Random {
    seed: u64,
}

const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// A stream from a seed.
    pub fn new(seed: u64) -> Random {
        Random { seed }
    }

    fn next_seed(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(GOLDEN_GAMMA);
        self.seed
    }

    /// `nextLong()`.
    pub fn long(&mut self) -> u64 {
        let z = self.next_seed();
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn int(&mut self) -> u32 {
        let z = self.next_seed();
        let z = (z ^ (z >> 33)).wrapping_mul(0x62a9_d9ed_7997_05f5);
        ((z ^ (z >> 28)).wrapping_mul(0xcb24_d0a5_c88c_35b3) >> 32) as u32
    }

    /// `nextBoolean()`.
    pub fn boolean(&mut self) -> bool {
        self.int() >> 31 == 1
    }

    /// `nextDouble()`: from 0 to below 1.
    pub fn double(&mut self) -> f64 {
        (self.long() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// `nextInt(bound)`, `bound` from 1 to 2^31-1: candidates of the last, incomplete round are
    /// rejected.
    pub fn below(&mut self, bound: u32) -> u32 {
        let drawn = self.int();
        if bound.is_power_of_two() {
            return drawn & (bound - 1);
        }
        let mut candidate = drawn >> 1;
        loop {
            let rest = candidate % bound;
            if candidate - rest <= (1 << 31) - bound {
                return rest;
            }
            candidate = self.int() >> 1;
        }
    }

    /// `nextLong(bound)`, `bound` from 1 to 2^63-1.
    pub fn long_below(&mut self, bound: u64) -> u64 {
        let drawn = self.long();
        if bound.is_power_of_two() {
            return drawn & (bound - 1);
        }
        let mut candidate = drawn >> 1;
        loop {
            let rest = candidate % bound;
            if candidate - rest <= (1 << 63) - bound {
                return rest;
            }
            candidate = self.long() >> 1;
        }
    }

    /// One of a list, drawn by `nextInt(list.length)`.
    pub fn one_of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len() as u32) as usize]
    }
}
