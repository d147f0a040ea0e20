//! What the rest of the file must have for the credential of an upstream.

use super::{AssertionSettings, CredentialSource, ProviderCredential, ProviderGrant, TABLE};
use crate::config::problem::Mistake;
use crate::config::reading::{Reading, Section};
use crate::config::upstream::UpstreamSettings;
use crate::config::{
    EntraSettings, Identity, IdentityKind, OidcFlavour, OidcSettings, PublicUrl, ServerCredential, Standing, Upstream,
};
use crate::oauth::resource::ResourceUri;
use crate::oauth::scope::OFFLINE_ACCESS;

/// The rest of the file, as far as it matters here.
pub(in crate::config) struct Surroundings<'a> {
    pub(in crate::config) public_url: Option<&'a PublicUrl>,
    pub(in crate::config) identities: &'a [Identity],
    /// Whether every identity could be read: one with a mistake may be meant.
    pub(in crate::config) complete: bool,
    /// Whether we issue tokens, and so have signing keys.
    pub(in crate::config) issues: bool,
}

/// Checks the credentials of all upstreams.
pub(in crate::config) fn check(
    upstreams: &[(Section<'_>, UpstreamSettings)],
    surroundings: &Surroundings<'_>,
    reading: &mut Reading<'_>,
) {
    let mut audiences: Vec<(&str, &str)> = Vec::new();
    for (section, settings) in upstreams {
        match settings.credential.as_ref().map(|ServerCredential { source, .. }| source) {
            Some(CredentialSource::Assertion(assertion)) => {
                check_assertion(assertion, section, (surroundings, upstreams), reading);
                let same = audiences.iter().find(|(audience, _)| *audience == assertion.audience);
                if let Some((_, other)) = same {
                    let mistake = Mistake::new(format!("is that of upstream \"{other}\", too"));
                    let hint = "give each server its own: one could present a user's assertion to the other";
                    reading.error(&section.nested(TABLE, "audience"), mistake.hint(hint));
                }
                audiences.push((&assertion.audience, &settings.id));
            }
            Some(CredentialSource::Provider(credential)) => {
                check_callers(settings, section, reading);
                check_identity(credential, surroundings, section, reading);
            }
            Some(CredentialSource::Secret(_)) | None => {}
        }
    }
}

/// An assertion is signed with the key of our access tokens: its audience must not be that of any of these.
fn check_assertion(
    assertion: &AssertionSettings,
    section: &Section<'_>,
    (surroundings, upstreams): (&Surroundings<'_>, &[(Section<'_>, UpstreamSettings)]),
    reading: &mut Reading<'_>,
) {
    if !surroundings.issues {
        let mistake = Mistake::new("\"assertion\" needs a signing key, and no upstream accepts \"own\"");
        let hint =
            "without our own tokens there are no keys: use another kind, or add \"own\" to the accepts of an upstream";
        reading.error(&section.nested(TABLE, "kind"), mistake.hint(hint));
    }
    let Some(public_url) = surroundings.public_url else { return };
    let audience = &assertion.audience;
    let named = ResourceUri::parse(audience).ok();
    let is_named_so = |settings: &UpstreamSettings| {
        let upstream = Upstream::new(public_url, settings.clone());
        named.as_ref().is_some_and(|named| upstream.is_some_and(|upstream| upstream.is_named_by(named)))
    };
    let ours = audience.trim_end_matches('/') == public_url.as_str();
    if ours
        || audience.starts_with(&format!("{}/", public_url.as_str()))
        || upstreams.iter().any(|(_, other)| is_named_so(other))
    {
        let mistake = Mistake::new("is one of our own URLs: the audience of access tokens that Portcullis issues");
        let hint = "give the server behind a name of its own, such as \"urn:example:expenses\", and set it there as the audience";
        reading.error(&section.nested(TABLE, "audience"), mistake.hint(hint));
    }
}

