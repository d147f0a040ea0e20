//! Grants while they live; their ends are next door, in `grant_ends`.

use super::error::Failure;
use super::rows::{Column, StandingRow, json};
use super::{Rotation, Store, StoreError, Transaction, Turn};
use crate::clock::Timestamp;
use crate::model::grant::Grant;
use crate::model::ids::{ClientId, GrantId, IdentityId, Subject};
use crate::secret::Sha256;

macro_rules! columns {
    () => {
        "id, subject, identity, client_id, resource, scope, named_scope, user_claims,
            provider_token, provider_offline, provider_ends_at, provider_renewable, created_at, expires_at, ended_at"
    };
}
pub(super) use columns;

sql! {
    INSERT = "
        INSERT INTO grants (id, subject, identity, client_id, resource, scope, user_claims,
            provider_token, provider_offline, provider_ends_at, provider_renewable, created_at, expires_at, last_used_at,
            named_scope)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $12, $14)";

    FIND = concat!("SELECT ", columns!(), " FROM grants WHERE id = $1");

    /// Only for a refresh token that is unused: its grant's row is then as the last rotation left it, and a holder that read
    /// the row before works with the provider's latest token.
    TAKE_LEASE = "
        UPDATE grants SET lease_holder = $2, lease_until = $3
        WHERE id = (SELECT grant_id FROM refresh_tokens WHERE hash = $1 AND used_at IS NULL)
          AND ended_at IS NULL AND expires_at > $4
          AND (lease_holder IS NULL OR lease_holder = $2 OR lease_until <= $4)";

    RELEASE_LEASE = "UPDATE grants SET lease_holder = NULL, lease_until = NULL WHERE id = $1 AND lease_holder = $2";

    RENEW = "
        UPDATE grants SET provider_token = $3, provider_offline = $4, provider_ends_at = $5, provider_renewable = $6,
            user_claims = COALESCE($7, user_claims), last_used_at = $8, lease_holder = NULL, lease_until = NULL
        WHERE id = $1 AND lease_holder = $2 AND ended_at IS NULL AND expires_at > $8";
}

#[derive(sqlx::FromRow)]
pub(super) struct GrantRow {
    id: String,
    subject: String,
    identity: String,
    client_id: String,
    resource: String,
    scope: String,
    named_scope: Option<String>,
    user_claims: String,
    #[sqlx(flatten)]
    standing: StandingRow,
    created_at: i64,
    expires_at: i64,
    ended_at: Option<i64>,
}

impl TryFrom<GrantRow> for Grant {
    type Error = StoreError;

    fn try_from(row: GrantRow) -> Result<Self, StoreError> {
        let column = |name| Column("grants", name);
        Ok(Self {
            id: GrantId::from(row.id),
            subject: Subject::stored(row.subject),
            identity: IdentityId::from(row.identity),
            client_id: ClientId::from(row.client_id),
            resource: row.resource,
            scope: column("scope").scope(&row.scope)?,
            named_scope: row.named_scope.map(|named| column("named_scope").scope(&named)).transpose()?,
            user: column("user_claims").json(&row.user_claims)?,
            standing: row.standing.into(),
            created_at: Timestamp(row.created_at),
            expires_at: Timestamp(row.expires_at),
            ended_at: row.ended_at.map(Timestamp),
        })
    }
}

impl Store {
    /// Finds a grant, ended or not. One that has ended no longer says who the user is.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn grant(&self, id: &GrantId) -> Result<Option<Grant>, StoreError> {
        self.read(async {
            let row: Option<GrantRow> = sqlx::query_as(FIND).bind(id.as_str()).fetch_optional(self.readers()).await?;
            Ok(row.map(Grant::try_from).transpose()?)
        })
        .await
    }

    /// Takes the refresh lease of a refresh token's grant for `holder` until `until`. `false` while another holder has it,
    /// when the token was used, and when the grant is not live. The holder may take it again.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn take_refresh_lease(
        &self,
        token: &Sha256,
        holder: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let lease = sqlx::query(TAKE_LEASE).bind(token.as_bytes().as_slice()).bind(holder).bind(until.0).bind(now.0);
        Ok(self.execute(Turn::Token, lease).await? == 1)
    }

    /// Gives the lease back, if it is still `holder`'s.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn release_refresh_lease(&self, id: &GrantId, holder: &str) -> Result<(), StoreError> {
        self.execute(Turn::Token, sqlx::query(RELEASE_LEASE).bind(id.as_str()).bind(holder)).await?;
        Ok(())
    }
}

/// Inserts a new grant.
pub(super) async fn insert(tx: &mut Transaction, grant: &Grant) -> Result<(), Failure> {
    sqlx::query(INSERT)
        .bind(grant.id.as_str())
        .bind(grant.subject.as_str())
        .bind(grant.identity.as_str())
        .bind(grant.client_id.as_str())
        .bind(&grant.resource)
        .bind(grant.scope.to_string())
        .bind(json(&grant.user)?)
        .bind(grant.standing.sealed_token.as_deref())
        .bind(grant.standing.offline)
        .bind(grant.standing.ends_at.map(|at| at.0))
        .bind(grant.standing.renewable)
        .bind(grant.created_at.0)
        .bind(grant.expires_at.0)
        .bind(grant.named_scope.as_ref().map(ToString::to_string))
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Notes a rotation and gives the lease back; `false` when the lease is not ours or the grant is not live.
pub(super) async fn renew(tx: &mut Transaction, rotation: &Rotation<'_>) -> Result<bool, Failure> {
    let renewed = sqlx::query(RENEW)
        .bind(rotation.grant.as_str())
        .bind(rotation.lease)
        .bind(rotation.standing.sealed_token.as_deref())
        .bind(rotation.standing.offline)
        .bind(rotation.standing.ends_at.map(|at| at.0))
        .bind(rotation.standing.renewable)
        .bind(rotation.user.map(json).transpose()?)
        .bind(rotation.now.0)
        .execute(&mut **tx)
        .await?;
    Ok(renewed.rows_affected() == 1)
}
