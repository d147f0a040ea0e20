//! Authorizations: each step of `model::authorization::Stage` is one conditional statement. The steps of their codes are in
//! `codes`.
//!
//! Defends against: replay and races. If two callers take a step at once, one of them succeeds.

use std::time::Duration;

use super::engine::Transaction;
use super::error::Failure;
use super::exclusive::Exclusive::Nothing;
use super::row::{Columns, FromRow, Row};
use super::value::{json, values};
use super::{Priority, Store, StoreError};
use crate::clock::Timestamp;
use crate::model::authorization::{AnotherRound, Authorization, Consent, Purpose, Stage};
use crate::model::ids::{AuthorizationId, IdentityId};

/// How long an authorization stays after its expiry: an answer that came at the last moment is still being processed. A later
/// browser is shown the same page whether the row is there or not.
pub(super) const MARGIN: Duration = Duration::from_mins(1);

macro_rules! columns {
    () => {
        "id, purpose, request, identity, binding_hash, round, offline, retried, stage, created_at, expires_at, consent_browser"
    };
}
pub(super) use columns;

sql! {
    INSERT = "
        INSERT INTO authorizations (id, client_id, request, identity, binding_hash, round, offline, retried, stage,
            created_at, expires_at, purpose, consent_browser)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
        ON CONFLICT (id) DO NOTHING";

    FIND = concat!("SELECT ", columns!(), " FROM authorizations WHERE id = $1");

    CLAIM = "
        UPDATE authorizations SET stage = 'claimed'
        WHERE id = $1 AND round = $2 AND stage = 'pending' AND expires_at > $3";

    NEXT_ROUND = "
        UPDATE authorizations SET stage = 'pending', round = round + 1, offline = (offline AND NOT $3), retried = (retried OR $4)
        WHERE id = $1 AND round = $2 AND stage IN ('pending', 'claimed') AND NOT (retried AND $4)";

    REFUSE = "
        UPDATE authorizations SET stage = 'refused'
        WHERE id = $1 AND round = $2 AND stage IN ('pending', 'claimed')";

    WITHDRAW = "UPDATE authorizations SET stage = 'denied' WHERE id = $1 AND stage = 'pending'";

    /// `$3`: a form that was rendered before it can no longer be posted.
    pub(super) DELETE_UNREDEEMED = "
        DELETE FROM authorizations WHERE id IN (
            SELECT id FROM authorizations
            WHERE redeemed_at IS NULL AND expires_at <= $1 AND (code_expires_at IS NULL OR code_expires_at <= $2)
              AND created_at <= $3
            ORDER BY expires_at LIMIT $4)";

    pub(super) DELETE_REDEEMED = "
        DELETE FROM authorizations WHERE id IN (
            SELECT id FROM authorizations WHERE redeemed_at <= $1 ORDER BY redeemed_at LIMIT $2)";
}

impl FromRow for Authorization {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        read(row.of("authorizations"))
    }
}

fn purpose(row: Columns<'_>) -> Result<Purpose, Failure> {
    match row.text("purpose")?.as_str() {
        "client" | "remembered" => Ok(Purpose::Client(row.json("request")?)),
        "account" => Ok(Purpose::Account),
        "device" => Ok(Purpose::Device(row.json("request")?)),
        _ => Err(row.corrupt("purpose")),
    }
}

/// A client's sign-in whose consent was remembered has a purpose of its own, so that a release that would not compare the user
/// refuses it.
fn consent(row: Columns<'_>) -> Result<Consent, Failure> {
    match (row.optional_sha256("consent_browser")?, row.text("purpose")?.as_str()) {
        (Some(browser), "remembered") => Ok(Consent::Remembered(browser)),
        (None, "remembered") => Err(row.corrupt("consent_browser")),
        (Some(browser), _) => Ok(Consent::AskedOnce(browser)),
        (None, _) => Ok(Consent::Asked),
    }
}

