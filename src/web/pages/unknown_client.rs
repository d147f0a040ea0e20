//! The page for an unknown client id: no redirect can tell the client, so its user must act.

use askama::Template;
use url::{Host, Url};

use super::{Branding, Page};
use crate::telemetry::RequestId;

/// The request with the unknown id.
#[derive(Debug)]
pub struct UnknownClientPage<'a> {
    /// The operator's branding.
    pub branding: &'a Branding,
    /// The unknown id.
    pub client_id: &'a str,
    /// The redirect URI of the request, unchecked: it only selects the remedy to open.
    pub redirect_uri: Option<&'a str>,
    /// The request's id in the log.
    pub request_id: &'a RequestId,
}

/// Applications whose remedy we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Application {
    VsCode,
    ClaudeCode,
    Claude,
    ChatGpt,
    Cursor,
    Codex,
    Inspector,
    McpRemote,
}

#[derive(Template)]
#[template(path = "unknown_client.html")]
struct UnknownClient<'a> {
    branding: &'a Branding,
    client_id: &'a str,
    application: Option<Application>,
    request_id: &'a RequestId,
}

/// Says how to make a client register again.
#[must_use]
pub fn unknown_client(page: &UnknownClientPage<'_>) -> Page {
    let application = page.redirect_uri.and_then(|uri| Url::parse(uri).ok()).and_then(|uri| guess(&uri));
    let UnknownClientPage { branding, client_id, request_id, .. } = *page;
    Page::render(branding, &UnknownClient { branding, client_id, application, request_id })
}

/// Guesses the application from the redirect URIs that each is known to use.
fn guess(uri: &Url) -> Option<Application> {
    match (uri.scheme(), uri.host()) {
        ("cursor", _) => Some(Application::Cursor),
        ("claude", _) => Some(Application::ClaudeCode),
        ("https", Some(Host::Domain(host))) => match host {
            "vscode.dev" | "insiders.vscode.dev" => Some(Application::VsCode),
            "claude.ai" | "claude.com" => Some(Application::Claude),
            "chatgpt.com" => Some(Application::ChatGpt),
            "cursor.com" | "www.cursor.com" => Some(Application::Cursor),
            _ => None,
        },
        ("http", _) => match (uri.port(), uri.path()) {
            (Some(33418), _) | (_, "/") => Some(Application::VsCode),
            (Some(6274), _) => Some(Application::Inspector),
            (Some(8787), "/callback") => Some(Application::Cursor),
            (_, "/oauth/callback") => Some(Application::McpRemote),
            (_, "/callback") => Some(Application::ClaudeCode),
            (_, path) if path.starts_with("/callback/") => Some(Application::Codex),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::{Application, guess};

    #[test]
    fn the_application_is_guessed_from_its_redirect_uri() {
        for (uri, application) in [
            ("http://127.0.0.1:33418/", Some(Application::VsCode)),
            ("http://127.0.0.1:50111/", Some(Application::VsCode)),
            ("https://vscode.dev/redirect", Some(Application::VsCode)),
            ("http://localhost:51000/callback", Some(Application::ClaudeCode)),
            ("https://claude.ai/api/mcp/auth_callback", Some(Application::Claude)),
            ("https://chatgpt.com/connector/oauth/abc", Some(Application::ChatGpt)),
            ("cursor://anysphere.cursor-mcp/oauth/callback", Some(Application::Cursor)),
            ("http://localhost:8787/callback", Some(Application::Cursor)),
            ("http://127.0.0.1:40000/callback/abc", Some(Application::Codex)),
            ("http://localhost:6274/oauth/callback", Some(Application::Inspector)),
            ("http://localhost:3334/oauth/callback", Some(Application::McpRemote)),
            ("https://evil.example/claude.ai", None),
            ("com.example.app:/cb", None),
        ] {
            assert_eq!(guess(&Url::parse(uri).unwrap()), application, "{uri}");
        }
    }
}
