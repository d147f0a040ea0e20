//! Verifiers: each finds out whether a credential is good and who is calling, at its first use in this process.

mod api_key;
mod foreign;
mod own;

use std::sync::Arc;

pub(super) use api_key::ApiKeyVerifier;
pub(super) use foreign::{Chosen, ForeignTokens, Question};
pub(super) use own::OwnTokens;

use super::caller::VerifiedCaller;
use super::refusal::TokenFault;
use crate::audit::{Acting, Right};
use crate::model::ids::{ClientId, GrantId};

/// What is remembered of a token whose signature is good, or of a known API key.
#[derive(Clone)]
pub(super) enum Verified {
    /// Who calls with it.
    Good(Arc<VerifiedCaller>),
    /// Its grant had ended before its first use: it is refused for ever, without another read of the store.
    Ended(Arc<EndedCredential>),
}

/// A grant that had ended before the first use of its token.
pub(super) struct EndedCredential {
    pub(super) grant: GrantId,
    pub(super) subject: String,
    pub(super) client: ClientId,
}

impl EndedCredential {
    /// Who acted for whom, for the audit log.
    pub(super) fn acting(&self) -> Acting<'_> {
        Acting { right: Right::Grant(&self.grant), subject: &self.subject, client: &self.client }
    }
}

/// Why a token was not verified. All who asked at the same time share it.
#[derive(Debug, Clone)]
pub(super) enum Unverified {
    /// It is not good. The text is for the log.
    Invalid(&'static str),
    /// It is a token of another issuer and not good: the class for its client, words for the log.
    Unfit(TokenFault, &'static str),
    /// That cannot be known now. The words are for the log.
    Unavailable(String),
    /// Too many are looked up for its address; seconds to wait.
    Limited(u64),
}
