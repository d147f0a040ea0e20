//! The audit log: who signed in, what was granted, what ended and why, which calls were refused. Never a token, a code or a
//! password.
//!
//! An event that a request caused carries the request's id and the address of its client; one that an operator caused names
//! the operator.

mod event;
mod log;
mod sink;

use std::sync::Arc;

pub use event::{Acting, Event, Right};
pub use sink::{Actor, Sink};

use log::ToLog;

/// The handle through which events are recorded. Cheap to clone.
#[derive(Clone)]
pub struct Audit(Arc<dyn Sink>);

impl Audit {
    /// Records into this sink.
    #[must_use]
    pub fn new(sink: impl Sink + 'static) -> Self {
        Self(Arc::new(sink))
    }

    /// Each event is one line of the log, with the target `audit`.
    #[must_use]
    pub fn to_log() -> Self {
        Self::new(ToLog)
    }

    /// Records an event.
    pub(crate) fn record<'a>(&self, event: &Event<'_>, origin: impl Into<Actor<'a>>) {
        self.0.record(event, &origin.into());
    }
}
