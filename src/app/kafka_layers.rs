//! The connection settings of Kafka, merged from the topology file, the variables and the flags: a
//! flag beats a variable, which beats the file. A named key (`user`) and the setting of librdkafka
//! that says the same (`sasl.username`) count as one; given twice in one place, nothing says which
//! is meant, and that is an error.

use std::ffi::OsString;
use std::path::PathBuf;

use super::CommandError;
use super::settings::warn_of_command_line;
use crate::edges::cli::KafkaArgs;
use secret::SecretSource;
use streams_kafka::{PassThrough, Value};
use topology_file::Topology as File;
use topology_file::kafka::{Holds, NAMED, Named, NamedValue, PropertyValue, View, contradictions, missing, of_key};

/// Settings of librdkafka that say how OAUTHBEARER gets its tokens, where they do not come by
/// client credentials.
const OTHER_TOKENS: [&str; 2] = ["sasl.oauthbearer.", "enable.sasl.oauthbearer.unsecure.jwt"];
const METHOD: &str = "sasl.oauthbearer.method";

/// Settings of one source.
struct Layer {
    place: String,
    named: Vec<NamedValue>,
    pass_through: PassThrough,
}

/// A setting in effect.
struct Setting {
    property: String,
    value: Value,
    /// The named key that it comes from.
    named: Option<NamedValue>,
}

/// The settings of librdkafka that file, variables and flags come to, checked as a whole.
///
/// # Errors
/// A setting contradicts another one, is missing, is refused, or names a file that cannot be read.
pub fn settings(args: &KafkaArgs, file: Option<&File>) -> Result<PassThrough, CommandError> {
    let layers = [of_file(file)?, of_variables()?, of_flags(args)?];
    let mut settings: Vec<Setting> = Vec::new();
    for layer in layers {
        lay_over(&mut settings, layer);
    }
    check(&settings)?;
    let has = |settings: &[Setting], property: &str| settings.iter().any(|setting| setting.property == property);
    if has(&settings, "sasl.oauthbearer.token.endpoint.url") && !has(&settings, METHOD) {
        settings.push(Setting { property: METHOD.to_owned(), value: Value::Text("oidc".to_owned()), named: None });
    }
    let mut all = PassThrough::default();
    for setting in settings {
        all.add(&setting.property, setting.value).map_err(|e| CommandError::Usage(e.to_string()))?;
    }
    Ok(all)
}

fn of_file(file: Option<&File>) -> Result<Layer, CommandError> {
    let place = file.map_or("the file", |file| &file.file).to_owned();
    let pairs = file.iter().flat_map(|f| f.kafka.pass_through.iter().map(|(k, v)| format!("{k}={}", v.expose())));
    let pass_through = pass_through(&place, &pairs.collect::<Vec<_>>())?;
    Ok(Layer { place, named: file.map(|file| file.kafka.named.clone()).unwrap_or_default(), pass_through })
}

fn of_variables() -> Result<Layer, CommandError> {
    let mut named_values = Vec::new();
    for named in NAMED {
        let variable = named.variable();
        let given = match named.holds {
            Holds::Secret => {
                let source = SecretSource::from_variables(&variable).map_err(|e| CommandError::Usage(e.to_string()))?;
                source.map(PropertyValue::Secret)
            }
            Holds::Text | Holds::File => match std::env::var_os(&variable).filter(|value| !value.is_empty()) {
                Some(value) => Some(given(named, value, &variable)?),
                None => None,
            },
        };
        named_values.extend(given.map(|given| NamedValue { named, given, place: variable }));
    }
    let pass_through = pass_through("HELIXSTREAM_X", &passed_by_variable()?)?;
    one_way_each(Layer { place: "HELIXSTREAM_X".to_owned(), named: named_values, pass_through })
}

/// The settings of `HELIXSTREAM_X`, separated by `;` or new lines, or of the file that
/// `HELIXSTREAM_X_FILE` names, one a line: some of them are secrets that have no named key.
fn passed_by_variable() -> Result<Vec<String>, CommandError> {
    let source = SecretSource::from_variables("HELIXSTREAM_X").map_err(|e| CommandError::Usage(e.to_string()))?;
    let Some(source) = source else { return Ok(Vec::new()) };
    let text = source.read().map_err(|e| CommandError::Usage(e.to_string()))?;
    let separators: &[char] = if matches!(source, SecretSource::File { .. }) { &['\n'] } else { &[';', '\n'] };
    let settings = text.expose().split(separators).map(str::trim);
    Ok(settings.filter(|setting| !setting.is_empty() && !setting.starts_with('#')).map(str::to_owned).collect())
}

fn of_flags(args: &KafkaArgs) -> Result<Layer, CommandError> {
    let mut named_values = Vec::new();
    for (key, value) in args.security.given().into_iter().filter(|(_, value)| !value.is_empty()) {
        let place = format!("--kafka-{}", key.replace('_', "-"));
        let secret = key.strip_suffix("_file").and_then(of_key).filter(|named| named.holds == Holds::Secret);
        let value = match (secret, of_key(key)) {
            (Some(named), _) => {
                let source = SecretSource::file(PathBuf::from(value), place.clone());
                NamedValue { named, given: PropertyValue::Secret(source), place }
            }
            (None, Some(named)) => NamedValue { named, given: given(named, value, &place)?, place },
            (None, None) => {
                return Err(CommandError::Usage(format!("the flag {place} has no key of [kafka] [HS9000]")));
            }
        };
        named_values.push(value);
    }
    let place = "the command line".to_owned();
    let pass_through = pass_through(&place, &args.client)?;
    let secret = pass_through.entries().iter().find(|(_, value)| matches!(value, Value::Secret(_)));
    if let Some((key, _)) = secret {
        let twin = NAMED.iter().find(|named| named.is_said_by(key)).map(Named::variable);
        let instead = twin.map_or("HELIXSTREAM_X_FILE".to_owned(), |variable| format!("{variable}_FILE"));
        warn_of_command_line(&format!("-X {key}"), &instead);
    }
    one_way_each(Layer { place: "-X".to_owned(), named: named_values, pass_through })
}

