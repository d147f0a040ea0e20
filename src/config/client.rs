//! `[[client]]`: clients that need no registration.

use serde::Deserialize;

use super::id::{Seen, duplicate};
use super::problem::Mistake;
use super::reading::{Reading, Section};
use super::secret_source::SecretSource;
use crate::oauth::client_metadata::AuthMethod;
use crate::oauth::client_name::MAX_CLIENT_NAME;
use crate::oauth::redirect_uri::RedirectPolicy;
use crate::secret::SecretText;

const LONGEST_ID: usize = 255;
/// The minimum length of a client secret, in characters: 32 hexadecimal digits are 128 bits.
const SHORTEST_SECRET: usize = 32;

/// A client that the operator configured.
#[derive(Debug, Clone)]
pub struct ConfiguredClient {
    /// Its id; never begins with `c_`.
    pub client_id: String,
    /// Its name on the consent page.
    pub name: Option<String>,
    /// Its redirect URIs; each passed the redirect policy.
    pub redirect_uris: Vec<String>,
    /// Its secret; `None` for a public client.
    pub client_secret: Option<SecretText>,
    /// Its authentication method: `none` without a secret.
    pub auth_method: AuthMethod,
    /// The ids of the upstreams about whose tokens it may ask (RFC 7662): it is then a resource server.
    pub introspects: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    client_id: String,
    name: Option<String>,
    redirect_uris: Vec<String>,
    client_secret: Option<SecretSource>,
    token_endpoint_auth_method: Option<AuthMethod>,
    introspects: Option<Vec<String>>,
}

/// Reads one entry. `seen` holds the client ids of those before it, `upstreams` the ids of all upstreams, if they are known.
pub(super) fn read(
    section: &Section<'_>,
    policy: &RedirectPolicy,
    seen: &mut Seen,
    upstreams: Option<&[&str]>,
    reading: &mut Reading<'_>,
) -> Option<ConfiguredClient> {
    let written: Written = reading.shape(section)?;
    let at = section.at("client_id");
    let id = check_id(&written.client_id)
        .and_then(|()| seen.insert(&written.client_id, &at.location).map_err(|before| duplicate(&before)));
    reading.keep(&at, id);
    if let Some(name) = &written.name {
        reading.keep(&section.at("name"), check_name(name));
    }
    let introspects = written.introspects.unwrap_or_default();
    if written.redirect_uris.is_empty() && introspects.is_empty() {
        let mistake =
            Mistake::new("is empty: there is nowhere to send a code").hint("the client's documentation names them");
        reading.error(&section.at("redirect_uris"), mistake);
    }
    check_redirects(&written.redirect_uris, policy, section, reading);
    let auth_method = auth_method(written.token_endpoint_auth_method, section.has("client_secret"));
    let auth_method = reading.keep(&section.at("token_endpoint_auth_method"), auth_method);
    if !introspects.is_empty() {
        check_introspects(&introspects, auth_method, upstreams, section, reading);
    }
    let client_secret = match &written.client_secret {
        Some(source) => {
            let at = section.at("client_secret");
            let secret = reading.secret(&at, source)?;
            reading.keep(&at, check_secret(&secret))?;
            Some(secret)
        }
        None => None,
    };
    Some(ConfiguredClient {
        client_id: written.client_id,
        name: written.name,
        redirect_uris: written.redirect_uris,
        client_secret,
        auth_method: auth_method?,
        introspects,
    })
}

/// Checks a client id (RFC 6749 A.1) that is not reserved for registered clients or for metadata documents.
fn check_id(id: &str) -> Result<(), Mistake> {
    let another = "choose another client id";
    if id.starts_with("c_") {
        return Err(Mistake::new("the prefix c_ is reserved for clients that register themselves").hint(another));
    }
    if id.starts_with("https://") {
        return Err(Mistake::new("URLs are reserved for clients with a metadata document").hint(another));
    }
    let printable = id.bytes().all(|byte| byte.is_ascii_graphic());
    if id.is_empty() || id.len() > LONGEST_ID || !printable {
        return Err(Mistake::new("must be 1 to 255 printable ASCII characters without spaces"));
    }
    Ok(())
}

/// Defends against brute force: the rate limit on wrong secrets does not stop an attacker with many addresses.
fn check_secret(secret: &SecretText) -> Result<(), Mistake> {
    if secret.expose().chars().count() < SHORTEST_SECRET {
        return Err(Mistake::new(format!("has fewer than {SHORTEST_SECRET} characters and could be guessed"))
            .hint("make one with `openssl rand -base64 32`, and give it to the client"));
    }
    Ok(())
}

/// Checks a display name.
pub(super) fn check_name(name: &str) -> Result<(), Mistake> {
    if name.trim().is_empty() || name.chars().count() > MAX_CLIENT_NAME || name.chars().any(char::is_control) {
        return Err(Mistake::new(format!("must be 1 to {MAX_CLIENT_NAME} characters on one line")));
    }
    Ok(())
}

/// The redirect URIs that are allowed.
const ALLOWED: &str =
    "https, http on 127.0.0.1, [::1] or localhost, or listed in registration.private_use_redirect_uris";

fn check_redirects(uris: &[String], policy: &RedirectPolicy, section: &Section<'_>, reading: &mut Reading<'_>) {
    let mut seen = Seen::default();
    for (index, uri) in uris.iter().enumerate() {
        let at = section.item("redirect_uris", index);
        let judged = if uri.contains('*') {
            Err(Mistake::new("patterns are not supported: redirect URIs are compared exactly").hint("list each URI"))
        } else {
            policy.parse(uri).map_err(|why| {
                Mistake::new(why.to_string()).hint(policy.suggest(uri).map_or_else(
                    || ALLOWED.to_owned(),
                    |spelling| format!("write \"{spelling}\", if that is where the client waits"),
                ))
            })
        };
        let judged = judged.and_then(|uri| {
            seen.insert(uri.canonical(), &at.location)
                .map_err(|before| Mistake::new(format!("is already listed in {before}")).hint("remove one"))
        });
        reading.keep(&at, judged);
    }
}

/// Checks that the upstreams exist, and that the client authenticates.
fn check_introspects(
    ids: &[String],
    auth_method: Option<AuthMethod>,
    upstreams: Option<&[&str]>,
    section: &Section<'_>,
    reading: &mut Reading<'_>,
) {
    if auth_method == Some(AuthMethod::None) {
        let mistake = Mistake::new("needs a client that authenticates: anyone could ask about tokens otherwise");
        reading.error(&section.at("introspects"), mistake.hint("add client_secret = { env = \"NAME\" }"));
    }
    for (index, id) in ids.iter().enumerate() {
        if let Some(known) = upstreams.filter(|known| !known.contains(&id.as_str())) {
            let mistake = Mistake::new("is not the id of an upstream");
            let hint = format!("the configuration has {}", known.join(", "));
            reading.error(&section.item("introspects", index), mistake.hint(hint));
        }
    }
}

fn auth_method(written: Option<AuthMethod>, has_secret: bool) -> Result<AuthMethod, Mistake> {
    match (written, has_secret) {
        (None, true) => Ok(AuthMethod::ClientSecretBasic),
        (None, false) => Ok(AuthMethod::None),
        (Some(AuthMethod::None), true) => {
            Err(Mistake::new("is \"none\", but there is a client_secret").hint("remove one of the two"))
        }
        (Some(AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost), false) => {
            Err(Mistake::new("needs a client_secret, and there is none").hint("add client_secret = { env = \"NAME\" }"))
        }
        (Some(method), _) => Ok(method),
    }
}
