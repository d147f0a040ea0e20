//! Documents at addresses that untrusted clients name, such as the metadata of a client whose id is a URL. Anyone can make us
//! fetch them, before any sign-in.
//!
//! Defends against SSRF and DNS rebinding: a name is resolved once for each connection, every address of the answer must be
//! public, and exactly these addresses are dialled. Only https is spoken, no redirect is followed, no connection is kept, no
//! credential, cookie or referrer is sent, and answers are bounded in bytes and time. What the client reads of a failure
//! is the same whether a name is unknown, unreachable or ours: only the log tells which.
//!
//! No proxy is ever used, not even a configured one: a proxy resolves names by itself, so what it dials could not be
//! checked. Where only a proxy leads out, such documents cannot be fetched.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use futures_util::future::BoxFuture;
use http::header::{ACCEPT, CONTENT_ENCODING};
use http::{HeaderMap, StatusCode};
use reqwest::Client;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;
use url::{Host, Position, Url};

use super::addresses::{is_loopback, is_private, refusal};
use super::diagnosis::Diagnosis;
use super::failure::{self, cause};
use super::fetcher::{FetchError, ReadError, read, user_agent};
use super::roots::tls_config;
use crate::config::{CaFile, Config};

/// How long a document may take, from the name's resolution to its last byte.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection, TLS included, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How many documents are fetched at once: each needs a descriptor and a buffer that no other limit counts.
const CALLS: usize = 64;
/// How many names are looked up at once. The machine's resolver blocks a thread, for as long as a name server of an untrusted
/// client pleases, and cannot be cancelled.
const LOOK_UPS: usize = 32;

/// Resolves a name to addresses.
pub type LookUp = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// The machine's resolver.
#[must_use]
pub fn machine_look_up() -> LookUp {
    Arc::new(|name| {
        Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect()) })
    })
}

/// Fetches documents that untrusted clients name. Cheap to clone.
#[derive(Clone)]
pub struct UntrustedFetcher {
    client: Client,
    guard: Guard,
    calls: Arc<Semaphore>,
}

/// Which places besides the public Internet untrusted clients may name, and which ones never.
#[derive(Debug, Clone, Default)]
struct Reach {
    /// For a Portcullis that itself is reached by loopback only.
    loopback: bool,
    /// Names whose addresses may be private, because the operator says so.
    private_hosts: Vec<String>,
    /// Our own names, which lead back to us: hosts, or hosts with a port.
    own: Vec<String>,
}

/// A document that came with status 200.
#[derive(Debug)]
pub struct Document {
    /// The header: its type, and how long it may be kept.
    pub headers: HeaderMap,
    /// The body.
    pub body: bytes::Bytes,
}

/// Why there is no document. It reads the same for every cause, because the client may see it; [`Self::diagnosis`] is for
/// the operator.
#[derive(Debug, thiserror::Error)]
#[error("the document cannot be fetched")]
pub struct UntrustedFetchError {
    diagnosis: Diagnosis,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Refused,
    Gone,
    Unreachable,
}

impl UntrustedFetchError {
    fn refused(diagnosis: Diagnosis) -> Self {
        Self { diagnosis, kind: Kind::Refused }
    }

    fn unreachable(diagnosis: Diagnosis) -> Self {
        Self { diagnosis, kind: Kind::Unreachable }
    }

    /// What happened, with the addresses that only the operator may know.
    #[must_use]
    pub const fn diagnosis(&self) -> &Diagnosis {
        &self.diagnosis
    }

    /// Whether the URL or the answer is wrong in itself, which the client knows anyway; `false` is anything between, and
    /// does not tell a name that leads inside from one that leads nowhere.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.kind != Kind::Unreachable
    }

    /// Whether the server says that there is no such document (404, 410): it was withdrawn.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.kind == Kind::Gone
    }
}

