//! The proxy's URL, what it is for, and the login, whose password may be in a file of its own.
use std::fmt;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use wgo_proto::host_port::HostPort;
use wgo_proto::proxy::{BadLogin, Login};
use wgo_proto::tracker::http::percent_decode;

use super::choices::ProxyFor;
use super::load::LoadError;
use super::places::Surroundings;
use super::setting::{Raw, Refused, Setting, quoted};
use super::settings::Network;

/// What stands for a password.
const HIDDEN: &str = "…";

/// Bytes of a file with a password that are read.
const MAX_FILE: u64 = 1024;

/// The name of the systemd credential with the password.
const CREDENTIAL: &str = "proxy_password";

/// The protocol that a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    /// RFC 1928.
    Socks5,
    /// CONNECT of HTTP.
    Http,
}

impl ProxyKind {
    /// What its URLs begin with.
    pub fn scheme(self) -> &'static str {
        match self {
            ProxyKind::Socks5 => "socks5",
            ProxyKind::Http => "http",
        }
    }
}

/// Where a proxy is, and as whom to log in there. Shown without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl {
    /// How to talk to it.
    pub kind: ProxyKind,
    /// Where it is.
    pub at: HostPort,
    user: Option<String>,
    password: Option<String>,
}

impl ProxyUrl {
    /// Whether a password must come from elsewhere.
    pub fn lacks_password(&self) -> bool {
        self.user.is_some() && self.password.is_none()
    }

    fn read(text: &str) -> Result<ProxyUrl, Refused> {
        let (scheme, rest) = text.split_once("://").ok_or_else(Refused::default)?;
        let kind = match scheme.to_ascii_lowercase().as_str() {
            // Names go to the proxy either way, which is what the "h" asks for elsewhere.
            "socks5" | "socks5h" => ProxyKind::Socks5,
            "http" => ProxyKind::Http,
            "https" => return Err(Refused::because("TLS to the proxy itself is not available")),
            "socks4" | "socks4a" => return Err(Refused::because("SOCKS4 has no passwords and no UDP")),
            _ => return Err(Refused::default()),
        };
        let (login, at) = match rest.rsplit_once('@') {
            Some((login, at)) => (Some(login), at),
            None => (None, rest),
        };
        let at = at.strip_suffix('/').unwrap_or(at);
        let wrong = || Refused::because("behind the scheme comes [USER[:PASSWORD]@]HOST:PORT");
        let at: HostPort = at.parse().map_err(|_| wrong())?;
        let not_text = |_| Refused::because("user and password are UTF-8");
        let word = |text: &str| String::from_utf8(percent_decode(text)).map_err(not_text);
        let (user, password) = match login.map(|login| login.split_once(':').ok_or(login)) {
            None => (None, None),
            Some(Err(user)) => (Some(word(user)?), None),
            Some(Ok((user, password))) => (Some(word(user)?), Some(word(password)?)),
        };
        if kind == ProxyKind::Http && user.as_ref().is_some_and(|user| user.contains(':')) {
            return Err(Refused::because("to an HTTP proxy a user can't have a colon"));
        }
        if let Some(user) = &user {
            let login = Login::new(user, password.as_deref().unwrap_or_default());
            login.map_err(|bad| Refused::because(bad.to_string()))?;
        }
        Ok(ProxyUrl { kind, at, user, password })
    }
}

#[cfg(test)]
impl ProxyUrl {
    /// The proxy of a URL that is one.
    pub(crate) fn of(text: &str) -> ProxyUrl {
        ProxyUrl::read(text).expect("a proxy")
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.kind.scheme())?;
        if let Some(user) = &self.user {
            write!(f, "{}", escaped(user))?;
            if self.password.is_some() {
                write!(f, ":{HIDDEN}")?;
            }
            write!(f, "@")?;
        }
        self.at.fmt(f)
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyUrl({self})")
    }
}

impl Setting for ProxyUrl {
    fn allowed() -> String {
        "a URL such as \"socks5://127.0.0.1:1080\" or \"http://USER:PASSWORD@proxy.example:3128\"".into()
    }

    fn parse(raw: &Raw) -> Result<ProxyUrl, Refused> {
        ProxyUrl::read(raw.text().ok_or_else(Refused::default)?.trim())
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }

    /// Whatever is wrong with it, there may be a password before the last @, and behind the first colon.
    fn shown(raw: &Raw) -> String {
        let Some(text) = raw.text() else { return "this".to_owned() };
        let Some((login, at)) = text.rsplit_once('@') else { return quoted(text) };
        let scheme = login.split_once("://").map(|(scheme, _)| format!("{scheme}://")).unwrap_or_default();
        quoted(&format!("{scheme}{HIDDEN}@{at}"))
    }
}

fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '%' | ':' | '@' | '/' => out.push_str(&format!("%{:02X}", u32::from(c))),
            c => out.push(c),
        }
        out
    })
}

/// What of these settings excludes each other: the key and why.
pub(super) fn conflicts(network: &Network) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let mut conflict = |key, why: &str| found.push((key, why.to_owned()));
    match &network.proxy {
        None if network.proxy_only => {
            conflict("network.proxy_only", "there is no network.proxy that anything could go by; set one");
        }
        Some(_) if network.proxy_only && network.proxy_for != ProxyFor::All => {
            conflict(
                "network.proxy_only",
                "network.proxy_for lets peers or trackers go round the proxy; set it to \"all\"",
            );
        }
        _ => {}
    }
    if network.proxy_only && network.announce_ip.is_some() {
        conflict(
            "network.announce_ip",
            "with network.proxy_only nobody can connect to wgod, and trackers are not told where it is; leave one out",
        );
    }
    if network.proxy_password_file.is_some() && !network.proxy.as_ref().is_some_and(ProxyUrl::lacks_password)
    {
        conflict(
            "network.proxy_password_file",
            "it is for a network.proxy that names a user and no password, as in \"socks5://USER@HOST:PORT\"",
        );
    }
    found
}

/// Who we are to the proxy, with the password that the URL, the file or systemd gives; and what the operator should
/// know of it.
pub(super) fn proxy_login(
    network: &Network,
    config_file: Option<&Path>,
    around: &Surroundings,
) -> Result<(Option<Login>, Option<String>), LoadError> {
    let Some((proxy, user)) = network.proxy.as_ref().and_then(|proxy| Some((proxy, proxy.user.as_ref()?)))
    else {
        return Ok((None, None));
    };
    let file = match &network.proxy_password_file {
        Some(file) => Some(around.expand(file)?),
        None => std::env::var_os("CREDENTIALS_DIRECTORY")
            .map(|folder| PathBuf::from(folder).join(CREDENTIAL))
            .filter(|file| file.exists()),
    };
    let (password, kept_in) = match (&proxy.password, file) {
        (Some(password), _) => (password.clone(), config_file.map(Path::to_owned)),
        (None, Some(file)) => (read_password(&file)?, Some(file)),
        (None, None) => (String::new(), None),
    };
    let bad = |bad: BadLogin| LoadError::ProxyPassword {
        path: kept_in.clone().unwrap_or_default(),
        error: io::Error::new(io::ErrorKind::InvalidData, bad.to_string()),
    };
    let login = Login::new(user, &password).map_err(bad)?;
    let open = kept_in.filter(|file| is_open(file)).map(|file| {
        let file = file.display();
        format!("anybody on this machine can read the proxy's password in {file}; chmod o-r '{file}'")
    });
    Ok((Some(login), open))
}

/// The first line of a file.
fn read_password(path: &Path) -> Result<String, LoadError> {
    let failed = |error| LoadError::ProxyPassword { path: path.to_owned(), error };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_FILE).read_to_string(&mut text).map_err(failed)?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => {
            Err(failed(io::Error::new(io::ErrorKind::InvalidData, "there is no password in its first line")))
        }
    }
}

