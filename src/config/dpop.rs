//! `dpop` and `dpop_replay` of `[[upstream]]`: whether its tokens are bound to a key of their client (RFC 9449).

use serde::Deserialize;

use super::api_keys::ApiKeys;
use super::problem::Mistake;
use super::reading::{Reading, Section};

/// The setting of an upstream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dpop {
    /// Which tokens it takes.
    pub tokens: BoundTokens,
    /// Where the proofs of its calls are remembered.
    pub replay: ProofReplay,
}

/// Which tokens an upstream takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BoundTokens {
    /// Bearer tokens alone; proofs are ignored.
    #[default]
    Off,
    /// Those of clients that prove a key are bound to it, the others are bearer tokens.
    Optional,
    /// Bound tokens alone.
    Required,
}

/// Where the proofs of calls are remembered, so that each is used once (replay).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProofReplay {
    /// In the memory of the process.
    #[default]
    Process,
    /// In the database too, for all replicas: each call writes there.
    Database,
}

impl Dpop {
    /// Whether bound tokens are taken at all.
    #[must_use]
    pub fn is_on(self) -> bool {
        self.tokens != BoundTokens::Off
    }

    /// Whether no others are taken.
    #[must_use]
    pub fn is_required(self) -> bool {
        self.tokens == BoundTokens::Required
    }
}

/// The two keys as they are written.
pub(super) struct Written {
    pub(super) dpop: Option<BoundTokens>,
    pub(super) replay: Option<ProofReplay>,
}

/// Checks the two.
pub(super) fn read(written: &Written, api_keys: &ApiKeys, section: &Section<'_>, reading: &mut Reading<'_>) -> Dpop {
    let dpop = Dpop { tokens: written.dpop.unwrap_or_default(), replay: written.replay.unwrap_or_default() };
    if dpop.replay == ProofReplay::Database && !dpop.is_on() {
        let mistake = Mistake::new("has no effect: dpop is off");
        reading.error(&section.at("dpop_replay"), mistake.hint("add dpop = \"optional\" or dpop = \"required\""));
    }
    if dpop.is_required() && api_keys.are_accepted() {
        let mistake = Mistake::new("is \"required\", but api_keys lets callers in who prove no key");
        reading.error(&section.at("dpop"), mistake.hint("write dpop = \"optional\", or remove api_keys"));
    }
    dpop
}
