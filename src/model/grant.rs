//! One completed authorization: one user, one client, one resource, one family of refresh tokens.
//!
//! Defends against replay of refresh tokens: [`RefreshUse::replayed`] tells a lost response from a stolen token.

use super::authorization::ProviderStanding;
use super::client::{Authentication, Client};
use super::ids::{ClientId, GrantId, IdentityId, Subject};
use super::user::User;
use crate::clock::Timestamp;
use crate::oauth::dpop::Thumbprint;
use crate::oauth::scope::ScopeSet;
use crate::secret::Sha256;

/// How many live grants one user may hold with one client at one resource. Beyond it the least recently used ends.
pub const MAX_LIVE_GRANTS: i64 = 20;

/// A grant as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Its id; the `sid` of its access tokens.
    pub id: GrantId,
    /// The user.
    pub subject: Subject,
    /// The provider that signed the user in.
    pub identity: IdentityId,
    /// The client that acts for the user.
    pub client_id: ClientId,
    /// The audience.
    pub resource: String,
    /// The scope that was granted.
    pub scope: ScopeSet,
    /// The scope that the client requested; `None` when it requested none, and for grants of earlier versions.
    pub named_scope: Option<ScopeSet>,
    /// What the provider last said of the user.
    pub user: User,
    /// Its standing with the provider.
    pub standing: ProviderStanding,
    /// The key that its first bound token was bound to (RFC 9449 5), if it has a refresh token: see [`Self::is_proven_by`].
    pub bound_to: Option<Thumbprint>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires, however often it is refreshed.
    pub expires_at: Timestamp,
    /// When it ended: soon after `expires_at` at the latest.
    pub ended_at: Option<Timestamp>,
}

/// Where the tokens of a grant are, as far as the redemption of its code showed. The user is shown it, to tell one device from
/// another; nothing is decided by it, and it is erased when the grant ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holder {
    /// The host or the application that the code was sent to; `None` for a device that polled.
    pub receiver: Option<String>,
    /// The address of the client that redeemed the code.
    pub address: Option<String>,
    /// The family of its program, without a version.
    pub agent: Option<String>,
}

impl Grant {
    /// Whether its tokens are valid.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.ended_at.is_none() && now < self.expires_at
    }

    /// Whether a client that proves this key may use the refresh tokens of the grant (RFC 9449 5). Those of a public client are
    /// bound to the key of its first token. One that authenticates may have another key by now, but must have one: a grant that
    /// was bound never gives a bearer token again.
    #[must_use]
    pub fn is_proven_by(&self, client: &Client, key: Option<&Thumbprint>) -> bool {
        let Some(bound_to) = &self.bound_to else { return true };
        let authenticates = client.id == self.client_id && client.authentication != Authentication::None;
        key.is_some_and(|key| key == bound_to || authenticates)
    }
}

/// What a grant rests on when no user consented to it on a page of ours. It then has no refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The configuration lets the client act for itself (RFC 6749 4.4).
    ClientCredentials,
    /// An identity provider asserted that the client may act for the user (RFC 7523 2.1).
    Assertion,
    /// An operator made an API key.
    ApiKey,
}

impl Basis {
    /// As it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::Assertion => "assertion",
            Self::ApiKey => "api_key",
        }
    }

    /// Reads what was stored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::ClientCredentials, Self::Assertion, Self::ApiKey].into_iter().find(|basis| basis.as_str() == text)
    }
}

/// Why a grant ended; stored for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// Its code was replayed.
    CodeReplayed,
    /// One of its refresh tokens was replayed.
    RefreshTokenReplayed,
    /// The identity provider said that the user's session or account is over.
    IdentityProvider,
    /// The user had more than [`MAX_LIVE_GRANTS`].
    TooMany,
    /// It expired.
    Expired,
    /// Its last refresh token was not used in time.
    Unused,
    /// Its client has left the configuration, or may no longer do there what the grant allows.
    ClientRemoved,
    /// Its client deleted itself.
    ClientDeleted,
    /// Its identity provider has left the configuration or was replaced, or our client id there changed.
    IdentityChanged,
    /// Its client revoked a token of it (RFC 7009).
    Client,
    /// The operator ended it.
    Operator,
    /// The user ended it at their own page.
    User,
    /// The identity provider sent word that the user signed out there (OpenID Connect Back-Channel Logout).
    BackChannelLogout,
    /// A rule of the configuration keeps the user out: of the provider, of the server, or of a scope without which it cannot be
    /// entered.
    NotAdmitted,
}

