//! `--socket ssh://[USER@]HOST[:PORT][/PATH]`: another machine's daemon, over a socket that `ssh` forwards.
//!
//! The far end needs an SSH server and nothing else: sshd connects to the socket as the user who logged in,
//! whose rights count, and files are read here. `ssh` follows its own configuration and asks for passwords on
//! the terminal. It gets a connection of its own: what is forwarded over a shared one would outlive this run.
use std::cell::RefCell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use futures_util::future::select_all;
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};
use wgo_api::{ApiError, Kind};

use crate::failure::Failure;

/// What such a socket begins with.
const SCHEME: &str = "ssh://";
/// The socket at the far end, unless a path is given.
const USUAL: &str = "/run/wgod/wgod.sock";
/// Pause between two looks whether `ssh` has connected.
const PAUSE: Duration = Duration::from_millis(20);
/// The end of what `ssh` said is what it failed of.
const LINES: usize = 5;

/// The way to the daemon, open until this is dropped.
#[derive(Debug)]
pub(crate) struct Tunnel {
    url: String,
    child: RefCell<Child>,
    /// Only for its user: it holds the socket.
    folder: tempfile::TempDir,
}

/// Where to.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    /// What `ssh` is given.
    destination: String,
    path: String,
}

impl Tunnel {
    /// Whether `socket` is one that takes a tunnel.
    pub(crate) fn is_for(socket: &Path) -> bool {
        socket.to_str().is_some_and(|text| text.starts_with(SCHEME))
    }

    /// Has `ssh` connect. Where nobody can be asked, it doesn't ask.
    ///
    /// # Errors
    /// `Usage` if it isn't a URL of that form; kind `unreachable` with what `ssh` said; kind `timeout`.
    pub(crate) async fn open(
        socket: &Path,
        patience: Option<Duration>,
        can_ask: bool,
    ) -> Result<Tunnel, Failure> {
        let url = socket.to_string_lossy().into_owned();
        let Target { destination, path } = target(&url).map_err(Failure::Usage)?;
        let folder = tempfile::Builder::new().prefix("wgoctl-").tempdir();
        let folder = folder.map_err(|error| Failure::System("cannot make a folder for the socket", error))?;
        let said = folder.path().join("said");
        let said = File::create(&said).map_err(|source| Failure::Write { path: said, source })?;
        let mut command = Command::new("ssh");
        command.args([
            "-T",
            "-o",
            "ControlMaster=no",
            "-o",
            "ControlPath=none",
            "-o",
            "ForkAfterAuthentication=no",
        ]);
        // What the user forwards otherwise may be taken already, and isn't needed.
        command.args(["-o", "ExitOnForwardFailure=no", "-o", "StreamLocalBindMask=0177"]);
        command.args(["-o", "ServerAliveInterval=15", "-o", "RemoteCommand=none"]);
        if !can_ask {
            command.args(["-o", "BatchMode=yes"]);
        }
        command.arg("-L").arg(format!("{}:{path}", folder.path().join("s").display()));
        // `cat` ends when its input does: so the tunnel ends with us, however we end.
        command.args(["--", &destination, "cat"]);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(said);
        let child = command.spawn().map_err(|error| Failure::System("cannot run ssh", error))?;
        let tunnel = Tunnel { url, child: RefCell::new(child), folder };
        tunnel.connected(patience).await?;
        Ok(tunnel)
    }

    /// The socket at this end.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    /// What the user called it.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Why there is no way any more, if `ssh` has ended.
    pub(crate) fn ended(&self) -> Option<ApiError> {
        let status = self.child.borrow_mut().try_wait().ok().flatten()?;
        let message = match self.said() {
            said if said.is_empty() => format!("ssh to {} ended ({status})", self.url),
            said => format!("ssh to {} ended: {said}", self.url),
        };
        Some(ApiError::new(Kind::Unreachable, message))
    }

    /// `error` as it is to be told: with the name that the user knows, and with what `ssh` said.
    pub(crate) fn explain(&self, mut error: ApiError) -> ApiError {
        let socket = self.socket().display().to_string();
        error.message = error.message.replace(&socket, &self.url);
        if error.data.path.as_deref() == Some(socket.as_str()) {
            error.data.path = Some(self.url.clone());
        }
        let said = self.said();
        if error.kind() == Kind::Unreachable && !said.is_empty() && !error.message.contains(&said) {
            error.message = format!("{}\nssh said: {said}", error.message);
        }
        error
    }

    /// The last lines that `ssh` wrote.
    fn said(&self) -> String {
        let said = std::fs::read(self.folder.path().join("said")).unwrap_or_default();
        let said = String::from_utf8_lossy(&said).into_owned();
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    /// Waits until the socket at this end takes connections.
    async fn connected(&self, patience: Option<Duration>) -> Result<(), Failure> {
        let end = patience.map(|patience| Instant::now() + patience);
        while UnixStream::connect(self.socket()).await.is_err() {
            if let Some(error) = self.ended() {
                return Err(error.into());
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                let message =
                    format!("ssh to {} has not connected in time; --timeout allows for more", self.url);
                return Err(ApiError::new(Kind::Timeout, message).into());
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let child = self.child.get_mut();
        // One that has ended already can't be ended, which is fine.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Waits for a signal that would end the process, and returns the exit code for it: ended by it at once, it
/// would leave the tunnel's folder behind. 128 and its number is what a shell shows.
pub(crate) async fn interrupted() -> u8 {
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let waits = kinds.map(|kind| {
        Box::pin(async move {
            match signal(kind) {
                Ok(mut signals) => signals.recv().await,
                // Then it ends us at once.
                Err(_) => std::future::pending().await,
            };
            128 + kind.as_raw_value() as u8
        })
    });
    select_all(waits).await.0
}

fn target(url: &str) -> Result<Target, String> {
    let rest = url.strip_prefix(SCHEME).unwrap_or(url);
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, ""),
    };
    let path = if path.len() <= 1 { USUAL } else { path };
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let form = "write ssh://HOST, ssh://USER@HOST:PORT or ssh://HOST/PATH/TO/SOCKET";
    if host.is_empty() || authority.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(format!("{url:?} names no host; {form}"));
    }
    // ssh takes a colon for the end of the path.
    if path.contains(|c: char| c.is_control() || c == ':') {
        return Err(format!(
            "{path:?} can't be forwarded by ssh, since it contains a colon or worse; {form}"
        ));
    }
    Ok(Target { destination: format!("{SCHEME}{authority}"), path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_host_and_perhaps_a_path() {
        for (url, destination, path) in [
            ("ssh://box", "ssh://box", USUAL),
            ("ssh://box/", "ssh://box", USUAL),
            (
                "ssh://me@box:2222/run/user/7/wgod/wgod.sock",
                "ssh://me@box:2222",
                "/run/user/7/wgod/wgod.sock",
            ),
            ("ssh://[2001:db8::1]/s", "ssh://[2001:db8::1]", "/s"),
            // An option to nobody: it begins with the scheme.
            ("ssh://-oProxyCommand=x", "ssh://-oProxyCommand=x", USUAL),
        ] {
            let expected = Target { destination: destination.into(), path: path.into() };
            assert_eq!(target(url), Ok(expected), "{url}");
        }
        for url in ["ssh://", "ssh:///run/s", "ssh://me@/s", "ssh://a b/s", "ssh://box/a:b", "ssh://box/a\n"]
        {
            assert!(target(url).is_err(), "{url}");
        }
    }
}
