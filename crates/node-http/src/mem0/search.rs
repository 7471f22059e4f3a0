//! The search by words, as these clients ask for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::Problem;
use json::ObjectWriter;
use node::search::SearchQuery;

use super::answer::{TRUNCATED_HEADER, cut};
use super::body::{Members, SETTINGS, UNSUPPORTED_SETTINGS, parse};
use super::expiration::SHOW_EXPIRED;
use super::fields::Mem0Memory;
use super::filter::{ENTITIES, Filter, OtherKeys};
use super::scan::Scope;
use super::shapes::{CHOICE_MEMBERS, FILTERS, NAMED_ENTITY_MEMBERS, OPEN_FILTERS, SELECTED_MEMORIES};
use crate::body::JSON;
use crate::description::{AnswerDescription, Member, Operation, RequestBody, Shape, Tag, optional, required};
use crate::error_kinds::{FOREIGN_USER, MEM0_BODY, READING};
use crate::listing::ANSWER_BYTES;
use crate::problems;
use crate::request::Client;
use crate::service::NodeService;

/// Hits where the client does not say how many.
const DEFAULT_HITS: usize = 10;
/// Hits at most.
const MOST_HITS: usize = 1000;
/// Hits that are read from the database at a time; fewer where they are large.
const READ_AT_A_TIME: usize = 100;
/// How many of the best hits filters are applied to.
pub(crate) const MOST_FILTERED: usize = 1000;

/// The members of a search beside its filters.
const SEARCH_MEMBERS: &[Member] = &[
    required("query", Shape::Name, "The words, not all white space."),
    optional("threshold", Shape::Nullable(&Shape::Share { default: Some(0.0) }), "Hits with at least this score."),
    optional(
        "top_k",
        Shape::Nullable(&Shape::Range { least: 1, most: MOST_HITS, default: Some(DEFAULT_HITS) }),
        "Hits at most.",
    ),
];
const OPEN_FILTER_MEMBERS: &[Member] = &[optional("filters", Shape::Nullable(&OPEN_FILTERS), "")];
const FILTER_MEMBERS: &[Member] = &[optional("filters", Shape::Nullable(&FILTERS), "")];

/// POST /v1/memories/search/.
pub(super) static SEARCH: Operation = Operation {
    id: "searchMemories",
    body: Some(RequestBody {
        description: "The search.",
        media_types: JSON,
        shape: Shape::Object(&[
            SEARCH_MEMBERS,
            OPEN_FILTER_MEMBERS,
            CHOICE_MEMBERS,
            NAMED_ENTITY_MEMBERS,
            &SETTINGS,
            &UNSUPPORTED_SETTINGS,
        ]),
    }),
    answers: &[AnswerDescription::ok("The memories that were found, the best first.", SELECTED_MEMORIES)
        .with_headers(&[&TRUNCATED_HEADER])],
    ..EVERY_SEARCH
};

/// POST /v3/memories/search/.
pub(super) static SEARCH_V3: Operation = Operation {
    id: "searchMemoriesV3",
    body: Some(RequestBody {
        description: "The search.",
        media_types: JSON,
        shape: Shape::Object(&[SEARCH_MEMBERS, FILTER_MEMBERS, CHOICE_MEMBERS, &SETTINGS, &UNSUPPORTED_SETTINGS]),
    }),
    answers: &[AnswerDescription::ok(
        "The memories that were found, the best first.",
        Shape::Object(&[&[required("results", SELECTED_MEMORIES, "")]]),
    )
    .with_headers(&[&TRUNCATED_HEADER])],
    ..EVERY_SEARCH
};

const EVERY_SEARCH: Operation = Operation {
    tag: Tag::Mem0,
    summary: "Search by words",
    description: "Active memories that have at least one of the words in their content or tags. Filters are applied \
                  to the {MOST_FILTERED} best hits.",
    is_reading: true,
    errors: &[READING, MEM0_BODY, &[&FOREIGN_USER]],
    ..Operation::EMPTY
};

/// POST /v1/memories/search/: the answer is a list.
pub(super) async fn search(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let found = find(&service, &client, request, &SEARCH, OtherKeys::AreMetadata).await?;
    let mut body = Vec::new();
    found.write(&mut body);
    Ok(found.answer(body))
}

/// POST /v3/memories/search/: the answer is an object.
pub(super) async fn search_v3(
    State(service): State<Arc<NodeService>>,
    client: Client,
    request: Request,
) -> Result<Response, Problem> {
    let found = find(&service, &client, request, &SEARCH_V3, OtherKeys::Refused).await?;
    let mut body = Vec::new();
    let mut object = ObjectWriter::new(&mut body);
    found.write(object.key("results"));
    object.end();
    Ok(found.answer(body))
}

