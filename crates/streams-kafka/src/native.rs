//! One librdkafka client, owned: made from settings, its callbacks, its end. The crate's own
//! consumers and producers hide what exactly once needs (the offset of an end of partition, the
//! generation of a group, a delivery's offset without a box a record), so this edge talks to
//! librdkafka itself, and everything unsafe about a client starts here.

use std::collections::VecDeque;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;

use super::certificate::{checks_certificates, on_certificate};
use super::client_log::log_line;
use super::connection_error::{Diagnosis, of_files};
use super::contact_state;
use super::delivery::Delivery;
use super::error::Failure;
use super::list::{Entry, List, read};
use super::live::Live;
use super::messages::View;
use super::offered_member::OfferedMember;
use super::pass_through::Value;
use super::settings::Properties;
use streams::error::{Error, Result};
use streams::ports::rights::{Operation, Right};

/// Kind of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientKind {
    Consumer,
    Producer,
    /// Asks whether the brokers let this client in. What its connections come to is read from its
    /// log lines, which nobody else is shown.
    Probe,
}

/// A change of the assignment as librdkafka announced it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rebalance {
    pub assigned: bool,
    pub lost: bool,
    pub partitions: Vec<Entry>,
}

/// Messages of the callbacks for the client's owner; they run inside the owner's own poll calls.
#[derive(Default)]
pub(super) struct Mailbox {
    rebalances: Mutex<VecDeque<Rebalance>>,
    deliveries: Mutex<Vec<Delivery>>,
    last_error: Mutex<Option<Failure>>,
    /// Whether a rebalance was announced that was not answered by an assign or unassign yet.
    is_unanswered: AtomicBool,
    /// Refused connections according to the log lines, and the time of the last one.
    diagnosis: Mutex<(Diagnosis, Option<Instant>)>,
    /// Whether log lines are for the diagnosis alone.
    is_probe: bool,
    /// Whether a rebalance may end the poll that announces it. Not in a batch poll: librdkafka
    /// 2.12.1 drops the record that it has in its hand when a callback yields there
    /// (rd_kafka_q_serve_rkmessages).
    may_yield: AtomicBool,
    /// The member of the group that the client is, where it offers the state-aware assignor.
    pub(super) member: OnceLock<OfferedMember>,
}

/// An owned librdkafka client. Its calls may be made from any thread.
pub(super) struct Native {
    client: NonNull<sys::rd_kafka_t>,
    kind: ClientKind,
    /// The consumer group, where it is a member of one or asks for its offsets.
    group: Option<String>,
    mailbox: Box<Mailbox>,
    /// Until the client is destroyed.
    live: Option<Live>,
}

