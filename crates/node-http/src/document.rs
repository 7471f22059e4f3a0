//! The OpenAPI document (3.1), generated from the routes and their descriptions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use http::{LARGE_FORM, Limits, MISSING_RIGHT, NO_VALID_TOKEN, OTHER_SITE, PROBLEM_TYPE, TYPE_PREFIX, UNKNOWN_HOST};
use node::expiry::GRACE;
use node::follower::REFRESH_INTERVAL;
use node::registry::{FAILED_AFTER, HEARTBEAT_INTERVAL, MAX_UNREADABLE, MISSED_HEARTBEATS};
use node::search::{MAX_DIMENSIONS, MAX_SEARCH_BYTES, MAX_SEARCH_WORDS};
use node::write::{FAILED_KEPT, MAX_MEMORY_ID, PUBLISHED_KEPT};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn, PathItemBuilder, PathsBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    AllOfBuilder, ComponentsBuilder, Content, HttpMethod, InfoBuilder, License, ObjectBuilder, OpenApiBuilder, Ref,
    RefOr, Required, ResponseBuilder, Schema,
};

use crate::answer_shapes::{ETAG, SHOWN_MEMBERS};
use crate::body::{SLACK, SNAPSHOT_BYTES};
use crate::description::{
    AnswerDescription, AnswerHeader, Component, ErrorKind, Member, Operation, Parameter, ParameterPlace, Shape, Tag,
    required,
};
use crate::events::{HEARTBEAT, MOST_STREAMS, MOST_STREAMS_OF_TENANT};
use crate::extractor::MAX_CONVERSATION;
use crate::listing::ANSWER_BYTES;
use crate::mem0;
use crate::route::Route;
use crate::user_snapshots::PART_BYTES;

/// Routes with the prefix that they have in common.
pub(crate) struct DescribedApi {
    /// The beginning of their paths.
    pub prefix: String,
    /// The beginning of the ids of their operations.
    pub ids: &'static str,
    /// The routes.
    pub routes: Vec<Route>,
}

/// The errors of the server, before a route is reached.
static OF_SERVER: [ErrorKind; 4] = [
    ErrorKind::of(NO_VALID_TOKEN),
    ErrorKind::of(MISSING_RIGHT),
    ErrorKind::of(OTHER_SITE),
    ErrorKind::of(UNKNOWN_HOST),
];
/// The one that methods besides GET may have.
static OF_FORM: ErrorKind = ErrorKind::of(LARGE_FORM);

static RETRY_AFTER: AnswerHeader =
    AnswerHeader { name: "Retry-After", description: "Seconds after which to try again." };

const PROBLEM_MEMBERS: &[Member] = &[
    required("code", Shape::Pattern("^HS[0-9]{4}$"), "The code; `helixstream explain CODE` says more."),
    required("detail", Shape::Text, ""),
    required("status", Shape::Range { least: 400, most: 599, default: None }, ""),
    required("title", Shape::Text, ""),
    required("type", Shape::Name, "{TYPE_PREFIX} and the code."),
];
static PROBLEM: Component =
    Component { name: "Problem", description: "An error (RFC 9457).", shape: Shape::Object(&[PROBLEM_MEMBERS]) };
static PROBLEM_WITH_MEMORY: Component = Component {
    name: "ProblemWithMemory",
    description: "An error (RFC 9457), and the memory as the node shows it now.",
    shape: Shape::Object(&[PROBLEM_MEMBERS, SHOWN_MEMBERS]),
};

const ABOUT: &str = "The HTTP/JSON interface of a node of the distributed memory. Every error is a problem document \
                     (RFC 9457) with a code; another method than those of a route is answered with 405 (HS8062), and \
                     another path with 404 (HS8061). A body has at most {BODY_SLACK} more than an event may have, \
                     where its description names no other limit. docs/node.md describes the interface with examples, and docs/mem0.md Mem0's API.";
