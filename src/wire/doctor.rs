//! What `portcullis doctor` and a running process agree on.

use http::HeaderName;

/// The header field with the pass: see `keys::DoctorPasses`.
pub(crate) const DOCTOR_PASS: HeaderName = HeaderName::from_static("x-portcullis-doctor");
