//! HTTP: which path is what, and faults on demand.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::authorize::Visit;
use super::documents::Realm;
use super::error::EntraError;
use super::grants::Asked;
use super::state::{Call, State};

type Shared = Arc<Mutex<State>>;

pub(super) async fn serve(listener: TcpListener, state: Shared) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&state), request));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let _closed = connection.await;
        });
    }
}

async fn answer(state: Shared, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let pairs = |bytes: &[u8]| form_urlencoded::parse(bytes).into_owned().collect::<HashMap<_, _>>();
    let call = Call {
        path: head.uri.path().to_owned(),
        headers: head.headers,
        form: pairs(&body),
        query: pairs(head.uri.query().unwrap_or_default().as_bytes()),
    };
    let latency = state.lock().unwrap().latency;
    if latency > Duration::ZERO {
        tokio::time::sleep(latency).await;
    }
    let mut state = state.lock().unwrap();
    state.calls.push(call.clone());
    Ok(state.fault(&call.path).unwrap_or_else(|| state.route(&head.method, &call)))
}

/// The realm of a path, and what follows: `/{tenant}/…`, or `/{tenant}/{policy}/…` with a policy of Azure AD B2C, whose names
/// begin with `B2C_1`.
pub(super) fn realm_of(state: &State, path: &str) -> Option<(Realm, String)> {
    let mut segments = path.trim_start_matches('/').split('/').peekable();
    let segment = segments.next()?.to_owned();
    let policy = segments.next_if(|segment| segment.starts_with("B2C_1")).map(str::to_owned);
    let many = matches!(segment.as_str(), "common" | "organizations");
    let tenant = state.tenant(&segment).map(|tenant| tenant.id.clone());
    let rest = format!("/{}", segments.collect::<Vec<_>>().join("/"));
    (many || tenant.is_some()).then_some((Realm { segment, tenant, policy }, rest))
}

impl State {
    /// An answer that was ordered in the place of the real one. A throttled request is told how long to wait.
    fn fault(&mut self, path: &str) -> Option<Response<Full<Bytes>>> {
        let index = self.faults.iter().position(|fault| path.ends_with(&fault.path))?;
        let fault = self.faults.remove(index)?;
        let body = fault.body.unwrap_or_else(|| json!({"error": "temporarily_unavailable"}));
        let mut response = document(fault.status, &body);
        if let Some(seconds) = fault.retry_after {
            response.headers_mut().insert("retry-after", seconds.into());
        }
        Some(response)
    }

    fn route(&mut self, method: &Method, call: &Call) -> Response<Full<Bytes>> {
        let path = call.path.as_str();
        if let Some(graph) = path.strip_prefix("/graph") {
            return plain(self.graph(graph, call));
        }
        match path {
            "/metadata/identity/oauth2/token" => return plain(self.machine_identity(call)),
            "/msi/token" => return plain(self.app_service_identity(call)),
            _ if path.starts_with("/emulator/") => return plain(self.control(path, call)),
            // the metadata of RFC 8414 does not exist, wherever the well-known part stands
            _ if path.contains("oauth-authorization-server") || path.starts_with("/.well-known/") => {
                return not_found();
            }
            _ => {}
        }
        let Some((realm, rest)) = realm_of(self, path) else {
            return self.refused(&EntraError::new(
                "invalid_tenant",
                90002,
                "Tenant not found. Check to make sure you have the correct tenant ID.",
            ));
        };
        match (method.as_str(), rest.as_str()) {
            ("GET", "/v2.0/.well-known/openid-configuration") => open(&self.discovery(&realm, 2)),
            ("GET", "/.well-known/openid-configuration") => open(&self.discovery(&realm, 1)),
            ("GET", "/discovery/v2.0/keys") => open(&self.key_document(&realm, 2)),
            ("GET", "/discovery/keys") => open(&self.key_document(&realm, 1)),
            ("GET", "/oauth2/v2.0/authorize" | "/oauth2/authorize") => self.shown(&realm, call),
            ("POST", "/oauth2/v2.0/token") => self.tokens(&realm, 2, call),
            ("POST", "/oauth2/token") => self.tokens(&realm, 1, call),
            ("POST", "/oauth2/v2.0/devicecode" | "/oauth2/devicecode") => match self.device_code(&realm, call) {
                Ok(answer) => document(200, &answer),
                Err(error) => self.refused(&error),
            },
            // there is no revocation, no introspection and no registration
            _ => not_found(),
        }
    }

