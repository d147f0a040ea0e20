//! What the access line says of a call: who called what, and what was decided. Never an argument.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::authenticate::VerifiedToken;
use super::refusal::Refusal;

/// How much of a method's and of a tool's name is logged, in bytes. No real one is longer.
const MAX_NAME: usize = 128;
/// The JSON-RPC method that names a tool (MCP, tools).
const TOOLS_CALL: &str = "tools/call";

/// What is known of a call. It is filled in as it becomes known, so that a client that hangs up is named as well.
#[derive(Default)]
pub(crate) struct CallRecord {
    upstream: Option<Arc<str>>,
    caller: Option<Arc<VerifiedToken>>,
    message: Message,
    decision: Option<&'static str>,
}

/// What a JSON-RPC message asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    method: Option<String>,
    tool: Option<String>,
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

    /// Reads what a collected body asks for, once, if anybody is told.
    pub(super) fn asks(&mut self, body: &Bytes) {
        if tracing::enabled!(target: "access", tracing::Level::INFO) {
            self.message = Message::read(body);
        }
    }

    /// The upstream's id.
    pub(crate) fn upstream(&self) -> Option<&str> {
        self.upstream.as_deref()
    }

    /// The user.
    pub(crate) fn subject(&self) -> Option<&str> {
        self.caller.as_ref().map(|caller| caller.subject.as_str())
    }

    /// The client that acts for the user.
    pub(crate) fn client(&self) -> Option<&str> {
        self.caller.as_ref().map(|caller| caller.client.as_str())
    }

    /// The JSON-RPC method.
    pub(crate) fn rpc(&self) -> Option<&str> {
        self.message.method.as_deref()
    }

    /// The tool that is called.
    pub(crate) fn tool(&self) -> Option<&str> {
        self.message.tool.as_deref()
    }

    /// Whether it was permitted, or how it was refused.
    pub(crate) const fn decision(&self) -> Option<&'static str> {
        self.decision
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    method: Option<String>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ToolCall {
    name: Option<String>,
}

impl Message {
    /// A message that can be read in two ways (repeated members) is called unreadable rather than by one of its names.
    fn read(body: &[u8]) -> Self {
        let unreadable = || Some("(unreadable)".to_owned());
        match body.trim_ascii_start().first() {
            Some(b'{') => {}
            Some(b'[') => return Self { method: Some("(batch)".to_owned()), tool: None },
            _ => return Self { method: unreadable(), tool: None },
        }
        let Ok(Envelope { method, params }) = serde_json::from_slice(body) else {
            return Self { method: unreadable(), tool: None };
        };
        let is_call = method.as_deref() == Some(TOOLS_CALL);
        let tool = params.filter(|params| is_call && params.get().starts_with('{')).and_then(|params| {
            serde_json::from_str(params.get()).map_or_else(|_| unreadable(), |ToolCall { name }| name)
        });
        Self { method: method.map(shortened), tool: tool.map(shortened) }
    }
}

fn shortened(mut name: String) -> String {
    if name.len() > MAX_NAME {
        name.truncate(name.floor_char_boundary(MAX_NAME));
        name.push('…');
        name.shrink_to_fit();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::{MAX_NAME, Message};

    fn read(body: &str) -> (Option<String>, Option<String>) {
        let Message { method, tool } = Message::read(body.as_bytes());
        (method, tool)
    }

    #[test]
    fn a_message_is_named_by_its_method_and_a_tool_call_by_its_tool() {
        let named = |method: &str, tool: Option<&str>| (Some(method.to_owned()), tool.map(str::to_owned));
        let call = r#" {"id":1,"params":{"arguments":{"name":"not me"},"name":"e\u0063ho"},"method":"tools/call"}"#;
        assert_eq!(read(call), named("tools/call", Some("echo")));
        assert_eq!(read(r#"{"method":"tools/call","params":[1]}"#), named("tools/call", None));
        assert_eq!(read(r#"{"method":"prompts/get","params":{"name":"x"}}"#), named("prompts/get", None));
        assert_eq!(read(r#"{"id":1,"result":{}}"#), (None, None));
        assert_eq!(read(r#"[{"method":"ping"}]"#), named("(batch)", None));
        for unreadable in ["", "x", "{", r#"{"method":1}"#, r#"{"method":"a","method":"b"}"#] {
            assert_eq!(read(unreadable), named("(unreadable)", None), "{unreadable}");
        }
        let twice = r#"{"method":"tools/call","params":{"name":"a","name":"b"}}"#;
        assert_eq!(read(twice), named("tools/call", Some("(unreadable)")));
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let body = format!(r#"{{"method":"{}"}}"#, "ü".repeat(1000));
        assert_eq!(read(&body).0.unwrap(), format!("{}…", "ü".repeat(MAX_NAME / 2)));
    }
}
