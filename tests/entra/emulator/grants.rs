//! The token endpoint.

use std::collections::{BTreeSet, HashMap};

use portcullis::oauth::pkce::{CodeChallenge, CodeVerifier};
use serde_json::{Value, json};

use super::directory::{App, Platform};
use super::documents::Realm;
use super::error::EntraError;
use super::redirects::platform;
use super::scopes::Resolved;
use super::state::{Call, Session, State};

/// A code is good for ten minutes.
const CODE: i64 = 600;
/// A refresh token that is not used for 90 days is worth nothing; that of a single-page application ends after a day.
const REFRESH: i64 = 90 * 86_400;
const REFRESH_OF_SINGLE_PAGE: i64 = 86_400;

pub(super) const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
const ON_BEHALF_OF: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

type Answer = Result<Value, EntraError>;

/// A request of the token endpoint.
pub(super) struct Asked<'a> {
    pub(super) realm: &'a Realm,
    pub(super) version: u8,
    pub(super) call: &'a Call,
    /// The endpoint as the client knows it: the audience of assertions.
    pub(super) endpoint: String,
}

impl Asked<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        self.form().get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn form(&self) -> &HashMap<String, String> {
        &self.call.form
    }

    fn demand(&self, name: &str) -> Result<&str, EntraError> {
        let text = format!("The request body must contain the following parameter: '{name}'.");
        self.get(name).ok_or_else(|| EntraError::new("invalid_request", 90014, text))
    }

    /// How the client proved itself, as its access tokens say it.
    fn authentication(&self) -> &'static str {
        if self.get("client_assertion").is_some() { "2" } else { "1" }
    }
}

impl State {
    pub(super) fn token(&mut self, asked: &Asked<'_>) -> Answer {
        match asked.demand("grant_type")? {
            "authorization_code" => self.code(asked),
            "refresh_token" => self.refresh(asked),
            "client_credentials" => self.client_credentials(asked),
            ON_BEHALF_OF => self.on_behalf_of(asked),
            DEVICE_CODE | "device_code" => self.device(asked),
            other => {
                let text = format!("The app requested an unsupported grant type '{other}'.");
                Err(EntraError::new("unsupported_grant_type", 70003, text))
            }
        }
    }

    /// A code counts once. The verifier must fit the challenge. Scopes must be named again, those of one API.
    fn code(&mut self, asked: &Asked<'_>) -> Answer {
        let code = asked.demand("code")?.to_owned();
        let session = self.codes.get(&code).cloned();
        let of = |session: &Session| self.app(&session.client_id).and_then(|app| platform(app, &session.redirect_uri));
        let platform = session.as_ref().and_then(of).unwrap_or(Platform::Web);
        let app = self.client(&asked.call.headers, asked.form(), &asked.endpoint, platform)?;
        if self.used_codes.contains(&code) {
            return Err(EntraError::new("invalid_grant", 54005, "OAuth2 Authorization code was already redeemed."));
        }
        let invalid = |number, text: &str| EntraError::new("invalid_grant", number, text);
        let session =
            session.ok_or_else(|| invalid(70000, "The provided value for the 'code' parameter is not valid."))?;
        if self.now() > session.at + CODE {
            return Err(invalid(70008, "The provided authorization code or refresh token has expired."));
        }
        if session.client_id != app.client_id || asked.get("redirect_uri") != Some(&session.redirect_uri) {
            return Err(invalid(70000, "The code was not issued to this client or redirect URI."));
        }
        if !proves(&session, asked.get("code_verifier")) {
            return Err(invalid(501_481, "The Code_Verifier does not match the code_challenge supplied."));
        }
        if platform == Platform::SinglePage && !asked.call.headers.contains_key("origin") {
            let text = "Tokens issued for the 'Single-Page Application' client-type may only be redeemed via cross-origin requests.";
            return Err(EntraError::new("invalid_request", 9_002_327, text));
        }
        let Some(scope) = asked.get("scope") else {
            let text = "Provided value for the input parameter 'scope' can't be empty when requesting an access token.";
            return Err(EntraError::new("invalid_request", 28003, text));
        };
        let resolved = self.resolve(scope)?;
        self.check_resource(asked.get("resource"), &resolved)?;
        let api = Self::one_api(&resolved)?;
        self.used_codes.insert(code);
        Ok(self.response(asked, (&app, &session), &resolved, &api))
    }

