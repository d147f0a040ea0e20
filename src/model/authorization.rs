//! One attempt to get a code, from the user's consent to the redemption.
//!
//! ```text
//! Pending ──claim──► Claimed ──► CodeIssued ──redeem──► Redeemed
//!  │ │  ▲               │  │
//!  │ │  └── next round ─┘  └──► Refused
//!  │ └──────────────────────────►
//!  └── the user denies ─────────► Denied
//! ```
//! A form that is denied at once begins as `Denied`, and nothing follows.
//! Each arrow is one conditional statement in `storage`, so a second request for the same arrow finds it gone: that is the
//! defence against replay of forms, of provider answers and of codes.

use super::ids::{AuthorizationId, ClientId, GrantId, IdentityId, Subject};
use super::user::User;
use crate::clock::Timestamp;
use crate::oauth::dpop::Thumbprint;
use crate::oauth::pkce::{CodeChallenge, CodeVerifier};
use crate::oauth::scope::ScopeSet;
use crate::secret::{AccountSession, BrowserMark, Code, Sha256, Token, base64url, hmac_sha256, random, same_text};

/// A code is dead after this many failed redemptions.
pub const MAX_CODE_FAILURES: i64 = 5;

/// What a sign-in is for: who may begin it, and where its outcome goes. Against a confused deputy, it is read from the stored
/// authorization and never from the request that ends the sign-in: no answer of a provider can be turned to another purpose.
///
/// - Who may begin it: the one place that makes the variant, from a sealed form of its own kind that the user answered in the
///   browser that it was rendered for: `issuer::sign_in::Approvals`, `AccountSignIns` and `DeviceAnswers`.
/// - Where the outcome goes: `issuer::sign_in::Recipients::of` turns a purpose into a recipient.
/// - How it is stored: in `authorizations.purpose` and `authorizations.request`, see `storage::authorizations`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// A client asked at `/authorize` and waits for a code at its redirect URI.
    Client(ClientRequest),
    /// The user opens the page of their own grants. No client takes part, and no code is made.
    Account,
    /// A device polls `/token` with its device code (RFC 8628), which becomes a code when the user has signed in.
    Device(DeviceRequest),
}

impl Purpose {
    /// The client that gets a grant by it, and the audience, if there is one.
    #[must_use]
    pub fn asked(&self) -> Option<(&ClientId, &str)> {
        match self {
            Self::Client(request) => Some((&request.client_id, &request.resource)),
            Self::Account => None,
            Self::Device(DeviceRequest { access, .. }) => Some((&access.client_id, &access.resource)),
        }
    }
}

/// What a client gets when the user consents, however it asked.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Access {
    /// The client.
    pub client_id: ClientId,
    /// The upstream's canonical resource: the audience.
    pub resource: String,
    /// The scope that will be granted.
    pub scope: ScopeSet,
    /// The scopes that the client named, as far as they exist here; see [`ClientRequest::named_scope`].
    pub named_scope: Option<ScopeSet>,
    /// Whether a refresh token will be given.
    pub refresh: bool,
}

/// A device's request (RFC 8628 3.1) as the user answers it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DeviceRequest {
    /// The SHA-256 of the device code.
    pub device_code: Sha256,
    /// When the device stops asking.
    pub device_code_expires_at: Timestamp,
    /// What it asks for.
    #[serde(flatten)]
    pub access: Access,
}

/// A client's authorization request after every check: what the user consents to and what the code is bound to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ClientRequest {
    /// The client.
    pub client_id: ClientId,
    /// Where the code goes, byte for byte as requested.
    pub redirect_uri: String,
    /// The client's own `state`, echoed.
    pub state: Option<String>,
    /// The challenge of RFC 7636.
    pub code_challenge: String,
    /// The upstream's canonical resource: the audience.
    pub resource: String,
    /// The scope that will be granted.
    pub scope: ScopeSet,
    /// The scopes that the client named, as far as they exist here, `offline_access` included; `None` when it named none.
    /// Token responses name no others. (Authorizations stored by earlier versions do not have it.)
    #[serde(default)]
    pub named_scope: Option<ScopeSet>,
    /// Whether a refresh token will be given.
    pub refresh: bool,
    /// The key that must be proven to redeem the code (`dpop_jkt`, RFC 9449 10).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dpop_jkt: Option<Thumbprint>,
}

