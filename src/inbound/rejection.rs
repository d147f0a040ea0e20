//! What is refused at the door, before anything is done for it: malformed framing, too large a head, another host's name, a
//! request too many.
//!
//! Defends against: request smuggling, DNS rebinding, floods of requests.

use http::{Request, Response, StatusCode};

use super::host::WrongHost;
use super::{App, Arrival, framing, plain};
use crate::gateway::{Body, Route, Unwelcome};
use crate::limits::{Admission, ClientAddress, Shortage};
use crate::secret::Sha256;
use crate::web::Web;

/// The most fields in one head, whatever the protocol: as many as the HTTP library parses without memory of its own.
const MAX_FIELDS: usize = 100;

/// Why a request is not let in.
pub(super) enum Rejection {
    /// Its body could end in two places.
    Malformed(&'static str),
    /// Its head has too many fields.
    TooManyFields,
    /// It was not meant for us.
    WrongHost(WrongHost),
    /// There are too many requests.
    Busy(Shortage),
}

impl App {
    /// Judges a request by its head alone.
    ///
    /// # Errors
    /// Why it is not let in.
    pub(super) fn let_in<B>(&self, request: &Request<B>, address: ClientAddress) -> Result<Admission, Rejection> {
        // before all else: what is refused for another reason leaves its connection open
        framing::judge(request.headers()).map_err(Rejection::Malformed)?;
        if request.headers().len() > MAX_FIELDS {
            return Err(Rejection::TooManyFields);
        }
        self.0.hosts.judge(request).map_err(Rejection::WrongHost)?;
        let (budget, head) = (&self.0.budget, head_size(request));
        budget.admit(address, head).or_else(|shortage| match self.known_token(request) {
            Some(token) => budget.admit_known(token, head).map_err(Rejection::Busy),
            None => Err(Rejection::Busy(shortage)),
        })
    }

    /// The token of a request to an upstream's path, when it was verified before.
    fn known_token<B>(&self, request: &Request<B>) -> Option<Sha256> {
        self.0.gateway.route(request.uri().path())?;
        self.0.gateway.known_token(request.headers())
    }

    /// The answer to a request that is not let in, in the protocol that its path speaks.
    pub(super) fn refuse<B>(
        &self,
        route: Option<&Route>,
        request: Request<B>,
        rejection: Rejection,
        arrival: &mut Arrival<impl http_body::Body>,
    ) -> Response<Body> {
        let (parts, _body) = request.into_parts();
        let path = parts.uri.path();
        let mut at_upstream =
            |route, unwelcome| self.0.gateway.refuse(route, &parts, unwelcome, &mut arrival.context());
        match (rejection, route) {
            (Rejection::Malformed(why), Some(route)) => at_upstream(route, Unwelcome::Malformed(why)),
            (Rejection::Malformed(why), None) => Web::refuse_malformed(path, why),
            (Rejection::TooManyFields, _) => {
                let text = format!("More than {MAX_FIELDS} header fields.\n");
                plain(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, text)
            }
            (Rejection::WrongHost(wrong), route) => match (wrong.cause(), route) {
                (Some(cause), Some(route)) => at_upstream(route, Unwelcome::Misdirected(cause)),
                _ => self.0.hosts.refuse(&wrong, &parts.headers),
            },
            (Rejection::Busy(shortage), Some(route)) => at_upstream(route, Unwelcome::Busy(exhausted(shortage))),
            (Rejection::Busy(shortage), None) => self.0.web.refuse_busy(path, exhausted(shortage)),
        }
    }
}

/// Words for the log: the setting that was the limit.
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
