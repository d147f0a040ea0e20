//! The first screen of `portcullis dev`: everything that one needs next, ready to paste.

use std::fmt::Write;
use std::path::Path;

use super::state::DemoUser;

/// What the screen tells.
pub(super) struct Screen<'a> {
    pub(super) server_url: &'a str,
    /// The upstream's URL, or `None` for the built-in server.
    pub(super) upstream: Option<&'a str>,
    pub(super) users: &'a [DemoUser],
    pub(super) directory: &'a Path,
}

impl Screen<'_> {
    /// The text.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let url = self.server_url;
        let upstream = self.upstream.unwrap_or("the built-in demo server: whoami, count_slowly and notes of your own");
        let _ = writeln!(out, "Portcullis {}, for development on this machine\n", env!("CARGO_PKG_VERSION"));
        let _ = writeln!(out, "  Server URL    {url}");
        let _ = writeln!(out, "  In front of   {upstream}");
        for (at, demo) in self.users.iter().enumerate() {
            let label = if at == 0 { "Sign in as" } else { "" };
            let _ = writeln!(out, "  {label:<12}  {:<6} {}", demo.user.username, demo.password.expose());
        }
        let _ = writeln!(out, "  Kept in       {}\n", self.directory.display());
        let _ = writeln!(out, "VS Code, in .vscode/mcp.json");
        let _ =
            writeln!(out, "  {{ \"servers\": {{ \"portcullis\": {{ \"type\": \"http\", \"url\": \"{url}\" }} }} }}\n");
        let _ = writeln!(out, "Claude Code");
        let _ = writeln!(out, "  claude mcp add --transport http portcullis {url}\n");
        let _ = writeln!(out, "MCP Inspector");
        let _ = writeln!(out, "  npx @modelcontextprotocol/inspector --transport http --server-url {url}\n");
        let _ = writeln!(
            out,
            "Stop with Ctrl-C. Whoever can reach this machine's loopback can reach the demo: keep it there."
        );
        out
    }
}