fn pass_through(place: &str, pairs: &[String]) -> Result<PassThrough, CommandError> {
    PassThrough::parse(pairs.iter().map(String::as_str)).map_err(|e| CommandError::Usage(format!("{place}: {e}")))
}

fn given(named: &Named, value: OsString, place: &str) -> Result<PropertyValue, CommandError> {
    let text = value.into_string().map_err(|_| CommandError::Usage(format!("{place} is not UTF-8 text [HS0004]")))?;
    named.check(&text).map_err(|e| CommandError::Usage(format!("{place}: {e} [HS0018]")))?;
    Ok(if named.holds == Holds::File { PropertyValue::File(PathBuf::from(text)) } else { PropertyValue::Text(text) })
}

/// A layer in which nothing is said twice. (In a file it is reported with its line.)
fn one_way_each(layer: Layer) -> Result<Layer, CommandError> {
    for value in &layer.named {
        if let Some((property, _)) = layer.pass_through.entries().iter().find(|(key, _)| value.named.is_said_by(key)) {
            return Err(CommandError::Usage(format!(
                "{} and {property} of {} set the same property: set only one of them [HS0021]",
                value.place, layer.place
            )));
        }
    }
    Ok(layer)
}

/// Lays a layer over those below it: what it says in one way is no longer said in another.
fn lay_over(settings: &mut Vec<Setting>, layer: Layer) {
    let is_said = |named: &Named| {
        layer.named.iter().any(|value| value.named == named)
            || layer.pass_through.entries().iter().any(|(property, _)| named.is_said_by(property))
    };
    let said: Vec<&Named> = NAMED.iter().filter(|named| is_said(named)).collect();
    let repeated = |property: &str| layer.pass_through.entries().iter().any(|(key, _)| key == property);
    settings.retain(|below| !said.iter().any(|named| named.is_said_by(&below.property)) && !repeated(&below.property));
    for value in layer.named {
        let setting = match &value.given {
            PropertyValue::Text(text) => Value::Text(text.clone()),
            PropertyValue::File(path) => Value::Text(path.display().to_string()),
            PropertyValue::Secret(source) => Value::Secret(source.clone()),
        };
        settings.push(Setting { property: value.named.property.to_owned(), value: setting, named: Some(value) });
    }
    let others = layer.pass_through.entries().iter().cloned();
    settings.extend(others.map(|(property, value)| Setting { property, value, named: None }));
}

/// Checks what goes together, and that every file is there.
fn check(settings: &[Setting]) -> Result<(), CommandError> {
    let named: Vec<NamedValue> = settings.iter().filter_map(|setting| setting.named.clone()).collect();
    let text_of = |key: &str| {
        let named = of_key(key)?;
        let setting = settings.iter().rev().find(|setting| named.is_said_by(&setting.property))?;
        Some(setting.value.to_string())
    };
    // What passes through contradicts nothing: librdkafka does as it always did with that.
    let mut ours = View::of(&named);
    ours.set("security", text_of("security").unwrap_or_else(|| "plaintext".to_owned()));
    let mut all = ours.clone();
    let passed = |named: &&Named| settings.iter().any(|setting| named.is_said_by(&setting.property));
    for named in NAMED.iter().filter(passed) {
        all.set(named.key, text_of(named.key).unwrap_or_default());
    }
    let other_tokens = settings.iter().any(|setting| {
        let is_token = OTHER_TOKENS.iter().any(|begin| setting.property.starts_with(begin));
        is_token && !NAMED.iter().any(|named| named.is_said_by(&setting.property))
    });
    let place = |key: &str| {
        let value = named.iter().find(|value| value.named.key == key);
        value.map_or("Kafka".to_owned(), |value| value.place.clone())
    };
    let misfits = contradictions(&ours).into_iter().chain(missing(&all, &ours, other_tokens));
    let mut wrong: Vec<String> =
        misfits.map(|m| format!("{}: {}; {} [{}]", place(m.key), m.message, m.fix, m.code)).collect();
    for value in &named {
        wrong.extend(unreadable(value));
    }
    if wrong.is_empty() { Ok(()) } else { Err(CommandError::Usage(wrong.join("\nhelixstream: "))) }
}

/// Why the file of a named key is of no use.
fn unreadable(value: &NamedValue) -> Option<String> {
    match &value.given {
        PropertyValue::Text(_) => None,
        PropertyValue::Secret(source) => source.read().err().map(|e| e.to_string()),
        // An authority's certificates may lie in a folder.
        PropertyValue::File(path) => {
            let read = std::fs::metadata(path).and_then(|found| match found.is_dir() {
                true => Ok(()),
                false => std::fs::File::open(path).map(|_| ()),
            });
            let key = value.named.key;
            let place = &value.place;
            read.err().map(|e| format!("{place}: the file {} of `{key}` cannot be read: {e} [HS0027]", path.display()))
        }
    }
}
