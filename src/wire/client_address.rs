//! The address of a client, and the network by which limits count it.

use std::net::{IpAddr, Ipv6Addr};

use http::HeaderName;

/// The header by which a proxy names its client.
pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Who sent a request: the peer, or, behind trusted proxies, the client that they name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

impl ClientAddress {
    /// What limits count by: an IPv4 address, or the first address of an IPv6 /64, since a single host can use all of
    /// its /64. An IPv4 address written as IPv6 is the IPv4 address.
    pub(crate) fn network(self) -> IpAddr {
        match self.0.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
            address @ IpAddr::V4(_) => address,
        }
    }

    /// The same as text.
    #[must_use]
    pub(crate) fn key(self) -> String {
        match self.network() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(network) => format!("{network}/64"),
        }
    }

    /// The first address of the IPv6 /48 around it: what one customer of a provider may hold, with 65,536 networks in it. `None`
    /// for an IPv4 address, of which nobody has more for the asking.
    pub(crate) fn site(self) -> Option<Ipv6Addr> {
        match self.0.to_canonical() {
            IpAddr::V6(address) => Some(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 80))),
            IpAddr::V4(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ClientAddress;

    #[test]
    fn addresses_count_as_ipv4_address_or_ipv6_network() {
        let key = |text: &str| ClientAddress(text.parse().unwrap()).key();
        assert_eq!(key("203.0.113.7"), "203.0.113.7");
        assert_eq!(key("::ffff:203.0.113.7"), "203.0.113.7");
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(key("2001:db8:1:2:ffff::1"), key("2001:db8:1:2::"));
        assert_ne!(key("2001:db8:1:3::"), key("2001:db8:1:2::"));
    }

    #[test]
    fn only_an_ipv6_address_lies_in_a_site() {
        let site = |text: &str| ClientAddress(text.parse().unwrap()).site().map(|site| site.to_string());
        assert_eq!(site("2001:db8:1:2:3:4:5:6").as_deref(), Some("2001:db8:1::"));
        assert_eq!(site("2001:db8:1:ffff::"), site("2001:db8:1::1"));
        assert_ne!(site("2001:db8:2::"), site("2001:db8:1::"));
        assert_eq!((site("203.0.113.7"), site("::ffff:203.0.113.7")), (None, None));
    }
}
