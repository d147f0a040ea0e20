//! The RFCs' vocabulary as types. A wire format is parsed here, once, into a type that holds valid values only. No I/O.
//!
//! Defends against open redirectors (`redirect_uri`), URLs that two parsers read differently (`web_uri`), spoofed names of
//! clients (`client_name`), code injection (`pkce`) and header injection (`challenge`).
//!
//! | file | what | where it comes from |
//! |---|---|---|
//! | `device` | device authorization: its codes and its response | RFC 8628 3.2, 6.1 |
//! | `error` | error codes and error documents | RFC 6749 4.1.2.1, 5.2, RFC 7591 3.2.2, RFC 8628 3.5, RFC 8707 2 |
//! | `parameters` | queries and forms | RFC 6749 3.1, 3.2 |
//! | `scope` | scope values | RFC 6749 3.3 |
//! | `scope_hierarchy` | scopes that imply others | MCP 2026-07-28, step-up authorization |
//! | `web_uri` | http and https URIs, read strictly | RFC 3986 3 |
//! | `resource` | resource indicators | RFC 8707, RFC 9728 |
//! | `pkce` | `code_challenge`, `code_verifier` | RFC 7636 |
//! | `redirect_uri` | which redirect URIs are allowed, and when two are the same | RFC 8252 7, RFC 9700 4.1 |
//! | `client_metadata` | registration requests and responses | RFC 7591 |
//! | `client_id_url` | client ids that are URLs | draft-ietf-oauth-client-id-metadata-document 2 |
//! | `client_document` | the documents at those URLs | the same, 3 and 4 |
//! | `json_members` | the members of a JSON object, each on its own | |
//! | `client_name` | the names of clients, cleaned | RFC 7591 2 |
//! | `client_keys` | the public keys of clients | RFC 7591 2, RFC 7517 |
//! | `claims` | the claims of our access tokens | RFC 9068 |
//! | `dpop` | what binds a token to a key | RFC 9449, RFC 7638, RFC 3986 6.2 |
//! | `challenge` | `WWW-Authenticate` | RFC 6750 3, RFC 9449 7.1, RFC 9728 5.1 |
//! | `metadata` | metadata of an authorization server and of a resource | RFC 8414, RFC 9728, RFC 9207 |
//! | `paths` | the paths of our own routes | RFC 8414 3, RFC 9728 3.1 |
//! | `grant_type` | grant types that not every installation offers | RFC 6749 4.4, RFC 7523 |
//! | `introspection` | answers of token introspection | RFC 7662 2.2 |
//! | `token` | the token endpoint's successful response | RFC 6749 5.1 |

pub mod challenge;
pub mod claims;
pub mod client_document;
pub mod client_id_url;
pub mod client_keys;
pub mod client_metadata;
pub mod client_name;
pub mod device;
pub mod dpop;
pub mod error;
pub mod grant_type;
pub mod introspection;
mod json_members;
pub mod metadata;
pub mod parameters;
pub mod paths;
pub mod pkce;
pub mod redirect_uri;
pub mod resource;
pub mod scope;
pub mod scope_hierarchy;
pub mod token;
mod web_uri;