    /// An old refresh token stays good when a new one is given: none is taken for stolen. It belongs to no API, so that scopes of
    /// another one can be asked for with it.
    fn refresh(&mut self, asked: &Asked<'_>) -> Answer {
        let session = self.refresh_tokens.get(asked.demand("refresh_token")?).cloned();
        let of = |session: &Session| self.app(&session.client_id).and_then(|app| platform(app, &session.redirect_uri));
        let platform = session.as_ref().and_then(of).unwrap_or(Platform::Web);
        let app = self.client(&asked.call.headers, asked.form(), &asked.endpoint, platform)?;
        let invalid = |number, text: &str| EntraError::new("invalid_grant", number, text);
        let session = session
            .filter(|session| session.client_id == app.client_id)
            .ok_or_else(|| invalid(70000, "The provided value for the 'refresh_token' parameter is not valid."))?;
        let user = session.user.name.clone();
        let age = self.now() - session.at;
        if platform == Platform::SinglePage && age > REFRESH_OF_SINGLE_PAGE {
            return Err(invalid(700_084, "The refresh token was issued to a single page app (SPA), and has expired.")
                .with_suberror(Some("bad_token")));
        }
        if age > REFRESH {
            return Err(
                invalid(700_082, "The refresh token has expired due to inactivity.").with_suberror(Some("bad_token"))
            );
        }
        // a reset password ends them all
        if self.revoked_at.get(&user).is_some_and(|at| session.at <= *at) {
            return Err(invalid(
                50173,
                "The provided grant has expired due to it being revoked, a fresh auth token is needed.",
            )
            .with_suberror(Some("bad_token")));
        }
        if let Some(challenge) = self.challenges.get(&user) {
            let text = "Due to a configuration change made by your administrator, or because you moved to a new location, you must use multi-factor authentication.";
            return Err(EntraError::new(challenge.error, challenge.number, text)
                .with_suberror(challenge.suberror)
                .with_claims(challenge.claims.clone()));
        }
        let scope = asked.get("scope").map_or_else(|| join(&session.scopes), str::to_owned);
        let resolved = self.resolve(&scope)?;
        self.check_resource(asked.get("resource"), &resolved)?;
        let api = Self::one_api(&resolved)?;
        // today's user, and no nonce: it belongs to the sign-in alone
        let user = self.user(&user).clone();
        let session = Session { user, nonce: None, at: self.now(), ..session };
        Ok(self.response(asked, (&app, &session), &resolved, &api))
    }

    /// A refresh token comes only with `offline_access`, an ID token only with `openid`. `scope` repeats the names of the request
    /// with the API in front, and never `offline_access`.
    fn response(
        &mut self,
        asked: &Asked<'_>,
        (app, session): (&App, &Session),
        resolved: &Resolved,
        api: &(String, BTreeSet<String>),
    ) -> Value {
        let access = self.access_token(app, (&api.0, &api.1), Some(session), asked.authentication());
        let mut granted: BTreeSet<String> = resolved.written.clone();
        if Self::is_graph(&api.0) {
            granted.extend(resolved.oidc.iter().filter(|scope| *scope != "offline_access").cloned());
            granted.extend(api.1.iter().cloned());
        }
        granted.retain(|scope| self.withholds.as_ref() != Some(scope));
        let mut answer = json!({
            "token_type": "Bearer", "scope": join(&granted), "expires_in": access.expires_in,
            "ext_expires_in": access.expires_in, "access_token": access.token,
        });
        if session.scopes.contains("offline_access") || resolved.oidc.contains("offline_access") {
            let refresh = self.next("1.entra-refresh-token-");
            self.refresh_tokens.insert(refresh.clone(), session.clone());
            answer["refresh_token"] = json!(refresh);
        }
        if resolved.oidc.contains("openid") {
            answer["id_token"] = json!(self.id_token(app, session, &resolved.oidc, asked.version));
        }
        // version 1 writes numbers as texts
        if asked.version == 1 {
            answer["expires_in"] = json!(access.expires_in.to_string());
        }
        answer
    }

    /// An application's own token is asked for with `{API}/.default` alone, at the endpoints of one tenant, and brings neither a
    /// refresh token nor an ID token.
    fn client_credentials(&mut self, asked: &Asked<'_>) -> Answer {
        let app = self.client(&asked.call.headers, asked.form(), &asked.endpoint, Platform::Web)?;
        if asked.realm.tenant.is_none() {
            let text =
                "No tenant-identifying information found in either the request or implied by any provided credentials.";
            return Err(EntraError::new("invalid_request", 90002, text));
        }
        let resolved = self.resolve(asked.get("scope").unwrap_or_default())?;
        let api = Self::one_api(&resolved)?;
        if !resolved.oidc.is_empty() || !api.1.contains(".default") {
            let text = "The provided value for scope is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier.";
            return Err(EntraError::new("invalid_scope", 1_002_012, text));
        }
        let access = self.access_token(&app, (&api.0, &api.1), None, asked.authentication());
        Ok(json!({"token_type": "Bearer", "expires_in": access.expires_in, "ext_expires_in": access.expires_in,
            "access_token": access.token}))
    }

