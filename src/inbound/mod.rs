//! The one door in: accept → connection → for every request: id, client address, framing, `Host`, log → gateway or web.

mod access;
mod client_address;
mod connection;
mod drain;
mod exchange;
mod framing;
mod hints;
mod host;
mod leftover;
mod listen;
mod operations;
mod rejection;
mod resting;
mod socket;
mod streams;
mod timed;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::Either;
use http::header::CONTENT_LENGTH;
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::config::Config;
use crate::gateway::{Body, CallContext, Gateway, Route, full, name_answer};
use crate::limits::{Admission, Budget, ClientAddress, Holder, Pool};
use crate::telemetry::RequestId;
use crate::web::Web;
use crate::wire::BoxError;
use access::{Access, Answer};
use client_address::Proxies;
use connection::Patience;
use exchange::Held;
use hints::Hints;
use host::Hosts;
use leftover::{Leftover, Lent};
use listen::Guest;

pub use drain::Drain;
pub(crate) use listen::serve;
pub(crate) use operations::{Health, Operations};

/// The largest future that may wait for a request's body, in bytes, besides the body, which it holds several times. What
/// needs more room starts when the body is there.
const SMALL: usize = 3 * 1024 + 512;

/// Everything behind the door. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

struct Inner {
    hosts: Hosts,
    proxies: Proxies,
    hints: Hints,
    budget: Budget,
    gateway: Gateway,
    web: Web,
}

impl App {
    /// Puts the door in front.
    #[must_use]
    pub(crate) fn new(config: &Config, budget: Budget, gateway: Gateway, web: Web) -> Self {
        let proxies = Proxies::new(config.server.trusted_proxies.clone());
        let hints = Hints::default();
        Self(Arc::new(Inner { hosts: Hosts::new(config), proxies, hints, budget, gateway, web }))
    }

    /// The places for connections.
    fn connections(&self) -> &Pool {
        &self.0.budget.connections
    }

    /// By whom connections of this peer are counted, and how long they are kept.
    fn guest(&self, peer: std::net::IpAddr) -> Guest {
        let peer = peer.to_canonical();
        let (holder, patience) = match peer {
            _ if self.0.proxies.trusts(peer) => (Holder::Trusted, Patience::PROXY),
            _ if peer.is_loopback() => (Holder::Trusted, Patience::LOCAL),
            _ => (ClientAddress(peer).into(), Patience::STRANGER),
        };
        Guest { holder: Some(holder), patience }
    }

    /// Answers one request of a peer. Whether it is let in is decided before a future of any size exists: a peer may open
    /// requests faster than we answer them, and each that waits for its turn takes memory already.
    pub(crate) fn handle<B>(
        &self,
        request: Request<B>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<Answer>> + Send + use<B>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let id = RequestId::random();
        let address = ClientAddress(self.0.proxies.client(peer.ip(), request.headers()));
        let mut access = Access::begin(&request, id.clone(), address);
        let (request, leftover) = leftover::lend(request.map(|body| access.metered(body)));
        let mut arrival = Arrival { id, address, access, leftover };
        let route = self.0.gateway.route(request.uri().path());
        match self.let_in(&request, address) {
            Ok(admission) => {
                self.0.hints.look_at(&request, peer.ip(), &self.0.proxies);
                Either::Left(match route {
                    Some(route) => boxed_small::<B>(self.clone().call(route, request, arrival, admission)),
                    None => boxed_small::<B>(self.clone().own(request, arrival, admission)),
                })
            }
            Err(rejection) => {
                let refused = self.refuse(route.as_deref(), request, rejection, &mut arrival);
                match arrival.leftover {
                    Some(_) => Either::Left(Box::pin(arrival.settled(refused)) as Answering),
                    None => Either::Right(std::future::ready(arrival.answered(refused))),
                }
            }
        }
    }

