//! Numbers as events carry them: an integer of 64 bits is kept exactly, any other is the nearest
//! double.

use std::cmp::Ordering;

/// A JSON number. A whole double below 2^53 is always held as `Int`, so equal numbers have one
/// form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// An integer within 64 bits, signed or unsigned: from -2^63 to 2^64-1.
    Int(i128),
    /// Any other number; finite, never -0.
    Float(f64),
}

impl Number {
    /// Zero, what an absent importance, confidence or strength counts as.
    pub const ZERO: Number = Number::Int(0);

    /// The number of a finite double: whole ones below 2^53 become integers.
    pub fn from_double(d: f64) -> Number {
        if d.fract() == 0.0 && d.abs() < 9_007_199_254_740_992.0 { Number::Int(d as i128) } else { Number::Float(d) }
    }

    /// Whether a double may stand in a [`Number::Float`]: it is finite, and no integer that a
    /// [`Number::Int`] holds.
    pub fn is_float(d: f64) -> bool {
        d.is_finite() && matches!(Number::from_double(d), Number::Float(_))
    }

    /// The order of the values themselves, exact also between integers and doubles.
    pub fn compare(&self, other: &Number) -> Ordering {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => a.cmp(b),
            (Number::Float(a), Number::Float(b)) => a.total_cmp(b),
            (Number::Int(a), Number::Float(b)) => int_to_double(*a, *b),
            (Number::Float(a), Number::Int(b)) => int_to_double(*b, *a).reverse(),
        }
    }
}

fn int_to_double(i: i128, d: f64) -> Ordering {
    // 2^64 and beyond lie outside of what `Int` holds, so the cast below is exact where it is used.
    if d >= 18_446_744_073_709_551_616.0 {
        return Ordering::Less;
    }
    if d < -9_223_372_036_854_775_808.0 {
        return Ordering::Greater;
    }
    // A fraction of -0.0 (negative whole doubles) must count as none: compare, do not total_cmp.
    i.cmp(&(d.trunc() as i128)).then_with(|| 0.0_f64.partial_cmp(&d.fract()).unwrap_or(Ordering::Equal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_by_value() {
        let int = Number::Int;
        assert_eq!(int(1).compare(&Number::Float(1.5)), Ordering::Less);
        assert_eq!(int(-1).compare(&Number::Float(-1.5)), Ordering::Greater);
        assert_eq!(Number::Float(-0.5).compare(&int(0)), Ordering::Less);
        assert_eq!(int(u64::MAX.into()).compare(&Number::Float(1e300)), Ordering::Less);
        assert_eq!(int(9_007_199_254_740_993).compare(&Number::Float(9_007_199_254_740_992.0)), Ordering::Greater);
        assert_eq!(Number::from_double(-0.0), int(0));
        assert_eq!(Number::from_double(3.0), int(3));
    }
}
