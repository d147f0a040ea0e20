//! `[[upstream]]`: an MCP server behind us, and every URL under which clients know it.

use std::time::Duration;

use serde::Deserialize;

use super::accepts::{self, Accepts, Issuers};
use super::admission::{self, About, Admission, Place, RuleWritten};
use super::api_keys::{self, ApiKeys};
use super::dpop::{self, BoundTokens, Dpop, ProofReplay};
use super::id::{Seen, check_id, duplicate};
use super::name::check_name;
use super::path;
use super::problem::Mistake;
use super::public_url::PublicUrl;
use super::quantity::Scalar;
use super::reach::{self, Reach};
use super::reading::{Reading, Section};
use super::request_headers::{self, HeaderSources, RequestHeaders};
use super::scopes::{self, Implications, UpstreamScopes};
use super::server_credential::{self, ServerCredential};
use crate::oauth::paths::RESOURCE_METADATA;
use crate::oauth::resource::ResourceUri;

/// The settings of an upstream.
#[derive(Debug, Clone)]
pub struct UpstreamSettings {
    /// Its id in metrics, the CLI and environment variables.
    pub id: String,
    /// Its path on our listener: begins with a slash, does not end with one.
    pub path: String,
    /// Its name on the consent page.
    pub name: String,
    /// How it is reached.
    pub reach: Reach,
    /// Its scopes.
    pub scopes: UpstreamScopes,
    /// Who may use it.
    pub admission: Admission,
    /// Whose access tokens open it.
    pub accepts: Accepts,
    /// Whether it is the resource of clients that name none.
    pub default: bool,
    /// Where callers may send an API key.
    pub api_keys: ApiKeys,
    /// Whether its tokens are bound to keys.
    pub dpop: Dpop,
    /// Headers that are added to or dropped from requests.
    pub request_headers: RequestHeaders,
    /// What calls to the server carry besides; `None`: nothing.
    pub credential: Option<ServerCredential>,
    /// After how much silence a comment is written to an event stream; `None` writes none.
    pub keep_alive: Option<Duration>,
}

impl UpstreamSettings {
    /// The default: proxies close streams after 50 seconds of silence or more.
    pub const KEEP_ALIVE: Option<Duration> = Some(Duration::from_secs(25));
}

/// An upstream with its complete URLs, derived once.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// The settings.
    pub settings: UpstreamSettings,
    /// Its only audience.
    pub resource: ResourceUri,
    /// Every resource URI that names it: the audience and its other loopback spellings.
    resources: Vec<ResourceUri>,
    /// Its names when a client uses the configured path.
    pub plain: ResourceNames,
    /// Its names when a client adds a trailing slash.
    pub slashed: ResourceNames,
}

/// One spelling of a resource's path, and the URLs that follow from it. [`super::Spelling`] adds host and query.
#[derive(Debug, Clone)]
pub struct ResourceNames {
    /// The path on our listener.
    pub path: String,
    /// The server URL for clients.
    pub resource: String,
    /// The path of its metadata.
    pub metadata_path: String,
}

impl Upstream {
    /// Derives every URL; `None` when the path does not form a valid resource URI.
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

    /// Whether a `resource` parameter means this upstream, in any spelling that a client may have.
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
    optional_scopes: Option<Vec<String>>,
    implies: Option<Implications>,
    scope: Option<Vec<scopes::ScopeWritten>>,
    allow: Option<Vec<RuleWritten>>,
    ask: Option<String>,
    default: Option<bool>,
    accepts: Option<Vec<String>>,
    audiences: Option<Vec<String>>,
    api_keys: Option<Vec<String>>,
    dpop: Option<BoundTokens>,
    dpop_replay: Option<ProofReplay>,
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
    delegation: Option<server_credential::Written>,
}

/// Keys of transports that later versions support, and one of an earlier version.
pub(super) const OTHER_KEYS: [&str; 3] = ["sse", "command", RENAMED];
/// What `accepts` was called.
const RENAMED: &str = "authorization_server";

/// Values that must be unique among upstreams.
#[derive(Default)]
pub(super) struct Taken {
    ids: Seen,
    paths: Seen,
    default: Seen,
}

