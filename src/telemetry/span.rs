//! The span of a request: what every line that is logged for it carries.

use std::net::IpAddr;

use tracing::Span;

use super::RequestId;

/// The target of the span. The log's filter always lets it through: an operator who asks for warnings alone wants to know
/// whose they are.
pub(super) const TARGET: &str = "portcullis::request";

/// The span of a request. Tasks that work for one request run in it; what several requests share, such as a connection to
/// an upstream or one reading of a provider's keys for all who wait, runs in none.
///
/// Without a subscriber that wants it, it costs no allocation.
pub(crate) fn request(id: &RequestId, address: IpAddr) -> Span {
    // an error span, so that no level filter drops it
    tracing::error_span!(target: TARGET, "request", request_id = %id, %address)
}
