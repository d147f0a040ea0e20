//! Grants while they live; how they end is in `grant_ends`.

use std::slice;

use super::engine::Transaction;
use super::error::Failure;
use super::exclusive::Exclusive;
use super::row::{FromRow, Row};
use super::value::{json, values};
use super::{Priority, Store, StoreError, shared_tokens};
use crate::clock::Timestamp;
use crate::model::authorization::ProviderStanding;
use crate::model::grant::{Basis, Grant, Holder};
use crate::model::ids::{ClientId, GrantId, IdentityId, Subject};
use crate::model::user::User;
use crate::oauth::dpop::Thumbprint;
use crate::secret::Sha256;

macro_rules! columns {
    () => {
        "id, subject, identity, client_id, resource, scope, named_scope, user_claims,
            provider_token, provider_offline, provider_ends_at, provider_renewable, provider_line, provider_session, dpop_jkt,
            created_at, expires_at, ended_at"
    };
}
pub(super) use columns;

/// The end of a statement that takes a lease: only where no one has it, and no grant that shares the provider's token has one.
macro_rules! if_free {
    () => {
        "
          AND (lease_holder IS NULL OR lease_holder = $2 OR lease_until <= $4)
          AND NOT EXISTS (
              SELECT 1 FROM grants o
              WHERE o.subject = grants.subject AND o.id <> grants.id AND o.ended_at IS NULL AND o.basis IS NULL
                AND o.provider_offline AND grants.provider_offline AND o.lease_until > $4)
        RETURNING provider_token, provider_offline, provider_ends_at, provider_renewable, provider_line, provider_session"
    };
}

sql! {
    INSERT = "
        INSERT INTO grants (id, subject, identity, client_id, resource, scope, user_claims,
            provider_token, provider_offline, provider_ends_at, provider_renewable, created_at, expires_at, last_used_at,
            named_scope, basis, receiver, address, agent, device, dpop_jkt, provider_line, provider_session)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $12, $14, $15, $16, $17, $18, $19, $20, $21, $22)";

    FIND = concat!("SELECT ", columns!(), " FROM grants WHERE id = $1");

    /// Only for a refresh token that is unused: what a holder read of its grant before is then as the last rotation left it. The
    /// provider's token may have come from another grant of the user since, so it is answered; and while another grant that
    /// shares it has a lease, there is none: a provider that rotates takes the second use of a token for theft.
    TAKE_LEASE = concat!("
        UPDATE grants SET lease_holder = $2, lease_until = $3
        WHERE id = (SELECT grant_id FROM refresh_tokens WHERE hash = $1 AND used_at IS NULL)
          AND ended_at IS NULL AND expires_at > $4", if_free!());

    /// The same for a grant itself, while it rests on a token of the provider's.
    TAKE_LEASE_OF_GRANT = concat!("
        UPDATE grants SET lease_holder = $2, lease_until = $3
        WHERE id = $1 AND ended_at IS NULL AND expires_at > $4 AND basis IS NULL AND provider_token IS NOT NULL", if_free!());

    /// What a renewal brought, kept under the lease, which it releases.
    KEEP_RENEWAL = "
        UPDATE grants SET user_claims = COALESCE($3, user_claims), lease_holder = NULL, lease_until = NULL
        WHERE id = $1 AND lease_holder = $2 AND ended_at IS NULL AND expires_at > $4";

    RELEASE_LEASE = "UPDATE grants SET lease_holder = NULL, lease_until = NULL WHERE id = $1 AND lease_holder = $2";
}

impl FromRow for Grant {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let row = row.of("grants");
        Ok(Self {
            id: GrantId::from(row.text("id")?),
            subject: Subject::stored(row.text("subject")?),
            identity: IdentityId::from(row.text("identity")?),
            client_id: ClientId::from(row.text("client_id")?),
            resource: row.text("resource")?,
            scope: row.scope("scope")?,
            named_scope: row.optional_scope("named_scope")?,
            user: row.json("user_claims")?,
            standing: row.standing()?,
            bound_to: row.optional_sha256("dpop_jkt")?.map(Thumbprint::new),
            created_at: row.time("created_at")?,
            expires_at: row.time("expires_at")?,
            ended_at: row.optional_time("ended_at")?,
        })
    }
}