impl UntrustedFetcher {
    /// Fetches with the machine's resolver. `allow_loopback` is for a Portcullis that itself is reached by loopback only.
    ///
    /// # Panics
    /// When the HTTP library refuses our constants.
    pub fn new<'a>(ca_files: impl IntoIterator<Item = &'a CaFile>, allow_loopback: bool) -> Self {
        Self::resolving_with(machine_look_up(), ca_files, allow_loopback)
    }

    /// The same with another resolver.
    ///
    /// # Panics
    /// When the HTTP library refuses our constants.
    pub fn resolving_with<'a>(
        look_up: LookUp,
        ca_files: impl IntoIterator<Item = &'a CaFile>,
        allow_loopback: bool,
    ) -> Self {
        Self::reaching(Reach { loopback: allow_loopback, ..Reach::default() }, look_up, ca_files)
    }

    /// Fetches as the configuration says.
    ///
    /// # Panics
    /// When the HTTP library refuses our constants.
    #[must_use]
    pub fn configured(config: &Config, look_up: LookUp) -> Self {
        Self::reaching(Reach::of(config), look_up, &config.outbound.ca_file)
    }

    fn reaching<'a>(reach: Reach, look_up: LookUp, ca_files: impl IntoIterator<Item = &'a CaFile>) -> Self {
        let guard = Guard { look_up, look_ups: Arc::new(Semaphore::new(LOOK_UPS)), reach: Arc::new(reach) };
        #[expect(clippy::disallowed_methods, reason = "this is the client that is guarded most")]
        let client = Client::builder()
            .tls_backend_preconfigured(tls_config(ca_files))
            .dns_resolver(guard.clone())
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .pool_max_idle_per_host(0)
            .user_agent(user_agent())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .build();
        #[expect(clippy::expect_used, reason = "every setting is a constant of ours, or was checked")]
        let client = client.expect("the client can be built");
        Self { client, guard, calls: Arc::new(Semaphore::new(CALLS)) }
    }

    /// GET of a document of at most so many bytes.
    ///
    /// # Errors
    /// See [`UntrustedFetchError`].
    pub async fn get(&self, url: &str, most: usize) -> Result<Document, UntrustedFetchError> {
        let parsed = self.check(url)?;
        let place = parsed.host_str().unwrap_or_default().to_owned();
        let _call = self.calls.try_acquire().map_err(|_busy| {
            UntrustedFetchError::unreachable(Diagnosis::new(format!("{CALLS} documents are being fetched already")))
        })?;
        let failed = |error: reqwest::Error| unreachable(&error, &place);
        let response = self.client.get(parsed).header(ACCEPT, "application/json").send().await.map_err(failed)?;
        if response.status() != StatusCode::OK {
            return Err(without_document(response.status(), &place));
        }
        let headers = response.headers().clone();
        if headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            // we asked for none: what a decoder makes of few bytes may be very many
            return Err(UntrustedFetchError::refused(Diagnosis::new(format!("{place} sends a compressed document"))));
        }
        match read(response, most).await {
            Ok(body) => Ok(Document { headers, body }),
            Err(ReadError::TooLarge(most)) => {
                Err(UntrustedFetchError::refused(Diagnosis::from(FetchError::TooLarge(most)).in_context(place)))
            }
            Err(ReadError::Broken(error)) => Err(unreachable(&error, &place)),
        }
    }

    /// A URL counts only as our parser would spell it: whatever reads it must reach the same host.
    fn check(&self, text: &str) -> Result<Url, UntrustedFetchError> {
        let refused = |why: &str| UntrustedFetchError::refused(Diagnosis::new(format!("the URL of a document {why}")));
        let url = Url::parse(text).map_err(|error| refused(&format!("cannot be read: {error}")))?;
        if url.scheme() != "https" {
            return Err(refused("is not https"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(refused("has user information or a fragment"));
        }
        if url.as_str() != text {
            return Err(refused("is not spelt as a URL parser spells it"));
        }
        if self.guard.reach.is_own(&url) {
            return Err(refused("leads back to this server"));
        }
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) | None => None,
        };
        // an address in the URL is never resolved, so the guard would not see it
        match literal.map(|address| self.guard.check(url.host_str().unwrap_or_default(), address)) {
            Some(Err(refused)) => {
                Err(UntrustedFetchError::unreachable(refused.diagnosis(&refused.address.to_string())))
            }
            Some(Ok(())) | None => Ok(url),
        }
    }
}

