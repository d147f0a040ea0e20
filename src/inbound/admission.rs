//! Which requests are let in, checked against their heads alone.
//!
//! Defends against: request smuggling, DNS rebinding, floods of requests.

use http::Request;

use super::framing;
use super::host::Hosts;
use crate::gateway::{Gateway, Refusal};
use crate::limits::{Admission, Budget, Shortage};
use crate::secret::Sha256;
use crate::wire::{ClientAddress, Rejection};

/// The most fields in one head, whatever the protocol: as many as the HTTP library parses without memory of its own.
const MAX_FIELDS: usize = 100;

/// What a request is checked against.
pub(super) struct Gatekeeper {
    pub(super) hosts: Hosts,
    pub(super) budget: Budget,
    pub(super) gateway: Gateway,
}

impl Gatekeeper {
    /// Checks a request.
    ///
    /// # Errors
    /// Why it is not let in.
    pub(super) fn admit<B>(&self, request: &Request<B>, address: ClientAddress) -> Result<Admission, Rejection> {
        // first: a request that is refused for another reason leaves its connection open, which would let smuggling through
        framing::check(request.headers()).map_err(Rejection::AmbiguousFraming)?;
        if request.headers().len() > MAX_FIELDS {
            return Err(Rejection::TooManyFields(MAX_FIELDS));
        }
        self.hosts.check(request)?;
        let head = head_size(request);
        let admitted = self.budget.admit(address, head).or_else(|shortage| match self.known_token(request) {
            Some(token) => self.budget.admit_known(token, head),
            None => Err(shortage),
        });
        admitted.map_err(|shortage| {
            self.budget.count_refusal(shortage);
            Rejection::Busy(exhausted(shortage))
        })
    }

    /// The token of a request to an upstream's path, when it was verified before.
    fn known_token<B>(&self, request: &Request<B>) -> Option<Sha256> {
        let route = self.gateway.route(request.uri().path())?;
        self.gateway.known_token(&route, request.headers())
    }
}

/// A rejection as the gateway answers it on an upstream's path. `None`: every path answers it alike.
pub(super) fn on_upstream(rejection: &Rejection) -> Option<Refusal> {
    match rejection {
        Rejection::AmbiguousFraming(why) => Some(Refusal::Malformed(why)),
        Rejection::WrongHost(cause) => Some(Refusal::Misdirected(cause.clone())),
        Rejection::Busy(why) => Some(Refusal::Busy(why)),
        Rejection::TooManyFields(_) | Rejection::NoSingleHost => None,
    }
}

/// Words for the log, with the setting that was the limit.
const fn exhausted(shortage: Shortage) -> &'static str {
    match shortage {
        Shortage::Share => "too many requests of this address at once (limits.requests_per_address)",
        Shortage::Pool => "too many requests at once (limits.requests)",
    }
}

/// About how much memory a request's head takes, counted as HTTP/2 counts it (RFC 9113 6.5.2).
fn head_size<B>(request: &Request<B>) -> usize {
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 32);
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    target + fields.sum::<usize>()
}
