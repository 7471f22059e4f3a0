//! The formats that a sink can be set to (docs/semantics.md, section 5, "Formats").

use std::str::FromStr;

use memory::settings::UnknownValue;

/// Format of the records of a sink's topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The bare object, canonical JSON.
    #[default]
    Json,
    /// JSON that HelixAgent's Go nodes read and can apply: events and conflict reports in their
    /// envelope.
    HelixAgent,
    /// Avro in Confluent's wire format, its schema in the registry.
    Avro,
}

impl Format {
    /// All of them, as a file names them.
    pub const NAMES: &str = "json, helixagent, avro";

    /// Its name in a file.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::HelixAgent => "helixagent",
            Format::Avro => "avro",
        }
    }
}

impl FromStr for Format {
    type Err = UnknownValue;

    fn from_str(text: &str) -> Result<Format, UnknownValue> {
        let found = [Format::Json, Format::HelixAgent, Format::Avro].into_iter().find(|format| format.as_str() == text);
        found.ok_or_else(|| UnknownValue { found: text.to_owned(), known: Format::NAMES })
    }
}
