//! `POST /revoke` (RFC 7009 2): the client learns only whether its request was well-formed.

use axum::body::Body;
use axum::extract::{Extension, State};
use http::{Request, Response};

use super::fault::unavailable;
use super::{Endpoints, json, token};
use crate::wire::Arrival;

pub(super) async fn post(
    State(endpoints): State<Endpoints>,
    Extension(arrival): Extension<Arrival>,
    request: Request<Body>,
) -> Response<Body> {
    let request = match token::read(request, arrival) {
        Ok(request) => request,
        Err(response) => return *response,
    };
    let asked_with_header = request.authorization.is_some();
    let issuer = endpoints.issuer.clone();
    // a task of its own: the sign-out of a client that closes its connection at once still completes
    match endpoints.issuer.complete(async move { issuer.revoke(request).await }).await {
        Ok(Ok(())) => json::nothing(),
        Ok(Err(refusal)) => token::refused(&refusal, asked_with_header),
        Err(panicked) => unavailable(panicked.to_string()),
    }
}
