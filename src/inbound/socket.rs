//! Socket options of client connections.

use std::io;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::wire::keep_alive;

/// How many unsent bytes the kernel may buffer.
const UNSENT: u32 = 128 * 1024;

/// Sets the options. An option that the system refuses is logged and otherwise ignored: dead peers stay longer, but the
/// connection works.
pub(super) fn prepare(stream: &TcpStream) {
    let told = [stream.set_nodelay(true), probe_peer(stream), hold_little(stream)];
    for error in told.into_iter().filter_map(Result::err) {
        tracing::debug!(%error, "a socket cannot be prepared");
    }
}

/// An event stream may be silent for hours. Only probes reveal a peer that vanished (a closed laptop, a changed
/// network); without them its stream would stay open until the grant ends.
fn probe_peer(stream: &TcpStream) -> io::Result<()> {
    let terms = TcpKeepalive::new()
        .with_time(keep_alive::IDLE)
        .with_interval(keep_alive::INTERVAL)
        .with_retries(keep_alive::PROBES);
    SockRef::from(stream).set_tcp_keepalive(&terms)
}

/// Otherwise the kernel buffers megabytes for a slow peer, and reports room only when a third of that has left: a peer
/// that reads slowly but steadily would look like one that does not read.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn hold_little(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).set_tcp_notsent_lowat(UNSENT)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn hold_little(_stream: &TcpStream) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::time::Duration;

    use socket2::SockRef;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::prepare;
    use crate::wire::keep_alive;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener.accept().await.unwrap().0, client)
    }

    #[tokio::test]
    async fn vanished_peers_are_found_by_tcp_keep_alive() {
        let (served, _client) = pair().await;
        prepare(&served);
        let socket = SockRef::from(&served);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), keep_alive::IDLE);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), keep_alive::INTERVAL);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), keep_alive::PROBES);
    }

    #[tokio::test]
    async fn the_kernel_buffers_little_for_a_peer_that_does_not_read() {
        let (mut served, _client) = pair().await;
        prepare(&served);
        let (chunk, mut taken) = (vec![b'x'; 64 * 1024], 0);
        while let Ok(written) = timeout(Duration::from_millis(20), served.write(&chunk)).await {
            taken += written.unwrap();
        }
        assert!(taken < 1024 * 1024, "{taken} bytes");
    }
}
