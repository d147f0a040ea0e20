//! Tracing set-up: what a log line looks like, and which characters it may hold.

mod lines;
pub mod log;
pub mod metrics;
mod printable;

pub use crate::wire::RequestId;
pub(crate) use printable::{is_hidden, printable};
