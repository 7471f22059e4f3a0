//! Options of a store, apart from its content.

/// Where a store lies while its task runs. Either way it is logged to its changelog.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreKind {
    /// On disk: after a restart only the changelog's tail is read.
    #[default]
    Disk,
    /// In memory: gone with the process, so the changelog is read whole when the task is taken
    /// again.
    Memory,
}

/// How a store is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreOptions {
    /// Where it lies.
    pub kind: StoreKind,
    /// So many instances besides the owner of a task keep its store warm from the changelog, if
    /// there are as many.
    pub standby: u32,
}