/// How the user consented.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Consent {
    /// On a page of ours, a moment ago.
    #[default]
    Asked,
    /// The same, and it is to be remembered in the browser whose mark has this hash.
    AskedOnce(Sha256),
    /// On a page of ours, earlier, in the browser whose mark has this hash. Until the user has signed in it is not known whether
    /// they are the one who consented.
    Remembered(Sha256),
}

impl Consent {
    /// The browser in which it is remembered.
    #[must_use]
    pub const fn browser(&self) -> Option<&Sha256> {
        match self {
            Self::Asked => None,
            Self::AskedOnce(browser) | Self::Remembered(browser) => Some(browser),
        }
    }
}

/// The secret that ties an authorization to one browser: the value of its binding cookie. It defends against login CSRF and
/// session fixation: an answer of the provider counts only in the browser that consented.
///
/// `state`, `nonce`, the PKCE verifier and the code are derived from it. The database therefore holds nothing that would help
/// an attacker who reads it, and a second POST of the same consent form leads to the very same request.
#[derive(Clone)]
pub struct Binding([u8; 32]);

impl Binding {
    /// The binding that follows from the secret of a rendered consent form.
    #[must_use]
    pub fn of_render(secret: &[u8]) -> Self {
        Self(hmac_sha256(secret, &[b"binding"]))
    }

    /// Reads the cookie.
    #[must_use]
    pub fn parse(cookie: &str) -> Option<Self> {
        let bytes = data_encoding::BASE64URL_NOPAD.decode(cookie.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// The cookie's value.
    #[must_use]
    pub fn expose(&self) -> String {
        base64url(&self.0)
    }

    /// The hash that is stored.
    #[must_use]
    pub fn sha256(&self) -> Sha256 {
        Sha256::of(&self.0)
    }

    fn derive(&self, label: &str, round: i64) -> [u8; 32] {
        hmac_sha256(&self.0, &[label.as_bytes(), b"\0", &round.to_be_bytes()])
    }

    /// The `state` for the provider in one round: the authorization's id, and a proof that it is this browser's.
    #[must_use]
    pub fn state(&self, id: &AuthorizationId, round: i64) -> String {
        format!("{id}.{}", base64url(&self.derive("state", round)))
    }

    /// Whether `state` is the one of this round; in constant time.
    #[must_use]
    pub fn is_state(&self, state: &str, id: &AuthorizationId, round: i64) -> bool {
        same_text(state, &self.state(id, round))
    }

    /// The `nonce` that the ID token of this round must carry.
    #[must_use]
    pub fn nonce(&self, round: i64) -> String {
        base64url(&self.derive("nonce", round))
    }

    /// Our own PKCE verifier towards the provider.
    #[must_use]
    pub fn code_verifier(&self, round: i64) -> CodeVerifier {
        CodeVerifier::from_bits(&self.derive("code_verifier", round))
    }

    /// The code for the client: it can be shown again to the browser that holds the cookie, and cannot be read from the
    /// database.
    #[must_use]
    pub fn code(&self, round: i64) -> Token<Code> {
        Token::from_bits(&self.derive("code", round))
    }

    /// The secret of the session at the user's own page that the sign-in opens: a repeated answer of the provider gives the
    /// same browser the same session.
    #[must_use]
    pub fn account_session(&self, round: i64) -> Token<AccountSession> {
        Token::from_bits(&self.derive("account session", round))
    }

    /// The mark of a browser that has none yet: posting a form twice gives the same one.
    #[must_use]
    pub fn browser_mark(&self) -> Token<BrowserMark> {
        Token::from_bits(&self.derive("browser mark", 0))
    }

    /// The CSRF token of our own sign-in form.
    #[must_use]
    pub fn form_token(&self) -> String {
        base64url(&self.derive("form", 0))
    }
}

impl std::fmt::Debug for Binding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[binding]")
    }
}

/// A new secret for one render of the consent page.
#[must_use]
pub fn render_secret() -> [u8; 32] {
    random()
}

/// Why the browser is sent to the provider once more, without asking the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnotherRound {
    /// The same request again, once per authorization: a form of the provider's was posted twice.
    Retry,
    /// A request without offline access, which the provider refused.
    WithoutOffline,
}

