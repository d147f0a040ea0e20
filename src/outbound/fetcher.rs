//! Calls to servers that the operator configured: identity providers.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, ACCEPT_LANGUAGE, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::{Client, ClientBuilder, RequestBuilder, Response};
use tokio::time::Instant;

use super::diagnosis::Diagnosis;
use super::failure;
use super::roots::tls_config;
use super::route::ProxyRoute;
use crate::config::{CaFile, OutboundProxy};
use crate::secret::SecretText;

/// The largest answer that is read.
const MAX_BODY: usize = 1024 * 1024;
/// How long a connection, TLS included, may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// Servers close idle connections after five seconds or later; a call on one that is just closing would fail.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Why a call has no usable answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// No connection, no TLS, no answer in time: the diagnosis says which.
    #[error("{0}")]
    Unreachable(Diagnosis),
    /// More bytes than allowed.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
}

impl From<FetchError> for Diagnosis {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Unreachable(diagnosis) => diagnosis,
            error @ FetchError::TooLarge(_) => Self::new(error.to_string()),
        }
    }
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// An answer, and when its body came.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The whole answer.
    pub fetched: Fetched,
    /// How long after the first byte of the body its last piece came.
    pub spread: Duration,
}

/// Makes control-plane calls. Cheap to clone.
#[derive(Clone)]
pub struct Fetcher {
    client: Client,
    route: ProxyRoute,
}

impl Fetcher {
    /// A fetcher that trusts these roots besides the machine's own, and calls directly.
    ///
    /// # Panics
    /// When the HTTP library refuses our constants.
    pub fn new<'a>(ca_files: impl IntoIterator<Item = &'a CaFile>) -> Self {
        Self::through(ca_files, &OutboundProxy::Off)
    }

    /// A fetcher that calls through a proxy where that says so.
    ///
    /// # Panics
    /// When the HTTP library refuses our constants.
    pub fn through<'a>(ca_files: impl IntoIterator<Item = &'a CaFile>, proxy: &OutboundProxy) -> Self {
        let route = ProxyRoute::new(proxy);
        #[expect(clippy::disallowed_methods, reason = "this is the guarded client")]
        let client = Client::builder()
            .tls_backend_preconfigured(tls_config(ca_files))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            // never what the environment says: the configuration says whether that counts
            .no_proxy()
            .user_agent(user_agent())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT);
        let client = route.proxies().into_iter().fold(client, ClientBuilder::proxy);
        #[expect(clippy::expect_used, reason = "every setting is a constant of ours, or was checked")]
        let client = client.build().expect("the client can be built");
        Self { client, route }
    }

    /// GET of a JSON document.
    ///
    /// # Errors
    /// When there is no whole answer within `timeout`.
    pub async fn get(&self, url: &str, timeout: Duration) -> Result<Fetched, FetchError> {
        self.fetch(self.client.get(url), url, timeout).await
    }

    /// GET of a JSON document with a bearer token (RFC 6750 2.1).
    ///
    /// # Errors
    /// When there is no whole answer within `timeout`.
    pub async fn get_with(&self, url: &str, token: &SecretText, timeout: Duration) -> Result<Fetched, FetchError> {
        let header = sensitive(format!("Bearer {}", token.expose()), "the access token does not fit a header")?;
        self.fetch(self.client.get(url).header(AUTHORIZATION, header), url, timeout).await
    }

    /// GET of a JSON document with a header whose value is not printed.
    ///
    /// # Errors
    /// When there is no whole answer within `timeout`.
    pub async fn get_showing(
        &self,
        url: &str,
        (name, value): (&'static str, &str),
        timeout: Duration,
    ) -> Result<Fetched, FetchError> {
        let value = sensitive(value.to_owned(), "the secret does not fit a header")?;
        self.fetch(self.client.get(url).header(name, value), url, timeout).await
    }

    /// GET of what a browser would see; a redirect is not followed.
    ///
    /// # Errors
    /// When there is no whole answer within `timeout`.
    pub async fn get_page(&self, url: &str, timeout: Duration) -> Result<Fetched, FetchError> {
        let request = self.client.get(url).header(ACCEPT, "text/html").header(ACCEPT_LANGUAGE, "en");
        Ok(Box::pin(self.watched(request, url, timeout)).await?.fetched)
    }

    /// GET with these header fields, which tells when the pieces of the body came.
    ///
    /// # Errors
    /// When there is no whole answer within `timeout`.
    pub async fn watch(&self, url: &str, headers: HeaderMap, timeout: Duration) -> Result<Watched, FetchError> {
        Box::pin(self.watched(self.client.get(url).headers(headers), url, timeout)).await
    }

    /// POST of a JSON document with a bearer token.
    ///
    /// # Errors
    /// When there is no whole answer within `timeout`.
    pub async fn post_json(
        &self,
        url: &str,
        bearer: &SecretText,
        body: String,
        timeout: Duration,
    ) -> Result<Fetched, FetchError> {
        let bearer = sensitive(format!("Bearer {}", bearer.expose()), "the access token does not fit a header")?;
        let request = self.client.post(url).header(CONTENT_TYPE, "application/json").header(AUTHORIZATION, bearer);
        self.fetch(request.body(body), url, timeout).await
    }

    /// POST of a form. `basic` is a client id and secret, sent form-urlencoded in the header (RFC 6749 2.3.1).
    ///
    /// # Errors
    /// When there is no whole answer within `timeout`.
    pub async fn post_form(
        &self,
        url: &str,
        form: &[(&str, &str)],
        basic: Option<(&str, &SecretText)>,
        timeout: Duration,
    ) -> Result<Fetched, FetchError> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = self.client.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        if let Some((id, secret)) = basic {
            request = request.header(AUTHORIZATION, basic_header(id, secret)?);
        }
        self.fetch(request, url, timeout).await
    }

    async fn fetch(&self, request: RequestBuilder, url: &str, timeout: Duration) -> Result<Fetched, FetchError> {
        // boxed: what asks a provider is deep enough without it
        Ok(Box::pin(self.watched(request.header(ACCEPT, "application/json"), url, timeout)).await?.fetched)
    }

    async fn watched(&self, request: RequestBuilder, url: &str, timeout: Duration) -> Result<Watched, FetchError> {
        let failed = |cause: reqwest::Error| {
            let url = url::Url::parse(url).ok();
            let place = url.as_ref().and_then(url::Url::host_str).unwrap_or("the server");
            let proxy = url.as_ref().and_then(|url| self.route.proxy_for(url));
            FetchError::Unreachable(failure::diagnose(&cause, place, proxy.as_deref(), CONNECT_TIMEOUT, timeout))
        };
        let mut response = request.timeout(timeout).send().await.map_err(failed)?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        match read_timed(response, MAX_BODY).await {
            Ok((body, spread)) => Ok(Watched { fetched: Fetched { status, headers, body }, spread }),
            Err(ReadError::TooLarge(most)) => Err(FetchError::TooLarge(most)),
            Err(ReadError::Broken(cause)) => Err(failed(cause)),
        }
    }
}

