//! Queues records with a producer: explicit partitions and timestamps, headers, and no lookup of a
//! topic's name a record.

use std::ffi::{CString, c_int, c_void};
use std::ptr::NonNull;
use std::sync::Arc;

use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;
use rdkafka::bindings::rd_kafka_vtype_t as Type;

use super::delivery::Delivery;
use super::error::{Call, Failure};
use super::native::Native;
use streams::error::{Error, Result};
use streams::ports::rights::{Operation, Right};
use streams::record::{Headers, Record};

/// Outcome of sending a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Queued,
    Full,
}

/// A topic of a producer.
struct Topic {
    name: Arc<str>,
    handle: NonNull<sys::rd_kafka_topic_t>,
}

// SAFETY: librdkafka's topic handles are thread-safe.
unsafe impl Send for Topic {}

/// A producer's queue.
pub(super) struct Sender {
    topics: Vec<Topic>,
    in_flight: usize,
    in_flight_bytes: usize,
    client: Arc<Native>,
}

/// Fields of one record as librdkafka's `produceva` takes them: topic, partition, key, value,
/// timestamp, token, flags, headers.
const FIELDS: usize = 8;

impl Sender {
    pub fn new(client: Arc<Native>) -> Sender {
        Sender { topics: Vec::new(), in_flight: 0, in_flight_bytes: 0, client }
    }

    pub fn client(&self) -> &Native {
        &self.client
    }

    /// The client, for a call that may outlive this.
    pub fn shared(&self) -> Arc<Native> {
        self.client.clone()
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes
    }

    /// Counts a delivery out.
    pub fn remove_in_flight(&mut self, delivery: &Delivery) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(delivery.bytes);
    }

    pub fn topic_handle(&self, name: &str) -> Option<usize> {
        self.topics.iter().find(|topic| *topic.name == *name).map(|topic| topic.handle.as_ptr() as usize)
    }

    /// The names of all topics that records were sent to.
    pub fn topic_names(&self) -> impl Iterator<Item = &str> {
        self.topics.iter().map(|topic| &*topic.name)
    }

    pub fn topic_name(&self, handle: usize) -> &str {
        self.topics.iter().find(|topic| topic.handle.as_ptr() as usize == handle).map_or("", |topic| &*topic.name)
    }

    fn topic(&mut self, name: &Arc<str>) -> Result<NonNull<sys::rd_kafka_topic_t>> {
        if let Some(topic) = self.topics.iter().find(|topic| Arc::ptr_eq(&topic.name, name) || topic.name == *name) {
            return Ok(topic.handle);
        }
        let unusable = || {
            Error::Fatal(format!("produce to {name}: this is not a name that a topic can have; correct it [HS2017]"))
        };
        let c_name = CString::new(&**name).map_err(|_| unusable())?;
        // SAFETY: a live client and an ended string; no configuration means the client's own for
        // topics.
        let handle = unsafe { sys::rd_kafka_topic_new(self.client.as_ptr(), c_name.as_ptr(), std::ptr::null_mut()) };
        let handle = NonNull::new(handle).ok_or_else(unusable)?;
        self.topics.push(Topic { name: name.clone(), handle });
        Ok(handle)
    }

    /// Queues a record; its bytes are copied. `token` comes back with the delivery.
    ///
    /// # Errors
    /// [`Error::Record`] when this record can never be sent; else by remedy.
    pub fn send(&mut self, topic: &Arc<str>, partition: i32, record: &Record<'_>, token: usize) -> Result<Outcome> {
        let handle = self.topic(topic)?;
        let headers = native_headers(record.headers);
        let key = record.key;
        let value = record.value;
        let fields: [sys::rd_kafka_vu_t; FIELDS] = [
            field(Type::RD_KAFKA_VTYPE_RKT, |u| u.rkt = handle.as_ptr()),
            field(Type::RD_KAFKA_VTYPE_PARTITION, |u| u.i32_ = partition),
            field(Type::RD_KAFKA_VTYPE_KEY, |u| u.mem = memory(key)),
            field(Type::RD_KAFKA_VTYPE_VALUE, |u| u.mem = memory(value)),
            field(Type::RD_KAFKA_VTYPE_TIMESTAMP, |u| u.i64_ = record.timestamp_ms),
            field(Type::RD_KAFKA_VTYPE_OPAQUE, |u| u.ptr = token as *mut c_void),
            field(Type::RD_KAFKA_VTYPE_MSGFLAGS, |u| u.i = sys::RD_KAFKA_MSG_F_COPY as c_int),
            field(Type::RD_KAFKA_VTYPE_HEADERS, |u| u.headers = headers),
        ];
        let count = if headers.is_null() { FIELDS - 1 } else { FIELDS };
        // SAFETY: the fields are live for the call, which copies key and value; on success it takes
        // the headers over.
        let error = unsafe { sys::rd_kafka_produceva(self.client.as_ptr(), fields.as_ptr(), count) };
        let Some(failure) = Failure::from_error(error) else {
            self.in_flight += 1;
            self.in_flight_bytes += key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
            return Ok(Outcome::Queued);
        };
        if !headers.is_null() {
            // SAFETY: the call failed, so they are still ours; destroyed once.
            unsafe { sys::rd_kafka_headers_destroy(headers) };
        }
        if failure.code == Code::RD_KAFKA_RESP_ERR__QUEUE_FULL as i32 {
            return Ok(Outcome::Full);
        }
        if failure.code == Code::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE as i32 {
            return Err(Error::Record(format!("produce to {topic}: {}", failure.text)));
        }
        let failure = failure.taking([Right::topic(Operation::Write, topic)]);
        Err(failure.remedy(Call::Transaction, &format!("produce to {topic}")))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        for topic in self.topics.drain(..) {
            // SAFETY: our reference, given back once, while the client is alive.
            unsafe { sys::rd_kafka_topic_destroy(topic.handle.as_ptr()) }
        }
    }
}

