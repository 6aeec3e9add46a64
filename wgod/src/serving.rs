//! The control sockets: bound here, or bound by systemd and handed over; served until the daemon quits.
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use wgo_api::server::{Access, Limits, serve};
use wgo_api::socket::{self, SocketFile};

use crate::config::{Config, Places};
use crate::console::Console;
use crate::systemd::activation::{Inherited, path_of};

/// How long calls under way may go on when the daemon quits, within the time it takes for all of that.
const GRACE: Duration = Duration::from_secs(2);

/// The control sockets, listening.
pub struct Sockets {
    full: Door,
    looking: Option<Door>,
}

/// One of them.
struct Door {
    listener: UnixListener,
    /// Removes the socket when dropped; `None` for one that is systemd's.
    file: Option<SocketFile>,
    path: Option<PathBuf>,
}

impl Door {
    fn bind(path: &Path) -> Result<Door> {
        let (listener, file) = socket::bind(path, socket::MODE)?;
        let listener = UnixListener::from_std(listener)?;
        Ok(Door { listener, file: Some(file), path: Some(path.to_owned()) })
    }

    fn inherit(listener: std::os::unix::net::UnixListener) -> io::Result<Door> {
        let path = path_of(&listener);
        Ok(Door { listener: UnixListener::from_std(listener)?, file: None, path })
    }

    fn shown(&self) -> String {
        self.path.as_ref().map_or_else(|| "(without a path)".to_owned(), |path| path.display().to_string())
    }

    async fn serve(self, access: Access, console: Console, quit: CancellationToken) {
        let limits = match access {
            Access::Full => Limits::default(),
            Access::ReadOnly => Limits::for_lookers(),
        };
        let limits = Limits { grace: GRACE, ..limits };
        serve(self.listener, access, console, limits, async move { quit.cancelled().await }).await;
        drop(self.file);
    }
}

impl Sockets {
    /// Listens on the sockets that are `inherited`, else on those at `places`.
    pub fn open(places: &Places, config: &Config, inherited: Inherited) -> Result<Sockets> {
        let Inherited { control, looking } = inherited;
        let full = match control {
            Some(listener) => {
                let door = Door::inherit(listener).context("the control socket of the service manager")?;
                if config.daemon.socket.is_some() && door.path.as_ref() != Some(&places.socket) {
                    tracing::warn!(
                        "daemon.socket = {} is not used: the service manager hands over {}; change ListenStream= \
                         in its socket unit instead",
                        places.socket.display(),
                        door.shown()
                    );
                }
                door
            }
            None => Door::bind(&places.socket)?,
        };
        let looking = match (looking, &places.socket_ro) {
            (Some(listener), _) => {
                Some(Door::inherit(listener).context("the read-only socket of the service manager")?)
            }
            (None, Some(path)) => match Door::bind(path) {
                Ok(door) => Some(door),
                // Nobody asked for it by name: the daemon does not fail for it.
                Err(error) if config.daemon.socket_ro.is_none() => {
                    tracing::warn!("there is no read-only control socket: {error:#}");
                    None
                }
                Err(error) => return Err(error),
            },
            (None, None) => None,
        };
        Ok(Sockets { full, looking })
    }

    /// Where the control socket is, for people.
    pub fn shown(&self) -> String {
        self.full.shown()
    }

    /// Where the one for lookers is, for people.
    pub fn looking_shown(&self) -> Option<String> {
        self.looking.as_ref().map(Door::shown)
    }

    /// Whether the control socket stays when the daemon has ended: it is the service manager's.
    pub fn stays(&self) -> bool {
        self.full.file.is_none()
    }

    /// Serves `console` on all of them until `quit`, then lets the calls under way finish.
    pub async fn serve(self, console: Console, quit: CancellationToken) {
        let Sockets { full, looking } = self;
        let looking = async {
            if let Some(door) = looking {
                door.serve(Access::ReadOnly, console.clone(), quit.clone()).await;
            }
        };
        tokio::join!(full.serve(Access::Full, console.clone(), quit.clone()), looking);
    }
}
