//! `/revoke` (RFC 7009): a client ends the grant of one of its tokens, and everything under it.
//!
//! Any refresh token of the grant will do, whether it is the newest or was used before, and any access token that is still
//! valid. The kind is recognised by the form of the token, so `token_type_hint` is not needed. An expired access token is an
//! invalid token (RFC 7009 2.2) and ends nothing: once its signing key is retired it cannot be verified.
//!
//! Defends against: an oracle (a token of another client is answered like one that does not exist, and nothing ends), ends of
//! other clients' grants, and floods of made-up tokens (a checksum or a signature is checked before the store is asked).

use super::access_tokens::PresentedAccessTokens;
use crate::audit::{Audit, Event};
use crate::clock::Clock;
use crate::issuer::clients::{AuthenticationError, ClientAuthentication, FindError};
use crate::issuer::grants::GrantEnds;
use crate::issuer::tokens::{TokenRefusal, TokenRequest};
use crate::limits::{Key, Limit, Limits, Part};
use crate::model::client::{Authentication, Client};
use crate::model::grant::{EndReason, Grant};
use crate::model::ids::GrantId;
use crate::oauth::parameters::Parameters;
use crate::secret::{Refresh, SecretText, Token};
use crate::storage::Store;
use crate::telemetry::metrics::{self, RevocationOutcome};
use crate::wire::{Arrival, ClientAddress};

/// Answers revocations.
pub(in crate::issuer) struct TokenRevocation {
    pub(in crate::issuer) authentication: ClientAuthentication,
    pub(in crate::issuer) access_tokens: PresentedAccessTokens,
    pub(in crate::issuer) ends: GrantEnds,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
    pub(in crate::issuer) limits: Limits,
    pub(in crate::issuer) metrics: metrics::Grants,
    pub(in crate::issuer) audit: Audit,
}

impl TokenRevocation {
    /// Ends the grant of the token in a request. A token that is not this client's is no error (RFC 7009 2.2).
    ///
    /// # Errors
    /// See [`TokenRefusal`].
    pub(in crate::issuer) async fn revoke(&self, request: TokenRequest) -> Result<(), TokenRefusal> {
        let revoked = self.check(request).await;
        self.metrics.revoked(match &revoked {
            Ok(outcome) => *outcome,
            Err(_) => RevocationOutcome::Refused,
        });
        revoked.map(drop)
    }

    async fn check(&self, request: TokenRequest) -> Result<RevocationOutcome, TokenRefusal> {
        let TokenRequest { authorization, proof: _, parameters, arrival, agent: _ } = request;
        let token = parameters.one("token")?.ok_or_else(|| TokenRefusal::invalid_request("token is missing"))?;
        parameters.one("token_type_hint")?;
        let client = self.authenticate(authorization.as_ref(), &parameters, arrival.address).await?;
        let grant = self.grant_of(token).await.map_err(|refusal| refusal.of_client(&client.id))?;
        let Some(grant) = self.own(&client, grant, &arrival) else {
            self.count_fruitless(&client, arrival.address).await?;
            return Ok(RevocationOutcome::Nothing);
        };
        if !grant.is_live(self.clock.now()) {
            return Ok(RevocationOutcome::Nothing);
        }
        self.ends.end(&grant.id, EndReason::Client, &arrival).await?;
        Ok(RevocationOutcome::Ended)
    }

    /// Authenticates the client. A client that does not exist counts against the limit.
    async fn authenticate(
        &self,
        authorization: Option<&SecretText>,
        parameters: &Parameters,
        address: ClientAddress,
    ) -> Result<Client, TokenRefusal> {
        let authorization = authorization.map(SecretText::expose);
        let authenticated = self.authentication.authenticate(authorization, parameters, address).await;
        if let Err(AuthenticationError::Find(FindError::Unknown(_))) = &authenticated {
            self.limits.check(Limit::FruitlessQueries, &Key::of(&[Part::Address(address)])).await?;
        }
        Ok(authenticated?)
    }

    /// The grant that a token belongs to.
    async fn grant_of(&self, token: &str) -> Result<Option<Grant>, TokenRefusal> {
        let id = match Token::<Refresh>::parse(token) {
            Some(refresh) => self.store.refresh_token(&refresh.sha256()).await?.map(|stored| stored.grant_id),
            None => self.access_tokens.read(token).await?.map(|verified| GrantId::from(verified.claims.sid)),
        };
        match id {
            Some(id) => Ok(self.store.grant(&id).await?),
            None => Ok(None),
        }
    }

    /// The grant, if it is this client's. The client is not told that it holds another's token, but the operator is.
    fn own(&self, client: &Client, grant: Option<Grant>, arrival: &Arrival) -> Option<Grant> {
        let grant = grant?;
        if grant.client_id == client.id {
            return Some(grant);
        }
        self.audit.record(&Event::ForeignTokenPresented { client: &client.id, grant: &grant.id }, arrival);
        None
    }

    /// Counts a request without effect, if anyone could have sent it. One that ends a grant never counts, so that users of a
    /// hosted client, who share its address, cannot keep each other from signing out.
    async fn count_fruitless(&self, client: &Client, address: ClientAddress) -> Result<(), TokenRefusal> {
        if matches!(client.authentication, Authentication::None) {
            self.limits.check(Limit::FruitlessQueries, &Key::of(&[Part::Address(address)])).await?;
        }
        Ok(())
    }
}
