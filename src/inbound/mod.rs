//! The public listener: accept → connection → for every request: id, client address, framing, `Host`, log → gateway or web.
//!
//! Defends against: request smuggling (`framing.rs`, `leftover.rs`), slowloris in heads, bodies, answers and idle connections
//! (`timed.rs`, `streams.rs`, `idle_connections.rs`), floods (`admission.rs`, `listen.rs`), DNS rebinding (`host.rs`,
//! `operations.rs`), spoofed client addresses (`client_address.rs`), and log injection (`access.rs`).

mod access;
mod admission;
mod client_address;
mod connection;
mod counters;
mod door;
mod drain;
mod exchange;
mod framing;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod hints;
mod host;
mod idle_connections;
mod leftover;
mod listen;
mod operations;
mod socket;
mod streams;
mod timed;
mod visit;

pub(crate) use door::{Door, DoorParts};
pub use drain::Drain;
pub(crate) use listen::serve;
pub(crate) use operations::{HealthReport, Operations, Scrape};
