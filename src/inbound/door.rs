//! Every request comes through here, and goes to the gateway or to our own pages.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::Either;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tracing::Instrument;

use super::access::LoggedBody;
use super::admission::{Gatekeeper, on_upstream};
use super::client_address::Proxies;
use super::connection::{ConnectionTimeouts, PeerPolicy};
use super::counters::Counters;
use super::exchange::Held;
use super::hints::Hints;
use super::host::Hosts;
use super::leftover::Lent;
use super::visit::Visit;
use crate::config::Config;
use crate::gateway::{Gateway, Incoming, UpstreamRoute};
use crate::limits::{Admission, Budget, Holder, Pool};
use crate::telemetry::metrics;
use crate::web::Web;
use crate::wire::{Arrival, Body, BoxError, ClientAddress, Rejection, RequestId, full};

/// The largest future that may wait for a request's body, in bytes, besides the body, which it holds several times. What
/// needs more room starts when the body is there.
const SMALL: usize = 3 * 1024 + 512;

/// The door, and everything behind it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Door(Arc<Inner>);

/// What stands behind the door, and what it counts in.
pub(crate) struct DoorParts {
    pub(crate) budget: Budget,
    pub(crate) gateway: Gateway,
    pub(crate) web: Web,
    pub(crate) requests: metrics::Requests,
}

struct Inner {
    gatekeeper: Gatekeeper,
    proxies: Proxies,
    hints: Hints,
    counters: Counters,
    budget: Budget,
    gateway: Gateway,
    web: Web,
}

impl Door {
    /// Puts the door in front.
    #[must_use]
    pub(crate) fn new(config: &Config, parts: DoorParts) -> Self {
        let DoorParts { budget, gateway, web, requests } = parts;
        let (hosts, counters) = (Hosts::new(config), Counters::new(config, requests));
        let gatekeeper = Gatekeeper { hosts, budget: budget.clone(), gateway: gateway.clone() };
        let proxies = Proxies::new(config.server.trusted_proxies.clone());
        Self(Arc::new(Inner { gatekeeper, proxies, hints: Hints::default(), counters, budget, gateway, web }))
    }

    /// The descriptors for connections.
    pub(super) fn connections(&self) -> &Pool {
        &self.0.budget.connections
    }

    /// Who the connections of this peer count for, and how long they are kept.
    pub(super) fn peer_policy(&self, peer: IpAddr) -> PeerPolicy {
        let peer = peer.to_canonical();
        let (holder, timeouts) = match peer {
            _ if self.0.proxies.trusts(peer) => (Holder::Trusted, ConnectionTimeouts::PROXY),
            _ if peer.is_loopback() => (Holder::Trusted, ConnectionTimeouts::LOCAL),
            _ => (ClientAddress(peer).into(), ConnectionTimeouts::PUBLIC),
        };
        PeerPolicy { holder: Some(holder), timeouts }
    }

    /// Answers one request of a peer. Whether it is let in is decided before a future of any size exists: a peer may open
    /// requests faster than we answer them, and each waiting one takes memory already.
    pub(crate) fn handle<B>(
        &self,
        request: Request<B>,
        peer: SocketAddr,
    ) -> impl Future<Output = Response<LoggedBody>> + Send + use<B>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let address = ClientAddress(self.0.proxies.client(peer.ip(), request.headers()));
        let counted = self.0.counters.begin(request.uri().path());
        let (request, mut visit) = Visit::begin(request, Arrival { id: RequestId::random(), address }, counted);
        let span = visit.span().clone();
        let _entered = span.enter();
        let route = self.0.gateway.route(request.uri().path());
        match self.0.gatekeeper.admit(&request, address) {
            Ok(admission) => {
                self.0.hints.look_at(&request, peer.ip(), &self.0.proxies);
                Either::Left(match route {
                    Some(route) => {
                        boxed_small::<B>(self.clone().call(route, request, visit, admission).in_current_span())
                    }
                    None => boxed_small::<B>(self.clone().own(request, visit, admission).in_current_span()),
                })
            }
            Err(rejection) => {
                let (head, body) = request.into_parts();
                // unread: it goes back to the visit
                drop(body);
                let refused = self.reject(route.as_deref(), &head, &rejection, &mut visit);
                if visit.has_leftover() {
                    Either::Left(Box::pin(visit.settled(refused).in_current_span()) as Answering)
                } else {
                    Either::Right(std::future::ready(visit.answered(refused)))
                }
            }
        }
    }

    /// The answer to a request that is not let in, in the protocol of its path.
    fn reject(
        &self,
        route: Option<&UpstreamRoute>,
        head: &Parts,
        rejection: &Rejection,
        visit: &mut Visit<impl http_body::Body>,
    ) -> Response<Body> {
        match route.zip(on_upstream(rejection)) {
            Some((route, refusal)) => self.0.gateway.refuse(route, head, visit.known(), &refusal),
            None => self.0.web.reject(head, rejection),
        }
    }

    /// A request to an upstream's path. Every call allocates this future, so each thing stands in it once: an `async fn` would
    /// keep its arguments beside what is made of them.
    fn call<B>(
        self,
        route: Arc<UpstreamRoute>,
        request: Request<Lent<B>>,
        mut visit: Visit<B>,
        mut admission: Admission,
    ) -> impl Future<Output = Response<LoggedBody>> + Send
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let page = self.0.web.server_page(&request);
        let (mut head, body) = request.into_parts();
        async move {
            let incoming = Incoming { head: &mut head, body, known: visit.known(), admission: &mut admission };
            let answer = self.0.gateway.handle(&route, incoming).await;
            let answer = match page {
                // every 401 on an upstream's path is the gateway's own: status and challenge stay
                Some(page) if answer.status() == StatusCode::UNAUTHORIZED => page.instead_of(answer, full),
                _ => answer,
            };
            let mut response = holding_admission(answer, admission);
            visit.settle(&mut response).await;
            visit.answered(response)
        }
    }

    /// A request to a path of our own.
    async fn own<B>(self, request: Request<Lent<B>>, mut visit: Visit<B>, admission: Admission) -> Response<LoggedBody>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let room = self.0.budget.room_of_address(visit.arrival.address);
        let response = self.0.web.handle(request, &visit.arrival, room).await;
        let mut response = holding_admission(response, admission);
        visit.settle(&mut response).await;
        visit.answered(response)
    }
}

/// An answer that is being made.
type Answering = Pin<Box<dyn Future<Output = Response<LoggedBody>> + Send>>;

/// Boxes a future that waits for a body of type `B`.
fn boxed_small<B>(waiting: impl Future<Output = Response<LoggedBody>> + Send + 'static) -> Answering {
    let (size, most) = (size_of_val(&waiting), SMALL + 8 * size_of::<B>());
    debug_assert!(size <= most, "{size} bytes wait for a body, {most} may");
    Box::pin(waiting)
}

/// An answer that still counts among the requests of its address: one that its peer does not take is memory too.
fn holding_admission(response: Response<Body>, admission: Admission) -> Response<Body> {
    if admission.is_held() {
        return response.map(|body| Held::new(body, admission).boxed_unsync());
    }
    response
}
