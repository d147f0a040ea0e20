//! JSON-RPC errors (JSON-RPC 2.0 5.1).

use serde::Serialize;
use serde_json::value::RawValue;

/// What kind of error it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorCode {
    /// The request was wrong.
    InvalidRequest,
    /// Something failed that the client cannot mend.
    Internal,
}

impl ErrorCode {
    const fn number(self) -> i32 {
        match self {
            Self::InvalidRequest => -32600,
            Self::Internal => -32603,
        }
    }
}

#[derive(Serialize)]
struct Response<'a, D> {
    jsonrpc: &'static str,
    id: Option<&'a RawValue>,
    error: ErrorObject<'a, D>,
}

#[derive(Serialize)]
struct ErrorObject<'a, D> {
    code: i32,
    message: &'a str,
    data: D,
}

/// An error response as JSON. `id` is the request's; `null` stands for one that is not known (JSON-RPC 2.0 5).
pub(crate) fn error_response<D: Serialize>(id: Option<&RawValue>, code: ErrorCode, message: &str, data: D) -> Vec<u8> {
    let error = ErrorObject { code: code.number(), message, data };
    serde_json::to_vec(&Response { jsonrpc: "2.0", id, error }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json::value::RawValue;

    use super::{ErrorCode, error_response};

    #[test]
    fn an_error_repeats_the_id_as_it_was_written_or_says_null() {
        let id = RawValue::from_string("1.50".to_owned()).unwrap();
        let response = error_response(Some(&id), ErrorCode::InvalidRequest, "no", json!({"a": 1}));
        let expected = r#"{"jsonrpc":"2.0","id":1.50,"error":{"code":-32600,"message":"no","data":{"a":1}}}"#;
        assert_eq!(String::from_utf8(response).unwrap(), expected);
        let response = error_response(None, ErrorCode::Internal, "no", json!({}));
        assert!(
            String::from_utf8(response).unwrap().starts_with(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32603"#)
        );
    }
}