/// The memories that a search has found.
struct FoundMemories {
    hits: Vec<(Mem0Memory, f64)>,
    fields: BTreeSet<String>,
    is_truncated: bool,
}

impl FoundMemories {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        for (at, (memory, score)) in self.hits.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            memory.write(out, Some(*score), &self.fields);
        }
        out.push(b']');
    }

    fn answer(&self, body: Vec<u8>) -> Response {
        cut(body, self.is_truncated)
    }
}

/// A search that was read.
struct Wanted {
    text: String,
    scope: Scope,
    limit: usize,
    threshold: f64,
    fields: BTreeSet<String>,
}

impl Wanted {
    /// Reads a body. Paths of version 3 have entities among the filters alone.
    fn read(client: &Client, body: &[u8], other: OtherKeys) -> Result<Wanted, Problem> {
        let known: &[&[Member]] = match other {
            OtherKeys::AreMetadata => &[SEARCH_MEMBERS, OPEN_FILTER_MEMBERS, CHOICE_MEMBERS, NAMED_ENTITY_MEMBERS],
            OtherKeys::Refused => &[SEARCH_MEMBERS, FILTER_MEMBERS, CHOICE_MEMBERS],
        };
        let document = parse(body)?;
        let members = Members::of(&document, known)?;
        let mut filter = Filter::read(members.object("filters")?, other)?;
        for (kind, field) in ENTITIES.into_iter().chain([("run", "session_id")]) {
            if let Some(name) = members.name(field)? {
                filter = filter.and(Filter::entity(kind, name));
            }
        }
        let filter = filter.and(super::list::common(members)?);
        let filter = filter.and(Filter::unexpired(members.flag(SHOW_EXPIRED)?));
        Ok(Wanted {
            text: members.required("query")?.to_owned(),
            scope: Scope::of(client, filter)?,
            limit: members.number("top_k", 1, MOST_HITS)?.unwrap_or(DEFAULT_HITS),
            threshold: members.fraction("threshold")?.unwrap_or(0.0),
            fields: members.texts("fields")?,
        })
    }
}

async fn find(
    service: &NodeService,
    client: &Client,
    request: Request,
    operation: &Operation,
    other: OtherKeys,
) -> Result<FoundMemories, Problem> {
    let body = service.read_body(request, operation).await?;
    let wanted = Wanted::read(client, &body.bytes, other)?;
    let mut query = SearchQuery {
        text: wanted.text.clone(),
        users: wanted.scope.users.clone(),
        session_id: wanted.scope.session_id.clone(),
        ..SearchQuery::default()
    };
    let mut found = FoundMemories { hits: Vec::new(), fields: wanted.fields, is_truncated: false };
    let (mut ids, mut bytes, mut skip) = (BTreeSet::new(), 0, 0);
    while skip < MOST_FILTERED {
        query.limit = READ_AT_A_TIME.min(MOST_FILTERED - skip);
        let page = service.node.search_from(query.clone(), skip).await;
        let page = page.map_err(|error| problems::of_database(&error))?;
        let is_last = page.hits.len() < query.limit && !page.is_truncated;
        skip += page.hits.len();
        for hit in page.hits {
            let (memory, score) = (Mem0Memory::of(&hit.memory)?, share(hit.score));
            if score < wanted.threshold || found.hits.len() == wanted.limit {
                return Ok(found);
            }
            // A filter may look through much text, and other requests go on meanwhile.
            tokio::task::yield_now().await;
            // A change between two readings may show a hit twice.
            if !wanted.scope.has(client, &memory) || !ids.insert(memory.id.clone()) {
                continue;
            }
            if bytes >= ANSWER_BYTES {
                found.is_truncated = true;
                return Ok(found);
            }
            bytes += memory.bytes;
            found.hits.push((memory, score));
        }
        if is_last {
            break;
        }
    }
    Ok(found)
}

/// A BM25 score, which has no bound, as a number from 0 to 1 that orders hits in the same way.
fn share(score: f64) -> f64 {
    let score = score.max(0.0);
    score / (1.0 + score)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn a_share_lies_between_0_and_1_and_keeps_the_order() {
        let shares = [-1.0, 0.0, 1e-6, 0.5, 1.0, 30.0].map(share);
        assert!(shares.windows(2).all(|pair| pair[0] <= pair[1]), "{shares:?}");
        assert_eq!((shares[1], shares[4]), (0.0, 0.5));
        assert!(shares.iter().all(|share| (0.0..1.0).contains(share)));
    }
}
