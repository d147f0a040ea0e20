//! Sessions of the 2025 wire, bound to the user and the resource that they were opened for.
//!
//! Defends against: session hijacking (a stolen or guessed id is useless to another user). The client sees the upstream's id
//! with a MAC behind it. Nothing is stored, and every replica computes the same MAC.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use http::{HeaderMap, HeaderValue};

use super::refusal::Refusal;
use crate::keys::Sealer;
use crate::mcp::headers::SESSION_ID;
use crate::secret::base64url;

/// Binds and unbinds session ids. The first key of the ring makes new MACs; any key may have made an older one.
pub(super) struct Sessions {
    keys: Vec<hmac::Key>,
}

/// The owner of a session.
#[derive(Clone, Copy)]
pub(super) struct Owner<'a> {
    pub(super) subject: &'a str,
    pub(super) resource: &'a str,
}

impl Sessions {
    pub(super) fn new(sealer: &Sealer) -> Self {
        Self::with(&sealer.derived_keys("mcp-session"))
    }

    fn with(keys: &[[u8; 32]]) -> Self {
        Self { keys: keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key)).collect() }
    }

    /// Replaces the client's id by the upstream's.
    ///
    /// # Errors
    /// When the id is not one that we gave to this user for this resource.
    pub(super) fn unbind(&self, headers: &mut HeaderMap, owner: Owner<'_>) -> Result<(), Refusal> {
        let mut values = headers.get_all(SESSION_ID).iter();
        let Some(value) = values.next() else { return Ok(()) };
        if values.next().is_some() {
            return Err(Refusal::UnknownSession);
        }
        let text = value.to_str().map_err(|_not_text| Refusal::UnknownSession)?;
        let (id, mac) = text.rsplit_once('.').ok_or(Refusal::UnknownSession)?;
        let mac =
            data_encoding::BASE64URL_NOPAD.decode(mac.as_bytes()).map_err(|_malformed| Refusal::UnknownSession)?;
        let known = self.keys.iter().any(|key| verify_slices_are_equal(code(key, id, owner).as_ref(), &mac).is_ok());
        if !known {
            return Err(Refusal::UnknownSession);
        }
        let id = HeaderValue::from_str(id).map_err(|_invalid| Refusal::UnknownSession)?;
        headers.insert(SESSION_ID, id);
        Ok(())
    }

    /// Replaces the upstream's id in an answer by one that only this caller can use.
    ///
    /// # Errors
    /// When there are several ids, or one that is not visible ASCII (MCP 2025-11-25): an unbound id must not pass.
    pub(super) fn bind(&self, headers: &mut HeaderMap, owner: Owner<'_>) -> Result<(), Refusal> {
        let mut ids = headers.get_all(SESSION_ID).iter();
        let Some(id) = ids.next() else { return Ok(()) };
        let unfit = |why: &str| Refusal::BadGateway(format!("sent {why} in Mcp-Session-Id"));
        if ids.next().is_some() {
            return Err(unfit("several ids"));
        }
        let visible = id.to_str().ok().filter(|id| id.bytes().all(|byte| byte.is_ascii_graphic()));
        let id = visible.ok_or_else(|| unfit("other characters than visible ASCII"))?;
        let key = self.keys.first().ok_or_else(|| Refusal::Unavailable("there is no key for sessions".to_owned()))?;
        let bound = format!("{id}.{}", base64url(code(key, id, owner).as_ref()));
        let bound = HeaderValue::try_from(bound).map_err(|_invalid| unfit("an id that does not fit"))?;
        headers.insert(SESSION_ID, bound);
        Ok(())
    }
}

/// Each part follows its length, so that different triples give different bytes.
fn code(key: &hmac::Key, id: &str, owner: Owner<'_>) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for part in [id, owner.subject, owner.resource] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    context.sign()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::{Owner, Sessions};
    use crate::mcp::headers::SESSION_ID;

    const ALICE: Owner<'_> = Owner { subject: "k|alice", resource: "https://a/mcp" };

    fn with(id: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(SESSION_ID, HeaderValue::from_str(id).unwrap());
        headers
    }

    fn id(headers: &HeaderMap) -> &str {
        headers.get(SESSION_ID).unwrap().to_str().unwrap()
    }

    #[test]
    fn only_its_owner_at_its_resource_can_use_a_session() {
        let sessions = Sessions::with(&[[1; 32]]);
        let mut answer = with("up.stream-id");
        sessions.bind(&mut answer, ALICE).unwrap();
        let bound = id(&answer).to_owned();
        let mut request = with(&bound);
        assert!(sessions.unbind(&mut request, ALICE).is_ok());
        assert_eq!(id(&request), "up.stream-id");
        for other in [Owner { subject: "k|bob", ..ALICE }, Owner { resource: "https://a/other", ..ALICE }] {
            assert!(sessions.unbind(&mut with(&bound), other).is_err());
        }
        for forged in ["up.stream-id", "other.x", "", ".", &format!("x{bound}"), &bound[..bound.len() - 1]] {
            assert!(sessions.unbind(&mut with(forged), ALICE).is_err(), "{forged}");
        }
        assert!(sessions.unbind(&mut HeaderMap::new(), ALICE).is_ok());
    }

    #[test]
    fn a_mac_of_an_older_key_is_accepted_and_two_session_headers_are_not() {
        let (old, new) = (Sessions::with(&[[1; 32]]), Sessions::with(&[[2; 32], [1; 32]]));
        let mut answer = with("s");
        old.bind(&mut answer, ALICE).unwrap();
        assert!(new.unbind(&mut answer.clone(), ALICE).is_ok());
        answer.append(SESSION_ID, HeaderValue::from_static("second"));
        assert!(new.unbind(&mut answer, ALICE).is_err());
    }

    #[test]
    fn an_id_that_cannot_be_bound_does_not_pass() {
        let sessions = Sessions::with(&[[1; 32]]);
        for id in [&b"caf\xc3\xa9"[..], b"a b", b"a\tb"] {
            let mut answer = HeaderMap::new();
            answer.insert(SESSION_ID, HeaderValue::from_bytes(id).unwrap());
            assert!(sessions.bind(&mut answer, ALICE).is_err(), "{id:?}");
        }
        let mut twice = with("s");
        twice.append(SESSION_ID, HeaderValue::from_static("s"));
        assert!(sessions.bind(&mut twice, ALICE).is_err());
    }

    proptest! {
        #[test]
        fn an_unbound_id_is_never_accepted(text in "[!-~]{0,80}") {
            let sessions = Sessions::with(&[[1; 32]]);
            prop_assert!(sessions.unbind(&mut with(&text), ALICE).is_err());
        }

        #[test]
        fn every_id_comes_back_as_the_upstream_wrote_it(text in "[!-~]{1,80}") {
            let sessions = Sessions::with(&[[1; 32]]);
            let mut headers = with(&text);
            sessions.bind(&mut headers, ALICE).unwrap();
            prop_assert!(sessions.unbind(&mut headers, ALICE).is_ok());
            prop_assert_eq!(id(&headers), text);
        }
    }
}
