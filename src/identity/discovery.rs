//! A provider's metadata (OpenID Connect Discovery 1.0): fetched, checked, kept fresh.
//!
//! The document is read by us because the issuer is compared with what the operator wrote, not with the address that the
//! document lies at: inside a cluster the two differ. Its endpoints are used as they are; one document may name
//! public and internal hosts.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use tokio::sync::Notify;
use url::Url;

use super::health::Health;
use super::keycloak;
use crate::clock::Clock;
use crate::config::{OidcFlavour, OidcSettings};
use crate::keys::{Refetch, Refetched};
use crate::oauth::redirect_uri::is_loopback;
use crate::oauth::scope::OFFLINE_ACCESS;
use crate::outbound::Fetcher;
use crate::secret::random;

/// How long the document may take to arrive.
const TIMEOUT: Duration = Duration::from_secs(4);
/// How often it is read again.
const EVERY: Duration = Duration::from_mins(1);
/// How often it is tried while it cannot be read; give or take a fifth, so that replicas do not come together.
const EVERY_WHILE_FAILING: Duration = Duration::from_secs(5);

/// What we need of the document.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct ProviderMetadata {
    pub(super) issuer: String,
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    pub(super) jwks_uri: String,
    #[serde(default)]
    pub(super) revocation_endpoint: Option<String>,
    #[serde(default)]
    scopes_supported: Option<Vec<String>>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default, rename = "authorization_response_iss_parameter_supported")]
    pub(super) sends_iss: bool,
}

/// How we prove who we are at the token endpoint (RFC 6749 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SecretIn {
    Header,
    Body,
}

impl ProviderMetadata {
    fn parse(body: &[u8], settings: &OidcSettings) -> Result<Self, String> {
        let metadata: Self = serde_json::from_slice(body).map_err(|cause| format!("it cannot be read: {cause}"))?;
        metadata.check(settings)?;
        Ok(metadata)
    }

    fn check(&self, settings: &OidcSettings) -> Result<(), String> {
        if self.issuer != settings.issuer {
            let mend = match settings.flavour {
                OidcFlavour::Keycloak => keycloak::ISSUER_MEND,
                OidcFlavour::Generic => "`issuer` must be spelt as the provider spells it, byte for byte",
            };
            return Err(format!(
                "it names the issuer {:?}, the configuration names {:?}: {mend}",
                self.issuer, settings.issuer
            ));
        }
        let http_allowed = settings.discovery.scheme() == "http" || settings.issuer.starts_with("http:");
        for (name, url) in [
            ("authorization_endpoint", Some(&self.authorization_endpoint)),
            ("token_endpoint", Some(&self.token_endpoint)),
            ("jwks_uri", Some(&self.jwks_uri)),
            ("revocation_endpoint", self.revocation_endpoint.as_ref()),
        ] {
            if let Some(url) = url {
                check_endpoint(url, http_allowed).map_err(|why| format!("its {name} {url:?} {why}"))?;
            }
        }
        Ok(())
    }

    pub(super) fn lists_offline_access(&self) -> bool {
        self.scopes_supported.as_ref().is_some_and(|scopes| scopes.iter().any(|scope| scope == OFFLINE_ACCESS))
    }

    /// The header unless the provider lists only other ways: what is not listed is `client_secret_basic`.
    pub(super) fn secret_in(&self) -> SecretIn {
        let lists = |methods: &[String], name| methods.iter().any(|method| method == name);
        match &self.token_endpoint_auth_methods_supported {
            Some(methods) if !methods.is_empty() && !lists(methods, "client_secret_basic") => SecretIn::Body,
            _ => SecretIn::Header,
        }
    }
}

/// An endpoint is https, or on this machine; http elsewhere only when the operator chose http for the provider.
fn check_endpoint(text: &str, http_allowed: bool) -> Result<(), &'static str> {
    let url = Url::parse(text).or(Err("is no URL"))?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("has user information or a fragment");
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if http_allowed || is_loopback(&url) => Ok(()),
        "http" => Err("is http: the provider must name https, or be configured by http itself"),
        _ => Err("is neither https nor http"),
    }
}

/// The metadata of one provider.
pub(super) struct Discovery {
    source: Arc<Source>,
    refetch: Refetch,
    wake: Notify,
}

