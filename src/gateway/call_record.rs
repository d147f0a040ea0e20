//! What the access line says of a call: who called what, and what was decided. Never an argument.

use std::borrow::Cow;
use std::sync::Arc;

use http::Method;

use super::authenticate::VerifiedToken;
use super::message::Message;
use super::refusal::Refusal;

/// What a message is called in the log that went through unread, or of which nobody knows yet: it may call any tool.
const NOT_READ: &str = "(not read)";

/// What is known of a call. It is filled in as it becomes known, so that a client that hangs up is named as well.
#[derive(Default)]
pub(crate) struct CallRecord {
    upstream: Option<Arc<str>>,
    caller: Option<Arc<VerifiedToken>>,
    method: Option<Cow<'static, str>>,
    tool: Option<String>,
    decision: Option<&'static str>,
}

impl CallRecord {
    pub(super) fn reaches(&mut self, upstream: &Arc<str>) {
        self.upstream = Some(Arc::clone(upstream));
    }

    pub(super) fn is_by(&mut self, caller: &Arc<VerifiedToken>) {
        self.caller = Some(Arc::clone(caller));
    }

    pub(super) const fn permitted(&mut self) {
        self.decision = Some("permitted");
    }

    /// A failure of what lies behind us is no decision: the call stays permitted.
    pub(super) const fn refused(&mut self, refusal: &Refusal) {
        if let Some(decision) = refusal.decision() {
            self.decision = Some(decision);
        }
    }

    /// A request whose message was not read yet, and may never be: every POST carries one.
    pub(super) fn carries_message(&mut self, method: &Method) {
        self.method = (*method == Method::POST).then_some(Cow::Borrowed(NOT_READ));
    }

    /// Keeps what the message asks for, when the access log is on.
    pub(super) fn asks(&mut self, message: &Message<'_>) {
        if tracing::enabled!(target: "access", tracing::Level::INFO) {
            self.method = message.method().map(Cow::Owned);
            self.tool = message.tool();
        }
    }

    /// The upstream's id.
    pub(crate) fn upstream(&self) -> Option<&str> {
        self.upstream.as_deref()
    }

    /// The user.
    pub(crate) fn subject(&self) -> Option<&str> {
        self.caller.as_ref().map(|caller| &*caller.subject)
    }

    /// The client that acts for the user.
    pub(crate) fn client(&self) -> Option<&str> {
        self.caller.as_ref().map(|caller| caller.client.as_str())
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
