//! What credentials are made with, and for whom.

use std::sync::Arc;

use super::assertion::AssertionSlot;
use crate::clock::Clock;
use crate::identity::{Identities, SubjectTokens};
use crate::keys::KeyRing;
use crate::model::caller::Caller;
use crate::model::ids::GrantId;
use crate::telemetry::metrics;
use crate::wire::Arrival;

/// What credentials are made with.
#[derive(Clone)]
pub(crate) struct DelegationParts {
    /// Our signing keys, and the users' tokens; `None` where we issue none.
    pub own: Option<OwnParts>,
    /// The time.
    pub clock: Clock,
    /// What is counted.
    pub metrics: metrics::Delegation,
}

/// What only an authorization server has.
#[derive(Clone)]
pub(crate) struct OwnParts {
    /// Signs assertions.
    pub ring: KeyRing,
    /// The providers that exchange tokens.
    pub identities: Identities,
    /// The tokens that they exchange.
    pub subject_tokens: Arc<dyn SubjectTokens>,
}

/// For whom a credential is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Bearer<'a> {
    /// Who calls.
    pub(crate) caller: &'a Caller,
    /// The grant that the call is under; `None` for a token of another issuer.
    pub(crate) grant: Option<&'a GrantId>,
    /// Where the assertion about the caller is kept.
    pub(crate) slot: &'a AssertionSlot,
    /// The request that it is for.
    pub(crate) arrival: &'a Arrival,
}
