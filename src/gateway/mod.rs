//! Our resource server and proxy: authenticate → authorize → forward.
//!
//! The order on an upstream's path, once `inbound` has judged framing and `Host`: `Origin`, preflight, shape and method,
//! declared body, bearer, audience, session owner, scopes, a place among the user's calls, body, upstream.

mod answer_headers;
mod authenticate;
mod body;
mod call;
mod call_record;
mod cors;
mod early;
mod events;
mod forward;
mod headers;
mod lease;
mod message;
mod refusal;
mod request_body;
mod resource_metadata;
mod session;
mod shape;
mod stream;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, Uri};
use serde_json::value::RawValue;

pub use body::Body;
pub(crate) use body::full;
pub(crate) use call::{CallContext, Unwelcome};
pub(crate) use call_record::CallRecord;
pub(crate) use headers::is_media_type;

use crate::clock::Clock;
use crate::config::{Config, ResourceNames, Spelling, Upstream};
use crate::delegation::Delegation;
use crate::keys::{KeyRing, Sealer};
use crate::limits::{Admission, Budget, Holder, Shortage};
use crate::policy;
use crate::revocation::Revocation;
use crate::secret::Sha256;
use crate::signal::Signal;
use crate::storage::Store;
use crate::telemetry::RequestId;
use crate::upstream::HttpUpstream;
use crate::wire::BoxError;
use authenticate::{Authenticator, Verified, VerifiedToken};
use call::Call;
use cors::Cors;
use headers::{Forwarding, RequestRules};
use lease::{Ends, Lease, Over};
use message::Message;
use refusal::Refusal;
use resource_metadata::Documents;
use session::{Owner, Sessions};

/// How long a call waits for one of the connections to upstreams.
const PLACE: Duration = Duration::from_secs(5);

/// The header that names a request, in the answer and towards the upstream.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the gateway is made of.
#[derive(Clone)]
pub(crate) struct GatewayParts {
    /// The whole configuration.
    pub config: Arc<Config>,
    /// Read once for each token.
    pub store: Store,
    /// Which grants have ended.
    pub revocation: Revocation,
    /// Our signing keys.
    pub ring: KeyRing,
    /// What binds sessions.
    pub sealer: Sealer,
    /// Time.
    pub clock: Clock,
    /// How many calls, and how much memory for their bodies.
    pub budget: Budget,
    /// Set when open streams must end.
    pub drained: Signal,
}

/// The gateway. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gateway(Arc<Inner>);

struct Inner {
    config: Arc<Config>,
    served: Vec<Arc<Served>>,
    routes: Vec<Arc<Route>>,
    authenticator: Authenticator,
    sessions: Sessions,
    forwarding: Forwarding,
    cors: Cors,
    metadata: Documents,
    ends: Ends,
    budget: Budget,
}

/// An upstream and its connections.
struct Served {
    upstream: Upstream,
    /// Its id, for the log.
    id: Arc<str>,
    client: Arc<HttpUpstream>,
    rules: RequestRules,
}

/// A path and the upstream that it names.
pub(crate) struct Route {
    served: Arc<Served>,
    names: ResourceNames,
}

impl Gateway {
    /// Builds the gateway; opens no connection.
    #[must_use]
    pub(crate) fn new(parts: GatewayParts) -> Self {
        let GatewayParts { config, store, revocation, ring, sealer, clock, budget, drained } = parts;
        let served = |upstream: &Upstream| {
            let client = HttpUpstream::new(upstream, config.outbound.ca_file.as_ref(), budget.idle_per_upstream);
            let rules = RequestRules::new(&upstream.settings.request_headers);
            let id = upstream.settings.id.as_str().into();
            Arc::new(Served { upstream: upstream.clone(), id, client: Arc::new(client), rules })
        };
        let served: Vec<_> = config.upstreams.iter().map(served).collect();
        let routes = |served: &Arc<Served>| {
            let names = [&served.upstream.plain, &served.upstream.slashed];
            names.map(|names| Arc::new(Route { served: Arc::clone(served), names: names.clone() }))
        };
        let routes = served.iter().flat_map(routes).collect();
        let ends = Ends { max_age: config.server.max_stream_age, drained };
        let authenticator = Authenticator {
            issuer: config.public_url.as_str().to_owned(),
            lifetime: config.lifetimes.access_token,
            ring,
            store,
            revocation,
            clock,
            delegation: Delegation::new(&config.upstreams),
            max_staleness: config.server.revocation_staleness,
            verified: Verified::new(config.lifetimes.access_token),
        };
        Self(Arc::new(Inner {
            served,
            routes,
            authenticator,
            sessions: Sessions::new(&sealer),
            forwarding: Forwarding::new(&config.public_url),
            cors: Cors::new(&config),
            metadata: Documents::new(&config),
            ends,
            budget,
            config,
        }))
    }

    /// Protected resource metadata (RFC 9728) at one of our paths, in the spelling of the request.
    #[must_use]
    pub(crate) fn resource_metadata(&self, uri: &Uri, headers: &HeaderMap) -> Option<Bytes> {
        let spelling = Spelling::of(&self.0.config.public_url, uri, headers);
        self.0.metadata.at(uri.path(), &spelling)
    }

