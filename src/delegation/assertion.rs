//! An assertion about the user for a server behind us: a JWT that we sign, which an unmodified server verifies with our key set.
//!
//! Defends against: replay of an assertion elsewhere. Its audience is that server's alone, its `typ` is no access token's, and it is
//! good for minutes. It has no `jti`: it is the same for all calls of some time, and a server that takes an id once would refuse the
//! second.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use serde::Serialize;

use super::encode::header_value;
use super::groups::Groups;
use super::undelegated::Undelegated;
use crate::clock::{Clock, Timestamp};
use crate::config::{AssertionClaim, AssertionSettings, ForwardedGroups, PublicUrl, UpstreamSettings};
use crate::keys::{KeyRing, KeyWatch};
use crate::model::caller::Caller;
use crate::oauth::scope_hierarchy::ScopeHierarchy;

/// How long an assertion must be good when it is sent, at the most: for the way to the server, and for its clock.
const MARGIN: Duration = Duration::from_secs(30);
/// What an assertion takes besides its texts, about: header, names of claims, signature.
const SIZE: usize = 1024;

/// The assertion about one caller, as long as it is good. A caller's token has one slot, and so each token one assertion.
#[derive(Default)]
pub(crate) struct AssertionSlot(Mutex<Option<Signed>>);

struct Signed {
    value: HeaderValue,
    /// The first second in which it is not sent any more.
    until: Timestamp,
    key: KeyWatch,
}

/// Signs the assertions for one upstream.
pub(super) struct Assertions {
    issuer: String,
    settings: AssertionSettings,
    groups: ForwardedGroups,
    hierarchy: ScopeHierarchy,
    ring: KeyRing,
    clock: Clock,
    bearer: bool,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    iat: i64,
    nbf: i64,
    exp: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<&'a str>>,
    /// How many groups there are where they are too many to be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    groups_omitted: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<&'a str>,
}

impl Assertions {
    pub(super) fn new(
        issuer: &PublicUrl,
        (settings, assertion): (&UpstreamSettings, &AssertionSettings),
        (ring, clock): (KeyRing, Clock),
        bearer: bool,
    ) -> Self {
        Self {
            issuer: issuer.as_str().to_owned(),
            settings: assertion.clone(),
            groups: settings.request_headers.groups.clone(),
            hierarchy: settings.scopes.hierarchy.clone(),
            ring,
            clock,
            bearer,
        }
    }

    /// The assertion about a caller: the one in the slot, or a new one that is put there. No two calls sign at the same time for
    /// one token.
    pub(super) fn about(&self, caller: &Caller, slot: &AssertionSlot) -> Result<HeaderValue, Undelegated> {
        let now = self.clock.now();
        // no panic can leave it half changed
        let mut slot = slot.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signed) = &*slot
            && now < signed.until
            && signed.until <= now + self.settings.lifetime
            && !signed.key.is_withdrawn()
        {
            return Ok(signed.value.clone());
        }
        let signed = self.sign(caller, now)?;
        let value = signed.value.clone();
        *slot = Some(signed);
        Ok(value)
    }

    fn sign(&self, caller: &Caller, now: Timestamp) -> Result<Signed, Undelegated> {
        let lifetime = self.settings.lifetime;
        let signed = self.ring.sign_assertion(&self.claims(caller, now));
        let (token, key) = signed.map_err(|cause| Undelegated::Unavailable(cause.to_string()))?;
        let value = header_value(&token, self.bearer);
        let value = value.ok_or_else(|| Undelegated::Unavailable("an assertion does not fit a header".to_owned()))?;
        Ok(Signed { value, until: now + lifetime.saturating_sub(MARGIN.min(lifetime / 4)), key })
    }

    fn claims<'a>(&'a self, caller: &'a Caller, now: Timestamp) -> Claims<'a> {
        let says = |claim| self.settings.claims.contains(&claim);
        let user = &caller.user;
        let text = |claim, text: &'a Option<String>| text.as_deref().filter(|_| says(claim));
        let told = Groups::of(&user.groups, &self.groups);
        let omitted = match told {
            Groups::Omitted { count, .. } => Some(count),
            Groups::None | Groups::All(_) => None,
        };
        let groups = || user.groups.iter().filter(|group| self.groups.names(group)).map(String::as_str).collect();
        Claims {
            iss: &self.issuer,
            sub: &caller.subject,
            aud: &self.settings.audience,
            iat: now.0,
            nbf: now.0,
            exp: (now + self.settings.lifetime).0,
            client_id: says(AssertionClaim::Client).then(|| caller.client.as_str()),
            scope: says(AssertionClaim::Scope).then(|| self.hierarchy.effective(&caller.scope).to_string()),
            groups: (says(AssertionClaim::Groups) && omitted.is_none()).then(groups),
            groups_omitted: omitted.filter(|_| says(AssertionClaim::Groups)),
            email: text(AssertionClaim::Email, &user.email),
            name: text(AssertionClaim::Name, &user.name),
            preferred_username: text(AssertionClaim::PreferredUsername, &user.preferred_username),
            identity: says(AssertionClaim::Identity).then(|| caller.identity.as_str()),
        }
    }

    /// About how many bytes an assertion about a caller takes.
    pub(super) fn size(&self, caller: &Caller) -> usize {
        let user = &caller.user;
        let texts = [&user.name, &user.preferred_username, &user.email].into_iter().flatten().chain(&user.groups);
        let told = texts.map(String::len).sum::<usize>().min(self.groups.max_bytes + SIZE);
        // base64 makes four of three
        SIZE + (told + caller.subject.len() + caller.client.as_str().len() + self.settings.audience.len()) * 4 / 3
    }
}
