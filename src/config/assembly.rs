//! Builds the configuration from its sections.

use serde::Deserialize;
use url::Url;

use super::accepts::Issuers;
use super::consistency::{check_device, check_memory, check_way_in, check_ways_out};
use super::id::Seen;
use super::identity::IdentityKind;
use super::problem::{Location, Mistake};
use super::reading::{Reading, Section};
use super::sections::Sections;
use super::upstream::{Taken, UpstreamSettings};
use super::{
    AssertionIssuer, Bounds, ClientDocuments, Config, ConfiguredClient, Consent, Identity, Limits, Outbound,
    OutboundProxy, PublicUrl, Registration, Server, Upstream, assertion_issuer, bounds, client, client_documents,
    consent, device, entra, identities, issuers, lifetimes, limits, log, pages, proxy, registration, rights, secrets,
    server, server_credential, storage, tokens, upstream,
};
use crate::oauth::redirect_uri::is_loopback;

/// The keys outside of any section.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    public_url: Option<String>,
    ca_file: Option<String>,
}

/// Reads and checks every section. `None` when a problem leaves a part without a value.
pub(super) fn read(sections: &Sections, reading: &mut Reading<'_>) -> Option<Config> {
    let issues = issuers::issues_tokens(sections);
    let Top { public_url, named: ours, outbound } = top(sections, reading);
    let server = table(sections, "server", server::read, reading);
    let log = table(sections, "log", log::read, reading);
    let limits = table(sections, "limits", limits::read, reading);
    let storage = table(sections, "storage", |section, reading| storage::read(issues, section, reading), reading);
    let secrets = table(sections, "secrets", |section, reading| secrets::read(issues, section, reading), reading);
    let lifetimes = table(sections, "lifetimes", lifetimes::read, reading);
    let tokens = table(sections, "tokens", tokens::read, reading);
    let registration = table(sections, "registration", registration::read, reading);
    let device = table(sections, "device", device::read, reading);
    let pages = table(sections, "pages", pages::read, reading);
    let identities = identities(sections, issues, public_url.as_ref(), reading);
    let others = issuers::read(sections, &identities, public_url.as_ref(), reading);
    let proxy = proxy(sections, &identities, &others, reading);
    let opened = registration.as_ref().is_none_or(|registration| registration.enabled);
    let direct = proxy.as_ref().is_none_or(|proxy| matches!(proxy, OutboundProxy::Off));
    let client_documents = client_documents(sections, opened && direct, reading);
    let settings = upstreams(sections, &others, reading);
    issuers::warn_of_unused(sections, &others, &settings, reading);
    check_credentials(&settings, (public_url.as_ref(), issues, &identities), sections, reading);
    let clients = clients(sections, registration.as_ref(), &settings, reading);
    warn_of_closed(issues && !opened, client_documents.as_ref(), sections, reading);
    let consent = consent(sections, client_documents.as_ref(), &clients, reading);
    let assertion_issuers = assertion_issuers(sections, &identities, &settings, reading);
    let parts = rights::Parts::new(&identities, &others, &assertion_issuers, &settings);
    rights::check(&parts, sections, reading);
    issuers::warn_of_no_authorization_server(issues, sections, reading);
    if let Some(device) = device {
        check_device(device, &clients, sections, reading);
    }
    check_server(
        ours.as_ref(),
        public_url.as_ref(),
        (server.as_ref(), limits.as_ref()),
        (sections, &settings),
        reading,
    );
    let public_url = public_url?;
    let upstreams = named(&public_url, settings, reading);
    Some(Config {
        public_url,
        server: server?,
        log: log?,
        limits: limits?,
        storage: storage?,
        secrets: secrets?,
        lifetimes: lifetimes?,
        tokens: tokens?,
        registration: registration?,
        device: device?,
        client_documents: client_documents?,
        consent: consent?,
        pages: pages?,
        outbound: Outbound { proxy: proxy?, ..outbound? },
        // without an authorization server of our own there is nothing that they could do
        identities: if issues { identities } else { Vec::new() },
        upstreams,
        clients: if issues { clients } else { Vec::new() },
        assertion_issuers: if issues { assertion_issuers } else { Vec::new() },
    })
}

