//! What people type and what clients hand back: user codes, and the secrets and ids that we issue.

use crate::model::ids::AuthorizationId;
use crate::oauth::device::UserCode;
use crate::secret::{AccountSession, ApiKey, Code, DeviceCode, Kind, Management, Refresh, Token};

/// One text.
pub fn codes(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Some(code) = UserCode::parse(text) {
        let shown = code.to_string();
        assert!(UserCode::parse(&shown).is_some_and(|again| again == code), "{shown}");
        assert!(code.as_bytes().iter().all(u8::is_ascii_uppercase));
        assert_eq!(format!("{code:?}"), "[user code]");
    }
    let kinds = [
        is_token::<Code>(text),
        is_token::<Refresh>(text),
        is_token::<DeviceCode>(text),
        is_token::<AccountSession>(text),
        is_token::<Management>(text),
        is_token::<ApiKey>(text),
    ];
    assert!(kinds.iter().filter(|kind| **kind).count() <= 1, "a text of two kinds");
    if is_token::<ApiKey>(text) {
        assert!(crate::gateway::fuzzing::is_recognised_in_a_query(text));
    }
    if let Some(id) = AuthorizationId::parse(text) {
        // it becomes a part of a cookie's name
        assert!(id.as_str() == text && id.bits().bytes().all(|byte| byte.is_ascii_alphanumeric()));
    }
}

/// Whether a text is a token of this kind, which then is the only way to write it.
fn is_token<K: Kind>(text: &str) -> bool {
    let Some(token) = Token::<K>::parse(text) else { return false };
    assert!(token.expose() == text && text.starts_with(K::PREFIX) && text.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(!format!("{token:?}").contains(text), "it prints");
    true
}
