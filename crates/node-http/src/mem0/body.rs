//! The members of a request's body. A member that a route does not know is an error, so that a
//! misspelt user never means all users.

use std::collections::BTreeSet;

use http::Problem;
use json::{Document, Number, Value, ValueKind};

use crate::description::{Member, Shape, optional};
use crate::problems;

/// Members that have no effect here, since they set how Mem0 derives memories from messages or
/// ranks them, or name an organisation or a form of answers: this node stores messages as they are,
/// searches by words, shows what is current, and has one form for each path. With an extractor,
/// `infer` and `custom_instructions` of an add have an effect.
const WITHOUT_EFFECT: [&str; 25] = [
    "agent_custom_instructions",
    "api_version",
    "async_mode",
    "custom_categories",
    "custom_instructions",
    "enable_graph",
    "excludes",
    "filter_memories",
    "includes",
    "infer",
    "keyword_search",
    "latest_only",
    "only_metadata_based_search",
    "org_id",
    "org_name",
    "output_format",
    "project_id",
    "project_name",
    "prompt_profile_id",
    "rerank",
    "show_expired",
    "source",
    "structured_data_schema",
    "temporal_reasoning",
    "version",
];

/// Members that would change what is stored or found, and that this node cannot do.
const UNSUPPORTED: [&str; 3] = ["immutable", "reference_date", "timestamp"];

/// The description of the members that have no effect.
pub(super) const SETTINGS: [Member; WITHOUT_EFFECT.len()] =
    described(WITHOUT_EFFECT, Shape::Any, "Without effect here; docs/mem0.md names the exceptions.");
/// The description of the members that this node cannot do.
pub(super) const UNSUPPORTED_SETTINGS: [Member; UNSUPPORTED.len()] =
    described(UNSUPPORTED, Shape::Unset, "Not supported: a value besides false and null is answered with 501.");

const fn described<const N: usize>(names: [&'static str; N], shape: Shape, description: &'static str) -> [Member; N] {
    let mut members = [optional("", shape, description); N];
    let mut at = 0;
    while at < N {
        members[at].name = names[at];
        at += 1;
    }
    members
}

/// A body that is an object.
#[derive(Clone, Copy)]
pub(super) struct Members<'d>(Value<'d>);

impl<'d> Members<'d> {
    /// The members of a whole body, of which a route knows these.
    pub fn of(document: &'d Document<'_>, known: &[&[Member]]) -> Result<Members<'d>, Problem> {
        Members::of_value(document.root(), "the body", known, true)
    }

    /// The members of an object in a body.
    pub fn of_part(value: Value<'d>, what: &str, known: &[Member]) -> Result<Members<'d>, Problem> {
        Members::of_value(value, what, &[known], false)
    }

    fn of_value(value: Value<'d>, what: &str, known: &[&[Member]], has_settings: bool) -> Result<Members<'d>, Problem> {
        let known: Vec<&str> = known.iter().flat_map(|group| group.iter()).map(|member| member.name).collect();
        if value.kind() != ValueKind::Object {
            return Err(problems::mem0_request(format!("{what} should be a JSON object")));
        }
        for (name, member) in value.members() {
            if known.contains(&name) || (has_settings && WITHOUT_EFFECT.contains(&name)) {
                continue;
            }
            if UNSUPPORTED.contains(&name) {
                let is_off = member.is_null() || (member.kind() == ValueKind::Bool && member.canonical() == b"false");
                if is_off {
                    continue;
                }
                return Err(problems::not_of_mem0(format!("this node does not support `{name}`; leave it out")));
            }
            let name: String = name.chars().take(100).collect();
            let all = known.join(", ");
            return Err(problems::mem0_request(format!(
                "{what} has a member `{name}`, which is unknown here; known: {all}"
            )));
        }
        Ok(Members(value))
    }

    /// A member that is neither absent nor null.
    pub fn get(self, name: &str) -> Option<Value<'d>> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A member that may be null.
    pub fn with_null(self, name: &str) -> Option<Value<'d>> {
        self.0.get(name)
    }

    /// A text; an empty one counts as absent, as in an event.
    pub fn text(self, name: &str) -> Result<Option<&'d str>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let text = value.as_str().ok_or_else(|| problems::mem0_request(format!("`{name}` should be a text")))?;
        Ok((!text.is_empty()).then_some(text))
    }

    /// The name of an entity, if there is one. An empty one or null is an error, because a search
    /// without the name would be one among all.
    pub fn name(self, name: &str) -> Result<Option<&'d str>, Problem> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let wrong = || problems::mem0_request(format!("`{name}` should be a name that is not empty; or leave it out"));
        value.as_str().filter(|name| !name.is_empty()).map(Some).ok_or_else(wrong)
    }

    /// A text that is there.
    pub fn required(self, name: &str) -> Result<&'d str, Problem> {
        let text = self.text(name)?.filter(|text| !text.trim().is_empty());
        text.ok_or_else(|| problems::mem0_request(format!("`{name}` should be a text that is not empty")))
    }

    /// A list.
    pub fn list(self, name: &str) -> Result<Option<Vec<Value<'d>>>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let is_list = value.kind() == ValueKind::Array;
        if is_list {
            Ok(Some(value.items().collect()))
        } else {
            Err(problems::mem0_request(format!("`{name}` should be a list")))
        }
    }

    /// A list of texts.
    pub fn texts(self, name: &str) -> Result<BTreeSet<String>, Problem> {
        let wrong = || problems::mem0_request(format!("`{name}` should be a list of texts"));
        let items = self.list(name)?.unwrap_or_default();
        items.into_iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
    }

    /// An object.
    pub fn object(self, name: &str) -> Result<Option<Value<'d>>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let is_object = value.kind() == ValueKind::Object;
        if is_object { Ok(Some(value)) } else { Err(problems::mem0_request(format!("`{name}` should be an object"))) }
    }

    /// True or false.
    pub fn flag(self, name: &str) -> Result<Option<bool>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match (value.kind(), value.canonical().as_slice()) {
            (ValueKind::Bool, b"true") => Ok(Some(true)),
            (ValueKind::Bool, _) => Ok(Some(false)),
            _ => Err(problems::mem0_request(format!("`{name}` should be true or false"))),
        }
    }

    /// A whole number of this range.
    pub fn number(self, name: &str, least: usize, most: usize) -> Result<Option<usize>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = match value.as_number() {
            Some(Number::Int(number)) => usize::try_from(number).ok().filter(|number| (least..=most).contains(number)),
            _ => None,
        };
        let wrong = || problems::mem0_request(format!("`{name}` should be a whole number from {least} to {most}"));
        number.map(Some).ok_or_else(wrong)
    }

    /// A number from 0 to 1.
    pub fn fraction(self, name: &str) -> Result<Option<f64>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.number_text().and_then(|text| text.parse::<f64>().ok());
        let wrong = || problems::mem0_request(format!("`{name}` should be a number from 0 to 1"));
        number.filter(|number| (0.0..=1.0).contains(number)).map(Some).ok_or_else(wrong)
    }
}

/// Parses a body.
pub(super) fn parse(bytes: &[u8]) -> Result<Document<'_>, Problem> {
    json::parse(bytes).map_err(|error| problems::not_json(format!("the body is not JSON: {error}")))
}
