//! Whose users may sign in: the issuer template, `tid`, and the key's own issuer.

use serde_json::json;

use super::{Bench, Written, link_back, stopped};
use crate::entra_emulator::{CONSUMERS, CONTOSO, FABRIKAM};
use crate::support::browser::{location, parameter};
use crate::support::gate::claims;
use crate::support::log::watch;

async fn many(tenant: &str, allowed: &[&str]) -> Bench {
    let written = Written::in_tenant(tenant).with(&format!("allowed_tenants = {allowed:?}"));
    Bench::prepared(|directory, _| directory.apps[0].multi_tenant = true, written).await
}

fn sign_in_as(bench: &Bench, user: &str) {
    bench.emulator.state().signs_in = Some(user.to_owned());
}

/// The operator's words for a sign-in that failed as a fault, and that it told the client no more.
async fn fault(bench: &mut Bench) -> String {
    let (lines, _guard) = watch();
    let refused = bench.visit().await;
    assert_eq!(parameter(&location(&refused), "error").as_deref(), Some("server_error"), "{refused:?}");
    lines.text()
}

#[tokio::test]
async fn a_tenant_is_named_by_its_id_or_by_a_domain() {
    for tenant in [CONTOSO, "contoso.onmicrosoft.com"] {
        let mut bench = Bench::with(Written::in_tenant(tenant)).await;
        let given = bench.tokens().await;
        assert!(claims(&given.access)["sub"].as_str().unwrap().starts_with(&format!("entra|{CONTOSO}.")), "{tenant}");
        bench.refreshed(&given).await;
    }
}

#[tokio::test]
async fn users_of_other_tenants_do_not_pass_the_endpoints_of_one() {
    let mut bench = Bench::new().await;
    sign_in_as(&bench, "fay");
    assert!(stopped(&mut bench).await.contains("AADSTS50020"));
}

#[tokio::test]
async fn of_many_tenants_the_listed_ones_get_in_and_others_are_told_why_not() {
    for tenant in ["organizations", "common"] {
        let mut bench = many(tenant, &[CONTOSO, CONSUMERS]).await;
        let given = bench.tokens().await;
        bench.refreshed(&given).await;
        sign_in_as(&bench, "fay");
        let (lines, _guard) = watch();
        let page = bench.visit().await;
        assert!(page.body.contains("Your organisation&#39;s accounts may not be used here"), "{page:?}");
        assert_eq!(parameter(&link_back(&page), "error").as_deref(), Some("access_denied"));
        assert!(lines.text().contains(FABRIKAM) && lines.text().contains("allowed_tenants"), "{}", lines.text());
    }
    let mut bench = many("common", &[CONSUMERS]).await;
    sign_in_as(&bench, "pat");
    bench.tokens().await;
}

#[tokio::test]
async fn a_tenant_that_leaves_the_list_is_out_at_the_next_refresh() {
    let mut bench = many("organizations", &[CONTOSO, FABRIKAM]).await;
    sign_in_as(&bench, "fay");
    let given = bench.tokens().await;
    let listed = Written::in_tenant("organizations").with(&format!("allowed_tenants = [\"{CONTOSO}\"]"));
    let identity = listed.read(&bench.emulator, bench.directory.path());
    bench.gate = bench.gate.restart_with(|config| config.identities = vec![identity]).await;
    let refused = bench.refresh(&given).await;
    assert_eq!((refused.status, refused.error().as_str()), (400, "invalid_grant"), "{refused:?}");
}

#[tokio::test]
async fn a_forged_tid_signs_nobody_in() {
    // an administrator of Fabrikam whose token claims to be of Contoso, in every way that keeps the signature
    for (iss, tid) in [(FABRIKAM, CONTOSO), (CONTOSO, FABRIKAM), (FABRIKAM, "common"), ("{tenantid}", CONTOSO)] {
        for bench in [Bench::new().await, many("organizations", &[CONTOSO]).await] {
            let mut bench = bench;
            let issuer = format!("{}/{iss}/v2.0", bench.emulator.authority());
            bench.emulator.state().edit_id_token = Box::new(move |_, claims| {
                claims["iss"] = json!(issuer);
                claims["tid"] = json!(tid);
            });
            let words = fault(&mut bench).await;
            assert!(words.contains("is not believed"), "{iss} {tid}: {words}");
        }
    }
}

#[tokio::test]
async fn a_key_of_another_issuer_signs_nobody_in() {
    for bench in [Bench::new().await, many("common", &[CONTOSO, CONSUMERS]).await] {
        let mut bench = bench;
        // the signature holds: the key is in the document
        bench.emulator.state().keys.sign_as_consumers();
        let words = fault(&mut bench).await;
        assert!(words.contains("the key that signed it is for tokens of"), "{words}");
        bench.emulator.state().keys.sign_as_stranger();
        bench.clock.advance(std::time::Duration::from_secs(11));
        assert!(fault(&mut bench).await.contains("no key of"));
        bench.emulator.state().keys.impostor = None;
        bench.tokens().await;
    }
    let mut bench = many("common", &[CONTOSO, CONSUMERS]).await;
    sign_in_as(&bench, "pat");
    bench.emulator.state().keys.sign_as_consumers();
    bench.tokens().await;
}

#[tokio::test]
async fn keys_without_an_issuer_are_believed_for_one_tenant_only() {
    let strip = |document: &mut serde_json::Value| {
        for key in document["keys"].as_array_mut().unwrap() {
            key.as_object_mut().unwrap().remove("issuer");
        }
    };
    let mut bench = many("organizations", &[CONTOSO]).await;
    bench.emulator.state().edit_keys = Box::new(strip);
    assert!(fault(&mut bench).await.contains("does not say for which tenants"));
    let mut bench = Bench::new().await;
    bench.emulator.state().edit_keys = Box::new(strip);
    bench.tokens().await;
}

#[tokio::test]
async fn keys_may_change_at_any_time() {
    let mut bench = Bench::new().await;
    let given = bench.tokens().await;
    bench.emulator.state().keys.rotate();
    let given = bench.refreshed(&given).await;
    bench.tokens().await;
    bench.emulator.state().keys.rotate();
    bench.refreshed(&given).await;
}

#[tokio::test]
async fn metadata_of_another_tenant_or_host_are_not_believed() {
    for issuer in [
        format!("https://login.microsoftonline.com/{CONTOSO}/v2.0"),
        format!("BASE/{FABRIKAM}/v2.0"),
        format!("BASE/{CONTOSO}"),
        format!("https://sts.windows.net/{CONTOSO}/"),
        "BASE/{tenantid}/v2.0".to_owned(),
        format!("https://{CONTOSO}.ciamlogin.com/{CONTOSO}/v2.0"),
    ] {
        let bench = Bench::new().await;
        let named = issuer.replace("BASE", &bench.emulator.authority());
        bench.emulator.state().edit_discovery = Box::new(move |document| document["issuer"] = json!(named));
        let path = bench.gate.authorize_path(&bench.client, &[]);
        assert_eq!(bench.gate.get(&path).await.status, 503, "{issuer}");
    }
}
