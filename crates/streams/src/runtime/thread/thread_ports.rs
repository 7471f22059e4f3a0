//! A stream thread as others see it: the ports that it is made of, and whether it goes on.

use crate::ports::{Fetching, Membership, ProducerFactory};

/// The world of one thread.
pub struct ThreadPorts {
    /// Its membership of the group.
    pub membership: Box<dyn Membership>,
    /// Its consumer.
    pub fetching: Box<dyn Fetching>,
    /// Makes its producer.
    pub producers: Box<dyn ProducerFactory>,
    /// [`Instance::renewals`](crate::runtime::Instance::renewals) before these were made.
    pub renewal: u64,
}

/// Whether a thread goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStatus {
    /// `run_once` is to be called again.
    Running,
    /// It has committed, left the group and closed its tasks: the instance stops, or the clients of
    /// the thread are to be renewed.
    Stopped,
}
