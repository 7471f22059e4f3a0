//! Finding the bytes at which a string's text must stop or be escaped, eight bytes at a time: most
//! of an event is strings.

const ONES: u64 = u64::from_le_bytes([0x01; 8]);
const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
const SPACES: u64 = u64::from_le_bytes([b' '; 8]);
const QUOTES: u64 = u64::from_le_bytes([b'"'; 8]);
const BACKSLASHES: u64 = u64::from_le_bytes([b'\\'; 8]);

/// The first index from `from` on of a quote, a backslash or a control character below 0x20; the
/// length if there is none. The same bytes end a run in the parser and need an escape in the
/// writer.
pub fn special(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let word = u64::from_le_bytes(*chunk);
        // A byte's high bit is set if it was below the subtrahend. A borrow can only reach bytes
        // above a true hit, so the lowest one set is exact.
        let below = |word: u64, bound: u64| word.wrapping_sub(bound) & !word & HIGHS;
        let hits = below(word, SPACES) | below(word ^ QUOTES, ONES) | below(word ^ BACKSLASHES, ONES);
        if hits != 0 {
            return at + hits.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let is_special = |byte: &u8| matches!(byte, 0..0x20 | b'"' | b'\\');
    bytes.iter().skip(at).position(is_special).map_or(bytes.len(), |n| at + n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place_is_told_right() {
        for byte in 0..=255_u8 {
            let special_byte = byte < 0x20 || byte == b'"' || byte == b'\\';
            for neighbour in [b'a', 0x80, 0xff, 0x21, 0x7f] {
                for place in 0..20 {
                    let mut text = [neighbour; 20];
                    text[place] = byte;
                    assert_eq!(special(&text, 0), if special_byte { place } else { 20 }, "{byte} at {place}");
                    assert_eq!(special(&text, place + 1), 20);
                }
            }
        }
    }
}
