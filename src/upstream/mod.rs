//! Ways to reach an MCP server.
//!
//! HTTP/1.1 only: one HTTP/2 connection would share its stream limit among all users, so that one user's open streams keep
//! everybody waiting. Nothing in here waits without a bound for a connection: an idle one is taken or a new one is made.
//!
//! Defends against request smuggling and desync between users who share a connection (`answer.rs`), and against redirects
//! that would carry a user's identity elsewhere (`redirect.rs`).

mod answer;
mod connect;
mod error;
mod framing;
mod http;
mod outgoing;
mod pool;
mod probe;
mod redirect;

pub(crate) use self::answer::Answer;
pub(crate) use self::error::{RequestBodyError, UpstreamError, status_words};
pub(crate) use self::http::{HttpUpstream, Sending};
pub(crate) use self::outgoing::{Outgoing, Payload, Streamed};
pub(crate) use self::probe::{Finding, probe, shown};
