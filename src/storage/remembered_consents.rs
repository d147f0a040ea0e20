//! Consents that their users asked to be remembered. They are stored here and not in a cookie, so that a user or an operator
//! can withdraw them on any replica; the browser has a random mark, whose hash is stored.
//!
//! Defends against: a consent that is used while it is being forgotten (the statement that uses it changes its row, in the
//! transaction that issues the code), and a table that grows without bound (`MOST` per user).

use super::engine::Transaction;
use super::error::Failure;
use super::exclusive::Exclusive;
use super::row::{FromRow, Row};
use super::value::values;
use super::{GrantFilter, Priority, Store, StoreError};
use crate::clock::Timestamp;
use crate::model::grant::Grant;
use crate::model::ids::{ClientId, ConsentId, IdentityId, Subject};
use crate::model::remembered_consent::{Allowed, RememberedConsent};
use crate::secret::Sha256;

/// How many consents of one user are remembered; beyond that the oldest is deleted.
const MOST: i64 = 100;
/// How many rows one transaction forgets.
const AT_ONCE: i64 = 500;

macro_rules! columns {
    () => {
        "r.id, r.subject, r.identity, r.issuer, r.client_id, r.client_hash, r.redirect_uri, r.resource, r.scope, r.refresh,
            r.created_at, d.name AS client_name
        FROM remembered_consents r LEFT JOIN client_documents d ON d.id = r.client_id"
    };
}

sql! {
    /// The user was asked again, so the latest page applies.
    KEEP = "
        INSERT INTO remembered_consents (id, subject, identity, issuer, browser_hash, client_id, client_hash, redirect_uri,
            resource, scope, refresh, created_at, last_used_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)
        ON CONFLICT (subject, browser_hash, client_id, redirect_uri, resource) DO UPDATE SET
            identity = excluded.identity, issuer = excluded.issuer, client_hash = excluded.client_hash, scope = excluded.scope,
            refresh = excluded.refresh, created_at = excluded.created_at, last_used_at = excluded.last_used_at";

    FORGET_SURPLUS = "
        DELETE FROM remembered_consents WHERE subject = $1 AND id IN (
            SELECT id FROM remembered_consents WHERE subject = $1 ORDER BY created_at DESC, id LIMIT 1000 OFFSET $2)";

    /// The requests for which a browser may skip the page, the last used first. `$3`: older ones have expired.
    IN_BROWSER = concat!("
        SELECT ", columns!(), "
        WHERE r.browser_hash = $1 AND r.client_id = $2 AND r.created_at > $3
        ORDER BY r.last_used_at DESC, r.id LIMIT 100");

    OF_SUBJECT = concat!("
        SELECT ", columns!(), "
        WHERE r.subject = $1 AND r.created_at > $2
        ORDER BY r.created_at DESC, r.id LIMIT 100");

    /// Holds the row until the commit: who forgets it waits, and then finds the code.
    USE = "
        UPDATE remembered_consents SET last_used_at = $1
        WHERE subject = $2 AND browser_hash = $3 AND client_id = $4 AND redirect_uri = $5 AND resource = $6 AND issuer = $7
          AND created_at > $8
        RETURNING client_id, client_hash, redirect_uri, resource, scope, refresh";

    FORGET_ONE = "
        DELETE FROM remembered_consents WHERE id = $1 AND subject = $2
        RETURNING client_id, client_hash, redirect_uri, resource, scope, refresh";

    FORGET_OF_SUBJECT = "DELETE FROM remembered_consents WHERE subject = $1";

    FORGET_OF_CLIENT = "DELETE FROM remembered_consents WHERE subject = $1 AND client_id = $2";

    FORGET_THOSE = "
        DELETE FROM remembered_consents WHERE id IN (
            SELECT id FROM remembered_consents
            WHERE id > $4 AND (CAST($1 AS TEXT) IS NULL OR subject = $1) AND (CAST($2 AS TEXT) IS NULL OR client_id = $2)
              AND (CAST($3 AS TEXT) IS NULL OR resource = $3)
            ORDER BY id LIMIT $5)
        RETURNING id";

    pub(super) DELETE_EXPIRED = "
        DELETE FROM remembered_consents WHERE id IN (
            SELECT id FROM remembered_consents WHERE created_at <= $1 ORDER BY created_at LIMIT $2)";
}

/// How the user consented to what a code grants.
#[derive(Debug, Clone, Copy)]
pub enum CodeConsent<'a> {
    /// On the page, without remembering it.
    Asked,
    /// On the page, to be remembered in the browser with this hash.
    Remember(&'a Sha256, &'a Allowed),
    /// Earlier, in the browser with this hash: the user who signed in must have allowed as much, after this time.
    Remembered(&'a Sha256, &'a Allowed, Timestamp),
}

/// The sign-in whose code is being issued.
#[derive(Clone, Copy)]
pub(super) struct IssuedFor<'a> {
    pub(super) subject: &'a Subject,
    /// The issuer of the user's provider in this process's configuration.
    pub(super) issuer: &'a str,
    pub(super) now: Timestamp,
}

