//! A caller whose token was verified, and what its right to call depends on.
//!
//! Defends against: use of a token after its grant ended or its signing key was withdrawn, also by a call that is already
//! open, and a token for another resource (confused deputy).

use std::future::pending;
use std::sync::Arc;

use super::refusal::{ENDED, KEY_WITHDRAWN, Refusal, TOKEN_ENDED};
use super::token_watch::TokenWatch;
use crate::audit::{Acting, Right};
use crate::clock::Timestamp;
use crate::delegation::{Bearer, IdentityHeaders};
use crate::keys::{KeyWatch, Validity};
use crate::model::caller::Caller;
use crate::model::ids::GrantId;
use crate::oauth::dpop::Thumbprint;
use crate::revocation::GrantWatch;
use crate::wire::Arrival;

/// The result of verifying a token, kept as long as the token is cached.
pub(super) struct VerifiedCaller {
    pub(super) caller: Caller,
    /// The resource that the token is for.
    pub(super) audience: String,
    /// The key that the token is bound to, which each call must prove (RFC 9449); a bearer token has none.
    pub(super) key_bound_to: Option<Thumbprint>,
    /// What the upstream is told of the caller.
    pub(super) identity: IdentityHeaders,
    /// When the right to call ends by itself. A call may outlive its token, but not this.
    pub(super) expires_at: Timestamp,
    /// What can end the right to call before that.
    pub(super) under: Under,
    /// The key that signed the token: the holder of a stolen key can forge callers.
    pub(super) key: KeyWatch,
    /// When the token itself is good.
    pub(super) validity: Validity,
}

/// What a caller calls under. Everything that holds a caller asks here.
pub(super) enum Under {
    /// A grant of ours, which may end at any time.
    Grant(GrantId, Arc<GrantWatch>),
    /// A token of another issuer.
    Token(ForeignToken),
}

/// A token of another issuer. A JWT only its `exp` ends; of any other the issuer may say that it has ended.
pub(super) struct ForeignToken {
    issuer: Box<str>,
    watch: Option<TokenWatch>,
}

impl ForeignToken {
    /// A token of the issuer with this id, which nothing but time ends.
    pub(super) fn of(issuer: &str) -> Self {
        Self { issuer: issuer.into(), watch: None }
    }

    /// A token that its issuer is asked about.
    pub(super) fn watched(issuer: &str, watch: TokenWatch) -> Self {
        Self { issuer: issuer.into(), watch: Some(watch) }
    }
}

impl Under {
    fn has_ended(&self) -> bool {
        match self {
            Self::Grant(_, watch) => watch.has_ended(),
            Self::Token(token) => token.watch.as_ref().is_some_and(TokenWatch::has_ended),
        }
    }

    async fn ended(&self) {
        match self {
            Self::Grant(_, watch) => watch.ended().await,
            Self::Token(ForeignToken { watch: Some(watch), .. }) => watch.ended().await,
            Self::Token(_) => pending().await,
        }
    }

    const fn end(&self) -> &'static str {
        match self {
            Self::Grant(..) => ENDED,
            Self::Token(_) => TOKEN_ENDED,
        }
    }

    /// The grant, if it is one.
    const fn grant(&self) -> Option<&GrantId> {
        match self {
            Self::Grant(grant, _) => Some(grant),
            Self::Token(_) => None,
        }
    }

    /// The bytes of its texts.
    fn size(&self) -> usize {
        match self {
            Self::Grant(grant, _) => grant.as_str().len(),
            Self::Token(token) => token.issuer.len() + token.watch.as_ref().map_or(0, |watch| watch.size),
        }
    }
}

impl VerifiedCaller {
    /// Who acts for whom, for the audit log.
    pub(super) fn acting(&self) -> Acting<'_> {
        let right = match &self.under {
            Under::Grant(grant, _) => Right::Grant(grant),
            Under::Token(token) => Right::Token { issuer: &token.issuer },
        };
        Acting { right, subject: &self.caller.subject, client: &self.caller.client }
    }

    /// The id of the issuer whose token it is; `None` for our own.
    pub(super) fn issuer(&self) -> Option<&str> {
        match &self.under {
            Under::Grant(..) => None,
            Under::Token(token) => Some(&token.issuer),
        }
    }

    /// For whom a credential is made that the upstream gets.
    pub(super) const fn bearer<'a>(&'a self, arrival: &'a Arrival) -> Bearer<'a> {
        Bearer { caller: &self.caller, grant: self.under.grant(), slot: &self.identity.assertion, arrival }
    }

    /// Why the right to call ends by itself.
    pub(super) const fn end(&self) -> &'static str {
        self.under.end()
    }
}

