//! The credential that the calls to one upstream carry.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};

use super::assertion::Assertions;
use super::parts::{Bearer, DelegationParts, OwnParts};
use super::provider::{Held, ProviderCredentials};
use super::undelegated::Undelegated;
use crate::config::{CredentialSource, PublicUrl, ServerCredential, UpstreamSettings};
use crate::model::caller::Caller;
use crate::model::ids::GrantId;
use crate::wire::Arrival;

/// The credential of one upstream.
pub(crate) struct Credential {
    header: HeaderName,
    source: Source,
}

enum Source {
    Assertion(Assertions),
    Provider(Arc<ProviderCredentials>),
    Secret(HeaderValue),
}

/// A credential on its way to the upstream.
#[derive(Clone)]
pub(crate) struct Issued {
    /// The value of the header.
    pub(crate) value: HeaderValue,
    /// What a provider issued, and may issue anew; `None` for what would be the same again.
    pub(super) renewable: Option<Renewable>,
}

/// A credential that is made anew when the upstream refuses it.
#[derive(Clone)]
pub(super) struct Renewable {
    pub(super) held: Arc<Held>,
    pub(super) grant: GrantId,
}

impl Credential {
    /// The credential of an upstream, where it has one. The configuration was checked: what it needs is there.
    pub(super) fn new(public_url: &PublicUrl, settings: &UpstreamSettings, parts: &DelegationParts) -> Option<Self> {
        let ServerCredential { header, source } = settings.credential.as_ref()?;
        let bearer = *header == AUTHORIZATION;
        let source = match source {
            CredentialSource::Secret(value) => Source::Secret(value.clone()),
            CredentialSource::Assertion(assertion) => {
                let OwnParts { ring, .. } = parts.own.clone()?;
                let signing = (ring, parts.clock.clone());
                Source::Assertion(Assertions::new(public_url, (settings, assertion), signing, bearer))
            }
            CredentialSource::Provider(wanted) => {
                let counters = parts.metrics.of(&settings.id);
                let own = parts.own.clone()?;
                let settings = (settings.id.as_str(), wanted.clone(), bearer);
                Source::Provider(Arc::new(ProviderCredentials::new(settings, own, parts.clock.clone(), counters)))
            }
        };
        Some(Self { header: header.clone(), source })
    }

    /// The header that carries it, which no client may send.
    pub(crate) const fn header(&self) -> &HeaderName {
        &self.header
    }

    /// The credential for a caller, if it is in memory or can be made without waiting.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn at_hand(&self, bearer: &Bearer<'_>) -> Result<Option<Issued>, Undelegated> {
        match &self.source {
            Source::Secret(value) => Ok(Some(Issued { value: value.clone(), renewable: None })),
            Source::Assertion(assertions) => {
                let value = assertions.about(bearer.caller, bearer.slot)?;
                Ok(Some(Issued { value, renewable: None }))
            }
            Source::Provider(credentials) => {
                let grant = credentials.grant_of(bearer)?;
                Ok(credentials.fresh(grant).map(|held| issued(held, grant)))
            }
        }
    }

    /// The same, after the provider was asked for it.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn obtain(&self, bearer: &Bearer<'_>) -> Result<Issued, Undelegated> {
        if let Some(issued) = self.at_hand(bearer)? {
            return Ok(issued);
        }
        let Source::Provider(credentials) = &self.source else {
            return Err(Undelegated::Unavailable("there is no credential".to_owned()));
        };
        let grant = credentials.grant_of(bearer)?;
        let held = credentials.obtain(grant, bearer.arrival, None).await?;
        Ok(issued(held, grant))
    }

    /// The upstream refused this credential. Answers what may bring a new one, once: not when the refused one was itself made
    /// after such a refusal, a moment ago.
    pub(crate) fn refused(self: &Arc<Self>, issued: &Issued, arrival: &Arrival) -> Option<Renewal> {
        let Source::Provider(credentials) = &self.source else { return None };
        let Renewable { held, grant } = issued.renewable.as_ref()?;
        credentials.give_up(grant, held).then(|| Renewal {
            credentials: Arc::clone(credentials),
            refused: Arc::clone(held),
            grant: grant.clone(),
            arrival: arrival.clone(),
        })
    }

    /// Whether a new one may follow when the upstream refuses this one.
    pub(crate) const fn is_renewable(&self) -> bool {
        matches!(self.source, Source::Provider(_))
    }

    /// About how many bytes an assertion about a caller takes, where there is one.
    pub(super) fn assertion_size(&self, caller: &Caller) -> usize {
        match &self.source {
            Source::Assertion(assertions) => assertions.size(caller),
            Source::Provider(_) | Source::Secret(_) => 0,
        }
    }
}

/// The way to another credential after a refused one.
pub(crate) struct Renewal {
    credentials: Arc<ProviderCredentials>,
    refused: Arc<Held>,
    grant: GrantId,
    arrival: Arrival,
}

impl Renewal {
    /// Asks the provider, unless another call did so meanwhile.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn obtain(self) -> Result<HeaderValue, Undelegated> {
        let held = self.credentials.obtain(&self.grant, &self.arrival, Some(&self.refused)).await?;
        Ok(held.value.clone())
    }
}

fn issued(held: Arc<Held>, grant: &GrantId) -> Issued {
    Issued { value: held.value.clone(), renewable: Some(Renewable { held, grant: grant.clone() }) }
}