fn unreachable(error: &reqwest::Error, place: &str) -> UntrustedFetchError {
    if let Some(refused) = cause::<RefusedAddress>(error) {
        return UntrustedFetchError::unreachable(refused.diagnosis(place));
    }
    // the hints are for servers that the operator configured
    let (cause, _hint) = failure::diagnose(error, place, None, CONNECT_TIMEOUT, TIMEOUT).into_parts();
    UntrustedFetchError::unreachable(Diagnosis::new(cause))
}

/// What a status other than 200 means. A server that is overloaded, or does not let us in, says nothing about the document.
fn without_document(status: StatusCode, place: &str) -> UntrustedFetchError {
    let words = Diagnosis::new(format!("{place} answers {}", status.as_u16()))
        .with_hint("only 200 counts, and no redirect is followed");
    let kind = match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Kind::Gone,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Kind::Unreachable,
        _ if status.is_server_error() => Kind::Unreachable,
        _ => Kind::Refused,
    };
    UntrustedFetchError { diagnosis: words, kind }
}

impl Reach {
    fn of(config: &Config) -> Self {
        let ours = config.public_url.authorities();
        let loopback = config.public_url.is_loopback();
        let own = if loopback {
            // other programs on this machine may publish documents
            ours.map(str::to_owned).collect()
        } else {
            let ours = ours.chain(config.server.allowed_hosts.iter().map(String::as_str));
            ours.map(|authority| without_port(authority).to_owned()).collect()
        };
        Self { loopback, own, private_hosts: config.client_documents.private_hosts.clone() }
    }

    fn is_own(&self, url: &Url) -> bool {
        let authority = &url[Position::BeforeHost..Position::BeforePath];
        let host = url.host_str().unwrap_or_default();
        self.own.iter().any(|own| own.eq_ignore_ascii_case(authority) || own.eq_ignore_ascii_case(host))
    }
}

fn without_port(authority: &str) -> &str {
    let host_ends = authority.find(']').map_or(0, |bracket| bracket + 1);
    match authority.get(host_ends..).and_then(|rest| rest.find(':')) {
        Some(colon) => authority.get(..host_ends + colon).unwrap_or(authority),
        None => authority,
    }
}

/// Resolves names, and lets an answer pass only when every address in it may be called: what is dialled is what it returns.
#[derive(Clone)]
struct Guard {
    look_up: LookUp,
    look_ups: Arc<Semaphore>,
    reach: Arc<Reach>,
}

impl Guard {
    fn check(&self, host: &str, address: IpAddr) -> Result<(), RefusedAddress> {
        let Some(reason) = refusal(address) else { return Ok(()) };
        let is_opened = || is_private(address) && self.reach.private_hosts.iter().any(|opened| opened == host);
        let allowed = self.reach.loopback && is_loopback(address) || is_opened();
        if allowed { Ok(()) } else { Err(RefusedAddress { address, reason }) }
    }

    /// Looks a name up as a task of its own. Its slot is free when the look-up has ended, not when its caller has left.
    async fn look_up(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let slot = Arc::clone(&self.look_ups).acquire_owned().await.map_err(io::Error::other)?;
        let found = (self.look_up)(name.to_owned());
        let task = tokio::spawn(async move {
            let found = found.await;
            drop(slot);
            found
        });
        task.await.map_err(io::Error::other)?
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let addresses = guard.look_up(name.as_str()).await?;
            for address in &addresses {
                guard.check(name.as_str(), *address)?;
            }
            let addresses: Addrs = Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}

/// An address that no untrusted client may make us call.
#[derive(Debug)]
struct RefusedAddress {
    address: IpAddr,
    reason: &'static str,
}

impl RefusedAddress {
    fn diagnosis(&self, place: &str) -> Diagnosis {
        Diagnosis::new(format!("{place} is not called: {self}"))
            .with_hint("metadata documents are fetched from public addresses only; allow an internal host by name in private_hosts")
    }
}

impl fmt::Display for RefusedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the address {} is {}", self.address, self.reason)
    }
}

impl Error for RefusedAddress {}