const ABOUT_TOKENS: &str = "A token of the token file (docs/http.md), where the node has one. GET needs the right \
                            `read`, every other method needs `act`. Clients of Mem0's API send it under the scheme \
                            `Token`, which is taken everywhere.";

/// The parts of a document that operations refer to.
#[derive(Default)]
struct Parts {
    parameters: BTreeMap<&'static str, &'static Parameter>,
    headers: BTreeMap<&'static str, &'static AnswerHeader>,
    responses: BTreeMap<String, ResponseBuilder>,
    schemas: BTreeMap<&'static str, &'static Component>,
}

impl Parts {
    /// Adds a shape with all that it is made of.
    fn add_shape(&mut self, shape: Shape) {
        if let Shape::Component(component) = shape
            && self.schemas.insert(component.name, component).is_none()
        {
            self.add_shape(component.shape);
        }
        shape.parts().into_iter().for_each(|part| self.add_shape(part));
    }

    fn header(&mut self, header: &'static AnswerHeader) -> Ref {
        self.headers.insert(header.name, header);
        Ref::new(format!("#/components/headers/{}", header.name))
    }

    fn answer(&mut self, answer: &AnswerDescription) -> ResponseBuilder {
        self.add_shape(answer.shape);
        let content = Content::new(Some(answer.shape.schema("")));
        let response = ResponseBuilder::new().description(answer.description).content(answer.media_type, content);
        let headers = answer.headers.iter();
        headers.fold(response, |response, header| response.header_ref(header.name, self.header(header)))
    }

    /// The answer with errors of one status, which is one of the document's.
    fn errors(&mut self, kinds: &[&ErrorKind]) -> Ref {
        let codes: Vec<&str> = kinds.iter().map(|kind| kind.kind.code).collect();
        let name = codes.join("-");
        if !self.responses.contains_key(&name) {
            let has_memory = kinds.iter().all(|kind| kind.encloses_memory);
            let problem = if has_memory { &PROBLEM_WITH_MEMORY } else { &PROBLEM };
            self.add_shape(Shape::Component(problem));
            let code = ObjectBuilder::new().enum_values(Some(codes));
            let schema = AllOfBuilder::new()
                .item(Shape::Component(problem).schema(""))
                .item(ObjectBuilder::new().property("code", code.schema_type(utoipa::openapi::Type::String)));
            let words = kinds.iter().map(|kind| format!("{} ({})", kind.kind.title, kind.kind.code));
            let words = format!("{}.", words.collect::<Vec<_>>().join("; "));
            let content = Content::new(Some(RefOr::<Schema>::from(schema)));
            let mut response = ResponseBuilder::new().description(words).content(PROBLEM_TYPE, content);
            if kinds.iter().all(|kind| kind.retry_after.is_some()) {
                response = response.header_ref(RETRY_AFTER.name, self.header(&RETRY_AFTER));
            }
            if has_memory {
                response = response.header_ref(ETAG.name, self.header(&ETAG));
            }
            self.responses.insert(name.clone(), response);
        }
        Ref::from_response_name(name)
    }

