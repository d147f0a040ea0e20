//! `[upstream.delegation]`: the credential that calls to an MCP server carry, besides the headers that name the user.
//!
//! Defends against: a credential that opens more than the server it is made for. An assertion has an audience of its own, so that
//! no server can present it to another one or to us, and a provider's own access token is sent only where the configuration asks
//! for exactly that.

mod checks;

use std::time::Duration;

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderName, HeaderValue};
use serde::Deserialize;

use super::header_names::folded;
use super::needs::SecretFor;
use super::problem::{Mistake, nearest};
use super::quantity::Scalar;
use super::reading::{Reading, Section, ValueRef};
use super::request_headers::{RequestHeaders, header_name, header_value};
use super::scope::check_scope;
use super::secret_source::SecretSource;
use crate::oauth::scope::ScopeSet;

pub(super) use checks::{Surroundings, check};

/// The name of the table.
const TABLE: &str = "delegation";
/// How long an assertion is good.
const LIFETIME: Duration = Duration::from_mins(2);
const SHORTEST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_mins(10);
/// The longest audience, in bytes.
const LONGEST_AUDIENCE: usize = 512;

/// What calls to an upstream carry.
#[derive(Debug, Clone)]
pub struct ServerCredential {
    /// The header that carries it. `Authorization` has `Bearer` in front, any other header the bare value.
    pub header: HeaderName,
    /// Where it comes from.
    pub source: CredentialSource,
}

/// Where the credential comes from.
#[derive(Debug, Clone)]
pub enum CredentialSource {
    /// We sign an assertion about the user.
    Assertion(AssertionSettings),
    /// The provider exchanges the user's access token for one for the server.
    Provider(ProviderCredential),
    /// The same for every caller. Marked as sensitive, with `Bearer` in front where that belongs.
    Secret(HeaderValue),
}

/// A token of the identity provider that signed the user in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderCredential {
    /// The id of the `[[identity]]`.
    pub identity: String,
    /// How it is obtained.
    pub by: ProviderGrant,
}

/// How a token of the provider is obtained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderGrant {
    /// Token exchange (RFC 8693).
    TokenExchange {
        /// The audience that is asked for.
        audience: String,
        /// The scopes that are asked for; none asks for what the provider gives by itself.
        scopes: ScopeSet,
    },
    /// Entra ID's on-behalf-of flow.
    OnBehalfOf {
        /// The scopes, of one API, by their full names.
        scopes: ScopeSet,
    },
    /// The access token that the provider issues to us is passed on as it is.
    AccessToken,
}

/// An assertion about the user, signed with the key of our access tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssertionSettings {
    /// Its audience: the server's name for itself.
    pub audience: String,
    /// How long it is good.
    pub lifetime: Duration,
    /// What it says besides `iss`, `sub`, `aud`, `iat`, `nbf` and `exp`.
    pub claims: Vec<AssertionClaim>,
}

/// A claim of an assertion that is optional.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AssertionClaim {
    /// `client_id`: the client that acts for the user.
    Client,
    /// `scope`: what the caller's token allows, with what its scopes imply.
    Scope,
    /// `groups`: those that the upstream's `groups` lists.
    Groups,
    /// `email`, where the provider vouches for it.
    Email,
    /// `name`.
    Name,
    /// `preferred_username`.
    PreferredUsername,
    /// `identity`: the id of the provider that signed the user in.
    Identity,
}

