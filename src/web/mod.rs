//! Axum only: pages and RFC endpoints, extract → call → respond. This file maps each [`Route`] to its handler.
//!
//! Defends against: CSRF (`posted_form.rs`), cookie tossing (`cookies.rs`), clickjacking and XSS (`pages/`), slowloris bodies
//! (`body.rs`).

mod account;
mod authorize;
mod back_channel_logout;
mod body;
mod browser;
mod callback;
mod consent;
mod consent_page;
mod cookies;
mod device;
mod discovery;
mod doctor;
mod endpoints;
mod fault;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod introspect;
mod json;
mod manage;
pub mod pages;
mod posted_form;
mod register;
mod rejected;
mod revoke;
mod sign_in;
mod token;
mod visitors;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{MethodRouter, get, post};
use bytes::Bytes;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_http::cors::{AllowHeaders, Any, CorsLayer};

use self::endpoints::Endpoints;
use self::pages::Branding;
use self::visitors::{ReadyPage, Visitors};
use crate::config::Config;
use crate::gateway::Gateway;
use crate::issuer::Issuer;
use crate::keys::DoctorPasses;
use crate::limits::Room;
use crate::oauth::dpop;
use crate::oauth::paths::{self, Audience, Route};
use crate::wire::{Arrival, Body, REQUEST_ID, Rejection, plain};

/// Our own routes, and the pages for people who open an address that is meant for programs. Cheap to clone.
#[derive(Clone)]
pub struct Web {
    router: Router,
    visitors: Arc<Visitors>,
    public_url: Arc<str>,
}

impl Web {
    /// The routes, in groups by caller: any origin without credentials, browsers at our own pages, or no browser at all.
    #[must_use]
    pub(crate) fn new(config: Arc<Config>, issuer: Option<Issuer>, gateway: Gateway, passes: DoctorPasses) -> Self {
        let branding = Arc::new(Branding::new(&config.pages));
        let visitors = Arc::new(Visitors::new(&config, &branding));
        let public_url = config.public_url.as_str().into();
        let mut router = resources(&config, gateway).merge(for_the_doctor(passes));
        if let Some(issuer) = issuer {
            router = router.merge(authorization_server(Endpoints { issuer, config, branding }));
        }
        let nowhere = Arc::clone(&visitors);
        let router = router.fallback(async move |method: Method, headers: HeaderMap, uri: Uri| {
            not_found(&nowhere, &method, &headers, &uri)
        });
        Self { router, visitors, public_url }
    }

    /// The page for a browser that opens an upstream's path without a token; it replaces the body of the gateway's refusal.
    #[must_use]
    pub(crate) fn server_page<B>(&self, request: &Request<B>) -> Option<ReadyPage> {
        self.visitors.server_page(request.method(), request.headers(), request.uri().path())
    }

    /// Answers a request that is not for an upstream. The body of a POST or PUT is read first, into `room`, before anything larger
    /// is allocated.
    pub(crate) async fn handle<B>(&self, request: Request<B>, arrival: &Arrival, room: Room) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let (mut head, mut incoming) = request.into_parts();
        if matches!(head.method, Method::POST | Method::PUT) {
            let read = body::collect(&mut incoming, room).await;
            head.extensions.insert(read);
        }
        drop(incoming);
        head.extensions.insert(arrival.clone());
        let request = Request::from_parts(head, axum::body::Body::empty());
        match Box::pin(self.router.clone().oneshot(request)).await {
            Ok(response) => response.map(|body| body.map_err(Into::into).boxed_unsync()),
            Err(never) => match never {},
        }
    }

    /// Answers a request that was rejected on arrival, before any work is done for it.
    pub(crate) fn reject(&self, head: &Parts, rejection: &Rejection) -> Response<Body> {
        let answer = rejected::answer(head, rejection, &self.visitors, &self.public_url);
        answer.map(|body| body.map_err(Into::into).boxed_unsync())
    }
}

/// The metadata of the resources: the gateway's own, whoever issues their tokens.
fn resources(config: &Config, gateway: Gateway) -> Router {
    let mut router = Router::new();
    for route in Route::ALL.iter().filter(|route| route.is_of_resources()) {
        router = router.route(route.path(), resource_endpoint(*route));
    }
    for upstream in &config.upstreams {
        for route in paths::BELOW_UPSTREAMS {
            router = router.route(&format!("{}{}", upstream.settings.path, route.path()), resource_endpoint(*route));
        }
    }
    router.method_not_allowed_fallback(fault::method_not_allowed).layer(any_origin()).with_state(gateway)
}

