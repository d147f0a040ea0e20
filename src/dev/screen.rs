//! The first screen of `portcullis dev`: URL, users and client settings, ready to paste.

use std::path::Path;

use super::state::DemoUser;

/// The content of the screen.
pub(super) struct Screen<'a> {
    pub(super) server_url: &'a str,
    /// The upstream's URL, or `None` for the built-in server.
    pub(super) upstream: Option<&'a str>,
    pub(super) users: &'a [DemoUser],
    pub(super) directory: &'a Path,
}

impl Screen<'_> {
    /// The screen as text.
    pub(super) fn text(&self) -> String {
        let (version, url, directory) = (crate::VERSION, self.server_url, self.directory.display());
        let upstream = self.upstream.unwrap_or("the built-in demo server: whoami, count_slowly and notes of your own");
        let user = |demo: &DemoUser| format!("{:<6} {}", demo.user.username, demo.password.expose());
        let users = self.users.iter().map(user).collect::<Vec<_>>().join(&format!("\n{:16}", ""));
        format!(
            r#"Portcullis {version}, for development on this machine

  Server URL    {url}
  In front of   {upstream}
  Sign in as    {users}
  Kept in       {directory}

VS Code, in .vscode/mcp.json
  {{ "servers": {{ "portcullis": {{ "type": "http", "url": "{url}" }} }} }}

Claude Code
  claude mcp add --transport http portcullis {url}

MCP Inspector
  npx @modelcontextprotocol/inspector --transport http --server-url {url}

Stop with Ctrl-C. Everyone on this machine can reach the demo; do not expose its port.
"#
        )
    }
}