fn field(kind: Type, fill: impl FnOnce(&mut sys::rd_kafka_vu_s__bindgen_ty_1)) -> sys::rd_kafka_vu_t {
    let mut field = sys::rd_kafka_vu_t { vtype: kind, u: sys::rd_kafka_vu_s__bindgen_ty_1 { i64_: 0 } };
    fill(&mut field.u);
    field
}

/// Null is a null pointer; empty is a pointer to nothing that librdkafka must not take for null.
fn memory(bytes: Option<&[u8]>) -> sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
    let (ptr, size) = bytes.map_or((std::ptr::null(), 0), |bytes| (bytes.as_ptr(), bytes.len()));
    sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 { ptr: ptr.cast_mut().cast::<c_void>(), size }
}

/// librdkafka's form of the headers, ours until a record takes them over; null for none.
fn native_headers(headers: Headers<'_>) -> *mut sys::rd_kafka_headers_t {
    if headers.is_empty() {
        return std::ptr::null_mut();
    }
    // SAFETY: a plain allocation, filled by copies of the names and values.
    unsafe {
        let list = sys::rd_kafka_headers_new(8);
        for (name, value) in headers {
            let (at, len) = value.map_or((std::ptr::null(), 0), |value| (value.as_ptr(), value.len()));
            sys::rd_kafka_header_add(list, name.as_ptr().cast(), name.len() as isize, at.cast(), len as isize);
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use rdkafka::mocking::MockCluster;

    use super::super::native::ClientKind;
    use super::super::settings::KafkaSettings;
    use super::*;

    /// A client that knows from the topic's metadata that it may not write refuses a record at
    /// once.
    #[test]
    fn a_record_for_a_topic_that_may_not_be_written_names_the_missing_right() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("out", 1, 1).unwrap();
        cluster.topic_error("out", Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED).unwrap();
        let settings = KafkaSettings::new(&cluster.bootstrap_servers(), "app", "0").plain_producer();
        let mut sender = Sender::new(Arc::new(Native::new(ClientKind::Producer, &settings).unwrap()));
        let record = Record { key: None, value: Some(b"v"), headers: Headers::NONE, timestamp_ms: 1 };
        let topic = Arc::from("out");
        let started = Instant::now();
        let error = loop {
            // It is queued while the metadata has not come.
            match sender.send(&topic, 0, &record, 0) {
                Ok(_) => assert!(started.elapsed() < Duration::from_secs(120), "no record is refused"),
                Err(error) => break error,
            }
            // SAFETY: a live client.
            unsafe { sys::rd_kafka_poll(sender.client().as_ptr(), 10) };
        };
        let Error::Fatal(text) = error else { panic!("a refusal ends the command: {error:?}") };
        assert!(text.contains("Write on topic out"), "{text}");
    }
}
