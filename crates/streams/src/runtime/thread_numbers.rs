//! The numbers of an instance's stream threads, and how their count changes at run time.
//!
//! A number is part of the names of a thread: its client id, its static member id and its
//! transactional id. So it is given to another thread only once its bearer has ended, and the
//! lowest free one is taken, by which a thread that comes back finds its names again.

use std::collections::BTreeMap;

/// Where the thread of a number stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ThreadState {
    /// It is to be started.
    Requested,
    Running,
    /// It is to commit, to leave the group and to end.
    Leaving,
}

/// The numbers that are taken, each with the state of its thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ThreadNumbers(BTreeMap<usize, ThreadState>);

impl ThreadNumbers {
    /// Of so many threads that are to be started.
    pub fn new(count: usize) -> ThreadNumbers {
        ThreadNumbers((0..count).map(|number| (number, ThreadState::Requested)).collect())
    }

    /// Requests one more thread; its number.
    pub fn add(&mut self) -> usize {
        let is_free = |number: &usize| !self.0.contains_key(number);
        let number = (0..=self.0.len()).find(is_free).unwrap_or(self.0.len());
        self.0.insert(number, ThreadState::Requested);
        number
    }

    /// Has the thread with the highest number leave; its number. `None` where it is the only one.
    /// So the lowest one stays for as long as the instance runs.
    pub fn remove(&mut self) -> Option<usize> {
        let mut staying = self.0.iter().filter(|(_, state)| **state != ThreadState::Leaving).map(|(number, _)| *number);
        let highest = staying.next_back()?;
        staying.next_back()?;
        match self.0.get_mut(&highest) {
            Some(state @ ThreadState::Running) => *state = ThreadState::Leaving,
            _ => _ = self.0.remove(&highest),
        }
        Some(highest)
    }

    /// A number whose thread is to be started, once.
    pub fn take_requested(&mut self) -> Option<usize> {
        let (number, state) = self.0.iter_mut().find(|(_, state)| **state == ThreadState::Requested)?;
        *state = ThreadState::Running;
        Some(*number)
    }

    /// Whether a thread is to be started.
    pub fn are_requested(&self) -> bool {
        self.0.values().any(|state| *state == ThreadState::Requested)
    }

    /// A thread of this number was made.
    pub fn started(&mut self, number: usize) {
        let state = self.0.entry(number).or_insert(ThreadState::Running);
        if *state == ThreadState::Requested {
            *state = ThreadState::Running;
        }
    }

    /// Whether the thread of this number is to leave.
    pub fn is_leaving(&self, number: usize) -> bool {
        self.0.get(&number) == Some(&ThreadState::Leaving)
    }

    /// The thread has ended: its number is free.
    pub fn ended(&mut self, number: usize) {
        self.0.remove(&number);
    }

    /// Whether this number is taken.
    pub fn contains(&self, number: usize) -> bool {
        self.0.contains_key(&number)
    }

    /// How many numbers are taken.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(count: usize) -> ThreadNumbers {
        let mut numbers = ThreadNumbers::new(count);
        while numbers.take_requested().is_some() {}
        numbers
    }

    #[test]
    fn the_lowest_free_number_is_taken_and_none_of_a_thread_that_is_alive() {
        let mut numbers = running(2);
        assert_eq!((numbers.add(), numbers.take_requested(), numbers.take_requested()), (2, Some(2), None));
        assert_eq!(numbers.remove(), Some(2));
        assert_eq!(numbers.add(), 3, "thread 2 is alive");
        numbers.ended(2);
        assert_eq!((numbers.add(), numbers.count()), (2, 4));
    }

    #[test]
    fn the_highest_thread_leaves_and_the_last_one_stays() {
        let mut numbers = running(3);
        assert_eq!((numbers.remove(), numbers.remove(), numbers.remove()), (Some(2), Some(1), None));
        assert_eq!([0, 1, 2, 7].map(|number| numbers.is_leaving(number)), [false, true, true, false]);
        numbers.ended(1);
        numbers.ended(2);
        assert_eq!((numbers.remove(), numbers.count()), (None, 1));
    }

    #[test]
    fn a_thread_that_was_not_started_yet_is_forgotten() {
        let mut numbers = running(1);
        let number = numbers.add();
        assert!(numbers.are_requested());
        assert_eq!((numbers.remove(), numbers.are_requested(), numbers.count()), (Some(number), false, 1));
    }

    #[test]
    fn a_thread_that_is_made_anew_in_place_of_one_that_leaves_leaves_too() {
        let mut numbers = running(2);
        numbers.remove();
        numbers.started(1);
        assert!(numbers.is_leaving(1));
        numbers.started(5);
        assert!(!numbers.is_leaving(5), "a program that starts threads by itself");
    }
}
