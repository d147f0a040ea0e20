//! What an issuer says of itself (RFC 8414 2, OpenID Connect Discovery 1.0 3): where its keys are, and where to ask about
//! tokens.
//!
//! Defends against mix-up: a document that names another issuer is not used.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use crate::clock::Clock;
use crate::config::{IssuerKind, TokenIssuer};
use crate::keys::refetch::{Refetch, Refetched};
use crate::outbound::{Diagnosis, Fetcher};
use crate::telemetry::excerpt;
use crate::telemetry::metrics::{ProviderCall, ProviderCalls};

/// The time-out of a fetch.
const TIMEOUT: Duration = Duration::from_secs(4);
/// How long a document is fresh. Its addresses hardly ever change; its keys have a cache of their own.
const FRESH_FOR: Duration = Duration::from_hours(1);

/// The metadata of one issuer, cached. Stale metadata serves while the issuer is down.
pub(super) struct Metadata {
    settings: Arc<TokenIssuer>,
    fetcher: Fetcher,
    clock: Clock,
    calls: ProviderCalls,
    known: Arc<RwLock<Option<Known>>>,
    refetch: Refetch,
}

#[derive(Clone)]
struct Known {
    document: Arc<Document>,
    /// When the fetch began, on the monotonic clock.
    age_from: Duration,
}

/// What we need of the document.
#[derive(Debug, Deserialize)]
pub(super) struct Document {
    issuer: String,
    jwks_uri: Option<String>,
    introspection_endpoint: Option<String>,
    introspection_endpoint_auth_methods_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

impl Metadata {
    pub(super) fn new(settings: Arc<TokenIssuer>, fetcher: Fetcher, clock: Clock, calls: ProviderCalls) -> Self {
        let refetch = Refetch::new(clock.clone());
        Self { settings, fetcher, clock, calls, known: Arc::default(), refetch }
    }

    /// The document, fetched if it is missing or old.
    pub(super) async fn get(&self) -> Result<Arc<Document>, Diagnosis> {
        let known = self.known();
        if let Some(known) = &known
            && self.clock.monotonic().saturating_sub(known.age_from) < FRESH_FOR
        {
            return Ok(Arc::clone(&known.document));
        }
        let refetched = self.refetch().await;
        match (self.known().or(known), refetched) {
            (Some(known), _) => Ok(known.document),
            (None, Refetched::Failed(cause)) => {
                Err(cause.in_context(format_args!("the metadata at {} cannot be read", self.settings.discovery)))
            }
            (None, _) => Err(Diagnosis::new("its metadata was never read")),
        }
    }

    fn known(&self) -> Option<Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn refetch(&self) -> Refetched {
        let (settings, fetcher, clock) = (Arc::clone(&self.settings), self.fetcher.clone(), self.clock.clone());
        let (known, calls) = (Arc::clone(&self.known), self.calls.clone());
        let read = async move {
            let age_from = clock.monotonic();
            let answer = fetcher.get(settings.discovery.as_str(), TIMEOUT).await?;
            if answer.status != http::StatusCode::OK {
                let answers = Diagnosis::new(format!("it answers {}", answer.status.as_u16()));
                return Err(answers.with_hint("check `issuer`, and `discovery` if it is set"));
            }
            let document = Arc::new(Document::parse(&answer.body, &settings)?);
            *known.write().unwrap_or_else(PoisonError::into_inner) = Some(Known { document, age_from });
            Ok(())
        };
        self.refetch.ask(async move { calls.timed(ProviderCall::Discovery, read).await }).await
    }
}

impl Document {
    fn parse(body: &[u8], settings: &TokenIssuer) -> Result<Self, Diagnosis> {
        let document: Self = serde_json::from_slice(body).map_err(|_cause| {
            Diagnosis::new("it is not a metadata document").with_hint("check `issuer`, and `discovery` if it is set")
        })?;
        // Entra writes the place of the tenant in either case
        let template = settings.kind == IssuerKind::Entra && document.issuer.eq_ignore_ascii_case(&settings.issuer);
        if document.issuer != settings.issuer && !template {
            let named = excerpt(&document.issuer).into_owned();
            return Err(Diagnosis::new(format!("it names the issuer {named:?}"))
                .with_hint(format!("if that is the issuer of the tokens, set issuer = {named:?}")));
        }
        for url in [&document.jwks_uri, &document.introspection_endpoint].into_iter().flatten() {
            document.check(url, settings)?;
        }
        Ok(document)
    }

    /// Who answers there decides who may call.
    fn check(&self, url: &str, settings: &TokenIssuer) -> Result<(), Diagnosis> {
        let http_allowed = settings.discovery.scheme() == "http" || self.issuer.starts_with("http:");
        let parsed = Url::parse(url).ok().filter(|url| url.has_host() && url.username().is_empty());
        match parsed.as_ref().map(Url::scheme) {
            Some("https") => Ok(()),
            Some("http") if http_allowed => Ok(()),
            _ => Err(Diagnosis::new(format!("it names {:?}, which is not an https URL", excerpt(url)))),
        }
    }

    pub(super) fn jwks_uri(&self) -> Result<String, Diagnosis> {
        let hint = "set jwks_uri, or verify = \"introspection\"";
        self.jwks_uri.clone().ok_or_else(|| Diagnosis::new("its metadata names no jwks_uri").with_hint(hint))
    }

    pub(super) fn introspection_endpoint(&self) -> Result<String, Diagnosis> {
        let missing = || Diagnosis::new("its metadata names no introspection_endpoint");
        self.introspection_endpoint.clone().ok_or_else(|| missing().with_hint("set introspection_endpoint"))
    }

    /// Whether our credentials go into the form. RFC 6749 2.3.1 has every server take them in the header, unless it says
    /// otherwise.
    pub(super) fn wants_credentials_in_form(&self) -> bool {
        let methods = self.introspection_endpoint_auth_methods_supported.as_ref();
        let methods = methods.or(self.token_endpoint_auth_methods_supported.as_ref());
        let names = |method: &str| methods.is_some_and(|methods| methods.iter().any(|name| name == method));
        names("client_secret_post") && !names("client_secret_basic")
    }
}
