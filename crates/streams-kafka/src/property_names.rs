//! The settings that librdkafka knows, as it lists them itself: what our own tables of settings are
//! held against.

use rdkafka::bindings as sys;

/// Every setting of librdkafka in its own order, and what each is for, as the library itself lists
/// them.
fn properties() -> Vec<(String, String)> {
    use std::io::{Read as _, Seek as _};
    use std::os::fd::AsRawFd as _;
    let mut file = tempfile::tempfile().unwrap();
    // SAFETY: a stream over a copy of the file's descriptor, closed once; librdkafka writes text to
    // it.
    unsafe {
        let stream = libc::fdopen(libc::dup(file.as_raw_fd()), c"w".as_ptr());
        sys::rd_kafka_conf_properties_show(stream.cast());
        libc::fclose(stream);
    }
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    let rows = text.lines().filter_map(|line| line.split_once('|'));
    let rows = rows.map(|(name, rest)| (name.trim().to_owned(), rest.to_owned()));
    rows.filter(|(name, _)| name.starts_with(|c: char| c.is_ascii_lowercase())).collect()
}

/// The names of all settings of librdkafka.
pub(super) fn property_names() -> Vec<String> {
    properties().into_iter().map(|(name, _)| name).collect()
}

/// The settings of librdkafka that are another name for one, and that one.
pub(super) fn aliases() -> Vec<(String, String)> {
    let of = |what: &str| Some(what.split_once("Alias for `")?.1.split('`').next()?.to_owned());
    properties().into_iter().filter_map(|(name, what)| Some((name, of(&what)?))).collect()
}