    fn operation(
        &mut self,
        id: String,
        path: &str,
        method: &HttpMethod,
        operation: &'static Operation,
    ) -> OperationBuilder {
        let mut described =
            OperationBuilder::new().operation_id(Some(id)).tag(operation.tag.name()).summary(Some(operation.summary));
        let rights = if operation.is_reading { " A token needs the rights `read` and `act`." } else { "" };
        let words = format!("{}{rights}", operation.description);
        described = described.description(Some(words.trim().to_owned()).filter(|words| !words.is_empty()));
        for parameter in operation.parameters {
            self.parameters.insert(parameter.key, parameter);
            described = described.parameter_ref(Ref::new(format!("#/components/parameters/{}", parameter.key)));
        }
        for name in unnamed_segments(path, operation) {
            let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True);
            described = described.parameter(parameter.schema(Some(Shape::Name.schema(""))));
        }
        if let Some(body) = &operation.body {
            self.add_shape(body.shape);
            let described_body = RequestBodyBuilder::new().description(Some(body.description));
            let content = |builder: RequestBodyBuilder, media_type: &&str| {
                builder.content(*media_type, Content::new(Some(body.shape.schema(""))))
            };
            let body = body.media_types.iter().fold(described_body, content);
            described = described.request_body(Some(body.required(Some(Required::True)).build()));
        }
        for answer in operation.answers {
            described = described.response(answer.status.to_string(), self.answer(answer).build());
        }
        let of_form = Some(&OF_FORM).filter(|_| *method != HttpMethod::Get);
        let mut by_status: BTreeMap<u16, BTreeMap<&str, &ErrorKind>> = BTreeMap::new();
        let own = operation.errors.iter().flat_map(|kinds| kinds.iter().copied());
        for kind in own.chain(&OF_SERVER).chain(of_form) {
            by_status.entry(kind.kind.status.as_u16()).or_default().insert(kind.kind.code, kind);
        }
        for (status, kinds) in by_status {
            let kinds: Vec<&ErrorKind> = kinds.into_values().collect();
            described = described.response(status.to_string(), RefOr::Ref(self.errors(&kinds)));
        }
        described
    }

    fn build(self) -> ComponentsBuilder {
        let mut components = ComponentsBuilder::new();
        for (key, parameter) in self.parameters {
            let place = match parameter.place {
                ParameterPlace::Path => ParameterIn::Path,
                ParameterPlace::Query => ParameterIn::Query,
                ParameterPlace::Header => ParameterIn::Header,
            };
            let is_required = if parameter.is_required { Required::True } else { Required::False };
            let described = ParameterBuilder::new().name(parameter.name).parameter_in(place).required(is_required);
            let described = described.description(Some(parameter.description));
            components = components.parameter(key, described.schema(Some(parameter.shape.schema(""))).build());
        }
        for (name, header) in self.headers {
            let described = HeaderBuilder::new().schema(Some(Shape::Text.schema("")));
            components = components.header(name, described.description(Some(header.description)).build());
        }
        for (name, response) in self.responses {
            components = components.response(name, response.build());
        }
        for (name, component) in self.schemas {
            components = components.schema(name, component.schema());
        }
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(ABOUT_TOKENS));
        components.security_scheme("bearer", SecurityScheme::Http(scheme.build()))
    }
}

/// The segments of a path that no parameter of the operation describes: those of paths that are
/// only refused.
fn unnamed_segments(path: &str, operation: &Operation) -> Vec<String> {
    let names = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let is_described = |name: &str| {
        operation.parameters.iter().any(|parameter| parameter.place == ParameterPlace::Path && parameter.name == name)
    };
    names.filter(|name| !is_described(name)).map(str::to_owned).collect()
}

/// Writes the document.
///
/// # Errors
/// The text of the failure where it cannot be written as JSON.
pub(crate) fn generate(apis: &[DescribedApi]) -> Result<String, String> {
    let mut parts = Parts::default();
    let mut paths = PathsBuilder::new();
    let mut tags: BTreeSet<&str> = BTreeSet::new();
    for DescribedApi { prefix, ids, routes } in apis {
        for route in routes {
            // A path of OpenAPI has no segment that stands for several.
            let path = format!("{prefix}{}", route.path.replace("{*", "{"));
            let mut item = PathItemBuilder::new();
            for (method, operation) in &route.operations {
                tags.insert(operation.tag.name());
                let id = match route.is_for_all_methods {
                    true => format!("{ids}{}{}", operation.id, route.path.replace(|c: char| !c.is_alphanumeric(), "_")),
                    false => format!("{ids}{}", operation.id),
                };
                let described = parts.operation(id, &path, method, operation);
                item = item.operation(method.clone(), described.build());
            }
            paths = paths.path(path, item.build());
        }
    }
    let mut license = License::new("Apache-2.0");
    license.identifier = Some("Apache-2.0".to_owned());
    let info = InfoBuilder::new().title("helixstream node").version("1").license(Some(license));
    let used = Tag::ALL.into_iter().filter(|tag| tags.contains(tag.name()));
    let used = used.map(|tag| TagBuilder::new().name(tag.name()).description(Some(tag.description())).build());
    let no_scope: [&str; 0] = [];
    let document = OpenApiBuilder::new()
        .info(info.description(Some(ABOUT)).build())
        .paths(paths.build())
        .components(Some(parts.build().build()))
        .tags(Some(used))
        .security(Some([SecurityRequirement::new("bearer", no_scope), SecurityRequirement::default()]))
        .build();
    document
        .to_pretty_json()
        .map(with_limits)
        .map_err(|error| format!("the OpenAPI document cannot be written: {error}"))
}

