//! What holds for every page: its headers, its styles, and that no text from outside changes anything but itself.

use std::fs;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use axum::response::IntoResponse;
use data_encoding::BASE64;
use portcullis::issuer::Outcome;
use portcullis::web::pages::{ClientLabel, Page, UnknownClientPage, unknown_client};
use proptest::prelude::*;

use super::gallery::{
    Consent, HOSTILE, between, error_page, gallery, policy, registered, request_id, return_page, sign_in_page,
    unavailable_page,
};

#[test]
fn a_page_is_sent_with_its_headers() {
    let response = Consent::default().page().into_response();
    let sent = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(sent("content-type").as_deref(), Some("text/html; charset=utf-8"));
    assert_eq!(sent("cache-control").as_deref(), Some("no-store"));
    assert_eq!(sent("referrer-policy").as_deref(), Some("same-origin"));
    assert_eq!(sent("x-content-type-options").as_deref(), Some("nosniff"));
    assert_eq!(sent("x-frame-options").as_deref(), Some("DENY"));
    assert_eq!(response.headers().get_all("content-security-policy").iter().count(), 1);
    let policy = sent("content-security-policy").unwrap();
    for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "img-src data:"] {
        assert!(policy.split("; ").any(|directive| directive == part), "{policy}");
    }
    // Chromium applies form-action to the redirects that follow a form: the identity provider would be blocked
    assert!(!policy.contains("form-action") && !policy.contains("unsafe"), "{policy}");
}

#[test]
fn the_policy_allows_exactly_the_styles_that_the_pages_carry() {
    for (name, page) in gallery() {
        let style = between(&page.html, "<style>", "</style>");
        let hash = BASE64.encode(digest(&SHA256, style.as_bytes()).as_ref());
        assert!(policy().contains(&format!("style-src 'sha256-{hash}'")), "{name}");
        // a browser hashes what its parser kept: line ends are folded, references in <style> are not
        assert!(!style.contains('\r') && !style.contains("</"), "{name}");
        assert!(!page.html.contains(" style="), "{name}");
    }
}

#[test]
fn every_page_can_be_read_by_everybody_and_runs_nothing() {
    for (name, page) in gallery() {
        let html = &page.html;
        assert!(html.starts_with("<!doctype html>\n<html lang=\"en\">"), "{name}");
        assert!(html.contains("width=device-width"), "{name}");
        for element in ["<main>", "<h1>", "<title>"] {
            assert_eq!(html.matches(element).count(), 1, "{name}: {element}");
        }
        assert!(!between(html, "<title>", "</title>").starts_with(" ·"), "{name}");
        let lower = html.to_ascii_lowercase();
        assert!(!lower.contains("<script") && !lower.contains(" onclick") && !lower.contains("javascript:"), "{name}");
        for input in html.split("<input ").skip(1).filter(|input| !input.starts_with("type=\"hidden\"")) {
            let id = between(input, "id=\"", "\"");
            assert!(html.contains(&format!("<label for=\"{id}\">")), "{name}: {id}");
        }
    }
}

#[test]
fn a_hostile_text_changes_nothing_but_itself() {
    let escaped = HOSTILE.replace('"', "&#34;").replace('<', "&#60;").replace('>', "&#62;").replace('\'', "&#39;");
    let id = request_id();
    let pages: [&dyn Fn(&str) -> Page; 8] = [
        &|text| Consent { client: registered(text), ..Consent::default() }.page(),
        &|text| Consent { resource_name: text, ..Consent::default() }.page(),
        &|text| Consent { identities: &[("a", text, "openid")], ..Consent::default() }.page(),
        &|text| Consent { client: ClientLabel { id: text, name: None, ..registered("") }, ..Consent::default() }.page(),
        &|text| sign_in_page(registered(text), text, None),
        &|text| return_page(registered(text), "com.example.app:/cb", Outcome::SignedIn),
        &|text| error_page(text, &id),
        &|text| unknown_client(&UnknownClientPage { client_id: text, redirect_uri: Some(text), request_id: &id }),
    ];
    for (at, page) in pages.iter().enumerate() {
        let html = page(HOSTILE).html;
        assert!(!html.contains(HOSTILE), "page {at}");
        assert_eq!(html.replace(&escaped, "Name"), page("Name").html, "page {at}");
    }
    let html = unavailable_page(HOSTILE).html;
    assert!(html.contains(&escaped) && !html.contains(HOSTILE));
}

#[test]
fn a_hostile_scope_is_shown_as_the_text_that_it_is() {
    // RFC 6749 3.3 allows everything but the double quote and the backslash
    let scope = "'><script>alert(1)</script>";
    let html = Consent { scope, identities: &[("a", "Keycloak", scope)], ..Consent::default() }.html();
    assert_eq!(html.matches("<code>&#39;&#62;&#60;script&#62;alert(1)&#60;/script&#62;</code>").count(), 2);
    assert!(!html.contains("<script"));
}

proptest! {
    #[test]
    fn no_name_adds_an_element_or_an_attribute(name in "[\\PC<>\"'&=;/]{1,60}") {
        let marks = |html: &str| ['<', '>', '"', '\''].map(|mark| html.matches(mark).count());
        let page = |name: &str| sign_in_page(registered(name), name, None).html;
        prop_assert_eq!(marks(&page(&name)), marks(&page("Name")));
        let page = |name: &str| Consent { client: registered(name), ..Consent::default() }.html();
        prop_assert_eq!(marks(&page(&name)), marks(&page("Name")));
    }
}

/// Leaves every page on disk, so that people and browsers can look at them.
#[test]
fn every_page_is_small_and_kept_to_be_looked_at() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("content-security-policy.txt"), policy()).unwrap();
    for (name, page) in gallery() {
        assert!(page.html.len() < 16 * 1024, "{name} has {} bytes", page.html.len());
        fs::write(folder.join(format!("{name}.html")), &page.html).unwrap();
    }
}