impl AsRef<Caller> for VerifiedCaller {
    fn as_ref(&self) -> &Caller {
        &self.caller
    }
}

impl VerifiedCaller {
    /// Whether it calls under a grant of ours that has ended.
    pub(super) fn has_ended_grant(&self) -> bool {
        self.is_under_grant() && self.under.has_ended()
    }

    /// Whether it calls under a grant of ours.
    pub(super) const fn is_under_grant(&self) -> bool {
        matches!(self.under, Under::Grant(..))
    }

    /// Checks that nothing has ended the right to call: two atomic reads.
    ///
    /// # Errors
    /// What ended it.
    pub(super) fn check_stands(&self) -> Result<(), &'static str> {
        if self.under.has_ended() {
            return Err(self.under.end());
        }
        if self.key.is_withdrawn() { Err(KEY_WITHDRAWN) } else { Ok(()) }
    }

    /// Completes with the reason once the right to call has ended.
    pub(super) async fn ended(&self) -> &'static str {
        tokio::select! {
            biased;
            () = self.under.ended() => self.under.end(),
            () = self.key.withdrawn() => KEY_WITHDRAWN,
        }
    }

    /// Checks the token again: it may have expired, its grant may have ended, or its key may have been withdrawn, since it was
    /// verified.
    ///
    /// # Errors
    /// When the token is no longer good.
    pub(super) fn check_now(&self, now: Timestamp) -> Result<(), Refusal> {
        self.validity.check(now).map_err(Refusal::InvalidToken)?;
        self.check_stands().map_err(Refusal::InvalidToken)
    }

    /// Checks whether the token is for this resource (RFC 8707 2, RFC 9068 4; MCP, token audience).
    ///
    /// # Errors
    /// When it is for another one.
    pub(super) fn check_audience(&self, resource: &str) -> Result<(), Refusal> {
        if self.audience == resource { Ok(()) } else { Err(Refusal::InvalidToken("the token is for another resource")) }
    }

    /// The bytes of its texts.
    pub(super) fn size(&self) -> usize {
        let Caller { subject, identity, client, scope, user, kept_out: _ } = &self.caller;
        let user_names = [&user.name, &user.preferred_username, &user.email, &user.domain].into_iter().flatten();
        let user = user_names.chain(&user.groups).map(String::len).sum::<usize>();
        let ids =
            self.under.size() + subject.len() + identity.as_str().len() + client.as_str().len() + self.audience.len();
        ids + user + scope.to_string().len() + self.identity.size()
    }
}

#[cfg(test)]
impl VerifiedCaller {
    /// A caller under this grant, for tests of what lives under it.
    pub(super) fn under(grant: Arc<GrantWatch>) -> Self {
        Self {
            caller: Caller {
                subject: "".into(),
                identity: "".into(),
                client: "".into(),
                scope: crate::oauth::scope::ScopeSet::empty(),
                user: crate::model::user::User::default(),
                kept_out: None,
            },
            audience: String::new(),
            key_bound_to: None,
            identity: IdentityHeaders::default(),
            expires_at: Timestamp(i64::MAX),
            under: Under::Grant("".into(), grant),
            key: KeyWatch::default(),
            validity: Validity::ALWAYS,
        }
    }

    /// A caller under a grant that nothing ends.
    pub(super) fn of_grant(id: &str) -> Self {
        let clock = crate::clock::Clock::system();
        Self::under(crate::revocation::Revocation::new(clock).watch(&id.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::VerifiedCaller;
    use crate::clock::{Clock, Timestamp};
    use crate::revocation::Revocation;

    #[test]
    fn a_verified_caller_is_refused_once_its_grant_has_ended_and_at_every_other_resource() {
        let revocation = Revocation::new(Clock::manual(Timestamp(1000)));
        let caller = VerifiedCaller::under(revocation.watch(&"g_1".into()));
        let caller = VerifiedCaller { audience: "https://a/mcp".to_owned(), ..caller };
        assert!(caller.check_now(Timestamp(1000)).is_ok());
        assert!(caller.check_audience("https://a/mcp").is_ok());
        for other in ["", "https://a/mcp/", "https://a/mc", "https://b/mcp", "HTTPS://a/mcp"] {
            assert!(caller.check_audience(other).is_err(), "{other}");
        }
        revocation.note_ended(&"g_1".into());
        assert!(caller.check_now(Timestamp(1000)).is_err());
    }
}
