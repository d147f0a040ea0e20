//! The paths of our own routes on the public listener: the one list that the router, the metadata, the redirect URIs and
//! the check of upstreams' paths are made from. `{name}` stands for one segment, `{*name}` for one or more.
//!
//! The router matches each variant of [`Route`] to what answers it, so a line that is added here does not compile until it has
//! an answer.

/// Who opens a route, which decides how other origins are treated: see [`Route::audience`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// A browser with a person in front of it. Only our own origin may post here, and no other may read it (CSRF).
    Page,
    /// A program, or a script of any origin, without cookies.
    Program,
    /// A server or a device: no script of any page.
    Server,
}

macro_rules! routes {
    ($($(#[$doc:meta])* $audience:ident $route:ident, $name:ident = $path:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $path;)*

        /// All paths.
        pub const ROUTES: &[&str] = &[$($name),*];

        /// One of our routes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Route { $($(#[$doc])* $route,)* }

        impl Route {
            /// All routes, in the order of [`ROUTES`].
            pub const ALL: &[Self] = &[$(Self::$route),*];

            /// Its path.
            #[must_use]
            pub const fn path(self) -> &'static str {
                match self { $(Self::$route => $name,)* }
            }

            /// Whether it is about resources rather than our authorization server.
            #[must_use]
            pub const fn is_of_resources(self) -> bool {
                matches!(self, Self::ResourceMetadata | Self::ResourceMetadataAt | Self::WellKnown)
            }

            /// Who opens it.
            #[must_use]
            pub const fn audience(self) -> Audience {
                match self { $(Self::$route => Audience::$audience,)* }
            }
        }
    };
}

routes! {
    /// RFC 9728 3.1, when there is one resource.
    Program ResourceMetadata, RESOURCE_METADATA = "/.well-known/oauth-protected-resource";
    /// RFC 9728 3.1, for the resource at a path.
    Program ResourceMetadataAt, RESOURCE_METADATA_AT = "/.well-known/oauth-protected-resource/{*path}";
    /// RFC 8414 3.
    Program ServerMetadata, SERVER_METADATA = "/.well-known/oauth-authorization-server";
    /// OpenID Connect Discovery 4, for clients that look there.
    Program OpenidConfiguration, OPENID_CONFIGURATION = "/.well-known/openid-configuration";
    /// RFC 7517.
    Program Jwks, JWKS = "/.well-known/jwks.json";
    /// Where `portcullis doctor` asks what arrives here; a 404 for everything else.
    Program Doctor, DOCTOR = "/.well-known/portcullis-doctor";
    /// Every other well-known path: a 404.
    Program WellKnown, WELL_KNOWN = "/.well-known/{*rest}";
    /// RFC 6749 3.2.
    Program Token, TOKEN = "/token";
    /// RFC 7009 2.
    Program Revoke, REVOKE = "/revoke";
    /// RFC 7662 2.
    Server Introspect, INTROSPECT = "/introspect";
    /// RFC 7591 3.
    Program Register, REGISTER = "/register";
    /// RFC 7592 2.
    Program RegisteredClient, REGISTERED_CLIENT = "/register/{client_id}";
    /// RFC 8628 3.1.
    Server DeviceAuthorization, DEVICE_AUTHORIZATION = "/device_authorization";
    /// OpenID Connect Back-Channel Logout 1.0 2.2: where an identity provider reports a logout.
    Server BackChannelLogout, BACK_CHANNEL_LOGOUT = "/back-channel-logout/{identity}";
    /// RFC 6749 3.1.
    Page Authorize, AUTHORIZE = "/authorize";
    /// The consent form's target.
    Page Consent, CONSENT = "/consent";
    /// The redirect URI at an identity provider.
    Page Callback, CALLBACK = "/callback/{identity}";
    /// The password form of the built-in identity provider.
    Page SignIn, SIGN_IN = "/sign-in/{identity}";
    /// What a user has granted.
    Page Account, ACCOUNT = "/account";
    /// The target of the form that signs a user in there.
    Page AccountSignIn, ACCOUNT_SIGN_IN = "/account/sign-in";
    /// Asks whether to end grants, and ends them.
    Page AccountEnd, ACCOUNT_END = "/account/end";
    /// Forgets a remembered consent.
    Page AccountForget, ACCOUNT_FORGET = "/account/forget";
    /// Ends the user's session there.
    Page AccountSignOut, ACCOUNT_SIGN_OUT = "/account/sign-out";
    /// Where a user types the code that a device shows (RFC 8628 3.3).
    Page Device, DEVICE = "/device";
    /// The target of the form that answers a device.
    Page DeviceAnswer, DEVICE_ANSWER = "/device/answer";
}

/// The routes that also lie below the path of each upstream, for clients that append `/.well-known/…` to the server's URL.
pub const BELOW_UPSTREAMS: &[Route] = &[Route::ResourceMetadata, Route::WellKnown];

/// First segments that are reserved for later versions and for the operations listener, so that no upgrade takes a path away
/// from an upstream.
pub const RESERVED: &[&str] = &["/live", "/metrics", "/ready"];

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

/// The path of [`BACK_CHANNEL_LOGOUT`] for an identity provider.
#[must_use]
pub fn back_channel_logout(identity: &str) -> String {
    BACK_CHANNEL_LOGOUT.replace("{identity}", identity)
}

/// The entry of [`ROUTES`] that a path belongs to.
#[must_use]
pub fn route_of(path: &str) -> Option<&'static str> {
    // exact paths stand before the patterns that would match them as well
    ROUTES.iter().copied().find(|route| matches(route, path))
}

fn matches(route: &str, path: &str) -> bool {
    let mut segments = path.split('/');
    for part in route.split('/') {
        match segments.next() {
            Some(first) if part.starts_with("{*") => return !first.is_empty() || segments.next().is_some(),
            Some(segment) if part.starts_with('{') && !segment.is_empty() => {}
            Some(segment) if part == segment => {}
            _ => return false,
        }
    }
    segments.next().is_none()
}

/// Whether people open this path, or one that begins with the same segment, in a browser.
#[must_use]
pub fn is_page(path: &str) -> bool {
    let pages = Route::ALL.iter().filter(|route| route.audience() == Audience::Page);
    pages.map(|route| first_segment(route.path())).any(|page| page == first_segment(path))
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
    use super::{ROUTES, back_channel_logout, callback, is_ours, is_page, route_of, sign_in};

    #[test]
    fn a_path_belongs_to_one_entry_of_the_table_and_odd_paths_to_none() {
        for (path, route) in [
            ("/token", Some("/token")),
            ("/callback/keycloak", Some("/callback/{identity}")),
            ("/.well-known/oauth-protected-resource", Some("/.well-known/oauth-protected-resource")),
            ("/.well-known/oauth-protected-resource/a/b", Some("/.well-known/oauth-protected-resource/{*path}")),
            ("/.well-known/jwks.json", Some("/.well-known/jwks.json")),
            ("/.well-known/x/y", Some("/.well-known/{*rest}")),
        ] {
            assert_eq!(route_of(path), route, "{path}");
        }
        for odd in ["", "/", "/token/", "/Token", "/callback", "/callback/", "/callback/a/b", "/.well-known", "token"] {
            assert_eq!(route_of(odd), None, "{odd}");
        }
        for route in ROUTES {
            assert_eq!(route_of(&route.replace('{', "").replace(['}', '*'], "")), Some(*route));
        }
    }

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
        assert_eq!(back_channel_logout("c"), "/back-channel-logout/c");
    }
}