impl AssertionClaim {
    const ALL: [(&'static str, Self); 7] = [
        ("client_id", Self::Client),
        ("scope", Self::Scope),
        ("groups", Self::Groups),
        ("email", Self::Email),
        ("name", Self::Name),
        ("preferred_username", Self::PreferredUsername),
        ("identity", Self::Identity),
    ];
    const DEFAULT: [Self; 2] = [Self::Client, Self::Scope];

    fn parse(name: &str) -> Result<Self, Mistake> {
        let names = Self::ALL.map(|(name, _)| name);
        let found = Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, claim)| claim);
        found.ok_or_else(|| {
            let mistake = Mistake::new("is not a claim that an assertion can have");
            match nearest(name, &names) {
                Some(meant) => mistake.hint(format!("did you mean \"{meant}\"?")),
                None => mistake.hint(format!("one of {}; sub is always there", names.join(", "))),
            }
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Assertion,
    TokenExchange,
    OnBehalfOf,
    ProviderAccessToken,
    Secret,
}

impl Kind {
    /// The keys that have a meaning with it, besides `kind` and `header`.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Assertion => &["audience", "lifetime", "claims"],
            Self::TokenExchange => &["identity", "audience", "scopes"],
            Self::OnBehalfOf => &["identity", "scopes"],
            Self::ProviderAccessToken => &["identity"],
            Self::Secret => &["secret"],
        }
    }
}

/// The table as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    kind: Kind,
    header: Option<String>,
    audience: Option<String>,
    lifetime: Option<Scalar>,
    claims: Option<Vec<String>>,
    identity: Option<String>,
    scopes: Option<Vec<String>>,
    secret: Option<SecretSource>,
}

/// Checks the table of one upstream by itself; [`check`] compares it with the rest of the file.
pub(super) fn read(
    written: Option<Written>,
    headers: &RequestHeaders,
    section: &Section<'_>,
    reading: &mut Reading<'_>,
) -> Option<ServerCredential> {
    let written = written?;
    let table = Table { section };
    table.refuse_keys_of_others(written.kind, reading);
    let header = table.header(written.header.as_deref(), headers, reading);
    let source = match written.kind {
        Kind::Assertion => CredentialSource::Assertion(table.assertion(written, reading)),
        Kind::Secret => CredentialSource::Secret(table.secret(written.secret.as_ref(), header.as_ref(), reading)?),
        kind => CredentialSource::Provider(table.provider(kind, written, reading)),
    };
    Some(ServerCredential { header: header?, source })
}

struct Table<'a> {
    section: &'a Section<'a>,
}