/// How we call ourselves.
pub(super) fn user_agent() -> String {
    format!("portcullis/{}", crate::VERSION)
}

/// Why a body did not come whole.
pub(super) enum ReadError {
    /// It has more bytes than so many.
    TooLarge(usize),
    Broken(reqwest::Error),
}

/// Reads a body of at most so many bytes.
pub(super) async fn read(response: Response, most: usize) -> Result<Bytes, ReadError> {
    read_timed(response, most).await.map(|(body, _spread)| body)
}

/// The same, with the time between its first piece and its last.
async fn read_timed(mut response: Response, most: usize) -> Result<(Bytes, Duration), ReadError> {
    let declared = response.content_length().and_then(|length| usize::try_from(length).ok());
    if declared.is_some_and(|length| length > most) {
        return Err(ReadError::TooLarge(most));
    }
    let mut body = BytesMut::with_capacity(declared.unwrap_or(0));
    let (mut first, mut spread) = (None, Duration::ZERO);
    while let Some(chunk) = response.chunk().await.map_err(ReadError::Broken)? {
        spread = first.get_or_insert_with(Instant::now).elapsed();
        if body.len() + chunk.len() > most {
            return Err(ReadError::TooLarge(most));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body.freeze(), spread))
}

fn basic_header(id: &str, secret: &SecretText) -> Result<HeaderValue, FetchError> {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(id), encode(secret.expose()));
    let value = format!("Basic {}", data_encoding::BASE64.encode(pair.as_bytes()));
    sensitive(value, "the client secret does not fit a header")
}

/// The value of a header that no log may show.
fn sensitive(value: String, otherwise: &'static str) -> Result<HeaderValue, FetchError> {
    let mut value =
        HeaderValue::try_from(value).map_err(|_not_a_value| FetchError::Unreachable(Diagnosis::new(otherwise)))?;
    value.set_sensitive(true);
    Ok(value)
}
