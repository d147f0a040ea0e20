//! Axum only: pages and RFC endpoints, extract → call → respond. This file says what answers at each of
//! [`paths::ROUTES`].

mod authorize;
mod body;
mod browser;
mod callback;
mod consent;
mod cookies;
mod discovery;
mod fault;
mod json;
pub mod pages;
mod register;
mod sign_in;
mod token;
mod visitors;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::middleware;
use axum::routing::{get, post};
use bytes::Bytes;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, CONNECTION, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_http::cors::{AllowHeaders, Any, CorsLayer};

use self::cookies::Cookies;
use self::pages::Look;
use self::visitors::{ReadyPage, Visitors};
use crate::config::Config;
use crate::gateway::{Body, Gateway};
use crate::issuer::{Fault, Issuer};
use crate::limits::Room;
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::paths;

/// What the endpoints call.
#[derive(Clone)]
struct Endpoints {
    issuer: Issuer,
    gateway: Gateway,
    config: Arc<Config>,
    look: Arc<Look>,
    visitors: Arc<Visitors>,
}

impl Endpoints {
    fn cookies(&self) -> Cookies<'_> {
        Cookies::new(&self.config.public_url)
    }

    /// Starts what a browser has begun as a task of its own, which goes on when the browser goes away.
    fn complete<T, F>(&self, work: F) -> impl Future<Output = Result<T, Fault>> + use<T, F>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Fault>> + Send + 'static,
    {
        let task = self.issuer.complete(work);
        async { task.await.unwrap_or_else(|panicked| Err(Fault::internal(&panicked))) }
    }
}

/// Our own routes, and the pages for people who open an address that is meant for programs. Cheap to clone.
#[derive(Clone)]
pub struct Web {
    router: Router,
    visitors: Arc<Visitors>,
}

impl Web {
    /// The table. Groups differ in who may call: any origin without credentials, or browsers at our own pages.
    #[must_use]
    pub(crate) fn new(config: Arc<Config>, issuer: Issuer, gateway: Gateway) -> Self {
        let mut discovery = Router::new()
            .route(paths::RESOURCE_METADATA, get(discovery::resource))
            .route(paths::RESOURCE_METADATA_AT, get(discovery::resource))
            .route(paths::SERVER_METADATA, get(discovery::server))
            .route(paths::OPENID_CONFIGURATION, get(discovery::server))
            .route(paths::JWKS, get(discovery::jwks))
            .route(paths::WELL_KNOWN, get(discovery::nothing));
        for upstream in &config.upstreams {
            let appended = format!("{}{}", upstream.settings.path, paths::RESOURCE_METADATA);
            let nothing = format!("{}{}", upstream.settings.path, paths::WELL_KNOWN);
            discovery = discovery.route(&appended, get(discovery::resource)).route(&nothing, get(discovery::nothing));
        }
        let mut oauth = Router::new().route(paths::TOKEN, post(token::post));
        if config.registration.enabled {
            oauth = oauth.route(paths::REGISTER, post(register::post));
        }
        let look = Arc::new(Look::new(&config.pages));
        let browser = Router::new()
            .route(paths::AUTHORIZE, get(authorize::get))
            .route(paths::CONSENT, post(consent::post))
            .route(paths::CALLBACK, get(callback::get))
            .route(paths::SIGN_IN, get(sign_in::get).post(sign_in::post))
            .method_not_allowed_fallback(not_so)
            .layer(middleware::from_fn_with_state((Arc::clone(&config), Arc::clone(&look)), browser::at_own_origin));
        let router = discovery.merge(oauth).layer(any_origin()).merge(browser).fallback(nothing_here);
        let visitors = Arc::new(Visitors::new(&config, &look));
        let endpoints = Endpoints { issuer, gateway, config, look, visitors: Arc::clone(&visitors) };
        Self { router: router.with_state(endpoints), visitors }
    }

    /// The page for a person who opens an upstream's path without a token, in the place of what the gateway refuses with.
    #[must_use]
    pub(crate) fn server_page<B>(&self, request: &Request<B>) -> Option<ReadyPage> {
        self.visitors.server(request.method(), request.headers(), request.uri().path())
    }

    /// Answers a request that is no upstream's. Its extensions hold a `telemetry::RequestId` and a
    /// `limits::ClientAddress`. The body of a POST is read first, into `room`, before anything larger is begun.
    pub(crate) async fn handle<B>(&self, request: Request<B>, room: Room) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    {
        let (mut head, mut incoming) = request.into_parts();
        if head.method == Method::POST {
            let read = body::collect(&mut incoming, room).await;
            head.extensions.insert(read);
        }
        drop(incoming);
        let request = Request::from_parts(head, axum::body::Body::empty());
        match Box::pin(self.router.clone().oneshot(request)).await {
            Ok(response) => response.map(|body| body.map_err(Into::into).boxed_unsync()),
            Err(never) => match never {},
        }
    }

    /// Refuses a request that is not let in, before anything is done for it: a page where browsers go, JSON elsewhere.
    /// `why` is for the log.
    pub(crate) fn refuse_busy(&self, path: &str, why: &'static str) -> Response<Body> {
        let response = if paths::is_page(path) {
            self.visitors.busy(axum::body::Body::from)
        } else {
            let mut response = fault::unavailable(why.to_owned());
            response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            response
        };
        fault::with_cause(response, why.to_owned()).map(|body| body.map_err(Into::into).boxed_unsync())
    }

    /// Refuses a request whose body could end in two places, and ends its connection. No browser sends one, so the answer
    /// at a page's path is a line of text.
    pub(crate) fn refuse_malformed(path: &str, why: &'static str) -> Response<Body> {
        let mut response = if paths::is_page(path) {
            plain(StatusCode::BAD_REQUEST, "It is not clear where the body of this request ends.\n")
        } else {
            let error = OAuthError::new(ErrorCode::InvalidRequest, why);
            let mut response = fault::oauth_error(StatusCode::BAD_REQUEST, &error);
            response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            response
        };
        // the next request on this connection cannot be told from the body
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        fault::with_cause(response, why.to_owned()).map(|body| body.map_err(Into::into).boxed_unsync())
    }
}

/// Discovery, keys, registration and tokens: any origin, never with credentials (a browser's own cookies).
fn any_origin() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([WWW_AUTHENTICATE, RETRY_AFTER, HeaderName::from_static("x-request-id")])
        .max_age(std::time::Duration::from_hours(1))
}

/// `GET /`, and everything else that is not in the table.
async fn nothing_here(
    State(endpoints): State<Endpoints>,
    method: Method,
    headers: HeaderMap,
    uri: Uri,
) -> Response<axum::body::Body> {
    let nothing = plain(StatusCode::NOT_FOUND, "Nothing here. MCP servers have their own paths on this host.\n");
    match endpoints.visitors.elsewhere(&method, &headers, uri.path()) {
        Some(page) => page.instead_of(nothing, axum::body::Body::from),
        None => nothing,
    }
}

/// A page's path with a method that it does not have, as after typing the address of a form; `Allow` says which it has.
async fn not_so() -> Response<axum::body::Body> {
    plain(StatusCode::METHOD_NOT_ALLOWED, "This address is not opened like this. Connect from the application again.\n")
}

/// A line of text.
fn plain(status: StatusCode, text: &'static str) -> Response<axum::body::Body> {
    let mut response = Response::new(axum::body::Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The `Authorization` header as text, when there is exactly one.
fn authorization(headers: &HeaderMap) -> Result<Option<&str>, ()> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(drop),
        (Some(_), Some(_)) => Err(()),
    }
}
