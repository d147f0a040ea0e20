//! A greeting for `portcullis doctor`: whether what answers is an MCP server. A session that it opens is closed again.

use std::time::Duration;

use ::http::header::{ACCEPT, CONTENT_TYPE};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::answer::AnswerBody;
use super::error::UpstreamError;
use super::http::HttpUpstream;
use super::outgoing::{Outgoing, Payload};
use super::probe::{Finding, add_configured, host_of, redirect};
use crate::config::{CaFile, ReachHttp, UpstreamSettings};

/// How long a greeting may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// From when on it is worth a word.
const SLOW: Duration = Duration::from_secs(5);
/// How long the end of a session may take.
const GOODBYE: Duration = Duration::from_secs(2);
/// How much of an answer is read, in bytes.
const MOST: usize = 256 * 1024;
const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// What an MCP server says to a greeting.
enum Said {
    /// A result: it is one.
    Result,
    /// An error of JSON-RPC.
    Error(i64),
    /// Something else.
    Other(Finding),
}

struct Greeting<'a> {
    settings: &'a UpstreamSettings,
    reach: &'a ReachHttp,
    client: HttpUpstream,
}

/// Greets a server as clients do: as those before 2026-07-28, then as those since, which servers may have dropped or not have
/// learnt.
pub(super) async fn greet(
    settings: &UpstreamSettings,
    reach: &ReachHttp,
    global_ca_file: Option<&CaFile>,
) -> Vec<Finding> {
    let http = ReachHttp { reconnect: None, ..reach.clone() };
    let client = HttpUpstream::new(&settings.id, &http, global_ca_file, 1);
    let greeting = Greeting { settings, reach, client };
    let began = Instant::now();
    let Ok((said, redirects)) = timeout(PATIENCE, greeting.say(&initialize(), &[])).await else {
        return vec![Finding::NoAnswer(UpstreamError::TimedOut(PATIENCE).to_string())];
    };
    let took = began.elapsed();
    let finding = match said {
        Said::Result => (took >= SLOW).then_some(Finding::Slow(took)),
        Said::Other(finding) => Some(finding),
        Said::Error(code) => greeting.discover(code).await,
    };
    finding.into_iter().chain(redirects).collect()
}

fn client_info() -> Value {
    json!({"name": "portcullis-doctor", "version": crate::VERSION})
}

fn initialize() -> Value {
    json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client_info()},
    })
}

