//! API keys: for machines that cannot ask for tokens. A key is a grant without tokens, so that it is listed, ended and watched
//! as every grant is.

use super::authorization::ProviderStanding;
use super::grant::Grant;
use super::ids::{ClientId, GrantId, IdentityId, Subject};
use super::user::User;
use crate::clock::Timestamp;
use crate::oauth::scope::ScopeSet;

/// The expiry of a key that never expires: the end of the year 9999.
pub const NEVER: Timestamp = Timestamp(253_402_300_799);

/// What an operator says of a new key.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// What the key is for.
    pub name: String,
    /// Whom to ask about it: free text, or a subject.
    pub owner: Option<String>,
    /// The one audience that it opens.
    pub resource: String,
    /// What it allows there.
    pub scope: ScopeSet,
    /// When it expires, or [`NEVER`].
    pub expires_at: Timestamp,
}

impl NewApiKey {
    /// The grant that the key is. Its id is the key's; the subject and the client are named after it.
    #[must_use]
    pub fn grant(&self, now: Timestamp) -> Grant {
        let (id, identity) = (GrantId::of_api_key(), IdentityId::from(IdentityId::API_KEY));
        Grant {
            subject: Subject::new(&identity, id.as_str()),
            identity,
            client_id: ClientId::from(id.as_str()),
            resource: self.resource.clone(),
            scope: self.scope.clone(),
            named_scope: None,
            user: User { name: Some(self.name.clone()), ..User::default() },
            standing: ProviderStanding::default(),
            bound_to: None,
            created_at: now,
            expires_at: self.expires_at,
            ended_at: None,
            id,
        }
    }
}