/// The stored form of a purpose: its name, and the JSON of its request.
fn stored(purpose: &Purpose, consent: Consent) -> Result<(&'static str, String), Failure> {
    Ok(match purpose {
        Purpose::Client(request) if matches!(consent, Consent::Remembered(_)) => ("remembered", json(request)?),
        Purpose::Client(request) => ("client", json(request)?),
        Purpose::Account => ("account", "{}".to_owned()),
        Purpose::Device(request) => ("device", json(request)?),
    })
}

/// Reads what [`columns`] names.
pub(super) fn read(row: Columns<'_>) -> Result<Authorization, Failure> {
    let identity = row.text("identity")?;
    Ok(Authorization {
        id: AuthorizationId::from(row.text("id")?),
        purpose: purpose(row)?,
        consent: consent(row)?,
        identity: (!identity.is_empty()).then(|| IdentityId::from(identity)),
        binding_hash: row.sha256("binding_hash")?,
        round: row.get("round")?,
        offline: row.get("offline")?,
        retried: row.get("retried")?,
        stage: Stage::parse(&row.text("stage")?).ok_or_else(|| row.corrupt("stage"))?,
        created_at: row.time("created_at")?,
        expires_at: row.time("expires_at")?,
    })
}

impl Store {
    /// Begins an authorization, or records a denial (whose column `identity` is empty). `false` when the id is taken: the
    /// form was posted before.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn insert_authorization(&self, authorization: &Authorization) -> Result<bool, StoreError> {
        self.write(Priority::Approval, Nothing, async |tx| insert(tx, authorization).await).await
    }

    /// Finds an authorization, expired or not.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn authorization(&self, id: &AuthorizationId) -> Result<Option<Authorization>, StoreError> {
        self.find(FIND, values![id.as_str()]).await
    }

    /// `Pending` → `Claimed`, for the first answer in this round that comes before the authorization expires.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn claim_authorization(
        &self,
        id: &AuthorizationId,
        round: i64,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        Ok(self.execute(Priority::SignIn, Nothing, CLAIM, values![id.as_str(), round, now]).await? == 1)
    }

    /// `Pending` or `Claimed` in `from_round` → `Pending` in the next round.
    /// A retry happens once per authorization: `false` when it was used.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn next_round(
        &self,
        id: &AuthorizationId,
        from_round: i64,
        why: AnotherRound,
    ) -> Result<bool, StoreError> {
        let (without_offline, retry) = (why == AnotherRound::WithoutOffline, why == AnotherRound::Retry);
        let next = values![id.as_str(), from_round, without_offline, retry];
        Ok(self.execute(Priority::Claimed, Nothing, NEXT_ROUND, next).await? == 1)
    }

    /// `Pending` or `Claimed` in this round → `Refused`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn refuse_authorization(&self, id: &AuthorizationId, round: i64) -> Result<bool, StoreError> {
        Ok(self.execute(Priority::Claimed, Nothing, REFUSE, values![id.as_str(), round]).await? == 1)
    }

    /// `Pending` → `Denied` in any round: the user withdraws while no answer has come.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn withdraw_authorization(&self, id: &AuthorizationId) -> Result<bool, StoreError> {
        Ok(self.execute(Priority::SignIn, Nothing, WITHDRAW, values![id.as_str()]).await? == 1)
    }
}

/// Inserts an authorization; `false` when the id is taken.
pub(super) async fn insert(tx: &mut Transaction, authorization: &Authorization) -> Result<bool, Failure> {
    let (purpose, request) = stored(&authorization.purpose, authorization.consent)?;
    let new = values![
        authorization.id.as_str(),
        authorization.purpose.asked().map_or("", |(client, _)| client.as_str()),
        request,
        authorization.identity.as_ref().map_or("", IdentityId::as_str),
        &authorization.binding_hash,
        authorization.round,
        authorization.offline,
        authorization.retried,
        authorization.stage.as_str(),
        authorization.created_at,
        authorization.expires_at,
        purpose,
        authorization.consent.browser(),
    ];
    Ok(tx.execute(INSERT, new).await? == 1)
}