impl EndReason {
    /// Whether the grant was ended by a decision or after an attack: its client must ask the user anew. A grant that merely
    /// wore out says nothing about what the user wants.
    #[must_use]
    pub const fn forgets_consent(self) -> bool {
        match self {
            Self::CodeReplayed
            | Self::RefreshTokenReplayed
            | Self::ClientRemoved
            | Self::ClientDeleted
            | Self::IdentityChanged
            | Self::Client
            | Self::Operator
            | Self::User
            | Self::NotAdmitted => true,
            Self::IdentityProvider | Self::TooMany | Self::Expired | Self::Unused | Self::BackChannelLogout => false,
        }
    }

    /// As it is stored and logged.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CodeReplayed => "code_replayed",
            Self::RefreshTokenReplayed => "refresh_token_replayed",
            Self::IdentityProvider => "identity_provider",
            Self::TooMany => "too_many",
            Self::Expired => "expired",
            Self::Unused => "unused",
            Self::ClientRemoved => "client_removed",
            Self::ClientDeleted => "client_deleted",
            Self::IdentityChanged => "identity_changed",
            Self::Client => "client",
            Self::Operator => "operator",
            Self::User => "user",
            Self::BackChannelLogout => "back_channel_logout",
            Self::NotAdmitted => "not_admitted",
        }
    }
}

/// A refresh token as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRefreshToken {
    /// The SHA-256 of the token.
    pub hash: Sha256,
    /// The grant that it belongs to.
    pub grant_id: GrantId,
    /// When it expires if it is not used.
    pub expires_at: Timestamp,
    /// Whether its client proved a key when it got the token. One that did not is a bearer token, whatever key its grant was bound
    /// to later: by a thief, perhaps.
    pub bound: bool,
    /// Its one use, if it was used.
    pub used: Option<RefreshUse>,
}

/// The one use of a refresh token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshUse {
    /// When it was used.
    pub at: Timestamp,
    /// The hash of the request's parameters.
    pub parameters: Sha256,
    /// The response, sealed under a key derived from the token itself; erased after the replay window.
    pub sealed_response: Option<Vec<u8>>,
    /// Whether its successor was used.
    pub successor_used: bool,
}

/// How a reused refresh token is answered (replay, OAuth 2.1 4.3.1): a lost response must not cost the user a sign-in, and a
/// stolen token must end the grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replay {
    /// The same response again.
    Repeat(Vec<u8>),
    /// `invalid_grant`, and nothing else happens.
    Refuse,
    /// `invalid_grant`, and the grant ends: two parties hold tokens of one family.
    End,
}

impl RefreshUse {
    /// Checks a reuse; `window` is the replay window, counted from the first use. `same_holder`: it comes from the client of the grant,
    /// which proves the key of the grant, if that has one.
    #[must_use]
    pub fn replayed(
        &self,
        same_holder: bool,
        parameters: &Sha256,
        now: Timestamp,
        window: std::time::Duration,
    ) -> Replay {
        let late = now >= self.at + window;
        if !same_holder || late || self.successor_used {
            return Replay::End;
        }
        match &self.sealed_response {
            Some(response) if self.parameters.same(parameters) => Replay::Repeat(response.clone()),
            _ => Replay::Refuse,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{RefreshUse, Replay};
    use crate::clock::Timestamp;
    use crate::secret::Sha256;

    #[test]
    fn refresh_response_is_repeated_only_to_its_client_with_the_same_parameters_within_the_window() {
        let (same, other) = (Sha256::of(b"same"), Sha256::of(b"other"));
        let used =
            RefreshUse { at: Timestamp(100), parameters: same, sealed_response: Some(vec![1]), successor_used: false };
        let window = Duration::from_secs(30);
        assert_eq!(used.replayed(true, &same, Timestamp(129), window), Replay::Repeat(vec![1]));
        assert_eq!(used.replayed(true, &other, Timestamp(129), window), Replay::Refuse);
        assert_eq!(used.replayed(false, &same, Timestamp(101), window), Replay::End);
        assert_eq!(used.replayed(true, &same, Timestamp(130), window), Replay::End);
        let spent = RefreshUse { successor_used: true, ..used };
        assert_eq!(spent.replayed(true, &same, Timestamp(101), window), Replay::End);
    }
}
