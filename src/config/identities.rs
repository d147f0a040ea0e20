//! `[[identity]]` of every kind: which file reads it.

use super::entra;
use super::id::Seen;
use super::identity::{self, Identity, IdentityKind, admission, check_names};
use super::reading::{Reading, Section};
use super::shape;

/// The value of `kind` whose entries have keys of their own.
const ENTRA: &str = "entra";

/// The keys of an entry of this kind.
pub(super) fn keys(kind: Option<&str>) -> &'static [&'static str] {
    if kind == Some(ENTRA) { shape::keys::<entra::Written>() } else { shape::keys::<identity::Written>() }
}

/// Reads one entry. `seen` holds the ids of those before it.
pub(super) fn read(section: &Section<'_>, seen: &mut Seen, reading: &mut Reading<'_>) -> Option<Identity> {
    if section.node().text("kind") != Some(ENTRA) {
        return identity::read(section, seen, reading);
    }
    let mut written: entra::Written = reading.shape(section)?;
    check_names(&written.id, written.name.as_deref(), section, seen, reading);
    let (id, name) = (written.id.clone(), written.name.clone().unwrap_or_else(|| "Microsoft".to_owned()));
    let admission = admission(written.allow.take(), written.ask.take(), section, reading);
    let kind = IdentityKind::Oidc(Box::new(entra::read(written, section, reading)?));
    Some(Identity { id, name, kind, admission })
}
