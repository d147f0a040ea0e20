//! `POST /introspect` (RFC 7662 2), for configured resource servers.

use axum::body::Body;
use axum::extract::{Extension, State};
use http::{Request, Response, StatusCode};

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
    match endpoints.issuer.introspect(request).await {
        Ok(document) => json::no_store(StatusCode::OK, document),
        Err(refusal) => token::refused(&refusal, asked_with_header),
    }
}
