//! The proxies that people run: dante and microsocks for SOCKS5, tinyproxy for CONNECT. Each sees names that nobody else
//! knows.
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::net::{free_port, skip};
use crate::peers::in_path;
use crate::process::Process;
use crate::wait::{SOON, until};

/// The login of those that want one.
pub const USER: &str = "me";
/// Its password.
pub const PASSWORD: &str = "hunter2";

/// The proxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SOCKS5 with UDP, without login.
    Dante,
    /// SOCKS5 for connections only, with login.
    Microsocks,
    /// CONNECT, with login.
    Tinyproxy,
}

/// One that runs, or did.
#[derive(Debug)]
pub struct Proxy {
    kind: Kind,
    program: PathBuf,
    addr: SocketAddr,
    home: TempDir,
    process: Option<Process>,
}

impl Kind {
    /// Starts it at `ip`, to lead out from `out`; it knows `names`. `None`, said loudly, where it isn't installed.
    pub fn start(self, test: &str, ip: IpAddr, out: IpAddr, names: &[(&str, IpAddr)]) -> Option<Proxy> {
        let name = match self {
            Kind::Dante => "danted",
            Kind::Microsocks => "microsocks",
            Kind::Tinyproxy => "tinyproxy",
        };
        let sbin = Path::new("/usr/sbin").join(name);
        let Some(program) = in_path(name).or(sbin.is_file().then_some(sbin)) else {
            skip(test, &format!("{name} not found: install it"));
            return None;
        };
        let home = tempfile::Builder::new().prefix("wgod-proxy-").tempdir().unwrap();
        let hosts: String = names.iter().map(|(name, ip)| format!("{ip} {name}\n")).collect();
        fs::write(home.path().join("hosts"), hosts).unwrap();
        let addr = SocketAddr::new(ip, free_port(ip));
        let port = addr.port();
        let config = match self {
            Kind::Dante => format!(
                "logoutput: stderr\ninternal: {ip} port = {port}\nexternal: {out}\nclientmethod: none\n\
                 socksmethod: none\nuser.privileged: root\nuser.unprivileged: nobody\n\
                 client pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}\n\
                 socks pass {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}\n"
            ),
            Kind::Microsocks => String::new(),
            Kind::Tinyproxy => {
                format!(
                    "Port {port}\nListen {ip}\nBasicAuth {USER} {PASSWORD}\nLogLevel Info\nMaxClients 50\n"
                )
            }
        };
        fs::write(home.path().join("config"), config).unwrap();
        let mut proxy = Proxy { kind: self, program, addr, home, process: None };
        proxy.run();
        Some(proxy)
    }
}

impl Proxy {
    /// Where it is.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `[network] proxy`, without the password.
    pub fn url(&self) -> String {
        match self.kind {
            Kind::Dante => format!("socks5://{}", self.addr),
            Kind::Microsocks => format!("socks5://{USER}@{}", self.addr),
            Kind::Tinyproxy => format!("http://{USER}@{}", self.addr),
        }
    }

    /// Starts it, again at the same address.
    pub fn run(&mut self) {
        let (home, ip, port) = (self.home.path().display(), self.addr.ip(), self.addr.port());
        let words = match self.kind {
            Kind::Dante => format!("-f {home}/config -p {home}/pid"),
            Kind::Microsocks => format!("-i {ip} -p {port} -u {USER} -P {PASSWORD}"),
            Kind::Tinyproxy => format!("-d -c {home}/config"),
        };
        let script =
            format!("mount --bind {home}/hosts /etc/hosts && exec {} {words}", self.program.display());
        let shell = Path::new("/usr/bin/unshare");
        let process = Process::spawn("proxy", shell, &self.home.path().join("log"), |command| {
            command.args(["-m", "sh", "-ec", &script]);
        });
        self.process = Some(process);
        let addr = self.addr;
        until("the proxy listens", SOON, || std::net::TcpStream::connect(addr).ok());
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.process.as_mut().expect("it runs").kill9();
        self.process = None;
    }
}
