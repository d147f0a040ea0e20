//! Why the program does not start, and what to do.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::issuer::Unfit;
use crate::keys::KeyError;
use crate::storage::StoreError;

/// Why the program does not start, with a hint where there is one.
#[derive(Debug)]
pub enum StartError {
    /// The store cannot be opened.
    Store(StoreError),
    /// Our keys cannot be used.
    Keys(KeyError),
    /// The configuration does not fit what the store remembers.
    Unfit(Unfit),
    /// A listener cannot be opened.
    Listen {
        /// The setting that says where.
        setting: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the system says.
        cause: io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => write!(f, "storage: {error}"),
            Self::Keys(error) => write!(f, "keys: {error}"),
            Self::Unfit(error) => write!(f, "{error}"),
            Self::Listen { setting, address, cause } => write!(f, "{setting}: cannot listen on {address}: {cause}"),
        }?;
        match self.hint() {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StartError {}

impl StartError {
    /// What to do, where the words of the cause do not say it already.
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Store(StoreError::Unavailable(_) | StoreError::Busy)
            | Self::Keys(KeyError::Store(_) | KeyError::Unsealable(_))
            | Self::Unfit(Unfit::Store(_)) => None,
            Self::Store(StoreError::Corrupt { .. }) | Self::Keys(KeyError::Unusable { .. } | KeyError::Missing(_)) => {
                Some("something else wrote to the database: restore a backup, or name a new file in storage.url")
            }
            Self::Keys(KeyError::Unmade(_)) => Some("start again; this machine may be short of memory"),
            Self::Unfit(Unfit::AnotherIssuer { .. }) => Some(
                "give the new provider its own id; or, if its accounts replace the old ones, set replaces_issuer = \"…\" to the \
                 old issuer: every grant of the old provider then ends",
            ),
            Self::Unfit(Unfit::StillUsed(_)) => Some("stop the processes with the old configuration first"),
            Self::Listen { cause, .. } => Some(match cause.kind() {
                io::ErrorKind::AddrInUse => "another program listens there: stop it, or choose another port",
                io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege: choose a higher one",
                io::ErrorKind::AddrNotAvailable => {
                    "this machine does not have that address: use 127.0.0.1 for this machine only, 0.0.0.0 for everyone"
                }
                _ => "choose another address, or port",
            }),
        }
    }
}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Unfit> for StartError {
    fn from(error: Unfit) -> Self {
        match error {
            Unfit::Store(error) => Self::Store(error),
            other => Self::Unfit(other),
        }
    }
}

impl From<KeyError> for StartError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Store(error) => Self::Store(error),
            other => Self::Keys(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::StartError;
    use crate::keys::KeyError;
    use crate::storage::StoreError;

    fn listen(kind: ErrorKind) -> StartError {
        StartError::Listen { setting: "server.listen", address: "192.0.2.1:80".parse().unwrap(), cause: kind.into() }
    }

    #[test]
    fn each_failure_of_a_start_names_the_hint() {
        let corrupt = || StoreError::Corrupt { table: "signing_keys", column: "algorithm" };
        let errors = [
            corrupt().into(),
            KeyError::Store(corrupt()).into(),
            KeyError::Unsealable("k_1".into()).into(),
            KeyError::Unusable { id: "k_1".into(), cause: "the public key is another's".to_owned() }.into(),
            KeyError::Unmade("no memory".to_owned()).into(),
            KeyError::Missing("ES256").into(),
            listen(ErrorKind::AddrInUse),
            listen(ErrorKind::PermissionDenied),
            listen(ErrorKind::AddrNotAvailable),
            listen(ErrorKind::Other),
        ];
        let texts = errors.map(|error: StartError| error.to_string());
        insta::assert_snapshot!(texts.join("\n"), @r"
        storage: the database is corrupt: signing_keys.algorithm
          hint: something else wrote to the database: restore a backup, or name a new file in storage.url
        storage: the database is corrupt: signing_keys.algorithm
          hint: something else wrote to the database: restore a backup, or name a new file in storage.url
        keys: signing key k_1 was sealed by a root key that `secrets.keys` does not hold: add that key to the list again
        keys: signing key k_1 cannot be used: the public key is another's
          hint: something else wrote to the database: restore a backup, or name a new file in storage.url
        keys: a signing key cannot be made: no memory
          hint: start again; this machine may be short of memory
        keys: the store holds no ES256 signing key
          hint: something else wrote to the database: restore a backup, or name a new file in storage.url
        server.listen: cannot listen on 192.0.2.1:80: address in use
          hint: another program listens there: stop it, or choose another port
        server.listen: cannot listen on 192.0.2.1:80: permission denied
          hint: ports below 1024 need a privilege: choose a higher one
        server.listen: cannot listen on 192.0.2.1:80: address not available
          hint: this machine does not have that address: use 127.0.0.1 for this machine only, 0.0.0.0 for everyone
        server.listen: cannot listen on 192.0.2.1:80: other error
          hint: choose another address, or port
        ");
    }
}
