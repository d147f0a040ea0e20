//! DPoP (RFC 9449): tokens that are bound to a key of their client, and attacks on them.

mod calls;
mod metadata;
mod thieves;
mod token_endpoint;
