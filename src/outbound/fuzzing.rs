//! For `crate::fuzzing`: addresses that an untrusted client's host name resolves to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::addresses::{is_loopback, is_private, refusal};

/// The prefix of NAT64 (RFC 6052).
const NAT64: u128 = 0x0064_ff9b << 96;

/// An IPv4 address of four bytes, or an IPv6 address of sixteen.
pub(crate) fn addresses(data: &[u8]) {
    if let Some(octets) = data.first_chunk::<4>() {
        let v4 = Ipv4Addr::from(*octets);
        assert_ipv4(v4);
    }
    if let Some(octets) = data.first_chunk::<16>() {
        assert_ipv6(Ipv6Addr::from(*octets));
    }
}

/// What the standard library calls special is refused, however the address is written into an IPv6 address.
fn assert_ipv4(v4: Ipv4Addr) {
    let refused = refusal(IpAddr::V4(v4)).is_some();
    let special = v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || v4.is_unspecified()
        || v4.is_broadcast()
        || v4.is_multicast()
        || v4.is_documentation();
    assert!(refused || !special, "{v4}");
    let bits = u128::from(v4.to_bits());
    let translated = IpAddr::V6(Ipv6Addr::from_bits(NAT64 | bits));
    assert_eq!(refusal(translated).is_some(), refused, "{translated}");
    for inside in [Ipv6Addr::from_bits(bits), v4.to_ipv6_mapped(), Ipv6Addr::from_bits(0x2002 << 112 | bits << 80)] {
        assert!(refusal(IpAddr::V6(inside)).is_some(), "{inside}");
    }
    assert_openings(IpAddr::V4(v4));
}

fn assert_ipv6(v6: Ipv6Addr) {
    let special = v6.is_loopback()
        || v6.is_unspecified()
        || v6.is_multicast()
        || v6.is_unique_local()
        || v6.is_unicast_link_local()
        || v6.to_ipv4_mapped().is_some();
    assert!(refusal(IpAddr::V6(v6)).is_some() || !special, "{v6}");
    assert_openings(IpAddr::V6(v6));
}

/// An operator can open only what is refused otherwise, and never this machine nor a link.
fn assert_openings(address: IpAddr) {
    let refused = refusal(address).is_some();
    assert!(refused || !(is_private(address) || is_loopback(address)), "{address}");
    assert!(!(is_private(address) && is_loopback(address)), "{address}");
    let is_of_a_link = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    assert!(!(is_private(address) && is_of_a_link), "{address}");
}