    /// No header of CORS stands here: only redirect URIs of single-page applications may ask from a browser.
    fn tokens(&mut self, realm: &Realm, version: u8, call: &Call) -> Response<Full<Bytes>> {
        let endpoint = format!("{}{}", self.base, call.path);
        match self.token(&Asked { realm, version, call, endpoint }) {
            Ok(answer) => document(200, &answer),
            Err(error) => self.refused(&error),
        }
    }

    fn refused(&self, error: &EntraError) -> Response<Full<Bytes>> {
        document(error.status(), &error.document(&self.error_time()))
    }

    /// The browser's visit by HTTP. Where no user was chosen before, a form asks for one.
    fn shown(&mut self, realm: &Realm, call: &Call) -> Response<Full<Bytes>> {
        let before = self.signs_in.clone();
        if let Some(user) = call.query.get("emulator_user") {
            self.signs_in = Some(user.clone());
        }
        let visit = self.visit(realm, &call.query);
        self.signs_in = before;
        match visit {
            Visit::Back(location) => {
                let response = Response::builder().status(StatusCode::FOUND).header("location", location);
                response.body(Full::default()).expect("a redirect")
            }
            Visit::Page(text) => html(&text),
            Visit::Form => html(&self.form(call)),
        }
    }

    fn form(&self, call: &Call) -> String {
        let escape = |text: &str| text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
        let field = |(name, value): (&String, &String)| {
            format!("<input type=hidden name=\"{}\" value=\"{}\">", escape(name), escape(value))
        };
        let hidden = call.query.iter().map(field).collect::<Vec<_>>().concat();
        let button = |name: &str, upn: &str| format!("<button name=emulator_user value=\"{name}\">{upn}</button> ");
        let buttons =
            self.directory.users.iter().map(|user| button(&user.name, &user.upn)).collect::<Vec<_>>().concat();
        format!("<!doctype html><title>Pick an account</title><h1>Pick an account</h1><form>{hidden}{buttons}</form>")
    }

    /// Switches for runs by hand; Entra ID has nothing like it.
    fn control(&mut self, path: &str, call: &Call) -> (u16, Value) {
        let get = |name: &str| call.query.get(name).cloned().unwrap_or_default();
        match path {
            "/emulator/rotate" => self.keys.rotate(),
            "/emulator/resource" => {
                self.era = match get("era").as_str() {
                    "reject_all" => super::ResourceEra::RejectAll,
                    "match" => super::ResourceEra::Match,
                    "ignore" => super::ResourceEra::Ignore,
                    _ => return (400, json!({"error": "era is reject_all, match or ignore"})),
                }
            }
            "/emulator/fail" => match (get("path"), get("status").parse()) {
                (end, Ok(status)) if !end.is_empty() => self.fail_next(&end, status, get("retry_after").parse().ok()),
                _ => return (400, json!({"error": "path and status are missing"})),
            },
            "/emulator/revoke" => self.revoke_sessions(&get("user")),
            "/emulator/mfa" => self.challenge(&get("user"), ("invalid_grant", Some("basic_action")), 50076, None),
            "/emulator/device" => self.answer_device(&get("user_code"), get("deny").is_empty()),
            _ => return (404, json!({"error": "no such switch"})),
        }
        (200, json!({"done": path}))
    }
}

/// Discovery and keys may be read by every page.
fn open(body: &Value) -> Response<Full<Bytes>> {
    let mut response = document(200, body);
    let headers = response.headers_mut();
    headers.insert("cache-control", "max-age=86400, private".parse().expect("a value"));
    headers.insert("access-control-allow-origin", "*".parse().expect("a value"));
    headers.insert("access-control-allow-methods", "GET, OPTIONS".parse().expect("a value"));
    response
}

fn document(status: u16, body: &Value) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header("content-type", "application/json; charset=utf-8");
    response.header("cache-control", "no-store, no-cache").body(Full::from(body.to_string())).expect("a response")
}

fn plain((status, body): (u16, Value)) -> Response<Full<Bytes>> {
    document(status, &body)
}

fn html(text: &str) -> Response<Full<Bytes>> {
    let response = Response::builder().header("content-type", "text/html; charset=utf-8");
    response.body(Full::from(text.to_owned())).expect("a page")
}

fn not_found() -> Response<Full<Bytes>> {
    let mut response = html("<!doctype html><h2>404 - File or directory not found.</h2>");
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}
