//! How a registered client reads, updates and deletes itself (RFC 7592). Public clients share their ids, so they have no
//! registration access token and cannot do this.
//!
//! Defends against: an oracle. The client is found by the hash of the token and then compared with the one that the path
//! names, so every wrong token has the same answer, whether or not the client exists. Also against: brute force (256 bits,
//! wrong tokens are rate limited, the right one is always accepted), a token that leaked once (each update replaces it), and
//! a flood of writes.

use std::sync::Arc;

use super::registration::{ChosenAuthentication, RegistrationRefusal, authentication};
use super::rules::{Issued, MetadataRules, as_spelt};
use crate::audit::{Audit, Event};
use crate::issuer::grants::GrantEnds;
use crate::limits::{Key, Limit, Limits, Part};
use crate::model::client::{Authentication, Client};
use crate::oauth::client_metadata::{RegistrationRequest, RegistrationResponse};
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::secret::{Management, SecretText, Sha256, Token};
use crate::storage::{ManagedClient, Store};
use crate::wire::Arrival;

/// Lets clients manage themselves.
pub(in crate::issuer) struct ClientManagement {
    pub(in crate::issuer) rules: Arc<MetadataRules>,
    pub(in crate::issuer) ends: GrantEnds,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) limits: Limits,
    pub(in crate::issuer) audit: Audit,
}

/// A request to a client's registration.
#[derive(Debug)]
pub(crate) struct ManagementRequest {
    /// The client, from the path.
    pub client_id: String,
    /// The bearer token, if there is one.
    pub token: Option<SecretText>,
    /// The request itself.
    pub arrival: Arrival,
}

/// A client whose token is right.
struct Authorized {
    client: Client,
    token: Token<Management>,
}

impl ClientManagement {
    /// The client's registration (RFC 7592 2.1), without its secret, of which only the hash is stored.
    ///
    /// # Errors
    /// See [`RegistrationRefusal`].
    pub(in crate::issuer) async fn read(
        &self,
        request: &ManagementRequest,
    ) -> Result<RegistrationResponse, RegistrationRefusal> {
        let Authorized { client, token } = self.authorize(request).await?;
        let issued = Issued { management: Some(&token), ..Issued::default() };
        Ok(self.rules.response(&client, client.redirect_uris.clone(), issued))
    }

    /// Replaces the metadata of the client (RFC 7592 2.2) by what passes the rules of a registration, and its token.
    ///
    /// # Errors
    /// See [`RegistrationRefusal`].
    pub(in crate::issuer) async fn update(
        &self,
        request: &ManagementRequest,
        body: &[u8],
    ) -> Result<RegistrationResponse, RegistrationRefusal> {
        let Authorized { client, token } = self.authorize(request).await?;
        self.limits.check(Limit::ClientUpdates, &Key::of(&[Part::Client(&client.id)])).await?;
        let mut update = RegistrationRequest::parse(body)?;
        check(&client, &update)?;
        update.token_endpoint_auth_method.get_or_insert_with(|| client.authentication.method().as_str().to_owned());
        let metadata = self.rules.check(update)?;
        let kept = client.authentication.secret_hash().copied();
        let ChosenAuthentication { authentication, secret } = authentication(&metadata, kept);
        if authentication == Authentication::None {
            return Err(invalid("a client with a secret or keys cannot become public: register a new one").into());
        }
        let new_token = Token::<Management>::generate();
        let client = Client::with_id(client.id, &metadata, authentication, client.created_at);
        let managed = ManagedClient { client: &client, token: &new_token.sha256() };
        if !self.store.update_client(&token.sha256(), managed).await? {
            // another update or a deletion came first
            return Err(RegistrationRefusal::Unauthorized { presented: true });
        }
        self.audit.record(&Event::ClientUpdated { client: &client.id }, &request.arrival);
        let issued = Issued { secret: secret.as_ref(), management: Some(&new_token) };
        Ok(self.rules.response(&client, as_spelt(&metadata.redirect_uris), issued))
    }

    /// Deletes the client and ends its grants (RFC 7592 2.3).
    ///
    /// # Errors
    /// See [`RegistrationRefusal`].
    pub(in crate::issuer) async fn delete(&self, request: &ManagementRequest) -> Result<(), RegistrationRefusal> {
        let Authorized { client, .. } = self.authorize(request).await?;
        Ok(self.ends.delete_client_itself(&client.id, &request.arrival).await?)
    }

    async fn authorize(&self, request: &ManagementRequest) -> Result<Authorized, RegistrationRefusal> {
        let Some(presented) = &request.token else {
            return Err(RegistrationRefusal::Unauthorized { presented: false });
        };
        if let Some(token) = Token::<Management>::parse(presented.expose())
            && let Some(client) = self.store.managed_client(&token.sha256()).await?
            && client.id.as_str() == request.client_id
        {
            return Ok(Authorized { client, token });
        }
        let key = Key::of(&[Part::Address(request.arrival.address)]);
        self.limits.check(Limit::RegistrationTokens, &key).await?;
        Err(RegistrationRefusal::Unauthorized { presented: true })
    }
}

/// RFC 7592 2.2: an update repeats the client's id, and cannot choose what we assign.
fn check(client: &Client, update: &RegistrationRequest) -> Result<(), OAuthError> {
    if update.client_id.as_deref() != Some(client.id.as_str()) {
        return Err(invalid("client_id is missing, or is not the one of this client"));
    }
    if let Some(member) = update.assigned_member {
        return Err(OAuthError::new(
            ErrorCode::InvalidClientMetadata,
            format!("{member} must not be sent in an update"),
        ));
    }
    let is_right = |sent: &SecretText| {
        let hash = Sha256::of(sent.expose().as_bytes());
        client.authentication.secret_hash().is_some_and(|secret| secret.same(&hash))
    };
    if update.client_secret.as_ref().is_some_and(|sent| !is_right(sent)) {
        return Err(invalid("client_secret is not the one of this client, and cannot be chosen"));
    }
    Ok(())
}

fn invalid(words: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidClientMetadata, words)
}
