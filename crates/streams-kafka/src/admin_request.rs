//! Questions of librdkafka's admin interface that the crate has no call for: the committed offsets
//! of a whole group, its members in whatever state it is, and the identity of topics. Each is one
//! request whose answer comes as an event of a queue of its own.

use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr::NonNull;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_admin_op_t as Operation;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;

use super::coordinator::{PATIENCE, REQUEST_LIMIT};
use super::error::{Call, Failure};
use super::list::read;
use super::native::Native;
use streams::error::{Error, Result};
use streams::offset::Offset;
use streams::ports::rights::{self, Right};
use streams::ports::{Committed, TopicId, TopicIdentity};
use streams::record::TopicPartition;

/// How long a request may take. librdkafka answers it with an error at that time, so that the wait
/// for the event ends; of a coordinator see [`coordinator`](super::coordinator).
const REQUEST: Duration = Duration::from_secs(30);
/// How much longer the event is waited for.
const GRACE: Duration = Duration::from_secs(5);
/// Options of a request, with its time limit.
struct Options(*mut sys::rd_kafka_AdminOptions_t);

impl Options {
    fn new(client: *mut sys::rd_kafka_t, operation: Operation, limit: Duration) -> Options {
        let mut text = [0 as c_char; 256];
        // SAFETY: a live client; the options are ours to destroy; the text is as long as it is said
        // to be. A limit that is refused leaves librdkafka's default of a minute.
        unsafe {
            let options = sys::rd_kafka_AdminOptions_new(client, operation);
            let limit = c_int::try_from(limit.as_millis()).unwrap_or(c_int::MAX);
            sys::rd_kafka_AdminOptions_set_request_timeout(options, limit, text.as_mut_ptr(), text.len());
            Options(options)
        }
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once.
        unsafe { sys::rd_kafka_AdminOptions_destroy(self.0) }
    }
}

/// A queue that one answer comes by.
struct Answers(*mut sys::rd_kafka_queue_t);

impl Drop for Answers {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once.
        unsafe { sys::rd_kafka_queue_destroy(self.0) }
    }
}

/// An answer.
struct ResultEvent(NonNull<sys::rd_kafka_event_t>);

