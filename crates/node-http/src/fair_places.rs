//! Places that tenants share: open streams of events, and snapshots that are being read. Each stays
//! taken for as long as its client likes, so their number has a limit, and none of the tenants can
//! keep the others from them.
//!
//! A tenant has a limit of its own. Where all places are taken, a tenant takes over one of the
//! tenant that has most, if it has fewer afterwards: the latest place of that one is withdrawn. So
//! of N tenants that want places each gets at least the Nth part of them, rounded down.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::request::Client;

/// Places, and who has taken them.
#[derive(Clone)]
pub(crate) struct FairPlaces {
    /// How many there are.
    most: usize,
    /// How many a tenant may have.
    most_of_tenant: usize,
    taken: Arc<Mutex<TakenPlaces>>,
}

/// The clients that share a limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Tenant {
    /// All clients of a node that asks for no token.
    Everybody,
    /// The token with this name, which is bound to no users.
    Token(String),
    /// All tokens that are bound to exactly these users.
    Users(BTreeSet<String>),
}

impl Tenant {
    /// The tenant of a client: all tokens that are bound to the same users are one, and so is each
    /// token that is bound to none.
    pub fn of(client: &Client) -> Tenant {
        match (client.users(), client.name()) {
            (Some(users), _) => Tenant::Users(users.clone()),
            (None, "") => Tenant::Everybody,
            (None, name) => Tenant::Token(name.to_owned()),
        }
    }
}

/// The places that are taken, by the order in which they were.
#[derive(Default)]
struct TakenPlaces {
    last: u64,
    places: BTreeMap<u64, TakenPlace>,
}

struct TakenPlace {
    tenant: Tenant,
    /// Says that the place is withdrawn.
    withdrawn: watch::Sender<bool>,
}

/// A place; free again when it is dropped.
pub(crate) struct Place {
    places: FairPlaces,
    number: u64,
    withdrawn: watch::Receiver<bool>,
}

impl FairPlaces {
    /// So many places, of which one tenant may have so many.
    pub fn new(most: usize, most_of_tenant: usize) -> FairPlaces {
        FairPlaces { most, most_of_tenant, taken: Arc::default() }
    }

    fn taken(&self) -> MutexGuard<'_, TakenPlaces> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place. `None` where the tenant may have none.
    pub fn take(&self, tenant: Tenant) -> Option<Place> {
        let mut taken = self.taken();
        let mut counts: HashMap<&Tenant, usize> = HashMap::new();
        taken.places.values().for_each(|place| *counts.entry(&place.tenant).or_default() += 1);
        let own = counts.get(&tenant).copied().unwrap_or(0);
        if own >= self.most_of_tenant && tenant != Tenant::Everybody {
            return None;
        }
        if taken.places.len() >= self.most {
            let greatest = counts.values().copied().max().filter(|greatest| *greatest > own + 1)?;
            let has_most = |place: &TakenPlace| counts.get(&place.tenant) == Some(&greatest);
            let latest = taken.places.iter().rev().find(|(_, place)| has_most(place)).map(|(number, _)| *number)?;
            if let Some(place) = taken.places.remove(&latest) {
                place.withdrawn.send_replace(true);
            }
        }
        taken.last += 1;
        let (number, (withdrawn, receiver)) = (taken.last, watch::channel(false));
        taken.places.insert(number, TakenPlace { tenant, withdrawn });
        Some(Place { places: self.clone(), number, withdrawn: receiver })
    }
}

impl Place {
    /// Waits until the place is withdrawn, for another tenant.
    pub fn withdrawn(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut withdrawn = self.withdrawn.clone();
        async move {
            // The sender goes with the place.
            let _ = withdrawn.wait_for(|is_withdrawn| *is_withdrawn).await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().places.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> Tenant {
        Tenant::Users(BTreeSet::from([name.to_owned()]))
    }

    fn is_withdrawn(place: &Place) -> bool {
        *place.withdrawn.borrow()
    }

    #[test]
    fn a_place_is_free_again_when_it_is_dropped_and_no_tenant_has_more_than_its_limit() {
        let places = FairPlaces::new(64, 16);
        let of_one: Vec<_> = (0..16).map(|_| places.take(tenant("one")).unwrap()).collect();
        assert!(places.take(tenant("one")).is_none());
        drop(of_one);
        let again = places.take(tenant("one"));
        assert!(again.is_some());
        drop(again);
        assert!(places.taken().places.is_empty());
        // Where the node asks for no token, its clients share all places.
        let everybody = Tenant::Everybody;
        let all: Vec<_> = (0..64).map(|_| places.take(everybody.clone()).unwrap()).collect();
        assert!(places.take(everybody).is_none() && !all.iter().any(is_withdrawn));
    }

    #[test]
    fn a_tenant_that_has_fewer_takes_over_the_latest_place_of_the_one_that_has_most() {
        let places = FairPlaces::new(8, 6);
        let greedy: Vec<_> = (0..6).map(|_| places.take(tenant("greedy")).unwrap()).collect();
        let other: Vec<_> = (0..2).map(|_| places.take(tenant("other")).unwrap()).collect();
        let mut late = vec![places.take(tenant("late")).unwrap()];
        assert_eq!(greedy.iter().map(is_withdrawn).collect::<Vec<_>>(), [false, false, false, false, false, true]);
        late.push(places.take(tenant("late")).unwrap());
        // 4, 2 and 2 now: with one more each would have three.
        late.push(places.take(tenant("late")).unwrap());
        assert!(places.take(tenant("late")).is_none(), "3, 2 and 3");
        assert!(places.take(tenant("greedy")).is_none());
        assert_eq!(greedy.iter().filter(|place| is_withdrawn(place)).count(), 3);
        assert!(!other.iter().chain(&late).any(is_withdrawn));
        // A place that was withdrawn is not given back twice.
        drop(greedy);
        assert_eq!(places.taken().places.len(), 5);
    }

    #[test]
    fn whoever_asks_in_whatever_order_no_tenant_is_kept_from_its_share() {
        let seed = testkit::seed();
        let mut random = testkit::Random::new(seed);
        let places = FairPlaces::new(16, 16);
        let names = ["a", "b", "c", "d", "e"];
        let mut held: Vec<(usize, Place)> = Vec::new();
        for _ in 0..2000 {
            let name = random.below(names.len());
            match places.take(tenant(names[name])) {
                Some(place) => held.push((name, place)),
                None => {
                    let own = held.iter().filter(|(of, place)| *of == name && !is_withdrawn(place)).count();
                    assert!(own >= 16 / names.len(), "SEED={seed}");
                }
            }
            held.retain(|(_, place)| !is_withdrawn(place) && random.below(40) > 0);
            assert!(places.taken().places.len() <= 16, "SEED={seed}");
        }
    }
}
