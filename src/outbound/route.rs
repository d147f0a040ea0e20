//! Which calls go through a proxy.

use std::sync::Arc;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::{NoProxy, Proxy};
use url::Url;

use crate::config::{OutboundProxy, Proxies, ProxyUrl};

/// The way out. Cheap to clone.
#[derive(Clone)]
pub(super) struct ProxyRoute(Option<Arc<Through>>);

struct Through {
    proxies: Proxies,
    /// The library's own rules, for our messages.
    matcher: Matcher,
}

impl ProxyRoute {
    pub(super) fn new(proxy: &OutboundProxy) -> Self {
        let OutboundProxy::Through(proxies) = proxy else { return Self(None) };
        let url = |proxy: &Option<ProxyUrl>| proxy.as_ref().map(ProxyUrl::expose).unwrap_or_default().to_owned();
        let matcher =
            Matcher::builder().https(url(&proxies.https)).http(url(&proxies.http)).no(proxies.direct.clone()).build();
        Self(Some(Arc::new(Through { proxies: proxies.clone(), matcher })))
    }

    /// The same rules for the client.
    pub(super) fn proxies(&self) -> Vec<Proxy> {
        let Some(through) = &self.0 else { return Vec::new() };
        let Proxies { https, http, direct } = &through.proxies;
        let https = https.as_ref().map(|proxy| Proxy::https(proxy.expose()));
        let http = http.as_ref().map(|proxy| Proxy::http(proxy.expose()));
        // both are URLs that were read before, and cannot be refused
        let proxies = [https, http].into_iter().flatten().filter_map(Result::ok);
        proxies.map(|proxy| proxy.no_proxy(NoProxy::from_string(direct))).collect()
    }

    /// Host and port of the proxy that a call goes through.
    pub(super) fn proxy_for(&self, url: &Url) -> Option<String> {
        let proxy = self.0.as_ref()?.matcher.intercept(&url.as_str().parse().ok()?)?;
        proxy.uri().authority().map(ToString::to_string)
    }
}

#[cfg(test)]
mod tests {
    use super::ProxyRoute;
    use crate::config::Config;

    /// The route that these variables make with `proxy = "env"`.
    fn route(variables: &[(&str, &str)]) -> ProxyRoute {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("portcullis.toml");
        let text = r#"public_url = "http://127.0.0.1:8080"
            [outbound]
            proxy = "env"
            no_proxy = ["keycloak"]
            [storage]
            url = "sqlite:x.db"
            [secrets]
            keys = [{ env = "KEY" }]
            [[identity]]
            id = "k"
            kind = "oidc"
            issuer = "https://sso.example.com"
            client_id = "x"
            [[upstream]]
            id = "a"
            path = "/mcp"
            url = "http://127.0.0.1:1/mcp""#;
        std::fs::write(&file, text).unwrap();
        let key = ("KEY", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        let environment = variables.iter().chain([&key]).map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        ProxyRoute::new(&Config::load(&file, environment).unwrap().config.outbound.proxy)
    }

    #[test]
    fn each_scheme_has_its_proxy_and_what_is_exempt_or_this_machine_has_none() {
        let route = route(&[
            ("HTTPS_PROXY", "http://user:s3cret@secure:3128"),
            ("http_proxy", "plain:3128"),
            ("NO_PROXY", "example.org, *.corp.example,10.0.0.0/8,.internal"),
        ]);
        for (url, proxy) in [
            ("https://sso.example.com/realms/x?y", Some("secure:3128")),
            ("http://sso.example.com/", Some("plain:3128")),
            ("https://192.0.2.1/", Some("secure:3128")),
            ("https://notexample.org/", Some("secure:3128")),
            ("https://example.org/", None),
            ("https://a.EXAMPLE.org/", None),
            ("https://a.corp.example/", None),
            ("https://a.internal/", None),
            ("http://keycloak:8080/", None),
            ("https://10.1.2.3/", None),
            ("https://localhost:8443/", None),
            ("https://a.localhost/", None),
            ("https://127.0.0.1/", None),
            ("https://127.9.9.9/", None),
            ("https://[::1]:8443/", None),
            ("https://[::ffff:127.0.0.1]/", None),
        ] {
            assert_eq!(route.proxy_for(&url.parse().unwrap()).as_deref(), proxy, "{url}");
        }
        assert_eq!(route.proxies().len(), 2);
    }

    #[test]
    fn all_proxy_applies_where_no_scheme_variable_is_set() {
        let route = route(&[("all_proxy", "http://all:1"), ("HTTPS_PROXY", " "), ("HTTP_PROXY", "http://plain:2")]);
        assert_eq!(route.proxy_for(&"https://a.example".parse().unwrap()).as_deref(), Some("all:1"));
        assert_eq!(route.proxy_for(&"http://a.example".parse().unwrap()).as_deref(), Some("plain:2"));
    }
}
