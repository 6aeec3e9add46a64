//! What changes at the daemon, as it comes, for the verbs that look on: over a WebSocket that is opened
//! again when the daemon was away.
//!
//! The first list of each connection is whole, so whoever compares it with what it holds misses nothing of
//! what happened meanwhile.
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use wgo_api::client::{Client, Subscription, connect_websocket};
use wgo_api::params::ListParams;
use wgo_api::result::ListResult;
use wgo_api::{ApiClient, ApiError, Kind};

use crate::context::Context;
use crate::tunnel::Tunnel;

/// How long a daemon may take to accept a connection or the subscription.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// Pause before the first attempt to connect again.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Each further pause is twice as long, up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What a feed brings.
#[derive(Debug)]
pub(crate) enum News {
    /// The whole list, or what changed in it.
    List(ListResult),
    /// The daemon is gone; the feed looks for it.
    Lost(ApiError),
}

/// A subscription that outlives the daemon.
pub(crate) struct Feed {
    path: PathBuf,
    /// How long to look for a daemon that is gone; `None` is for ever.
    patience: Option<Duration>,
    /// What lies between, if the daemon is on another machine.
    tunnel: Option<Rc<Tunnel>>,
    link: Link,
}

enum Link {
    Up { subscription: Subscription<ListResult>, _client: Client },
    Down { since: Instant, next: Instant, pause: Duration },
}

impl Feed {
    /// Connects to the daemon.
    ///
    /// # Errors
    /// Those of a call: `unreachable`, `permission`, `timeout`, `busy`.
    pub(crate) async fn open(context: &Context<'_, '_>) -> Result<Feed, ApiError> {
        let (path, tunnel) = (context.socket().to_owned(), context.tunnel());
        let link = connect(&path).await?;
        Ok(Feed { path, patience: context.patience(), tunnel, link })
    }

    /// The next piece of news. May be dropped and called again at any time.
    ///
    /// # Errors
    /// When there is no more to come: the daemon did not return in time, or refuses us.
    pub(crate) async fn next(&mut self) -> Result<News, ApiError> {
        loop {
            match &mut self.link {
                Link::Up { subscription, .. } => {
                    let why = match subscription.next().await {
                        Some(Ok(list)) => return Ok(News::List(list)),
                        Some(Err(error)) => format!("sent what wgoctl does not understand ({error})"),
                        None => "hung up: it has stopped, or was killed".to_owned(),
                    };
                    let message = match &self.tunnel {
                        Some(tunnel) => format!("wgod on {} {why}", tunnel.url()),
                        None => format!("wgod on {} {why}", self.path.display()),
                    };
                    let now = Instant::now();
                    self.link = Link::Down { since: now, next: now + FIRST_PAUSE, pause: FIRST_PAUSE };
                    return Ok(News::Lost(ApiError::new(Kind::Unreachable, message)));
                }
                Link::Down { since, next, pause } => {
                    sleep_until(*next).await;
                    match connect(&self.path).await {
                        Ok(link) => self.link = link,
                        Err(error) if passes(error.kind()) => {
                            if let Some(ended) = self.tunnel.as_ref().and_then(|tunnel| tunnel.ended()) {
                                return Err(ended);
                            }
                            let away = since.elapsed();
                            if let Some(patience) = self.patience.filter(|patience| away >= *patience) {
                                let message = format!("it did not return within {patience:?}: {error}");
                                return Err(ApiError::new(Kind::Unreachable, message));
                            }
                            *pause = (*pause * 2).min(LONGEST_PAUSE);
                            *next = Instant::now() + *pause;
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }
}

/// Whether this is how a daemon looks that is being started again.
fn passes(kind: Kind) -> bool {
    matches!(kind, Kind::Unreachable | Kind::Stopping | Kind::Timeout | Kind::Busy)
}

async fn connect(path: &std::path::Path) -> Result<Link, ApiError> {
    let client = connect_websocket(path, ANSWER_TIME).await?;
    let subscription = client.subscribe_changes(ListParams::default()).await?;
    Ok(Link::Up { subscription, _client: client })
}
