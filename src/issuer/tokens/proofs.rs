//! DPoP at the token endpoint (RFC 9449 5): which key the tokens of a request are bound to, for every grant type.
//!
//! A proof is verified before the client is authenticated, so that an assertion of the client is not used up by a request that
//! only lacks our nonce. It is used up when every other rule has been checked, right before something is given for it: by one
//! conditional insert, which decides between all processes.
//!
//! Defends against: replay of proofs, stolen codes (`dpop_jkt`) and refresh tokens (both are useless without the key, and
//! presenting one without it does not end the owner's grant), and downgrades: a grant that was bound never gives a bearer
//! token again.

use std::sync::Arc;
use std::time::Duration;

use super::refusal::TokenRefusal;
use super::requester::Requester;
use crate::clock::Clock;
use crate::config::{Config, Dpop};
use crate::issuer::resources::Resources;
use crate::keys::dpop::{ExpectedProof, Nonces, ProofError, VerifiedProof, verify_proof};
use crate::model::grant::Grant;
use crate::oauth::dpop::{ProofTargets, Thumbprint};
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::paths;
use crate::storage::Store;

/// How much longer than its nonce a proof is remembered: the clocks of our processes differ.
const SKEW: Duration = Duration::from_mins(5);

/// The `DPoP` header of a request.
#[derive(Debug, Clone)]
pub(crate) enum SentProof {
    /// There is none.
    None,
    /// There is one.
    One(String),
    /// There are several, or one that is not text.
    Unreadable,
}

/// Checks proofs. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct Proofs {
    /// Whether any upstream takes bound tokens: otherwise proofs are not looked at.
    is_on: bool,
    /// The token endpoint.
    targets: Arc<ProofTargets>,
    nonces: Nonces,
    resources: Resources,
    store: Store,
    clock: Clock,
}

impl Proofs {
    pub(in crate::issuer) fn new(
        config: &Config,
        nonces: Nonces,
        resources: Resources,
        store: Store,
        clock: Clock,
    ) -> Self {
        let endpoints: Vec<_> = config.public_url.origins().map(|origin| format!("{origin}{}", paths::TOKEN)).collect();
        let targets = Arc::new(ProofTargets::new(endpoints.iter().map(String::as_str)));
        Self { is_on: config.binds_tokens(), targets, nonces, resources, store, clock }
    }

    /// The nonce for the client's next proof; `None` where no upstream takes bound tokens.
    pub(in crate::issuer) fn nonce(&self) -> Option<String> {
        self.is_on.then(|| self.nonces.current(self.clock.now()))
    }

    /// Verifies the proof of a token request, if it has one.
    pub(super) fn verify(&self, sent: &SentProof) -> Result<Option<VerifiedProof>, TokenRefusal> {
        let text = match sent {
            _ if !self.is_on => return Ok(None),
            SentProof::None => return Ok(None),
            SentProof::One(text) => text,
            SentProof::Unreadable => return Err(invalid_proof("more than one DPoP header, or one that is not text")),
        };
        let expected = ExpectedProof { method: "POST", targets: &self.targets, token: None, nonces: &self.nonces };
        verify_proof(text, &expected, self.clock.now()).map(Some).map_err(|error| match error {
            ProofError::Invalid(words) => invalid_proof(words),
            ProofError::Nonce => {
                let words = "the DPoP proof must contain the nonce of the header DPoP-Nonce";
                OAuthError::new(ErrorCode::UseDpopNonce, words).into()
            }
            ProofError::OtherKey => invalid_proof("the DPoP proof is of another key"),
        })
    }

    /// The key that tokens for this audience are bound to; `None` for bearer tokens.
    pub(super) fn key(&self, by: &Requester<'_>, audience: &str) -> Result<Option<Thumbprint>, TokenRefusal> {
        let dpop = self.resources.dpop_of(audience);
        let insists = by.client.dpop_bound && self.is_on;
        match (dpop.is_on(), &by.proof) {
            (true, Some(proof)) => Ok(Some(proof.key)),
            (true, None) if dpop.is_required() || insists => Err(missing()),
            (false, _) if insists => {
                let words = "this client gets DPoP-bound tokens alone, and this server does not take them";
                Err(OAuthError::new(ErrorCode::InvalidTarget, words).into())
            }
            (_, _) => Ok(None),
        }
    }

    /// The same for more tokens of a grant, which may be bound already.
    pub(super) fn key_under(&self, grant: &Grant, by: &Requester<'_>) -> Result<Option<Thumbprint>, TokenRefusal> {
        let key = self.key(by, &grant.resource)?;
        if grant.is_proven_by(by.client, key.as_ref()) {
            return Ok(key);
        }
        Err(match (self.dpop_of(grant).is_on(), key) {
            (false, _) => {
                TokenRefusal::invalid_grant("the grant is bound to a key, and its server takes bearer tokens alone now")
            }
            (true, None) => missing(),
            (true, Some(_)) => TokenRefusal::invalid_grant("the refresh token is bound to another key"),
        })
    }

    fn dpop_of(&self, grant: &Grant) -> Dpop {
        self.resources.dpop_of(&grant.resource)
    }

    /// Uses the proof of a request up, if it has one (replay). From here on nothing but its tokens may be given for it.
    pub(super) async fn use_up(&self, by: &Requester<'_>) -> Result<(), TokenRefusal> {
        let Some(proof) = &by.proof else { return Ok(()) };
        let remembered = proof.good_until.max(self.clock.now()) + SKEW;
        if self.store.use_once(&proof.id, remembered).await? {
            Ok(())
        } else {
            Err(invalid_proof("the DPoP proof was used before: make a new one for each request"))
        }
    }
}

/// Checks the key that a code was bound to when it was asked for (RFC 9449 10).
pub(super) fn check_code(bound_to: Option<&Thumbprint>, by: &Requester<'_>) -> Result<(), TokenRefusal> {
    match (bound_to, &by.proof) {
        (None, _) => Ok(()),
        (Some(_), None) => Err(missing()),
        (Some(bound_to), Some(proof)) if proof.key == *bound_to => Ok(()),
        (Some(_), Some(_)) => Err(TokenRefusal::invalid_grant("the code is bound to another key (dpop_jkt)")),
    }
}

fn missing() -> TokenRefusal {
    invalid_proof("a DPoP proof is required: send one in the header DPoP")
}

fn invalid_proof(words: &'static str) -> TokenRefusal {
    OAuthError::new(ErrorCode::InvalidDpopProof, words).into()
}