// SAFETY: librdkafka's client is thread-safe, and the mailbox is made of mutexes.
unsafe impl Send for Native {}
// SAFETY: as above.
unsafe impl Sync for Native {}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while one of these was held cannot leave it half changed: each is pushed to or taken
    // from in one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Native {
    /// Makes a client. It does not connect yet.
    ///
    /// # Errors
    /// [`Error::Fatal`] for a setting that librdkafka does not take, naming it (and hiding a
    /// secret's value); [`Error::Retry`] when a secret's file cannot be read, and once a broker has
    /// answered this process also when a certificate or key cannot be used: such files are replaced
    /// while it runs.
    pub fn new(kind: ClientKind, properties: &Properties) -> Result<Native> {
        let mailbox = Box::new(Mailbox { is_probe: kind == ClientKind::Probe, ..Mailbox::default() });
        let conf = Conf::new(properties)?;
        let opaque = std::ptr::from_ref::<Mailbox>(&mailbox).cast_mut().cast::<c_void>();
        let kind_native = match kind {
            ClientKind::Consumer => sys::rd_kafka_type_t::RD_KAFKA_CONSUMER,
            ClientKind::Producer | ClientKind::Probe => sys::rd_kafka_type_t::RD_KAFKA_PRODUCER,
        };
        let mut text = [0 as c_char; 512];
        // SAFETY: the configuration is live; the mailbox lives in a box that is dropped after the
        // client; on success the client takes the configuration over, on failure it stays ours.
        let client = unsafe {
            sys::rd_kafka_conf_set_opaque(conf.0.as_ptr(), opaque);
            sys::rd_kafka_conf_set_log_cb(conf.0.as_ptr(), Some(on_log));
            sys::rd_kafka_conf_set_error_cb(conf.0.as_ptr(), Some(on_error));
            if checks_certificates(properties) {
                // Without OpenSSL in the build this is refused, and so is a protocol that would
                // need it.
                sys::rd_kafka_conf_set_ssl_cert_verify_cb(conf.0.as_ptr(), Some(on_certificate));
            }
            match kind {
                ClientKind::Consumer => sys::rd_kafka_conf_set_rebalance_cb(conf.0.as_ptr(), Some(on_rebalance)),
                ClientKind::Producer => sys::rd_kafka_conf_set_dr_msg_cb(conf.0.as_ptr(), Some(on_delivery)),
                ClientKind::Probe => {}
            }
            sys::rd_kafka_new(kind_native, conf.0.as_ptr(), text.as_mut_ptr(), text.len())
        };
        let Some(client) = NonNull::new(client) else {
            let text = c_text(&text);
            return Err(match of_files(&text) {
                Some(why) if contact_state::is_made() => Error::Retry(format!("create a Kafka client: {why} [HS2058]")),
                Some(why) => Error::Fatal(format!("create a Kafka client: {why} [HS2058]")),
                None => Error::Fatal(format!("create a Kafka client: {text}; check [kafka], -X and --set [HS2059]")),
            });
        };
        std::mem::forget(conf);
        if kind == ClientKind::Consumer {
            // SAFETY: a live client. The main queue's events are then served by the consumer's own
            // poll.
            unsafe { sys::rd_kafka_poll_set_consumer(client.as_ptr()) };
        }
        let group = properties.iter().rev().find(|(key, _)| key == "group.id").map(|(_, value)| value.to_string());
        // SAFETY: a live client, which is taken off the list before it is destroyed.
        let live = Some(unsafe { Live::new(client.as_ptr()) });
        Ok(Native { client, kind, group, mailbox, live })
    }

    /// The rights that reading takes: that on the group, and that on the topic where one is named.
    pub fn rights_to_read(&self, topic: &str) -> Vec<Right> {
        let topic = (!topic.is_empty()).then(|| Right::topic(Operation::Read, topic));
        self.group.as_deref().map(Right::group).into_iter().chain(topic).collect()
    }

    /// The action of a consumer that returned an error in place of a record.
    pub fn doing_of(&self, message: &View<'_>) -> String {
        match (message.topic(), message.partition(), &self.group) {
            ("", _, Some(group)) => format!("read with the group {group}"),
            (topic, partition, _) if partition < 0 => format!("read {topic}"),
            (topic, partition, _) => format!("read {topic}-{partition}"),
        }
    }

    pub fn as_ptr(&self) -> *mut sys::rd_kafka_t {
        self.client.as_ptr()
    }

    /// The mailbox of this client's callbacks.
    pub fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// The oldest rebalance that was announced in a poll and not taken yet.
    pub fn next_rebalance(&self) -> Option<Rebalance> {
        lock(&self.mailbox.rebalances).pop_front()
    }

    /// The rebalance that was announced last is answered.
    pub fn answered(&self) {
        self.mailbox.is_unanswered.store(false, Ordering::Relaxed);
    }

    /// Whether a rebalance waits to be taken.
    pub fn has_rebalance(&self) -> bool {
        !lock(&self.mailbox.rebalances).is_empty()
    }

    /// Runs a poll of one of this client's queues, which a rebalance that is announced meanwhile
    /// ends. It has to be a poll for a single message, see `Mailbox::may_yield`.
    pub fn poll_until_rebalance<T>(&self, poll: impl FnOnce() -> T) -> T {
        self.mailbox.may_yield.store(true, Ordering::Relaxed);
        let polled = poll();
        self.mailbox.may_yield.store(false, Ordering::Relaxed);
        polled
    }

    /// Moves the deliveries reported so far into `to`.
    pub fn take_deliveries(&self, to: &mut Vec<Delivery>) {
        to.append(&mut lock(&self.mailbox.deliveries));
    }

    /// The same failure, or the cause of it, as far as the client has reported one: that a broker
    /// refuses the connection says more than that a request timed out.
    pub fn cause(&self, failure: Failure) -> Failure {
        let told = self.take_error().filter(|told| !told.is_of_all_brokers());
        match self.refusal() {
            Some((text, _)) => Failure { text, ..told.unwrap_or(failure) },
            None => told.unwrap_or(failure),
        }
    }

    /// Why the last try to connect was refused, and whether one side has said so; `None` when it
    /// was not, or long ago.
    pub fn refusal(&self) -> Option<(String, bool)> {
        let diagnosis = lock(&self.mailbox.diagnosis);
        let refusal = diagnosis.0.last().filter(|_| diagnosis.1.is_some_and(|at| at.elapsed() < REFUSAL_LASTS))?;
        Some((refusal.message.clone(), refusal.is_certain))
    }

    /// The failure of the last attempt to connect, according to the log.
    pub fn last_failure(&self) -> Option<String> {
        lock(&self.mailbox.diagnosis).0.failure().map(str::to_owned)
    }

    /// The last error that concerns the client as a whole (no broker reached, refused credentials),
    /// once.
    pub fn take_error(&self) -> Option<Failure> {
        lock(&self.mailbox.last_error).take()
    }

    /// Notes an error, as the client's callback does.
    #[cfg(test)]
    pub fn tell(&self, failure: Failure) {
        *lock(&self.mailbox.last_error) = Some(failure);
    }

    /// The error that ended the client for good, if one did.
    pub fn fatal_error(&self) -> Option<Failure> {
        let mut text = [0 as c_char; 512];
        // SAFETY: a live client and a buffer of the length told.
        let code = unsafe { sys::rd_kafka_fatal_error(self.as_ptr(), text.as_mut_ptr(), text.len()) } as i32;
        // The code is that of the cause, which does not tell by itself that the client has ended.
        Failure::of_number(code, Some(c_text(&text))).map(|failure| Failure { fatal: true, ..failure })
    }

    /// A list of partitions with offsets (and no metadata).
    pub fn list<'a>(&self, entries: impl Iterator<Item = (&'a str, i32, i64)>) -> List {
        let mut list = List::new(entries.size_hint().0);
        for (topic, partition, offset) in entries {
            list.add(topic, partition, offset, "");
        }
        list
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        self.live = None;
        let mailbox = ManuallyDrop::new(std::mem::take(&mut self.mailbox));
        let ending = Ending { client: self.client, mailbox };
        let is_consumer = self.kind == ClientKind::Consumer;
        // On a thread of its own: several calls of librdkafka that an end needs have no limit, and
        // were seen to hang.
        let (done, ended) = channel();
        let end = move || {
            if is_consumer {
                ending.let_go();
            }
            ending.destroy();
            // Who waited may have given up.
            let _ = done.send(());
        };
        let started = std::thread::Builder::new().name("kafka-end".to_owned()).spawn(end);
        // Longer than the closing may take: to destroy what is closed takes a moment, too.
        if started.is_err() || ended.recv_timeout(LET_GO).is_err() {
            tracing::warn!(
                code = "HS2003",
                "a Kafka client has not ended within {} s and is left to end in the background; timeouts of the brokers end what it was part of",
                LET_GO.as_secs()
            );
        }
    }
}

