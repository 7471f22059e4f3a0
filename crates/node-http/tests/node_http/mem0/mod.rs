//! Mem0's API: HelixAgent's calls, the identity of adds, filters, tenants, errors. Mem0's own
//! client is run against a node in the test binary `node` of the root package.

mod adds;
mod calls;
mod expiration;
mod extraction;
mod filters;
mod histories;
mod refusals;
mod tenants;

use serde_json::{Value, json};

use crate::site::Site;

/// Adds a text with these further members, which succeeds; returns the first item of the answer.
#[track_caller]
fn add_as(site: &Site, token: &str, text: &str, more: Value) -> Value {
    let mut body = json!({"messages": [{"role": "user", "content": text}]});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    let answer = site.mem0(token, "POST", "/v1/memories/", &body.to_string()).of(200);
    answer.json()[0].clone()
}

/// The same without a token.
#[track_caller]
fn add(site: &Site, text: &str, more: Value) -> Value {
    add_as(site, "", text, more)
}

/// The id of an item.
fn id(item: &Value) -> String {
    item["id"].as_str().unwrap().to_owned()
}

/// The texts of the memories of a list.
fn texts(list: &Value) -> Vec<String> {
    let mut texts: Vec<String> =
        list.as_array().unwrap().iter().map(|memory| memory["memory"].as_str().unwrap().to_owned()).collect();
    texts.sort();
    texts
}
