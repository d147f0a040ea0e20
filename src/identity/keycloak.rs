//! Where Keycloak departs from the standard, and what its operators have to set.

use http::StatusCode;

use super::generic::{self, Meaning, SessionEnd, Symptom};
use super::user_claims::UserClaims;

/// What its token endpoint answers, after the sign-in, when the user lacks the realm role `offline_access`.
const OFFLINE_NOT_ALLOWED: &str = "not_allowed";
/// What it redirects with when its login form is posted twice: the good answer never reached us, or comes beside this one.
const FORM_POSTED_TWICE: &str = "temporarily_unavailable";

const OTHER_ISSUER: &str = "Keycloak without --hostname names itself after the Host header it is reached by: \
     start it with --hostname=URL, and with --hostname-backchannel-dynamic=true when it is reached under two names";
const NO_METADATA: &str = "does the realm exist? `issuer` is https://HOST/realms/NAME; before Keycloak 17, and \
     with --http-relative-path=/auth, it is https://HOST/auth/realms/NAME";
const CLIENT_REFUSED: &str = "Keycloak shows the secret in the client's tab Credentials; the client must be enabled, \
     with client authentication and standard flow on";
const NO_ISS: &str = "in Keycloak `Exclude Issuer From Authentication Response` of our client must be off";
const NO_REFRESH_TOKEN: &str = "in Keycloak `Use refresh tokens` of our client must be on (tab Advanced, OpenID Connect \
     compatibility modes)";
const OFFLINE_REFUSED: &str = "give the user the realm role offline_access and the client the optional client scope offline_access, \
     or set standing = \"session\"";

const EXCHANGE_OFF: &str =
    "in Keycloak (26.2 and later) `Standard token exchange` of our client must be on (tab Settings, Capability config)";

pub(super) fn meaning(error: &str) -> Meaning {
    match error {
        OFFLINE_NOT_ALLOWED => Meaning::ScopeRefused,
        FORM_POSTED_TWICE => Meaning::AskAgain,
        _ => generic::meaning(error),
    }
}

/// The claims of its ID tokens are those of its mappers: one that is absent is empty, such as the groups of a user in none.
pub(super) fn says_all(said: &UserClaims) -> bool {
    said.names_user()
}

pub(super) fn hint(symptom: Symptom<'_>, identity: &str) -> Option<String> {
    let own = match symptom {
        Symptom::OtherIssuer => OTHER_ISSUER.to_owned(),
        Symptom::NoMetadata(StatusCode::NOT_FOUND) => NO_METADATA.to_owned(),
        Symptom::NoIss => NO_ISS.to_owned(),
        Symptom::NoRefreshToken => NO_REFRESH_TOKEN.to_owned(),
        Symptom::Error(OFFLINE_NOT_ALLOWED) => OFFLINE_REFUSED.to_owned(),
        Symptom::Error(error) if meaning(error) == Meaning::ClientRefused => {
            format!("check `client_id` and `client_secret` of identity {identity}; {CLIENT_REFUSED}")
        }
        Symptom::Error(_) | Symptom::NoMetadata(_) => return generic::hint(symptom, identity),
    };
    Some(own)
}

/// A `refresh_expires_in` of 0 marks an offline token.
pub(super) fn session_end(refresh_expires_in: Option<u64>) -> SessionEnd {
    match generic::session_end(refresh_expires_in) {
        SessionEnd::Open => SessionEnd::Never,
        stated => stated,
    }
}

/// Its codes for token exchange: `invalid_client` is about the target, since our own credentials are the ones that every refresh
/// proves.
pub(super) fn exchange_hint(error: &str, identity: &str) -> Option<String> {
    match error {
        "invalid_request" | "unsupported_grant_type" | "unauthorized_client" => Some(EXCHANGE_OFF.to_owned()),
        "invalid_client" => Some(format!(
            "`audience` in `delegation` of the upstream must be the client id of a client in the same realm; if Keycloak refuses \
             sign-ins too, check the credentials of identity {identity}"
        )),
        "invalid_scope" => Some(
            "`scopes` in `delegation` of the upstream must be client scopes of our client, default or optional".to_owned(),
        ),
        "access_denied" => Some(
            "our client must be in the audience of the user's token, and the audience must be available to it by a client scope \
             (Audience mapper, or a client role that the user has)"
                .to_owned(),
        ),
        _ => None,
    }
}
