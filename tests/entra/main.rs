//! An emulator of Microsoft Entra ID, to be run by hand:
//!
//! ```text
//! cargo run --example entra-emulator -- 8400 http://localhost:8080/callback/entra
//! ```
//! It listens on 127.0.0.1 and prints the settings for Portcullis. `/emulator/rotate`, `/emulator/resource?era=match`,
//! `/emulator/fail?path=/token&status=429&retry_after=30`, `/emulator/revoke?user=alice`, `/emulator/mfa?user=alice` and
//! `/emulator/device?user_code=…` change what it does.

#![expect(dead_code, unused_imports, reason = "the tests use more of it")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it is a tool of the tests, which may fail loudly"
)]

mod emulator;

use std::net::{Ipv4Addr, SocketAddr};

use emulator::{APP, APP_ID_URI, APP_SECRET, CONTOSO, Directory, Emulator};
use portcullis::clock::Clock;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().map_or(8400, |text| text.parse().expect("the first argument is a port"));
    let redirect_uri = arguments.next().unwrap_or_else(|| "http://localhost:8080/callback/entra".to_owned());
    let emulator = Emulator::start_at(
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        &Clock::system(),
        Directory::contoso(&redirect_uri),
    )
    .await;
    // by hand, a person chooses
    emulator.state().signs_in = None;
    println!("# the secret: ENTRA_CLIENT_SECRET='{APP_SECRET}'");
    println!("[[identity]]\nid = \"entra\"\nkind = \"entra\"\ntenant = \"{CONTOSO}\"");
    println!("authority = \"{}\"\nclient_id = \"{APP}\"", emulator.authority());
    println!("client_secret = {{ env = \"ENTRA_CLIENT_SECRET\" }}\napp_id_uri = \"{APP_ID_URI}\"");
    println!("scopes = [\"profile\", \"email\", \"mcp.access\"]\ngraph_url = \"{}/graph\"", emulator.authority());
    std::future::pending::<()>().await;
}
