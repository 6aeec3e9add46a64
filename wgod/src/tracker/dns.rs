//! Names to addresses by name servers that are asked through the [`Outlet`], where the system's resolver may not be
//! used: it asks whom it likes, by whatever interface.
//!
//! A thin wrapper of `hickory-resolver`, which makes its sockets here. What it learns is remembered by `resolve`.
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::iocompat::AsyncIoTokioAsStd;
use hickory_resolver::net::runtime::{RuntimeProvider, TokioHandle, TokioTime};
use hickory_resolver::system_conf::parse_resolv_conf;
use tokio::net::UdpSocket;

use crate::outlet::Outlet;
use crate::transport::Connected;

/// Where the system says which name servers there are.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// How long a server may take to answer before it, or the next one, is asked again.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is asked again.
const RETRIES: usize = 2;

/// Name servers, asked through the outlet.
pub(super) struct Dns {
    outlet: Outlet,
    /// `[network] dns`; none: those that the system names.
    servers: Vec<SocketAddr>,
    current: Mutex<Option<Current>>,
}

/// What asks these servers, made for a generation of the outlet.
struct Current {
    servers: Vec<SocketAddr>,
    generation: u64,
    asking: Arc<Asking>,
}

type Asking = hickory_resolver::Resolver<Sockets>;

impl Dns {
    /// One that asks `servers`, or those that the system names. `None` where the system's resolver does: nothing is
    /// said of either servers or interface.
    pub(super) fn of(outlet: &Outlet, servers: &[SocketAddr]) -> Option<Dns> {
        let ours = outlet.bounds().interface.is_some() || !servers.is_empty();
        let (outlet, servers) = (outlet.clone(), servers.to_vec());
        ours.then(|| Dns { outlet, servers, current: Mutex::default() })
    }

    /// The addresses of `host`.
    ///
    /// # Errors
    /// In words for the operator: no server can be asked, or none had an answer.
    pub(super) async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let servers = self.reachable()?;
        let asking = self.asking(&servers)?;
        // Whole as it is: no domain of this machine is put behind it.
        let name = format!("{}.", host.trim_end_matches('.'));
        match asking.lookup_ip(name).await {
            Ok(found) => Ok(found.iter().collect()),
            Err(error) => Err(explain(&error, &servers)),
        }
    }

    /// Why nobody can be asked, if so.
    pub(super) fn trouble(&self) -> Option<String> {
        self.reachable().err().map(|error| error.to_string())
    }

    fn asking(&self, servers: &[SocketAddr]) -> io::Result<Arc<Asking>> {
        let generation = self.outlet.standing().generation();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &*current
            && made.servers == servers
            && made.generation == generation
        {
            return Ok(made.asking.clone());
        }
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.iter().map(server).collect());
        let sockets = Sockets { outlet: self.outlet.clone(), handle: TokioHandle::default() };
        let mut builder = Asking::builder_with_config(config, sockets);
        *builder.options_mut() = options();
        let asking = Arc::new(builder.build().map_err(io::Error::other)?);
        *current = Some(Current { servers: servers.to_vec(), generation, asking: asking.clone() });
        Ok(asking)
    }

    /// The servers that there is a way to.
    fn reachable(&self) -> io::Result<Vec<SocketAddr>> {
        let (named, by) = match self.servers.is_empty() {
            true => (named_in(&std::fs::read(RESOLV_CONF)?)?, RESOLV_CONF),
            false => (self.servers.clone(), "[network] dns"),
        };
        let (there, here): (Vec<_>, Vec<_>) =
            named.into_iter().partition(|server| self.leads_to(server.ip()));
        let there: Vec<_> = there.into_iter().filter(|server| self.outlet.reaches(server.ip())).collect();
        if let Some(server) = there.first() {
            // Without any way there, what is missing says more than the library would.
            let open = there.iter().any(|server| self.outlet.interface(server.ip()).is_ok());
            return match self.outlet.interface(server.ip()) {
                Err(missing) if !open => Err(missing),
                _ => Ok(there),
            };
        }
        let remedy = "set [network] dns to one that can, as in dns = [\"10.2.0.1\"]";
        Err(io::Error::other(match here.first() {
            Some(server) => format!(
                "the name server of {by}, {}, is on this machine and can't be asked through the interface; {remedy}",
                server.ip()
            ),
            None => format!("{by} names no name server that can be asked; {remedy}"),
        }))
    }

    /// Whether packets to `ip` come to whom they are meant for: this machine is behind no interface but its own.
    fn leads_to(&self, ip: IpAddr) -> bool {
        !ip.is_loopback() || !matches!(self.outlet.interface(ip), Ok(Some(name)) if &*name != "lo")
    }
}