impl Greeting<'_> {
    /// The greeting since 2026-07-28, after the former one was refused with this code.
    async fn discover(&self, code: i64) -> Option<Finding> {
        const VERSION: &str = "2026-07-28";
        let message = json!({
            "jsonrpc": "2.0", "id": 2, "method": "server/discover",
            "params": {"_meta": {
                "io.modelcontextprotocol/protocolVersion": VERSION,
                "io.modelcontextprotocol/clientInfo": client_info(),
                "io.modelcontextprotocol/clientCapabilities": {},
            }},
        });
        let more = [("mcp-protocol-version", VERSION), ("mcp-method", "server/discover")];
        match timeout(PATIENCE, self.say(&message, &more)).await {
            Ok((Said::Result, _)) => None,
            _ => Some(Finding::NotMcp(format!("answers `initialize` with the JSON-RPC error {code}"))),
        }
    }

    /// Sends one message; also says whether the server redirected.
    async fn say(&self, message: &Value, more: &[(&'static str, &'static str)]) -> (Said, Option<Finding>) {
        let mut headers = HeaderMap::from_iter([
            (ACCEPT, HeaderValue::from_static("application/json, text/event-stream")),
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ]);
        let more = more.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        headers.extend(more);
        add_configured(&mut headers, self.settings);
        let body = Payload::Whole(Bytes::from(message.to_string()));
        match self.send(Method::POST, headers, body).await {
            Ok(response) => {
                let redirects = redirect(&response);
                let session = response.headers().get(SESSION_ID).cloned();
                let said = self.classify(response).await;
                if let Some(session) = session {
                    self.leave(session).await;
                }
                (said, redirects)
            }
            Err(UpstreamError::Redirects { to, .. }) => (Said::Other(Finding::Redirects { to }), None),
            Err(error) => (Said::Other(Finding::NoAnswer(error.to_string())), None),
        }
    }

    async fn send(
        &self,
        method: Method,
        headers: HeaderMap,
        payload: Payload,
    ) -> Result<Response<AnswerBody>, UpstreamError> {
        let target = self.client.target(None).or(Err(UpstreamError::Unreadable("its URL cannot be called")))?;
        self.client.look(Outgoing { method, target, headers, payload }).await
    }

    /// Ends the session that a greeting opened; a server that refuses that forgets it by itself.
    async fn leave(&self, session: HeaderValue) {
        let mut headers = HeaderMap::from_iter([(SESSION_ID, session)]);
        add_configured(&mut headers, self.settings);
        let _left = timeout(GOODBYE, self.send(Method::DELETE, headers, Payload::none())).await;
    }

    async fn classify(&self, response: Response<AnswerBody>) -> Said {
        let status = response.status();
        let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (is_page, kind) = (kind.starts_with("text/html"), kind.to_owned());
        match status {
            StatusCode::UNAUTHORIZED => return Said::Other(Finding::WantsCredentials),
            StatusCode::MISDIRECTED_REQUEST | StatusCode::FORBIDDEN => {
                return Said::Other(Finding::RefusesHost { status, host: host_of(self.reach) });
            }
            _ if status.is_server_error() => return Said::Other(Finding::Fails(status)),
            _ if is_page && status != StatusCode::NOT_FOUND => return Said::Other(Finding::WebPage),
            _ => {}
        }
        match message_in(response.into_body()).await {
            Some(message) if message.get("result").is_some() => Said::Result,
            Some(message) if message.get("error").is_some() => {
                Said::Error(message.pointer("/error/code").and_then(Value::as_i64).unwrap_or_default())
            }
            _ if status == StatusCode::NOT_FOUND => Said::Other(Finding::NotThere),
            _ => {
                let status = status.as_u16();
                Said::Other(Finding::NotMcp(format!("answers `initialize` with {status} ({kind:?}) and no JSON-RPC")))
            }
        }
    }
}

/// The JSON-RPC message of an answer, which is the body, or the first event with data. An event stream may stay open.
async fn message_in(mut body: AnswerBody) -> Option<Value> {
    let mut read = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        read.extend_from_slice(&frame.into_data().unwrap_or_default());
        let message = message(&read);
        if message.is_some() || read.len() > MOST {
            return message;
        }
    }
    message(&read)
}

fn message(read: &[u8]) -> Option<Value> {
    let is_rpc = |value: &Value| value.get("jsonrpc").is_some();
    if let Ok(value) = serde_json::from_slice(read) {
        return Some(value).filter(is_rpc);
    }
    let lines = std::str::from_utf8(read).ok()?.lines();
    lines.filter_map(|line| serde_json::from_str(line.strip_prefix("data:")?).ok()).find(is_rpc)
}

#[cfg(test)]
mod tests {
    use super::message;

    #[test]
    fn a_message_is_found_in_json_and_in_events() {
        for (text, found) in [
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, true),
            ("event: message\ndata: {\"jsonrpc\":\"2.0\",\"result\":{}}\n\n", true),
            (": ping\n\nid: 1\ndata: \n\ndata: {\"jsonrpc\":\"2.0\",\"result\":{}}\n", true),
            (r#"{"error":"not found"}"#, false),
            ("data: {\"jsonrpc\":\"2.0\",", false),
            ("<html>", false),
            ("", false),
        ] {
            assert_eq!(message(text.as_bytes()).is_some(), found, "{text}");
        }
    }
}
