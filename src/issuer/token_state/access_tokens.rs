//! Access tokens that are presented for revocation or introspection, not to call an upstream.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::issuer::tokens::TokenRefusal;
use crate::keys::{Expected, KeyRing, VerifiedToken, VerifyError, verify_access_token};

/// Verifies access tokens of ours. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct PresentedAccessTokens {
    pub(in crate::issuer) issuer: Arc<str>,
    /// How long an access token lives today.
    pub(in crate::issuer) lifetime: Duration,
    pub(in crate::issuer) ring: KeyRing,
    pub(in crate::issuer) clock: Clock,
}

impl PresentedAccessTokens {
    /// The claims of a token; `None` when it is not one of ours, or expired, or signed with a withdrawn key. Random text
    /// costs no read of the store.
    ///
    /// # Errors
    /// When that cannot be determined now.
    pub(super) async fn read(&self, token: &str) -> Result<Option<VerifiedToken>, TokenRefusal> {
        let expected = Expected { issuer: &self.issuer, lifetime: self.lifetime, now: self.clock.now() };
        match verify_access_token(&self.ring, token, &expected).await {
            Ok(verified) => Ok(Some(verified)),
            Err(VerifyError::Invalid(_)) => Ok(None),
            Err(error @ VerifyError::Unavailable) => Err(TokenRefusal::unavailable(error)),
        }
    }
}
