//! What all schemas of the tools share.

use schemars::Schema;
use schemars::transform::{RestrictFormats, Transform};

/// Drops the names of Rust's number types: strict clients complain of a format that JSON Schema does not know.
pub(super) fn standard_formats(schema: &mut Schema) {
    let mut formats = RestrictFormats::default();
    formats.infer_from_meta_schema = false;
    formats.transform(schema);
}