/// Puts the limits into the texts, which name them by their constants in braces.
fn with_limits(mut text: String) -> String {
    let lasting = |time: Duration| match time.as_secs() {
        secs if secs % (24 * 3600) == 0 && secs > 24 * 3600 => format!("{} days", secs / (24 * 3600)),
        secs if secs % 3600 == 0 && secs > 3600 => format!("{} hours", secs / 3600),
        secs if secs % 60 == 0 => format!("{} minutes", secs / 60),
        secs => format!("{secs} seconds"),
    };
    let bytes = |bytes: usize| match bytes {
        bytes if bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
        bytes if bytes % (1 << 10) == 0 => format!("{} KiB", bytes >> 10),
        bytes => format!("{bytes} bytes"),
    };
    let limits = [
        ("ANSWER_BYTES", bytes(ANSWER_BYTES)),
        ("EXPIRY_GRACE", lasting(GRACE)),
        ("FAILED_AFTER", lasting(FAILED_AFTER)),
        ("FAILED_KEPT", lasting(FAILED_KEPT)),
        ("HEARTBEAT_INTERVAL", lasting(HEARTBEAT_INTERVAL)),
        ("BODY_SLACK", bytes(SLACK)),
        ("MAX_CONVERSATION", bytes(MAX_CONVERSATION)),
        ("MAX_DIMENSIONS", MAX_DIMENSIONS.to_string()),
        ("MAX_MEMORY_ID", MAX_MEMORY_ID.to_string()),
        ("MAX_SEARCH_BYTES", bytes(MAX_SEARCH_BYTES)),
        ("MAX_SEARCH_WORDS", MAX_SEARCH_WORDS.to_string()),
        ("MAX_UNREADABLE", MAX_UNREADABLE.to_string()),
        ("MISSED_HEARTBEATS", MISSED_HEARTBEATS.to_string()),
        ("MOST_CONDITIONS", mem0::MOST_CONDITIONS.to_string()),
        ("MOST_FILTERED", mem0::MOST_FILTERED.to_string()),
        ("MOST_TEXT_CONDITIONS", mem0::MOST_TEXT_CONDITIONS.to_string()),
        ("PART_BYTES", bytes(PART_BYTES)),
        ("PUBLISHED_KEPT", lasting(PUBLISHED_KEPT)),
        ("REFRESH_INTERVAL", lasting(REFRESH_INTERVAL)),
        ("SNAPSHOT_BYTES", bytes(SNAPSHOT_BYTES)),
        ("STALLED", lasting(Limits::default().stalled)),
        ("STREAMS", MOST_STREAMS.to_string()),
        ("STREAMS_OF_TENANT", MOST_STREAMS_OF_TENANT.to_string()),
        ("STREAM_HEARTBEAT", lasting(HEARTBEAT)),
        ("TYPE_PREFIX", TYPE_PREFIX.to_owned()),
    ];
    for (name, value) in limits {
        text = text.replace(&format!("{{{name}}}"), &value);
    }
    text
}
