//! DPoP (RFC 9449): proofs that a client has the key to which its token is bound, and the nonces that they must carry.
//!
//! | file | what |
//! |---|---|
//! | `proof` | verifies a proof |
//! | `nonces` | our nonces, which no process has to remember |
//!
//! The token endpoint and the gateway use the same two. Whether a proof was used before (replay) is theirs to remember.

mod nonces;
mod proof;

pub use nonces::{NONCE_LIFETIME, Nonces};
pub use proof::{BoundToken, ExpectedProof, MAX_PROOF, ProofError, VerifiedProof, verify_proof};
