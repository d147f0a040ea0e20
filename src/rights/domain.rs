//! The domain of an e-mail address.

/// The domain of an address in lower case; `None` where the address could be read in two ways. It is compared whole, byte for byte:
/// letters outside ASCII are not folded into those of another domain.
pub(crate) fn domain_of(address: &str) -> Option<String> {
    let (name, domain) = address.split_once('@')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let is_domain =
        domain.len() <= 253 && domain.split('.').all(|label| !label.is_empty()) && domain.bytes().all(plain);
    (!name.is_empty() && is_domain).then(|| domain.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::domain_of;

    #[test]
    fn only_a_plain_address_has_a_domain_and_it_is_the_whole_one() {
        for (address, domain) in [
            ("ada@example.com", Some("example.com")),
            ("Ada@EXAMPLE.Com", Some("example.com")),
            ("ada@evil-example.com", Some("evil-example.com")),
            ("ada@sub.example.com", Some("sub.example.com")),
            ("a@b@example.com", None),
            ("\"a@b\"@example.com", None),
            ("@example.com", None),
            ("ada@", None),
            ("ada", None),
            ("ada@example.com.", None),
            ("ada@.example.com", None),
            ("ada@exämple.com", None),
            ("ada@example.com\0.evil.com", None),
            ("ada@example.com ", None),
            ("ada@[127.0.0.1]", None),
            ("ada@ｅxample.com", None),
        ] {
            assert_eq!(domain_of(address).as_deref(), domain, "{address}");
        }
    }
}
