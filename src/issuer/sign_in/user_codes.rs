//! The codes that users type for their devices, as they are stored: by a MAC under the root keys. A plain hash of 34 bits
//! could be inverted by brute force.

use std::sync::Arc;

use crate::keys::Sealer;
use crate::oauth::device::UserCode;
use crate::secret::{Sha256, hmac_sha256};

/// Makes the MACs of user codes. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct UserCodes(Arc<[[u8; 32]]>);

impl UserCodes {
    pub(in crate::issuer) fn new(sealer: &Sealer) -> Self {
        Self(sealer.derived_keys("user code").into())
    }

    /// The MACs under every key of the ring, that of the first key first: codes that were made before the last rotation of the
    /// root keys are found, too.
    pub(in crate::issuer) fn macs(&self, code: &UserCode) -> impl Iterator<Item = Sha256> {
        self.0.iter().filter_map(|key| Sha256::from_slice(&hmac_sha256(key, &[code.as_bytes()])))
    }
}
