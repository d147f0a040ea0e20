//! The id of a tenant of Microsoft Entra ID.

use std::fmt;

/// A GUID in lower case: the `tid` of a tenant's tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Box<str>);

/// The lengths of the groups of hexadecimal digits in a GUID.
const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

impl TenantId {
    /// Reads a GUID in its usual form, in either case: no braces, four hyphens.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut groups = text.split('-');
        let is_group =
            |length: usize, group: &str| group.len() == length && group.bytes().all(|b| b.is_ascii_hexdigit());
        let all = GROUPS.iter().all(|length| groups.next().is_some_and(|group| is_group(*length, group)));
        (all && groups.next().is_none()).then(|| Self(text.to_ascii_lowercase().into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::TenantId;

    #[test]
    fn a_tenant_id_is_a_guid_and_has_one_spelling() {
        let id = TenantId::parse("AAAABBBB-0000-cccc-1111-dddd2222eeee").unwrap();
        assert_eq!(id.as_str(), "aaaabbbb-0000-cccc-1111-dddd2222eeee");
        for wrong in [
            "",
            "common",
            "contoso.onmicrosoft.com",
            "{aaaabbbb-0000-cccc-1111-dddd2222eeee}",
            "aaaabbbb0000cccc1111dddd2222eeee",
            "aaaabbbb-0000-cccc-1111-dddd2222eeeg",
            "aaaabbbb-0000-cccc-1111-dddd2222eeee-",
            "aaaabbbb-0000-cccc-1111-dddd2222eee",
            "aaaabbbb-0000-cccc-1111-dddd2222eeee/..",
            "aaaabbb-b0000-cccc-1111-dddd2222eeee",
        ] {
            assert_eq!(TenantId::parse(wrong), None, "{wrong}");
        }
    }
}
