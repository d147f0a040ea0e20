//! What differs between products that speak OpenID Connect: one file for each, and this one that knows which to ask.
//!
//! Everything else in this folder, and all of `issuer`, asks here and names no product. A new product is a variant of
//! [`OidcFlavour`], a file with its departures from `generic`, and its line in each of the methods below. How we prove who we are
//! is in `client_authentication`, because it may wait for something.

use super::exchange::{RedirectError, RedirectRefusal};
use super::generic::{Meaning, SessionEnd, Symptom};
use super::id_token::Unbelieved;
use super::token_endpoint::{ErrorDocument, Refusal};
use super::user_claims::{Reading, UserClaims};
use super::{entra, generic, keycloak};
use crate::config::OidcFlavour;
use crate::keys::{Members, SignedJwt, issuing_tenant};
use crate::oauth::scope::{OFFLINE_ACCESS, ScopeSet};
use crate::outbound::Diagnosis;
use crate::rights::GroupReader;
use crate::telemetry::excerpt;

impl OidcFlavour {
    /// Whether the issuer that the metadata name is the configured one (mix-up, OpenID Connect Discovery 4.3).
    pub(super) fn metadata_issuer_is(&self, configured: &str, stated: &str) -> bool {
        match self {
            Self::Generic | Self::Keycloak => generic::issuer_is(configured, stated),
            Self::Entra(settings) => entra::metadata_issuer_is(settings, stated),
        }
    }

    /// Whether the issuer on a redirect is the configured one (mix-up, RFC 9207 2.4). `metadata` is what the metadata name.
    pub(super) fn answer_issuer_is(&self, configured: &str, metadata: Option<&str>, stated: &str) -> bool {
        match self {
            Self::Generic | Self::Keycloak => generic::issuer_is(configured, stated),
            Self::Entra(settings) => entra::answer_issuer_is(settings, metadata, stated),
        }
    }

    /// Whether a token is of the issuer that the metadata name.
    ///
    /// # Errors
    /// What is wrong with the token, for the operator.
    pub(super) fn check_issuer(&self, issuer: &str, token: &SignedJwt) -> Result<(), String> {
        match self {
            Self::Generic | Self::Keycloak => generic::check_issuer(&token.claims, issuer),
            Self::Entra(_) => issuing_tenant(issuer, token).map(drop),
        }
    }

    /// The provider's own unchanging id of the user whom a token of that issuer names.
    ///
    /// # Errors
    /// What is wrong with the token, or why this user is not let in.
    pub(super) fn key_of(&self, issuer: &str, token: &SignedJwt) -> Result<String, Unbelieved> {
        match self {
            Self::Generic | Self::Keycloak => Ok(generic::key_of(&token.claims)?),
            Self::Entra(settings) => entra::key_of(settings, issuer, token),
        }
    }

    /// Whether an ID token says all that the provider knows of the user.
    pub(super) fn says_all(&self, said: &UserClaims) -> bool {
        match self {
            Self::Generic => generic::says_all(said),
            Self::Keycloak => keycloak::says_all(said),
            Self::Entra(_) => entra::says_all(),
        }
    }

    /// Whether these claims of the userinfo endpoint are about the user whom we know by this key.
    pub(super) fn is_user(&self, claims: &Members, key: &str) -> bool {
        match self {
            Self::Generic | Self::Keycloak => generic::key_of(claims).is_ok_and(|named| named == key),
            // the endpoint names no tenant, and is never asked
            Self::Entra(_) => false,
        }
    }

    /// Whether the provider names a refused refresh token by the standard's `invalid_grant` alone, so that every other refusal is
    /// about something else.
    pub(super) const fn names_refused_tokens(&self) -> bool {
        matches!(self, Self::Entra(_))
    }

    /// Whether the provider vouches for the user's e-mail address.
    fn email_is_verified(&self, claims: &Members) -> bool {
        match self {
            Self::Generic | Self::Keycloak => generic::email_is_verified(claims),
            Self::Entra(_) => entra::is_verified(claims),
        }
    }

