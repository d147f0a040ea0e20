//! The authorization endpoint.

use std::collections::HashMap;

use url::Url;

use super::directory::{App, User};
use super::documents::Realm;
use super::error::{EntraError, timestamp};
use super::redirects::platform;
use super::state::{Session, State};

/// Where a visit ends.
#[derive(Debug, Clone)]
pub(crate) enum Visit {
    /// Back at the redirect URI.
    Back(String),
    /// On a page of Microsoft's, which leads nowhere.
    Page(String),
    /// On the form by which a user is chosen by hand.
    Form,
}

impl Visit {
    /// The URL at the redirect URI.
    pub(crate) fn back(self) -> String {
        match self {
            Self::Back(url) => url,
            other => panic!("the browser was not sent back: {other:?}"),
        }
    }
}

type Query = HashMap<String, String>;

/// An authorization request whose client and redirect URI are known: from here on errors go back on a redirect.
struct Request<'a> {
    app: App,
    realm: &'a Realm,
    query: &'a Query,
    redirect_uri: String,
}

impl State {
    /// A visit with a URL as the browser has it.
    pub(crate) fn authorize(&mut self, url: &Url) -> Visit {
        let query: Query = url.query_pairs().into_owned().collect();
        let path = url.path().to_owned();
        match super::service::realm_of(self, &path) {
            Some((realm, rest)) if rest.ends_with("/authorize") => {
                self.calls.push(super::state::Call {
                    path,
                    headers: http::HeaderMap::new(),
                    form: HashMap::new(),
                    query: query.clone(),
                });
                self.visit(&realm, &query)
            }
            _ => page(&self.error_time(), &EntraError::new("invalid_request", 90002, "Tenant not found.")),
        }
    }

    pub(super) fn error_time(&self) -> String {
        timestamp(self.clock.now())
    }

    /// A client or redirect URI that is not known is an error on a page; every later error goes back by a redirect.
    pub(super) fn visit(&mut self, realm: &Realm, query: &Query) -> Visit {
        let time = self.error_time();
        let get = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
        let here = |app: &&App| app.multi_tenant || realm.admits(&app.tenant) && realm.tenant.is_some();
        let Some(app) = self.app(get("client_id")).filter(here).cloned() else {
            let text = format!("Application with identifier '{}' was not found in the directory.", get("client_id"));
            return page(&time, &EntraError::new("unauthorized_client", 700_016, text));
        };
        let redirect_uri = get("redirect_uri").to_owned();
        if platform(&app, &redirect_uri).is_none() {
            let text = format!(
                "The redirect URI '{redirect_uri}' specified in the request does not match the redirect URIs configured for the application."
            );
            return page(&time, &EntraError::new("invalid_request", 50011, text));
        }
        let request = Request { app, realm, query, redirect_uri };
        match self.judged(&request) {
            Ok(Some(user)) => self.signed_in(&request, user),
            Ok(None) => Visit::Form,
            Err(Shown::OnRedirect(error)) => Visit::Back(back_with_error(&request, &error, &time)),
            Err(Shown::OnPage(error)) => page(&time, &error),
        }
    }

    fn judged(&mut self, request: &Request<'_>) -> Result<Option<User>, Shown> {
        let get = |name: &str| request.query.get(name).map(String::as_str);
        if get("response_type") != Some("code") {
            return Err(EntraError::new("unsupported_response_type", 700_054, "response_type is not enabled.").into());
        }
        let resolved = self.resolve(get("scope").unwrap_or_default())?;
        self.check_resource(get("resource"), &resolved)?;
        // a challenge of SHA-256 has 43 characters; one that was passed on from somebody else in another form is refused
        if get("code_challenge").is_some_and(|challenge| challenge.len() != 43) {
            return Err(EntraError::new("invalid_request", 501_491, "Invalid size of Code_Challenge parameter.").into());
        }
        // the user flows of Azure AD B2C know `login` alone
        if request.realm.policy.is_some() && get("prompt").is_some_and(|prompt| prompt != "login") {
            return Err(EntraError::new("invalid_request", 90023, "AADB2C90250: the prompt is not supported.").into());
        }
        if get("prompt") == Some("none") {
            let text = "A silent sign-in request was sent but no user is signed in.";
            return Err(EntraError::new("login_required", 50058, text).into());
        }
        let Some(name) = self.signs_in.clone() else { return Ok(None) };
        let user = self.user(&name).clone();
        Self::may_enter(request, &user)?;
        if self.declines {
            let text = "User declined to consent to access the app.";
            return Err(EntraError::new("access_denied", 65004, text).into());
        }
        Ok(Some(user))
    }

