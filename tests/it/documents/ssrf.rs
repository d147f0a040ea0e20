//! Documents at names that lead inside: no connection, and the same answer as for a name that leads nowhere.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis::app::Outside;
use portcullis::config::PublicUrl;
use portcullis::outbound::LookUp;
use tokio::net::TcpListener;

use super::{authorize, document, kept, refused, within};
use crate::support::documents::DocumentHost;
use crate::support::gate::{REDIRECT_URI, TestClient, TestGate, tokens, upstream};
use crate::support::log::watch;

/// Names and their addresses, which a test may change.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<HashMap<String, Vec<IpAddr>>>>, Arc<AtomicUsize>);

impl Names {
    fn set(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.0.lock().unwrap().insert(name.to_owned(), addresses);
    }

    fn asked(&self) -> usize {
        self.1.load(Ordering::SeqCst)
    }

    fn outside(&self) -> Outside {
        let names = self.clone();
        let look_up: LookUp = Arc::new(move |name| {
            names.1.fetch_add(1, Ordering::SeqCst);
            let found = names.0.lock().unwrap().get(&name).cloned();
            Box::pin(async move { found.ok_or_else(|| std::io::Error::other("no such name")) })
        });
        Outside { look_up, ..Outside::default() }
    }
}

fn client(id: String) -> TestClient {
    TestClient { id, redirect_uri: REDIRECT_URI.to_owned() }
}

/// A gate on the Internet that trusts this host's certificate.
async fn public_gate(host: &DocumentHost, names: &Names) -> TestGate {
    let mut gate = TestGate::with(|config| {
        host.trusted(config);
        config.public_url = PublicUrl::parse("https://mcp.example.com").unwrap();
        config.server.allowed_hosts = vec!["mcp.internal:8443".to_owned()];
        config.upstreams = vec![upstream(&config.public_url, "mcp", "http://127.0.0.1:9/mcp")];
    })
    .await;
    within(&mut gate, names.outside()).await;
    gate
}

const INSIDE: [&str; 30] = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.192",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::a00:1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "fd00:ec2::254",
    "fc00::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
];

#[tokio::test]
async fn ssrf_no_document_is_fetched_from_inside_and_the_stranger_learns_nothing() {
    let (host, names) = (DocumentHost::start().await, Names::default());
    let gate = public_gate(&host, &names).await;
    let nowhere = refused(&authorize(&gate, &client("https://nowhere.example/client.json".to_owned())).await);
    for (n, address) in INSIDE.into_iter().enumerate() {
        let name = format!("n{n}.clients.example");
        let id = host.publish_at(&name, &format!("/{n}"), document()).id;
        for addresses in [&[address][..], &["1.1.1.1", address], &[address, "1.1.1.1"]] {
            names.set(&name, addresses);
            let (lines, guard) = watch();
            assert_eq!(refused(&authorize(&gate, &client(id.clone())).await), nowhere, "{addresses:?}");
            drop(guard);
            assert!(lines.text().contains("is not called: the address"), "{addresses:?}: {}", lines.text());
            gate.clock.advance(Duration::from_mins(2));
        }
        let literal = if address.contains(':') {
            format!("[{}]", address.parse::<IpAddr>().unwrap())
        } else {
            address.to_owned()
        };
        refused(&authorize(&gate, &client(host.url_at(&literal, "/client.json"))).await);
        gate.clock.advance(Duration::from_mins(2));
    }
    assert_eq!((host.all_calls(), kept(&gate).await), (0, 0));
}

#[tokio::test]
async fn ssrf_our_own_names_are_never_called() {
    let (host, names) = (DocumentHost::start().await, Names::default());
    let gate = public_gate(&host, &names).await;
    for name in ["mcp.example.com", "mcp.example.com:8443", "mcp.internal", "mcp.internal:8443"] {
        let (lines, guard) = watch();
        refused(&authorize(&gate, &client(format!("https://{name}/client.json"))).await);
        drop(guard);
        assert!(lines.text().contains("leads back to this server"), "{name}: {}", lines.text());
    }
    assert_eq!(names.asked(), 0);
    let local = TestGate::new().await;
    for own in ["https://127.0.0.1:6749/client.json", "https://localhost:6749/client.json"] {
        let (lines, guard) = watch();
        refused(&authorize(&local, &client(own.to_owned())).await);
        drop(guard);
        assert!(lines.text().contains("leads back to this server"), "{own}: {}", lines.text());
    }
}

#[tokio::test]
async fn dns_rebinding_an_answer_that_changes_is_checked_at_every_fetch() {
    let (host, names) = (DocumentHost::start().await, Names::default());
    let trap = TcpListener::bind(("127.0.0.2", host.port())).await.unwrap();
    let client = host.publish_at("client.example", "/client.json", document());
    let mut gate = host.gate().await;
    within(&mut gate, names.outside()).await;
    names.set("client.example", &["127.0.0.1"]);
    let given = gate.tokens(&client).await;
    assert_eq!((names.asked(), host.all_calls()), (1, 1), "what was checked is dialled, without another look-up");
    names.set("client.example", &["169.254.169.254"]);
    gate.clock.advance(Duration::from_hours(1));
    let (lines, guard) = watch();
    assert_eq!(authorize(&gate, &client).await.status, 200, "the last good document serves");
    drop(guard);
    assert!(lines.text().contains("169.254.169.254 is link-local"), "{}", lines.text());
    tokens(&gate.refresh(&client, &given.refresh).await);
    assert_eq!((names.asked(), host.all_calls()), (2, 1));
    drop(trap);
}

#[tokio::test]
async fn a_private_host_that_the_operator_names_may_be_called_and_no_other() {
    let (host, names) = (DocumentHost::start().await, Names::default());
    let mut gate = TestGate::with(|config| {
        host.trusted(config);
        config.public_url = PublicUrl::parse("https://mcp.example.com").unwrap();
        config.upstreams = vec![upstream(&config.public_url, "mcp", "http://127.0.0.1:9/mcp")];
        config.client_documents.private_hosts = vec!["inside.clients.example".to_owned()];
    })
    .await;
    within(&mut gate, names.outside()).await;
    // nothing listens there; what counts is whether it is dialled
    for (name, address, is_dialled) in [
        ("inside.clients.example", "10.255.255.254", true),
        ("inside.clients.example", "127.0.0.1", false),
        ("inside.clients.example", "169.254.169.254", false),
        ("inside.clients.example", "fd00:ec2::254", false),
        ("other.clients.example", "10.255.255.254", false),
        ("x.inside.clients.example", "10.255.255.254", false),
    ] {
        names.set(name, &[address]);
        let (lines, guard) = watch();
        refused(&authorize(&gate, &client(format!("https://{name}:9/client.json"))).await);
        drop(guard);
        assert_eq!(!lines.text().contains("is not called"), is_dialled, "{name} {address}: {}", lines.text());
        gate.clock.advance(Duration::from_mins(1));
    }
}
