//! Messages as librdkafka hands them out, owned until dropped.

use std::ffi::{CStr, c_char, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;

use rdkafka::bindings as sys;
use rdkafka::bindings::rd_kafka_resp_err_t as Code;

use super::error::{Failure, describe};
use streams::record::Origin;

/// Messages of one take, owned.
pub(super) struct Buffer(Vec<*mut sys::rd_kafka_message_t>);

// SAFETY: owned messages may be used and dropped on any thread.
unsafe impl Send for Buffer {}

impl Buffer {
    /// The most that one take brings.
    pub const CAPACITY: usize = 512;

    pub fn new() -> Buffer {
        Buffer(Vec::with_capacity(Buffer::CAPACITY))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a message, which the buffer owns from now on.
    pub fn push(&mut self, message: NonNull<sys::rd_kafka_message_t>) {
        self.0.push(message.as_ptr());
    }

    pub fn iter(&self) -> impl Iterator<Item = View<'_>> {
        // SAFETY: owned, live until cleared.
        self.0.iter().map(|message| View(unsafe { &**message }))
    }

    pub fn clear(&mut self) {
        for message in self.0.drain(..) {
            // SAFETY: owned, destroyed once.
            unsafe { sys::rd_kafka_message_destroy(message) }
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.clear();
    }
}

/// One owned message.
pub(super) struct Message(NonNull<sys::rd_kafka_message_t>);

impl Message {
    /// Takes over a message.
    pub fn owned(message: NonNull<sys::rd_kafka_message_t>) -> Message {
        Message(message)
    }

    pub fn view(&self) -> View<'_> {
        // SAFETY: owned, live until dropped.
        View(unsafe { self.0.as_ref() })
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: owned, destroyed once.
        unsafe { sys::rd_kafka_message_destroy(self.0.as_ptr()) }
    }
}

/// A message that is looked at: a record, the end of a partition, or an error.
#[derive(Clone, Copy)]
pub(super) struct View<'a>(&'a sys::rd_kafka_message_t);

impl<'a> View<'a> {
    pub fn code(&self) -> i32 {
        // SAFETY: read as the number that it is; a newer broker may send one without a name.
        unsafe { std::ptr::addr_of!(self.0.err).cast::<i32>().read() }
    }

    pub fn is_end(&self) -> bool {
        self.code() == Code::RD_KAFKA_RESP_ERR__PARTITION_EOF as i32
    }

    /// The topic's handle, to tell topics apart without comparing names.
    pub fn topic_handle(&self) -> usize {
        self.0.rkt as usize
    }

    pub fn topic(&self) -> &'a str {
        if self.0.rkt.is_null() {
            return "";
        }
        // SAFETY: the topic lives as long as the message; Kafka's topic names are ASCII.
        unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(self.0.rkt)) }.to_str().unwrap_or_default()
    }

    pub fn partition(&self) -> i32 {
        self.0.partition
    }

    pub fn offset(&self) -> i64 {
        self.0.offset
    }

    pub fn timestamp_ms(&self) -> i64 {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: a live message.
        unsafe { sys::rd_kafka_message_timestamp(self.0, &mut kind) }
    }

    pub fn origin(&self) -> Origin<'a> {
        Origin {
            topic: self.topic(),
            partition: self.0.partition,
            offset: self.0.offset,
            timestamp_ms: self.timestamp_ms(),
        }
    }

    pub fn key(&self) -> Option<&'a [u8]> {
        bytes(self.0.key, self.0.key_len)
    }

    pub fn value(&self) -> Option<&'a [u8]> {
        bytes(self.0.payload, self.0.len)
    }

    /// The headers in order; none where a message has none.
    pub fn headers(&self) -> HeaderIter<'a> {
        let mut headers = std::ptr::null_mut();
        // SAFETY: a live message; what is found belongs to it.
        let found = unsafe { sys::rd_kafka_message_headers(self.0, &mut headers) } == Code::RD_KAFKA_RESP_ERR_NO_ERROR;
        HeaderIter { headers: if found { headers } else { std::ptr::null_mut() }, at: 0, message: PhantomData }
    }

    /// The error that this is, if it is one.
    pub fn failure(&self) -> Option<Failure> {
        // Asked of every message: the value is the error's text only if there is an error.
        if self.code() == 0 {
            return None;
        }
        let text = self.value().map(|text| String::from_utf8_lossy(text).trim_end_matches('\0').to_owned());
        let text = text.filter(|text| !text.is_empty()).unwrap_or_else(|| describe(self.code()));
        Failure::of_number(self.code(), Some(text))
    }
}

