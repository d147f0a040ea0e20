//! A check of an MCP server before the first client meets it: most first starts fail because of a wrong port, path or
//! host name.

use std::fmt;
use std::time::Duration;

use ::http::header::{ACCEPT, CONTENT_TYPE};
use ::http::uri::Authority;
use ::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt;

use super::answer::AnswerBody;
use super::error::UpstreamError;
use super::http::HttpUpstream;
use super::outgoing::{Outgoing, Payload};
use super::redirect::Followed;
use crate::config::{CaFile, ReachHttp, UpstreamSettings};

/// How long an answer may take to begin: longer than a connection may, which is an error of its own. A server that
/// accepts the connection and says nothing passes: some answer a GET only with their first event.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long a stream is watched for its first words.
const FIRST_WORDS: Duration = Duration::from_millis(500);

/// What is, or may be, wrong with an MCP server. The words follow the server's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// There is no connection, or no answer on it: what happened.
    NoAnswer(String),
    /// 404.
    NotThere,
    /// It sends callers elsewhere, and they cannot follow.
    Redirects {
        /// Where to, unless that may hold a password.
        to: String,
    },
    /// It answers each call with a redirect on its own origin, which we follow: every call takes two requests.
    RedirectsEachCall {
        /// The path that it redirects to.
        path: String,
    },
    /// It speaks the transport before Streamable HTTP (MCP 2024-11-05).
    OldTransport,
    /// 401: it guards itself.
    WantsCredentials,
    /// 421, or 403: it does not know the name by which we call it (a defence against DNS rebinding).
    RefusesHost {
        /// Which of the two.
        status: StatusCode,
        /// The name.
        host: String,
    },
    /// It answers like a web site.
    WebPage,
    /// 5xx.
    Fails(StatusCode),
    /// It answers a greeting with something that no MCP server says: what.
    NotMcp(String),
    /// It answers a greeting, after so long.
    Slow(Duration),
}

impl Finding {
    /// Whether no call can succeed. Other findings cost time only, or may be how an MCP server answers a bare GET.
    pub(crate) fn is_fatal(&self) -> bool {
        match self {
            Self::RefusesHost { status, .. } => *status == StatusCode::MISDIRECTED_REQUEST,
            Self::WebPage | Self::RedirectsEachCall { .. } | Self::Slow(_) => false,
            _ => true,
        }
    }

    /// What to do about it.
    pub(crate) const fn hint(&self) -> &'static str {
        match self {
            Self::NoAnswer(_) => "start your MCP server first, and check host and port",
            Self::NotThere | Self::WebPage => "check the path; MCP servers usually listen at /mcp",
            Self::NotMcp(_) => "write the URL of the MCP endpoint into `url`; MCP servers usually listen at /mcp",
            Self::Fails(_) => "see the log of your MCP server, and of any proxy between",
            Self::Slow(_) => "clients give up after some seconds: see what your MCP server does when it is greeted",
            Self::Redirects { .. } => "give the URL that it redirects to",
            Self::RedirectsEachCall { .. } => "write `url` with that path",
            Self::OldTransport => "start your MCP server with Streamable HTTP; it then usually listens at /mcp",
            Self::WantsCredentials => {
                "switch its own authentication off, or configure what it wants in `headers` of [[upstream]]"
            }
            Self::RefusesHost { .. } => {
                "add that name to those that your MCP server allows, or set `host` of [[upstream]] to one that it answers to"
            }
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer(words) | Self::NotMcp(words) => f.write_str(words),
            Self::NotThere => f.write_str("answers 404"),
            Self::Redirects { to } => write!(f, "redirects to {to:?}"),
            Self::RedirectsEachCall { path } => write!(f, "redirects each call to {path:?}"),
            Self::OldTransport => f.write_str("speaks HTTP+SSE, which is not supported in this version"),
            Self::WantsCredentials => f.write_str("asks for credentials itself"),
            Self::RefusesHost { status, host } if *status == StatusCode::MISDIRECTED_REQUEST => {
                write!(f, "answers 421: it does not know the name {host:?}")
            }
            Self::RefusesHost { status, host } => {
                write!(f, "answers {}: it may not know the name {host:?}", status.as_u16())
            }
            Self::WebPage => f.write_str("answers with a web page"),
            Self::Fails(status) => write!(f, "answers {}", status.as_u16()),
            Self::Slow(took) => write!(f, "takes {:.1} s to answer a greeting", took.as_secs_f32()),
        }
    }
}