/// The servers of a resolv.conf(5).
fn named_in(text: &[u8]) -> io::Result<Vec<SocketAddr>> {
    let (config, _) = parse_resolv_conf(text)
        .map_err(|error| io::Error::other(format!("{RESOLV_CONF} can't be used: {error}")))?;
    let at = |server: &NameServerConfig| SocketAddr::new(server.ip, crate::config::DNS_PORT);
    Ok(config.name_servers().iter().map(at).collect())
}

fn server(at: &SocketAddr) -> NameServerConfig {
    let by = |mut connection: ConnectionConfig| {
        connection.port = at.port();
        connection
    };
    // What one says isn't there, another may know, as in a network with names of its own.
    NameServerConfig::new(at.ip(), false, vec![by(ConnectionConfig::udp()), by(ConnectionConfig::tcp())])
}

fn options() -> ResolverOpts {
    let mut options = ResolverOpts::default();
    options.timeout = PATIENCE;
    options.attempts = RETRIES;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // Kept by `resolve`, with its own bounds.
    options.cache_size = 0;
    options
}

fn explain(error: &NetError, servers: &[SocketAddr]) -> io::Error {
    let asked: Vec<String> = servers.iter().map(|server| server.ip().to_string()).collect();
    let why = match error {
        _ if error.is_nx_domain() => "there is no such name".to_owned(),
        _ if error.is_no_records_found() => "the name has no address".to_owned(),
        NetError::Timeout => "no answer".to_owned(),
        other => other.to_string(),
    };
    io::Error::other(format!("{why} (asked: {})", asked.join(", ")))
}

/// Makes the sockets that servers are asked by.
#[derive(Clone)]
struct Sockets {
    outlet: Outlet,
    handle: TokioHandle,
}

impl RuntimeProvider for Sockets {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = UdpSocket;
    type Tcp = AsyncIoTokioAsStd<Connected>;

    fn create_handle(&self) -> TokioHandle {
        self.handle.clone()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        _local: Option<SocketAddr>,
        limit: Option<Duration>,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<Self::Tcp>>>> {
        let outlet = self.outlet.clone();
        Box::pin(async move {
            let connect = outlet.tcp(server.ip())?.connect(server);
            let connected = tokio::time::timeout(limit.unwrap_or(PATIENCE), connect).await;
            connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map(AsyncIoTokioAsStd)
        })
    }

    /// `local` has a port that is hard to guess.
    fn bind_udp(
        &self,
        local: SocketAddr,
        server: SocketAddr,
    ) -> Pin<Box<dyn Send + Future<Output = io::Result<UdpSocket>>>> {
        let socket = self.outlet.udp(self.outlet.from_anywhere(server.ip(), local.port()));
        Box::pin(async move { socket })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outlet::Bounds;

    fn dns(interface: Option<&str>, servers: &[&str]) -> Dns {
        let interface = interface.map(|name| name.parse().unwrap());
        let servers: Vec<_> = servers.iter().map(|at| at.parse().unwrap()).collect();
        Dns::of(&Outlet::new(Bounds { interface, ips: Vec::new() }), &servers).unwrap()
    }

    #[test]
    fn the_system_is_asked_where_nothing_is_said() {
        assert!(Dns::of(&Outlet::default(), &[]).is_none());
        assert!(Dns::of(&Outlet::default(), &["127.0.0.1:53".parse().unwrap()]).is_some());
    }

    #[test]
    fn servers_are_read_as_the_system_reads_them() {
        let text = b"# comment\nnameserver 10.2.0.1\nsearch lan\nnameserver 2001:db8::1\noptions edns0\n";
        let servers: Vec<_> = named_in(text).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.2.0.1:53", "[2001:db8::1]:53"]);
    }

    #[test]
    fn a_server_on_this_machine_is_behind_no_interface() {
        assert!(dns(None, &["127.0.0.53:53"]).reachable().is_ok());
        assert!(dns(Some("lo"), &["127.0.0.53:53"]).reachable().is_ok());
    }

    #[tokio::test]
    async fn what_is_not_there_is_not_asked() {
        let dns = dns(Some("no-such-link"), &["192.0.2.1:53"]);
        let error = dns.lookup("tracker.test").await.unwrap_err().to_string();
        assert!(error.contains("interface no-such-link is missing"), "{error}");
    }
}
