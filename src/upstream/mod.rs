//! Ways to reach an MCP server.

mod connect;
mod http;

pub use self::http::{HttpUpstream, RequestBodyError, UpstreamError};
