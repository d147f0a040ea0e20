//! One attempt to get a code, from the user's consent to the redemption.
//!
//! ```text
//! Pending ──claim──► Claimed ──► CodeIssued ──redeem──► Redeemed
//!  │ │  ▲               │  │
//!  │ │  └── next round ─┘  └──► Refused
//!  │ └──────────────────────────►
//!  └── the user denies ─────────► Denied
//! ```
//! A form that is denied at once begins with `Denied`, and nothing follows.
//! Every arrow is one conditional statement in `storage`: whoever comes second finds the arrow gone.

use super::ids::{AuthorizationId, ClientId, GrantId, IdentityId, Subject};
use super::user::User;
use crate::clock::Timestamp;
use crate::oauth::pkce::{CodeChallenge, CodeVerifier};
use crate::oauth::scope::ScopeSet;
use crate::secret::{Code, Sha256, Token, base64url, hmac_sha256, random, same_text};

/// How many failed redemptions a code survives: the fifth ends it.
pub const MAX_CODE_FAILURES: i64 = 5;

/// What a client asked for, after every check: what consent is about and what the code will be bound to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AuthorizationRequest {
    /// Who asks.
    pub client_id: ClientId,
    /// Where the code goes, byte for byte as requested.
    pub redirect_uri: String,
    /// The client's own `state`, echoed.
    pub state: Option<String>,
    /// RFC 7636.
    pub code_challenge: String,
    /// The upstream's canonical resource: the audience.
    pub resource: String,
    /// What will be granted.
    pub scope: ScopeSet,
    /// What the client named of all that can be had here, `offline_access` included; `None` when it named no scope at all.
    /// Token answers name no more. (Authorizations of earlier versions do not have it.)
    #[serde(default)]
    pub named_scope: Option<ScopeSet>,
    /// Whether a refresh token will be given.
    pub refresh: bool,
}

/// The secret that ties an authorization to one browser: the value of its binding cookie.
///
/// Everything that the provider's leg needs follows from it, so the database holds nothing that would help a reader of it,
/// and a second POST of the same consent form leads to the very same request.
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

    /// What the row keeps of it.
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

    /// The code for the client: whoever holds the cookie can be shown it again, the database cannot tell it.
    #[must_use]
    pub fn code(&self, round: i64) -> Token<Code> {
        Token::from_bits(&self.derive("code", round))
    }

    /// What a sign-in form of ours must carry.
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

/// Why the browser is sent to the provider once more, without asking anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnotherRound {
    /// The same again, once per authorization: a form of the provider's was posted twice.
    Retry,
    /// Without offline access, which the provider refused.
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

/// An authorization as it is stored. It begins to exist when the user answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// The id of the consent page that was answered.
    pub id: AuthorizationId,
    /// What the user was asked.
    pub request: AuthorizationRequest,
    /// The provider that the user chose; empty when the answer was no.
    pub identity: IdentityId,
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
    /// When consent was given, or refused.
    pub created_at: Timestamp,
    /// Until when the provider may answer.
    pub expires_at: Timestamp,
}

impl Authorization {
    /// The code's challenge, as a type.
    #[must_use]
    pub fn code_challenge(&self) -> Option<CodeChallenge> {
        CodeChallenge::parse(&self.request.code_challenge)
    }
}

/// Who signed in, and what the provider gave us to ask again later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    /// The user, for ever.
    pub subject: Subject,
    /// The user, today.
    pub user: User,
    /// What we hold at the provider.
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
}

/// An authorization whose code was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedCode {
    /// The authorization.
    pub authorization: Authorization,
    /// Who signed in.
    pub sign_in: SignIn,
    /// Until when the code is good.
    pub code_expires_at: Timestamp,
    /// Failed tries so far.
    pub failures: i64,
    /// When it was redeemed, and the grant that it became.
    pub redeemed: Option<(Timestamp, GrantId)>,
}
