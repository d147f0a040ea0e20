//! Our resource server and proxy: authenticate → enter → read → decide → forward.
//!
//! The order on an upstream's path, once `inbound` has checked framing and `Host`: `Origin`, preflight, shape and method,
//! declared body, bearer, its key (DPoP), audience, session owner, policy's first step, a share of the user's calls, body,
//! policy's second step, upstream.
//!
//! Defends against: stolen, expired and ended tokens (`authenticate.rs`, `caller.rs`, and `proofs.rs` for bound ones), tokens
//! for another resource and calls in another caller's name (confused deputy: `caller.rs`, `forward.rs`), session hijacking
//! (`session.rs`), header spoofing and request smuggling (`headers.rs`, `request_body.rs`, `shape.rs`), cache poisoning and an
//! upstream that speaks for the whole origin (`answer_headers.rs`), DNS rebinding through a browser (`cors.rs`), slowloris
//! bodies (`request_body.rs`).

mod answer_headers;
mod assembly;
mod authenticate;
mod call;
mod call_record;
mod caller;
mod calls;
mod carried;
mod cors;
mod credential;
mod early;
mod events;
mod forward;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod headers;
mod incidents;
mod lease;
mod proofs;
mod refusal;
mod request_body;
mod resource_metadata;
mod routes;
mod seen_proofs;
mod session;
mod shape;
mod stream;
mod token_watch;
mod verify;

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, Uri};
use serde_json::value::RawValue;

pub(crate) use assembly::{GatewayParts, OwnParts};
pub(crate) use call::{Incoming, Known};
pub(crate) use call_record::CallRecord;
pub(crate) use refusal::Refusal;
pub(crate) use routes::UpstreamRoute;

use crate::config::Spelling;
use crate::keys::IssuerClient;
use crate::oauth::dpop::NONCE;
use crate::policy::{self, Content};
use crate::secret::Sha256;
use crate::wire::{Body, BoxError};
use assembly::Inner;
use call::Call;
use caller::VerifiedCaller;
use carried::Carried;
use cors::Cors;
use credential::{AccessToken, Credential, QueryKey};
use forward::owner;
use lease::Over;
use proofs::Unproven;
use routes::Served;

/// The gateway. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gateway(Arc<Inner>);

impl Gateway {
    /// Builds the gateway; opens no connection.
    #[must_use]
    pub(crate) fn new(parts: GatewayParts) -> Self {
        Self(Arc::new(Inner::new(parts)))
    }

    /// Protected resource metadata (RFC 9728) at one of our paths, in the spelling of the request.
    #[must_use]
    pub(crate) fn resource_metadata(&self, uri: &Uri, headers: &HeaderMap) -> Option<Bytes> {
        let spelling = Spelling::of(&self.0.config.public_url, uri, headers);
        self.0.metadata.at(uri.path(), &spelling)
    }

    /// The upstream whose path this is.
    #[must_use]
    pub(crate) fn route(&self, path: &str) -> Option<Arc<UpstreamRoute>> {
        self.0.routes.at(path)
    }

    /// The hash of the credential in the headers of a request, when it was verified before. It may have ended since.
    pub(crate) fn known_token(&self, route: &UpstreamRoute, headers: &HeaderMap) -> Option<Sha256> {
        let credential = credential::read(headers, route.takes(), &QueryKey::None).ok()?;
        self.0.authenticator.known(&credential, &route.served)
    }

    /// The ids of the upstreams whose last call failed.
    #[must_use]
    pub(crate) fn failing(&self) -> Vec<String> {
        let failing = self.0.routes.served().filter(|served| served.upstream.has_failed());
        failing.map(|served| served.config.settings.id.clone()).collect()
    }

    /// The other issuers whose last call failed, by id, and how.
    #[must_use]
    pub(crate) fn troubled_issuers(&self) -> Vec<String> {
        self.0.authenticator.foreign().clients().filter_map(IssuerClient::trouble).collect()
    }

    /// The ids of the other issuers, and whether their last call succeeded.
    pub(crate) fn issuers(&self) -> impl Iterator<Item = (&str, bool)> {
        let clients = self.0.authenticator.foreign().clients();
        clients.map(|client| (client.settings().id.as_str(), client.trouble().is_none()))
    }

    /// Keeps metadata and keys of the other issuers at hand.
    pub(crate) async fn keep_issuers(self) {
        self.0.authenticator.foreign().keep().await;
    }

    /// How many verified tokens are in memory.
    pub(crate) async fn remembered_tokens(&self) -> u64 {
        self.0.authenticator.remembered().await
    }

    /// Closes idle connections to the upstreams. Calls in progress finish.
    pub(crate) fn close(&self) {
        for served in self.0.routes.served() {
            served.upstream.close();
        }
    }

    /// Refuses a request to an upstream's path that was rejected on arrival.
    pub(crate) fn refuse(
        &self,
        route: &UpstreamRoute,
        head: &Parts,
        known: Known<'_>,
        refusal: &Refusal,
    ) -> Response<Body> {
        let Known { arrival, record } = known;
        let origin = self.0.cors.check(&head.headers);
        let api_keys = &route.served.config.settings.api_keys;
        let without_key = credential::take_from_query(&head.uri, api_keys).map(|(uri, _)| uri);
        let uri = without_key.as_ref().unwrap_or(&head.uri);
        let call = Call::of(route, &self.0.config, arrival, uri, &head.headers);
        record.reaches(&route.served.id);
        note_refusal(&route.served, record, refusal);
        let mut response = call.refuse(refusal, None);
        if let Ok(Some(origin)) = origin {
            Cors::expose(response.headers_mut(), origin);
        }
        response
    }

