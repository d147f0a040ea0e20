//! Where Keycloak departs from the standard.

/// What its token endpoint answers, after the sign-in, when the user lacks the realm role `offline_access`.
pub(super) const OFFLINE_NOT_ALLOWED: &str = "not_allowed";

/// Why its issuer is not the configured one.
pub(super) const ISSUER_HINT: &str = "Keycloak without --hostname names itself after the Host header it is reached by: \
     start it with --hostname=URL, and with --hostname-backchannel-dynamic=true when it is reached under two names";

/// Why its metadata are not found.
pub(super) const DISCOVERY_HINT: &str = "does the realm exist? `issuer` is https://HOST/realms/NAME; before Keycloak 17, and \
     with --http-relative-path=/auth, it is https://HOST/auth/realms/NAME";

/// Why it refuses our credentials.
pub(super) const CLIENT_HINT: &str = "Keycloak shows the secret in the client's tab Credentials; the client must be enabled, \
     with client authentication and standard flow on";

/// Why the answer carries no `iss` although the metadata promise it.
pub(super) const ISS_HINT: &str = "in Keycloak `Exclude Issuer From Authentication Response` of our client must be off";

/// What makes a user one who may have offline tokens.
pub(super) const OFFLINE_HINT: &str =
    "give the user the realm role offline_access and the client the optional client scope offline_access";

/// When a refresh token with this `refresh_expires_in` ends, in seconds from now; `None` is never. 0 is how Keycloak marks
/// an offline token, and others say nothing at all.
pub(super) fn seconds_left(refresh_expires_in: Option<u64>) -> Option<u64> {
    refresh_expires_in.filter(|seconds| *seconds > 0)
}

/// Whether `refresh_expires_in` marks an offline token.
pub(super) fn marks_offline(refresh_expires_in: Option<u64>) -> bool {
    refresh_expires_in == Some(0)
}
