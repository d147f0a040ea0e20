//! What a sink receives: an event, and what caused it.

use std::net::IpAddr;

use super::event::Event;
use crate::wire::{Arrival, RequestId};

/// What caused an event.
#[derive(Debug, Clone, Copy)]
pub enum Actor<'a> {
    /// A request.
    Request {
        /// Its id.
        id: &'a RequestId,
        /// The address that sent it.
        address: IpAddr,
    },
    /// A command that this operator ran.
    Operator(&'a str),
    /// This process, by itself: something expired, or left the configuration.
    Upkeep,
}

impl<'a> From<&'a Arrival> for Actor<'a> {
    fn from(arrival: &'a Arrival) -> Self {
        Self::Request { id: &arrival.id, address: arrival.address.0 }
    }
}

impl<'a> Actor<'a> {
    pub(super) const fn request_id(&self) -> Option<&'a RequestId> {
        match self {
            Self::Request { id, .. } => Some(id),
            Self::Operator(_) | Self::Upkeep => None,
        }
    }

    pub(super) const fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Request { address, .. } => Some(*address),
            Self::Operator(_) | Self::Upkeep => None,
        }
    }

    pub(super) const fn operator(&self) -> Option<&'a str> {
        match self {
            Self::Operator(name) => Some(name),
            Self::Request { .. } | Self::Upkeep => None,
        }
    }
}

/// Where events go.
pub trait Sink: Send + Sync {
    /// Records an event. Called while a request is answered: it may wait one second at most.
    fn record(&self, event: &Event<'_>, origin: &Actor<'_>);
}