/// A refusal is the cause of a failure for so long: librdkafka logs the same error of a connection
/// again after 30 s.
const REFUSAL_LASTS: Duration = Duration::from_secs(45);

/// How long a consumer that is dropped is waited for. librdkafka gives its own request to leave the
/// group 5 s, and commits that wait for a coordinator the session timeout.
const LET_GO: Duration = Duration::from_secs(15);

/// A client on its way out, and what its callbacks write to: that is freed behind the client alone,
/// and left behind with it.
struct Ending {
    client: NonNull<sys::rd_kafka_t>,
    mailbox: ManuallyDrop<Box<Mailbox>>,
}

// SAFETY: as for the client itself.
unsafe impl Send for Ending {}

impl Ending {
    fn destroy(self) {
        // SAFETY: owned, destroyed once; a consumer is closed.
        unsafe { sys::rd_kafka_destroy_flags(self.client.as_ptr(), sys::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE as c_int) }
        // No callback comes any more.
        drop(ManuallyDrop::into_inner(self.mailbox));
    }

    /// Closes a consumer that its owner did not close, as when its thread panicked or gave up. A
    /// rebalance that nobody answers, announced or still in the queue, would keep rd_kafka_destroy
    /// waiting for ever, with or without its flag (librdkafka 2.12.1 takes back the wait for an
    /// unassign, not the one for an assign, and none of a close that has begun). So the queue is
    /// served, and what is waited for is answered: to a consumer that closes every answer is an
    /// unassign of all.
    ///
    /// Nothing else is called meanwhile. A call that comes to the group just when it has ended is
    /// thrown away without an answer (rd_kafka_cgrp_op_serve), and its caller waits for ever. Where
    /// an answer is waited for the group cannot have ended.
    fn let_go(&self) {
        let client = self.client.as_ptr();
        // SAFETY: a live client and its own queue, whose messages are ours. An error of the closing
        // is that it was closed, is closing, or has failed for good, in which case the answer alone
        // is what it waits for.
        unsafe {
            let queue = sys::rd_kafka_queue_get_consumer(client);
            let failed_for_good = sys::rd_kafka_fatal_error(client, std::ptr::null_mut(), 0) as i32 != 0;
            if !queue.is_null() {
                drop(Failure::from_error(sys::rd_kafka_consumer_close_queue(client, queue)));
            }
            while sys::rd_kafka_consumer_closed(client) == 0 {
                self.answer();
                if failed_for_good || queue.is_null() {
                    break;
                }
                let message = sys::rd_kafka_consume_queue(queue, LOOK.as_millis() as c_int);
                if !message.is_null() {
                    sys::rd_kafka_message_destroy(message);
                }
            }
            if !queue.is_null() {
                sys::rd_kafka_queue_destroy(queue);
            }
        }
    }

