//! Warnings about a misconfigured proxy in front, once in the life of a process each.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Request, Version};

use super::client_address::Proxies;
use crate::wire::X_FORWARDED_FOR;

/// Which warnings were given.
#[derive(Default)]
pub(super) struct Hints {
    no_forwarded_for: AtomicBool,
    old_http: AtomicBool,
}

impl Hints {
    /// Looks at a request that passed the `Host` check: health checks of load balancers name no host, or another one.
    pub(super) fn look_at<B>(&self, request: &Request<B>, peer: IpAddr, proxies: &Proxies) {
        let peer = peer.to_canonical();
        if proxies.trusts(peer) && !request.headers().contains_key(X_FORWARDED_FOR) && first(&self.no_forwarded_for) {
            tracing::warn!(
                %peer,
                "a trusted proxy sends no X-Forwarded-For: all clients behind it share its address and its limits, and any \
                 client can forge the header\n  hint: let the proxy append the client's address, or remove it from \
                 server.trusted_proxies"
            );
        }
        if request.version() < Version::HTTP_11 && first(&self.old_http) {
            tracing::warn!(
                %peer,
                "a peer speaks HTTP/1.0: truncated responses look complete, and streams may be buffered\n  \
                 hint: let the proxy in front speak HTTP/1.1 (nginx: proxy_http_version 1.1)"
            );
        }
    }
}

/// Whether the warning was not given before.
fn first(said: &AtomicBool) -> bool {
    !said.load(Ordering::Relaxed) && !said.swap(true, Ordering::Relaxed)
}
