//! Which addresses an untrusted client may make us call: those of the public Internet, and no others.
//!
//! Defends against SSRF. What is refused is the IANA special-purpose address registries (RFC 6890) less what they call
//! globally reachable, multicast, and everything in IPv6 that is not global unicast. The metadata services of the clouds
//! lie in these ranges (169.254.169.254, 100.100.100.200, 192.0.0.192, `fd00:ec2::254`), but for one, which is listed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Checked in this order; the reason is for the operator.
static REFUSED: [(IpNet, &str); 34] = [
    (v4([0, 0, 0, 0], 8), "\"this network\" (RFC 791)"),
    (v4([10, 0, 0, 0], 8), "private (RFC 1918)"),
    (v4([100, 64, 0, 0], 10), "shared by a carrier (RFC 6598)"),
    (LOOPBACK_V4, "loopback (RFC 1122)"),
    (v4([168, 63, 129, 16], 32), "the platform of a cloud (Azure)"),
    (v4([169, 254, 0, 0], 16), "link-local (RFC 3927)"),
    (v4([172, 16, 0, 0], 12), "private (RFC 1918)"),
    (v4([192, 0, 0, 0], 24), "for protocols (RFC 6890)"),
    (v4([192, 0, 2, 0], 24), "for documentation (RFC 5737)"),
    (v4([192, 88, 99, 0], 24), "a 6to4 relay (RFC 7526)"),
    (v4([192, 168, 0, 0], 16), "private (RFC 1918)"),
    (v4([198, 18, 0, 0], 15), "for benchmarks (RFC 2544)"),
    (v4([198, 51, 100, 0], 24), "for documentation (RFC 5737)"),
    (v4([203, 0, 113, 0], 24), "for documentation (RFC 5737)"),
    (v4([224, 0, 0, 0], 4), "multicast (RFC 5771)"),
    (v4([240, 0, 0, 0], 4), "reserved (RFC 1112)"),
    (LOOPBACK_V6, "loopback (RFC 4291)"),
    (v6(0xffff << 32, 96), "an IPv4 address in IPv6 (RFC 4291 2.5.5.2)"),
    (v6(0, 96), "unspecified, or an IPv4 address in IPv6 (RFC 4291 2.5.5.1)"),
    (v6(0x0064_ff9b_0001 << 80, 48), "for local translation (RFC 8215)"),
    (v6(0x0100 << 112, 64), "discarded (RFC 6666)"),
    (v6(0x2001 << 112, 32), "a Teredo tunnel (RFC 4380)"),
    (v6(0x2001 << 112, 23), "for protocols (RFC 2928)"),
    (v6(0x2001_0db8 << 96, 32), "for documentation (RFC 3849)"),
    (v6(0x2002 << 112, 16), "a 6to4 tunnel (RFC 3056)"),
    (v6(0x3fff << 112, 20), "for documentation (RFC 9637)"),
    (v6(0x5f00 << 112, 16), "for segment routing (RFC 9602)"),
    (v6(0xfc00 << 112, 7), "unique local (RFC 4193)"),
    (v6(0xfe80 << 112, 10), "link-local (RFC 4291)"),
    (v6(0xfec0 << 112, 10), "site-local (RFC 3879)"),
    (v6(0xff00 << 112, 8), "multicast (RFC 4291)"),
    (v6(0, 3), "not global unicast (RFC 4291 2.4)"),
    (v6(0x4000 << 112, 2), "not global unicast (RFC 4291 2.4)"),
    (v6(0x8000 << 112, 1), "not global unicast (RFC 4291 2.4)"),
];
const LOOPBACK_V4: IpNet = v4([127, 0, 0, 0], 8);
const LOOPBACK_V6: IpNet = v6(1, 128);
/// IPv4 addresses behind a translator (NAT64, RFC 6052): they are checked against the address inside.
const TRANSLATED: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::from_bits(0x0064_ff9b << 96), 96);

const fn v4(octets: [u8; 4], prefix: u8) -> IpNet {
    let [a, b, c, d] = octets;
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

const fn v6(bits: u128, prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::from_bits(bits), prefix))
}

/// Why an untrusted client may not make us call an address; `None` when it is public.
pub(super) fn refusal(address: IpAddr) -> Option<&'static str> {
    if let IpAddr::V6(v6) = address
        && TRANSLATED.contains(&v6)
    {
        let [.., a, b, c, d] = v6.octets();
        return refusal(IpAddr::V4(Ipv4Addr::new(a, b, c, d)));
    }
    REFUSED.iter().find(|(range, _)| range.contains(&address)).map(|(_, reason)| *reason)
}

