//! `[[upstream]]`: an MCP server behind us, and every name that the world has for it.

use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::client::check_name;
use super::id::{Seen, check_id, taken};
use super::identity::check_scope;
use super::path;
use super::problem::Mistake;
use super::public_url::PublicUrl;
use super::quantity::Scalar;
use super::reach::{self, Reach};
use super::reading::{Reading, Section};
use super::request_headers::{self, HeaderSources, RequestHeaders};
use crate::oauth::client_name::MAX_CLIENT_NAME;
use crate::oauth::paths::RESOURCE_METADATA;
use crate::oauth::resource::ResourceUri;
use crate::oauth::scope::{OFFLINE_ACCESS, ScopeSet, is_meaningless};

/// What the operator says of an upstream.
#[derive(Debug, Clone)]
pub struct UpstreamSettings {
    /// For metrics, the CLI and environment variables.
    pub id: String,
    /// `/mcp`: begins with a slash, does not end with one.
    pub path: String,
    /// What people call it.
    pub name: String,
    /// The way to it.
    pub reach: Reach,
    /// What is needed to enter.
    pub scopes: ScopeSet,
    /// What people read of the scopes, in the operator's order.
    pub scope_texts: Vec<ScopeText>,
    /// Whether it is meant when a client names no resource.
    pub default: bool,
    /// What goes to it besides what clients send.
    pub request_headers: RequestHeaders,
    /// How long an event stream may be silent before a comment is written to it; `None` writes none.
    pub keep_alive: Option<Duration>,
}

impl UpstreamSettings {
    /// Proxies cut streams that are silent for 50 seconds and longer.
    pub const KEEP_ALIVE: Option<Duration> = Some(Duration::from_secs(25));
}

/// A scope in the operator's words.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeText {
    /// The scope.
    pub value: String,
    /// What a client may do with it, as the end of "It may …".
    pub text: String,
}

/// An upstream with whole URLs: nothing joins pieces later.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// What the operator said.
    pub settings: UpstreamSettings,
    /// Its one audience.
    pub resource: ResourceUri,
    /// Every resource that names it: the audience, and its other loopback spellings.
    resources: Vec<ResourceUri>,
    /// Its names when a client typed its path as configured.
    pub plain: ResourceNames,
    /// Its names when a client typed a slash behind the path.
    pub slashed: ResourceNames,
}

/// One spelling of a resource's path, and what follows from it; hosts and queries are [`super::Spelling`]'s.
#[derive(Debug, Clone)]
pub struct ResourceNames {
    /// The path on our listener.
    pub path: String,
    /// The URL that people type into clients.
    pub resource: String,
    /// The path of its metadata.
    pub metadata_path: String,
}

impl Upstream {
    /// Derives every name from one place.
    #[must_use]
    pub fn new(public_url: &PublicUrl, settings: UpstreamSettings) -> Option<Self> {
        let names = |path: String| ResourceNames {
            resource: public_url.join(&path),
            metadata_path: format!("{RESOURCE_METADATA}{path}"),
            path,
        };
        let plain = names(settings.path.clone());
        let slashed = names(format!("{}/", settings.path));
        let resource = ResourceUri::parse(&plain.resource).ok()?;
        let spelt = |origin: &str| ResourceUri::parse(&format!("{origin}{}", plain.path)).ok();
        let resources = public_url.origins().map(spelt).collect::<Option<_>>()?;
        Some(Self { settings, resource, resources, plain, slashed })
    }

    /// Whether a `resource` means this upstream, in any spelling of its URL that a client may have been given.
    #[must_use]
    pub fn is_named_by(&self, resource: &ResourceUri) -> bool {
        self.resources.iter().any(|spelling| spelling.is_same(resource))
    }