struct Source {
    identity: String,
    settings: OidcSettings,
    fetcher: Fetcher,
    health: Arc<Health>,
    known: RwLock<Option<Arc<ProviderMetadata>>>,
    /// Why the last reading failed, if it did.
    failure: RwLock<Option<String>>,
}

impl Discovery {
    pub(super) fn new(
        identity: &str,
        settings: &OidcSettings,
        fetcher: Fetcher,
        health: Arc<Health>,
        clock: Clock,
    ) -> Self {
        let (identity, settings) = (identity.to_owned(), settings.clone());
        let source =
            Source { identity, settings, fetcher, health, known: RwLock::default(), failure: RwLock::default() };
        Self { source: Arc::new(source), refetch: Refetch::new(clock), wake: Notify::new() }
    }

    /// What was read last.
    pub(super) fn known(&self) -> Option<Arc<ProviderMetadata>> {
        self.source.known()
    }

    /// What was read last; when nothing was, whoever waits in [`Self::pause`] is told to hurry.
    pub(super) fn known_or_hurry(&self) -> Option<Arc<ProviderMetadata>> {
        let known = self.known();
        if known.is_none() {
            self.wake.notify_one();
        }
        known
    }

    /// Why the document could not be read the last time, if it could not.
    pub(super) fn last_failure(&self) -> Option<String> {
        self.source.failure.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was read last; read now when nothing was.
    pub(super) async fn get(&self) -> Result<Arc<ProviderMetadata>, String> {
        if let Some(known) = self.source.known() {
            return Ok(known);
        }
        let refreshed = self.refresh().await;
        self.source.known().ok_or_else(|| refreshed.err().unwrap_or_else(|| "was never read".to_owned()))
    }

    async fn refresh(&self) -> Result<(), String> {
        let source = Arc::clone(&self.source);
        match self.refetch.ask(async move { source.read().await }).await {
            Refetched::Fresh | Refetched::TooSoon => Ok(()),
            Refetched::Failed(words) => Err(words),
        }
    }

    /// Reads the document again and logs when that begins or ceases to fail; answers whether it fails.
    pub(super) async fn keep(&self, failed_before: bool) -> bool {
        match self.refresh().await {
            Ok(()) if failed_before => {
                tracing::info!(identity = self.source.identity, "the identity provider is back");
                false
            }
            Ok(()) => false,
            Err(words) => {
                if !failed_before {
                    tracing::warn!("{words}");
                }
                true
            }
        }
    }

    /// Waits until it is time to read again, or until somebody needs what was never read.
    pub(super) async fn pause(&self, failing: bool) {
        let [random] = random();
        tokio::select! {
            () = tokio::time::sleep(pause(failing, random)) => {}
            () = self.wake.notified() => {}
        }
    }
}

fn pause(failing: bool, random: u8) -> Duration {
    if failing { EVERY_WHILE_FAILING.mul_f64(0.8 + 0.4 * f64::from(random) / 255.0) } else { EVERY }
}

impl Source {
    fn known(&self) -> Option<Arc<ProviderMetadata>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What was read before stays in use when the new document cannot be believed.
    async fn read(&self) -> Result<(), String> {
        let read = self.fetch().await.map_err(|cause| {
            format!("the discovery document of identity {} at {}: {cause}", self.identity, self.settings.discovery)
        });
        *self.failure.write().unwrap_or_else(PoisonError::into_inner) = read.as_ref().err().cloned();
        match read {
            Ok(metadata) => {
                self.health.answered();
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(metadata));
                Ok(())
            }
            Err(words) => {
                self.health.failed(&words);
                Err(words)
            }
        }
    }

