//! SOAP: calling a gateway's service, and what it answers.
use std::fmt::Write;
use std::net::Ipv4Addr;

use super::super::Transport;
use super::ServiceKind;
use super::Unusable;
use super::xml::{Node, walk};

/// Characters of an error's text that are kept.
const MAX_TEXT: usize = 100;

/// A call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// The address outside.
    ExternalAddress,
    /// That what comes to a port outside comes to ours.
    Add {
        /// Which of the two.
        transport: Transport,
        /// The port outside.
        external: u16,
        /// Our address and port.
        client: (Ipv4Addr, u16),
        /// For how long; 0 is forever.
        lease_secs: u32,
    },
    /// That it ends.
    Delete {
        /// Which of the two.
        transport: Transport,
        /// The port outside.
        external: u16,
    },
}

impl Call {
    /// Its name.
    pub fn action(&self) -> &'static str {
        match self {
            Call::ExternalAddress => "GetExternalIPAddress",
            Call::Add { .. } => "AddPortMapping",
            Call::Delete { .. } => "DeletePortMapping",
        }
    }

    /// The value of the header `SOAPAction`.
    pub fn header(&self, service: ServiceKind) -> String {
        format!("\"{}#{}\"", service.urn(), self.action())
    }

    /// What is posted.
    pub fn body(&self, service: ServiceKind) -> String {
        let mut arguments = String::new();
        // Writing to a `String` can't fail. The order is that of the standard: some gateways count.
        let mut argument = |name: &str, value: &str| {
            let _ = write!(arguments, "<{name}>{value}</{name}>");
        };
        match *self {
            Call::ExternalAddress => {}
            Call::Add { transport, external, client: (ip, port), lease_secs } => {
                argument("NewRemoteHost", "");
                argument("NewExternalPort", &external.to_string());
                argument("NewProtocol", &transport.to_string());
                argument("NewInternalPort", &port.to_string());
                argument("NewInternalClient", &ip.to_string());
                argument("NewEnabled", "1");
                argument("NewPortMappingDescription", "wgod");
                argument("NewLeaseDuration", &lease_secs.to_string());
            }
            Call::Delete { transport, external } => {
                argument("NewRemoteHost", "");
                argument("NewExternalPort", &external.to_string());
                argument("NewProtocol", &transport.to_string());
            }
        }
        let (action, urn) = (self.action(), service.urn());
        format!(
            "<?xml version=\"1.0\"?>\r\n<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
            s:encodingStyle=\"http://schemas.xmlsoap.org/soap/encoding/\"><s:Body><u:{action} xmlns:u=\"{urn}\">\
            {arguments}</u:{action}></s:Body></s:Envelope>\r\n"
        )
    }
}

/// Why a gateway refuses a call: one of the codes of the standard, and its own words for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The number; 0 when it gives none.
    pub code: u16,
    /// Its words, printable and short.
    pub text: String,
}

impl Fault {
    /// Another one has the port outside.
    pub const CONFLICT: u16 = 718;
    /// Mappings are for ever there, or not at all.
    pub const ONLY_PERMANENT: u16 = 725;
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.text.is_empty() {
            true => write!(f, "error {}", self.code),
            false => write!(f, "error {} ({})", self.code, self.text),
        }
    }
}

/// What a call was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It was carried out. The address, if one is in the answer.
    Done(Option<Ipv4Addr>),
    /// It was not.
    Failed(Fault),
}

/// Reads the answer to a call.
///
/// # Errors
/// It is none.
pub fn read_reply(document: &[u8]) -> Result<Reply, Unusable> {
    let (mut address, mut code, mut text) = (None, None, String::new());
    let (mut has_body, mut has_fault) = (false, false);
    walk(document, |node| match node {
        Node::Open("Body") => has_body = true,
        Node::Open("Fault") => has_fault = true,
        Node::Leaf("NewExternalIPAddress", value) => address = value.parse().ok(),
        Node::Leaf("errorCode", value) => code = value.parse().ok(),
        Node::Leaf("errorDescription", value) => text = printable(value),
        _ => {}
    })?;
    match (has_fault, has_body) {
        (true, _) => Ok(Reply::Failed(Fault { code: code.unwrap_or(0), text })),
        (false, true) => Ok(Reply::Done(address)),
        (false, false) => Err(Unusable::Lacks("a SOAP body")),
    }
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(inside: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>{inside}</s:Body></s:Envelope>"
        )
    }

    #[test]
    fn calls_have_their_arguments_in_the_order_of_the_standard() {
        let client = (Ipv4Addr::new(10, 0, 0, 5), 6868);
        let call = Call::Add { transport: Transport::Udp, external: 81, client, lease_secs: 7200 };
        let body = call.body(ServiceKind::Ip2);
        let names = ["RemoteHost", "ExternalPort", "Protocol", "InternalPort", "InternalClient", "Enabled"];
        let places: Vec<_> = names.iter().map(|name| body.find(&format!("<New{name}>")).unwrap()).collect();
        assert!(places.is_sorted(), "{body}");
        assert!(body.contains("<NewProtocol>UDP</NewProtocol>"), "{body}");
        assert!(body.contains("<NewLeaseDuration>7200</NewLeaseDuration>"), "{body}");
        let header = call.header(ServiceKind::Ip2);
        assert_eq!(header, "\"urn:schemas-upnp-org:service:WANIPConnection:2#AddPortMapping\"");
        let delete = Call::Delete { transport: Transport::Tcp, external: 81 };
        for call in [call, delete, Call::ExternalAddress] {
            let body = call.body(ServiceKind::Ip1);
            assert_eq!(read_reply(body.as_bytes()), Ok(Reply::Done(None)), "it is the XML that it should be");
        }
    }

    #[test]
    fn answers_are_read() {
        let done = envelope(
            "<u:GetExternalIPAddressResponse xmlns:u='x'><NewExternalIPAddress>203.0.113.9</NewExternalIPAddress></u:GetExternalIPAddressResponse>",
        );
        assert_eq!(read_reply(done.as_bytes()), Ok(Reply::Done(Some(Ipv4Addr::new(203, 0, 113, 9)))));
        let none = done.replace("203.0.113.9", "");
        assert_eq!(read_reply(none.as_bytes()), Ok(Reply::Done(None)));
        let failed = envelope(
            "<s:Fault><faultcode>s:Client</faultcode><detail><UPnPError><errorCode>718</errorCode><errorDescription>Conflict\u{1b}[31m</errorDescription></UPnPError></detail></s:Fault>",
        );
        let fault = Fault { code: 718, text: "Conflict[31m".to_owned() };
        assert_eq!(fault.to_string(), "error 718 (Conflict[31m)");
        assert_eq!(read_reply(failed.as_bytes()), Ok(Reply::Failed(fault)));
        let bare = Fault { code: 0, text: String::new() };
        assert_eq!(bare.to_string(), "error 0");
        assert_eq!(read_reply(envelope("<s:Fault/>").as_bytes()), Ok(Reply::Failed(bare)));
        assert_eq!(read_reply(b"<html></html>"), Err(Unusable::Lacks("a SOAP body")));
        assert!(read_reply(b"").is_err() && read_reply(b"<!DOCTYPE html><html>").is_err());
    }
}
