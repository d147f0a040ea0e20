//! DPoP at the resource (RFC 9449 7): a call under a bound token proves the key, each time. This holds for cached tokens,
//! too.
//!
//! A bearer call costs one comparison here. A proof is checked without a database read, and remembered by this process until
//! its nonce ends, a minute at the most. Another replica would accept it once more within that minute; where that matters,
//! `dpop_replay = "database"` lets all replicas remember it together, at the cost of one write per call.
//!
//! Defends against: stolen access tokens (useless without the key, under either scheme), and replay of proofs.

use std::time::Duration;

use http::HeaderMap;
use http::request::Parts;

use super::caller::VerifiedCaller;
use super::credential::{AccessToken, Scheme};
use super::incidents::Incidents;
use super::refusal::Refusal;
use super::routes::UpstreamRoute;
use super::seen_proofs::{Full, SeenProofs};
use crate::audit::Acting;
use crate::clock::Clock;
use crate::config::ProofReplay;
use crate::keys::dpop::{BoundToken, ExpectedProof, Nonces, ProofError, VerifiedProof, verify_proof};
use crate::oauth::dpop::{PROOF, Thumbprint};
use crate::secret::Sha256;
use crate::storage::Store;
use crate::wire::Arrival;

/// How much longer than its nonce a proof is remembered in the database: the clocks of our processes differ.
const SKEW: Duration = Duration::from_mins(5);

/// Checks proofs.
pub(super) struct Proofs {
    pub(super) nonces: Nonces,
    pub(super) seen: SeenProofs,
    /// `None` where nothing is stored.
    pub(super) store: Option<Store>,
    pub(super) clock: Clock,
}

/// Why a call does not have the key of its token.
pub(super) enum Unproven {
    /// There is no sign of theft.
    Refused(Refusal),
    /// It presents a token whose key it does not prove, so the token may be stolen; the text says what is wrong.
    Suspect(Refusal, &'static str),
}

impl From<Refusal> for Unproven {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Unproven {
    /// The refusal, after a possible theft was recorded in the audit log.
    pub(super) fn told(self, incidents: &Incidents, acting: Acting<'_>, arrival: &Arrival) -> Refusal {
        match self {
            Self::Refused(refusal) => refusal,
            Self::Suspect(refusal, how) => {
                incidents.key_not_proven(acting, how, arrival);
                refusal
            }
        }
    }
}

impl Proofs {
    /// The nonce for a client's next proof.
    pub(super) fn nonce(&self) -> String {
        self.nonces.current(self.clock.now())
    }

    /// Checks how a token was presented; answers the proof that it took.
    pub(super) fn check(
        &self,
        route: &UpstreamRoute,
        head: &Parts,
        token: &AccessToken<'_>,
        caller: &VerifiedCaller,
    ) -> Result<Option<VerifiedProof>, Unproven> {
        let dpop = route.served.config.settings.dpop;
        match (token.scheme, &caller.key_bound_to) {
            (Scheme::Bearer, None) if dpop.is_required() => Err(Refusal::InvalidToken(BEARER_REFUSED).into()),
            (Scheme::Bearer, None) => Ok(None),
            (Scheme::Bearer, Some(_)) => {
                Err(Unproven::Suspect(Refusal::InvalidToken(DOWNGRADED), "access token as Bearer"))
            }
            (Scheme::Dpop, None) => Err(Refusal::InvalidToken(NOT_BOUND).into()),
            (Scheme::Dpop, Some(key)) => self.verify(route, head, token, *key).map(Some),
        }
    }

    fn verify(
        &self,
        route: &UpstreamRoute,
        head: &Parts,
        token: &AccessToken<'_>,
        key: Thumbprint,
    ) -> Result<VerifiedProof, Unproven> {
        let now = self.clock.now();
        let expected = ExpectedProof {
            method: head.method.as_str(),
            targets: &route.proof_targets,
            token: Some(BoundToken { hash: &Sha256::of(token.text.as_bytes()), key }),
            nonces: &self.nonces,
        };
        let proof = verify_proof(the_proof(&head.headers)?, &expected, now).map_err(|error| match error {
            ProofError::Invalid(words) => Refusal::InvalidProof(words).into(),
            ProofError::Nonce => Refusal::UseNonce.into(),
            ProofError::OtherKey => {
                Unproven::Suspect(Refusal::InvalidProof(OTHER_KEY), "access token with another key")
            }
        })?;
        match self.seen.is_first_use(&proof, now) {
            Ok(true) => Ok(proof),
            Ok(false) => Err(Unproven::Suspect(Refusal::InvalidProof(REPLAYED), "access token with a used proof")),
            Err(Full) => Err(Refusal::Busy("the memory for DPoP proofs is full").into()),
        }
    }

    /// Uses a proof up in all processes, where the operator asks for that.
    pub(super) async fn use_up(&self, route: &UpstreamRoute, proof: &VerifiedProof) -> Result<(), Unproven> {
        let shared = route.served.config.settings.dpop.replay == ProofReplay::Database;
        let Some(store) = self.store.as_ref().filter(|_| shared) else { return Ok(()) };
        let remembered = proof.good_until.max(self.clock.now()) + SKEW;
        match store.use_once(&proof.id, remembered).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Unproven::Suspect(Refusal::InvalidProof(REPLAYED), "access token with a used proof")),
            Err(error) => Err(Refusal::Unavailable(error.to_string()).into()),
        }
    }
}

const BEARER_REFUSED: &str = "a bearer token, where the server takes bound tokens alone (dpop = \"required\")";
const DOWNGRADED: &str = "a token that is bound to a key was sent as a bearer token";
const NOT_BOUND: &str = "a bearer token was sent under the scheme DPoP";
const OTHER_KEY: &str = "the DPoP proof is of another key than the token is bound to";
const REPLAYED: &str = "the DPoP proof was used before: make a new one for each request";

/// The one proof of a request (RFC 9449 4.3).
fn the_proof(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(PROOF).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().or(Err(Refusal::InvalidProof("the DPoP header is not text"))),
        (None, _) => Err(Refusal::InvalidProof("the DPoP proof is missing: send one in the header DPoP")),
        (Some(_), Some(_)) => Err(Refusal::InvalidProof("there is more than one DPoP header")),
    }
}
