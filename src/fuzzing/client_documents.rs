//! Client ID Metadata Documents, and the URLs that are client ids.

use serde_json::Value;
use url::Url;

use crate::clock::Timestamp;
use crate::model::client::Client;
use crate::oauth::client_document::ClientDocument;
use crate::oauth::client_id_url::{ClientIdUrl, publisher};
use crate::oauth::client_keys::ClientKeys;
use crate::oauth::client_metadata::MAX_REDIRECT_URIS;
use crate::oauth::client_name::clean_client_name;
use crate::oauth::redirect_uri::{RedirectPolicy, RedirectUri};

/// A line with the URL, then the document.
pub fn client_documents(data: &[u8]) {
    let newline = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let Some((url, document)) = data.split_at_checked(newline) else { return };
    let Ok(url) = str::from_utf8(url) else { return };
    let Ok(id) = ClientIdUrl::parse(url) else { return };
    assert_is_what_browsers_read(&id);
    if let Ok(client) = ClientDocument::read(&id, document, &RedirectPolicy::default()) {
        assert_client(&id, &client, document);
    }
}

fn assert_is_what_browsers_read(id: &ClientIdUrl) {
    let url = Url::parse(id.as_str());
    assert!(url.is_ok(), "{id:?}");
    let Ok(url) = url else { return };
    assert_eq!(url.as_str(), id.as_str());
    assert_eq!(url.scheme(), "https");
    assert_eq!(url.host_str(), Some(id.host()));
    assert!(url.fragment().is_none() && url.username().is_empty() && url.password().is_none(), "{id:?}");
    assert!(url.path().len() > 1, "{id:?}");
    assert!(publisher(id.as_str()).is_some_and(|publisher| publisher.starts_with(id.host())), "{id:?}");
}

/// An accepted document speaks for its own URL, names what it may, and holds no secret.
fn assert_client(id: &ClientIdUrl, client: &ClientDocument, document: &[u8]) {
    assert!((1..=MAX_REDIRECT_URIS).contains(&client.redirect_uris.len()));
    assert_clean(&client.client_name);
    if let Ok(known) = Client::documented(id, client.clone(), Timestamp(0)) {
        assert_eq!(known.id.as_str(), id.as_str());
        assert!(known.authentication.secret_hash().is_none() && !known.device);
        let is_known = |uri: &RedirectUri| known.redirect_uris.iter().any(|kept| uri.is_registered_as(kept));
        assert!(client.redirect_uris.iter().all(is_known), "{known:?}");
    }
    if let Some(keys) = &client.keys {
        super::key_sets::assert_public(keys);
        let stored = serde_json::to_string(keys).ok();
        assert_eq!(stored.and_then(|stored| serde_json::from_str::<ClientKeys>(&stored).ok()).as_ref(), Some(keys));
    }
    // a reader that nests less deeply has no opinion
    let Ok(read) = serde_json::from_slice::<Value>(document) else { return };
    assert_eq!(read.get("client_id").and_then(Value::as_str), Some(id.as_str()));
    assert!(read.get("client_secret").is_none_or(Value::is_null));
    let listed = read.get("redirect_uris").and_then(Value::as_array);
    for uri in &client.redirect_uris {
        assert!(listed.is_some_and(|listed| listed.iter().any(|item| item.as_str() == Some(uri.as_str()))), "{uri:?}");
    }
}

/// A name that was cleaned is short, visible, and clean.
pub(super) fn assert_clean(name: &str) {
    assert_eq!(clean_client_name(name).as_deref(), Some(name), "{name:?}");
    assert!(!name.is_empty() && !name.contains(|c: char| c.is_control()), "{name:?}");
    let overrides = ['\u{202a}', '\u{202b}', '\u{202d}', '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}', '\u{200f}'];
    assert!(!name.contains(overrides), "{name:?}");
}