    /// The upstream at a path: exactly, with or without one slash behind it; nothing below.
    #[must_use]
    pub(crate) fn route(&self, path: &str) -> Option<Arc<Route>> {
        self.0.routes.iter().find(|route| route.names.path == path).cloned()
    }

    /// The hash of a request's bearer, when it was verified before. Whether it is still good is not looked at.
    pub(crate) fn known_token(&self, headers: &HeaderMap) -> Option<Sha256> {
        self.0.authenticator.known(headers)
    }

    /// The upstreams whose last call failed, by id.
    #[must_use]
    pub(crate) fn failing(&self) -> Vec<String> {
        let failing = self.0.served.iter().filter(|served| served.client.has_failed());
        failing.map(|served| served.upstream.settings.id.clone()).collect()
    }

    /// Refuses a request to an upstream's path that is not let in, before anything is done for it.
    pub(crate) fn refuse(
        &self,
        route: &Route,
        parts: &Parts,
        unwelcome: Unwelcome,
        context: &mut CallContext<'_>,
    ) -> Response<Body> {
        let origin = self.0.cors.judge(&parts.headers);
        let call = Call::of(route, &self.0.config, context, parts);
        let refusal = Refusal::from(unwelcome);
        context.record.reaches(&route.served.id);
        context.record.refused(&refusal);
        let mut response = call.refuse(&refusal, None);
        if let Ok(Some(origin)) = origin {
            Cors::expose(response.headers_mut(), origin);
        }
        response
    }

    /// Answers a request to an upstream's path. The admission is given up as soon as the user is known: from then on the
    /// user's own limits count.
    pub(crate) async fn handle<B>(
        &self,
        route: &Route,
        (head, body): (&mut Parts, B),
        admission: &mut Admission,
        context: CallContext<'_>,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let call = Call::of(route, &self.0.config, &context, head);
        let record = context.record;
        record.reaches(&route.served.id);
        let origin = match self.0.cors.judge(&head.headers) {
            Ok(origin) => origin,
            Err(refusal) => {
                record.refused(&refusal);
                return call.refuse(&refusal, None);
            }
        };
        let mut message_id = None;
        let answer = if Cors::is_preflight(&head.method, &head.headers) {
            Ok(Cors::preflight(&head.headers))
        } else {
            self.serve(&call, (head, body), (admission, record), &mut message_id).await
        };
        let mut response = answer.unwrap_or_else(|refusal| {
            record.refused(&refusal);
            call.refuse(&refusal, message_id.as_deref())
        });
        if let Some(origin) = origin {
            Cors::expose(response.headers_mut(), origin);
        }
        response
    }

    async fn serve<B>(
        &self,
        call: &Call<'_>,
        (head, body): (&mut Parts, B),
        (admission, record): (&mut Admission, &mut CallRecord),
        message_id: &mut Option<Box<RawValue>>,
    ) -> Result<Response<Body>, Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        shape::judge(head)?;
        request_body::judge(head, &body)?;
        let token = self.0.authenticator.authenticate(&head.headers).await?;
        record.is_by(&token);
        // the request's own copy of the token is no longer needed, and must not be forwarded by accident
        head.headers.remove(AUTHORIZATION);
        let resource = call.upstream().audience();
        if token.audience != resource {
            return Err(Refusal::InvalidToken("the token is for another resource"));
        }
        self.0.sessions.unbind(&mut head.headers, Owner { subject: &token.subject, resource })?;
        let permit = policy::decide(&token.scope, call)
            .map_err(|denial| Refusal::InsufficientScope(denial.missing.to_string()))?;
        record.permitted();
        record.carries_message(&head.method);
        admission.leave();
        let mut lease = self.lease(&token).await?;
        let (limit, room) = (self.0.config.server.inspect_limit, self.0.budget.room_of_user(&token.subject));
        let payload = {
            let receiving = pin!(request_body::receive(head, body, limit, room));
            lease.hold(receiving).await.map_err(Refusal::unsent)??
        };
        if let Some(body) = payload.whole().filter(|_| head.method == Method::POST) {
            let message = Message::read(body);
            record.asks(&message);
            *message_id = message.id();
        }
        let outgoing = self.outgoing(&permit, lease.token(), head, payload)?;
        self.forward(&permit, outgoing, lease).await
    }

    /// Begins a call: it has a place among its user's, and with it a connection to its upstream.
    async fn lease(&self, token: &Arc<VerifiedToken>) -> Result<Lease, Refusal> {
        let left = token.grant_ends_at.since(self.0.authenticator.clock.now());
        let mut lease = self.0.ends.lease(Arc::clone(token), left);
        let holder = Holder::User(Arc::clone(&token.subject));
        let place = pin!(self.0.budget.calls.wait(holder, 1, PLACE));
        match lease.hold(place).await {
            Ok(Ok(place)) => Ok(lease.placed(place)),
            Ok(Err(Shortage::Share)) => Err(Refusal::TooManyCalls),
            Ok(Err(Shortage::Pool)) | Err(Over::Aged) => Err(Refusal::Busy("all connections to upstreams are in use")),
            Err(over) => Err(Refusal::unsent(over)),
        }
    }
}

/// Puts the request's id on an answer.
pub(crate) fn name_answer(response: &mut Response<Body>, id: &RequestId) {
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
}