    /// A request to an upstream's path. Every call allocates this future, so each thing stands in it once: an `async fn` would
    /// keep its arguments beside what is made of them.
    fn call<B>(
        self,
        route: Arc<Route>,
        request: Request<Lent<B>>,
        mut arrival: Arrival<B>,
        mut admission: Admission,
    ) -> impl Future<Output = Response<Answer>> + Send
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let page = self.0.web.server_page(&request);
        let (mut head, body) = request.into_parts();
        async move {
            let answer = self.0.gateway.handle(&route, (&mut head, body), &mut admission, arrival.context()).await;
            let answer = match page {
                // every 401 on an upstream's path is the gateway's own: status and challenge stay
                Some(page) if answer.status() == StatusCode::UNAUTHORIZED => page.instead_of(answer, full),
                _ => answer,
            };
            let mut response = counted(answer, admission);
            arrival.settle(&mut response).await;
            arrival.answered(response)
        }
    }

    /// A request to a path of our own.
    async fn own<B>(
        self,
        mut request: Request<Lent<B>>,
        mut arrival: Arrival<B>,
        admission: Admission,
    ) -> Response<Answer>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        request.extensions_mut().insert(arrival.id.clone());
        request.extensions_mut().insert(arrival.address);
        let response = self.0.web.handle(request, self.0.budget.room_of_address(arrival.address)).await;
        let mut response = counted(response, admission);
        arrival.settle(&mut response).await;
        arrival.answered(response)
    }
}

/// An answer that is being made.
type Answering = Pin<Box<dyn Future<Output = Response<Answer>> + Send>>;

/// Boxes a future that waits for a body of type `B`.
fn boxed_small<B>(waiting: impl Future<Output = Response<Answer>> + Send + 'static) -> Answering {
    let (size, most) = (size_of_val(&waiting), SMALL + 8 * size_of::<B>());
    debug_assert!(size <= most, "{size} bytes wait for a body, {most} may");
    Box::pin(waiting)
}

/// What is known of a request whatever becomes of it.
struct Arrival<B: http_body::Body> {
    id: RequestId,
    address: ClientAddress,
    access: Access,
    leftover: Option<Leftover<B>>,
}

impl<B: http_body::Body> Arrival<B> {
    fn context(&mut self) -> CallContext<'_> {
        CallContext { id: self.id.clone(), client: self.address, record: &mut self.access.call }
    }
}

impl<B> Arrival<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Deals with what was not read of the request.
    async fn settle(&mut self, response: &mut Response<Body>) {
        if let Some(leftover) = self.leftover.take() {
            leftover.settle(response).await;
        }
    }

    /// The same, and then the answer as it leaves.
    async fn settled(mut self, mut response: Response<Body>) -> Response<Answer> {
        self.settle(&mut response).await;
        self.answered(response)
    }

    /// The answer as it leaves: with the request's id, and a line in the access log at its end.
    fn answered(self, mut response: Response<Body>) -> Response<Answer> {
        name_answer(&mut response, &self.id);
        if self.access.asks_for_the_head_alone() {
            response = without_body(response);
        }
        self.access.answered(response)
    }
}

/// An answer that still counts among the requests of its address: one that its peer does not take is memory too.
fn counted(response: Response<Body>, admission: Admission) -> Response<Body> {
    if admission.is_held() {
        return response.map(|body| Held::new(body, admission).boxed_unsync());
    }
    response
}

/// The answer to HEAD: the head that GET would get, and no body. HTTP/1.1 would leave a body out by itself; in HTTP/2 it is
/// sent, and clients take it for a protocol error (RFC 9110 9.3.2, RFC 9113 8.1.1).
fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut parts, body) = response.into_parts();
    // an empty body says nothing of the length that GET would see
    if let Some(length) = body.size_hint().exact().filter(|_| !body.is_end_stream()) {
        parts.headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    Response::from_parts(parts, full(Bytes::new()))
}

/// A line of text of our own.
fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(http::header::X_CONTENT_TYPE_OPTIONS, http::HeaderValue::from_static("nosniff"));
    response
}
