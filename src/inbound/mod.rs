//! The one door in: accept → connection → for every request: id, client address, `Host`, log → gateway or web.

mod access;
mod client_address;
mod connection;
mod drain;
mod exchange;
mod hints;
mod host;
mod leftover;
mod listen;
mod operations;
mod places;
mod socket;
mod streams;
mod timed;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};

use crate::config::Config;
use crate::gateway::{Body, BoxError, CallRecord, Gateway, full, name_answer};
use crate::limits::ClientAddress;
use crate::telemetry::RequestId;
use crate::web::Web;
use access::{Access, Answer};
use client_address::Proxies;
use hints::Hints;
use host::{Hosts, WrongHost};

pub use drain::Drain;
pub(crate) use listen::serve;
pub(crate) use operations::{Health, serve_operations};

/// The most fields in one head, whatever the protocol.
const MAX_FIELDS: usize = 200;

/// Everything behind the door. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

struct Inner {
    hosts: Hosts,
    proxies: Proxies,
    hints: Hints,
    gateway: Gateway,
    web: Web,
}

impl App {
    /// Puts the door in front.
    #[must_use]
    pub(crate) fn new(config: &Config, gateway: Gateway, web: Web) -> Self {
        let proxies = Proxies::new(config.server.trusted_proxies.clone());
        Self(Arc::new(Inner { hosts: Hosts::new(config), proxies, hints: Hints::default(), gateway, web }))
    }

    /// Whether connections of this peer are counted: not those of our own proxies, nor of this machine.
    fn counts(&self, peer: std::net::IpAddr) -> bool {
        let peer = peer.to_canonical();
        !peer.is_loopback() && !self.0.proxies.trusts(peer)
    }

    /// Answers one request of a peer.
    pub(crate) async fn handle<B>(&self, mut request: Request<B>, peer: SocketAddr) -> Response<Answer>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let id = RequestId::random();
        let address = ClientAddress(self.0.proxies.client(peer.ip(), request.headers()));
        let mut access = Access::begin(&request, id.clone(), address);
        request.extensions_mut().insert(id.clone());
        request.extensions_mut().insert(address);
        let (request, leftover) = leftover::lend(request.map(|body| access.metered(body)));
        let mut response = if request.headers().len() > MAX_FIELDS {
            plain(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "More than 200 header fields.\n")
        } else {
            match self.0.hosts.judge(&request) {
                Ok(()) => {
                    self.0.hints.look_at(&request, peer.ip(), &self.0.proxies);
                    self.dispatch(request, &mut access.call).await
                }
                Err(wrong) => self.refuse_host(request, &wrong, &mut access.call),
            }
        };
        if let Some(leftover) = leftover {
            leftover.settle(&mut response).await;
        }
        name_answer(&mut response, &id);
        access.answered(response)
    }

    /// Says under which name we are known, in the words of the protocol that the path speaks.
    fn refuse_host<B>(&self, request: Request<B>, wrong: &WrongHost, call: &mut CallRecord) -> Response<Body> {
        let (parts, _body) = request.into_parts();
        match (wrong.cause(), self.0.gateway.route(parts.uri.path())) {
            (Some(cause), Some(route)) => self.0.gateway.misdirected(route, parts, cause, call),
            _ => self.0.hosts.refuse(wrong, &parts.headers),
        }
    }

    async fn dispatch<B>(&self, request: Request<B>, call: &mut CallRecord) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        match self.0.gateway.route(request.uri().path()) {
            Some(route) => {
                let page = self.0.web.server_page(&request);
                let answer = self.0.gateway.handle(route, request, call).await;
                match page {
                    // every 401 on an upstream's path is the gateway's own: status and challenge stay
                    Some(page) if answer.status() == StatusCode::UNAUTHORIZED => page.instead_of(answer, full),
                    _ => answer,
                }
            }
            None => self.0.web.handle(request).await,
        }
    }
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
