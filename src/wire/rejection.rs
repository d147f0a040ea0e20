//! Why a request is turned away before anything is done for it. `inbound` checks; the module whose path it is answers in
//! the protocol of that path.

/// What is wrong with a request's head, or with its moment.
pub(crate) enum Rejection {
    /// Its body could end in two places (request smuggling). The text is for the log; the connection closes.
    AmbiguousFraming(&'static str),
    /// Its head has more fields than this.
    TooManyFields(usize),
    /// It names no host, several, or two that differ.
    NoSingleHost,
    /// It names a host that is not ours (DNS rebinding, or a proxy that does not pass the name on). The text is for the
    /// log.
    WrongHost(String),
    /// There are too many requests. The words, for the log, name the limit.
    Busy(&'static str),
}
