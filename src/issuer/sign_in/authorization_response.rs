//! The authorization response (RFC 6749 4.1.2): the recipient of a sign-in's outcome, and the response.
//!
//! Defends against: mix-up of authorization servers (RFC 9207: `iss` is in each response exactly once) and CSRF of the client
//! (`state` is echoed as it came). A response goes only to a redirect URI that `clients` has checked in this request.

use std::sync::Arc;

use super::fault::{Fault, Trouble};
use crate::issuer::clients::Clients;
use crate::model::authorization::{ClientRequest, DeviceRequest, Purpose};
use crate::model::client::Client;
use crate::oauth::error::ErrorCode;
use crate::oauth::redirect_uri::RedirectUri;
use crate::wire::ClientAddress;

/// Finds who waits for the outcome of a sign-in. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct Recipients {
    clients: Clients,
    issuer: Arc<str>,
}

/// Who waits for the outcome of a sign-in.
pub(super) enum Recipient {
    /// The client, at its redirect URI.
    Client(ClientRecipient),
    /// The user, at their own page.
    Account,
    /// A device, which polls. The browser is shown a page.
    Device(DeviceRecipient),
}

/// A device and its client.
pub(super) struct DeviceRecipient {
    pub(super) client: Client,
    pub(super) request: DeviceRequest,
}

/// The client that waits for the outcome, looked up once per request: it may have been deleted, or have lost the redirect
/// URI, since it asked.
pub(super) struct ClientRecipient {
    pub(super) client: Client,
    pub(super) redirect_uri: RedirectUri,
    pub(super) state: Option<String>,
    pub(super) issuer: Arc<str>,
}

/// An authorization response: where the browser goes, and what the page on the way says.
#[derive(Clone)]
pub(crate) struct ClientRedirect {
    /// The whole URI. It may carry a code: never logged.
    pub location: String,
    /// The redirect URI without the response.
    pub redirect_uri: RedirectUri,
    /// The client.
    pub client: Box<Client>,
    /// What it is told.
    pub outcome: Outcome,
    /// The name of the user who signed in.
    pub user: Option<String>,
}

/// The outcome of an authorization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There is a code.
    SignedIn,
    /// The user denied access on our page.
    Denied,
    /// The identity provider refused, or the user denied there.
    Refused,
    /// Something failed.
    Failed,
}

impl std::fmt::Debug for ClientRedirect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientRedirect").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}

/// The content of a response.
#[derive(Clone, Copy)]
pub(super) enum Answer<'a> {
    /// A code.
    Code(&'a str),
    /// The user's own denial.
    Denied,
    /// An error, with a text for the client's developer.
    Error(ErrorCode, &'a str),
}

impl Recipients {
    pub(in crate::issuer) const fn new(clients: Clients, issuer: Arc<str>) -> Self {
        Self { clients, issuer }
    }

    /// Looks up who waits for the outcome of a sign-in with this purpose.
    pub(super) async fn of(&self, purpose: &Purpose, from: ClientAddress) -> Result<Recipient, Fault> {
        match purpose {
            Purpose::Client(request) => self.of_request(request, from).await.map(Recipient::Client),
            Purpose::Account => Ok(Recipient::Account),
            Purpose::Device(request) => self.of_device(request.clone(), from).await.map(Recipient::Device),
        }
    }

    /// Looks up the client of a device, which must still be allowed to use device codes.
    pub(super) async fn of_device(
        &self,
        request: DeviceRequest,
        from: ClientAddress,
    ) -> Result<DeviceRecipient, Fault> {
        let found = self.clients.find(request.access.client_id.as_str(), from).await;
        let client = found.map_err(|error| Fault::no_client(&error, None))?;
        if !client.device {
            let why = format!("client {} may not use device codes any more", client.id);
            return Err(Fault::new(Trouble::DeviceCode, why));
        }
        Ok(DeviceRecipient { client, request })
    }

    /// Looks up the client of a request that was checked earlier.
    pub(super) async fn of_request(
        &self,
        request: &ClientRequest,
        from: ClientAddress,
    ) -> Result<ClientRecipient, Fault> {
        let found = self.clients.find(request.client_id.as_str(), from).await;
        let client = found.map_err(|error| Fault::no_client(&error, Some(&request.redirect_uri)))?;
        let redirect_uri = self.clients.redirect_uri(&client, &request.redirect_uri)?;
        Ok(self.recipient(client, redirect_uri, request.state.clone()))
    }

    /// The recipient of the response to a client that was just found.
    pub(super) fn recipient(
        &self,
        client: Client,
        redirect_uri: RedirectUri,
        state: Option<String>,
    ) -> ClientRecipient {
        ClientRecipient { client, redirect_uri, state, issuer: Arc::clone(&self.issuer) }
    }
}

impl ClientRecipient {
    /// Writes the response.
    pub(super) fn respond(&self, answer: Answer<'_>) -> ClientRedirect {
        let (mut parameters, outcome) = match answer {
            Answer::Code(code) => (vec![("code", code)], Outcome::SignedIn),
            Answer::Denied => (error(ErrorCode::AccessDenied, "the user denied access"), Outcome::Denied),
            Answer::Error(code @ ErrorCode::AccessDenied, words) => (error(code, words), Outcome::Refused),
            Answer::Error(code, words) => (error(code, words), Outcome::Failed),
        };
        parameters.extend(self.state.as_deref().map(|state| ("state", state)));
        parameters.push(("iss", &self.issuer));
        ClientRedirect {
            location: self.redirect_uri.with_parameters(&parameters),
            redirect_uri: self.redirect_uri.clone(),
            client: Box::new(self.client.clone()),
            outcome,
            user: None,
        }
    }
}

fn error(code: ErrorCode, words: &str) -> Vec<(&'static str, &str)> {
    vec![("error", code.as_str()), ("error_description", words)]
}
