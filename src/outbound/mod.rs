//! Guarded HTTP for the control plane: every call is bounded in size and time, follows no redirect, carries no cookies, and
//! trusts the roots that the operator named. The proxy path does not come through here.
//!
//! Defends against SSRF (`strangers`: documents at addresses that anyone may name), DNS rebinding, redirects to somewhere
//! else, decompression bombs (nothing is decompressed) and endless answers.
//!
//! | file | what |
//! |---|---|
//! | `fetcher` | calls to servers that the operator configured |
//! | `route` | which of them go through a proxy |
//! | `roots` | which certificates are trusted |
//! | `failure` | what went wrong with a call, and the setting to change |
//! | `diagnosis` | a cause and a hint |
//! | `strangers` | documents at addresses that a stranger names |
//! | `addresses` | which addresses a stranger may name |

mod addresses;
mod diagnosis;
pub(crate) mod failure;
mod fetcher;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod roots;
mod route;
mod strangers;

pub use diagnosis::Diagnosis;
pub use fetcher::{FetchError, Fetched, Fetcher};
pub use roots::tls_config;
pub use strangers::{Document, LookUp, StrangerError, Strangers, machine_look_up};
