//! ID tokens and access tokens.

use std::collections::BTreeSet;

use portcullis::secret::{Sha256, base64url};
use serde_json::{Value, json};

use super::GRAPH;
use super::directory::{App, User};
use super::state::{Issued, Session, State};

/// How long an ID token is valid.
const ID_TOKEN: i64 = 3600;

/// A fresh access token.
pub(super) struct AccessToken {
    pub(super) token: String,
    pub(super) expires_in: i64,
}

/// `sub` is another one for each client: it is not the user's id.
fn pairwise(user: &User, client_id: &str) -> String {
    base64url(Sha256::of(format!("{}|{}|{client_id}", user.tenant, user.oid).as_bytes()).as_bytes())
}

impl State {
    /// The ID token of a session. `oid`, `name` and `preferred_username` need the scope `profile`, `email` needs its own; an
    /// address says by `xms_edov` whether the tenant owns its domain. The one of a refresh has no nonce.
    pub(super) fn id_token(&self, app: &App, session: &Session, scopes: &BTreeSet<String>, version: u8) -> String {
        let (user, now, b2c) = (&session.user, self.now(), session.policy.is_some());
        let mut claims = json!({
            "aud": app.client_id, "iss": self.issuer(version, &session.tenant, b2c), "iat": now, "nbf": now,
            "exp": now + ID_TOKEN, "rh": "0.AXAA", "sub": pairwise(user, &app.client_id), "uti": "iT9-x",
            "ver": if version == 1 { "1.0" } else { "2.0" },
        });
        // Azure AD B2C names no tenant in its tokens, but its policy
        match &session.policy {
            Some(policy) => claims["tfp"] = json!(policy),
            None => claims["tid"] = json!(session.tenant),
        }
        if let Some(nonce) = &session.nonce {
            claims["nonce"] = json!(nonce);
        }
        if scopes.contains("profile") {
            claims["oid"] = json!(user.oid);
            claims["name"] = json!(user.name);
            claims["preferred_username"] = json!(user.upn);
        }
        if let Some(email) = user.email.as_ref().filter(|_| scopes.contains("email")) {
            claims["email"] = json!(email);
            if user.email_verified {
                claims["xms_edov"] = json!(true);
            }
        }
        if !user.roles.is_empty() {
            claims["roles"] = json!(user.roles);
        }
        if app.groups {
            self.add_groups(&mut claims, user);
        }
        let mut header = self.keys.header(version);
        (self.edit_id_token)(&mut header, &mut claims);
        self.keys.sign(&header, &claims)
    }

    /// A user in more groups than a token holds has none in it, but a pointer to an old endpoint of the directory.
    fn add_groups(&self, claims: &mut Value, user: &User) {
        if user.groups.len() <= self.most_groups {
            claims["groups"] = json!(user.groups);
            return;
        }
        let endpoint = format!("https://graph.windows.net/{}/users/{}/getMemberObjects", user.tenant, user.oid);
        claims["_claim_names"] = json!({"groups": "src1"});
        claims["_claim_sources"] = json!({"src1": {"endpoint": endpoint}});
    }

    /// An access token for an API: its version is what the API's app registration says, whatever endpoint was asked. It lives 60
    /// to 90 minutes, each for another time.
    pub(super) fn access_token(
        &mut self,
        client: &App,
        (resource, scopes): (&str, &BTreeSet<String>),
        session: Option<&Session>,
        authentication: &str,
    ) -> AccessToken {
        self.counter += 1;
        let expires_in = 3600 + i64::try_from(self.counter * 97 % 1800).unwrap_or_default();
        let (now, user) = (self.now(), session.map(|session| session.user.clone()));
        let token = match self.app(resource).cloned() {
            Some(api) => self.token_for((client, &api), scopes, session, (now + expires_in, authentication)),
            // a token for Microsoft Graph cannot be verified by others: its signature is over another header
            None => format!("{}.graph-token-{}.unverifiable", base64url(br#"{"typ":"JWT","nonce":"x"}"#), self.counter),
        };
        let issued =
            Issued { resource: resource.to_owned(), user, scopes: scopes.clone(), expires_at: now + expires_in };
        self.access_tokens.insert(token.clone(), issued);
        AccessToken { token, expires_in }
    }

    fn token_for(
        &self,
        (client, api): (&App, &App),
        scopes: &BTreeSet<String>,
        session: Option<&Session>,
        (expires_at, authentication): (i64, &str),
    ) -> String {
        let (version, now) = (api.token_version, self.now());
        let tenant = session.map_or(&client.tenant, |session| &session.tenant);
        let mut claims = json!({
            "aud": self.audience(api), "iss": self.issuer(version, tenant, false), "iat": now, "nbf": now,
            "exp": expires_at, "aio": "AXQ", "rh": "0.AXAA", "tid": tenant, "uti": format!("uti-{}", self.counter),
            "ver": if version == 1 { "1.0" } else { "2.0" },
        });
        // 0: a public client, 1: a secret, 2: a certificate or a federated credential
        let (party, proof) = if version == 1 { ("appid", "appidacr") } else { ("azp", "azpacr") };
        claims[party] = json!(client.client_id);
        claims[proof] = json!(authentication);
        if let Some(Session { user, .. }) = session {
            // `scp` holds short names, separated by spaces
            let names =
                if scopes.contains(".default") { api.exposes.clone() } else { scopes.iter().cloned().collect() };
            claims["scp"] = json!(names.join(" "));
            claims["oid"] = json!(user.oid);
            claims["sub"] = json!(pairwise(user, &api.client_id));
            claims["name"] = json!(user.name);
            if version == 1 {
                claims["upn"] = json!(user.upn);
                claims["unique_name"] = json!(user.upn);
                claims["amr"] = json!(["pwd"]);
            } else {
                claims["preferred_username"] = json!(user.upn);
            }
        } else {
            // an application's own token has roles in the place of `scp`, and one id as oid and sub
            let own = super::directory::guid(&[b"service principal", client.client_id.as_bytes()]);
            claims["oid"] = json!(own);
            claims["sub"] = json!(own);
            claims["roles"] = json!(api.roles_of_machines);
            if api.idtyp {
                claims["idtyp"] = json!("app");
            }
        }
        self.keys.sign(&self.keys.header(version), &claims)
    }

    /// Version 2 names the API's client id. Version 1 names any of its identifiers, which cannot be foretold: the client id, or an
    /// Application ID URI with a slash at its end or without.
    fn audience(&self, api: &App) -> String {
        if api.token_version != 1 {
            return api.client_id.clone();
        }
        let mut forms = vec![api.client_id.clone()];
        forms.extend(api.identifier_uris.iter().flat_map(|uri| [uri.clone(), format!("{uri}/")]));
        let chance = Sha256::of(&self.counter.to_be_bytes());
        forms[usize::from(chance.as_bytes()[0]) % forms.len()].clone()
    }

    /// Whether an API is Microsoft Graph.
    pub(super) fn is_graph(resource: &str) -> bool {
        resource == GRAPH
    }
}
