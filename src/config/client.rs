//! `[[client]]`: clients that need no registration.

use std::path::Path;

use serde::Deserialize;

use super::bounds::{self, Bounds, Places};
use super::id::{Seen, duplicate};
use super::name::check_name;
use super::needs::SecretFor;
use super::problem::{Mistake, io_message};
use super::reading::{Reading, Section};
use super::secret_source::SecretSource;
use crate::oauth::client_keys::{ClientKeys, ClientKeysError};
use crate::oauth::client_metadata::AuthMethod;
use crate::oauth::redirect_uri::RedirectPolicy;
use crate::secret::SecretText;

const LONGEST_ID: usize = 255;
/// The minimum length of a client secret, in characters: 32 hexadecimal digits are 128 bits.
const SHORTEST_SECRET: usize = 32;
/// The largest file of keys, in bytes.
const LARGEST_JWKS: u64 = 64 * 1024;

/// A client that the operator configured.
#[derive(Debug, Clone)]
pub struct ConfiguredClient {
    /// Its id; never begins with `c_`.
    pub client_id: String,
    /// Its name on the consent page.
    pub name: Option<String>,
    /// Its redirect URIs; each passed the redirect policy.
    pub redirect_uris: Vec<String>,
    /// Its secret, if it has one.
    pub client_secret: Option<SecretText>,
    /// Its public keys, if it signs assertions.
    pub keys: Option<ClientKeys>,
    /// Its authentication method: `none` without secret and keys.
    pub auth_method: AuthMethod,
    /// Whether it may ask with a device code.
    pub device: bool,
    /// Whether it gets bound tokens alone (RFC 9449 5.2).
    pub dpop_bound: bool,
    /// What it may do for itself, without a user (RFC 6749 4.4); `None`: nothing.
    pub machine: Option<Bounds>,
    /// The ids of the upstreams about whose tokens it may ask (RFC 7662): it is then a resource server.
    pub introspects: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    client_id: String,
    name: Option<String>,
    redirect_uris: Option<Vec<String>>,
    device: Option<bool>,
    client_secret: Option<SecretSource>,
    jwks: Option<String>,
    jwks_uri: Option<String>,
    token_endpoint_auth_method: Option<AuthMethod>,
    machine_upstreams: Option<Vec<String>>,
    machine_scopes: Option<Vec<String>>,
    introspects: Option<Vec<String>>,
    dpop_bound_access_tokens: Option<bool>,
}

/// Reads one entry. `seen` holds the client ids of those before it, `upstreams` the ids of all upstreams, if they are known.
pub(super) fn read(
    section: &Section<'_>,
    policy: &RedirectPolicy,
    seen: &mut Seen,
    upstreams: Option<&[&str]>,
    reading: &mut Reading<'_>,
) -> Option<ConfiguredClient> {
    let mut written: Written = reading.shape(section)?;
    let at = section.at("client_id");
    let id = check_id(&written.client_id)
        .and_then(|()| seen.insert(&written.client_id, &at.location).map_err(|before| duplicate(&before)));
    reading.keep(&at, id);
    if let Some(name) = &written.name {
        reading.keep(&section.at("name"), check_name(name));
    }
    let introspects = written.introspects.take().unwrap_or_default();
    let device = written.device.unwrap_or_default();
    let sends_no_user = written.machine_upstreams.is_some() || !introspects.is_empty() || device;
    let redirect_uris = redirect_uris(written.redirect_uris.take(), sends_no_user, policy, section, reading);
    let proof =
        Proof { has_secret: section.has("client_secret"), has_keys: section.has("jwks") || section.has("jwks_uri") };
    let auth_method =
        reading.keep(&section.at("token_endpoint_auth_method"), proof.method(written.token_endpoint_auth_method));
    if !introspects.is_empty() {
        check_introspects(&introspects, auth_method, upstreams, section, reading);
    }
    let keys = keys(&written, section, reading);
    let client_secret = match &written.client_secret {
        Some(source) if reading.reads(SecretFor::Serving) => {
            let at = section.at("client_secret");
            let secret = reading.secret(&at, SecretFor::Serving, source)?;
            reading.keep(&at, check_secret(&secret))?;
            Some(secret)
        }
        _ => None,
    };
    let auth_method = auth_method?;
    let machine = machine(written.machine_upstreams, written.machine_scopes, auth_method, section, reading);
    Some(ConfiguredClient {
        client_id: written.client_id,
        name: written.name,
        redirect_uris,
        device,
        client_secret,
        keys: keys?,
        auth_method,
        dpop_bound: written.dpop_bound_access_tokens.unwrap_or_default(),
        machine,
        introspects,
    })
}

