//! The grant types that not every installation offers.

/// RFC 6749 4.4.
pub const CLIENT_CREDENTIALS: &str = "client_credentials";
/// RFC 7523 2.1.
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The profile of RFC 7523 that takes identity assertions.
pub const ID_JAG_PROFILE: &str = "urn:ietf:params:oauth:grant-profile:id-jag";
