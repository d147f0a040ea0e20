//! An MCP server behind HTTP/1.1.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::http::uri::{Authority, PathAndQuery};
use ::http::{HeaderValue, Method, Response, Uri};
use tokio::time::{Instant, timeout};

use super::answer::AnswerBody;
use super::connect::Connector;
use super::error::UpstreamError;
use super::outgoing::Outgoing;
use super::pool::IdlePool;
use super::redirect::{self, Followed, Habit, Redirect};
use crate::config::{CaFile, ReachHttp};
use crate::telemetry::metrics::UpstreamCalls;

/// An MCP server that is reached over HTTP.
pub(crate) struct HttpUpstream {
    id: String,
    url: Uri,
    /// The path of `url` alone.
    path: Uri,
    host: HeaderValue,
    first_byte: Duration,
    connector: Connector,
    pool: IdlePool,
    failed: AtomicBool,
    habit: Habit,
    told_of_redirects: AtomicBool,
}

impl HttpUpstream {
    /// Prepares everything; opens no connection. At most `max_idle` connections wait for a next call.
    #[must_use]
    pub(super) fn new(id: &str, reach: &ReachHttp, global_ca_file: Option<&CaFile>, max_idle: usize) -> Self {
        let url = reach.url.clone();
        let authority = url.authority().map_or("", Authority::as_str);
        // a URL's authority is ASCII without spaces
        let own = HeaderValue::from_str(authority).unwrap_or(HeaderValue::from_static(""));
        Self {
            id: id.to_owned(),
            path: url.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")).into(),
            host: reach.host.clone().unwrap_or(own),
            first_byte: reach.first_byte,
            connector: Connector::new(reach, global_ca_file),
            pool: IdlePool::new(max_idle),
            failed: AtomicBool::new(false),
            habit: Habit::default(),
            told_of_redirects: AtomicBool::new(false),
            url,
        }
    }

    /// What a request asks for: the path of the configured URL, which has no query, with the client's.
    ///
    /// # Errors
    /// When the query does not fit.
    pub(super) fn target(&self, query: Option<&str>) -> Result<Uri, ::http::Error> {
        let Some(query) = query else { return Ok(self.path.clone()) };
        let path: PathAndQuery = format!("{}?{query}", self.url.path()).try_into()?;
        Ok(path.into())
    }

    /// Sends a request and waits for the response head, without a limit for GET. Dropping the future cancels the request.
    ///
    /// # Errors
    /// See [`UpstreamError`].
    pub(super) async fn send(
        self: Arc<Self>,
        call: Outgoing,
        metrics: Arc<UpstreamCalls>,
    ) -> Result<Response<AnswerBody>, UpstreamError> {
        let (limit, began) = (self.first_byte, Instant::now());
        let answer = if call.method == Method::GET {
            self.follow(call).await
        } else {
            let waits = call.payload.waits_for_client();
            timeout(limit, self.follow(call)).await.unwrap_or_else(|_elapsed| {
                let clients_fault = waits.is_some_and(|waits| waits.now());
                Err(if clients_fault { UpstreamError::SlowRequestBody } else { UpstreamError::TimedOut(limit) })
            })
        };
        let answer = self.tell_of_redirects(answer);
        self.note(&answer, began, &metrics);
        answer
    }

    /// Sends a request once, as a probe: nothing is logged or remembered. See [`Followed`] for redirects.
    ///
    /// # Errors
    /// See [`UpstreamError`].
    pub(super) async fn look(&self, call: Outgoing) -> Result<Response<AnswerBody>, UpstreamError> {
        self.follow(call).await
    }

    /// Sends a request, to where the upstream's own redirects lead. The answer says where that was, when they led anywhere.
    async fn follow(&self, call: Outgoing) -> Result<Response<AnswerBody>, UpstreamError> {
        let mut copy = if self.habit.may_redirect() {
            call.copy().ok_or(redirect::BODY_NOT_KEPT)
        } else {
            Err(redirect::UNEXPECTED)
        };
        let mut answer = self.exchange(call).await?;
        for left in (0..=redirect::MOST).rev() {
            let asked = copy.as_ref().ok().map(|copy| &copy.target);
            let Some(redirect) = Redirect::of(&answer, &self.url, asked) else {
                self.habit.note_answer(answer.status());
                break;
            };
            self.habit.note_redirect();
            let again = redirect.follow(copy, &self.host, left)?;
            copy = again.copy().ok_or(redirect::BODY_NOT_KEPT);
            let followed = Followed(again.target.clone());
            answer = Box::pin(self.exchange(again)).await?;
            answer.extensions_mut().insert(followed);
        }
        Ok(answer)
    }

    /// Warns once that every call is sent twice.
    fn tell_of_redirects<E>(&self, answer: Result<Response<AnswerBody>, E>) -> Result<Response<AnswerBody>, E> {
        let followed = answer.as_ref().ok().and_then(|answer| answer.extensions().get::<Followed>());
        if let Some(Followed(to)) = followed
            && !self.told_of_redirects.swap(true, Ordering::Relaxed)
        {
            let (upstream, from, to) = (&self.id, self.url.path(), to.path());
            tracing::warn!(upstream, from, to, "the upstream redirects each call: write its `url` with the other path");
        }
        answer
    }

    /// Sends a request on a connection that waits, or on a new one.
    fn exchange(&self, call: Outgoing) -> impl Future<Output = Result<Response<AnswerBody>, UpstreamError>> + Send {
        let shares = call.may_share();
        let mut request = call.into_request(&self.host);
        async move {
            while let Some(mut idle) = if shares { self.pool.take() } else { None } {
                match idle.try_send_request(request).await {
                    Ok(answer) => return AnswerBody::of(answer, Some((idle, self.pool.clone()))),
                    Err(mut error) => {
                        // only a request of which no byte left is returned: it is sent again, no other is (replay)
                        let unsent = error.take_message();
                        request = unsent.ok_or_else(|| UpstreamError::exchange(error.error()))?;
                    }
                }
            }
            let mut connection = Box::pin(self.connector.connect()).await?;
            let answer = connection.send_request(request).await.map_err(|error| UpstreamError::exchange(&error))?;
            AnswerBody::of(answer, shares.then(|| (connection, self.pool.clone())))
        }
    }

    /// Records the result; a failure of the client's body says nothing about the upstream.
    fn note(&self, answer: &Result<Response<AnswerBody>, UpstreamError>, began: Instant, metrics: &UpstreamCalls) {
        match answer {
            Ok(_) => metrics.answered(began.elapsed()),
            Err(UpstreamError::RequestBody(_) | UpstreamError::SlowRequestBody) => return,
            Err(_) => metrics.failed(),
        }
        self.failed.store(answer.is_err(), Ordering::Relaxed);
    }

    /// Ends the idle connections, and those in use when their exchange is over: none is kept for a next call.
    pub(super) fn close(&self) {
        self.pool.close();
    }

    /// Whether the last real call failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}