/// How far an authorization has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The user is at the identity provider.
    Pending,
    /// An answer arrived and is being worked on.
    Claimed,
    /// The client can redeem a code.
    CodeIssued,
    /// The code was redeemed.
    Redeemed,
    /// It ended in an error that the client was told.
    Refused,
    /// The user denied access on our page.
    Denied,
}

impl Stage {
    /// As it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Claimed => "claimed",
            Self::CodeIssued => "code_issued",
            Self::Redeemed => "redeemed",
            Self::Refused => "refused",
            Self::Denied => "denied",
        }
    }

    /// Reads what was stored.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Claimed, Self::CodeIssued, Self::Redeemed, Self::Refused, Self::Denied]
            .into_iter()
            .find(|stage| stage.as_str() == text)
    }
}

/// An authorization as it is stored. It is created when the user answers the consent page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// The id of the consent page that was answered.
    pub id: AuthorizationId,
    /// What the sign-in is for.
    pub purpose: Purpose,
    /// How the user consented to it.
    pub consent: Consent,
    /// The provider that the user chose; `None` when the user denied at once and was sent to no provider.
    pub identity: Option<IdentityId>,
    /// The SHA-256 of the browser's binding.
    pub binding_hash: Sha256,
    /// How often the browser was sent to the provider, counted from 0.
    pub round: i64,
    /// Whether this round asks the provider for offline access.
    pub offline: bool,
    /// Whether the one silent retry after a form posted twice was used.
    pub retried: bool,
    /// How far it has come.
    pub stage: Stage,
    /// When the user answered the consent page.
    pub created_at: Timestamp,
    /// The deadline for the provider's answer.
    pub expires_at: Timestamp,
}

impl Authorization {
    /// The record of a denial: it leads nowhere, and keeps a later approval of the same form from leading anywhere.
    #[must_use]
    pub fn denied(id: AuthorizationId, purpose: Purpose, binding: &Binding, now: Timestamp) -> Self {
        Self {
            id,
            purpose,
            consent: Consent::Asked,
            identity: None,
            binding_hash: binding.sha256(),
            round: 0,
            offline: false,
            retried: false,
            stage: Stage::Denied,
            created_at: now,
            expires_at: now,
        }
    }
}

impl ClientRequest {
    /// What the client asks for, without what binds the request to its browser and its redirect URI.
    #[must_use]
    pub fn into_access(self) -> Access {
        let Self { client_id, resource, scope, named_scope, refresh, .. } = self;
        Access { client_id, resource, scope, named_scope, refresh }
    }

    /// The code challenge as a type.
    #[must_use]
    pub fn challenge(&self) -> Option<CodeChallenge> {
        CodeChallenge::parse(&self.code_challenge)
    }
}

/// Who signed in, and what the provider gave us to ask again later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    /// The user: an id that never changes.
    pub subject: Subject,
    /// What the provider says of the user today.
    pub user: User,
    /// Our standing with the provider.
    pub standing: ProviderStanding,
}

/// How a grant stands with the identity provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderStanding {
    /// The provider's refresh token, sealed.
    pub sealed_token: Option<Vec<u8>>,
    /// Whether that token outlives the user's session there.
    pub offline: bool,
    /// The end that the provider stated for it.
    pub ends_at: Option<Timestamp>,
    /// Whether the provider gave what its standing needs; otherwise no refresh token may be given.
    pub renewable: bool,
    /// Which of the user's sign-ins brought an offline token, counted up by the store; 0 for one that is not shared. All grants
    /// of a user share the token of the latest one.
    pub line: i64,
    /// The hash of the provider's session that the sign-in came from, if the provider names it. It stays that of the sign-in when a
    /// later one brings another token.
    pub session: Option<Sha256>,
}

/// A code and what it stands for: the code of a client, or the device code of a device whose user has signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCode {
    /// What the user signed in for: which of the two it is.
    pub purpose: Purpose,
    /// The provider that signed the user in.
    pub identity: IdentityId,
    /// Who signed in.
    pub sign_in: SignIn,
    /// When the code expires.
    pub code_expires_at: Timestamp,
    /// Failed redemptions so far.
    pub failed_redemptions: i64,
    /// When it was redeemed, and the grant that it became.
    pub redeemed: Option<(Timestamp, GrantId)>,
}