impl FromRow for Allowed {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let row = row.of("remembered_consents");
        Ok(Self {
            client_id: ClientId::from(row.text("client_id")?),
            client_hash: row.sha256("client_hash")?,
            redirect_uri: row.text("redirect_uri")?,
            resource: row.text("resource")?,
            scope: row.scope("scope")?,
            refresh: row.get("refresh")?,
        })
    }
}

impl FromRow for RememberedConsent {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let allowed = Allowed::from_row(row)?;
        let row = row.of("remembered_consents");
        Ok(Self {
            id: ConsentId::from(row.text("id")?),
            subject: Subject::stored(row.text("subject")?),
            identity: IdentityId::from(row.text("identity")?),
            issuer: row.text("issuer")?,
            allowed,
            client_name: row.get("client_name")?,
            created_at: row.time("created_at")?,
        })
    }
}

impl Store {
    /// What users allowed a client in a browser after this time, the last used first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn consents_in_browser(
        &self,
        browser: &Sha256,
        client: &ClientId,
        since: Timestamp,
    ) -> Result<Vec<RememberedConsent>, StoreError> {
        self.list(IN_BROWSER, values![browser, client.as_str(), since]).await
    }

    /// What is remembered of a user's consents after this time, the latest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn consents_of(&self, subject: &Subject, since: Timestamp) -> Result<Vec<RememberedConsent>, StoreError> {
        self.list(OF_SUBJECT, values![subject.as_str(), since]).await
    }

    /// Forgets one of a user's consents, and returns what it was; `None` when this user has none with this id.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget_consent(&self, id: &ConsentId, subject: &Subject) -> Result<Option<Allowed>, StoreError> {
        let one = values![id.as_str(), subject.as_str()];
        self.write(Priority::Token, Exclusive::Nothing, async |tx| tx.optional(FORGET_ONE, one).await).await
    }

    /// Forgets all of a user's consents.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget_consents_of(&self, subject: &Subject) -> Result<(), StoreError> {
        self.execute(Priority::Token, Exclusive::Batch, FORGET_OF_SUBJECT, values![subject.as_str()]).await.map(drop)
    }

    /// Forgets the consents that could become grants that this filter matches.
    ///
    /// # Errors
    /// When the store fails; then some may be forgotten.
    pub(super) async fn forget_consents(&self, filter: &GrantFilter) -> Result<(), StoreError> {
        let GrantFilter { subject, client, resource } = filter;
        let mut last = String::new();
        loop {
            let next = self.write(Priority::Token, Exclusive::Batch, async |tx| {
                let those = values![subject.as_deref(), client.as_deref(), resource.as_deref(), &last, AT_ONCE];
                tx.all(FORGET_THOSE, those).await
            });
            let ids: Vec<String> = next.await?;
            match ids.into_iter().max() {
                Some(id) => last = id,
                None => return Ok(()),
            }
        }
    }
}

/// Applies the consent of a code that is being issued. `false` when the user who signed in did not allow as much.
pub(super) async fn apply(tx: &mut Transaction, consent: CodeConsent<'_>, to: IssuedFor<'_>) -> Result<bool, Failure> {
    match consent {
        CodeConsent::Asked => Ok(true),
        CodeConsent::Remember(browser, allowed) => keep(tx, browser, allowed, to).await.map(|()| true),
        CodeConsent::Remembered(browser, asked, since) => {
            let IssuedFor { subject, issuer, now } = to;
            let Allowed { client_id, redirect_uri, resource, .. } = asked;
            let one =
                values![now, subject.as_str(), browser, client_id.as_str(), redirect_uri, resource, issuer, since];
            let allowed: Option<Allowed> = tx.optional(USE, one).await?;
            Ok(allowed.is_some_and(|allowed| allowed.covers(asked)))
        }
    }
}

async fn keep(tx: &mut Transaction, browser: &Sha256, allowed: &Allowed, to: IssuedFor<'_>) -> Result<(), Failure> {
    let IssuedFor { subject, issuer, now } = to;
    let Allowed { client_id, client_hash, redirect_uri, resource, scope, refresh } = allowed;
    let (id, scope) = (ConsentId::random(), scope.to_string());
    let new = values![
        id.as_str(),
        subject.as_str(),
        subject.identity(),
        issuer,
        browser,
        client_id.as_str(),
        client_hash,
        redirect_uri,
        resource,
        scope,
        *refresh,
        now,
    ];
    tx.execute(KEEP, new).await?;
    tx.execute(FORGET_SURPLUS, values![subject.as_str(), MOST]).await?;
    Ok(())
}

/// Forgets the consent behind a grant that was ended: an equal grant must not come back without asking the user.
pub(super) async fn forget_like(tx: &mut Transaction, grant: &Grant) -> Result<(), Failure> {
    tx.execute(FORGET_OF_CLIENT, values![grant.subject.as_str(), grant.client_id.as_str()]).await?;
    Ok(())
}