/// Checks what the servers behind are told of their users against what there is to tell.
fn check_credentials(
    settings: &[(Section<'_>, UpstreamSettings)],
    (public_url, issues, identities): (Option<&PublicUrl>, bool, &[Identity]),
    sections: &Sections,
    reading: &mut Reading<'_>,
) {
    let complete = sections.list("identity").count() == identities.len();
    let surroundings = server_credential::Surroundings { public_url, identities, complete, issues };
    server_credential::check(settings, &surroundings, reading);
}

/// Checks addresses and memory against each other.
fn check_server(
    ours: Option<&Url>,
    public_url: Option<&PublicUrl>,
    (server, limits): (Option<&Server>, Option<&Limits>),
    (sections, settings): (&Sections, &[(Section<'_>, UpstreamSettings)]),
    reading: &mut Reading<'_>,
) {
    let listens = !reading.is_refused(&sections.table("server").at("listen"));
    let listening = server.filter(|_| listens);
    if let (Some(public_url), Some(server)) = (public_url, listening) {
        check_way_in(public_url, server, sections, reading);
    }
    check_ways_out(ours, listening, settings, reading);
    if let (Some(server), Some(limits)) = (server, limits) {
        check_memory(server, limits, sections, reading);
    }
}

fn table<T>(
    sections: &Sections,
    name: &'static str,
    read: impl FnOnce(&Section<'_>, &mut Reading<'_>) -> Option<T>,
    reading: &mut Reading<'_>,
) -> Option<T> {
    if sections.is_unreadable(name) { None } else { read(&sections.table(name), reading) }
}

/// The values of the keys outside of any section.
#[derive(Default)]
struct Top {
    public_url: Option<PublicUrl>,
    /// Host and port of `public_url`, even if it is invalid in other respects.
    named: Option<Url>,
    outbound: Option<Outbound>,
}

fn top(sections: &Sections, reading: &mut Reading<'_>) -> Top {
    const EXAMPLE: &str =
        "write public_url = \"https://mcp.example.com\": it is permanent, clients keep it with their credentials";
    let section = Section::new(&sections.top, String::new());
    let Some(written) = reading.shape::<Written>(&section) else { return Top::default() };
    let at = section.at("public_url");
    let named = written.public_url.as_deref().and_then(named_origin);
    let public_url = match written.public_url.as_deref().map(PublicUrl::check) {
        Some(Ok(public_url)) => Some(public_url),
        Some(Err(wrong)) => {
            for why in wrong {
                reading.error(&at, Mistake::new(why.to_string()));
            }
            None
        }
        None if sections.is_unreadable("public_url") => None,
        None => {
            reading.error(&at, Mistake::new("is missing").hint(EXAMPLE));
            None
        }
    };
    let ca_file = reading.ca_file(&section, written.ca_file);
    Top { public_url, named, outbound: Some(Outbound { ca_file, proxy: OutboundProxy::Off }) }
}

/// Host and port of a `public_url`; http is read as https if it must be https.
fn named_origin(text: &str) -> Option<Url> {
    let mut url = Url::parse(text).ok().filter(Url::has_host)?;
    if url.scheme() == "http" && !is_loopback(&url) {
        url.set_scheme("https").ok()?;
    }
    Some(url)
}

fn proxy(
    sections: &Sections,
    identities: &[Identity],
    issuers: &Issuers,
    reading: &mut Reading<'_>,
) -> Option<OutboundProxy> {
    let proxy = table(sections, "outbound", proxy::read, reading);
    let has_provider = identities.iter().any(|identity| matches!(identity.kind, IdentityKind::Oidc(_)));
    if has_provider || !issuers.read.is_empty() {
        proxy::warn_of_unused(&sections.table("outbound"), reading);
    }
    proxy
}

/// By default documents are read where clients may register themselves and no proxy is set. They are fetched without a proxy:
/// where only one leads out they would not arrive, and clients that see them advertised do not register any more.
fn client_documents(sections: &Sections, default: bool, reading: &mut Reading<'_>) -> Option<ClientDocuments> {
    if sections.is_unreadable("client_documents") {
        return None;
    }
    client_documents::read(&sections.table("client_documents"), default, reading)
}

fn identities(
    sections: &Sections,
    needed: bool,
    public_url: Option<&PublicUrl>,
    reading: &mut Reading<'_>,
) -> Vec<Identity> {
    let (mut seen, mut names) = (Seen::default(), Seen::default());
    let (mut identities, mut count) = (Vec::new(), 0);
    for section in sections.list("identity") {
        count += 1;
        let Some(identity) = identities::read(&section, &mut seen, reading) else { continue };
        let ours = |settings: &super::OidcSettings| public_url.is_some_and(|ours| settings.issuer == ours.as_str());
        if matches!(&identity.kind, IdentityKind::Oidc(settings) if ours(settings)) {
            let mistake = Mistake::new("is public_url: Portcullis would send users to itself to sign in");
            reading.error(&section.at("issuer"), mistake.hint("write the identity provider's issuer"));
        }
        if let (Some(ours), IdentityKind::Oidc(settings)) = (public_url, &identity.kind) {
            entra::check_redirect_uri(ours, settings, &section, reading);
        }
        let at = section.at("name");
        if let Err(before) = names.insert(&identity.name, &at.location) {
            let mistake = Mistake::new(format!("is the same as in {before}: people cannot tell the buttons apart"));
            reading.warn(&at, mistake.hint("give each identity provider a name of its own"));
        }
        identities.push(identity);
    }
    if count == 0 && needed && !sections.is_unreadable("identity") {
        let mistake =
            Mistake::new("there is no valid identity provider").hint("add [[identity]], which signs users in");
        reading.error_at(Location::File, "identity", mistake);
    }
    identities
}

fn upstreams<'a>(
    sections: &'a Sections,
    issuers: &Issuers,
    reading: &mut Reading<'_>,
) -> Vec<(Section<'a>, UpstreamSettings)> {
    let mut duplicate = Taken::default();
    let (mut all, mut count) = (Vec::new(), 0);
    for section in sections.list("upstream") {
        count += 1;
        let settings = upstream::read(&section, issuers, &mut duplicate, reading);
        all.extend(settings.map(|settings| (section, settings)));
    }
    if count == 0 && !sections.is_unreadable("upstream") {
        let mistake = Mistake::new("there is no MCP server to protect").hint("add [[upstream]] with id, path and url");
        reading.error_at(Location::File, "upstream", mistake);
    }
    all
}

/// Derives the URLs of every upstream.
fn named(
    public_url: &PublicUrl,
    settings: Vec<(Section<'_>, UpstreamSettings)>,
    reading: &mut Reading<'_>,
) -> Vec<Upstream> {
    let named = settings.into_iter().filter_map(|(section, settings)| {
        let (at, upstream) = (section.at("path"), Upstream::new(public_url, settings));
        if upstream.is_none() && !reading.is_refused(&at) {
            reading.error(&at, Mistake::new("does not form a valid URL with public_url"));
        }
        upstream
    });
    named.collect()
}

fn clients(
    sections: &Sections,
    registration: Option<&Registration>,
    upstreams: &[(Section<'_>, UpstreamSettings)],
    reading: &mut Reading<'_>,
) -> Vec<ConfiguredClient> {
    let policy = registration.map(|registration| registration.redirect_policy.clone()).unwrap_or_default();
    let mut seen = Seen::default();
    // an upstream with a mistake of its own may be meant
    let all_read = sections.list("upstream").count() == upstreams.len();
    let ids: Option<Vec<&str>> = all_read.then(|| upstreams.iter().map(|(_, read)| read.id.as_str()).collect());
    let mut clients = Vec::new();
    for section in sections.list("client") {
        let Some(client) = client::read(&section, &policy, &mut seen, ids.as_deref(), reading) else { continue };
        if let Some(machine) = &client.machine {
            check_bounds(sections, machine, upstreams, &client::places(&section), reading);
        }
        if client.dpop_bound && all_read {
            client::check_dpop(&section, upstreams.iter().any(|(_, read)| read.dpop.is_on()), reading);
        }
        clients.push(client);
    }
    clients
}

fn consent(
    sections: &Sections,
    documents: Option<&ClientDocuments>,
    clients: &[ConfiguredClient],
    reading: &mut Reading<'_>,
) -> Option<Consent> {
    if sections.is_unreadable("consent") {
        return None;
    }
    // a client with a mistake of its own may be meant
    let clients = (sections.list("client").count() == clients.len()).then_some(clients);
    consent::read(&sections.table("consent"), documents, clients, reading)
}

/// No client may register or be known by a document, so one must be configured.
fn warn_of_closed(closed: bool, documents: Option<&ClientDocuments>, sections: &Sections, reading: &mut Reading<'_>) {
    let closed = closed && documents.is_some_and(|documents| !documents.enabled);
    if closed && sections.list("client").next().is_none() {
        let mistake = Mistake::new("no client can ever connect: none is configured, and none may register");
        reading.warn(
            &sections.table("registration").at("enabled"),
            mistake.hint("add [[client]], or enable registration"),
        );
    }
}

fn assertion_issuers(
    sections: &Sections,
    identities: &[Identity],
    upstreams: &[(Section<'_>, UpstreamSettings)],
    reading: &mut Reading<'_>,
) -> Vec<AssertionIssuer> {
    let mut taken = assertion_issuer::Taken::default();
    let mut issuers = Vec::new();
    for section in sections.list("assertion_issuer") {
        let Some(issuer) = assertion_issuer::read(&section, &mut taken, reading) else { continue };
        check_bounds(sections, &issuer.bounds, upstreams, &assertion_issuer::places(&section), reading);
        let is_another = |identity: &&Identity| {
            identity.id == issuer.id
                && !matches!(&identity.kind, IdentityKind::Oidc(settings) if settings.issuer == issuer.issuer)
        };
        if identities.iter().any(|identity| is_another(&identity)) {
            let mistake = Mistake::new("is not the issuer of the identity with this id: users of both would be one");
            reading.error(&section.at("issuer"), mistake.hint("write that identity's issuer, or choose another id"));
        }
        issuers.push(issuer);
    }
    issuers
}

/// Checks bounds against the upstreams, unless one of those could not be read.
fn check_bounds(
    sections: &Sections,
    bounds: &Bounds,
    upstreams: &[(Section<'_>, UpstreamSettings)],
    at: &bounds::Places,
    reading: &mut Reading<'_>,
) {
    if upstreams.len() == sections.list("upstream").count() && !upstreams.is_empty() {
        let known: Vec<_> = upstreams.iter().map(|(_, settings)| (settings.id.as_str(), &settings.scopes)).collect();
        bounds::check(bounds, &known, at, reading);
    }
}
