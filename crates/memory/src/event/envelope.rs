//! HelixAgent's envelope: the message of its Go nodes, whose `payload` is the event object in
//! base64 (Go's `[]byte`).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::rejection::{BadInput, Class, describe};
use json::Value;

/// The event's bytes if `object` is an envelope: one that has `payload` and no `event_id`.
///
/// # Errors
/// `bad_envelope` when the payload is no string of padded standard base64.
pub(super) fn payload(object: Value<'_>) -> Result<Option<Vec<u8>>, BadInput> {
    let mut payload = None;
    let mut is_event = false;
    for (key, value) in object.members() {
        match key {
            "payload" => payload = Some(value),
            "event_id" => is_event = true,
            _ => {}
        }
    }
    let Some(payload) = payload.filter(|_| !is_event) else { return Ok(None) };
    let Some(text) = payload.as_str() else {
        let found = describe(payload);
        return Err(BadInput::new(
            Class::BadEnvelope,
            format!("`payload` should be a string of base64, found {found}"),
        ));
    };
    let bytes = BASE64_STANDARD.decode(text);
    let bytes = bytes.map_err(|e| BadInput::new(Class::BadEnvelope, format!("`payload` is not base64: {e}")))?;
    Ok(Some(bytes))
}