/// Who calls must have signed in at the provider.
fn check_callers(settings: &UpstreamSettings, section: &Section<'_>, reading: &mut Reading<'_>) {
    let at = section.nested(TABLE, "kind");
    if !settings.accepts.foreign.is_empty() {
        let mistake = Mistake::new("needs a user who signed in here, and accepts names an [[issuer]]");
        let hint = "with a token of another issuer comes no token of the identity provider: use \"assertion\", or an \
             [[upstream]] of its own with accepts = [\"own\"]";
        reading.error(&at, mistake.hint(hint));
    }
    if settings.api_keys.are_accepted() {
        let mistake = Mistake::new("needs a user who signed in, and api_keys lets callers in who did not");
        reading.error(&at, mistake.hint("use \"assertion\" or \"secret\", or remove api_keys"));
    }
}

fn check_identity(
    credential: &ProviderCredential,
    surroundings: &Surroundings<'_>,
    section: &Section<'_>,
    reading: &mut Reading<'_>,
) {
    let at = section.nested(TABLE, "identity");
    let Some(identity) = surroundings.identities.iter().find(|identity| identity.id == credential.identity) else {
        if surroundings.complete && !credential.identity.is_empty() {
            let mistake = Mistake::new("is not the id of an identity");
            reading.error(&at, mistake.hint("write the id of the [[identity]] that issues the token"));
        }
        return;
    };
    let IdentityKind::Oidc(provider) = &identity.kind else {
        let mistake = Mistake::new("has users of our own, of whom no provider has a token");
        return reading.error(&at, mistake.hint("use kind = \"assertion\""));
    };
    if provider.standing == Standing::None {
        let mistake = Mistake::new("has standing = \"none\": no token of its users is kept");
        reading.error(&at, mistake.hint("write standing = \"offline\" or \"session\" for that identity"));
    }
    let at = section.nested(TABLE, "kind");
    match (&credential.by, &provider.flavour) {
        (ProviderGrant::TokenExchange { .. }, OidcFlavour::Entra(_)) => {
            let mistake = Mistake::new("\"token_exchange\" is not what Entra ID has");
            reading.error(&at, mistake.hint("use kind = \"on_behalf_of\""));
        }
        (ProviderGrant::OnBehalfOf { .. }, OidcFlavour::Entra(entra)) => {
            if let Some(mistake) = unfit_for_on_behalf_of(provider, entra) {
                reading.error(&section.nested(TABLE, "identity"), mistake);
            }
        }
        (ProviderGrant::OnBehalfOf { .. }, OidcFlavour::Keycloak | OidcFlavour::Generic) => {
            let mistake = Mistake::new("\"on_behalf_of\" is for identities with kind = \"entra\"");
            reading.error(&at, mistake.hint("use kind = \"token_exchange\""));
        }
        (ProviderGrant::TokenExchange { .. } | ProviderGrant::AccessToken, _) => {}
    }
}

/// The token that Entra ID takes as an assertion must be for our own application: without a scope of our own API it is for
/// Microsoft Graph.
fn unfit_for_on_behalf_of(provider: &OidcSettings, entra: &EntraSettings) -> Option<Mistake> {
    let authority = url::Url::parse(&entra.authority).ok()?;
    let is_policy = authority.host_str().is_some_and(|host| host.ends_with(".b2clogin.com"));
    if is_policy {
        return Some(Mistake::new("is Azure AD B2C, which has no on-behalf-of flow").hint("use kind = \"assertion\""));
    }
    let of_no_api = ["openid", "profile", "email", OFFLINE_ACCESS];
    let ours = |uri: &String| {
        let is_ours = |scope: &str| match scope.strip_prefix(uri.as_str()) {
            Some(rest) => rest.starts_with('/'),
            None => !scope.contains('/') && !of_no_api.contains(&scope),
        };
        provider.scopes.iter().any(is_ours)
    };
    if entra.app_id_uri.as_ref().is_some_and(ours) {
        return None;
    }
    let mistake = Mistake::new("asks for no scope of our own API, so its access tokens are for Microsoft Graph");
    let hint = "Entra ID exchanges only a token that is for us: set app_id_uri there, and add a scope of it to scopes, such as \
         \"access_as_user\"";
    Some(mistake.hint(hint))
}
