//! HTTP vocabulary that several modules need.

pub(crate) mod accept;