/// The keys of an entry, from a file or by their URL. The outer `None` is a mistake that was reported.
#[expect(clippy::option_option, reason = "the outer one is a mistake, the inner one a client without keys")]
fn keys(written: &Written, section: &Section<'_>, reading: &mut Reading<'_>) -> Option<Option<ClientKeys>> {
    let at = section.at(if written.jwks.is_some() { "jwks" } else { "jwks_uri" });
    let jwks = match &written.jwks {
        Some(file) => Some(reading.keep(&at, read_jwks(&reading.resolve(file)))?),
        None => None,
    };
    let keys = ClientKeys::read(jwks.as_deref(), written.jwks_uri.as_deref()).map_err(|error| {
        let hint = match error {
            ClientKeysError::Both => "remove one of the two",
            ClientKeysError::Url => "the client's documentation names it",
            _ => "the file is the public key set that the client gives you",
        };
        Mistake::new(error.to_string()).hint(hint)
    });
    reading.keep(&at, keys)
}

fn read_jwks(file: &Path) -> Result<String, Mistake> {
    let size = std::fs::metadata(file).map(|metadata| metadata.len());
    let text = match size {
        Ok(size) if size > LARGEST_JWKS => Err(format!("the file is larger than {LARGEST_JWKS} bytes")),
        Ok(_) => std::fs::read_to_string(file).map_err(|error| io_message(&error)),
        Err(error) => Err(io_message(&error)),
    };
    text.map_err(|why| {
        Mistake::new(format!("the file of the keys cannot be read: {why}"))
            .hint("jwks names a file; relative paths begin at the directory of the configuration")
    })
}

/// Where the bounds of a machine are written.
pub(super) fn places(section: &Section<'_>) -> Places {
    Places { upstreams: section.at("machine_upstreams"), scopes: section.at("machine_scopes") }
}

/// A client of bound tokens alone could use no upstream that takes bearer tokens alone.
pub(super) fn check_dpop(section: &Section<'_>, has_upstream: bool, reading: &mut Reading<'_>) {
    if !has_upstream {
        let mistake = Mistake::new("is true, but no upstream takes tokens that are bound to keys");
        let hint = "add dpop = \"optional\" to an [[upstream]], or remove this line";
        reading.error(&section.at("dpop_bound_access_tokens"), mistake.hint(hint));
    }
}

fn machine(
    upstreams: Option<Vec<String>>,
    scopes: Option<Vec<String>>,
    auth_method: AuthMethod,
    section: &Section<'_>,
    reading: &mut Reading<'_>,
) -> Option<Bounds> {
    if upstreams.is_none() && scopes.is_some() {
        let mistake = Mistake::new("has no effect: this client does not act for itself");
        reading.error(&section.at("machine_scopes"), mistake.hint("add machine_upstreams"));
    }
    let bounds = bounds::read(upstreams?, scopes, &places(section), reading);
    if auth_method == AuthMethod::None {
        let mistake = Mistake::new("needs a client that authenticates, and this one is public");
        reading
            .error(&section.at("machine_upstreams"), mistake.hint("add client_secret = { env = \"NAME\" }, or jwks"));
    }
    Some(bounds)
}

