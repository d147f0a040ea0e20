//! `groups_claim` and `groups_from`: the claims that become a user's groups.

use serde::Deserialize;

use super::claim::check_claim;
use super::problem::Mistake;
use super::reading::{Reading, Section, ValueRef};
use super::shape::Step;

/// The claim that lists the groups at most providers.
const USUAL: &str = "groups";
/// The most sources of one provider.
const MAX_SOURCES: usize = 16;
/// The longest prefix, in bytes.
const MAX_PREFIX: usize = 64;

/// Where the groups of a provider's users come from, in the operator's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSources(pub Vec<GroupSource>);

/// One source of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSource {
    /// What is read.
    pub origin: GroupOrigin,
    /// What the names from here begin with, so that those of another source cannot be taken for them.
    pub prefix: String,
}

/// What is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupOrigin {
    /// A claim.
    Claim {
        /// Its name, or a JSON pointer (RFC 6901).
        place: String,
        /// What it must be.
        form: ClaimForm,
    },
    /// The domain of the user's e-mail address, if the provider says that the address is verified.
    EmailDomain,
}

/// The form of a claim that has names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClaimForm {
    /// A list of texts, each a name; or one text, which is one name.
    #[default]
    List,
    /// A text with names that are separated by spaces.
    Words,
    /// An object whose keys are the names.
    Keys,
}

impl GroupSources {
    /// One claim, by name or JSON pointer.
    #[must_use]
    pub fn claim(place: &str) -> Self {
        let origin = GroupOrigin::Claim { place: place.to_owned(), form: ClaimForm::List };
        Self(vec![GroupSource { origin, prefix: String::new() }])
    }

    /// Whether a group of this name can come from here.
    #[must_use]
    pub fn may_give(&self, group: &str) -> bool {
        self.0.iter().any(|source| group.starts_with(&source.prefix))
    }
}

impl Default for GroupSources {
    fn default() -> Self {
        Self::claim(USUAL)
    }
}

/// A source as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceWritten {
    claim: Option<String>,
    form: Option<ClaimForm>,
    email_domain: Option<bool>,
    prefix: Option<String>,
}

/// The keys.
pub(super) struct Written {
    pub(super) claim: Option<String>,
    pub(super) from: Option<Vec<SourceWritten>>,
    /// Whether the provider's word on e-mail addresses may decide who belongs where.
    pub(super) vouches_for_email: bool,
}

/// Reads the keys.
pub(super) fn read(written: Written, section: &Section<'_>, reading: &mut Reading<'_>) -> GroupSources {
    if written.claim.is_some() && written.from.is_some() {
        let mistake = Mistake::new("is written besides groups_from, which lists all sources");
        let hint = "remove it, and add { claim = \"…\" } with its value to groups_from";
        reading.error(&section.at("groups_claim"), mistake.hint(hint));
    }
    let Some(from) = written.from else {
        let claim = written.claim.unwrap_or_else(|| USUAL.to_owned());
        reading.keep(&section.at("groups_claim"), check_claim(&claim));
        return GroupSources::claim(&claim);
    };
    if from.is_empty() || from.len() > MAX_SOURCES {
        let mistake = Mistake::new(format!("must have 1 to {MAX_SOURCES} entries"));
        let hint = "such as groups_from = [{ claim = \"groups\" }]; to send a server no groups write groups = [] there";
        reading.error(&section.at("groups_from"), mistake.hint(hint));
    }
    let mut sources = Vec::new();
    for (at, written_source) in from.into_iter().enumerate() {
        sources.extend(source(written_source, at, written.vouches_for_email, section, reading));
    }
    warn_of_equal_prefixes(&sources, section, reading);
    GroupSources(sources)
}

fn source(
    written: SourceWritten,
    at: usize,
    vouches_for_email: bool,
    section: &Section<'_>,
    reading: &mut Reading<'_>,
) -> Option<GroupSource> {
    let place = |key: Option<&str>| at_source(section, at, key);
    let prefix = written.prefix.unwrap_or_default();
    if prefix.len() > MAX_PREFIX || prefix.chars().any(char::is_control) {
        let mistake = Mistake::new(format!("must have at most {MAX_PREFIX} characters on one line"));
        reading.error(&place(Some("prefix")), mistake.hint("such as \"role:\""));
    }
    let origin = match (written.claim, written.email_domain.unwrap_or_default()) {
        (Some(claim), false) => {
            reading.keep(&place(Some("claim")), check_claim(&claim));
            GroupOrigin::Claim { place: claim, form: written.form.unwrap_or_default() }
        }
        (None, true) => {
            check_email_domain(&prefix, written.form, vouches_for_email, &place, reading);
            GroupOrigin::EmailDomain
        }
        _ => {
            let mistake = Mistake::new("must have one of claim and email_domain");
            let hint = "{ claim = \"groups\" }, or { email_domain = true, prefix = \"domain:\" }";
            if !reading.is_refused_within(&place(None)) {
                reading.error(&place(None), mistake.hint(hint));
            }
            return None;
        }
    };
    Some(GroupSource { origin, prefix })
}

fn check_email_domain(
    prefix: &str,
    form: Option<ClaimForm>,
    vouches_for_email: bool,
    place: &dyn Fn(Option<&str>) -> ValueRef,
    reading: &mut Reading<'_>,
) {
    if !vouches_for_email {
        let mistake = Mistake::new("proves nothing with Entra ID: a tenant writes any address into its tokens");
        reading.error(&place(Some("email_domain")), mistake.hint("tell its users apart by tenant, group or role"));
    }
    if prefix.is_empty() {
        let mistake = Mistake::new("needs a prefix: a group could have the name of a domain");
        reading.error(&place(Some("email_domain")), mistake.hint("add prefix = \"domain:\""));
    }
    if form.is_some() {
        let mistake = Mistake::new("has no effect: a domain is one name").hint("remove it");
        reading.error(&place(Some("form")), mistake);
    }
}

/// Two sources with one prefix give the same names: a role `admin` is then the group `admin`.
fn warn_of_equal_prefixes(sources: &[GroupSource], section: &Section<'_>, reading: &mut Reading<'_>) {
    for (at, source) in sources.iter().enumerate() {
        let before = sources.iter().take(at).position(|before| before.prefix == source.prefix);
        if let Some(before) = before {
            let mistake = Mistake::new(format!(
                "has the prefix of groups_from[{before}]: a name of either counts as a name of the other"
            ));
            let hint = "give each a prefix, such as \"role:\", unless both list the same things";
            reading.warn(&at_source(section, at, None), mistake.hint(hint));
        }
    }
}

fn at_source(section: &Section<'_>, at: usize, key: Option<&str>) -> ValueRef {
    let further = key.map(|key| Step::Key(key.to_owned()));
    let path = [Step::Key("groups_from".to_owned()), Step::Item(at)];
    section.within(&path.into_iter().chain(further).collect::<Vec<_>>())
}
