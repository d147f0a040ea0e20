//! The addresses on which a process listens: taken first, opened last.
//!
//! A process that is started twice by mistake, or an upgrade before the old process has ended, must fail before it touches the
//! database; and no client may connect before it can be answered. So the addresses are bound at the beginning of a start, which
//! fails where another process listens, and the sockets listen at its end.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use super::start_error::StartError;
use crate::config::Server;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// The addresses of the configuration, bound. No one can connect yet.
pub struct Ports {
    public: Port,
    operations: Option<Port>,
}

struct Port {
    setting: &'static str,
    address: SocketAddr,
    socket: TcpSocket,
}

/// The open listeners.
pub struct Listeners {
    pub(super) public: TcpListener,
    pub(super) operations: Option<TcpListener>,
}

impl Ports {
    /// Binds the addresses. Needs a runtime.
    ///
    /// # Errors
    /// When one cannot be had, such as because another process listens there.
    pub fn take(server: &Server) -> Result<Self, StartError> {
        let public = Port::take("server.listen", server.listen)?;
        let operations = server.operations.map(|address| Port::take("server.operations", address)).transpose()?;
        Ok(Self { public, operations })
    }

    /// Lets clients connect.
    ///
    /// # Errors
    /// When another process began to listen there meanwhile.
    pub fn listen(self) -> Result<Listeners, StartError> {
        let operations = self.operations.map(Port::listen).transpose()?;
        Ok(Listeners { public: self.public.listen()?, operations })
    }
}

impl Port {
    fn take(setting: &'static str, address: SocketAddr) -> Result<Self, StartError> {
        let socket = bind(address).map_err(|cause| StartError::Listen { setting, address, cause })?;
        Ok(Self { setting, address, socket })
    }

    fn listen(self) -> Result<TcpListener, StartError> {
        let Self { setting, address, socket } = self;
        socket.listen(BACKLOG).map_err(|cause| StartError::Listen { setting, address, cause })
    }
}

/// An address can be had again as soon as the process before has ended, although its last connections still close.
fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

impl Listeners {
    /// Where clients connect; a port of 0 has become a real one.
    ///
    /// # Errors
    /// Those of the system.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.public.local_addr()
    }
}
