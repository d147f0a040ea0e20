//! The identity provider's answer (OpenID Connect Core 3.1.2.5, RFC 9207 2.4), and the code that it leads to.
//!
//! The first answer of an authorization is kept; whatever comes later undoes nothing.

use std::time::Duration;

use super::Issuer;
use super::authorize::Validated;
use super::fault::{Answer, ClientRedirect, Fault, Trouble, respond};
use crate::audit::{self, Event};
use crate::identity::{Exchange, ExchangeError, Provider, SignedIn};
use crate::model::authorization::{Authorization, Binding, ProviderStanding, SignIn, Stage};
use crate::model::ids::{RenderId, Subject};
use crate::oauth::error::ErrorCode;
use crate::oauth::parameters::Parameters;

/// How long a second answer waits for the first to be worked on.
const FIRST_ANSWER: Duration = Duration::from_secs(8);

/// What the provider sent with the browser.
#[derive(Debug)]
pub struct ProviderAnswer<'a> {
    /// The provider, from the path.
    pub identity: &'a str,
    /// The query.
    pub parameters: &'a Parameters,
}

/// Where the answer leads.
#[derive(Debug)]
pub enum Answered {
    /// To the client, with a code or an error.
    ToClient(ClientRedirect),
    /// To the provider once more, without asking anybody.
    ToProvider(String),
    /// Nowhere by itself: this sign-in was answered before.
    Before {
        /// The way to finish, for the browser that may.
        finish: Option<ClientRedirect>,
    },
}

/// The authorization that an answer belongs to, once the browser has proven that it is its own.
struct Bound<'a> {
    provider: &'a Provider,
    authorization: Authorization,
    binding: Binding,
}

impl ProviderAnswer<'_> {
    /// The authorization that the answer names: the cookie of that name must come with it.
    #[must_use]
    pub fn render(&self) -> Option<RenderId> {
        let (id, _) = self.parameters.one("state").ok()??.split_once('.')?;
        (id.len() <= 64).then(|| id.into())
    }
}

impl Issuer {
    /// Takes the provider's answer. `cookie` is the value of the binding cookie of [`ProviderAnswer::render`].
    ///
    /// # Errors
    /// What the user is told on a page. Nothing reaches the client unless the browser is the one that consented.
    pub async fn callback(&self, answer: &ProviderAnswer<'_>, cookie: Option<&str>) -> Result<Answered, Fault> {
        let bound = self.bind(answer, cookie).await?;
        bound.provider.prepare().await.map_err(|error| {
            Fault::new(Trouble::ProviderUnavailable { provider: bound.provider.name().to_owned() }, error.to_string())
        })?;
        let one = |name| answer.parameters.one(name).map_err(|repeated| forged(repeated.to_string()));
        bound.provider.check_iss(one("iss")?).map_err(forged)?;
        if bound.authorization.stage != Stage::Pending || !is_current(answer, &bound) {
            return self.before(&bound).await;
        }
        if self.now() >= bound.authorization.expires_at {
            return Err(Fault::new(Trouble::Expired, "the identity provider's answer came too late"));
        }
        match (one("error")?, one("code")?) {
            (Some(error), _) => self.provider_error(&bound, error, one("error_description")?).await,
            (None, Some(code)) => self.provider_code(&bound, code).await,
            (None, None) => Err(forged("an answer with neither code nor error".to_owned())),
        }
    }

