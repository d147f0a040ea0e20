//! The address of a client behind proxies.
//!
//! Defends against spoofed addresses: `X-Forwarded-For` counts only as far as trusted proxies wrote it.

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

use crate::wire::X_FORWARDED_FOR;

/// The trusted proxies.
pub(super) struct Proxies(Vec<IpNet>);

impl Proxies {
    pub(super) const fn new(trusted: Vec<IpNet>) -> Self {
        Self(trusted)
    }

    /// The client's address: the peer, or the rightmost untrusted entry of `X-Forwarded-For` when the peer is trusted.
    /// Entries further left may be forged.
    pub(super) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        // as bytes: a forged entry further left that is not text must not make the entry of our proxy unreadable
        let values = headers.get_all(X_FORWARDED_FOR).iter().rev();
        for hop in values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b',')) {
            if !self.trusts(client) {
                break;
            }
            match std::str::from_utf8(hop).ok().and_then(|hop| parse(hop.trim())) {
                Some(address) => client = address.to_canonical(),
                None => break,
            }
        }
        client
    }

    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// An address as proxies write it: plain, in brackets, or with a port.
fn parse(hop: &str) -> Option<IpAddr> {
    hop.parse()
        .ok()
        .or_else(|| hop.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()))
        .or_else(|| hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::Proxies;
    use crate::wire::X_FORWARDED_FOR;

    fn client(peer: &str, forwarded: &[impl AsRef<[u8]>]) -> String {
        let proxies = Proxies::new(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        let headers: HeaderMap =
            forwarded.iter().map(|value| (X_FORWARDED_FOR, HeaderValue::from_bytes(value.as_ref()).unwrap())).collect();
        proxies.client(peer.parse().unwrap(), &headers).to_string()
    }

    proptest! {
        #[test]
        fn whatever_an_untrusted_peer_claims_it_stays_itself(claim in "[ -~]{0,60}") {
            prop_assert_eq!(client("203.0.113.9", &[&claim]), "203.0.113.9");
        }

        #[test]
        fn entries_left_of_the_trusted_hop_are_ignored(
            claim in prop::collection::vec((32..=255_u8).prop_filter("no control", |byte| *byte != 127), 0..60),
        ) {
            let forwarded = [&claim[..], b", 203.0.113.9"].concat();
            prop_assert_eq!(client("10.0.0.1", &[forwarded]), "203.0.113.9");
        }
    }

    #[test]
    fn a_stranger_cannot_choose_its_address() {
        assert_eq!(client("203.0.113.9", &["1.2.3.4"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &["1.2.3.4, 203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &["1.2.3.4", "203.0.113.9, 10.0.0.7"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &["203.0.113.9:4711"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &["nonsense"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[""; 0]), "10.0.0.1");
        assert_eq!(client("::ffff:10.0.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1", &["10.0.0.2, 10.0.0.3"]), "10.0.0.2");
    }
}