/// Reads one entry. `others` holds the values of those before it.
pub(super) fn read(
    section: &Section<'_>,
    issuers: &Issuers,
    others: &mut Taken,
    reading: &mut Reading<'_>,
) -> Option<UpstreamSettings> {
    refuse_other_keys(section, reading);
    let written: Written = reading.shape(section)?;
    check_names(&written, section, others, reading);
    let accepts = accepts::Written { accepts: written.accepts, audiences: written.audiences };
    let accepts = accepts::read(accepts, issuers, section, reading);
    let scopes = scopes::Written {
        required: written.scopes,
        optional: written.optional_scopes,
        implies: written.implies,
        entries: written.scope,
    };
    let scopes = scopes::read(scopes, accepts.own, section, reading);
    let place = Place { section, path: &[], about: About::Upstream };
    let admission = admission::read((written.allow, written.ask), &place, reading);
    let request_headers = request_headers::Written {
        headers: written.headers,
        drop: written.drop_headers,
        keep: written.keep_headers,
        groups: written.groups,
        max_groups_bytes: written.max_groups_bytes,
    };
    let request_headers = request_headers::read(request_headers, section, reading);
    let credential = server_credential::read(written.delegation, &request_headers, section, reading);
    let api_keys = api_keys::read(written.api_keys, section, reading);
    check_own(&accepts, &api_keys, section, reading);
    let dpop = dpop::Written { dpop: written.dpop, replay: written.dpop_replay };
    let dpop = dpop::read(&dpop, &api_keys, section, reading);
    let keep_alive = written
        .keep_alive
        .map(|written| reach::optional_duration(&section.at("keep_alive"), &written, Duration::from_hours(1), reading));
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
        admission,
        accepts,
        default: written.default.unwrap_or_default(),
        api_keys,
        dpop,
        request_headers,
        credential,
        keep_alive: keep_alive.unwrap_or(UpstreamSettings::KEEP_ALIVE),
    })
}

/// Keys of other versions, each with what to write instead.
fn refuse_other_keys(section: &Section<'_>, reading: &mut Reading<'_>) {
    for key in OTHER_KEYS.into_iter().filter(|key| section.has(key)) {
        let mistake = if key == RENAMED {
            Mistake::new("is called accepts now")
                .hint("accepts = [\"own\"] is the default; other issuers are [[issuer]] entries")
        } else {
            reading.suppress(section, "url");
            Mistake::new("is not supported in this version").hint("give the server's Streamable HTTP endpoint as url")
        };
        reading.error(&section.at(key), mistake);
    }
}

fn check_names(written: &Written, section: &Section<'_>, others: &mut Taken, reading: &mut Reading<'_>) {
    let at = section.at("id");
    let id = check_id(&written.id)
        .and_then(|()| others.ids.insert(&written.id, &at.location).map_err(|before| duplicate(&before)));
    reading.keep(&at, id);
    let at = section.at("path");
    let folded = written.path.to_ascii_lowercase();
    let path = path::check(&written.path).and_then(|()| {
        others.paths.insert(&folded, &at.location).map_err(|before| {
            Mistake::new(format!("is already used in {before}")).hint("paths must differ in more than case")
        })
    });
    reading.keep(&at, path);
    if let Some(name) = &written.name {
        reading.keep(&section.at("name"), check_name(name));
    }
    if written.default == Some(true) {
        let at = section.at("default");
        let only = others.default.insert("", &at.location).map_err(|before| {
            Mistake::new(format!("is already set in {before}"))
                .hint("a client that names no resource can mean one upstream only")
        });
        reading.keep(&at, only);
    }
}

/// Checks what only an upstream that accepts our own credentials can have.
fn check_own(accepts: &Accepts, api_keys: &ApiKeys, section: &Section<'_>, reading: &mut Reading<'_>) {
    if accepts.own || reading.is_refused(&section.at("accepts")) {
        return;
    }
    if api_keys.bearer || !api_keys.headers.is_empty() || !api_keys.parameters.is_empty() {
        let mistake = Mistake::new("needs \"own\" in accepts: API keys are credentials that Portcullis makes");
        reading.error(&section.at("api_keys"), mistake.hint("add \"own\" to accepts, or remove this line"));
    }
    if section.has("dpop_replay") {
        let mistake = Mistake::new("needs \"own\" in accepts: without it nothing is stored");
        reading.error(&section.at("dpop_replay"), mistake.hint("add \"own\" to accepts, or remove this line"));
    }
    if section.has("default") {
        let mistake = Mistake::new("needs \"own\" in accepts: it is about clients that ask Portcullis for tokens");
        reading.error(&section.at("default"), mistake.hint("remove it"));
    }
}
