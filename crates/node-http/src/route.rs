//! A route: its path, its handlers, and the description of each.

use std::sync::Arc;

use axum::handler::Handler;
use axum::middleware::from_fn;
use axum::routing::{self, MethodRouter};
use utoipa::openapi::HttpMethod;

use crate::description::Operation;
use crate::service::NodeService;

/// The handlers of a path.
type Handlers = MethodRouter<Arc<NodeService>>;

/// A route. Each method has a description: there is no way to add one without.
pub(crate) struct Route {
    /// Its path, behind the prefix of its API.
    pub path: &'static str,
    /// Its methods, as they are described.
    pub operations: Vec<(HttpMethod, &'static Operation)>,
    /// Whether every method is answered as the one that is described.
    pub is_for_all_methods: bool,
    handlers: Handlers,
}

impl Route {
    /// A path without methods.
    pub fn at(path: &'static str) -> Route {
        Route { path, operations: Vec::new(), is_for_all_methods: false, handlers: Handlers::new() }
    }

    /// A path that answers every method in the same way. One method stands for all in the document.
    pub fn for_all_methods<H, T>(
        path: &'static str,
        method: HttpMethod,
        handler: H,
        operation: &'static Operation,
    ) -> Route
    where
        H: Handler<T, Arc<NodeService>>,
        T: 'static,
    {
        let handlers = routing::any(handler);
        Route { path, operations: vec![(method, operation)], is_for_all_methods: true, handlers }
    }

    /// With a handler of GET.
    pub fn get<H, T>(self, handler: H, operation: &'static Operation) -> Route
    where
        H: Handler<T, Arc<NodeService>>,
        T: 'static,
    {
        self.with(HttpMethod::Get, routing::get(handler), operation)
    }

    /// With a handler of POST.
    pub fn post<H, T>(self, handler: H, operation: &'static Operation) -> Route
    where
        H: Handler<T, Arc<NodeService>>,
        T: 'static,
    {
        self.with(HttpMethod::Post, routing::post(handler), operation)
    }

    /// With a handler of PUT.
    pub fn put<H, T>(self, handler: H, operation: &'static Operation) -> Route
    where
        H: Handler<T, Arc<NodeService>>,
        T: 'static,
    {
        self.with(HttpMethod::Put, routing::put(handler), operation)
    }

    /// With a handler of PATCH.
    pub fn patch<H, T>(self, handler: H, operation: &'static Operation) -> Route
    where
        H: Handler<T, Arc<NodeService>>,
        T: 'static,
    {
        self.with(HttpMethod::Patch, routing::patch(handler), operation)
    }

    /// With a handler of DELETE.
    pub fn delete<H, T>(self, handler: H, operation: &'static Operation) -> Route
    where
        H: Handler<T, Arc<NodeService>>,
        T: 'static,
    {
        self.with(HttpMethod::Delete, routing::delete(handler), operation)
    }

    /// An operation that reads by another method than GET needs the right `read`, too.
    fn with(mut self, method: HttpMethod, handlers: Handlers, operation: &'static Operation) -> Route {
        let handlers = if operation.is_reading { handlers.layer(from_fn(http::require_read)) } else { handlers };
        self.handlers = self.handlers.merge(handlers);
        self.operations.push((method, operation));
        self
    }

    /// The handlers of all methods.
    pub fn into_handlers(self) -> Handlers {
        self.handlers
    }
}
