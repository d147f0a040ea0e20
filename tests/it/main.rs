//! Tests through the library's public API, in one binary, which links once.

#![cfg(test)]
#![expect(unreachable_pub, reason = "a test binary exports nothing")]

mod access;
mod audit;
mod authorize;
mod background;
mod budget;
mod callback;
mod client_assertions;
mod client_management;
mod client_secrets;
mod config;
mod configured;
mod consent;
mod demo_server;
mod dev;
mod discovery;
mod documents;
mod flood;
mod gateway;
mod head_requests;
mod identity;
mod keys;
mod layering;
mod lifetimes;
mod machines;
mod metrics;
mod operations;
mod outbound;
mod pages;
mod process;
mod readme;
mod receivers;
mod register;
mod request_ids;
mod revocation;
mod rounds;
mod routes;
mod settings;
mod sign_in;
mod sockets;
mod standing;
mod start;
mod statements;
mod storage;
mod support;
mod tabs;
mod token_authorization_code;
mod token_refresh;
mod visitors;
