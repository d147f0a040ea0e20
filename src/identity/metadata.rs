//! What a provider says of itself (OpenID Connect Discovery 1.0 3): the document, read and checked.
//!
//! Defends against mix-up (another provider's document), and against endpoints that would carry codes and secrets in the
//! clear or hide another host.
//!
//! The document is read by us because the issuer is compared with what the operator wrote, not with the address that the
//! document lies at: inside a cluster the two differ. Its endpoints are used as they are; one document may name
//! public and internal hosts.

use serde::Deserialize;
use url::Url;

use super::generic::{SecretIn, Symptom};
use crate::config::OidcSettings;
use crate::oauth::redirect_uri::is_loopback;
use crate::oauth::scope::OFFLINE_ACCESS;
use crate::outbound::Diagnosis;
use crate::telemetry::excerpt;

/// The hint when the answer at an address is not a provider's.
pub(super) const WRONG_ADDRESS: &str = "check `issuer`, and `discovery` if it is set";

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
    pub(super) userinfo_endpoint: Option<String>,
    #[serde(default)]
    scopes_supported: Option<Vec<String>>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default, rename = "authorization_response_iss_parameter_supported")]
    pub(super) sends_iss: bool,
}

impl ProviderMetadata {
    /// Reads the document and checks it. `identity` is our name for the provider.
    pub(super) fn parse(body: &[u8], settings: &OidcSettings, identity: &str) -> Result<Self, Diagnosis> {
        let metadata: Self = serde_json::from_slice(body).map_err(|cause| {
            let cause = cause.to_string();
            let cause = excerpt(&cause);
            Diagnosis::new(format!("it is not a discovery document ({cause})")).with_hint(WRONG_ADDRESS)
        })?;
        if !settings.flavour.metadata_issuer_is(&settings.issuer, &metadata.issuer) {
            return Err(metadata.another_issuer(settings, identity));
        }
        metadata.check_endpoints(settings)?;
        Ok(metadata)
    }

    fn check_endpoints(&self, settings: &OidcSettings) -> Result<(), Diagnosis> {
        let http_allowed = settings.discovery.scheme() == "http" || settings.issuer.starts_with("http:");
        for (name, url) in [
            ("authorization_endpoint", Some(&self.authorization_endpoint)),
            ("token_endpoint", Some(&self.token_endpoint)),
            ("jwks_uri", Some(&self.jwks_uri)),
            ("revocation_endpoint", self.revocation_endpoint.as_ref()),
            ("userinfo_endpoint", self.userinfo_endpoint.as_ref()),
        ] {
            if let Some(url) = url {
                check_endpoint(url, http_allowed).map_err(|why| format!("its {name} {:?} {why}", excerpt(url)))?;
            }
        }
        Ok(())
    }

    /// The document may be another provider's, so its issuer is suggested and never adopted.
    fn another_issuer(&self, settings: &OidcSettings, identity: &str) -> Diagnosis {
        let (named, configured) = (excerpt(&self.issuer), &settings.issuer);
        let cause = format!("it names the issuer {named:?}, the configuration names {configured:?}");
        let mut hint = if named == self.issuer {
            let discovery = settings.discovery.as_str();
            format!(
                "if that is the provider you mean, set issuer = {named:?}, byte for byte, and discovery = {discovery:?}"
            )
        } else {
            "`issuer` must be spelt as the provider spells it, byte for byte".to_owned()
        };
        if let Some(more) = settings.flavour.hint(Symptom::OtherIssuer, identity) {
            hint.push_str("; ");
            hint.push_str(&more);
        }
        Diagnosis::new(cause).with_hint(hint)
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
    // A parser drops line breaks, and a browser would be sent to what is left.
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("has characters that no URL has");
    }
    let url = Url::parse(text).or(Err("is not a URL"))?;
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{ProviderMetadata, SecretIn};
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
            authorize_params: Vec::new(),
            standing: Standing::Offline,
            groups: crate::config::GroupSources::default(),
            trust_email: false,
            replaces_issuer: None,
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
        ProviderMetadata::parse(document.to_string().as_bytes(), settings, "corp")
            .map_err(|failure| failure.to_string())
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
    fn another_issuer_is_refused_with_both_values_and_the_hint() {
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
        assert!(ProviderMetadata::parse(b"<html>", &settings(PUBLIC, PUBLIC), "corp").is_err());
    }

    #[test]
    fn an_endpoint_that_hides_another_host_is_refused() {
        for bad in [
            "https://u:p@a/",
            "ftp://a/",
            "token",
            "https://a/#x",
            "javascript:alert(1)",
            "https://a/\r\nSet-Cookie: x",
            "https://a/ b",
            "//a/",
            "",
        ] {
            for endpoint in ["authorization_endpoint", "token_endpoint", "jwks_uri", "revocation_endpoint"] {
                let mut document = document(PUBLIC, PUBLIC);
                document[endpoint] = json!(bad);
                let error = parse(&document, &settings(PUBLIC, PUBLIC)).unwrap_err();
                assert!(error.contains(endpoint) && !error.contains('\n'), "{bad}: {error}");
            }
        }
    }

    #[test]
    fn what_a_document_says_is_not_repeated_at_length() {
        let long = "x".repeat(500_000);
        for (name, value) in [
            ("issuer", json!(format!("https://{long}"))),
            ("token_endpoint", json!(long)),
            ("scopes_supported", json!(long)),
        ] {
            let mut document = document(PUBLIC, PUBLIC);
            document[name] = value;
            let error = parse(&document, &settings(PUBLIC, PUBLIC)).unwrap_err();
            assert!(error.len() < 800, "{name}: {}", error.len());
            assert!(!error.contains("set issuer"), "{name}: what is not shown whole is not suggested");
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
}
