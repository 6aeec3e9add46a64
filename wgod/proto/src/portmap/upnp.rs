//! UPnP's Internet Gateway Device: finding one (SSDP), its description, and the three calls (SOAP) that port
//! mapping takes: WANIPConnection:1 sections 2.4.16 to 2.4.18, UPnP Device Architecture 1.1 chapters 1 to 3.
//!
//! What is read here any machine in the local network may have written. It leads to the gateway's own address
//! only: a [`Location`] has no name, and callers compare its address.
mod calls;
mod description;
mod location;
mod search;
mod xml;

pub use calls::{Call, Fault, Reply, read_reply};
pub use description::{Service, ServiceKind, services};
pub use location::Location;
pub use search::{SEARCH_ADDR, SEARCHES, read_found, search};

/// Bytes of a description or an answer at most. Real descriptions have 3 to 20 KB.
pub const MAX_DOCUMENT: usize = 128 * 1024;

/// Why something of a gateway is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Not the XML that it should be.
    #[error("it is no XML that can be read: {0}")]
    Xml(String),
    /// Types and entities of its own, which no gateway needs.
    #[error("it defines types of its own")]
    Dtd,
    /// More within each other than any gateway has.
    #[error("its elements lie too deep within each other")]
    Deep,
    /// No answer to a search.
    #[error("it is no answer to a search")]
    NotFound,
    /// A URL that can't be asked: not HTTP, not at an IPv4 address, or not printable.
    #[error("it leads to {0:?}, which is no http:// URL of an IPv4 address")]
    Url(String),
    /// It describes no gateway.
    #[error("it describes no gateway that maps ports")]
    NoService,
    /// An answer that lacks what was asked for.
    #[error("the answer lacks {0}")]
    Lacks(&'static str),
}
