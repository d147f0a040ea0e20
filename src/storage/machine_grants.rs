//! Grants that no user consented to here: those of clients that act for themselves, and those of an assertion.
//!
//! Such a client asks again whenever its access token ends. So one grant of a subject, client, resource and scope lives at a
//! time and is extended: a machine that asks every minute does not fill the table.

use super::error::Failure;
use super::exclusive::Exclusive;
use super::grants::{self, columns};
use super::value::{json, values};
use super::{Priority, Store, StoreError};
use crate::clock::Timestamp;
use crate::model::grant::{Basis, Grant};
use crate::model::ids::GrantId;

sql! {
    FIND = concat!("
        SELECT ", columns!(), " FROM grants
        WHERE subject = $1 AND client_id = $2 AND resource = $3 AND scope = $4 AND basis = $5
          AND ended_at IS NULL AND expires_at >= $6
        ORDER BY expires_at DESC LIMIT 1");

    /// The outer condition is for a grant that ends while this statement waits for its row.
    EXTEND = concat!("
        UPDATE grants SET last_used_at = $6, user_claims = $7, expires_at = CASE WHEN expires_at > $8 THEN expires_at ELSE $8 END
        WHERE ended_at IS NULL AND id = (
            SELECT id FROM grants
            WHERE subject = $1 AND client_id = $2 AND resource = $3 AND scope = $4 AND basis = $5
              AND ended_at IS NULL AND expires_at > $6
            ORDER BY expires_at DESC LIMIT 1)
        RETURNING ", columns!());

    IS_ISSUER = "SELECT EXISTS (SELECT 1 FROM identities WHERE id = $1 AND issuer = $2)";

    /// Under the lock that `disabled_clients::DISABLE` takes: no grant begins after it.
    IS_DISABLED = "SELECT EXISTS (SELECT 1 FROM disabled_clients WHERE client_id = $1)";

    OF_BASIS = concat!("
        SELECT ", columns!(), " FROM grants
        WHERE basis = $1 AND ended_at IS NULL AND id > $2 ORDER BY id LIMIT $3");
}

/// The grant of a machine.
#[derive(Debug)]
pub enum MachineGrant {
    /// It existed and was extended.
    Extended(Grant),
    /// It is new.
    Begun(Grant),
    /// There is none: the operator disabled the client.
    ClientDisabled,
}

impl Store {
    /// The live grant of this subject, client, resource, scope and basis that lasts until `until` at least.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn machine_grant(
        &self,
        wanted: &Grant,
        basis: Basis,
        until: Timestamp,
    ) -> Result<Option<Grant>, StoreError> {
        let Grant { subject, client_id, resource, scope, .. } = wanted;
        let of = values![subject.as_str(), client_id.as_str(), resource, scope.to_string(), basis.as_str(), until];
        self.find(FIND, of).await
    }

    /// Extends the live grant of this subject, client, resource, scope and basis to the expiry of `wanted`, with its user
    /// claims, or keeps `wanted` when there is none. `issuer` is the one behind the identity, where there is one: `None` when
    /// another process has replaced it meanwhile.
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn keep_machine_grant(
        &self,
        wanted: Grant,
        basis: Basis,
        issuer: Option<&str>,
    ) -> Result<Option<MachineGrant>, StoreError> {
        let (subject, client) = (wanted.subject.clone(), wanted.client_id.clone());
        self.write(Priority::Token, Exclusive::MachineGrant(&subject, &client), async |tx| {
            if tx.one::<bool>(IS_DISABLED, values![client.as_str()]).await? {
                return Ok(Some(MachineGrant::ClientDisabled));
            }
            if let Some(issuer) = issuer {
                let stands: bool = tx.one(IS_ISSUER, values![wanted.identity.as_str(), issuer]).await?;
                if !stands {
                    return Ok(None);
                }
            }
            let extend = values![
                wanted.subject.as_str(),
                wanted.client_id.as_str(),
                &wanted.resource,
                wanted.scope.to_string(),
                basis.as_str(),
                wanted.created_at,
                json(&wanted.user)?,
                wanted.expires_at,
            ];
            let extended: Option<Grant> = tx.optional(EXTEND, extend).await?;
            if let Some(grant) = extended {
                return Ok(Some(MachineGrant::Extended(grant)));
            }
            grants::insert_on(tx, &wanted, basis).await?;
            Ok::<_, Failure>(Some(MachineGrant::Begun(wanted)))
        })
        .await
    }

    /// At most `count` live grants of a basis with ids after `after`, in the order of their ids; `None` begins.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn grants_of_basis(
        &self,
        basis: Basis,
        after: Option<&GrantId>,
        count: i64,
    ) -> Result<Vec<Grant>, StoreError> {
        self.list(OF_BASIS, values![basis.as_str(), after.map_or("", GrantId::as_str), count]).await
    }
}
