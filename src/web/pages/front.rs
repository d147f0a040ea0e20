//! What people see who open an address in a browser that is meant for MCP clients.

use askama::Template;

use super::{Look, Page};

/// The page at an upstream's path.
#[derive(Debug, Template)]
#[template(path = "server.html")]
pub struct ServerPage<'a> {
    /// Whose page it is.
    pub look: &'a Look,
    /// What people call the upstream.
    pub name: &'a str,
    /// How to add it.
    pub settings: ClientSettings<'a>,
}

/// The page at `/`.
#[derive(Debug, Template)]
#[template(path = "front.html")]
pub struct FrontPage<'a> {
    /// Whose page it is.
    pub look: &'a Look,
    /// The upstreams that may be named to everybody: their names and URLs.
    pub servers: &'a [(&'a str, &'a str)],
    /// How to add a server, with words where its name and path belong.
    pub settings: ClientSettings<'a>,
}

/// The page where nothing is.
#[derive(Debug, Template)]
#[template(path = "not_found.html")]
struct NotFoundPage<'a> {
    look: &'a Look,
}

/// What is copied into a client.
#[derive(Debug, Clone, Copy, Template)]
#[template(path = "client_settings.html")]
pub struct ClientSettings<'a> {
    /// What the client is to call the server.
    pub id: &'a str,
    /// The server URL.
    pub url: &'a str,
}

/// Says what an upstream's address is for.
#[must_use]
pub fn server(page: &ServerPage<'_>) -> Page {
    Page::render(page.look, page)
}

/// Says what this host is for.
#[must_use]
pub fn front(page: &FrontPage<'_>) -> Page {
    Page::render(page.look, page)
}

/// Says that there is nothing at an address.
#[must_use]
pub fn not_found(look: &Look) -> Page {
    Page::render(look, &NotFoundPage { look })
}
