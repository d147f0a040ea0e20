//! The key of a rate limit, as bytes.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::model::ids::{AuthorizationId, ClientId, GrantId, IdentityId};
use crate::wire::ClientAddress;

/// One part of a key.
#[derive(Clone, Copy)]
pub(crate) enum Part<'a> {
    /// An address, counted by [`ClientAddress::network`]: an IPv4 address or an IPv6 /64. The limit may count by
    /// [`ClientAddress::site`] besides: see [`Key::of_site`].
    Address(ClientAddress),
    /// Only the browsers at an address.
    Browsers,
    /// A host that unauthenticated callers name: of a redirect URI, of a metadata document.
    Host(&'a str),
    /// A client.
    Client(&'a ClientId),
    /// A grant.
    Grant(&'a GrantId),
    /// A rendered form.
    Authorization(&'a AuthorizationId),
    /// An identity provider.
    Identity(&'a IdentityId),
    /// A user name as it was typed, whether or not there is such a user.
    User(&'a str),
    /// How many sign-ins succeeded before: each one starts the count anew.
    SignIns(u64),
}

/// The key of a rate limit. Two keys are equal only if they were made of the same parts in the same order: each part is written
/// with its kind and its length, so no text that an attacker chooses can end one part and begin another.
#[cfg_attr(test, derive(Debug, PartialEq, Eq))]
pub(crate) struct Key {
    bytes: Vec<u8>,
    of_site: Option<Box<Self>>,
}

impl Key {
    /// The key of these parts together.
    pub(crate) fn of(parts: &[Part<'_>]) -> Self {
        let lies_in_site = parts.iter().any(|part| matches!(part, Part::Address(address) if address.site().is_some()));
        let of_site = lies_in_site.then(|| Box::new(Self { bytes: written(parts, Part::in_site), of_site: None }));
        Self { bytes: written(parts, Part::encode), of_site }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same key with the IPv6 /48 in the place of the /64; `None` when no part is an IPv6 address.
    pub(super) fn of_site(&self) -> Option<&Self> {
        self.of_site.as_deref()
    }
}

fn written<'a>(parts: &'a [Part<'a>], encode: impl Fn(&'a Part<'a>) -> (u8, Cow<'a, [u8]>)) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    for part in parts {
        let (kind, bytes) = encode(part);
        key.push(kind);
        key.extend_from_slice(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        key.extend_from_slice(&bytes);
    }
    key
}

impl Part<'_> {
    fn encode(&self) -> (u8, Cow<'_, [u8]>) {
        match self {
            Self::Address(address) => match address.network() {
                IpAddr::V4(address) => (0, address.octets().to_vec().into()),
                IpAddr::V6(network) => (1, network.octets().to_vec().into()),
            },
            Self::Browsers => (2, Cow::default()),
            Self::Client(client) => (3, client.as_str().as_bytes().into()),
            Self::Grant(grant) => (4, grant.as_str().as_bytes().into()),
            Self::Identity(identity) => (5, identity.as_str().as_bytes().into()),
            Self::User(name) => (6, name.as_bytes().into()),
            Self::Host(host) => (8, host.as_bytes().into()),
            Self::Authorization(form) => (9, form.as_str().as_bytes().into()),
            Self::SignIns(count) => (7, count.to_be_bytes().to_vec().into()),
        }
    }

    /// The same with the site of an IPv6 address.
    fn in_site(&self) -> (u8, Cow<'_, [u8]>) {
        match self {
            Self::Address(address) if let Some(site) = address.site() => (10, site.octets().to_vec().into()),
            _ => self.encode(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Key, Part};
    use crate::wire::ClientAddress;

    /// A key of parts that each are a kind and a text; kinds without a text make one of it.
    fn key(parts: &[(u8, String)]) -> Vec<u8> {
        let mut key = Vec::new();
        for (kind, text) in parts {
            let number = text.bytes().fold(0, |number, byte| number << 8 | u64::from(byte));
            let part = match kind {
                0 => Key::of(&[Part::Client(&text.as_str().into())]),
                1 => Key::of(&[Part::Grant(&text.as_str().into())]),
                2 => Key::of(&[Part::Identity(&text.as_str().into())]),
                3 => Key::of(&[Part::User(text)]),
                _ => Key::of(&[Part::SignIns(number << 8 | text.len() as u64)]),
            };
            key.extend(part.bytes);
        }
        key
    }

    proptest! {
        #[test]
        fn keys_are_equal_only_if_all_their_parts_are(
            one in prop::collection::vec((0..5_u8, "[ab0 :/\0\x01]{0,3}"), 0..4),
            other in prop::collection::vec((0..5_u8, "[ab0 :/\0\x01]{0,3}"), 0..4),
        ) {
            prop_assert_eq!(key(&one) == key(&other), one == other);
        }

        #[test]
        fn one_text_split_at_two_places_is_two_keys(text in "\\PC{1,20}", first in 0..20_usize, second in 0..20_usize) {
            let split = |at: usize| {
                let at = text.char_indices().map(|(at, _)| at).nth(at).unwrap_or(text.len());
                let (name, client) = text.split_at(at);
                (at, Key::of(&[Part::User(name), Part::Client(&client.into())]).bytes)
            };
            let ((first, one), (second, other)) = (split(first), split(second));
            prop_assert_eq!(first == second, one == other);
        }

        #[test]
        fn a_text_that_is_written_as_a_part_would_be_is_no_part(name in "[a-z]{0,8}", client in "[a-z]{0,8}") {
            let both = Key::of(&[Part::User(&name), Part::Client(&client.as_str().into())]).bytes;
            let forged = String::from_utf8(both.get(9..).unwrap().to_vec()).unwrap();
            prop_assert_ne!(both, Key::of(&[Part::User(&forged)]).bytes);
        }
    }

    #[test]
    fn an_address_is_counted_by_its_network_and_apart_from_its_browsers() {
        let parse = |text: &str| ClientAddress(text.parse().unwrap());
        let key = |text: &str| Key::of(&[Part::Address(parse(text))]).bytes;
        assert_eq!(key("203.0.113.7"), key("::ffff:203.0.113.7"));
        assert_eq!(key("2001:db8:1:2:ffff::1"), key("2001:db8:1:2::"));
        assert_ne!(key("2001:db8:1:3::"), key("2001:db8:1:2::"));
        assert_ne!(key("203.0.113.7"), Key::of(&[Part::Address(parse("203.0.113.7")), Part::Browsers]).bytes);
        assert_ne!(key("0.0.0.0"), key("::"));
    }

    #[test]
    fn the_key_of_a_site_is_one_for_all_its_networks_and_differs_in_every_other_part() {
        let part = |text: &str| Part::Address(ClientAddress(text.parse().unwrap()));
        let site = |parts: &[Part<'_>]| Key::of(parts).of_site().map(|key| key.bytes.clone());
        assert_eq!(site(&[part("2001:db8:1:2::1")]), site(&[part("2001:db8:1:3::")]));
        assert_ne!(site(&[part("2001:db8:2::")]), site(&[part("2001:db8:1::")]));
        assert_ne!(site(&[part("2001:db8:1::"), Part::User("a")]), site(&[part("2001:db8:1::"), Part::User("b")]));
        assert_ne!(site(&[part("2001:db8:1::")]).unwrap(), Key::of(&[part("2001:db8:1::")]).bytes);
        assert_eq!((site(&[part("203.0.113.7")]), site(&[Part::User("a")])), (None, None));
    }
}
