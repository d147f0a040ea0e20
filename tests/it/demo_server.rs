//! The built-in MCP server, called over real HTTP as the gateway calls it, on the wires of 2025-11-25 and 2026-07-28.
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use portcullis::dev::demo_server::{self, DemoServer};
use serde_json::{Value, json};

/// How a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wire {
    /// 2025-11-25: `initialize` opens a session.
    Sessions,
    /// 2026-07-28: every request is complete in itself.
    Stateless,
}

const WIRES: [Wire; 2] = [Wire::Sessions, Wire::Stateless];

const ALICE: &[(&str, &str)] = &[
    ("x-forwarded-user", "keycloak|5f0c"),
    ("x-forwarded-preferred-username", "alice"),
    ("x-forwarded-email", "alice@example.com"),
    ("x-forwarded-groups", "/staff,Research%2C Development"),
    ("x-portcullis-identity", "keycloak"),
    ("x-portcullis-client", "c_4ndcxgkbnsbnhkxk5gu6hyjcwi"),
    ("x-portcullis-scopes", "mcp:access"),
];
const BOB: &[(&str, &str)] = &[("x-forwarded-user", "keycloak|b0b")];
const NO_CALLER: &[(&str, &str)] = &[];

struct McpClient {
    http: Client<HttpConnector, Full<Bytes>>,
    url: String,
    wire: Wire,
    session: Option<String>,
}

impl McpClient {
    async fn connect(server: &DemoServer, wire: Wire) -> Self {
        let http = Client::builder(TokioExecutor::new()).build_http();
        let mut client = Self { http, url: server.url(), wire, session: None };
        if wire == Wire::Sessions {
            let parameters = json!({
                "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" }
            });
            let response = client.post("initialize", parameters, NO_CALLER).await;
            assert_eq!(response.status(), StatusCode::OK);
            client.session = Some(response.headers()["mcp-session-id"].to_str().unwrap().to_owned());
            let answer = messages(response).await.pop().unwrap();
            assert_eq!(answer["result"]["protocolVersion"], "2025-11-25", "{answer}");
            let response = client.send(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }), &[]).await;
            assert_eq!(response.status(), StatusCode::ACCEPTED);
        }
        client
    }

    async fn post(&self, method: &str, mut params: Value, headers: &[(&str, &str)]) -> Response<Incoming> {
        let name = params["name"].as_str().map(str::to_owned);
        let mut headers = headers.to_vec();
        if self.wire == Wire::Stateless {
            params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
            params["_meta"]["io.modelcontextprotocol/clientInfo"] = json!({ "name": "test", "version": "1" });
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({});
            headers.push(("mcp-method", method));
            headers.extend(name.as_deref().map(|name| ("mcp-name", name)));
        }
        self.send(json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }), &headers).await
    }

    async fn send(&self, message: Value, headers: &[(&str, &str)]) -> Response<Incoming> {
        let mut request = Request::post(&self.url)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if self.wire == Wire::Stateless {
            request = request.header("mcp-protocol-version", "2026-07-28");
        } else if let Some(session) = &self.session {
            request = request.header("mcp-protocol-version", "2025-11-25").header("mcp-session-id", session);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.http.request(request.body(Full::from(message.to_string())).unwrap()).await.unwrap()
    }

    /// Calls a tool and gives the result's structured content, or the text of an error.
    async fn call(&self, tool: &str, arguments: Value, headers: &[(&str, &str)]) -> Result<Value, String> {
        let response = self.post("tools/call", json!({ "name": tool, "arguments": arguments }), headers).await;
        assert_eq!(response.status(), StatusCode::OK);
        let answer = messages(response).await.pop().unwrap();
        let result = answer.get("result").unwrap_or_else(|| panic!("{answer}"));
        if result["isError"] == true {
            return Err(result["content"][0]["text"].as_str().unwrap().to_owned());
        }
        Ok(result["structuredContent"].clone())
    }
}

/// The JSON-RPC messages of an answer, as one document or as a stream of events.
async fn messages(response: Response<Incoming>) -> Vec<Value> {
    let streamed = response.headers()["content-type"] == "text/event-stream";
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&body).unwrap();
    if !streamed {
        return vec![serde_json::from_str(text).unwrap()];
    }
    let data = text.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim);
    data.filter(|data| !data.is_empty()).map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[tokio::test]