/// The redirect URIs. Only a machine and a resource server may have none: they send no user anywhere.
fn redirect_uris(
    written: Option<Vec<String>>,
    sends_no_user: bool,
    policy: &RedirectPolicy,
    section: &Section<'_>,
    reading: &mut Reading<'_>,
) -> Vec<String> {
    let fault = if written.is_none() { "is missing" } else { "is empty" };
    let uris = written.unwrap_or_default();
    if uris.is_empty() && !sends_no_user {
        let mistake = Mistake::new(format!("{fault}: there is nowhere to send a code"));
        reading.error(&section.at("redirect_uris"), mistake.hint("the client's documentation names them"));
    }
    check_redirects(&uris, policy, section, reading);
    uris
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

/// The redirect URIs that are allowed.
const ALLOWED: &str =
    "https, http on 127.0.0.1, [::1] or localhost, or listed in registration.private_use_redirect_uris";

fn check_redirects(uris: &[String], policy: &RedirectPolicy, section: &Section<'_>, reading: &mut Reading<'_>) {
    let mut seen = Seen::default();
    for (index, uri) in uris.iter().enumerate() {
        let at = section.item("redirect_uris", index);
        let checked = if uri.contains('*') {
            Err(Mistake::new("patterns are not supported: redirect URIs are compared exactly").hint("list each URI"))
        } else {
            policy.parse(uri).map_err(|why| {
                Mistake::new(why.to_string()).hint(policy.suggest(uri).map_or_else(
                    || ALLOWED.to_owned(),
                    |spelling| format!("write \"{spelling}\", if that is where the client waits"),
                ))
            })
        };
        let checked = checked.and_then(|uri| {
            seen.insert(uri.canonical(), &at.location)
                .map_err(|before| Mistake::new(format!("is already listed in {before}")).hint("remove one"))
        });
        reading.keep(&at, checked);
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
        reading.error(&section.at("introspects"), mistake.hint("add client_secret = { env = \"NAME\" }, or jwks"));
    }
    for (index, id) in ids.iter().enumerate() {
        if let Some(known) = upstreams.filter(|known| !known.contains(&id.as_str())) {
            let mistake = Mistake::new("is not the id of an upstream");
            let hint = format!("the configuration has {}", known.join(", "));
            reading.error(&section.item("introspects", index), mistake.hint(hint));
        }
    }
}

/// With what a client proves itself, as far as the entry tells.
#[derive(Clone, Copy)]
struct Proof {
    has_secret: bool,
    has_keys: bool,
}

impl Proof {
    /// The method that fits; a written one must agree with it.
    fn method(self, written: Option<AuthMethod>) -> Result<AuthMethod, Mistake> {
        let Self { has_secret, has_keys } = self;
        if has_secret && has_keys {
            return Err(Mistake::new("cannot be decided: there is a client_secret, and there are keys")
                .hint("remove one of the two: a client authenticates in one way"));
        }
        match written {
            None if has_secret => Ok(AuthMethod::ClientSecretBasic),
            None if has_keys => Ok(AuthMethod::PrivateKeyJwt),
            None => Ok(AuthMethod::None),
            Some(AuthMethod::None) if has_secret => {
                Err(Mistake::new("is \"none\", but there is a client_secret").hint("remove one of the two"))
            }
            Some(AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost) if !has_secret => {
                Err(Mistake::new("needs a client_secret, and there is none")
                    .hint("add client_secret = { env = \"NAME\" }"))
            }
            Some(AuthMethod::PrivateKeyJwt) if !has_keys => {
                Err(Mistake::new("needs the client's public keys, and there are none")
                    .hint("add jwks = \"FILE\" or jwks_uri = \"https://…\""))
            }
            Some(AuthMethod::None) if has_keys => {
                Err(Mistake::new("is \"none\", but there are keys").hint("remove one of the two"))
            }
            Some(method) => Ok(method),
        }
    }
}
