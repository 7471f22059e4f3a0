//! Members of objects whose values a record has as JSON already.

use memory::view::ObjectWriter;
use serde_json::value::RawValue;

/// A member whose value is canonical JSON already, if it is there.
pub(super) fn raw(object: &mut ObjectWriter<'_>, key: &str, value: Option<&RawValue>) {
    if let Some(value) = value {
        object.raw(key, value.get().as_bytes());
    }
}

/// Appends an item of an array.
type ItemWriter = fn(&mut Vec<u8>, &RawValue) -> serde_json::Result<()>;

/// A member whose value is an array of these items, if there are any.
pub(super) fn list(
    o: &mut ObjectWriter<'_>,
    key: &str,
    items: &[&RawValue],
    write: ItemWriter,
) -> serde_json::Result<()> {
    if items.is_empty() { Ok(()) } else { array(o.key(key), items, write) }
}

/// Appends an array of items.
pub(super) fn array(out: &mut Vec<u8>, items: &[&RawValue], write: ItemWriter) -> serde_json::Result<()> {
    out.push(b'[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(out, item)?;
    }
    out.push(b']');
    Ok(())
}