    /// The audience of its tokens.
    #[must_use]
    pub fn audience(&self) -> &str {
        self.resource.as_str()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    id: String,
    path: String,
    name: Option<String>,
    url: String,
    scopes: Option<Vec<String>>,
    scope: Option<Vec<ScopeText>>,
    default: Option<bool>,
    authorization_server: Option<AuthorizationServer>,
    ca_file: Option<String>,
    headers: Option<HeaderSources>,
    drop_headers: Option<Vec<String>>,
    keep_headers: Option<Vec<String>>,
    groups: Option<Vec<String>>,
    max_groups_bytes: Option<Scalar>,
    host: Option<String>,
    first_byte: Option<Scalar>,
    keep_alive: Option<Scalar>,
    reconnect: Option<Scalar>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum AuthorizationServer {
    Own,
    External(IgnoredAny),
}

/// Ways to reach an MCP server that later versions have.
pub(super) const LATER: [&str; 2] = ["sse", "command"];

/// What no two upstreams may share.
#[derive(Default)]
pub(super) struct Taken {
    ids: Seen,
    paths: Seen,
    default: Seen,
}

/// Reads one entry. `others` holds what those before it have.
pub(super) fn read(section: &Section<'_>, others: &mut Taken, reading: &mut Reading<'_>) -> Option<UpstreamSettings> {
    for key in LATER {
        if section.has(key) {
            let mistake =
                Mistake::new("is not in this version").hint("give the server's Streamable HTTP endpoint as url");
            reading.error(&section.at(key), mistake);
            reading.give_up(section, "url");
        }
    }
    let written: Written = reading.shape(section)?;
    check_names(&written, section, others, reading);
    if let Some(AuthorizationServer::External(_)) = written.authorization_server {
        let mistake = Mistake::new("a foreign authorization server is not in this version");
        reading.error(&section.at("authorization_server"), mistake.hint("write \"own\", or leave it out"));
    }
    let scopes = scopes(written.scopes, section, reading);
    let scope_texts = written.scope.unwrap_or_default();
    check_scope_texts(&scope_texts, &scopes, section, reading);
    let request_headers = request_headers::Written {
        headers: written.headers,
        drop: written.drop_headers,
        keep: written.keep_headers,
        groups: written.groups,
        max_groups_bytes: written.max_groups_bytes,
    };
    let request_headers = request_headers::read(request_headers, section, reading);
    let keep_alive = written
        .keep_alive
        .map(|written| reach::switchable(&section.at("keep_alive"), &written, Duration::from_hours(1), reading));
    let reach = reach::Written {
        url: written.url,
        ca_file: written.ca_file,
        host: written.host,
        first_byte: written.first_byte,
        reconnect: written.reconnect,
    };
    Some(UpstreamSettings {
        reach: reach::read(reach, section, reading)?,
        name: written.name.unwrap_or_else(|| written.id.clone()),
        id: written.id,
        path: written.path,
        scopes,
        scope_texts,
        default: written.default.unwrap_or_default(),
        request_headers,
        keep_alive: keep_alive.unwrap_or(UpstreamSettings::KEEP_ALIVE),
    })
}

fn check_names(written: &Written, section: &Section<'_>, others: &mut Taken, reading: &mut Reading<'_>) {
    let at = section.at("id");
    let id =
        check_id(&written.id).and_then(|()| others.ids.once(&written.id, &at.place).map_err(|before| taken(&before)));
    reading.keep(&at, id);
    let at = section.at("path");
    let folded = written.path.to_ascii_lowercase();
    let path = path::check(&written.path).and_then(|()| {
        others.paths.once(&folded, &at.place).map_err(|before| {
            Mistake::new(format!("is taken: {before} has the same"))
                .hint("two paths must differ in more than their case")
        })
    });
    reading.keep(&at, path);
    if let Some(name) = &written.name {
        reading.keep(&section.at("name"), check_name(name));
    }
    if written.default == Some(true) {
        let at = section.at("default");
        let only = others.default.once("", &at.place).map_err(|before| {
            Mistake::new(format!("is taken: {before} says so too"))
                .hint("a client that names no resource can mean one upstream only")
        });
        reading.keep(&at, only);
    }
}

fn scopes(written: Option<Vec<String>>, section: &Section<'_>, reading: &mut Reading<'_>) -> ScopeSet {
    let scopes = written.unwrap_or_else(|| vec!["mcp:access".to_owned()]);
    if scopes.is_empty() {
        let mistake =
            Mistake::new("is empty: tokens without a scope say nothing").hint("leave it out for [\"mcp:access\"]");
        reading.error(&section.at("scopes"), mistake);
    }
    for (index, scope) in scopes.iter().enumerate() {
        let judged = if scope == OFFLINE_ACCESS || is_meaningless(scope) {
            Err(Mistake::new("has a meaning of its own, which is not entering an upstream")
                .hint("openid, profile, email and offline_access cannot be asked for here"))
        } else {
            check_scope(scope)
        };
        reading.keep(&section.item("scopes", index), judged);
    }
    scopes.into_iter().collect()
}

/// Words for a scope that is never granted would be read by nobody.
fn check_scope_texts(texts: &[ScopeText], scopes: &ScopeSet, section: &Section<'_>, reading: &mut Reading<'_>) {
    let mut seen = Seen::default();
    for (index, ScopeText { value, text }) in texts.iter().enumerate() {
        let at = section.item("scope", index);
        let known = if scopes.contains(value) {
            seen.once(value, &at.place).map_err(|before| taken(&before))
        } else {
            Err(Mistake::new("has a value that is none of this upstream's scopes")
                .hint("add it to scopes, or leave this out"))
        };
        reading.keep(&at, known);
        if check_name(text).is_err() {
            let mistake = Mistake::new(format!("has a text that is not 1 to {MAX_CLIENT_NAME} characters on one line"));
            reading.error(&at, mistake.hint("it is read as the end of \"It may …\""));
        }
    }
}
