//! Which encodings of a record's value a source takes: all side by side, distinguished by the
//! bytes, or one alone.

use std::borrow::Cow;
use std::str::FromStr;

use super::super::settings::UnknownValue;
use super::envelope;
use super::rejection::{BadInput, Class};
use json::{self, Value, ValueKind};

/// Encoding of a source's values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Any of the others.
    #[default]
    Auto,
    /// Bare JSON. An object that looks like an envelope is what it is.
    Json,
    /// HelixAgent's envelope.
    HelixAgent,
    /// Avro in Confluent's wire format.
    Avro,
}

impl Encoding {
    /// All of them, as a file names them.
    pub const NAMES: &str = "auto, json, helixagent, avro";

    /// Its name in a file.
    pub fn as_str(self) -> &'static str {
        match self {
            Encoding::Auto => "auto",
            Encoding::Json => "json",
            Encoding::HelixAgent => "helixagent",
            Encoding::Avro => "avro",
        }
    }

    /// Whether a value is read as Avro. No JSON text starts with its magic byte.
    pub fn is_avro(value: &[u8]) -> bool {
        value.first() == Some(&0)
    }

    /// Whether the first byte is one that it allows: that of Avro, or any other.
    ///
    /// # Errors
    /// [`BadInput`]
    pub fn admit_first_byte(self, value: &[u8]) -> Result<(), BadInput> {
        let found = |class, what| Err(BadInput::new(class, format!("the source takes {} only, {what}", self.what())));
        match (self, Encoding::is_avro(value)) {
            (Encoding::Json, true) => found(Class::MalformedJson, "and the value starts as Avro does (magic byte 0)"),
            (Encoding::HelixAgent, true) => {
                found(Class::BadEnvelope, "and the value starts as Avro does (magic byte 0)")
            }
            (Encoding::Avro, false) => found(Class::MalformedAvro, "and the value does not start as Avro does"),
            _ => Ok(()),
        }
    }

    /// The JSON of a value that is no Avro: itself, or what an envelope holds. Whether that is
    /// sound is not looked at.
    ///
    /// # Errors
    /// [`BadInput`]
    pub fn open(self, value: &[u8]) -> Result<Cow<'_, [u8]>, BadInput> {
        if self == Encoding::Json {
            return Ok(Cow::Borrowed(value));
        }
        let document = json::parse(value).map_err(|e| BadInput::json("the value", &e))?;
        let payload = object(document.root()).map_or(Ok(None), envelope::payload)?;
        match payload {
            Some(payload) => Ok(Cow::Owned(payload)),
            None if self == Encoding::HelixAgent => Err(self.no_envelope()),
            None => Ok(Cow::Borrowed(value)),
        }
    }

    /// Whether it allows a value of JSON, for a reader that recognises envelopes by itself.
    ///
    /// # Errors
    /// [`BadInput`]
    pub fn admit_json(self, value: &[u8]) -> Result<(), BadInput> {
        if matches!(self, Encoding::Auto | Encoding::Avro) {
            return Ok(());
        }
        let document = json::parse(value).map_err(|e| BadInput::json("the value", &e))?;
        let is_envelope = object(document.root()).map_or(Ok(None), envelope::payload)?.is_some();
        match self {
            Encoding::Json if is_envelope => {
                Err(BadInput::new(Class::BadEnvelope, "the source takes bare JSON only, and the value is an envelope"))
            }
            Encoding::HelixAgent if !is_envelope => Err(self.no_envelope()),
            _ => Ok(()),
        }
    }

    fn no_envelope(self) -> BadInput {
        BadInput::new(Class::BadEnvelope, format!("the source takes {} only, and the value is none", self.what()))
    }

    fn what(self) -> &'static str {
        match self {
            Encoding::Auto => "any encoding",
            Encoding::Json => "bare JSON",
            Encoding::HelixAgent => "HelixAgent's envelopes",
            Encoding::Avro => "Avro",
        }
    }
}

fn object(value: Value<'_>) -> Option<Value<'_>> {
    (value.kind() == ValueKind::Object).then_some(value)
}

impl FromStr for Encoding {
    type Err = UnknownValue;

    fn from_str(text: &str) -> Result<Encoding, UnknownValue> {
        let all = [Encoding::Auto, Encoding::Json, Encoding::HelixAgent, Encoding::Avro];
        let found = all.into_iter().find(|encoding| encoding.as_str() == text);
        found.ok_or_else(|| UnknownValue { found: text.to_owned(), known: Encoding::NAMES })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"a":1}` in an envelope.
    const ENVELOPE: &[u8] = br#"{"id":"x","payload":"eyJhIjoxfQ=="}"#;

    fn opened(encoding: Encoding, value: &[u8]) -> Result<String, Class> {
        encoding.admit_first_byte(value).map_err(|bad| bad.class)?;
        let text = encoding.open(value).map_err(|bad| bad.class)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    #[test]
    fn encodings_are_told_apart_and_another_than_the_one_set_is_bad_input() {
        let bare = br#"{"a":1}"#;
        let text = || Ok(r#"{"a":1}"#.to_owned());
        assert_eq!((opened(Encoding::Auto, bare), opened(Encoding::Auto, ENVELOPE)), (text(), text()));
        assert_eq!(opened(Encoding::HelixAgent, ENVELOPE), text());
        assert_eq!(opened(Encoding::HelixAgent, bare), Err(Class::BadEnvelope));
        assert_eq!(opened(Encoding::Json, bare), text());
        assert_eq!(opened(Encoding::Json, ENVELOPE).unwrap().as_bytes(), ENVELOPE, "bare JSON is what it is");
        assert_eq!(opened(Encoding::Avro, bare), Err(Class::MalformedAvro));
        assert_eq!(opened(Encoding::Json, &[0, 1]), Err(Class::MalformedJson));
        assert_eq!(opened(Encoding::HelixAgent, &[0, 1]), Err(Class::BadEnvelope));
        assert_eq!(opened(Encoding::Auto, b"no"), Err(Class::MalformedJson));
        assert_eq!(opened(Encoding::Auto, br#"{"payload":"%"}"#), Err(Class::BadEnvelope));
        assert!(Encoding::Auto.admit_json(ENVELOPE).is_ok() && Encoding::Json.admit_json(bare).is_ok());
        assert!(Encoding::Json.admit_json(ENVELOPE).is_err() && Encoding::HelixAgent.admit_json(bare).is_err());
    }

    #[test]
    fn names_round_trip() {
        for name in Encoding::NAMES.split(", ") {
            assert_eq!(name.parse::<Encoding>().map(Encoding::as_str), Ok(name));
        }
        assert!("xml".parse::<Encoding>().is_err());
    }
}