/// The networks of an organisation (RFC 1918, RFC 4193, and RFC 6598, which overlay networks use).
const PRIVATE: [IpNet; 5] = [
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([172, 16, 0, 0], 12),
    v4([192, 168, 0, 0], 16),
    v6(0xfc00 << 112, 7),
];
/// The metadata services of clouds (Alibaba, AWS, Google) that lie in these networks.
const METADATA_SERVICES: [IpNet; 3] =
    [v4([100, 100, 100, 200], 32), v6(0xfd00_0ec2 << 96 | 0x0254, 128), v6(0xfd20_00ce << 96 | 0x0254, 128)];

/// Whether an address is one of an organisation's own network, which an operator may open for a name. Link-local addresses,
/// this machine and the metadata services of clouds are never opened.
pub(super) fn is_private(address: IpAddr) -> bool {
    let within = |ranges: &[IpNet]| ranges.iter().any(|range| range.contains(&address));
    within(&PRIVATE) && !within(&METADATA_SERVICES)
}

/// Whether an address is this machine's own.
pub(super) fn is_loopback(address: IpAddr) -> bool {
    LOOPBACK_V4.contains(&address) || LOOPBACK_V6.contains(&address)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use proptest::prelude::*;

    use super::{is_loopback, is_private, refusal};

    const SPECIAL: [(&str, &str); 50] = [
        ("0.0.0.0", "this network"),
        ("0.255.255.255", "this network"),
        ("10.0.0.1", "private"),
        ("100.64.0.1", "carrier"),
        ("100.100.100.200", "carrier"),
        ("100.127.255.255", "carrier"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("168.63.129.16", "cloud"),
        ("169.254.169.254", "link-local"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.0.0.192", "protocols"),
        ("192.0.2.1", "documentation"),
        ("192.88.99.1", "6to4"),
        ("192.168.1.1", "private"),
        ("198.18.0.1", "benchmarks"),
        ("198.19.255.255", "benchmarks"),
        ("198.51.100.7", "documentation"),
        ("203.0.113.7", "documentation"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::127.0.0.1", "IPv4 address in IPv6"),
        ("::ffff:127.0.0.1", "IPv4 address in IPv6"),
        ("::ffff:8.8.8.8", "IPv4 address in IPv6"),
        ("::ffff:0:127.0.0.1", "not global unicast"),
        ("64:ff9b::169.254.169.254", "link-local"),
        ("64:ff9b::10.0.0.1", "private"),
        ("64:ff9b:1::a00:1", "local translation"),
        ("100::1", "discarded"),
        ("2001::1", "Teredo"),
        ("2001:2::1", "protocols"),
        ("2001:20::1", "protocols"),
        ("2001:db8::1", "documentation"),
        ("2002:7f00:1::", "6to4"),
        ("2002:a9fe:a9fe::1", "6to4"),
        ("3fff::1", "documentation"),
        ("5f00::1", "segment routing"),
        ("4000::1", "not global unicast"),
        ("8000::1", "not global unicast"),
        ("fc00::1", "unique local"),
        ("fd00:ec2::254", "unique local"),
        ("fd20:ce::254", "unique local"),
        ("fe80::1", "link-local"),
        ("fec0::1", "site-local"),
        ("ff02::1", "multicast"),
    ];
    const PUBLIC: [&str; 16] = [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.1",
        "192.167.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "64:ff9b::8.8.8.8",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2606:4700:4700::1111",
        "2a00:1450::1",
    ];

    #[test]
    fn only_the_public_internet_is_called() {
        for (address, reason) in SPECIAL {
            let said = refusal(address.parse().unwrap()).unwrap_or_else(|| panic!("{address} is called"));
            assert!(said.contains(reason), "{address}: {said}");
        }
        for address in PUBLIC {
            assert_eq!(refusal(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn only_the_networks_of_an_organisation_can_be_opened() {
        let opened = SPECIAL.iter().map(|(address, _)| *address).filter(|address| is_private(address.parse().unwrap()));
        let expected =
            ["10.0.0.1", "100.64.0.1", "100.127.255.255", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1"];
        assert_eq!(opened.collect::<Vec<_>>(), expected);
        for address in PUBLIC {
            assert!(!is_private(address.parse().unwrap()), "{address}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_the_standard_library_calls_special_is_public(bits in any::<[u8; 4]>(), inside in any::<u128>()) {
            let v4 = std::net::Ipv4Addr::from(bits);
            let special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_broadcast()
                || v4.is_documentation() || v4.is_multicast() || v4.is_unspecified();
            prop_assert!(!special || refusal(IpAddr::V4(v4)).is_some());
            prop_assert!(!v4.is_loopback() || is_loopback(IpAddr::V4(v4)));
            prop_assert!(refusal(IpAddr::V6(v4.to_ipv6_mapped())).is_some());
            let v6 = Ipv6Addr::from(inside);
            let global = v6.segments()[0] & 0xe000 == 0x2000 || v6.segments()[..2] == [0x64, 0xff9b];
            prop_assert!(global || refusal(IpAddr::V6(v6)).is_some());
        }
    }
}
