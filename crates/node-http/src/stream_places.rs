//! The places of open streams: each stays open for as long as its client likes, so their number has
//! a limit, for all and for each token.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Streams that may be open at a time.
const MOST: usize = 64;
/// Streams that may be open with one token.
const MOST_OF_TOKEN: usize = 16;

/// The places.
#[derive(Clone, Default)]
pub(crate) struct StreamPlaces(Arc<Mutex<HashMap<String, usize>>>);

/// The place of a stream; free again when it is dropped.
pub(crate) struct StreamPlace {
    places: StreamPlaces,
    token: String,
}

impl StreamPlaces {
    fn taken(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place for a stream with the token of this name, which is empty where the node asks
    /// for none. `None` where no place is free.
    pub fn take(&self, token: &str) -> Option<StreamPlace> {
        let mut taken = self.taken();
        let of_token = taken.get(token).copied().unwrap_or(0);
        if taken.values().sum::<usize>() >= MOST || (!token.is_empty() && of_token >= MOST_OF_TOKEN) {
            return None;
        }
        taken.insert(token.to_owned(), of_token + 1);
        Some(StreamPlace { places: self.clone(), token: token.to_owned() })
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(count) = taken.get_mut(&self.token) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_stream_ends_and_no_token_takes_all() {
        let places = StreamPlaces::default();
        let of_one: Vec<_> = (0..MOST_OF_TOKEN).map(|_| places.take("one").unwrap()).collect();
        assert!(places.take("one").is_none());
        let others: Vec<_> = (MOST_OF_TOKEN..MOST).map(|_| places.take("").unwrap()).collect();
        assert!(places.take("two").is_none() && places.take("").is_none());
        drop(of_one);
        let two = places.take("two");
        assert!(two.is_some());
        drop((two, others));
        assert!(places.taken().is_empty());
    }
}
