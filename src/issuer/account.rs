//! The user's own page: what they granted, and how they end it.
//!
//! Defends against: CSRF (each form carries a token that follows from the session's secret), and acting for another user (every
//! statement names the session's own subject; a grant of another user is answered as one that does not exist).

use std::sync::Arc;

use super::clients::Clients;
use super::grants::GrantEnds;
use super::resources::{AccessView, Resources};
use super::sign_in::{AccountEntryView, Fault, FormPage, Remembering, Sessions};
use crate::audit::{Audit, Event};
use crate::clock::{Clock, Timestamp};
use crate::identity::{Identities, Provider};
use crate::model::account::{AccountSession, OwnGrant};
use crate::model::client::ClientOrigin;
use crate::model::grant::{EndReason, Holder};
use crate::model::ids::{ConsentId, GrantId, Subject};
use crate::model::remembered_consent::{Allowed, RememberedConsent};
use crate::oauth::client_id_url::publisher;
use crate::oauth::redirect_uri::RedirectPolicy;
use crate::secret::{self, Token, base64url, hmac_sha256, same_text};
use crate::storage::Store;
use crate::wire::Arrival;

/// How many grants the page shows. The others can only be ended all at once.
const SHOWN: i64 = 200;

/// Shows users their grants and ends them.
pub(super) struct Accounts {
    pub(super) sessions: Sessions,
    pub(super) clients: Clients,
    pub(super) resources: Resources,
    pub(super) identities: Identities,
    pub(super) ends: GrantEnds,
    pub(super) remembering: Remembering,
    pub(super) audit: Audit,
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) public_url: Arc<str>,
}

/// What a browser that opens the page is shown.
#[derive(Debug)]
pub(crate) enum AccountPage {
    /// The user's grants.
    SignedIn(Box<AccountView>),
    /// A form to sign in.
    SignedOut(FormPage<AccountEntryView>),
}

/// The page of a user who is signed in.
#[derive(Debug)]
pub struct AccountView {
    /// The user.
    pub user: AccountUser,
    /// The grants, the last used one first.
    pub grants: Vec<GrantView>,
    /// Whether there are more than the page shows.
    pub more: bool,
    /// The remembered consents, the latest first.
    pub remembered: Vec<RememberedView>,
    /// The current second.
    pub now: Timestamp,
}

/// The user of a page, and what its forms carry.
#[derive(Debug)]
pub struct AccountUser {
    /// What the user is called, or the key by which the provider knows them.
    pub name: String,
    /// What people call the provider.
    pub identity_name: String,
    /// The CSRF token.
    pub form_token: String,
}

/// One grant.
#[derive(Debug)]
pub struct GrantView {
    /// Its id.
    pub id: String,
    /// The client's id.
    pub client_id: String,
    /// The client's name, if it has one.
    pub client_name: Option<String>,
    /// Where that name comes from.
    pub origin: ClientOrigin,
    /// Where its tokens were sent.
    pub holder: Holder,
    /// What it allows.
    pub access: AccessView,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was made or renewed last.
    pub last_used_at: Timestamp,
}

/// A consent that is remembered in one browser.
#[derive(Debug)]
pub struct RememberedView {
    /// Its id.
    pub id: String,
    /// The client's id.
    pub client_id: String,
    /// The client's name, if it has one.
    pub client_name: Option<String>,
    /// Where that name comes from.
    pub origin: ClientOrigin,
    /// What it may do without a question.
    pub access: AccessView,
    /// The host that receives the codes.
    pub receiver: String,
    /// When the user was asked.
    pub created_at: Timestamp,
    /// Until when they are not asked again.
    pub until: Timestamp,
}

/// The question whether to end grants.
#[derive(Debug)]
pub struct EndView {
    /// Whose page it is.
    pub user: AccountUser,
    /// The one to end; `None` for all.
    pub grant: Option<GrantView>,
    /// The current second.
    pub now: Timestamp,
}

/// Which grants to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// One.
    One(GrantId),
    /// All of the user.
    All,
}

/// The secret of a session, from its cookie.
pub(crate) type SessionCookie = Token<secret::AccountSession>;

impl Accounts {
    /// The page of a session; `None` when it has ended.
    pub(super) async fn page(&self, cookie: &SessionCookie) -> Result<Option<AccountView>, Fault> {
        let Some(session) = self.sessions.used(cookie).await? else { return Ok(None) };
        let now = self.clock.now();
        let mut grants = self.store.own_grants(&session.subject, now, SHOWN + 1).await?;
        let shown = usize::try_from(SHOWN).unwrap_or(usize::MAX);
        let more = grants.len() > shown;
        grants.truncate(shown);
        let grants = grants.into_iter().map(|grant| self.view(grant)).collect();
        let remembered = self.remembered(&session.subject).await?;
        Ok(Some(AccountView { user: self.user(&session, cookie), grants, more, remembered, now }))
    }

    async fn remembered(&self, subject: &Subject) -> Result<Vec<RememberedView>, Fault> {
        let known = self.store.consents_of(subject, self.remembering.since()).await?;
        Ok(known.into_iter().map(|consent| self.remembered_view(consent)).collect())
    }

