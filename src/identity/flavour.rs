//! What differs between products that speak OpenID Connect: one file for each, and this one that knows which to ask.
//!
//! Everything else in this folder, and all of `issuer`, asks here and names no product. A new product is a variant of
//! [`OidcFlavour`], a file with its departures from `generic`, and its line in each of the methods below. What Microsoft
//! Entra ID needs of them:
//!
//! | method | Entra ID |
//! |---|---|
//! | `issuer_is` | the configured tenants against the template `…/{tenantid}/v2.0`, filled with the token's `tid`, which must be a GUID; the signing key's own `issuer` member is checked in the same way. It sees the claims then, too |
//! | `key_of` | `tid.oid`: `sub` differs for each client, and addresses change hands |
//! | `outward_scopes` | `{App ID URI}/{scope}`: a bare scope would be resolved against Microsoft Graph. `openid`, `profile`, `email` and `offline_access` stay bare; the token endpoint is sent them again |
//! | `credentials` | a form with `client_assertion`, signed by us or read anew from a federated token's file: it becomes async then |
//! | `meaning` | by `error` and `suberror`, never by the AADSTS number |
//! | `session_end` | none: it states no end of a session with its tokens |
//! | `hint` | by the AADSTS number: it tells which setting of the app registration is meant |

use super::generic::{Credentials, Meaning, SecretIn, SessionEnd, Symptom};
use super::user_claims::UserClaims;
use super::{generic, keycloak};
use crate::config::{OidcFlavour, OidcSettings};
use crate::keys::Members;
use crate::oauth::scope::ScopeSet;

impl OidcFlavour {
    /// Whether an issuer that the provider states is the configured one (mix-up, RFC 9207).
    pub(super) fn issuer_is(self, configured: &str, stated: &str) -> bool {
        match self {
            Self::Generic | Self::Keycloak => generic::issuer_is(configured, stated),
        }
    }

    /// The provider's own unchanging id of a user.
    ///
    /// # Errors
    /// What is wrong with the claims, for the operator.
    pub(super) fn key_of(self, claims: &Members) -> Result<String, String> {
        match self {
            Self::Generic | Self::Keycloak => generic::key_of(claims),
        }
    }

    /// The configured scopes as the provider spells them.
    pub(super) fn outward_scopes(self, scopes: &ScopeSet) -> String {
        match self {
            Self::Generic | Self::Keycloak => generic::outward_scopes(scopes),
        }
    }

    /// The `prompt` of the authorization request (OpenID Connect Core 3.1.2.1). `offline`: whether it asks for `offline_access`.
    pub(super) fn prompt(self, offline: bool) -> Option<&'static str> {
        match self {
            Self::Generic => generic::prompt(offline),
            // it gives offline access without, and asks for consent where its client says so
            Self::Keycloak => None,
        }
    }

    /// Whether an ID token says all that the provider knows of the user.
    pub(super) fn says_all(self, said: &UserClaims) -> bool {
        match self {
            Self::Generic => generic::says_all(said),
            Self::Keycloak => keycloak::says_all(said),
        }
    }

    /// How we prove who we are at the token endpoint.
    pub(super) fn credentials(self, settings: &OidcSettings, secret_in: SecretIn) -> Credentials<'_> {
        match self {
            Self::Generic | Self::Keycloak => generic::credentials(settings, secret_in),
        }
    }

    /// What an error code of the provider means for us.
    pub(super) fn meaning(self, error: &str) -> Meaning {
        match self {
            Self::Generic => generic::meaning(error),
            Self::Keycloak => keycloak::meaning(error),
        }
    }

    /// The setting that a symptom is about.
    pub(super) fn hint(self, symptom: Symptom<'_>, identity: &str) -> Option<String> {
        match self {
            Self::Generic => generic::hint(symptom, identity),
            Self::Keycloak => keycloak::hint(symptom, identity),
        }
    }

    /// When the session behind a refresh token ends, by the `refresh_expires_in` that came with the token.
    pub(super) fn session_end(self, refresh_expires_in: Option<u64>) -> SessionEnd {
        match self {
            Self::Generic => generic::session_end(refresh_expires_in),
            Self::Keycloak => keycloak::session_end(refresh_expires_in),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;

    use super::{Meaning, OidcFlavour, SessionEnd, Symptom};

    const SYMPTOMS: [Symptom<'static>; 10] = [
        Symptom::Error("invalid_client"),
        Symptom::Error("unauthorized_client"),
        Symptom::Error("invalid_scope"),
        Symptom::Error("not_allowed"),
        Symptom::Error("unsupported_grant_type"),
        Symptom::Error("made_up"),
        Symptom::OtherIssuer,
        Symptom::NoMetadata(StatusCode::NOT_FOUND),
        Symptom::NoIss,
        Symptom::NoRefreshToken,
    ];

    #[test]
    fn the_quirks_of_one_product_run_for_that_product_alone() {
        let (generic, keycloak) = (OidcFlavour::Generic, OidcFlavour::Keycloak);
        for (error, of_generic, of_keycloak) in [
            ("temporarily_unavailable", Meaning::Unavailable, Meaning::AskAgain),
            ("not_allowed", Meaning::Other, Meaning::ScopeRefused),
            ("invalid_scope", Meaning::ScopeRefused, Meaning::ScopeRefused),
            ("server_error", Meaning::Unavailable, Meaning::Unavailable),
            ("invalid_grant", Meaning::SessionOver, Meaning::SessionOver),
            ("unauthorized_client", Meaning::ClientRefused, Meaning::ClientRefused),
            ("access_denied", Meaning::Denied, Meaning::Denied),
            ("login_required", Meaning::NotCompleted, Meaning::NotCompleted),
            ("invalid_request", Meaning::Other, Meaning::Other),
        ] {
            assert_eq!((generic.meaning(error), keycloak.meaning(error)), (of_generic, of_keycloak), "{error}");
        }
        let minute = SessionEnd::After(Duration::from_mins(1));
        for (stated, of_generic, of_keycloak) in [
            (None, SessionEnd::Unsaid, SessionEnd::Unsaid),
            (Some(60), minute, minute),
            (Some(0), SessionEnd::Open, SessionEnd::Never),
        ] {
            let ends = (generic.session_end(stated), keycloak.session_end(stated));
            assert_eq!(ends, (of_generic, of_keycloak), "{stated:?}");
        }
    }

    #[test]
    fn a_hint_names_a_product_only_for_that_product() {
        for symptom in SYMPTOMS {
            let hint = OidcFlavour::Generic.hint(symptom, "corp").unwrap_or_default();
            assert!(!hint.contains("Keycloak") && !hint.contains("realm"), "{symptom:?}: {hint}");
            let hint = OidcFlavour::Keycloak.hint(symptom, "corp");
            assert_eq!(hint.is_none(), matches!(symptom, Symptom::Error("made_up")), "{symptom:?}");
        }
    }
}