/// How a grant stands whose lease was taken.
struct Leased(ProviderStanding);

impl FromRow for Leased {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        Ok(Self(row.of("grants").standing()?))
    }
}

impl Store {
    /// Finds a grant, ended or not. One that has ended no longer says who the user is.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn grant(&self, id: &GrantId) -> Result<Option<Grant>, StoreError> {
        self.find(FIND, values![id.as_str()]).await
    }

    /// Takes the refresh lease of a refresh token's grant for `holder` until `until`, and answers how the grant stands with the
    /// provider. `None` while another holder has it, or the lease of another grant of the user that shares an offline token;
    /// when the refresh token was used; and when the grant is not live. The holder may take it again.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn take_refresh_lease(
        &self,
        token: &Sha256,
        holder: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<ProviderStanding>, StoreError> {
        let lease = values![token, holder, until, now];
        let leased =
            self.write(Priority::Token, Exclusive::UserOf(token), async |tx| tx.optional(TAKE_LEASE, lease).await);
        Ok(leased.await?.map(|Leased(standing)| standing))
    }

    /// The same by the grant, for a renewal that no refresh token asks for.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn take_lease_of_grant(
        &self,
        id: &GrantId,
        holder: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<ProviderStanding>, StoreError> {
        let lease = values![id.as_str(), holder, until, now];
        let leased = self.write(Priority::Token, Exclusive::UsersOf(slice::from_ref(id)), async |tx| {
            tx.optional(TAKE_LEASE_OF_GRANT, lease).await
        });
        Ok(leased.await?.map(|Leased(standing)| standing))
    }

    /// Keeps what the provider answered to a renewal under such a lease, and releases the lease. `false`, and nothing happened, when
    /// the lease is not `holder`'s any more or the grant is not live.
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn keep_renewal(
        &self,
        grant: &Grant,
        holder: &str,
        renewed: (Option<&ProviderStanding>, Option<&User>),
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (standing, user) = renewed;
        self.write(Priority::Token, Exclusive::UsersOf(slice::from_ref(&grant.id)), async |tx| {
            let kept = values![grant.id.as_str(), holder, user.map(json).transpose()?, now];
            if tx.execute(KEEP_RENEWAL, kept).await? != 1 {
                return Ok(false);
            }
            if let Some(standing) = standing {
                shared_tokens::renew(tx, &grant.id, standing).await?;
            }
            Ok(true)
        })
        .await
    }

    /// Releases the lease, if it is still `holder`'s.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn release_refresh_lease(&self, id: &GrantId, holder: &str) -> Result<(), StoreError> {
        self.execute(Priority::Token, Exclusive::Nothing, RELEASE_LEASE, values![id.as_str(), holder]).await?;
        Ok(())
    }
}

/// Inserts a new grant that a user consented to.
pub(super) async fn insert(tx: &mut Transaction, grant: &Grant, holder: &Holder) -> Result<(), Failure> {
    insert_with(tx, grant, holder, None).await
}

/// Inserts a new grant without a user's consent.
pub(super) async fn insert_on(tx: &mut Transaction, grant: &Grant, basis: Basis) -> Result<(), Failure> {
    insert_with(tx, grant, &Holder::default(), Some(basis)).await
}

async fn insert_with(
    tx: &mut Transaction,
    grant: &Grant,
    holder: &Holder,
    basis: Option<Basis>,
) -> Result<(), Failure> {
    let new = values![
        grant.id.as_str(),
        grant.subject.as_str(),
        grant.identity.as_str(),
        grant.client_id.as_str(),
        &grant.resource,
        grant.scope.to_string(),
        json(&grant.user)?,
        grant.standing.sealed_token.as_deref(),
        grant.standing.offline,
        grant.standing.ends_at,
        grant.standing.renewable,
        grant.created_at,
        grant.expires_at,
        grant.named_scope.as_ref().map(ToString::to_string),
        basis.map(Basis::as_str),
        holder.receiver.as_deref(),
        holder.address.as_deref(),
        holder.agent.as_deref(),
        // a code without a redirect URI is a device's
        basis.is_none() && holder.receiver.is_none(),
        grant.bound_to.as_ref().map(Thumbprint::sha256),
        grant.standing.line,
        grant.standing.session.as_ref(),
    ];
    tx.execute(INSERT, new).await?;
    Ok(())
}
