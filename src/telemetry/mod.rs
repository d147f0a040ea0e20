//! Logs and metrics: what a log line looks like, which characters it may hold, whose request it belongs to, what is counted.

mod lines;
pub mod log;
pub mod metrics;
mod printable;
mod span;

pub use crate::wire::RequestId;
pub(crate) use printable::excerpt;
pub(crate) use span::request as request_span;
