//! The RFCs' vocabulary as types: a wire format is parsed here, once, into something that cannot be wrong. No I/O.
//!
//! | file | what | where it comes from |
//! |---|---|---|
//! | `error` | error codes and error documents | RFC 6749 4.1.2.1, 5.2, RFC 7591 3.2.2, RFC 8707 2 |
//! | `parameters` | queries and forms | RFC 6749 3.1, 3.2 |
//! | `scope` | scope values | RFC 6749 3.3 |
//! | `web_uri` | http and https URIs, read strictly | RFC 3986 3 |
//! | `resource` | resource indicators | RFC 8707, RFC 9728 |
//! | `pkce` | `code_challenge`, `code_verifier` | RFC 7636 |
//! | `redirect_uri` | which redirects are allowed, and when two are the same | RFC 8252 7, RFC 9700 4.1 |
//! | `client_metadata` | what a client registers, and the answer | RFC 7591 |
//! | `client_name` | what a client may call itself | RFC 7591 2 |
//! | `claims` | what our access tokens say | RFC 9068 |
//! | `challenge` | `WWW-Authenticate` | RFC 6750 3, RFC 9728 5.1 |
//! | `metadata` | what an authorization server and a resource announce | RFC 8414, RFC 9728, RFC 9207 |
//! | `paths` | the paths of our own routes | RFC 8414 3, RFC 9728 3.1 |
//! | `token` | the token endpoint's successful answer | RFC 6749 5.1 |

pub mod challenge;
pub mod claims;
pub mod client_metadata;
pub mod client_name;
pub mod error;
pub mod metadata;
pub mod parameters;
pub mod paths;
pub mod pkce;
pub mod redirect_uri;
pub mod resource;
pub mod scope;
pub mod token;
mod web_uri;
