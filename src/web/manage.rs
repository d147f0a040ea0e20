//! `/register/{client_id}` (RFC 7592 2): a client reads, updates and deletes itself. Writes run in a task of their own, so
//! that a client that disconnects does not leave half of one.

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use http::header::{CACHE_CONTROL, PRAGMA};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};

use super::Endpoints;
use super::fault::unavailable;
use super::register::{bearer, metadata, refused, registration};
use crate::issuer::ManagementRequest;
use crate::wire::Arrival;

/// The id in the path; empty, so unknown, when it is not UTF-8.
type ClientId = Result<Path<String>, axum::extract::rejection::PathRejection>;

fn managed(client_id: ClientId, headers: &HeaderMap, arrival: Arrival) -> ManagementRequest {
    let client_id = client_id.map_or_else(|_not_text| String::new(), |Path(id)| id);
    ManagementRequest { client_id, token: bearer(headers), arrival }
}

pub(super) async fn get(
    State(endpoints): State<Endpoints>,
    Extension(arrival): Extension<Arrival>,
    client_id: ClientId,
    headers: HeaderMap,
) -> Response<Body> {
    match endpoints.issuer.read_client(&managed(client_id, &headers, arrival)).await {
        Ok(read) => registration(StatusCode::OK, &read),
        Err(refusal) => refused(refusal),
    }
}

pub(super) async fn put(
    State(endpoints): State<Endpoints>,
    Extension(arrival): Extension<Arrival>,
    client_id: ClientId,
    mut request: Request<Body>,
) -> Response<Body> {
    let update = managed(client_id, request.headers(), arrival);
    let bytes = match metadata(&mut request) {
        Ok(bytes) => bytes,
        Err(response) => return *response,
    };
    let issuer = endpoints.issuer.clone();
    match endpoints.issuer.complete(async move { issuer.update_client(&update, &bytes).await }).await {
        Ok(Ok(updated)) => registration(StatusCode::OK, &updated),
        Ok(Err(refusal)) => refused(refusal),
        Err(panicked) => unavailable(panicked.to_string()),
    }
}

pub(super) async fn delete(
    State(endpoints): State<Endpoints>,
    Extension(arrival): Extension<Arrival>,
    client_id: ClientId,
    headers: HeaderMap,
) -> Response<Body> {
    let deletion = managed(client_id, &headers, arrival);
    let issuer = endpoints.issuer.clone();
    match endpoints.issuer.complete(async move { issuer.delete_client(&deletion).await }).await {
        Ok(Ok(())) => gone(),
        Ok(Err(refusal)) => refused(refusal),
        Err(panicked) => unavailable(panicked.to_string()),
    }
}

/// RFC 7592 2.3.
fn gone() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}