fn resource_endpoint(route: Route) -> MethodRouter<Gateway> {
    match route {
        Route::ResourceMetadata | Route::ResourceMetadataAt => get(discovery::resource),
        _ => get(discovery::nothing),
    }
}

/// What a running process tells `portcullis doctor`, whatever else it serves.
fn for_the_doctor(passes: DoctorPasses) -> Router {
    let route = Route::Doctor;
    let router = Router::new().route(route.path(), get(doctor::get));
    // as every well-known path, so that it cannot be told from one that does not exist
    router.method_not_allowed_fallback(fault::method_not_allowed).layer(any_origin()).with_state(passes)
}

/// The routes of our authorization server.
fn authorization_server(endpoints: Endpoints) -> Router {
    let config = &endpoints.config;
    let served = |route: &Route| match route {
        Route::Register | Route::RegisteredClient => config.registration.enabled,
        Route::Device | Route::DeviceAnswer | Route::DeviceAuthorization => config.device.enabled,
        Route::Introspect => config.has_introspectors(),
        Route::Doctor => false,
        other => !other.is_of_resources(),
    };
    let opened_by = |audience: Audience| {
        let routes = Route::ALL.iter().copied().filter(served).filter(|route| route.audience() == audience);
        routes.fold(Router::new(), |router, route| router.route(route.path(), endpoint(route)))
    };
    let browsers = opened_by(Audience::Page).method_not_allowed_fallback(method_not_allowed).layer(
        middleware::from_fn_with_state((Arc::clone(config), Arc::clone(&endpoints.branding)), browser::at_own_origin),
    );
    let programs = opened_by(Audience::Program).method_not_allowed_fallback(fault::method_not_allowed);
    let servers = opened_by(Audience::Server).method_not_allowed_fallback(fault::method_not_allowed);
    programs.layer(any_origin()).merge(browsers).merge(servers).with_state(endpoints)
}

/// What answers at a route of our authorization server, by method.
fn endpoint(route: Route) -> MethodRouter<Endpoints> {
    match route {
        Route::ResourceMetadata | Route::ResourceMetadataAt | Route::WellKnown | Route::Doctor => {
            get(discovery::nothing)
        }
        Route::ServerMetadata | Route::OpenidConfiguration => get(discovery::server),
        Route::Jwks => get(discovery::jwks),
        Route::Token => post(token::post),
        Route::DeviceAuthorization => post(token::device),
        Route::Revoke => post(revoke::post),
        Route::Introspect => post(introspect::post),
        Route::Register => post(register::post),
        Route::RegisteredClient => get(manage::get).put(manage::put).delete(manage::delete),
        Route::BackChannelLogout => post(back_channel_logout::post),
        Route::Authorize => get(authorize::get),
        Route::Consent => post(consent::post),
        Route::Callback => get(callback::get),
        Route::SignIn => get(sign_in::get).post(sign_in::post),
        Route::Account => get(account::get),
        Route::AccountSignIn => post(account::sign_in),
        Route::AccountEnd => get(account::end_question).post(account::end),
        Route::AccountForget => post(account::forget),
        Route::AccountSignOut => post(account::sign_out),
        Route::Device => get(device::get).post(device::post),
        Route::DeviceAnswer => post(device::answer),
    }
}

/// Discovery, keys, registration, tokens and their revocation: any origin, never with credentials (a browser's own cookies).
fn any_origin() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([WWW_AUTHENTICATE, RETRY_AFTER, REQUEST_ID, dpop::NONCE])
        .max_age(std::time::Duration::from_hours(1))
}

/// `GET /`, and every other path that is not in the table.
fn not_found(visitors: &Visitors, method: &Method, headers: &HeaderMap, uri: &Uri) -> Response<axum::body::Body> {
    let nothing = plain(
        StatusCode::NOT_FOUND,
        axum::body::Body::from("Nothing here. MCP servers have their own paths on this host.\n"),
    );
    match visitors.not_found_page(method, headers, uri.path()) {
        Some(page) => page.instead_of(nothing, axum::body::Body::from),
        None => nothing,
    }
}

/// A page's path with a method that it does not support, as after typing a form's address; `Allow` lists the others.
async fn method_not_allowed() -> Response<axum::body::Body> {
    let text = "This address cannot be opened directly. Connect from the application again.\n";
    plain(StatusCode::METHOD_NOT_ALLOWED, axum::body::Body::from(text))
}