impl Table<'_> {
    fn at(&self, key: &str) -> ValueRef {
        self.section.nested(TABLE, key)
    }

    fn has(&self, key: &str) -> bool {
        self.section.node().entry(TABLE).is_some_and(|table| table.node.entry(key).is_some())
    }

    fn refuse_keys_of_others(&self, kind: Kind, reading: &mut Reading<'_>) {
        let all = ["audience", "lifetime", "claims", "identity", "scopes", "secret"];
        for key in all.into_iter().filter(|key| self.has(key) && !kind.keys().contains(key)) {
            let mistake = Mistake::new("has no effect with this kind");
            reading.error(&self.at(key), mistake.hint(format!("remove it; there are {}", kind.keys().join(", "))));
        }
    }

    fn header(&self, written: Option<&str>, others: &RequestHeaders, reading: &mut Reading<'_>) -> Option<HeaderName> {
        let at = self.at("header");
        let name = match written {
            None => AUTHORIZATION,
            Some(written) => reading.keep(&at, header_name(written).and_then(not_cookie))?,
        };
        let is_taken = |added: &super::AddedHeader| folded(added.name.as_str()) == folded(name.as_str());
        if others.added.iter().any(is_taken) {
            let mistake = Mistake::new(format!("{name} is set in headers, too"));
            reading.error(&at, mistake.hint("remove it there, or write another header here"));
            return None;
        }
        Some(name)
    }

    fn assertion(&self, written: Written, reading: &mut Reading<'_>) -> AssertionSettings {
        let lifetime = written.lifetime.map_or(Ok(LIFETIME), |written| {
            let within = |time: &Duration| (SHORTEST..=LONGEST).contains(time);
            let outside = || {
                let (least, most) = (SHORTEST.as_secs(), LONGEST.as_secs() / 60);
                Mistake::new(format!("must be between {least}s and {most}m"))
                    .hint("an assertion cannot be called back, and is made anew when its time is up")
            };
            written.duration().and_then(|time| Some(time).filter(within).ok_or_else(outside))
        });
        let claims = written.claims.map_or_else(
            || AssertionClaim::DEFAULT.to_vec(),
            |names| {
                let parsed = names.iter().enumerate().filter_map(|(index, name)| {
                    reading.keep(&self.section.nested_item(TABLE, "claims", index), AssertionClaim::parse(name))
                });
                parsed.collect()
            },
        );
        AssertionSettings {
            audience: self.audience(written.audience, reading),
            lifetime: reading.keep(&self.at("lifetime"), lifetime).unwrap_or(LIFETIME),
            claims,
        }
    }

    fn audience(&self, written: Option<String>, reading: &mut Reading<'_>) -> String {
        let at = self.at("audience");
        let Some(audience) = written else {
            let mistake = Mistake::new("is missing");
            reading
                .error(&at, mistake.hint("the name by which the server behind knows itself: what it expects as `aud`"));
            return String::new();
        };
        let plain = audience.bytes().all(|byte| byte.is_ascii_graphic());
        if audience.is_empty() || audience.len() > LONGEST_AUDIENCE || !plain {
            let mistake = Mistake::new("is not an audience");
            reading.error(&at, mistake.hint("printable ASCII without spaces, such as \"expenses-api\""));
        }
        audience
    }

    fn provider(&self, kind: Kind, written: Written, reading: &mut Reading<'_>) -> ProviderCredential {
        if written.identity.is_none() {
            let mistake = Mistake::new("is missing");
            reading.error(&self.at("identity"), mistake.hint("the id of the [[identity]] that issues the token"));
        }
        let scopes = self.scopes(written.scopes.unwrap_or_default(), reading);
        let by = match kind {
            Kind::TokenExchange => {
                ProviderGrant::TokenExchange { audience: self.audience(written.audience, reading), scopes }
            }
            Kind::OnBehalfOf => {
                if scopes.is_empty() && !reading.is_refused(&self.at("scopes")) {
                    let mistake = Mistake::new("is missing");
                    reading.error(
                        &self.at("scopes"),
                        mistake.hint("such as [\"api://expenses/.default\"]: scopes of one API"),
                    );
                }
                ProviderGrant::OnBehalfOf { scopes }
            }
            _ => ProviderGrant::AccessToken,
        };
        ProviderCredential { identity: written.identity.unwrap_or_default(), by }
    }

    fn scopes(&self, written: Vec<String>, reading: &mut Reading<'_>) -> ScopeSet {
        for (index, scope) in written.iter().enumerate() {
            reading.keep(&self.section.nested_item(TABLE, "scopes", index), check_scope(scope));
        }
        written.into_iter().collect()
    }

    fn secret(
        &self,
        written: Option<&SecretSource>,
        header: Option<&HeaderName>,
        reading: &mut Reading<'_>,
    ) -> Option<HeaderValue> {
        let at = self.at("secret");
        let Some(source) = written else {
            reading
                .error(&at, Mistake::new("is missing").hint("{ file = \"/run/secrets/NAME\" } or { env = \"NAME\" }"));
            return None;
        };
        let secret = reading.secret(&at, SecretFor::Serving, source)?;
        let text = secret.expose();
        if header == Some(&AUTHORIZATION) && text.get(..7).is_some_and(|begin| begin.eq_ignore_ascii_case("bearer ")) {
            reading.error(&at, Mistake::new("begins with Bearer, which is added").hint("the secret alone"));
            return None;
        }
        header_value(&at, text, header == Some(&AUTHORIZATION), reading)
    }
}

fn not_cookie(name: HeaderName) -> Result<HeaderName, Mistake> {
    if name == COOKIE {
        return Err(Mistake::new("cannot be used: it has a form of its own").hint("such as \"x-api-key\""));
    }
    Ok(name)
}