    /// An API exchanges a user's token that is for itself for one of another API. What conditional access wants comes back as
    /// `claims`, to be handed to the client.
    fn on_behalf_of(&mut self, asked: &Asked<'_>) -> Answer {
        let app = self.client(&asked.call.headers, asked.form(), &asked.endpoint, Platform::Web)?;
        if asked.get("requested_token_use") != Some("on_behalf_of") {
            return Err(EntraError::new(
                "invalid_request",
                90014,
                "The request body must contain 'requested_token_use'.",
            ));
        }
        let invalid = |number, text: &str| EntraError::new("invalid_grant", number, text);
        let issued = self.access_tokens.get(asked.demand("assertion")?).cloned();
        let issued = issued.filter(|issued| issued.resource == app.client_id).ok_or_else(|| {
            invalid(50013, "Assertion failed signature validation, or its audience is not this application.")
        })?;
        if issued.expires_at <= self.now() {
            return Err(invalid(500_133, "Assertion is not within its valid time range."));
        }
        let user = issued
            .user
            .clone()
            .ok_or_else(|| invalid(7_000_114, "Application is not allowed to make application on-behalf-of calls."))?;
        let challenge = self.challenges.get(&user.name).or_else(|| self.challenges_on_behalf.get(&user.name));
        if let Some(challenge) = challenge {
            let text =
                "Due to a configuration change made by your administrator you must use multi-factor authentication.";
            let error = EntraError::new("interaction_required", challenge.number, text);
            return Err(error.with_suberror(Some("basic_action")).with_claims(challenge.claims.clone()));
        }
        let resolved = self.resolve(asked.get("scope").unwrap_or_default())?;
        let api = Self::one_api(&resolved)?;
        let qualified = api.1.iter().map(|name| format!("{}/{name}", api.0));
        let consented: BTreeSet<String> = app.admin_consent.clone();
        let all = qualified.clone().all(|scope| consented.contains(&scope));
        let some = api.1.contains(".default") && consented.iter().any(|scope| scope.starts_with(&api.0));
        if !all && !some {
            let text = "The user or administrator has not consented to use the application.";
            return Err(invalid(65001, text).with_suberror(Some("consent_required")));
        }
        // `.default` stands for all that was consented to
        let names: BTreeSet<String> = if some {
            let own = |scope: &String| scope.strip_prefix(&api.0)?.strip_prefix('/').map(str::to_owned);
            consented.iter().filter_map(own).collect()
        } else {
            api.1.clone()
        };
        let session = Session {
            tenant: user.tenant.clone(),
            user,
            client_id: app.client_id.clone(),
            nonce: None,
            challenge: None,
            redirect_uri: String::new(),
            scopes: BTreeSet::new(),
            policy: None,
            at: self.now(),
        };
        let access = self.access_token(&app, (&api.0, &names), Some(&session), asked.authentication());
        Ok(json!({"token_type": "Bearer", "scope": join(&resolved.written), "expires_in": access.expires_in,
            "ext_expires_in": access.expires_in, "access_token": access.token}))
    }

    /// A device polls; see `device`.
    fn device(&mut self, asked: &Asked<'_>) -> Answer {
        let session = self.confirmed_device(asked)?;
        let app = self.app(&session.client_id).cloned().expect("the app of a device code is there");
        let resolved = self.resolve(&join(&session.scopes))?;
        let api = Self::one_api(&resolved)?;
        Ok(self.response(asked, (&app, &session), &resolved, &api))
    }
}

fn proves(session: &Session, verifier: Option<&str>) -> bool {
    match (&session.challenge, verifier) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(challenge), Some(verifier)) => {
            let challenge = CodeChallenge::parse(challenge);
            CodeVerifier::parse(verifier)
                .zip(challenge)
                .is_some_and(|(verifier, challenge)| verifier.proves(&challenge))
        }
    }
}

pub(super) fn join(scopes: &BTreeSet<String>) -> String {
    scopes.iter().map(String::as_str).collect::<Vec<_>>().join(" ")
}
