//! What the system is told of a client's socket.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// TCP keep-alive towards clients: idle time, interval and number of probes.
const KEEP_ALIVE: Duration = Duration::from_mins(1);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEP_ALIVE_PROBES: u32 = 4;
/// How many bytes the system may hold that it has not sent yet.
const UNSENT: u32 = 128 * 1024;

/// Prepares a socket. What the system refuses makes things slower, or lets dead peers stay longer; it is no reason not to
/// serve.
pub(super) fn prepare(stream: &TcpStream) {
    let told = [stream.set_nodelay(true), keep_alive(stream), hold_little(stream)];
    for error in told.into_iter().filter_map(Result::err) {
        tracing::debug!(%error, "a socket cannot be prepared");
    }
}

/// An event stream may be silent for hours. Nothing else reveals a peer that vanished (a laptop closed, a network changed): its
/// stream would stay open until the grant ends.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    let terms =
        TcpKeepalive::new().with_time(KEEP_ALIVE).with_interval(KEEP_ALIVE_INTERVAL).with_retries(KEEP_ALIVE_PROBES);
    SockRef::from(stream).set_tcp_keepalive(&terms)
}

/// Otherwise the system takes megabytes for a slow peer and tells us that there is room again when a third of them has gone:
/// a peer that reads all the time would look like one that takes nothing.
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

    use super::{KEEP_ALIVE, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_PROBES, prepare};

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener.accept().await.unwrap().0, client)
    }

    #[tokio::test]
    async fn a_peer_that_went_without_a_word_is_noticed_by_the_system() {
        let (served, _client) = pair().await;
        prepare(&served);
        let socket = SockRef::from(&served);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEP_ALIVE);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEP_ALIVE_INTERVAL);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEP_ALIVE_PROBES);
    }

    #[tokio::test]
    async fn the_system_takes_little_for_a_peer_that_does_not_read() {
        let (mut served, _client) = pair().await;
        prepare(&served);
        let (chunk, mut taken) = (vec![b'x'; 64 * 1024], 0);
        while let Ok(written) = timeout(Duration::from_millis(20), served.write(&chunk)).await {
            taken += written.unwrap();
        }
        assert!(taken < 1024 * 1024, "{taken} bytes");
    }
}