    /// Answers a request to an upstream's path.
    pub(crate) async fn handle<B>(&self, route: &UpstreamRoute, incoming: Incoming<'_, B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let Incoming { head, body, known: Known { arrival, record }, admission } = incoming;
        let api_keys = &route.served.config.settings.api_keys;
        let mut in_query = QueryKey::None;
        if let Some((uri, key)) = credential::take_from_query(&head.uri, api_keys) {
            (head.uri, in_query) = (uri, key);
        }
        let call = Call::of(route, &self.0.config, arrival, &head.uri, &head.headers);
        record.reaches(&route.served.id);
        let origin = match self.0.cors.check(&head.headers) {
            Ok(origin) => origin,
            Err(refusal) => {
                note_refusal(&route.served, record, &refusal);
                return call.refuse(&refusal, None);
            }
        };
        let mut message_id = None;
        let answer = if Cors::is_preflight(&head.method, &head.headers) {
            Ok(Cors::preflight(&head.headers))
        } else {
            let incoming = Incoming { head, body, known: Known { arrival, record }, admission };
            self.serve(route, incoming, &in_query, &mut message_id).await
        };
        let mut response = answer.unwrap_or_else(|refusal| {
            note_refusal(&route.served, record, &refusal);
            call.refuse(&refusal, message_id.as_deref())
        });
        if call.speaks_dpop() {
            with_nonce(&mut response, self.0.proofs.nonce());
        }
        if let Some(origin) = origin {
            Cors::expose(response.headers_mut(), origin);
        }
        response
    }

    /// Checks whether the caller has the key of its token. An API key has none.
    async fn prove(
        &self,
        route: &UpstreamRoute,
        head: &Parts,
        token: Option<AccessToken<'_>>,
        caller: &VerifiedCaller,
    ) -> Result<(), Unproven> {
        let Some(token) = token else { return Ok(()) };
        match self.0.proofs.check(route, head, &token, caller)? {
            // boxed: most calls do not come here, and should not hold the room
            Some(proof) => Box::pin(self.0.proofs.use_up(route, &proof)).await,
            None => Ok(()),
        }
    }

    async fn serve<B>(
        &self,
        route: &UpstreamRoute,
        incoming: Incoming<'_, B>,
        in_query: &QueryKey,
        message_id: &mut Option<Box<RawValue>>,
    ) -> Result<Response<Body>, Refusal>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let Incoming { head, body, known: Known { arrival, record }, admission } = incoming;
        shape::check(head)?;
        request_body::check(head, &body)?;
        let served = &*route.served;
        let credential = credential::read(&head.headers, route.takes(), in_query);
        let token = credential.as_ref().ok().and_then(Credential::access_token);
        let caller = self.0.authenticator.authenticate(credential, &route.served, arrival).await?;
        let proven = self.prove(route, head, token, &caller).await;
        proven.map_err(|unproven| unproven.told(&self.0.incidents, caller.acting(), arrival))?;
        record.is_by(&caller);
        // the request's own copy of the token is no longer needed, and must not be forwarded by accident; the header of an
        // API key is among those that no client may send on
        head.headers.remove(AUTHORIZATION);
        caller.check_audience(served.config.audience())?;
        let incidents = &self.0.incidents;
        let unbound = self.0.forwarder.sessions.unbind(&mut head.headers, owner(&caller, &served.config));
        unbound.inspect_err(|_| incidents.foreign_session(caller.acting(), &served.id, arrival))?;
        let denied = |denial: &policy::Denial| {
            incidents.denied(caller.acting(), &served.id, denial, arrival);
        };
        let entry = policy::enter(&*caller, served).inspect_err(denied);
        let entry = entry.map_err(|denial| in_words_of_issuer(denial, &caller, served))?;
        record.entered(&head.method);
        admission.leave();
        let mut lease = self.0.calls.begin(&caller, self.0.authenticator.time_left(&caller)).await?;
        let (limit, room) = (self.0.config.server.inspect_limit, self.0.budget.room_of_user(&caller.caller.subject));
        let payload = {
            let receiving = pin!(request_body::receive(head, body, limit, room));
            lease.hold(receiving).await.map_err(Over::before_sending)??
        };
        let permit = {
            let content = request_body::content(&head.method, &payload);
            if let Content::Read(message) = &content {
                record.asks(message);
                *message_id = message.id();
            }
            policy::decide(entry, &content).inspect_err(denied)?
        };
        let carried = Carried::by(&permit, arrival, &mut lease).await?;
        let outgoing = self.0.forwarder.outgoing(&permit, arrival, head, payload)?;
        self.0.forwarder.forward(&permit, carried, outgoing, lease).await
    }
}

/// The refusal of a denied call. The client of another issuer is told the scopes by the names that it must ask for there.
fn in_words_of_issuer(denial: policy::Denial, caller: &VerifiedCaller, served: &Served) -> Refusal {
    let mut refusal = Refusal::from(denial);
    if let Refusal::InsufficientScope(scopes) = &mut refusal
        && let Some(accepted) = caller.issuer().and_then(|id| served.config.settings.accepts.of(id))
    {
        scopes.sufficient = accepted.their_names(&scopes.sufficient);
    }
    refusal
}

/// The nonce for the next proof of a client that speaks DPoP (RFC 9449 8.2).
fn with_nonce(response: &mut Response<Body>, nonce: String) {
    if let Ok(nonce) = HeaderValue::try_from(nonce) {
        response.headers_mut().insert(NONCE, nonce);
    }
}

/// For the access log and the metrics. A failure behind us is no refusal.
fn note_refusal(served: &Served, record: &mut CallRecord, refusal: &Refusal) {
    if let Some(decision) = refusal.decision() {
        record.refused(decision);
        served.calls.refused(decision);
    }
}
