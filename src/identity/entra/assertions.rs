//! How we prove who we are at Entra ID without a client secret: by a certificate, or by a token of an identity that the app
//! registration trusts (a federated credential).
//!
//! Defends against: theft of a long-lived secret (there is none in the configuration), and stale tokens (a file is read again for
//! each request, a managed identity's token is replaced before it ends).

use std::path::Path;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::RSA_PSS_SHA256;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::clock::{Clock, Timestamp};
use crate::config::{ClientCertificate, EntraCredential, ManagedIdentity, ManagedIdentityEndpoint};
use crate::outbound::{Diagnosis, Fetcher};
use crate::secret::{SecretText, base64url, random};

/// How long an assertion of ours is valid. Entra ID takes ten minutes at the most, and its clock may differ from ours.
const VALIDITY: Duration = Duration::from_mins(5);
/// No token of a workload identity is longer, in bytes.
const LONGEST_TOKEN: usize = 32 * 1024;
/// How long a managed identity's endpoint, which is on this machine, may take.
const TIMEOUT: Duration = Duration::from_secs(4);
/// How long before its end a managed identity's token is replaced.
const BEFORE_END: Duration = Duration::from_mins(5);

/// Makes or fetches assertions (RFC 7523 2.2).
pub(in crate::identity) struct Assertions {
    credential: EntraCredential,
    /// Calls this machine, never through a proxy.
    fetcher: Fetcher,
    clock: Clock,
    managed: Mutex<Option<Managed>>,
}

/// A managed identity's token.
struct Managed {
    token: SecretText,
    until: Timestamp,
}

#[derive(Deserialize)]
struct ManagedAnswer {
    access_token: String,
    /// Seconds since 1970; App Service and the machine's endpoint both send it as a text.
    expires_on: Value,
}

impl Assertions {
    pub(in crate::identity) fn new(credential: EntraCredential, clock: Clock) -> Self {
        Self { credential, fetcher: Fetcher::new([]), clock, managed: Mutex::default() }
    }

    /// An assertion for one request to this token endpoint.
    ///
    /// # Errors
    /// Why there is none now, and the hint.
    pub(in crate::identity) async fn make(&self, client_id: &str, audience: &str) -> Result<SecretText, Diagnosis> {
        match &self.credential {
            EntraCredential::Certificate(certificate) => signed(certificate, client_id, audience, self.clock.now()),
            EntraCredential::TokenFile(path) => token_in(path).await,
            EntraCredential::ManagedIdentity(identity) => self.managed(identity).await,
        }
    }

    /// The token of a managed identity. Concurrent callers wait for one request.
    async fn managed(&self, identity: &ManagedIdentity) -> Result<SecretText, Diagnosis> {
        let mut kept = self.managed.lock().await;
        let now = self.clock.now();
        if let Some(managed) = kept.as_ref().filter(|managed| now + BEFORE_END < managed.until) {
            return Ok(managed.token.clone());
        }
        match self.ask(identity).await {
            Ok(managed) => Ok(kept.insert(managed).token.clone()),
            // one that still counts is better than none
            Err(failure) => match kept.as_ref().filter(|managed| now < managed.until) {
                Some(managed) => Ok(managed.token.clone()),
                None => Err(failure.in_context("the managed identity")),
            },
        }
    }

    async fn ask(&self, identity: &ManagedIdentity) -> Result<Managed, Diagnosis> {
        let (url, version, header) = match &identity.endpoint {
            ManagedIdentityEndpoint::Machine(url) => (url, "2018-02-01", ("metadata", "true")),
            ManagedIdentityEndpoint::AppService { url, header } => {
                (url, "2019-08-01", ("x-identity-header", header.expose()))
            }
        };
        let query = [("api-version", version), ("resource", &identity.audience), ("client_id", &identity.client_id)];
        let url = crate::oauth::parameters::add_to_query(url, &query);
        let fetched = self.fetcher.get_showing(&url, header, TIMEOUT).await?;
        if fetched.status != StatusCode::OK {
            let answers = Diagnosis::new(format!("its endpoint answers {}", fetched.status.as_u16()));
            return Err(answers.with_hint(
                "is the user-assigned identity of managed_identity.client_id assigned to this machine or app?",
            ));
        }
        let answer: Option<ManagedAnswer> = serde_json::from_slice(&fetched.body).ok();
        let managed = answer.and_then(|answer| {
            let seconds = match &answer.expires_on {
                Value::String(text) => text.parse().ok(),
                number => number.as_i64(),
            };
            Some(Managed { token: answer.access_token.into(), until: Timestamp(seconds?) })
        });
        managed.ok_or_else(|| Diagnosis::new("its endpoint answers 200 with something that is not a token"))
    }
}

/// An assertion under the key of a certificate. The header names the certificate by its SHA-256.
fn signed(
    certificate: &ClientCertificate,
    client_id: &str,
    audience: &str,
    now: Timestamp,
) -> Result<SecretText, Diagnosis> {
    let header = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": base64url(certificate.thumbprint().as_bytes())});
    let claims = json!({
        "aud": audience, "iss": client_id, "sub": client_id, "jti": base64url(&random::<16>()),
        "iat": now.0, "nbf": now.0, "exp": (now + VALIDITY).0,
    });
    let encode = |part: &Value| base64url(part.to_string().as_bytes());
    let message = format!("{}.{}", encode(&header), encode(&claims));
    let key = certificate.key();
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PSS_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature)
        .map_err(|cause| Diagnosis::new(format!("the key of client_certificate does not sign: {cause}")))?;
    Ok(format!("{message}.{}", base64url(&signature)).into())
}

/// What stands in the file now: another program replaces it about every hour.
async fn token_in(path: &Path) -> Result<SecretText, Diagnosis> {
    let read = tokio::fs::read(path).await.map_err(|error| {
        let cause = crate::config::io_message(&error);
        Diagnosis::new(format!("federated_token_file {} cannot be read: {cause}", path.display()))
    })?;
    let token = String::from_utf8(read).ok().map(|text| text.trim().to_owned());
    let token = token.filter(|token| token.split('.').count() == 3 && token.len() <= LONGEST_TOKEN);
    token.map(SecretText::from).ok_or_else(|| {
        Diagnosis::new(format!("federated_token_file {} does not hold a signed token", path.display()))
            .with_hint("it must be the token itself, in one line")
    })
}
