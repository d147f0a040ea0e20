//! A JSON-RPC message: its id, its method and the tool that it calls. The body is parsed once; what is forwarded are its
//! bytes.
//!
//! Defends against messages that two readers understand differently (parser differential): where a member is repeated, one server takes the first
//! and another the last. Such a message has no name here.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The longest id that is kept, in bytes. It is held until the answer begins, outside the memory budget for bodies; real
/// ids are numbers or UUIDs.
const MAX_ID: usize = 256;
/// The JSON-RPC method that names a tool (MCP, tools).
const TOOLS_CALL: &str = "tools/call";

/// What a body holds.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    /// One request, notification or response.
    Single(Envelope<'a>),
    /// An array: several messages, which no current version of MCP has.
    Batch,
    /// Not JSON, not an object, or an object with a repeated member.
    Unreadable,
}

/// The members of one message.
#[derive(Debug, Deserialize)]
pub(crate) struct Envelope<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<&'a RawValue>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
}

/// What a message names: its method, or the tool that it calls.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Name<'a> {
    /// This, in every reading.
    Known(Cow<'a, str>),
    /// Not a text, or one of several: another reader may see another name.
    Unreadable,
}

impl<'a> Message<'a> {
    /// Reads a body.
    pub(crate) fn read(body: &'a [u8]) -> Self {
        match body.trim_ascii_start().first() {
            Some(b'{') => serde_json::from_slice(body).map_or(Self::Unreadable, Self::Single),
            Some(b'[') => Self::Batch,
            _ => Self::Unreadable,
        }
    }

    /// The id exactly as it was written, when it is a number or a text of at most [`MAX_ID`] bytes. A copy, so that the
    /// body does not stay in memory while the answer is waited for.
    pub(crate) fn id(&self) -> Option<Box<RawValue>> {
        let Self::Single(Envelope { id: Some(id), .. }) = self else { return None };
        let is_id = id.get().starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit());
        (is_id && id.get().len() <= MAX_ID).then(|| (*id).to_owned())
    }
}

impl<'a> Envelope<'a> {
    /// The method; a response has none.
    pub(crate) fn method(&self) -> Option<Name<'a>> {
        let method = self.method?;
        // a text without escapes is borrowed, and any other is decoded
        let borrowed = serde_json::from_str(method.get()).map(Cow::Borrowed);
        let text = borrowed.or_else(|_escaped| serde_json::from_str(method.get()).map(Cow::Owned));
        Some(text.map_or(Name::Unreadable, Name::Known))
    }

    /// The tool, when the message calls one.
    pub(crate) fn tool(&self) -> Option<Name<'a>> {
        let Some(Name::Known(method)) = self.method() else { return None };
        let params = self.params.filter(|params| method == TOOLS_CALL && params.get().starts_with('{'))?;
        let call: Result<ToolCall<'a>, _> = serde_json::from_str(params.get());
        call.map_or(Some(Name::Unreadable), |ToolCall { name }| name.map(Name::Known))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::{MAX_ID, Message, Name};

    fn id(body: &[u8]) -> Option<String> {
        Message::read(body).id().map(|id| id.get().to_owned())
    }

    proptest! {
        #[test]
        fn a_copied_id_is_a_string_or_a_number_whatever_the_body(
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

    #[derive(Debug, PartialEq)]
    enum Read {
        Batch,
        Unreadable,
        Single(Option<String>, Option<String>),
    }

    fn read(body: &str) -> Read {
        let text = |name: Name<'_>| match name {
            Name::Known(name) => name.into_owned(),
            Name::Unreadable => "?".to_owned(),
        };
        match Message::read(body.as_bytes()) {
            Message::Single(envelope) => Read::Single(envelope.method().map(text), envelope.tool().map(text)),
            Message::Batch => Read::Batch,
            Message::Unreadable => Read::Unreadable,
        }
    }

    #[test]
    fn a_message_is_named_by_its_method_and_a_tool_call_by_its_tool() {
        let named = |method: &str, tool: Option<&str>| Read::Single(Some(method.to_owned()), tool.map(str::to_owned));
        let call = r#" {"id":1,"params":{"arguments":{"name":"not me"},"name":"e\u0063ho"},"method":"tools/call"}"#;
        assert_eq!(read(call), named("tools/call", Some("echo")));
        assert_eq!(read(r#"{"method":"tools\/call","params":{"name":"echo"}}"#), named("tools/call", Some("echo")));
        assert_eq!(read(r#"{"method":"tools/call","params":[1]}"#), named("tools/call", None));
        assert_eq!(read(r#"{"method":"prompts/get","params":{"name":"x"}}"#), named("prompts/get", None));
        assert_eq!(read(r#"{"id":1,"result":{}}"#), Read::Single(None, None));
        assert_eq!(read(r#"[{"method":"ping"}]"#), Read::Batch);
    }

    #[test]
    fn what_two_readers_may_understand_differently_has_no_name() {
        for unreadable in ["", "x", "{", r#"{"method":"a","method":"b"}"#] {
            assert_eq!(read(unreadable), Read::Unreadable, "{unreadable}");
        }
        assert_eq!(read(r#"{"method":1}"#), Read::Single(Some("?".to_owned()), None));
        let twice = r#"{"method":"tools/call","params":{"name":"a","name":"b"}}"#;
        assert_eq!(read(twice), Read::Single(Some("tools/call".to_owned()), Some("?".to_owned())));
    }
}