impl Drop for ResultEvent {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once.
        unsafe { sys::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

/// Makes a request that a group's coordinator answers. `None`: no answer came within its patience.
fn request_from_coordinator(
    client: *mut sys::rd_kafka_t,
    operation: Operation,
    doing: &str,
    send: impl FnOnce(*const sys::rd_kafka_AdminOptions_t, *mut sys::rd_kafka_queue_t),
) -> Result<Option<ResultEvent>> {
    request(client, Options::new(client, operation, REQUEST_LIMIT), PATIENCE, doing, send)
}

/// Makes a request and waits so long for its answer; `send` gets the options and the queue. `None`:
/// none came.
fn request(
    client: *mut sys::rd_kafka_t,
    options: Options,
    patience: Duration,
    doing: &str,
    send: impl FnOnce(*const sys::rd_kafka_AdminOptions_t, *mut sys::rd_kafka_queue_t),
) -> Result<Option<ResultEvent>> {
    // SAFETY: a live client; the queue is ours.
    let answers = Answers(unsafe { sys::rd_kafka_queue_new(client) });
    send(options.0, answers.0);
    let limit = c_int::try_from(patience.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: a live queue; the event is ours.
    let event = NonNull::new(unsafe { sys::rd_kafka_queue_poll(answers.0, limit) });
    let Some(event) = event else { return Ok(None) };
    let answer = ResultEvent(event);
    // SAFETY: a live event; the text lives as long, and is read before it is dropped.
    let failure = unsafe {
        let code = sys::rd_kafka_event_error(event.as_ptr());
        Failure::of_number(code as i32, Some(text(sys::rd_kafka_event_error_string(event.as_ptr()))))
    };
    match failure {
        Some(failure) => Err(failure.remedy(Call::Admin, doing)),
        None => Ok(Some(answer)),
    }
}

/// # Safety
/// `text` is null or an ended string.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// The failure in an error object that its owner keeps; `None` when it means success.
///
/// # Safety
/// `error` is null or a live error object.
unsafe fn borrowed(error: *const sys::rd_kafka_error_t) -> Option<Failure> {
    if error.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    unsafe {
        let code = sys::rd_kafka_error_code(error) as i32;
        Failure::of_number(code, Some(text(sys::rd_kafka_error_string(error))))
    }
}

fn name(of: &str) -> Result<CString> {
    CString::new(of)
        .map_err(|_| Error::Fatal(format!("`{of}` is not a name that Kafka accepts: it holds a NUL [HS2017]")))
}

fn is(failure: &Failure, code: Code) -> bool {
    failure.code == code as i32
}

/// Name of [`all_committed`] in messages.
pub(super) const LIST_COMMITTED: &str = "list the committed offsets of the group";
/// Name of [`member_ids`] in messages.
pub(super) const LIST_MEMBERS: &str = "list the members of the group";

/// All committed offsets of a group: an empty list where there is no such group, `None` where no
/// answer came.
pub(super) fn all_committed(client: &Native, group: &str) -> Result<Option<Vec<(TopicPartition, Committed)>>> {
    let client = client.as_ptr();
    let doing = LIST_COMMITTED;
    let id = name(group)?;
    let answer = request_from_coordinator(
        client,
        Operation::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS,
        doing,
        |options, queue| {
            // SAFETY: live client, options and queue; no partitions stand for all; the request is
            // copied by the call and ours to destroy.
            unsafe {
                let mut request = sys::rd_kafka_ListConsumerGroupOffsets_new(id.as_ptr(), std::ptr::null());
                sys::rd_kafka_ListConsumerGroupOffsets(client, &mut request, 1, options, queue);
                sys::rd_kafka_ListConsumerGroupOffsets_destroy(request);
            }
        },
    )?;
    let Some(answer) = answer else { return Ok(None) };
    let mut found = Vec::new();
    // SAFETY: a live event of this kind of request; all that it gives lives as long.
    unsafe {
        let result = sys::rd_kafka_event_ListConsumerGroupOffsets_result(answer.0.as_ptr());
        let mut count = 0;
        let groups = sys::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &mut count);
        for at in 0..count {
            let one = *groups.add(at);
            match borrowed(sys::rd_kafka_group_result_error(one)) {
                Some(failure) if is(&failure, Code::RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND) => continue,
                Some(failure) => return Err(failure.taking([Right::group(group)]).remedy(Call::Admin, doing)),
                None => {}
            }
            for entry in read(sys::rd_kafka_group_result_partitions(one)) {
                if let Some(failure) = Failure::of_number(entry.error, None) {
                    let takes = [Right::group(group), Right::topic(rights::Operation::Read, &entry.topic)];
                    return Err(failure.taking(takes).remedy(Call::Admin, doing));
                }
                if let Some(offset) = Offset::new(entry.offset) {
                    let partition = TopicPartition::new(entry.topic.as_str(), entry.partition);
                    found.push((partition, Committed { offset, metadata: entry.metadata }));
                }
            }
        }
    }
    Ok(Some(found))
}

/// The client ids of a group's members: an empty list where there is no such group, `None` where no
/// answer came.
pub(super) fn member_ids(client: &Native, group: &str) -> Result<Option<Vec<String>>> {
    let client = client.as_ptr();
    let doing = LIST_MEMBERS;
    let id = name(group)?;
    let answer = request_from_coordinator(
        client,
        Operation::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS,
        doing,
        |options, queue| {
            let mut names = [id.as_ptr()];
            // SAFETY: live client, options and queue; the one name is copied by the call.
            unsafe { sys::rd_kafka_DescribeConsumerGroups(client, names.as_mut_ptr(), names.len(), options, queue) }
        },
    )?;
    let Some(answer) = answer else { return Ok(None) };
    let mut found = Vec::new();
    // SAFETY: a live event of this kind of request; all that it gives lives as long.
    unsafe {
        let result = sys::rd_kafka_event_DescribeConsumerGroups_result(answer.0.as_ptr());
        let mut count = 0;
        let groups = sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &mut count);
        for at in 0..count {
            let one = *groups.add(at);
            match borrowed(sys::rd_kafka_ConsumerGroupDescription_error(one)) {
                Some(failure) if is(&failure, Code::RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND) => continue,
                Some(failure) => return Err(failure.taking([Right::group(group)]).remedy(Call::Admin, doing)),
                None => {}
            }
            for member in 0..sys::rd_kafka_ConsumerGroupDescription_member_count(one) {
                let member = sys::rd_kafka_ConsumerGroupDescription_member(one, member);
                found.push(text(sys::rd_kafka_MemberDescription_client_id(member)));
            }
        }
    }
    Ok(Some(found))
}

/// How many partitions each topic has, and its id; `None` where it does not exist. No topic is made
/// by asking for it.
pub(super) fn identities(client: *mut sys::rd_kafka_t, topics: &[&str]) -> Result<Vec<Option<TopicIdentity>>> {
    let doing = "describe topics";
    let names = topics.iter().map(|topic| name(topic)).collect::<Result<Vec<CString>>>()?;
    let described = Options::new(client, Operation::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, REQUEST);
    let answer = request(client, described, REQUEST + GRACE, doing, |options, queue| {
        let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
        // SAFETY: live client, options and queue; the names are copied into the collection, which
        // the call copies and we destroy.
        unsafe {
            let request = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
            sys::rd_kafka_DescribeTopics(client, request, options, queue);
            sys::rd_kafka_TopicCollection_destroy(request);
        }
    })?;
    let Some(answer) = answer else { return Err(Error::Retry(format!("{doing}: no answer in time [HS2002]"))) };
    let mut found = vec![None; topics.len()];
    // SAFETY: a live event of this kind of request; all that it gives lives as long.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(answer.0.as_ptr());
        let mut count = 0;
        let described = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        for at in 0..count {
            let one = *described.add(at);
            let topic = text(sys::rd_kafka_TopicDescription_name(one));
            match borrowed(sys::rd_kafka_TopicDescription_error(one)) {
                Some(failure) if is(&failure, Code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => continue,
                Some(failure) => {
                    let failure = failure.taking([Right::topic(rights::Operation::Describe, &topic)]);
                    return Err(failure.remedy(Call::Admin, &format!("describe topic {topic}")));
                }
                None => {}
            }
            let mut partitions = 0;
            sys::rd_kafka_TopicDescription_partitions(one, &mut partitions);
            if partitions == 0 {
                // It is just being made: nobody can read it yet, and it has not grown from nothing
                // later.
                continue;
            }
            let id = topic_id(sys::rd_kafka_TopicDescription_topic_id(one));
            let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
            for place in (0..topics.len()).filter(|place| topics[*place] == topic) {
                found[place] = Some(TopicIdentity { partitions, id });
            }
        }
    }
    Ok(found)
}

/// # Safety
/// `id` is null or a live id.
unsafe fn topic_id(id: *const sys::rd_kafka_Uuid_t) -> Option<TopicId> {
    if id.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let (high, low) =
        unsafe { (sys::rd_kafka_Uuid_most_significant_bits(id), sys::rd_kafka_Uuid_least_significant_bits(id)) };
    let id = (u128::from(high as u64) << 64) | u128::from(low as u64);
    // A broker that knows no ids of topics (before Kafka 2.8) answers with zeros.
    (id != 0).then_some(TopicId(id))
}