    /// Finds the authorization and proves that this browser began it, with this provider.
    async fn bind(&self, answer: &ProviderAnswer<'_>, cookie: Option<&str>) -> Result<Bound<'_>, Fault> {
        let provider = self.0.parts.identities.get(answer.identity);
        let provider = provider.ok_or_else(|| forged("no such identity provider".to_owned()))?;
        let render = answer.render().ok_or_else(|| forged("state is missing or not one of ours".to_owned()))?;
        let binding = cookie.and_then(Binding::parse);
        let binding = binding.ok_or_else(|| Fault::new(Trouble::OtherBrowser, "the binding cookie did not come"))?;
        let authorization = self.store().authorization(&render).await?;
        let authorization = authorization.ok_or_else(|| Fault::new(Trouble::Expired, "no such authorization"))?;
        if !authorization.binding_hash.same(&binding.sha256()) {
            return Err(Fault::new(Trouble::OtherBrowser, "the binding cookie is another's"));
        }
        let state = answer.parameters.one("state").ok().flatten().unwrap_or_default();
        let ours = (0..=authorization.round).any(|round| binding.is_state(state, &render, round));
        if !ours || authorization.identity != *provider.id() {
            return Err(forged("state is not the one that was sent to this provider".to_owned()));
        }
        Ok(Bound { provider, authorization, binding })
    }

    async fn before(&self, bound: &Bound<'_>) -> Result<Answered, Fault> {
        self.answered_once(&bound.authorization.id, &bound.binding).await
    }

    /// A later answer: nothing is undone. When the first is still being worked on we wait for it, because a browser that
    /// posted a form twice shows the second answer only.
    pub(super) async fn answered_once(&self, id: &RenderId, binding: &Binding) -> Result<Answered, Fault> {
        let first = async {
            loop {
                match self.store().authorization(id).await? {
                    Some(authorization) if authorization.stage == Stage::Claimed => {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    other => return Ok::<_, Fault>(other),
                }
            }
        };
        let finish = match tokio::time::timeout(FIRST_ANSWER, first).await {
            Ok(authorization) => match authorization? {
                Some(authorization) => self.finish(&authorization, binding).await?,
                None => None,
            },
            Err(_elapsed) => None,
        };
        Ok(Answered::Before { finish })
    }

    /// The link that finishes: for the browser that holds the binding, while the code is unredeemed.
    pub(super) async fn finish(
        &self,
        authorization: &Authorization,
        binding: &Binding,
    ) -> Result<Option<ClientRedirect>, Fault> {
        let code = binding.code(authorization.round);
        let issued = self.store().issued_code(&code.sha256()).await?;
        let good = issued.is_some_and(|issued| issued.redeemed.is_none() && self.now() < issued.code_expires_at);
        if !good {
            return Ok(None);
        }
        self.to_client(authorization, &Answer::Code(code.expose())).await.map(Some)
    }

    async fn to_client(&self, authorization: &Authorization, answer: &Answer<'_>) -> Result<ClientRedirect, Fault> {
        let Validated { request, client, redirect_uri } = self.still_allowed(&authorization.request).await?;
        Ok(respond(client, redirect_uri, answer, request.state.as_deref(), self.issuer()))
    }

    async fn provider_error(
        &self,
        bound: &Bound<'_>,
        error: &str,
        description: Option<&str>,
    ) -> Result<Answered, Fault> {
        let authorization = &bound.authorization;
        // only the first answer may move anything: a good one that is being worked on is not undone by this
        if !self.store().claim_authorization(&authorization.id, authorization.round, self.now()).await? {
            return self.before(bound).await;
        }
        // Keycloak's login form, posted twice: the good answer never reached us, or is on its way behind this one
        if error == "temporarily_unavailable" && !authorization.retried {
            return self.another_round(bound, authorization.offline, true).await;
        }
        if error == "invalid_scope" && authorization.offline {
            tracing::warn!(
                identity = %bound.provider.id(),
                "the identity provider refused the scope offline_access: sessions end with its own; allow the scope to \
                 this client there, or set standing = \"session\""
            );
            return self.another_round(bound, false, false).await;
        }
        tracing::warn!(identity = %bound.provider.id(), %error, description, "the identity provider answered with an error");
        let (code, words) = match error {
            "access_denied" => (ErrorCode::AccessDenied, "the identity provider denied access"),
            "temporarily_unavailable" | "server_error" => {
                (ErrorCode::TemporarilyUnavailable, "the identity provider is not available now")
            }
            "login_required" | "interaction_required" | "consent_required" | "account_selection_required" => {
                (ErrorCode::AccessDenied, "the sign-in was not completed")
            }
            _ => (
                ErrorCode::ServerError,
                "the identity provider refused the sign-in; its operator finds the reason in our log",
            ),
        };
        self.refuse(bound, code, words).await
    }

    /// Sends the browser to the provider once more, with a new `state`, without asking anybody.
    async fn another_round(&self, bound: &Bound<'_>, offline: bool, retry: bool) -> Result<Answered, Fault> {
        let mut authorization = bound.authorization.clone();
        if !self.store().next_round(&authorization.id, authorization.round, offline, retry).await? {
            return self.before(bound).await;
        }
        authorization.round += 1;
        authorization.offline = offline;
        self.sign_in_location(bound.provider, &authorization, &bound.binding).map(Answered::ToProvider)
    }

    async fn refuse(&self, bound: &Bound<'_>, code: ErrorCode, words: &str) -> Result<Answered, Fault> {
        let authorization = &bound.authorization;
        if !self.store().refuse_authorization(&authorization.id, authorization.round).await? {
            return self.before(bound).await;
        }
        self.to_client(authorization, &Answer::Error(code, words)).await.map(Answered::ToClient)
    }

    async fn provider_code(&self, bound: &Bound<'_>, code: &str) -> Result<Answered, Fault> {
        let authorization = &bound.authorization;
        self.still_allowed(&authorization.request).await?;
        if !self.store().claim_authorization(&authorization.id, authorization.round, self.now()).await? {
            return self.before(bound).await;
        }
        let round = authorization.round;
        let exchange = Exchange {
            code,
            code_verifier: &bound.binding.code_verifier(round),
            nonce: &bound.binding.nonce(round),
            redirect_uri: &self.callback_uri(bound.provider),
            offline: authorization.offline,
        };
        match bound.provider.exchange(&exchange).await {
            Ok(signed_in) => {
                self.issue_code(authorization, &bound.binding, bound.provider, signed_in).await.map(Answered::ToClient)
            }
            Err(error) => self.exchange_failed(bound, error).await,
        }
    }

    async fn exchange_failed(&self, bound: &Bound<'_>, error: ExchangeError) -> Result<Answered, Fault> {
        let identity = bound.provider.id();
        match error {
            ExchangeError::OfflineRefused(why) if bound.authorization.offline => {
                tracing::warn!(
                    %identity, why,
                    "the identity provider gives this user no offline access: the grant ends with their session there; \
                     give users the realm role offline_access (Keycloak), or set standing = \"session\""
                );
                self.another_round(bound, false, false).await
            }
            ExchangeError::Unavailable(why) => {
                tracing::warn!(%identity, why, "the sign-in could not be finished");
                self.refuse(bound, ErrorCode::TemporarilyUnavailable, "the identity provider is not available now")
                    .await
            }
            ExchangeError::OfflineRefused(why) | ExchangeError::Refused(why) => {
                tracing::error!(%identity, why, "the sign-in could not be finished");
                let words =
                    "the identity provider's answer could not be used; the operator finds the reason in the log";
                self.refuse(bound, ErrorCode::ServerError, words).await
            }
        }
    }

    /// Makes the code for an authorization that was claimed.
    pub(super) async fn issue_code(
        &self,
        authorization: &Authorization,
        binding: &Binding,
        provider: &Provider,
        signed_in: SignedIn,
    ) -> Result<ClientRedirect, Fault> {
        let subject = Subject::new(provider.id(), &signed_in.key);
        let standing = self.seal_standing(&subject, &signed_in);
        let sign_in = SignIn { subject, user: signed_in.user, standing };
        let code = binding.code(authorization.round);
        let expires_at = self.now() + self.config().lifetimes.code;
        if !self.store().issue_code(&authorization.id, &code.sha256(), expires_at, &sign_in).await? {
            return Err(Fault::new(Trouble::Expired, "the authorization went while it was being answered"));
        }
        let request = &authorization.request;
        let (subject, client, resource) = (&sign_in.subject, &request.client_id, request.resource.as_str());
        audit::record(&Event::SignedIn { subject, client, resource });
        self.to_client(authorization, &Answer::Code(code.expose())).await
    }

    fn seal_standing(&self, subject: &Subject, signed_in: &SignedIn) -> ProviderStanding {
        let token = signed_in.token.as_ref();
        ProviderStanding {
            sealed_token: token.map(|token| self.seal_provider_token(subject, &token.token)),
            offline: token.is_some_and(|token| token.offline),
            ends_at: token.and_then(|token| token.ends_at),
            renewable: signed_in.renewable,
        }
    }
}

/// Whether the answer is to the round that is being waited for.
fn is_current(answer: &ProviderAnswer<'_>, bound: &Bound<'_>) -> bool {
    let state = answer.parameters.one("state").ok().flatten().unwrap_or_default();
    bound.binding.is_state(state, &bound.authorization.id, bound.authorization.round)
}

fn forged(detail: String) -> Fault {
    Fault::new(Trouble::Forged, detail)
}