    /// Who is of another tenant, or not assigned, learns it on a page and does not come back.
    fn may_enter(request: &Request<'_>, user: &User) -> Result<(), Shown> {
        let home = user.tenant == request.app.tenant || request.app.multi_tenant;
        if !home || !request.realm.admits(&user.tenant) {
            let text =
                format!("User account '{}' does not exist in tenant and cannot access the application.", user.upn);
            return Err(Shown::OnPage(EntraError::new("invalid_request", 50020, text)));
        }
        if request.app.assigned.as_ref().is_some_and(|assigned| !assigned.contains(&user.name)) {
            let text = "The signed in user is not assigned to a role for the application.";
            return Err(Shown::OnPage(EntraError::new("invalid_grant", 50105, text)));
        }
        Ok(())
    }

    /// The answer carries `code`, `state` and `session_state`; it carries no `iss`.
    fn signed_in(&mut self, request: &Request<'_>, user: User) -> Visit {
        // a sign-in fulfils what conditional access wanted
        self.challenges.remove(&user.name);
        self.challenges_on_behalf.remove(&user.name);
        let get = |name: &str| request.query.get(name).cloned();
        let tenant = request.realm.tenant.clone().unwrap_or_else(|| user.tenant.clone());
        let session = Session {
            tenant,
            client_id: request.app.client_id.clone(),
            nonce: get("nonce"),
            challenge: get("code_challenge"),
            redirect_uri: request.redirect_uri.clone(),
            scopes: get("scope").unwrap_or_default().split(' ').map(str::to_owned).collect(),
            policy: request.realm.policy.clone(),
            at: self.now(),
            user,
        };
        let code = self.next("0.entra-code-");
        self.codes.insert(code.clone(), session);
        let session_state = self.next_guid();
        let mut pairs = vec![("code", code.as_str())];
        let state = get("state");
        pairs.extend(state.as_deref().map(|state| ("state", state)));
        pairs.push(("session_state", &session_state));
        Visit::Back(back(&request.redirect_uri, &pairs))
    }
}

/// How an error is shown.
enum Shown {
    OnRedirect(EntraError),
    OnPage(EntraError),
}

impl From<EntraError> for Shown {
    fn from(error: EntraError) -> Self {
        Self::OnRedirect(error)
    }
}

/// With a page about the number, and a sub-code when the user said no.
fn back_with_error(request: &Request<'_>, error: &EntraError, time: &str) -> String {
    let description = error.description(time);
    let about = format!("https://login.microsoftonline.com/error?code={}", error.number);
    let mut pairs = vec![("error", error.error)];
    if error.error == "access_denied" {
        pairs.push(("error_subcode", "cancel"));
    }
    pairs.extend([("error_description", description.as_str()), ("error_uri", &about)]);
    pairs.extend(request.query.get("state").map(|state| ("state", state.as_str())));
    back(&request.redirect_uri, &pairs)
}

/// A redirect URI without a path comes back with a slash.
fn back(redirect_uri: &str, pairs: &[(&str, &str)]) -> String {
    let mut url = Url::parse(redirect_uri).expect("a registered URI");
    url.query_pairs_mut().extend_pairs(pairs);
    url.into()
}

fn page(time: &str, error: &EntraError) -> Visit {
    let lines = error.description(time).replace("\r\n", "<br>");
    Visit::Page(format!(
        "<!doctype html><title>Sign in to your account</title><h1>Sorry, but we're having trouble signing you in.</h1><p>{lines}</p>"
    ))
}