fn bytes<'a>(start: *mut c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: librdkafka points at `len` bytes that live as long as the message, or at nothing for
    // null.
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) })
}

/// A message's headers.
pub(super) struct HeaderIter<'a> {
    headers: *mut sys::rd_kafka_headers_t,
    at: usize,
    message: PhantomData<&'a sys::rd_kafka_message_t>,
}

impl<'a> HeaderIter<'a> {
    /// The next header: its name as bytes, its value or null.
    pub fn next_raw(&mut self) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        if self.headers.is_null() {
            return None;
        }
        let mut name = std::ptr::null();
        let mut value = std::ptr::null();
        let mut len = 0;
        // SAFETY: the headers belong to the message that we hold, and so does what is found.
        unsafe {
            let code = sys::rd_kafka_header_get_all(self.headers, self.at, &mut name, &mut value, &mut len);
            if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
                return None;
            }
            self.at += 1;
            let value = bytes(value.cast_mut(), len);
            Some((whole_name(name, value), value))
        }
    }
}

/// Bytes that librdkafka keeps before a header's name (`rd_kafka_header_t` of rdkafka_header.h).
/// Its API gives the name as a C string, which ends at the first NUL, while Kafka counts a name's
/// bytes and allows any; so the count is read where librdkafka keeps it.
#[repr(C)]
struct BeforeName {
    _serialized_size: usize,
    value_size: usize,
    name_size: usize,
    value: *const u8,
}

// The layout is that of the librdkafka that is linked; with another version, compare it again.
const _: () = assert!(sys::RD_KAFKA_VERSION == 0x020c_01ff);

/// A header's name with what stands behind a NUL in it.
///
/// # Safety
/// Name and value are those of a header of librdkafka's list, which outlives `'a`.
unsafe fn whole_name<'a>(name: *const c_char, value: Option<&[u8]>) -> &'a [u8] {
    // SAFETY: librdkafka ends each name with a NUL.
    let short = unsafe { CStr::from_ptr(name) }.to_bytes();
    // SAFETY: the name is the last member of one allocation, and these are the members before it.
    let before = unsafe { &*name.cast::<BeforeName>().sub(1) };
    let is_the_layout = before.value_size == value.map_or(0, <[u8]>::len)
        && before.value == value.map_or(std::ptr::null(), <[u8]>::as_ptr)
        && before.name_size >= short.len();
    if !is_the_layout || before.name_size == short.len() {
        return short;
    }
    // SAFETY: so many bytes have been copied there, before the NUL at the end.
    unsafe { std::slice::from_raw_parts(name.cast(), before.name_size) }
}

impl<'a> Iterator for HeaderIter<'a> {
    type Item = (&'a str, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        // Kafka holds header names to UTF-8, some clients do not: such a name is of no use to
        // anyone and shown as unreadable.
        self.next_raw().map(|(name, value)| (std::str::from_utf8(name).unwrap_or("\u{fffd}"), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_headers_are_whole_whatever_stands_in_them() {
        let headers: [(&[u8], Option<&[u8]>); 7] = [
            (b"plain", Some(b"1")),
            (b"a\0b", Some(b"2")),
            (b"a\0b", None),
            (b"\0", Some(b"")),
            (b"", None),
            (b"\xff\0\xfe", Some(b"\0\0")),
            (b"a", None),
        ];
        // SAFETY: the list is ours, and destroyed when nothing of it is used any more.
        unsafe {
            let list = sys::rd_kafka_headers_new(8);
            for (name, value) in headers {
                let (at, len) = value.map_or((std::ptr::null(), 0), |value| (value.as_ptr(), value.len()));
                sys::rd_kafka_header_add(list, name.as_ptr().cast(), name.len() as isize, at.cast(), len as isize);
            }
            let mut found = HeaderIter { headers: list, at: 0, message: PhantomData };
            let found: Vec<_> = std::iter::from_fn(|| found.next_raw()).collect();
            assert_eq!(found, headers);
            sys::rd_kafka_headers_destroy(list);
        }
    }
}