    /// Answers the rebalance that was announced last, if nobody has.
    fn answer(&self) {
        if self.mailbox.is_unanswered.swap(false, Ordering::Relaxed) {
            let empty = List::new(0);
            // SAFETY: a live client and a live list, which the call copies.
            drop(Failure::from_error(unsafe {
                sys::rd_kafka_incremental_assign(self.client.as_ptr(), empty.as_ptr())
            }));
        }
    }
}

/// How long a closing consumer's queue is waited for before it is looked at again.
const LOOK: Duration = Duration::from_millis(5);

/// A configuration, ours until a client takes it over.
struct Conf(NonNull<sys::rd_kafka_conf_t>);

impl Conf {
    fn new(properties: &Properties) -> Result<Conf> {
        // SAFETY: a plain allocation.
        let conf = NonNull::new(unsafe { sys::rd_kafka_conf_new() }).map(Conf);
        let conf = conf.ok_or_else(|| Error::Fatal("create a Kafka client: out of memory [HS0094]".to_owned()))?;
        for (key, value) in properties {
            conf.set(key, value)?;
        }
        Ok(conf)
    }

    fn set(&self, key: &str, value: &Value) -> Result<()> {
        let refused = |why: &str| {
            Error::Fatal(format!(
                "set {key}={value} of the Kafka client: {why}; correct or remove this setting [HS2059]"
            ))
        };
        let name = CString::new(key).map_err(|_| refused("a NUL in the name"))?;
        let setting = CString::new(value.read()?.as_ref()).map_err(|_| refused("a NUL in the value"))?;
        let mut text = [0 as c_char; 512];
        // SAFETY: a live configuration, ended strings, a buffer of the length told.
        let outcome = unsafe {
            sys::rd_kafka_conf_set(self.0.as_ptr(), name.as_ptr(), setting.as_ptr(), text.as_mut_ptr(), text.len())
        };
        match outcome {
            sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK => Ok(()),
            _ => match value {
                Value::Text(_) => Err(refused(&c_text(&text))),
                Value::Secret(_) => Err(refused("librdkafka does not take this value")),
            },
        }
    }
}

