//! MCP on the wire: the JSON-RPC message, its error codes, and the header names of both transports (2025-11-25 with
//! sessions, 2026-07-28 without). It reads and writes; it decides nothing.

mod error;
pub(crate) mod headers;
mod message;

pub(crate) use error::{ErrorCode, error_response};
pub(crate) use message::{Message, Name};