    /// How the claims of a document are read.
    pub(super) fn reading<'a>(&self, claims: &Members, groups: &'a GroupReader, trust_email: bool) -> Reading<'a> {
        let domain_counts = !matches!(self, Self::Entra(_));
        Reading { groups, email_is_verified: self.email_is_verified(claims), trust_email, domain_counts }
    }

    /// The sources of groups that the token leaves out although the user has some.
    pub(super) fn leaves_groups_out(&self, claims: &Members, groups: &GroupReader) -> Vec<usize> {
        match self {
            Self::Generic | Self::Keycloak => Vec::new(),
            Self::Entra(_) => groups.places_of(|place| {
                // a pointer to a claim at the top is its name
                entra::leaves_groups_out(claims, place.strip_prefix('/').unwrap_or(place))
            }),
        }
    }

    /// Whether `offline_access` is asked for although the metadata may not list it.
    pub(super) const fn always_knows_offline_access(&self) -> bool {
        matches!(self, Self::Entra(_))
    }

    /// The configured scopes as the authorization endpoint spells them.
    pub(super) fn outward_scopes(&self, scopes: &ScopeSet) -> String {
        match self {
            Self::Generic | Self::Keycloak => scopes.to_string(),
            Self::Entra(settings) => entra::outward_scopes(settings, scopes),
        }
    }

    /// What the token endpoint is asked with besides the grant.
    pub(super) fn token_parameters(&self, scopes: &ScopeSet) -> Vec<(&'static str, String)> {
        match self {
            Self::Generic | Self::Keycloak => Vec::new(),
            Self::Entra(settings) => {
                let resource = settings.app_id_uri.clone().filter(|_| settings.send_resource);
                let scope = entra::token_scopes(settings, scopes);
                [("scope", scope)].into_iter().chain(resource.map(|uri| ("resource", uri))).collect()
            }
        }
    }

    /// What the authorization endpoint is asked with besides the request itself. `offline`: whether that asks for
    /// `offline_access`.
    pub(super) fn authorization_parameters(&self, offline: bool) -> Vec<(&'static str, String)> {
        match self {
            Self::Generic => generic::prompt(offline).map(|prompt| ("prompt", prompt.to_owned())).into_iter().collect(),
            // it gives offline access without a prompt, and asks for consent where its client says so
            Self::Keycloak => Vec::new(),
            Self::Entra(settings) => {
                let prompt = settings.prompt.map(|prompt| ("prompt", prompt.as_str().to_owned()));
                let resource = settings.app_id_uri.clone().filter(|_| settings.send_resource);
                prompt.into_iter().chain(resource.map(|uri| ("resource", uri))).collect()
            }
        }
    }

    /// Scopes of the request that the answer's `scope` does not name, by the names of the configuration. None where it names
    /// no scope, and where it is no fault to leave some out.
    pub(super) fn missing_scopes<'a>(&self, asked: &'a ScopeSet, answered: Option<&str>) -> Vec<&'a str> {
        let (Self::Entra(settings), Some(answered)) = (self, answered) else { return Vec::new() };
        let of_our_api = |scope: &&str| settings.app_id_uri.is_some() && !scope.contains('/') && !is_of_oidc(scope);
        let given: Vec<&str> = answered.split(' ').map(|scope| entra::inward_scope(settings, scope)).collect();
        asked.iter().filter(of_our_api).filter(|scope| !given.contains(scope)).collect()
    }

    /// What an error document of the token endpoint means, and what to say of it.
    pub(super) fn refusal(&self, document: &ErrorDocument, identity: &str) -> Refusal {
        let description = document.error_description.as_deref().unwrap_or_default();
        let meaning = self.meaning(&document.error, document.suberror(), document.claims().is_some());
        if let Self::Entra(_) = self
            && let Some(said) = entra::Aadsts::read(description, &document.numbers())
        {
            let told = said.explanation(matches!(meaning, Meaning::Denied));
            let hint = said.hint().map(str::to_owned).or_else(|| self.hint(Symptom::Error(&document.error), identity));
            return Refusal { meaning, said: format!("{} {said}", excerpt(&document.error)), hint, told: Some(told) };
        }
        let error = excerpt(&document.error);
        let said =
            if description.is_empty() { error.into_owned() } else { format!("{error} ({})", excerpt(description)) };
        Refusal { meaning, said, hint: self.hint(Symptom::Error(&document.error), identity), told: None }
    }

    /// What an error on the redirect means, and what to say of it.
    pub(super) fn redirect_refusal(&self, error: &RedirectError<'_>) -> RedirectRefusal {
        let meaning = self.meaning(error.error, None, false);
        let said = error.description.and_then(|description| match self {
            Self::Entra(_) => entra::Aadsts::read(description, &[]),
            Self::Generic | Self::Keycloak => None,
        });
        let Some(said) = said else {
            let description = error.description.map(excerpt).unwrap_or_default();
            return RedirectRefusal { meaning, diagnosis: Diagnosis::new(description), told: None };
        };
        let told = Some(said.explanation(meaning == Meaning::Denied));
        let diagnosis = Diagnosis::new(said.to_string());
        let diagnosis = match said.hint() {
            Some(hint) => diagnosis.with_hint(hint),
            None => diagnosis,
        };
        RedirectRefusal { meaning, diagnosis, told }
    }

    /// What an error code of the provider means for us, with what the token endpoint says beside it.
    fn meaning(&self, error: &str, suberror: Option<&str>, has_claims: bool) -> Meaning {
        match self {
            Self::Generic => generic::meaning(error),
            Self::Keycloak => keycloak::meaning(error),
            Self::Entra(_) => entra::meaning(error, suberror, has_claims),
        }
    }

    /// The setting that a symptom is about.
    pub(super) fn hint(&self, symptom: Symptom<'_>, identity: &str) -> Option<String> {
        match self {
            Self::Generic => generic::hint(symptom, identity),
            Self::Keycloak => keycloak::hint(symptom, identity),
            Self::Entra(settings) => entra::hint(settings, symptom, identity),
        }
    }

    /// What an error means where a token for another server is asked for: it is about other settings than at a sign-in. `None` leaves
    /// what [`Self::refusal`] says.
    pub(super) fn exchange_hint(&self, error: &str, identity: &str) -> Option<String> {
        match self {
            Self::Generic => generic::exchange_hint(error, identity),
            Self::Keycloak => keycloak::exchange_hint(error, identity),
            Self::Entra(_) => None,
        }
    }

    /// When the session behind a refresh token ends, by the `refresh_expires_in` that came with the token.
    pub(super) fn session_end(&self, refresh_expires_in: Option<u64>) -> SessionEnd {
        match self {
            Self::Generic => generic::session_end(refresh_expires_in),
            Self::Keycloak => keycloak::session_end(refresh_expires_in),
            Self::Entra(_) => entra::session_end(),
        }
    }
}

fn is_of_oidc(scope: &str) -> bool {
    matches!(scope, "openid" | "profile" | "email") || scope == OFFLINE_ACCESS
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
            for (suberror, has_claims) in [(None, false), (Some("basic_action"), true)] {
                let meanings =
                    (generic.meaning(error, suberror, has_claims), keycloak.meaning(error, suberror, has_claims));
                assert_eq!(meanings, (of_generic, of_keycloak), "{error}");
            }
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
