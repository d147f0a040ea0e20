//! `/introspect` (RFC 7662): a resource server that the operator configured asks whether an access token for it is good.
//!
//! A refresh token is never active here: no resource server may accept one. JWT responses (RFC 9701) are left out.
//!
//! Defends against: an oracle. Only configured servers that authenticate are answered, and each learns of tokens for its own
//! upstreams alone: a token for another upstream, an expired or ended one and a forged one all get the same answer. Name and
//! e-mail address of the user are not in it.

use std::collections::HashMap;

use super::access_tokens::PresentedAccessTokens;
use crate::clock::Clock;
use crate::config::Config;
use crate::issuer::clients::ClientAuthentication;
use crate::issuer::tokens::{TokenRefusal, TokenRequest};
use crate::limits::{Key, Limit, Limits, Part};
use crate::model::ids::{ClientId, GrantId};
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::introspection::{ActiveToken, INACTIVE};
use crate::secret::SecretText;
use crate::storage::Store;
use crate::telemetry::metrics::{self, IntrospectionOutcome};

/// Which clients may introspect tokens, and of which audiences.
pub(in crate::issuer) struct Introspectors(HashMap<ClientId, Vec<String>>);

impl Introspectors {
    /// Those of the configuration.
    pub(in crate::issuer) fn new(config: &Config) -> Self {
        let asking = config.clients.iter().filter(|client| !client.introspects.is_empty());
        let audiences = |ids: &[String]| {
            let named = config.upstreams.iter().filter(|upstream| ids.contains(&upstream.settings.id));
            named.map(|upstream| upstream.audience().to_owned()).collect()
        };
        Self(asking.map(|client| (client.client_id.as_str().into(), audiences(&client.introspects))).collect())
    }
}

/// Answers resource servers.
pub(in crate::issuer) struct Introspection {
    pub(in crate::issuer) introspectors: Introspectors,
    pub(in crate::issuer) authentication: ClientAuthentication,
    pub(in crate::issuer) access_tokens: PresentedAccessTokens,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
    pub(in crate::issuer) limits: Limits,
    pub(in crate::issuer) metrics: metrics::Grants,
}

impl Introspection {
    /// Answers whether a token is active, as JSON.
    ///
    /// # Errors
    /// See [`TokenRefusal`].
    pub(in crate::issuer) async fn introspect(&self, request: TokenRequest) -> Result<Vec<u8>, TokenRefusal> {
        let answer = self.check(request).await;
        self.metrics.introspected(match &answer {
            Ok(Some(_)) => IntrospectionOutcome::Active,
            Ok(None) => IntrospectionOutcome::Inactive,
            Err(_) => IntrospectionOutcome::Refused,
        });
        Ok(answer?.unwrap_or_else(|| INACTIVE.to_vec()))
    }

    /// The response for an active token.
    async fn check(&self, request: TokenRequest) -> Result<Option<Vec<u8>>, TokenRefusal> {
        let token = request.parameters.one("token")?;
        let token = token.ok_or_else(|| TokenRefusal::invalid_request("token is missing"))?;
        request.parameters.one("token_type_hint")?;
        let audiences = self.audiences_of_caller(&request).await?;
        let Some(verified) = self.access_tokens.read(token).await? else { return Ok(None) };
        if !audiences.contains(&verified.claims.aud) {
            return Ok(None);
        }
        let Some(grant) = self.store.grant(&GrantId::from(verified.claims.sid.as_str())).await? else {
            return Ok(None);
        };
        if !grant.is_live(self.clock.now()) {
            return Ok(None);
        }
        let exp = verified.validity.expires_at().min(grant.expires_at);
        let active = ActiveToken::new(&verified.claims, exp.0);
        serde_json::to_vec(&active).map(Some).map_err(TokenRefusal::unavailable)
    }

    /// The audiences that the caller may ask about. Other callers are refused, with a rate limit by address.
    async fn audiences_of_caller(&self, request: &TokenRequest) -> Result<&[String], TokenRefusal> {
        let TokenRequest { authorization, proof: _, parameters, arrival, agent: _ } = request;
        let authorization = authorization.as_ref().map(SecretText::expose);
        let authenticated = self.authentication.authenticate(authorization, parameters, arrival.address).await;
        let refusal = match authenticated {
            Ok(client) => match self.introspectors.0.get(&client.id) {
                Some(audiences) => return Ok(audiences),
                None => not_configured().of_client(&client.id),
            },
            Err(error) => error.into(),
        };
        self.limits.check(Limit::FruitlessQueries, &Key::of(&[Part::Address(arrival.address)])).await?;
        Err(refusal)
    }
}

fn not_configured() -> TokenRefusal {
    OAuthError::new(ErrorCode::InvalidClient, "this client may not ask about tokens here").into()
}