    fn remembered_view(&self, consent: RememberedConsent) -> RememberedView {
        let RememberedConsent { id, allowed, client_name, created_at, .. } = consent;
        let configured = self.clients.configured(&allowed.client_id);
        let receiver = RedirectPolicy::default().parse(&allowed.redirect_uri).map(|uri| uri.receiver());
        RememberedView {
            id: id.to_string(),
            client_id: allowed.client_id.to_string(),
            origin: configured.map_or(ClientOrigin::Document, |client| client.origin),
            client_name: configured.map_or(client_name, |client| client.name.clone()),
            access: self.resources.access_view(&allowed.resource, &allowed.scope, allowed.refresh),
            // only https is remembered, which every policy accepts
            receiver: receiver.unwrap_or(allowed.redirect_uri),
            created_at,
            until: created_at + self.remembering.settings.remember_for,
        }
    }

    /// Forgets a remembered consent of the session's user. Does nothing for the consent of another user, or when the session
    /// has ended.
    pub(super) async fn forget(
        &self,
        cookie: &SessionCookie,
        form_token: &str,
        id: &ConsentId,
        arrival: &Arrival,
    ) -> Result<(), Fault> {
        let Some(session) = self.proven(cookie, form_token).await? else { return Ok(()) };
        let subject = &session.subject;
        if let Some(Allowed { client_id: client, resource, .. }) = self.store.forget_consent(id, subject).await? {
            let forgotten = Event::ConsentForgotten { subject, client: &client, resource: &resource };
            self.audit.record(&forgotten, arrival);
        }
        Ok(())
    }

    /// The question whether to end grants; `None` when there is nothing to end, or the session has ended.
    pub(super) async fn question(&self, cookie: &SessionCookie, which: &Ending) -> Result<Option<EndView>, Fault> {
        let Some(session) = self.sessions.used(cookie).await? else { return Ok(None) };
        let (now, user) = (self.clock.now(), self.user(&session, cookie));
        let Ending::One(id) = which else { return Ok(Some(EndView { user, grant: None, now })) };
        let grants = self.store.own_grants(&session.subject, now, SHOWN).await?;
        let grant = grants.into_iter().find(|grant| grant.id == *id);
        Ok(grant.map(|grant| EndView { user, grant: Some(self.view(grant)), now }))
    }

    /// Ends grants of the session's user. Does nothing for grants of another user, or when the session has ended.
    pub(super) async fn end(
        &self,
        cookie: &SessionCookie,
        form_token: &str,
        which: &Ending,
        arrival: &Arrival,
    ) -> Result<(), Fault> {
        let Some(session) = self.proven(cookie, form_token).await? else { return Ok(()) };
        match which {
            Ending::One(id) => {
                if self.store.is_own_grant(id, &session.subject).await? {
                    self.ends.end(id, EndReason::User, arrival).await?;
                }
            }
            Ending::All => self.ends.end_all_of_user(&session.subject, &cookie.sha256(), arrival).await?,
        }
        Ok(())
    }

    /// Ends a session.
    pub(super) async fn sign_out(&self, cookie: &SessionCookie, form_token: &str) -> Result<(), Fault> {
        if self.proven(cookie, form_token).await?.is_some() {
            self.store.end_account_session(&cookie.sha256()).await?;
        }
        Ok(())
    }

    /// The session of a form (CSRF); `None` when it has ended.
    async fn proven(&self, cookie: &SessionCookie, form_token: &str) -> Result<Option<AccountSession>, Fault> {
        if !same_text(form_token, &self.form_token(cookie)) {
            return Err(Fault::not_ours("a form of the account page without the token of its session"));
        }
        self.sessions.used(cookie).await
    }

    fn form_token(&self, cookie: &SessionCookie) -> String {
        let message = [b"account form\0", self.public_url.as_bytes()];
        base64url(&hmac_sha256(cookie.expose().as_bytes(), &message))
    }

    fn user(&self, session: &AccountSession, cookie: &SessionCookie) -> AccountUser {
        let provider = self.identities.get(session.identity.as_str());
        AccountUser {
            name: session.name.clone().unwrap_or_else(|| session.subject.key().to_owned()),
            identity_name: provider.map(Provider::name).unwrap_or_default().to_owned(),
            form_token: self.form_token(cookie),
        }
    }

    fn view(&self, grant: OwnGrant) -> GrantView {
        let configured = self.clients.configured(&grant.client_id);
        let unconfigured = match publisher(grant.client_id.as_str()) {
            Some(_) => ClientOrigin::Document,
            None => ClientOrigin::Registered,
        };
        GrantView {
            id: grant.id.to_string(),
            client_id: grant.client_id.to_string(),
            origin: configured.map_or(unconfigured, |client| client.origin),
            client_name: configured.map_or(grant.client_name, |client| client.name.clone()),
            holder: grant.holder,
            access: self.resources.access_view(&grant.resource, &grant.scope, grant.refresh),
            created_at: grant.created_at,
            last_used_at: grant.last_used_at,
        }
    }
}
