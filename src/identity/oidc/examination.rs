//! Asking a provider all that a sign-in needs of it, without a user. Nothing changes there; it may log a wrong code.

use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use super::Oidc;
use crate::config::{OidcFlavour, OidcSettings, Standing};
use crate::identity::examination::{Beyond, Examination, Head, NoKeys, TokenAnswer, Visit, VisitEnd};
use crate::identity::exchange::Begin;
use crate::identity::generic::Meaning;
use crate::identity::metadata::ProviderMetadata;
use crate::identity::token_endpoint::ProviderTokenEndpoint;
use crate::keys::PublicKeys;
use crate::oauth::pkce::CodeVerifier;
use crate::outbound::Diagnosis;
use crate::secret::{base64url, random};

/// How long each answer may take. One that takes longer is too slow for people, too.
const TIMEOUT: Duration = Duration::from_secs(8);
/// How many scopes are asked for one by one, so that a long list is no flood.
const MOST_SCOPES: usize = 16;

impl Oidc {
    /// Asks everything.
    pub(in crate::identity) async fn examine(&self, redirect_uri: &str) -> Examination {
        let began = Instant::now();
        let mut examination = Examination {
            discovery: Err(Diagnosis::new("was not asked")),
            document: Value::Null,
            other_issuer: None,
            unusable: None,
            beyond: None,
        };
        let fetched = match self.fetcher.get(self.settings.discovery.as_str(), TIMEOUT).await {
            Ok(fetched) => fetched,
            Err(failure) => {
                examination.discovery = Err(failure.into());
                return examination;
            }
        };
        examination.discovery = Ok(Head::of(&fetched, began.elapsed()));
        examination.document = serde_json::from_slice(&fetched.body).unwrap_or_default();
        if fetched.status != StatusCode::OK {
            return examination;
        }
        let named = examination.document.get("issuer").and_then(Value::as_str);
        let is_another = |named: &&str| !self.settings.flavour.metadata_issuer_is(&self.settings.issuer, named);
        examination.other_issuer = named.filter(is_another).map(str::to_owned);
        match ProviderMetadata::parse(&fetched.body, &self.settings, &self.identity) {
            Ok(metadata) => examination.beyond = Some(self.examine_endpoints(&metadata, redirect_uri).await),
            Err(diagnosis) => examination.unusable = Some(diagnosis),
        }
        examination
    }

    async fn examine_endpoints(&self, metadata: &ProviderMetadata, redirect_uri: &str) -> Beyond {
        let credential = self.authentication.credentials(&self.settings, metadata).await;
        let no_credential = credential.err();
        let (keys, (visit, refused_scopes), (code, accepts_any_secret), refresh_token) = tokio::join!(
            self.examine_keys(metadata),
            self.visit_and_narrow(metadata, redirect_uri),
            self.examine_credentials(metadata, redirect_uri),
            self.examine_renewal(metadata),
        );
        Beyond { keys, visit, refused_scopes, no_credential, code, refresh_token, accepts_any_secret }
    }

    async fn examine_keys(&self, metadata: &ProviderMetadata) -> Result<(), NoKeys> {
        let fetched = self.fetcher.get(&metadata.jwks_uri, TIMEOUT).await.map_err(|why| NoKeys::Unread(why.into()))?;
        if fetched.status != StatusCode::OK {
            return Err(NoKeys::Unread(Diagnosis::new(format!("it answers {}", fetched.status.as_u16()))));
        }
        PublicKeys::parse(&fetched.body).map(drop).map_err(NoKeys::Unusable)
    }

    /// The authorization request, and which of its scopes are refused if any is.
    async fn visit_and_narrow(
        &self,
        metadata: &ProviderMetadata,
        redirect_uri: &str,
    ) -> (Result<Visit, Diagnosis>, Vec<String>) {
        let url = self.request_without_user(metadata, redirect_uri);
        let visit = self.visit(&url, redirect_uri).await;
        if !visit.as_ref().is_ok_and(is_about_scopes) {
            return (visit, Vec::new());
        }
        let offline = self.offers_offline(metadata);
        let scope = self.settings.flavour.outward_scopes(&self.requested_scopes(offline));
        let each = scope.split(' ').filter(|scope| *scope != "openid").take(MOST_SCOPES).map(|scope| {
            let url = with_parameter(&url, "scope", &format!("openid {scope}"));
            async move {
                let visit = self.visit(&url, redirect_uri).await;
                visit.as_ref().is_ok_and(is_about_scopes).then(|| scope.to_owned())
            }
        });
        let refused = join_all(each).await.into_iter().flatten().collect();
        (visit, refused)
    }

    async fn visit(&self, url: &str, redirect_uri: &str) -> Result<Visit, Diagnosis> {
        let fetched = self.fetcher.get_page(url, TIMEOUT).await?;
        Ok(Visit::of(&fetched, redirect_uri))
    }

