//! For `crate::fuzzing`: the address of a client behind proxies.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderValue};

use super::client_address::Proxies;
use crate::wire::X_FORWARDED_FOR;

const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9));
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

/// A direct caller counts as itself; behind a proxy counts what the proxy wrote, whatever stands left of it.
pub(crate) fn assert_address(headers: &HeaderMap) {
    let proxies = Proxies::new("10.0.0.0/8".parse().into_iter().collect());
    assert_eq!(proxies.client(PUBLIC, headers), PUBLIC);
    let client = proxies.client(PROXY, headers);
    assert!(client == PROXY || headers.contains_key(X_FORWARDED_FOR));
    assert_eq!(client, client.to_canonical());
    let mut forwarded = headers.clone();
    forwarded.append(X_FORWARDED_FOR, HeaderValue::from_static("203.0.113.9"));
    assert_eq!(proxies.client(PROXY, &forwarded), PUBLIC);
}
