//! JSON-RPC messages.

use serde_json::Value;

use crate::mcp::{Message, Name};

/// The longest id that is kept.
const MAX_ID: usize = 256;

/// A body. What it names is what every other parser reads.
pub fn messages(data: &[u8]) {
    let message = Message::read(data);
    let value: Option<Value> = serde_json::from_slice(data).ok();
    if let Some(id) = message.id() {
        assert!(id.get().len() <= MAX_ID);
        let id: Option<Value> = serde_json::from_str(id.get()).ok();
        // a number of many digits is kept as it was written, and other parsers may not read it
        assert!(id.is_none_or(|id| id.is_string() || id.is_number()));
    }
    let (Message::Single(envelope), Some(value)) = (&message, &value) else { return };
    if let Some(Name::Known(method)) = envelope.method() {
        assert_eq!(value.get("method").and_then(Value::as_str), Some(&*method));
    }
    if let Some(Name::Known(tool)) = envelope.tool() {
        assert_eq!(value.get("method").and_then(Value::as_str), Some("tools/call"));
        assert_eq!(value.pointer("/params/name").and_then(Value::as_str), Some(&*tool));
    }
}