/// Whether users that have nothing to do with it may read a file.
fn is_open(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o004 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ProxyUrl, Refused> {
        ProxyUrl::parse(&Raw::Text(text.into()))
    }

    fn network(text: &str) -> Network {
        Network { proxy: Some(parse(text).unwrap()), ..Network::default() }
    }

    #[test]
    fn a_proxy_is_shown_without_its_password() {
        for (text, shown) in [
            ("socks5://127.0.0.1:1080", "socks5://127.0.0.1:1080"),
            ("SOCKS5H://Proxy.example:1080/", "socks5://Proxy.example:1080"),
            ("http://[2001:db8::1]:3128", "http://[2001:db8::1]:3128"),
            ("socks5://me:hunter2@p.example:1", "socks5://me:…@p.example:1"),
            ("socks5://me@p.example:1", "socks5://me@p.example:1"),
            ("http://a%40b:x%3ay@p.example:1", "http://a%40b:…@p.example:1"),
        ] {
            let url = parse(text).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(url.to_toml(), format!("\"{shown}\""));
            assert_eq!(format!("{url:?}"), format!("ProxyUrl({shown})"));
        }
    }

    #[test]
    fn what_is_refused_is_named_without_the_password() {
        for (text, shown, why) in [
            ("socks5://me:hunter2@p.example", "\"socks5://…@p.example\"", "HOST:PORT"),
            ("https://me:hunter2@p.example:1", "\"https://…@p.example:1\"", "TLS"),
            ("socks4://p.example:1", "\"socks4://p.example:1\"", "SOCKS4"),
            ("me:hunter2@p.example:1", "\"…@p.example:1\"", ""),
            ("socks5://me:hunter%ff@p.example:1", "\"socks5://…@p.example:1\"", "UTF-8"),
            ("http://a%3Ab:hunter2@p.example:1", "\"http://…@p.example:1\"", "colon"),
            ("socks5://me:hunter2%0A@p.example:1", "\"socks5://…@p.example:1\"", "control"),
            ("socks5://:hunter2@p.example:1", "\"socks5://…@p.example:1\"", "1 to 255"),
        ] {
            let why_not = parse(text).unwrap_err().detail.unwrap_or_default();
            assert!(why_not.contains(why), "{text}: {why_not}");
            assert_eq!(ProxyUrl::shown(&Raw::Text(text.into())), shown);
        }
    }

    #[test]
    fn the_login_comes_from_the_url_or_a_file() {
        let around = Surroundings::default();
        let login = |network: &Network| proxy_login(network, None, &around).map(|(login, _)| login);
        let of = |user, password| Some(Login::new(user, password).unwrap());
        assert_eq!(login(&network("socks5://p.example:1")).unwrap(), None);
        assert_eq!(login(&network("socks5://a%40b:p%3aw@p.example:1")).unwrap(), of("a@b", "p:w"));
        assert_eq!(login(&network("socks5://me@p.example:1")).unwrap(), of("me", ""));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "hunter2\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        let by_file =
            Network { proxy_password_file: Some(file.clone()), ..network("socks5://me@p.example:1") };
        let (found, warning) = proxy_login(&by_file, None, &around).unwrap();
        assert_eq!(found, of("me", "hunter2"));
        let warning = warning.unwrap();
        assert!(
            warning.contains("anybody on this machine can read") && !warning.contains("hunter2"),
            "{warning}"
        );
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(proxy_login(&by_file, None, &around).unwrap().1, None);
        std::fs::write(&file, "\n").unwrap();
        let error = login(&by_file).unwrap_err().to_string();
        assert!(error.contains(&file.display().to_string()) && error.contains("first line"), "{error}");
        std::fs::remove_file(&file).unwrap();
        assert!(login(&by_file).is_err());
    }

    #[test]
    fn settings_that_would_leak_are_refused() {
        let only = Network { proxy_only: true, ..Network::default() };
        assert_eq!(conflicts(&only).len(), 1, "no proxy");
        let half = Network { proxy_for: ProxyFor::Peers, proxy_only: true, ..network("socks5://p:1") };
        assert_eq!(conflicts(&half).len(), 1);
        assert!(conflicts(&Network { proxy_only: true, ..network("socks5://p:1") }).is_empty());
        let told = Network { announce_ip: Some("192.0.2.1".parse().unwrap()), ..only.clone() };
        assert_eq!(conflicts(&Network { proxy: Some(parse("http://p:1").unwrap()), ..told }).len(), 1);
        let file = |url| Network { proxy_password_file: Some("/f".into()), ..network(url) };
        assert_eq!(conflicts(&file("socks5://p:1")).len(), 1, "no user");
        assert_eq!(conflicts(&file("socks5://a:b@p:1")).len(), 1, "two passwords");
        assert!(conflicts(&file("socks5://a@p:1")).is_empty());
    }
}
