//! Ways to reach an MCP server.

mod http;

pub use self::http::{HttpUpstream, RequestBodyError, UpstreamError};
