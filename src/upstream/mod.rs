//! Ways to reach an MCP server. Each is a file and a variant of [`Upstream`]; today that is Streamable HTTP.
//!
//! HTTP/1.1 only: one HTTP/2 connection would share its stream limit among all users, so that one user's open streams would
//! block the calls of all others. No call waits without a bound for a connection: it takes an idle one or opens a new one.
//!
//! Defends against: request smuggling and response desync between users who share a connection (`answer.rs`, `framing.rs`),
//! redirects that would carry a user's identity to another host (`redirect.rs`), and replay of a call that may have been
//! carried out (`http.rs`: only a request of which no byte left is sent again).

mod answer;
mod body;
mod connect;
mod error;
mod framing;
mod greeting;
mod http;
mod outgoing;
mod pool;
mod probe;
mod redirect;

use std::pin::Pin;
use std::sync::Arc;

use ::http::{Response, Uri};

use self::http::HttpUpstream;
use crate::config::{CaFile, Reach, UpstreamSettings};
use crate::telemetry::metrics::UpstreamCalls;

pub(crate) use self::body::UpstreamBody;
pub(crate) use self::error::{RequestBodyError, UpstreamError, status_words};
pub(crate) use self::outgoing::{Outgoing, Payload, Streamed};
pub(crate) use self::probe::{Finding, shown};

/// A request under way, until the head of its answer. It is boxed, so that a call that still waits for its body does not hold
/// the memory for sending.
pub(crate) type Sending = Pin<Box<dyn Future<Output = Result<Response<UpstreamBody>, UpstreamError>> + Send>>;

/// An MCP server behind us, with its connections. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Upstream {
    /// Streamable HTTP.
    Http(Arc<HttpUpstream>),
}

impl Upstream {
    /// Prepares everything; opens no connection. At most `max_idle` connections wait for a next call.
    #[must_use]
    pub(crate) fn new(settings: &UpstreamSettings, global_ca_file: Option<&CaFile>, max_idle: usize) -> Self {
        match &settings.reach {
            Reach::Http(reach) => {
                Self::Http(Arc::new(HttpUpstream::new(&settings.id, reach, global_ca_file, max_idle)))
            }
        }
    }

    /// Checks a server before the first client meets it, the way clients' calls go. An empty result does not prove that it is
    /// an MCP server.
    pub(crate) async fn probe(settings: &UpstreamSettings, global_ca_file: Option<&CaFile>) -> Vec<Finding> {
        match &settings.reach {
            Reach::Http(reach) => probe::over_http(settings, reach, global_ca_file).await,
        }
    }

    /// Greets a server as an MCP client does, and ends the session that this opens. What is wrong with the greeting is explained
    /// by what a bare GET says, where that says more. Empty: it is an MCP server.
    pub(crate) async fn examine(settings: &UpstreamSettings, global_ca_file: Option<&CaFile>) -> Vec<Finding> {
        let Reach::Http(reach) = &settings.reach;
        let (greeted, looked) = tokio::join!(
            greeting::greet(settings, reach, global_ca_file),
            probe::over_http(settings, reach, global_ca_file),
        );
        let says_more = |finding: &Finding| matches!(finding, Finding::OldTransport | Finding::WebPage);
        match looked.into_iter().find(says_more) {
            Some(finding) if matches!(greeted.first(), Some(Finding::NotMcp(_) | Finding::NotThere)) => vec![finding],
            _ => greeted,
        }
    }

    /// What a request asks the server for, with the client's query.
    ///
    /// # Errors
    /// When the query does not fit.
    pub(crate) fn target(&self, query: Option<&str>) -> Result<Uri, ::http::Error> {
        match self {
            Self::Http(http) => http.target(query),
        }
    }

    /// Sends a request, and completes with the head of its answer. Dropping the future cancels the request.
    pub(crate) fn send(&self, call: Outgoing, metrics: &Arc<UpstreamCalls>) -> Sending {
        match self {
            Self::Http(http) => {
                let sending = Arc::clone(http).send(call, Arc::clone(metrics));
                Box::pin(async { sending.await.map(|answer| answer.map(UpstreamBody::Http)) })
            }
        }
    }

    /// Closes idle connections. Calls in progress finish.
    pub(crate) fn close(&self) {
        match self {
            Self::Http(http) => http.close(),
        }
    }

    /// Whether the last real call failed.
    pub(crate) fn has_failed(&self) -> bool {
        match self {
            Self::Http(http) => http.has_failed(),
        }
    }
}
