//! What a gateway says of itself: which of its services map ports, and where they are called.
use super::xml::{Node, walk};
use super::{Location, Unusable};

/// Services that are read: a gateway has one for each connection to the network outside.
const MAX_SERVICES: usize = 8;

/// A kind of service that maps ports. All have the calls of [`Call`](super::Call).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// WANIPConnection:1.
    Ip1,
    /// WANIPConnection:2.
    Ip2,
    /// WANPPPConnection:1, of gateways that dial.
    Ppp1,
}

impl ServiceKind {
    const ALL: [ServiceKind; 3] = [ServiceKind::Ip1, ServiceKind::Ip2, ServiceKind::Ppp1];

    /// Its type, as it stands in descriptions and calls.
    pub fn urn(self) -> &'static str {
        match self {
            ServiceKind::Ip1 => "urn:schemas-upnp-org:service:WANIPConnection:1",
            ServiceKind::Ip2 => "urn:schemas-upnp-org:service:WANIPConnection:2",
            ServiceKind::Ppp1 => "urn:schemas-upnp-org:service:WANPPPConnection:1",
        }
    }
}

/// A service of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its kind.
    pub kind: ServiceKind,
    /// Where it is called.
    pub control: Location,
}

/// The services of a description that is from `from` and map ports, in their order. Those that are called at
/// another address than the description's are left out.
///
/// # Errors
/// It is no description, or that of something else.
pub fn services(document: &[u8], from: &Location) -> Result<Vec<Service>, Unusable> {
    let mut base = None;
    let mut found: Vec<(ServiceKind, String)> = Vec::new();
    let (mut kind, mut control) = (None, None);
    walk(document, |node| match node {
        Node::Open("service") => (kind, control) = (None, None),
        Node::Leaf("serviceType", text) => {
            kind = ServiceKind::ALL.into_iter().find(|kind| kind.urn() == text);
        }
        Node::Leaf("controlURL", text) => control = Some(text.to_owned()),
        Node::Leaf("URLBase", text) if !text.is_empty() => base = Some(text.to_owned()),
        Node::Close("service") if found.len() < MAX_SERVICES => {
            found.extend(kind.take().zip(control.take()));
        }
        _ => {}
    })?;
    let base = match base {
        Some(base) => from.join(&base)?,
        None => from.clone(),
    };
    let mut services = Vec::new();
    let mut fault = Unusable::NoService;
    for (kind, control) in found {
        match base.join(&control) {
            Ok(control) if control.ip() == from.ip() => services.push(Service { kind, control }),
            Ok(control) => fault = Unusable::Url(control.to_string()),
            Err(why) => fault = why,
        }
    }
    if services.is_empty() { Err(fault) } else { Ok(services) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from() -> Location {
        Location::parse("http://10.0.0.1:5000/x/rootDesc.xml").unwrap()
    }

    fn described(base: &str, services: &[(&str, &str)]) -> String {
        let services: String = services
            .iter()
            .map(|(kind, url)| {
                format!(
                    "<service><serviceType>urn:schemas-upnp-org:service:{kind}</serviceType><SCPDURL>/s</SCPDURL>\
                    <controlURL>{url}</controlURL></service>"
                )
            })
            .collect();
        format!(
            "<?xml version=\"1.0\"?><root xmlns=\"urn:schemas-upnp-org:device-1-0\">{base}<device><deviceList><device>\
            <serviceList>{services}</serviceList></device></deviceList></device></root>"
        )
    }

    #[test]
    fn services_that_map_are_found_among_others() {
        let text = described(
            "",
            &[("Layer3Forwarding:1", "/l3"), ("WANIPConnection:1", "ctl"), ("WANPPPConnection:1", "/p")],
        );
        let found = services(text.as_bytes(), &from()).unwrap();
        let shown: Vec<_> = found.iter().map(|service| (service.kind, service.control.to_string())).collect();
        assert_eq!(
            shown,
            [
                (ServiceKind::Ip1, "http://10.0.0.1:5000/x/ctl".to_owned()),
                (ServiceKind::Ppp1, "http://10.0.0.1:5000/p".to_owned())
            ]
        );
        let text = described("<URLBase>http://10.0.0.1:49000/</URLBase>", &[("WANIPConnection:2", "ctl")]);
        let found = services(text.as_bytes(), &from()).unwrap();
        assert_eq!(found[0].control.to_string(), "http://10.0.0.1:49000/ctl");
    }

    #[test]
    fn nobody_elses_service_is_called() {
        for (base, url) in [
            ("", "http://10.0.0.2/ctl"),
            ("", "http://intranet/delete?all"),
            ("<URLBase>http://10.0.0.2:80/</URLBase>", "/ctl"),
        ] {
            let text = described(base, &[("WANIPConnection:1", url)]);
            assert!(matches!(services(text.as_bytes(), &from()), Err(Unusable::Url(_))), "{base} {url}");
        }
        let text = described("", &[("Layer3Forwarding:1", "/l3")]);
        assert_eq!(services(text.as_bytes(), &from()), Err(Unusable::NoService));
    }

    #[test]
    fn only_so_many_are_read() {
        let many = vec![("WANIPConnection:1", "/c"); 1000];
        assert_eq!(services(described("", &many).as_bytes(), &from()).unwrap().len(), MAX_SERVICES);
    }
}
