//! The state-aware assignor: a member tells the leader of its group which tasks' state lies on its
//! instance's disk, and the leader decides by it ([`streams::task_assignment`]).
//!
//! librdkafka has an interface for assignors that it does not publish; `native/assignor.c` talks to
//! it, and calls the two functions here. Each member offers the sticky assignor as well, and the
//! group's coordinator picks one that all members offer. So a group changes over while its members
//! are replaced one after the other, in both directions.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::bindings as sys;

use super::error::{Call, Failure};
use super::list::read;
use super::native::{Mailbox, Native};
use super::offered_member::OfferedMember;
use streams::error::{Error, Result};
use streams::record::TopicPartition;
use streams::task_assignment::{JoinedMember, MemberData, assign_tasks};

/// The assignor's name in the group's protocol. It is part of what members of different releases
/// agree on: another form of [`MemberData`] needs none, another decision may.
const NAME: &CStr = c"helixstream-state-aware";

/// As `struct helixstream_member` in `native/assignor.c`.
#[repr(C)]
struct NativeMember {
    id: *const c_char,
    id_size: usize,
    user_data: *const c_void,
    user_data_size: usize,
    subscription: *const sys::rd_kafka_topic_partition_list_t,
    owned: *const sys::rd_kafka_topic_partition_list_t,
    generation: c_int,
    assignment: *mut sys::rd_kafka_topic_partition_list_t,
}

/// As `struct helixstream_topic` there.
#[repr(C)]
struct NativeTopic {
    name: *const c_char,
    partitions: c_int,
}

unsafe extern "C" {
    fn helixstream_offer_assignor(client: *mut sys::rd_kafka_t, name: *const c_char) -> c_int;
}

/// Has a consumer that has not subscribed yet offer this assignor.
///
/// # Errors
/// [`Error::Fatal`] when librdkafka does not take it.
pub(super) fn offer(client: &Native, member: OfferedMember) -> Result<()> {
    if client.mailbox().member.set(member).is_err() {
        return Err(Error::Bug("a consumer offers its assignor twice".to_owned()));
    }
    // SAFETY: a live client whose opaque is its mailbox, and an ended string, which the call
    // copies. The client's own thread looks at its assignors when it joins a group, which it does
    // after a subscribe alone.
    let code = unsafe { helixstream_offer_assignor(client.as_ptr(), NAME.as_ptr()) };
    match Failure::of_number(code, None) {
        None => Ok(()),
        Some(failure) => Err(failure.remedy(Call::Consumer, "offer the state-aware assignor")),
    }
}

/// Data of a member for the leader, in a block of `malloc`, which the caller frees; null where that
/// is nothing.
///
/// # Safety
/// `opaque` is the mailbox of a live client; `size` is a place to write to.
#[unsafe(no_mangle)]
unsafe extern "C" fn helixstream_user_data(opaque: *const c_void, size: *mut usize) -> *mut c_void {
    let encode = || {
        // SAFETY: the caller's promise.
        let member = unsafe { &*opaque.cast::<Mailbox>() }.member.get()?;
        let on_disk = member.state_on_disk.snapshot();
        Some(MemberData { instance: member.instance.clone(), on_disk }.encode())
    };
    // A panic must not go on through librdkafka.
    let Ok(Some(text)) = catch_unwind(AssertUnwindSafe(encode)) else { return std::ptr::null_mut() };
    // SAFETY: a block of the size that is written to it; `size` is the caller's promise.
    unsafe {
        let block = libc::malloc(text.len());
        if !block.is_null() {
            std::ptr::copy_nonoverlapping(text.as_ptr(), block.cast::<u8>(), text.len());
            *size = text.len();
        }
        block
    }
}

/// Decides for all members, and adds to their assignments, which are empty; -1 after a panic, which
/// is logged: the sticky assignor decides then.
///
/// # Safety
/// The arrays are of these lengths, or null where they have none; their strings and lists are live,
/// and nobody else uses them meanwhile.
#[unsafe(no_mangle)]
unsafe extern "C" fn helixstream_assign(
    _opaque: *const c_void,
    members: *const NativeMember,
    member_count: usize,
    topics: *const NativeTopic,
    topic_count: usize,
) -> c_int {
    let decide = || {
        // SAFETY: the caller's promise; the arrays have room for one element at least.
        let (members, topics) = unsafe {
            (std::slice::from_raw_parts(members, member_count), std::slice::from_raw_parts(topics, topic_count))
        };
        let mut partitions = BTreeSet::new();
        for topic in topics {
            // SAFETY: an ended string.
            let name = unsafe { CStr::from_ptr(topic.name) }.to_string_lossy();
            partitions.extend((0..topic.partitions).map(|partition| TopicPartition::new(&*name, partition)));
        }
        // SAFETY: the members are live.
        let found: Vec<JoinedMember> = members.iter().map(|member| unsafe { read_member(member) }).collect();
        for (member, assigned) in members.iter().zip(assign_tasks(&found, &partitions)) {
            for partition in assigned {
                // A name with a NUL in it was none of the topics'.
                let Ok(name) = CString::new(&*partition.topic) else { continue };
                // SAFETY: a live list, and an ended string, which the call copies.
                unsafe {
                    sys::rd_kafka_topic_partition_list_add(member.assignment, name.as_ptr(), partition.partition);
                }
            }
        }
    };
    // A panic must not go on through librdkafka.
    if catch_unwind(AssertUnwindSafe(decide)).is_ok() {
        return 0;
    }
    tracing::error!(
        code = "HS2063",
        "the state-aware assignor has failed, by a fault of this program: the tasks of this rebalance are assigned by cooperative-sticky instead, and \
         nothing is lost. Report it with the panic's message above; task_assignor = \"sticky\" avoids it"
    );
    -1
}

/// Copies a member out. One whose data cannot be read counts as an instance with nothing on disk.
///
/// # Safety
/// The member's strings and lists are live.
unsafe fn read_member(member: &NativeMember) -> JoinedMember {
    // SAFETY: the caller's promise.
    let (id, data, subscription, owned) = unsafe {
        (
            bytes(member.id.cast(), member.id_size),
            bytes(member.user_data, member.user_data_size),
            read(member.subscription),
            read(member.owned),
        )
    };
    let id = String::from_utf8_lossy(id).into_owned();
    let data = std::str::from_utf8(data).ok().and_then(MemberData::decode);
    JoinedMember {
        data: data.unwrap_or_else(|| MemberData { instance: id.clone(), ..MemberData::default() }),
        id,
        topics: subscription.into_iter().map(|entry| entry.topic).collect(),
        owned: owned.iter().map(|entry| TopicPartition::new(&*entry.topic, entry.partition)).collect(),
        generation: member.generation,
    }
}

/// # Safety
/// `start` points to `size` bytes, or is null.
unsafe fn bytes<'a>(start: *const c_void, size: usize) -> &'a [u8] {
    // SAFETY: the caller's promise.
    if start.is_null() { &[] } else { unsafe { std::slice::from_raw_parts(start.cast(), size) } }
}
