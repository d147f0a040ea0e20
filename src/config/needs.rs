//! Which secrets a run reads. A command that only works on the database must not fail because a secret is missing that only `serve`
//! sends somewhere: an operator who ends a stolen grant at night may have none of them in their shell.

/// What the process does with the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Serves, or checks whether `serve` could: every secret must be there.
    Everything,
    /// Makes signing keys: the root keys must be there.
    SigningKeys,
    /// Ends grants: the root keys and the secrets of the identity providers are used if they are there, to revoke tokens at the
    /// providers.
    Revocation,
    /// Works on the database: no secret but those of `[storage]` is read.
    Storage,
}

/// What a secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SecretFor {
    /// The database.
    Storage,
    /// What is sealed in the database.
    Sealing,
    /// Us, as a client of an identity provider.
    Provider,
    /// Calls, and clients.
    Serving,
}

/// What a run does about a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Without it the configuration is refused.
    Required,
    /// It is read; without it the command goes on, and says so.
    Useful,
    /// It is not read.
    Unused,
}

impl Needs {
    pub(super) const fn of(self, secret: SecretFor) -> Need {
        match (self, secret) {
            (Self::Everything, _) | (_, SecretFor::Storage) | (Self::SigningKeys, SecretFor::Sealing) => Need::Required,
            (Self::Revocation, SecretFor::Sealing | SecretFor::Provider) => Need::Useful,
            _ => Need::Unused,
        }
    }
}
