//! Pages for people who open an address in a browser that is meant for MCP clients.

use askama::Template;

use super::{Branding, Page};

/// The page at an upstream's path.
#[derive(Debug, Template)]
#[template(path = "server.html")]
pub struct ServerPage<'a> {
    /// The operator's branding.
    pub branding: &'a Branding,
    /// The upstream's display name.
    pub name: &'a str,
    /// What to enter in clients.
    pub settings: ClientSettings<'a>,
}

/// The page at `/`.
#[derive(Debug, Template)]
#[template(path = "front.html")]
pub struct FrontPage<'a> {
    /// The operator's branding.
    pub branding: &'a Branding,
    /// Names and URLs of the upstreams that may be listed publicly.
    pub servers: &'a [(&'a str, &'a str)],
    /// What to enter in clients, with placeholders for name and path.
    pub settings: ClientSettings<'a>,
}

/// The page at an unknown address.
#[derive(Debug, Template)]
#[template(path = "not_found.html")]
struct NotFoundPage<'a> {
    branding: &'a Branding,
}

/// What people copy into a client.
#[derive(Debug, Clone, Copy, Template)]
#[template(path = "client_settings.html")]
pub struct ClientSettings<'a> {
    /// The server's name in the client.
    pub id: &'a str,
    /// The server URL.
    pub url: &'a str,
}

/// Explains what an upstream's address is for.
#[must_use]
pub fn server(page: &ServerPage<'_>) -> Page {
    Page::render(page.branding, page)
}

/// Explains what this host is for.
#[must_use]
pub fn front(page: &FrontPage<'_>) -> Page {
    Page::render(page.branding, page)
}

/// Says that there is nothing at an address.
#[must_use]
pub fn not_found(branding: &Branding) -> Page {
    Page::render(branding, &NotFoundPage { branding })
}
