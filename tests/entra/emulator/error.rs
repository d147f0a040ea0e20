//! Its errors: a code of OAuth, a number of its own in the description, and ids to find the request by.

use serde_json::{Value, json};

/// An error, as a document or on a redirect.
#[derive(Debug, Clone)]
pub(crate) struct EntraError {
    pub(crate) error: &'static str,
    pub(crate) number: u32,
    pub(crate) text: String,
    pub(crate) suberror: Option<String>,
    pub(crate) claims: Option<String>,
}

/// The ids of every answer, so that a log can be compared with them.
pub(crate) const TRACE: &str = "0f0e0d0c-0b0a-4908-8706-050403020100";
pub(crate) const CORRELATION: &str = "00010203-0405-4607-8809-0a0b0c0d0e0f";

impl EntraError {
    pub(crate) fn new(error: &'static str, number: u32, text: impl Into<String>) -> Self {
        Self { error, number, text: text.into(), suberror: None, claims: None }
    }

    pub(crate) fn with_suberror(mut self, suberror: Option<&str>) -> Self {
        self.suberror = suberror.map(str::to_owned);
        self
    }

    pub(crate) fn with_claims(mut self, claims: Option<String>) -> Self {
        self.claims = claims;
        self
    }

    /// The description ends with trace id, correlation id and time, each on a line of its own with a carriage return.
    pub(crate) fn description(&self, time: &str) -> String {
        format!(
            "AADSTS{}: {}\r\nTrace ID: {TRACE}\r\nCorrelation ID: {CORRELATION}\r\nTimestamp: {time}",
            self.number, self.text
        )
    }

    /// 401 for what is wrong with the client, 400 for everything else.
    pub(crate) fn status(&self) -> u16 {
        if self.error == "invalid_client" { 401 } else { 400 }
    }

    /// Besides the members of OAuth there are the number, both ids and the time once more, and a page about the number.
    /// `suberror` and `claims` are there only where they say something.
    pub(crate) fn document(&self, time: &str) -> Value {
        let mut document = json!({
            "error": self.error,
            "error_description": self.description(time),
            "error_codes": [self.number],
            "timestamp": time,
            "trace_id": TRACE,
            "correlation_id": CORRELATION,
            "error_uri": format!("https://login.microsoftonline.com/error?code={}", self.number),
        });
        if let Some(suberror) = &self.suberror {
            document["suberror"] = json!(suberror);
        }
        if let Some(claims) = &self.claims {
            document["claims"] = json!(claims);
        }
        document
    }
}

/// A time as it writes it: no T, and Z at the end.
pub(crate) fn timestamp(at: portcullis::clock::Timestamp) -> String {
    at.in_utc().replace('T', " ")
}
