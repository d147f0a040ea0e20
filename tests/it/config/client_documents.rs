//! `[client_documents]`: its mistakes, and what its default depends on.

use insta::assert_snapshot;

use super::{Operator, REST};

const PUBLIC_URL: &str = "public_url = \"https://mcp.example.com\"\n";

#[test]
fn every_mistake_in_client_documents_is_reported_in_one_run() {
    let text = r#"
[client_documents]
hosts = ["claude.ai", "*.example.com", "https://vscode.dev", "Claude.ai"]
private_hosts = ["clients.internal:8443"]
"#;
    let operator = Operator::new();
    assert_snapshot!(operator.problems(format!("{PUBLIC_URL}{text}{REST}")), @r#"
    portcullis.toml:4:23: error: client_documents: hosts[1]: patterns are not supported: hosts are compared exactly
        hint: a name in lower case, without scheme, port and path: "claude.ai"
    portcullis.toml:4:40: error: client_documents: hosts[2]: is not a host
        hint: a name in lower case, without scheme, port and path: "claude.ai"
    portcullis.toml:4:62: error: client_documents: hosts[3]: is not a host
        hint: a name in lower case, without scheme, port and path: "claude.ai"
    portcullis.toml:5:18: error: client_documents: private_hosts[0]: is not a host
        hint: a name in lower case, without scheme, port and path: "claude.ai"
    portcullis.toml: 4 errors
    "#);
    let empty = operator.problems(format!("{PUBLIC_URL}[client_documents]\nhosts = []\n{REST}"));
    assert!(empty.contains("client_documents: hosts: is empty: no document would ever be read"), "{empty}");
    let wrong = operator.problems(format!("{PUBLIC_URL}[client_documents]\nenabled = 7\nhost = \"claude.ai\"\n{REST}"));
    assert!(wrong.contains("client_documents: enabled: must be true or false"), "{wrong}");
    assert!(wrong.contains("unknown key \"host\""), "{wrong}");
}

#[test]
fn documents_are_read_by_default_where_clients_may_register_and_no_proxy_is_set() {
    let operator = Operator::new();
    let enabled = |text: &str| operator.load(&format!("{PUBLIC_URL}{text}{REST}")).config.client_documents.enabled;
    let (closed, proxy) = ("[registration]\nenabled = false\n", "[outbound]\nproxy = \"http://proxy.example:3128\"\n");
    let on = "[client_documents]\nenabled = true\n";
    for (text, expected) in [
        (String::new(), true),
        (closed.to_owned(), false),
        (proxy.to_owned(), false),
        (format!("{closed}{proxy}{on}"), true),
        ("[client_documents]\nenabled = false\n".to_owned(), false),
    ] {
        assert_eq!(enabled(&text), expected, "{text}");
    }
    let open = operator.load(&format!("{PUBLIC_URL}{closed}{on}{REST}"));
    assert!(open.warnings.list().is_empty(), "a client can connect: {}", open.warnings);
}
