//! Verifiers: each finds out whether a token is good and who is calling, at the token's first use in this process. A
//! verifier for the tokens of another authorization server becomes a file beside `own.rs`.

mod own;

use std::sync::Arc;

pub(super) use own::OwnTokens;

use super::caller::VerifiedCaller;

/// What is remembered of a token whose signature is good.
#[derive(Clone)]
pub(super) enum Verified {
    /// Who calls with it.
    Good(Arc<VerifiedCaller>),
    /// Its grant had ended before its first use: it is refused for ever, without another read of the store.
    Ended,
}

/// Why a token was not verified. All who asked at the same time share it.
#[derive(Debug, Clone)]
pub(super) enum Unverified {
    /// It is not good. The words are for the log.
    Invalid(&'static str),
    /// That cannot be known now. The words are for the log.
    Unavailable(String),
}
