//! Guarded HTTP for the control plane: every call is bounded in size and time, follows no redirect, carries no cookies, and
//! trusts the roots that the operator named. The proxy path does not come through here.
//!
//! Defends against SSRF (`untrusted`: documents at addresses that anyone may name), DNS rebinding, redirects to somewhere
//! else, decompression bombs (nothing is decompressed) and endless answers.
//!
//! | file | what |
//! |---|---|
//! | `fetcher` | calls to servers that the operator configured |
//! | `route` | which of them go through a proxy |
//! | `roots` | which certificates are trusted |
//! | `failure` | what went wrong with a call, and the setting to change |
//! | `diagnosis` | a cause and a hint |
//! | `untrusted` | documents at addresses that an untrusted client names |
//! | `addresses` | which addresses an untrusted client may name |

mod addresses;
mod diagnosis;
pub(crate) mod failure;
mod fetcher;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod roots;
mod route;
mod untrusted;

pub use diagnosis::Diagnosis;
pub use fetcher::{FetchError, Fetched, Fetcher, Watched};
pub use roots::tls_config;
pub use untrusted::{Document, LookUp, UntrustedFetchError, UntrustedFetcher, machine_look_up};
