//! The JSON Schema of the tools' arguments and results.

use schemars::Schema;
use schemars::transform::{RestrictFormats, Transform};

/// Removes the names of Rust's number types: strict clients refuse a `format` that JSON Schema does not define.
pub(super) fn standard_formats(schema: &mut Schema) {
    let mut formats = RestrictFormats::default();
    formats.infer_from_meta_schema = false;
    formats.transform(schema);
}