    async fn fetch(&self) -> Result<ProviderMetadata, String> {
        let fetched = self.fetcher.get(self.settings.discovery.as_str(), TIMEOUT).await;
        let fetched = fetched.map_err(|cause| cause.to_string())?;
        let status = fetched.status.as_u16();
        match fetched.status {
            StatusCode::OK => ProviderMetadata::parse(&fetched.body, &self.settings),
            StatusCode::NOT_FOUND if self.settings.flavour == OidcFlavour::Keycloak => {
                Err(format!("it answers {status}: {}", keycloak::DISCOVERY_MEND))
            }
            other if other.is_redirection() => {
                Err(format!("it answers {status}: redirects are not followed, set `discovery` to where it leads"))
            }
            other if other.is_client_error() => Err(format!("it answers {status}: check `discovery` and `issuer`")),
            _ => Err(format!("it answers {status}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::{ProviderMetadata, SecretIn, pause};
    use crate::config::{OidcFlavour, OidcSettings, Standing};
    use crate::oauth::scope::ScopeSet;

    fn settings(issuer: &str, discovery: &str) -> OidcSettings {
        OidcSettings {
            flavour: OidcFlavour::Keycloak,
            issuer: issuer.to_owned(),
            discovery: discovery.parse().unwrap(),
            client_id: "portcullis".to_owned(),
            client_secret: None,
            scopes: ScopeSet::empty(),
            standing: Standing::Offline,
            groups_claim: "groups".to_owned(),
            ca_file: None,
        }
    }

    fn document(issuer: &str, base: &str) -> Value {
        json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/auth"),
            "token_endpoint": format!("{base}/token"),
            "jwks_uri": format!("{base}/certs"),
        })
    }

    fn parse(document: &Value, settings: &OidcSettings) -> Result<ProviderMetadata, String> {
        ProviderMetadata::parse(document.to_string().as_bytes(), settings)
    }

    const PUBLIC: &str = "https://sso.example.com/realms/mcp";

    #[test]
    fn public_and_internal_hosts_may_be_mixed_when_the_operator_named_http() {
        let mixed = document(PUBLIC, "http://keycloak:8080/realms/mcp");
        assert!(parse(&mixed, &settings(PUBLIC, "http://keycloak:8080/realms/mcp")).is_ok());
        let error = parse(&mixed, &settings(PUBLIC, PUBLIC)).unwrap_err();
        assert!(error.contains("token_endpoint") && error.contains("is http"), "{error}");
        assert!(parse(&document(PUBLIC, "http://127.0.0.1:8080"), &settings(PUBLIC, PUBLIC)).is_ok());
    }

    #[test]
    fn another_issuer_is_refused_with_both_values_and_the_mend() {
        for other in [&format!("{PUBLIC}/"), "https://SSO.example.com/realms/mcp", "http://keycloak:8080/realms/mcp"] {
            let error = parse(&document(other, other), &settings(PUBLIC, "http://keycloak:8080/")).unwrap_err();
            assert!(error.contains(other) && error.contains(PUBLIC) && error.contains("--hostname"), "{error}");
        }
    }

    #[test]
    fn a_document_without_what_we_need_says_what_is_missing() {
        for field in ["issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"] {
            let mut lacking = document(PUBLIC, PUBLIC);
            lacking.as_object_mut().unwrap().remove(field);
            let error = parse(&lacking, &settings(PUBLIC, PUBLIC)).unwrap_err();
            assert!(error.contains(field), "{error}");
        }
        assert!(ProviderMetadata::parse(b"<html>", &settings(PUBLIC, PUBLIC)).is_err());
    }

    #[test]
    fn an_endpoint_that_hides_another_host_is_refused() {
        for bad in ["https://u:p@a/", "ftp://a/", "token", "https://a/#x", "javascript:alert(1)"] {
            let mut document = document(PUBLIC, PUBLIC);
            document["revocation_endpoint"] = json!(bad);
            assert!(parse(&document, &settings(PUBLIC, PUBLIC)).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_secret_travels_in_the_header_unless_only_the_body_is_listed() {
        for (methods, expected) in [
            (Value::Null, SecretIn::Header),
            (json!([]), SecretIn::Header),
            (json!(["client_secret_post", "client_secret_basic"]), SecretIn::Header),
            (json!(["private_key_jwt", "client_secret_post"]), SecretIn::Body),
        ] {
            let mut document = document(PUBLIC, PUBLIC);
            document["token_endpoint_auth_methods_supported"] = methods;
            assert_eq!(parse(&document, &settings(PUBLIC, PUBLIC)).unwrap().secret_in(), expected);
        }
    }

    #[test]
    fn a_failing_provider_is_asked_about_every_five_seconds_and_a_good_one_every_minute() {
        assert_eq!(pause(false, 200), Duration::from_mins(1));
        assert_eq!(pause(true, 0), Duration::from_secs(4));
        assert_eq!(pause(true, 255), Duration::from_secs(6));
    }
}