async fn whoami_reports_the_identity_headers_on_both_wires() {
    let server = demo_server::start().await.unwrap();
    for wire in WIRES {
        let client = McpClient::connect(&server, wire).await;
        let caller = client.call("whoami", json!({}), ALICE).await.unwrap();
        let expected = json!({
            "message": "alice, calling through c_4ndcxgkbnsbnhkxk5gu6hyjcwi: Portcullis says so",
            "user": "keycloak|5f0c",
            "preferred_username": "alice",
            "email": "alice@example.com",
            "groups": ["/staff", "Research, Development"],
            "identity_provider": "keycloak",
            "client": "c_4ndcxgkbnsbnhkxk5gu6hyjcwi",
            "scopes": ["mcp:access"],
        });
        assert_eq!(caller, expected, "{wire:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_direct_request_has_no_identity_and_no_notes() {
    let server = demo_server::start().await.unwrap();
    for wire in WIRES {
        let client = McpClient::connect(&server, wire).await;
        let caller = client.call("whoami", json!({}), &[("x-portcullis-client", "c_forged")]).await.unwrap();
        let message = "nobody: this request did not come through Portcullis";
        assert_eq!(caller, json!({ "message": message, "groups": [], "scopes": [] }), "{wire:?}");
        for (tool, arguments) in
            [("add_note", json!({ "text": "x" })), ("list_notes", json!({})), ("delete_note", json!({ "id": 1 }))]
        {
            let refusal = client.call(tool, arguments, NO_CALLER).await.unwrap_err();
            assert!(refusal.starts_with(message), "{tool}: {refusal}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn notes_belong_to_the_user_of_each_request_whatever_the_session() {
    let server = demo_server::start().await.unwrap();
    let phone = McpClient::connect(&server, Wire::Sessions).await;
    let laptop = McpClient::connect(&server, Wire::Stateless).await;

    let note = phone.call("add_note", json!({ "text": "buy oil" }), ALICE).await.unwrap();
    assert_eq!(note, json!({ "id": 1, "text": "buy oil" }));
    laptop.call("add_note", json!({ "text": "grease the chains" }), ALICE).await.unwrap();
    let both = json!({ "notes": [{ "id": 1, "text": "buy oil" }, { "id": 2, "text": "grease the chains" }] });
    assert_eq!(phone.call("list_notes", json!({}), ALICE).await.unwrap(), both);

    assert_eq!(phone.call("list_notes", json!({}), BOB).await.unwrap(), json!({ "notes": [] }));
    let refusal = phone.call("delete_note", json!({ "id": 1 }), BOB).await.unwrap_err();
    assert_eq!(refusal, "you have no note 1: list_notes shows yours");

    laptop.call("delete_note", json!({ "id": 1 }), ALICE).await.unwrap();
    let rest = json!({ "notes": [{ "id": 2, "text": "grease the chains" }] });
    assert_eq!(phone.call("list_notes", json!({}), ALICE).await.unwrap(), rest);
    let refusal = phone.call("add_note", json!({ "text": "" }), ALICE).await.unwrap_err();
    assert_eq!(refusal, "a note has 1 to 1000 characters, this one has 0");
    server.stop().await;
}

#[tokio::test]
async fn counting_reports_every_step_before_it_answers() {
    let server = demo_server::start().await.unwrap();
    for wire in WIRES {
        let client = McpClient::connect(&server, wire).await;
        let arguments = json!({ "steps": 3, "milliseconds": 1 });
        let params = json!({ "name": "count_slowly", "arguments": arguments, "_meta": { "progressToken": "t" } });
        let response = client.post("tools/call", params, ALICE).await;
        assert_eq!(response.headers()["content-type"], "text/event-stream", "{wire:?}");
        let messages = messages(response).await;
        let (answer, steps) = messages.split_last().unwrap();
        let steps: Vec<_> = steps.iter().map(|step| step["params"].clone()).collect();
        let step = |n: u8| json!({ "progressToken": "t", "progress": f64::from(n), "total": 3.0, "message": format!("step {n} of 3") });
        assert_eq!(steps, [step(1), step(2), step(3)], "{wire:?}");
        assert_eq!(answer["result"]["content"][0]["text"], "counted to 3", "{wire:?}");
        assert_eq!(answer["id"], 7);
    }
    server.stop().await;
}

#[tokio::test]
async fn the_first_step_arrives_long_before_the_last() {
    let server = demo_server::start().await.unwrap();
    let client = McpClient::connect(&server, Wire::Stateless).await;
    // the whole count would take 20 seconds
    let arguments = json!({ "steps": 100, "milliseconds": 200 });
    let params = json!({ "name": "count_slowly", "arguments": arguments, "_meta": { "progressToken": 1 } });
    let mut body = client.post("tools/call", params, ALICE).await.into_body();
    let mut text = String::new();
    while !text.contains("step 1 of 100") {
        let frame = body.frame().await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    assert!(!text.contains("step 100 of 100"), "{text}");
    drop(body);
    server.stop().await;
}

#[tokio::test]
async fn arguments_out_of_bounds_are_refused_with_a_message() {
    let server = demo_server::start().await.unwrap();
    let client = McpClient::connect(&server, Wire::Stateless).await;
    for (arguments, words) in [
        (json!({ "steps": 0 }), "steps is 0, but must be 1 to 100"),
        (json!({ "steps": 101 }), "steps is 101, but must be 1 to 100"),
        (json!({ "milliseconds": 10_001 }), "milliseconds is 10001, but must be at most 10000"),
    ] {
        assert_eq!(client.call("count_slowly", arguments, ALICE).await.unwrap_err(), words);
    }
    server.stop().await;
}

#[tokio::test]
async fn every_demo_tool_describes_itself_and_its_arguments() {
    let server = demo_server::start().await.unwrap();
    for wire in WIRES {
        let client = McpClient::connect(&server, wire).await;
        let answer = messages(client.post("tools/list", json!({}), NO_CALLER).await).await.pop().unwrap();
        let tools = answer["result"]["tools"].as_array().unwrap().clone();
        let mut names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, ["add_note", "count_slowly", "delete_note", "list_notes", "whoami"]);
        for tool in &tools {
            assert!(tool["description"].as_str().unwrap().len() > 40, "{tool}");
            assert!(tool["annotations"]["title"].is_string(), "{tool}");
            assert_eq!(tool["inputSchema"]["type"], "object", "{tool}");
            assert!(!tool.to_string().contains(r#""format""#), "no format that JSON Schema does not know: {tool}");
            for property in tool["inputSchema"]["properties"].as_object().into_iter().flat_map(|map| map.values()) {
                assert!(property["description"].is_string(), "{tool}");
            }
        }
        let count = tools.iter().find(|tool| tool["name"] == "count_slowly").unwrap();
        assert_eq!(count["inputSchema"]["properties"]["steps"]["maximum"], 100);
        assert_eq!(count["inputSchema"]["properties"]["steps"]["default"], 5);
    }
    server.stop().await;
}

#[tokio::test]
async fn the_demo_server_introduces_itself_on_both_wires() {
    let server = demo_server::start().await.unwrap();
    let client = McpClient::connect(&server, Wire::Stateless).await;
    let answer = messages(client.post("server/discover", json!({}), NO_CALLER).await).await.pop().unwrap();
    assert!(answer["result"]["supportedVersions"].as_array().unwrap().contains(&json!("2026-07-28")), "{answer}");
    assert!(answer["result"]["instructions"].as_str().unwrap().contains("whoami"), "{answer}");

    let client = McpClient { wire: Wire::Sessions, session: None, ..client };
    let parameters = json!({
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" }
    });
    let answer = messages(client.post("initialize", parameters, NO_CALLER).await).await.pop().unwrap();
    assert_eq!(answer["result"]["serverInfo"]["name"], "portcullis-demo", "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn dns_rebinding_and_foreign_origins_cannot_reach_the_demo_server() {
    let server = demo_server::start().await.unwrap();
    let client = McpClient::connect(&server, Wire::Stateless).await;
    let status = async |headers: &[(&str, &str)]| client.post("tools/list", json!({}), headers).await.status();
    assert_eq!(status(&[("host", &server.address().to_string())]).await, StatusCode::OK);
    assert_eq!(status(&[("host", "rebound.example")]).await, StatusCode::FORBIDDEN);
    assert_eq!(status(&[("origin", "https://evil.example")]).await, StatusCode::FORBIDDEN);
    server.stop().await;
}

#[tokio::test]
async fn another_path_of_the_demo_server_names_the_right_one() {
    let server = demo_server::start().await.unwrap();
    let http: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let uri = format!("http://{}/", server.address()).parse().unwrap();
    let response = http.get(uri).await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "the MCP server is at /mcp\n");
    server.stop().await;
}

#[tokio::test]
async fn stopping_the_demo_server_ends_calls_and_streams_and_frees_the_port() {
    let server = demo_server::start().await.unwrap();
    let address = server.address();
    let mut bodies = Vec::new();
    for wire in WIRES {
        let client = McpClient::connect(&server, wire).await;
        let arguments = json!({ "steps": 100, "milliseconds": 10_000 });
        let params = json!({ "name": "count_slowly", "arguments": arguments, "_meta": { "progressToken": 1 } });
        bodies.push(tokio::spawn(async move { client.post("tools/call", params, ALICE).await }));
    }
    let session = McpClient::connect(&server, Wire::Sessions).await;
    let stream = Request::get(&session.url)
        .header("accept", "text/event-stream")
        .header("mcp-protocol-version", "2025-11-25")
        .header("mcp-session-id", session.session.as_deref().unwrap());
    let stream = session.http.request(stream.body(Full::default()).unwrap()).await.unwrap();
    assert_eq!(stream.status(), StatusCode::OK);

    tokio::time::timeout(Duration::from_secs(10), server.stop()).await.expect("it stops");
    drop((bodies, stream));
    std::net::TcpListener::bind(address).expect("the port is free");
}