impl Drop for Conf {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once; a configuration that a client took over is forgotten
        // instead.
        unsafe { sys::rd_kafka_conf_destroy(self.0.as_ptr()) }
    }
}

fn c_text(buffer: &[c_char]) -> String {
    // SAFETY: the buffer starts zeroed and librdkafka ends what it writes into it with NUL.
    unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_string_lossy().into_owned()
}

/// librdkafka's log lines, at their own level. May be called from any of its threads, and before
/// the client exists.
unsafe extern "C" fn on_log(
    client: *const sys::rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    text: *const c_char,
) {
    // SAFETY: librdkafka passes two ended strings.
    let (facility, text) =
        unsafe { (CStr::from_ptr(facility).to_string_lossy(), CStr::from_ptr(text).to_string_lossy()) };
    let mut level = level;
    if !client.is_null() {
        // SAFETY: a live client, or one that is being made: its configuration is set first, and
        // with it the mailbox.
        let mailbox = unsafe { sys::rd_kafka_opaque(client).cast::<Mailbox>().as_ref() };
        if let Some(mailbox) = mailbox {
            let mut diagnosis = lock(&mailbox.diagnosis);
            if diagnosis.0.read_line(&facility, &text).is_some() {
                diagnosis.1 = Some(Instant::now());
            }
            if mailbox.is_probe {
                level = LOG_DEBUG;
            }
        }
    }
    log_line(level, &facility, &text);
}

/// syslog's level for lines that only somebody who debugs is shown.
const LOG_DEBUG: c_int = 7;

unsafe extern "C" fn on_error(_: *mut sys::rd_kafka_t, code: c_int, reason: *const c_char, opaque: *mut c_void) {
    // SAFETY: the opaque is the mailbox, which outlives the client; the reason is an ended string.
    let (mailbox, reason) = unsafe { (&*opaque.cast::<Mailbox>(), CStr::from_ptr(reason).to_string_lossy()) };
    tracing::debug!(target: "librdkafka", error = code, "{reason}");
    let reason = lock(&mailbox.diagnosis).0.explain(&reason).map_or(reason.into_owned(), |refusal| refusal.message);
    if let Some(failure) = Failure::of_number(code, Some(reason)) {
        let mut last = lock(&mailbox.last_error);
        // That all brokers are away is told right after why the last of them is.
        if last.is_none() || code != Code::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN as i32 {
            *last = Some(failure);
        }
    }
}

/// Stores what changes and returns: the runtime acts on it after the poll, and answers with assign
/// or unassign.
unsafe extern "C" fn on_rebalance(
    client: *mut sys::rd_kafka_t,
    code: Code,
    partitions: *mut sys::rd_kafka_topic_partition_list_t,
    opaque: *mut c_void,
) {
    // SAFETY: the opaque is the mailbox; the list is the caller's until we return; the yield ends
    // the poll that we are in.
    unsafe {
        let mailbox = &*opaque.cast::<Mailbox>();
        let assigned = code == Code::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let lost = !assigned && sys::rd_kafka_assignment_lost(client) != 0;
        mailbox.is_unanswered.store(true, Ordering::Relaxed);
        lock(&mailbox.rebalances).push_back(Rebalance { assigned, lost, partitions: read(partitions) });
        if mailbox.may_yield.load(Ordering::Relaxed) {
            sys::rd_kafka_yield(client);
        }
    }
}

unsafe extern "C" fn on_delivery(
    _: *mut sys::rd_kafka_t,
    message: *const sys::rd_kafka_message_t,
    opaque: *mut c_void,
) {
    // SAFETY: the opaque is the mailbox; the message is live until we return. Its error is read as
    // the bare number.
    unsafe {
        let delivery = Delivery {
            token: (*message)._private as usize,
            topic: (*message).rkt,
            partition: (*message).partition,
            offset: (*message).offset,
            bytes: (*message).len + (*message).key_len,
            error: std::ptr::addr_of!((*message).err).cast::<i32>().read(),
        };
        lock(&(*opaque.cast::<Mailbox>()).deliveries).push(delivery);
    }
}
