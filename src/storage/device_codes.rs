//! Device codes (RFC 8628), until a while after their end. The user's answer is an authorization of its own, to which the
//! device code points. The device code serves as its code, so it is issued, redeemed and cancelled by the statements of
//! `codes`.
//!
//! Defends against: replay (a device code is answered once and redeemed once, however many ask at the same time), and a flood
//! (`MAX_OPEN`).

use std::time::Duration;

use super::error::Failure;
use super::exclusive::Exclusive::Nothing;
use super::row::{FromRow, Row};
use super::value::{json, values};
use super::{Priority, Store, StoreError, authorizations};
use crate::clock::Timestamp;
use crate::model::authorization::{Access, Authorization, DeviceRequest, Stage};
use crate::model::device_code::{MAX_OPEN, NewDeviceCode, OpenDeviceCode, PolledDeviceCode};
use crate::secret::Sha256;

/// How long a device code stays after its expiry: a device that polls late is told `expired_token`.
pub(super) const MARGIN: Duration = Duration::from_mins(10);

sql! {
    /// As many as are inserted at the same moment may exceed the limit: it bounds the table, and nothing depends on its exact
    /// value.
    INSERT = "
        INSERT INTO device_codes (hash, user_code, request, address, agent, poll_interval, created_at, expires_at)
        SELECT $1, $2, $3, $4, $5, $6, $7, $8
        WHERE (SELECT count(*) FROM device_codes WHERE expires_at > $7) < $9
        ON CONFLICT DO NOTHING";

    COUNT_OPEN = "SELECT count(*) FROM device_codes WHERE expires_at > $1";

    FIND_BY_USER_CODE = "
        SELECT hash, request, address, agent, created_at, expires_at, authorization_id
        FROM device_codes WHERE user_code = $1 AND expires_at > $2";

    POLL = "
        SELECT d.request, d.poll_interval, d.expires_at, d.authorization_id, a.stage
        FROM device_codes d LEFT JOIN authorizations a ON a.id = d.authorization_id
        WHERE d.hash = $1";

    SLOW_DOWN = "
        UPDATE device_codes SET poll_interval = poll_interval + $2 WHERE hash = $1 AND poll_interval < $3";

    ANSWER = "
        UPDATE device_codes SET authorization_id = $2
        WHERE hash = $1 AND authorization_id IS NULL AND expires_at > $3";

    pub(super) DELETE_EXPIRED = "
        DELETE FROM device_codes WHERE hash IN (
            SELECT hash FROM device_codes WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)";
}

/// The outcome of an answer to a device code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceAnswer {
    /// It was recorded.
    Recorded,
    /// The form was posted before.
    Posted,
    /// The device code was answered from another form, or has expired; nothing was recorded.
    Closed,
}

impl FromRow for OpenDeviceCode {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let row = row.of("device_codes");
        let answered: Option<String> = row.get("authorization_id")?;
        Ok(Self {
            request: DeviceRequest {
                device_code: row.sha256("hash")?,
                device_code_expires_at: row.time("expires_at")?,
                access: row.json("request")?,
            },
            address: row.text("address")?,
            agent: row.get("agent")?,
            created_at: row.time("created_at")?,
            answered: answered.is_some(),
        })
    }
}

impl FromRow for PolledDeviceCode {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let row = row.of("device_codes");
        let access: Access = row.json("request")?;
        let answered: Option<String> = row.get("authorization_id")?;
        let stage: Option<String> = row.get("stage")?;
        let stage = stage.map(|stage| Stage::parse(&stage).ok_or_else(|| row.corrupt("stage"))).transpose()?;
        Ok(Self {
            client_id: access.client_id,
            interval: row.get("poll_interval")?,
            expires_at: row.time("expires_at")?,
            // the authorization of a denial is deleted before the device code may be
            answer: answered.map(|_| stage.unwrap_or(Stage::Denied)),
        })
    }
}

impl Store {
    /// Remembers a device code. `false` when its user code is taken, or too many are open.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn insert_device_code(&self, new: &NewDeviceCode<'_>) -> Result<bool, StoreError> {
        let inserted = self.write(Priority::Approval, Nothing, async |tx| {
            let access = json(new.access)?;
            let row = values![
                new.hash,
                new.user_code,
                access,
                new.address,
                new.agent,
                new.interval,
                new.created_at,
                new.expires_at,
                MAX_OPEN,
            ];
            tx.execute(INSERT, row).await
        });
        Ok(inserted.await? == 1)
    }

    /// How many device codes have not expired.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn count_open_device_codes(&self, now: Timestamp) -> Result<i64, StoreError> {
        Ok(self.find(COUNT_OPEN, values![now]).await?.unwrap_or_default())
    }

    /// Finds a device code that has not expired by (the MAC of) its user code.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn device_code_of_user(
        &self,
        user_code: &Sha256,
        now: Timestamp,
    ) -> Result<Option<OpenDeviceCode>, StoreError> {
        self.find(FIND_BY_USER_CODE, values![user_code, now]).await
    }

    /// The state of a device code for a device that polls with it: a single read.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn poll_device_code(&self, hash: &Sha256) -> Result<Option<PolledDeviceCode>, StoreError> {
        self.find(POLL, values![hash]).await
    }

    /// Lengthens the interval of a device that polls too often, up to `longest`, for every process.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn slow_device_down(&self, hash: &Sha256, by: i64, longest: i64) -> Result<(), StoreError> {
        self.execute(Priority::Approval, Nothing, SLOW_DOWN, values![hash, by, longest]).await?;
        Ok(())
    }

    /// Records a user's answer, an approval that begins a sign-in or a denial, as the one answer to its device code.
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn answer_device_code(
        &self,
        device_code: &Sha256,
        answer: &Authorization,
        now: Timestamp,
    ) -> Result<DeviceAnswer, StoreError> {
        self.write(Priority::Approval, Nothing, async |tx| {
            if !authorizations::insert(tx, answer).await? {
                return Ok(DeviceAnswer::Posted);
            }
            if tx.execute(ANSWER, values![device_code, answer.id.as_str(), now]).await? == 1 {
                return Ok(DeviceAnswer::Recorded);
            }
            tx.undo();
            Ok(DeviceAnswer::Closed)
        })
        .await
    }
}