    /// The request of a sign-in. `prompt=none` makes a provider answer at the redirect URI, where it would show a page for
    /// people; a configured `login` stays, because Azure AD B2C knows nothing else.
    fn request_without_user(&self, metadata: &ProviderMetadata, redirect_uri: &str) -> String {
        let verifier = CodeVerifier::from_bits(&random());
        let (state, nonce) = (base64url(&random::<16>()), base64url(&random::<16>()));
        let url = self.authorization_request(
            metadata,
            &Begin {
                state: &state,
                nonce: &nonce,
                code_challenge: &verifier.challenge(),
                redirect_uri,
                offline: self.offers_offline(metadata),
                client: None,
            },
        );
        let knows_login_alone = matches!(self.settings.flavour, OidcFlavour::Entra(_)) && url.contains("prompt=login");
        if knows_login_alone { url } else { with_parameter(&url, "prompt", "none") }
    }

    /// As `asks_offline`, with metadata that are not kept.
    fn offers_offline(&self, metadata: &ProviderMetadata) -> bool {
        let known = self.settings.flavour.always_knows_offline_access() || metadata.lists_offline_access();
        self.settings.standing == Standing::Offline && known
    }

    /// The answer to a made-up code; and whether a made-up secret is as good as ours. That is asked with a refresh token, because
    /// some look at a code before they look at who redeems it.
    async fn examine_credentials(&self, metadata: &ProviderMetadata, redirect_uri: &str) -> (TokenAnswer, bool) {
        let made_up = OidcSettings { client_secret: Some(base64url(&random::<32>()).into()), ..self.settings.clone() };
        let is_told_apart = self.settings.client_secret.is_some() && !matches!(made_up.flavour, OidcFlavour::Entra(_));
        let with_another =
            async { if is_told_apart { Some(self.renew_made_up(&made_up, metadata).await) } else { None } };
        let (ours, another) = tokio::join!(self.redeem_made_up(metadata, redirect_uri), with_another);
        let accepts_any = is_accepted(&ours) && another.as_ref().is_some_and(is_accepted);
        (ours, accepts_any)
    }

    async fn redeem_made_up(&self, metadata: &ProviderMetadata, redirect_uri: &str) -> TokenAnswer {
        let (code, verifier) = (base64url(&random::<32>()), base64url(&random::<32>()));
        let more = self.token_parameters(self.offers_offline(metadata));
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier.as_str()),
        ];
        form.extend(more.iter().map(|(name, value)| (*name, value.as_str())));
        TokenAnswer::of(self.endpoint(metadata).ask(&form, &[&code, &verifier], TIMEOUT).await)
    }

    async fn examine_renewal(&self, metadata: &ProviderMetadata) -> Option<TokenAnswer> {
        if self.settings.standing == Standing::None {
            return None;
        }
        Some(self.renew_made_up(&self.settings, metadata).await)
    }

    async fn renew_made_up(&self, settings: &OidcSettings, metadata: &ProviderMetadata) -> TokenAnswer {
        let made_up = base64url(&random::<32>());
        let form = [("grant_type", "refresh_token"), ("refresh_token", made_up.as_str())];
        let endpoint = ProviderTokenEndpoint { settings, ..self.endpoint(metadata) };
        TokenAnswer::of(endpoint.ask(&form, &[&made_up], TIMEOUT).await)
    }
}

/// Whether what was made up is what the endpoint refused, and not the client.
fn is_accepted(answer: &TokenAnswer) -> bool {
    matches!(answer, TokenAnswer::Refused { meaning: Meaning::SessionOver, .. })
}

fn is_about_scopes(visit: &Visit) -> bool {
    // 650053: no such scope; 70011: no scope of this form; 500011: no such API
    let numbers = ["AADSTS650053", "AADSTS70011", "AADSTS500011"];
    matches!(&visit.end, VisitEnd::Back { error, description }
        if error == "invalid_scope" || numbers.iter().any(|number| description.contains(number)))
}

/// The same URL with one value for this parameter.
fn with_parameter(url: &str, name: &str, value: &str) -> String {
    let Ok(mut url) = Url::parse(url) else { return url.to_owned() };
    let kept: Vec<_> = url.query_pairs().into_owned().filter(|(known, _)| known != name).collect();
    url.query_pairs_mut().clear().extend_pairs(kept).append_pair(name, value);
    url.into()
}

#[cfg(test)]
mod tests {
    use super::with_parameter;

    #[test]
    fn a_parameter_is_replaced_and_not_repeated() {
        let url = with_parameter("https://a/auth?kc=1&prompt=consent&scope=openid+x&prompt=login", "prompt", "none");
        assert_eq!(url, "https://a/auth?kc=1&scope=openid+x&prompt=none");
        assert_eq!(with_parameter("https://a/auth", "prompt", "none"), "https://a/auth?prompt=none");
    }
}
