//! Ways to reach an MCP server.

mod connect;
mod framing;
mod http;

pub(crate) use self::http::{HttpUpstream, RequestBodyError, UpstreamError};
