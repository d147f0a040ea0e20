//! An upstream that the test drives byte by byte.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Nothing in these tests takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer that is whole.
pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
/// The head of a stream.
pub const SSE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A listener.
pub struct RawUpstream(TcpListener);

impl RawUpstream {
    pub async fn start() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// One that listens again where one listened before.
    pub async fn at(address: std::net::SocketAddr) -> Self {
        Self(TcpListener::bind(address).await.unwrap())
    }

    pub fn url(&self) -> String {
        format!("http://{}/backend", self.0.local_addr().unwrap())
    }

    /// The same place, as if it spoke TLS.
    pub fn tls_url(&self) -> String {
        self.url().replace("http://", "https://")
    }

    /// The next connection.
    pub async fn accept(&self) -> Wire {
        Wire(timeout(PATIENCE, self.0.accept()).await.expect("a connection in time").unwrap().0)
    }

    /// The next connection, and the request on it.
    pub async fn asked(&self) -> Wire {
        let mut wire = self.accept().await;
        wire.request().await;
        wire
    }

    /// Whether no connection is waiting to be accepted.
    pub async fn is_left_alone(&self) -> bool {
        timeout(Duration::from_millis(20), self.0.accept()).await.is_err()
    }
}

/// A connection.
pub struct Wire(TcpStream);

impl Wire {
    /// Reads a request whose body has a declared length, or none; its text.
    pub async fn request(&mut self) -> String {
        let mut seen = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&seen);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                    return text.into_owned();
                }
            }
            let read = timeout(PATIENCE, self.0.read_buf(&mut seen)).await.expect("a request in time").unwrap();
            assert!(read > 0, "a request broke off: {}", String::from_utf8_lossy(&seen));
        }
    }

    /// Reads at least one byte and at most `most`.
    pub async fn some(&mut self, most: usize) {
        let mut bytes = vec![0; most];
        let read = timeout(PATIENCE, self.0.read(&mut bytes)).await.expect("some bytes in time").unwrap();
        assert!(read > 0, "nothing came");
    }

    pub async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Waits until the gate lets go of the connection.
    pub async fn closed(mut self) {
        let mut byte = [0];
        let read = timeout(PATIENCE, self.0.read(&mut byte)).await.expect("the connection ends");
        assert!(!matches!(read, Ok(1..)), "more came");
    }
}
