//! The paths of our own routes on the public listener: the one list that the router, the metadata, the redirect URIs and
//! the check of upstreams' paths are made from. `{name}` stands for one segment, `{*name}` for one or more.

macro_rules! routes {
    ($($(#[$doc:meta])* $name:ident = $path:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $path;)*

        /// All of them.
        pub const ROUTES: &[&str] = &[$($name),*];
    };
}

routes! {
    /// RFC 9728 3.1, when there is one resource.
    RESOURCE_METADATA = "/.well-known/oauth-protected-resource";
    /// RFC 9728 3.1, for the resource at a path.
    RESOURCE_METADATA_AT = "/.well-known/oauth-protected-resource/{*path}";
    /// RFC 8414 3.
    SERVER_METADATA = "/.well-known/oauth-authorization-server";
    /// OpenID Connect Discovery 4, for clients that look there.
    OPENID_CONFIGURATION = "/.well-known/openid-configuration";
    /// RFC 7517.
    JWKS = "/.well-known/jwks.json";
    /// Every other well-known path: a 404.
    WELL_KNOWN = "/.well-known/{*rest}";
    /// RFC 6749 3.2.
    TOKEN = "/token";
    /// RFC 7591 3.
    REGISTER = "/register";
    /// RFC 6749 3.1.
    AUTHORIZE = "/authorize";
    /// The consent form's target.
    CONSENT = "/consent";
    /// The redirect URI at an identity provider.
    CALLBACK = "/callback/{identity}";
    /// The password form of the built-in identity provider.
    SIGN_IN = "/sign-in/{identity}";
}

/// First segments that are reserved for later versions and for the operations listener, so that no upgrade takes a path away
/// from an upstream.
pub const RESERVED: &[&str] =
    &["/account", "/device", "/device_authorization", "/introspect", "/live", "/metrics", "/ready", "/revoke"];

/// The path of [`CALLBACK`] for an identity provider.
#[must_use]
pub fn callback(identity: &str) -> String {
    CALLBACK.replace("{identity}", identity)
}

/// The path of [`SIGN_IN`] for an identity provider.
#[must_use]
pub fn sign_in(identity: &str) -> String {
    SIGN_IN.replace("{identity}", identity)
}

/// Whether browsers are sent to this path.
#[must_use]
pub fn is_page(path: &str) -> bool {
    [AUTHORIZE, CONSENT, CALLBACK, SIGN_IN].iter().any(|page| first_segment(page) == first_segment(path))
}

/// Whether a path is ours or below one of ours. Only the first segment counts, and case does not.
#[must_use]
pub fn is_ours(path: &str) -> bool {
    ROUTES.iter().chain(RESERVED).any(|own| first_segment(own).eq_ignore_ascii_case(first_segment(path)))
}

fn first_segment(path: &str) -> &str {
    path.strip_prefix('/').unwrap_or(path).split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{callback, is_ours, is_page, sign_in};

    #[test]
    fn a_path_is_ours_by_its_whole_first_segment() {
        for ours in
            ["/token", "/Token", "/token/x", "/callback", "/.well-known", "/.Well-Known/x", "/metrics", "/account/x"]
        {
            assert!(is_ours(ours), "{ours}");
        }
        for theirs in ["/mcp", "/tokens", "/token-s", "/mcp/token", "/well-known", "/"] {
            assert!(!is_ours(theirs), "{theirs}");
        }
    }

    #[test]
    fn each_provider_has_its_own_callback_and_sign_in_path() {
        assert!(is_page(&callback("a")) && is_page(&sign_in("b")) && is_page("/authorize") && !is_page("/token"));
        assert_eq!((callback("a").as_str(), sign_in("b").as_str()), ("/callback/a", "/sign-in/b"));
    }
}
