//! What the access log records of a call: caller, tool and decision. Never the arguments of a tool.

use std::borrow::Cow;
use std::sync::Arc;

use http::Method;

use super::caller::VerifiedCaller;
use crate::mcp::{Message, Name};
use crate::telemetry::excerpt;

/// Logged for a message that streams through unread, or was not read yet: it may call any tool.
const NOT_READ: &str = "(not read)";
/// Logged for a message that two parsers may read differently: any name might be the wrong one.
const UNREADABLE: &str = "(unreadable)";
/// Logged for several messages in one body.
const BATCH: &str = "(batch)";

/// The record of a call, filled in step by step, so that a call whose client disconnects is logged with it too.
#[derive(Default)]
pub(crate) struct CallRecord {
    upstream: Option<Arc<str>>,
    caller: Option<Arc<VerifiedCaller>>,
    method: Option<Cow<'static, str>>,
    tool: Option<Cow<'static, str>>,
    decision: Option<&'static str>,
}

impl CallRecord {
    pub(super) fn reaches(&mut self, upstream: &Arc<str>) {
        self.upstream = Some(Arc::clone(upstream));
    }

    pub(super) fn is_by(&mut self, caller: &Arc<VerifiedCaller>) {
        self.caller = Some(Arc::clone(caller));
    }

    /// The caller may enter. The message was not read yet, and may never be: every POST carries one.
    pub(super) fn entered(&mut self, method: &Method) {
        self.decision = Some("permitted");
        self.method = (*method == Method::POST).then_some(Cow::Borrowed(NOT_READ));
    }

    /// The call is refused. A failure of the upstream is no decision: such a call stays permitted.
    pub(super) const fn refused(&mut self, decision: &'static str) {
        self.decision = Some(decision);
    }

    /// Keeps what the message asks for, when the access log is on.
    pub(super) fn asks(&mut self, message: &Message<'_>) {
        if !tracing::enabled!(target: "access", tracing::Level::INFO) {
            return;
        }
        (self.method, self.tool) = match message {
            Message::Single(envelope) => (envelope.method().map(for_the_log), envelope.tool().map(for_the_log)),
            Message::Batch => (Some(Cow::Borrowed(BATCH)), None),
            Message::Unreadable => (Some(Cow::Borrowed(UNREADABLE)), None),
        };
    }

    /// The upstream's id.
    pub(crate) fn upstream(&self) -> Option<&str> {
        self.upstream.as_deref()
    }

    /// The user.
    pub(crate) fn subject(&self) -> Option<&str> {
        self.caller.as_ref().map(|verified| &*verified.caller.subject)
    }

    /// The client that acts for the user.
    pub(crate) fn client(&self) -> Option<&str> {
        self.caller.as_ref().map(|verified| verified.caller.client.as_str())
    }

    /// The JSON-RPC method.
    pub(crate) fn rpc(&self) -> Option<&str> {
        self.method.as_deref()
    }

    /// The tool that is called.
    pub(crate) fn tool(&self) -> Option<&str> {
        self.tool.as_deref()
    }

    /// Whether it was permitted, or how it was refused.
    pub(crate) const fn decision(&self) -> Option<&'static str> {
        self.decision
    }
}

/// A name, made safe for the log.
fn for_the_log(name: Name<'_>) -> Cow<'static, str> {
    let Name::Known(name) = name else { return Cow::Borrowed(UNREADABLE) };
    let changed = match excerpt(&name) {
        Cow::Borrowed(_) => None,
        Cow::Owned(changed) => Some(changed),
    };
    Cow::Owned(changed.unwrap_or_else(|| name.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::for_the_log;
    use crate::mcp::Name;

    fn logged(name: &str) -> String {
        for_the_log(Name::Known(name.into())).into_owned()
    }

    #[test]
    fn a_logged_name_cannot_steer_the_terminal() {
        assert_eq!(logged("x\u{9b}31m\u{202e}"), "x\u{fffd}31m\u{fffd}");
        assert_eq!(logged("a\u{1b}[2J\u{200b}\u{2028}c"), "a\u{fffd}[2J\u{fffd}\u{fffd}c");
        assert_eq!(for_the_log(Name::Unreadable), "(unreadable)");
    }

    #[test]
    fn a_long_name_is_cut() {
        assert_eq!(logged(&"ü".repeat(1000)), format!("{}…", "ü".repeat(200)));
    }
}
