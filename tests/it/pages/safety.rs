//! What holds for every page: its headers (clickjacking), its styles, and that texts from outside are escaped (XSS).

use std::fs;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use axum::response::IntoResponse;
use data_encoding::BASE64;
use portcullis::config::{Pages, ScopeText, Support};
use portcullis::issuer::{Outcome, Told};
use portcullis::model::client::ClientOrigin;
use portcullis::web::pages::{
    Branding, ClientLabel, Page, ReturnPage, UnknownClientPage, not_found, return_to_application, unknown_client,
};
use proptest::prelude::*;

use super::gallery::{
    Consent, HOSTILE, OWN, PLAIN, between, error_page, front_page, gallery, header, redirect, registered, request_id,
    return_page, server_page, sign_in_page, unavailable_page,
};
use super::sign_ins::{account_page, device_page, end_page, grant_view, remembering_page, told_page};

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
        let policy = header(page.clone(), "content-security-policy");
        assert!(policy.contains(&format!("style-src 'sha256-{hash}';")), "{name}: {policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{name}: {policy}");
        // a browser hashes what its parser kept: line ends are folded, references in <style> are not
        assert!(!style.contains('\r') && !style.contains("</"), "{name}");
        assert!(!page.html.contains(" style="), "{name}");
    }
}

#[test]
fn every_page_is_accessible_and_has_no_script() {
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
fn xss_hostile_texts_are_escaped_everywhere() {
    let escaped = HOSTILE.replace('"', "&#34;").replace('<', "&#60;").replace('>', "&#62;").replace('\'', "&#39;");
    let id = request_id();
    let pages: [&dyn Fn(&str) -> Page; 17] = [
        &|text| Consent { client: registered(text), ..Consent::default() }.page(),
        &|text| Consent { resource_name: text, ..Consent::default() }.page(),
        &|text| Consent { identities: &[("a", text, "openid")], ..Consent::default() }.page(),
        &|text| Consent { client: ClientLabel { id: text, name: None, ..registered("") }, ..Consent::default() }.page(),
        &|text| sign_in_page(registered(text), text, None),
        &|text| return_page(registered(text), "com.example.app:/cb", Outcome::SignedIn),
        &|text| error_page(text, &id),
        &|text| {
            let (branding, redirect_uri) = (&*PLAIN, Some(text));
            unknown_client(&UnknownClientPage { branding, client_id: text, redirect_uri, request_id: &id })
        },
        &|text| {
            let scope_texts = [ScopeText { value: "mcp:access".to_owned(), text: text.to_owned() }];
            Consent { scope_texts: &scope_texts, ..Consent::default() }.page()
        },
        &|text| account_page(text, vec![grant_view(text, ClientOrigin::Registered)], false),
        &remembering_page,
        &|text| end_page(text, Some(grant_view(text, ClientOrigin::Configured))),
        &|text| device_page(registered(text), text, true),
        &|text| told_page(&Told::DeviceConnected { user: Some(text.to_owned()) }),
        &|text| server_page(&PLAIN, text),
        &|text| front_page(&[(text, text)]),
        &|text| {
            let support = Some(Support { href: text.to_owned(), text: text.to_owned() });
            server_page(&Branding::new(&Pages { name: text.to_owned(), support, ..Pages::default() }), "Expenses")
        },
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
fn xss_hostile_scopes_are_escaped() {
    // RFC 6749 3.3 allows everything but the double quote and the backslash
    let scope = "'><script>alert(1)</script>";
    let html = Consent { scope, identities: &[("a", "Keycloak", scope)], ..Consent::default() }.html();
    assert_eq!(html.matches("<code>&#39;&#62;&#60;script&#62;alert(1)&#60;/script&#62;</code>").count(), 2);
    assert!(!html.contains("<script"));
}

#[test]
fn xss_hostile_user_names_are_escaped() {
    let uri = redirect("com.example.app:/cb");
    let page = |user| {
        let (branding, client, location) = (&*PLAIN, registered("Claude"), uri.as_str());
        let (outcome, user) = (Outcome::SignedIn, Some(user));
        return_to_application(&ReturnPage { branding, client, redirect_uri: &uri, location, outcome, user }).html
    };
    let hostile = page(HOSTILE);
    assert!(
        !hostile.contains(HOSTILE) && hostile.contains("Signed in as <bdi class=\"claim\">&#34;&#62;"),
        "{hostile}"
    );
}

#[test]
fn no_page_loads_any_resource() {
    for (name, page) in gallery() {
        for attribute in [" src=\"", "<link rel=\"icon\" href=\""] {
            for (at, _) in page.html.match_indices(attribute) {
                let value = &page.html[at + attribute.len()..];
                assert!(value.starts_with("data:image/"), "{name}: {}", &value[..40]);
            }
        }
        for loading in ["<link rel=\"style", "<iframe", "<object", "<embed", "@import", "url(http", "srcset"] {
            assert!(!page.html.contains(loading), "{name}: {loading}");
        }
    }
    let own = server_page(&OWN, "Expenses").html;
    assert!(own.contains("<img class=\"logo\" src=\"data:image/svg+xml;base64,"), "{own}");
}

proptest! {
    #[test]
    fn xss_no_name_adds_an_element_or_an_attribute(name in "[\\PC<>\"'&=;/]{1,60}") {
        let marks = |html: &str| ['<', '>', '"', '\''].map(|mark| html.matches(mark).count());
        let page = |name: &str| sign_in_page(registered(name), name, None).html;
        prop_assert_eq!(marks(&page(&name)), marks(&page("Name")));
        let page = |name: &str| Consent { client: registered(name), ..Consent::default() }.html();
        prop_assert_eq!(marks(&page(&name)), marks(&page("Name")));
    }
}

/// Also writes every page to disk, for people and browsers to look at.
#[test]
fn every_page_is_below_16_kib() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("content-security-policy.txt"), header(not_found(&PLAIN), "content-security-policy"))
        .unwrap();
    for (name, page) in gallery() {
        assert!(page.html.len() < 16 * 1024, "{name} has {} bytes", page.html.len());
        fs::write(folder.join(format!("{name}.html")), &page.html).unwrap();
    }
}
