//! Portcullis: an OAuth 2.1 gateway for MCP servers.
//!
//! ```text
//! MCP client ──► inbound ──► web ──► issuer ──► identity ──► the identity provider
//!                   └──────► gateway ──► upstream ──► the MCP server
//! ```
//! `tests/it/layering.rs` contains and enforces the table of allowed imports.

/// The version, with the commit of the build if known: printed by `--version` and `dev`, and sent as the user agent of
/// outbound calls.
pub const VERSION: &str = env!("PORTCULLIS_VERSION");

pub mod app;
pub mod audit;
pub mod cli;
pub mod clock;
pub mod config;
mod delegation;
pub mod dev;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod gateway;
pub mod identity;
mod inbound;
pub mod issuer;
pub mod keys;
mod limits;
mod mcp;
pub mod model;
pub mod oauth;
pub mod outbound;
mod policy;
pub mod revocation;
mod rights;
pub mod secret;
mod signal;
pub mod storage;
pub mod telemetry;
mod upstream;
pub mod web;
mod wire;
