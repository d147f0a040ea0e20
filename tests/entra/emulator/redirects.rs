//! Which redirect URIs it takes.

use url::Url;

use super::directory::{App, Platform};

/// No URI is longer.
const LONGEST: usize = 256;

/// Whether an app registration can hold a URI at all: https, or http for this machine; `[::1]` is not supported; these characters
/// are not allowed; 256 characters at the most.
pub(super) fn can_be_registered(uri: &str) -> bool {
    let Ok(url) = Url::parse(uri) else { return false };
    let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1"));
    let scheme = url.scheme() == "https" || url.scheme() == "http" && local;
    scheme && uri.len() <= LONGEST && !uri.contains(['!', '$', '\'', '(', ')', ',', ';', '*'])
}

/// The platform of a redirect URI that fits a registered one: character for character, upper and lower case of the path included.
/// Only for `http://localhost` the port makes no difference; for `http://127.0.0.1` it does.
pub(super) fn platform(app: &App, uri: &str) -> Option<Platform> {
    let registered = app.redirect_uris.iter().filter(|(_, registered)| can_be_registered(registered));
    let fits = |registered: &str| {
        registered == uri || without_port(registered).is_some_and(|one| without_port(uri) == Some(one))
    };
    registered.into_iter().find(|(_, registered)| fits(registered)).map(|(platform, _)| *platform)
}

/// A URI of `http://localhost` without its port.
fn without_port(uri: &str) -> Option<(String, Option<String>)> {
    let url = Url::parse(uri).ok()?;
    let local = url.scheme() == "http" && url.host_str() == Some("localhost");
    local.then(|| (url.path().to_owned(), url.query().map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::super::{Directory, EntraError};
    use super::{Platform, platform};

    fn takes(registered: &str, asked: &str) -> bool {
        let mut directory = Directory::contoso(registered);
        platform(&directory.apps.remove(0), asked) == Some(Platform::Web)
    }

    #[test]
    fn a_redirect_uri_fits_character_for_character_and_localhost_with_any_port() {
        for (registered, asked, fits) in [
            ("https://mcp.example.com/callback/entra", "https://mcp.example.com/callback/entra", true),
            ("https://mcp.example.com/callback/entra", "https://mcp.example.com/callback/Entra", false),
            ("https://mcp.example.com/callback/entra", "https://mcp.example.com/callback/entra/", false),
            ("https://mcp.example.com/callback/entra", "https://mcp.example.com:8443/callback/entra", false),
            ("http://localhost/callback/entra", "http://localhost:8080/callback/entra", true),
            ("http://localhost:1/callback/entra", "http://localhost:2/callback/entra", true),
            ("http://localhost/callback/entra", "http://localhost/callback/Entra", false),
            ("http://localhost/callback/entra", "http://127.0.0.1/callback/entra", false),
            ("http://127.0.0.1:1/callback/entra", "http://127.0.0.1:1/callback/entra", true),
            ("http://127.0.0.1:1/callback/entra", "http://127.0.0.1:2/callback/entra", false),
            ("http://[::1]:1/callback/entra", "http://[::1]:1/callback/entra", false),
            ("http://mcp.example.com/callback/entra", "http://mcp.example.com/callback/entra", false),
            ("https://mcp.example.com/(callback)", "https://mcp.example.com/(callback)", false),
        ] {
            assert_eq!(takes(registered, asked), fits, "{registered} {asked}");
        }
    }

    #[test]
    fn an_error_has_the_shape_that_microsoft_documents() {
        let document = EntraError::new("invalid_grant", 70008, "Expired.").document("2027-01-15 08:00:00Z");
        assert_eq!(document["error_codes"][0], 70008);
        assert!(document["error_description"].as_str().unwrap().starts_with("AADSTS70008: Expired.\r\nTrace ID: "));
        assert!(document.get("suberror").is_none() && document.get("claims").is_none());
    }
}
