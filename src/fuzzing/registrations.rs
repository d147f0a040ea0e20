//! Registration requests.

use crate::oauth::client_metadata::{AuthMethod, ClientMetadata, MAX_REDIRECT_URIS, RegistrationRequest};
use crate::oauth::error::OAuthError;
use crate::oauth::redirect_uri::RedirectPolicy;
use crate::oauth::scope::ScopeSet;

/// The body of a request.
pub fn registrations(data: &[u8]) {
    for device_allowed in [false, true] {
        let metadata = RegistrationRequest::parse(data)
            .and_then(|request| request.validate(&RedirectPolicy::default(), device_allowed));
        match metadata {
            Ok(metadata) => assert_metadata(&metadata, device_allowed),
            Err(error) => assert_printable(&error),
        }
    }
}

fn assert_metadata(metadata: &ClientMetadata, device_allowed: bool) {
    assert!(device_allowed || !metadata.device);
    assert!(metadata.device || !metadata.redirect_uris.is_empty());
    assert!(metadata.redirect_uris.len() <= MAX_REDIRECT_URIS);
    let signs = metadata.token_endpoint_auth_method == AuthMethod::PrivateKeyJwt;
    assert_eq!(signs, metadata.keys.is_some());
    if let Some(keys) = &metadata.keys {
        super::key_sets::assert_public(keys);
    }
    if let Some(name) = &metadata.client_name {
        super::client_documents::assert_clean(name);
    }
    assert_eq!(ScopeSet::parse(&metadata.scope.to_string()).as_ref(), Ok(&metadata.scope));
}

/// RFC 6749 5.2.
fn assert_printable(error: &OAuthError) {
    let allowed = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
    assert!(error.error_description.bytes().all(allowed), "{error:?}");
}