/// Sends a GET to a server that is reached over HTTP.
pub(super) async fn over_http(
    settings: &UpstreamSettings,
    reach: &ReachHttp,
    global_ca_file: Option<&CaFile>,
) -> Vec<Finding> {
    // no waiting for a restart: the operator wants to know now
    let http = ReachHttp { reconnect: None, ..reach.clone() };
    let client = HttpUpstream::new(&settings.id, &http, global_ca_file, 1);
    let target = match client.target(None) {
        Ok(target) => target,
        Err(error) => return vec![Finding::NoAnswer(format!("cannot be called: {error}"))],
    };
    let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("text/event-stream"))]);
    add_configured(&mut headers, settings);
    let question = Outgoing { method: Method::GET, target, headers, payload: Payload::none() };
    match tokio::time::timeout(PATIENCE, client.look(question)).await {
        Err(_elapsed) => Vec::new(),
        Ok(Ok(response)) => {
            let redirect = redirect(&response);
            check(response, &http).await.into_iter().chain(redirect).collect()
        }
        Ok(Err(UpstreamError::Redirects { to, .. })) => vec![Finding::Redirects { to }],
        Ok(Err(error)) => vec![Finding::NoAnswer(error.to_string())],
    }
}

/// The header fields that every call of this upstream carries.
pub(super) fn add_configured(headers: &mut HeaderMap, settings: &UpstreamSettings) {
    for added in &settings.request_headers.added {
        headers.insert(added.name.clone(), added.value.clone());
    }
}

pub(super) fn redirect(response: &Response<AnswerBody>) -> Option<Finding> {
    let Followed(to) = response.extensions().get()?;
    Some(Finding::RedirectsEachCall { path: to.path().to_owned() })
}

async fn check(response: Response<AnswerBody>, reach: &ReachHttp) -> Option<Finding> {
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match response.status() {
        StatusCode::NOT_FOUND => return Some(Finding::NotThere),
        StatusCode::UNAUTHORIZED => return Some(Finding::WantsCredentials),
        status @ (StatusCode::MISDIRECTED_REQUEST | StatusCode::FORBIDDEN) => {
            return Some(Finding::RefusesHost { status, host: host_of(reach) });
        }
        _ => {}
    }
    let kind = header(CONTENT_TYPE).to_ascii_lowercase();
    if kind.starts_with("text/html") {
        return Some(Finding::WebPage);
    }
    let is_old = kind.starts_with("text/event-stream") && begins_like_http_sse(response.into_body()).await;
    is_old.then_some(Finding::OldTransport)
}

/// The name by which an upstream is called.
pub(super) fn host_of(reach: &ReachHttp) -> String {
    let configured = reach.host.as_ref().and_then(|host| host.to_str().ok());
    let host = configured.or_else(|| reach.url.authority().map(Authority::as_str));
    host.unwrap_or_default().to_owned()
}

/// A URL as it may stand in a message: before an @ there may be a password.
pub(crate) fn shown(url: &str) -> String {
    if url.contains('@') { "…".to_owned() } else { url.to_owned() }
}

/// Whether a stream begins by naming another endpoint, as servers of MCP 2024-11-05 (HTTP+SSE) do.
async fn begins_like_http_sse(mut body: AnswerBody) -> bool {
    let first = tokio::time::timeout(FIRST_WORDS, body.frame()).await;
    let data = first.ok().flatten().and_then(Result::ok).and_then(|frame| frame.into_data().ok());
    data.is_some_and(|data| data.starts_with(b"event: endpoint") || data.starts_with(b"event:endpoint"))
}
