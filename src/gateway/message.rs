//! A JSON-RPC message, as far as the gateway reads it: its id for our own errors, its method and its tool for the log. The body
//! is parsed once; what is forwarded are its bytes.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::telemetry::printable;

/// How much of a method's and of a tool's name is logged, in bytes. No real one is longer.
const MAX_NAME: usize = 128;
/// The longest id that our own errors repeat, in bytes. It is kept until the answer begins, outside the memory budget for
/// bodies; real ids are numbers or UUIDs.
const MAX_ID: usize = 256;
/// The JSON-RPC method that names a tool (MCP, tools).
const TOOLS_CALL: &str = "tools/call";
/// What a message is called in the log that could be read in two ways: by any of its names it might be another one.
const UNREADABLE: &str = "(unreadable)";

/// What a body holds.
#[derive(Debug)]
pub(super) enum Message<'a> {
    Single(Envelope<'a>),
    /// An array: several messages, which no current version of MCP has.
    Batch,
    /// No JSON, no object, or a member that is repeated.
    Unreadable,
}

#[derive(Debug, Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<&'a RawValue>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ToolCall {
    name: Option<String>,
}

impl<'a> Message<'a> {
    pub(super) fn read(body: &'a [u8]) -> Self {
        match body.trim_ascii_start().first() {
            Some(b'{') => serde_json::from_slice(body).map_or(Self::Unreadable, Self::Single),
            Some(b'[') => Self::Batch,
            _ => Self::Unreadable,
        }
    }

    /// The id, exactly as it was written; only a number or a text of at most [`MAX_ID`] bytes is one. A copy, so that the
    /// body is not kept in memory while its answer is waited for.
    pub(super) fn id(&self) -> Option<Box<RawValue>> {
        let Self::Single(Envelope { id: Some(id), .. }) = self else { return None };
        let is_id = id.get().starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit());
        (is_id && id.get().len() <= MAX_ID).then(|| (*id).to_owned())
    }

    /// The method's name, for the log.
    pub(super) fn method(&self) -> Option<String> {
        let method = match self {
            Self::Single(envelope) => envelope.method(),
            Self::Batch => Some("(batch)".to_owned()),
            Self::Unreadable => Some(UNREADABLE.to_owned()),
        };
        method.map(for_the_log)
    }

    /// The name of the tool that is called, for the log.
    pub(super) fn tool(&self) -> Option<String> {
        let Self::Single(envelope) = self else { return None };
        let is_call = envelope.method().as_deref() == Some(TOOLS_CALL);
        let params = envelope.params.filter(|params| is_call && params.get().starts_with('{'))?;
        let tool = serde_json::from_str(params.get());
        tool.map_or_else(|_| Some(UNREADABLE.to_owned()), |ToolCall { name }| name).map(for_the_log)
    }
}

impl Envelope<'_> {
    fn method(&self) -> Option<String> {
        let method = self.method?;
        Some(serde_json::from_str(method.get()).unwrap_or_else(|_| UNREADABLE.to_owned()))
    }
}

/// A name as it may stand in the log: not long, and nothing in it steers a terminal.
fn for_the_log(mut name: String) -> String {
    if name.len() > MAX_NAME {
        name.truncate(name.floor_char_boundary(MAX_NAME));
        name.push('…');
        name.shrink_to_fit();
    }
    match printable(&name) {
        Cow::Borrowed(_) => name,
        Cow::Owned(printable) => printable,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::{MAX_ID, MAX_NAME, Message};

    fn id(body: &[u8]) -> Option<String> {
        Message::read(body).id().map(|id| id.get().to_owned())
    }

    proptest! {
        #[test]
        fn whatever_a_body_says_what_is_copied_of_it_is_a_string_or_a_number(
            body in prop_oneof![
                any::<Vec<u8>>(),
                "\\{\"id\":[\\[\\]{}\"0-9a-z\\\\.,:+ -]{0,20}\\}".prop_map(String::into_bytes),
            ],
        ) {
            if let Some(copied) = id(&body) {
                let value: Value = serde_json::from_str(&copied).unwrap();
                prop_assert!(value.is_string() || value.is_number(), "{}", copied);
            }
        }
    }

    #[test]
    fn an_id_is_copied_exactly_as_it_was_written_and_only_when_it_is_one() {
        assert_eq!(id(br#"{"id": 1.50 ,"method":"x"}"#).as_deref(), Some("1.50"));
        assert_eq!(id(br#"{"id":"a\u0041","method":7}"#).as_deref(), Some(r#""a\u0041""#));
        for none in [r#"{"id":null}"#, r#"{"id":{}}"#, r#"{"id":[1]}"#, r"[1,2]", "junk", "{}", r#"{"id":true}"#] {
            assert_eq!(id(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn a_long_id_is_not_kept() {
        for (digits, kept) in [(MAX_ID, true), (MAX_ID + 1, false), (1024 * 1024, false)] {
            let (number, text) = ("1".repeat(digits), format!("\"{}\"", "x".repeat(digits - 2)));
            for written in [number, text] {
                let body = format!(r#"{{"id":{written},"method":"ping"}}"#);
                assert_eq!(id(body.as_bytes()), kept.then_some(written), "{digits} bytes");
            }
        }
    }

    fn read(body: &str) -> (Option<String>, Option<String>) {
        let message = Message::read(body.as_bytes());
        (message.method(), message.tool())
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
    fn no_name_steers_the_terminal_that_shows_the_log() {
        let call = r#"{"method":"tools/call","params":{"name":"a\u001b[2J\u009b31m\u202eb\u200b\u2028c"}}"#;
        let method = read("{\"method\":\"x\u{9b}31m\u{202e}\"}").0;
        assert_eq!(method.as_deref(), Some("x\u{fffd}31m\u{fffd}"));
        assert_eq!(read(call).1.as_deref(), Some("a\u{fffd}[2J\u{fffd}31m\u{fffd}b\u{fffd}\u{fffd}c"));
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let body = format!(r#"{{"method":"{}"}}"#, "ü".repeat(1000));
        assert_eq!(read(&body).0.unwrap(), format!("{}…", "ü".repeat(MAX_NAME / 2)));
    }
}
