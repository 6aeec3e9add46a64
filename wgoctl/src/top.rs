//! `wgoctl top`: torrents as they change, on the whole terminal, with keys for what one does with them.
//!
//! [`model`] holds what is known and decides what a key means, [`view`] draws it; both know neither terminal
//! nor daemon. This file is between them: it waits for keys, news and answers.
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use crossterm::event::{Event, EventStream};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use ratatui::DefaultTerminal;
use tokio::signal::unix::{SignalKind, signal};
use wgo_api::client::UnixHttpClient;
use wgo_api::params::{
    LimitParams, RemoveParams, SelectParams, ShowParams, StartParams, StatusParams, VerifyParams,
};
use wgo_api::result::{ActResult, ShowResult, StatusResult};
use wgo_api::{ApiClient, ApiError};

use crate::console::Terminal;
use crate::context::Context;
use crate::failure::Failure;
use crate::feed::{Feed, News};

mod keys;
mod model;
#[cfg(test)]
mod tests;
mod view;

use model::{Model, Pane, Wish};

/// No options of its own.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Press ? for the keys, q to leave. When wgod stops, top waits for it to return.

Examples:
  wgoctl top
  wgoctl --socket ssh://seedbox top
  NO_COLOR=1 wgoctl top")]
pub struct Args {}

/// How often rates, peers and files are asked for.
const PERIOD: Duration = Duration::from_secs(1);

/// What comes of a call.
enum Answer {
    /// Of the daemon, and of the torrent in the lower pane.
    Looked(Box<(Option<StatusResult>, Option<ShowResult>)>),
    /// Of a wish: what was done, or why not.
    Done(Result<String, String>),
}

type Calls = FuturesUnordered<Pin<Box<dyn Future<Output = Answer>>>>;

pub(crate) async fn run(_: Args, context: &mut Context<'_, '_>) -> Result<u8, Failure> {
    let Terminal { columns, color, can_ask, can_redraw, .. } = context.terminal();
    if context.json || columns.is_none() || !can_ask || !can_redraw {
        return Err(Failure::Usage(
            "top needs a terminal; for programs there are `wgoctl --json status` and `wgoctl events --follow`"
                .into(),
        ));
    }
    // Before the screen is taken: a daemon that isn't there is told as everywhere.
    let feed = Feed::open(context).await?;
    let client = Rc::new(context.prompt_client());
    let mut model = Model::new(color);
    let mut screen = Screen::take()?;
    let ended = watch(&mut screen, &mut model, feed, client).await;
    drop(screen);
    ended.map(|()| 0)
}

/// Shows and obeys until the person leaves, the terminal goes, or the daemon refuses.
async fn watch(
    screen: &mut Screen,
    model: &mut Model,
    mut feed: Feed,
    client: Rc<UnixHttpClient>,
) -> Result<(), Failure> {
    let failed = |error| Failure::System("cannot wait for signals", error);
    let mut terminated = signal(SignalKind::terminate()).map_err(failed)?;
    let mut hung_up = signal(SignalKind::hangup()).map_err(failed)?;
    let mut keys = EventStream::new();
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut calls = Calls::new();
    let mut looking = false;
    loop {
        screen.draw(model)?;
        tokio::select! {
            key = keys.next() => match key {
                Some(Ok(Event::Key(key))) => match model.on_key(key) {
                    Some(Wish::Quit) => return Ok(()),
                    Some(Wish::Suspend) => {
                        // Its thread must not read keys that are the shell's.
                        drop(keys);
                        screen.step_back()?;
                        keys = EventStream::new();
                    }
                    Some(Wish::Look) => ticks.reset_immediately(),
                    Some(wish) => calls.push(Box::pin(carry_out(wish, Rc::clone(&client)))),
                    None => {}
                },
                // A resize is drawn like everything else.
                Some(Ok(_)) => {}
                // The terminal is gone.
                Some(Err(_)) | None => return Ok(()),
            },
            _ = terminated.recv() => return Ok(()),
            _ = hung_up.recv() => return Ok(()),
            news = feed.next() => match news? {
                News::List(list) => model.on_list(list),
                News::Lost(error) => model.on_lost(error.message),
            },
            _ = ticks.tick(), if !looking => {
                looking = true;
                calls.push(Box::pin(look(model.pane(), model.selected_hash(), Rc::clone(&client))));
            }
            Some(answer) = calls.next() => match answer {
                Answer::Looked(seen) => {
                    looking = false;
                    model.on_look(seen.0, seen.1);
                }
                Answer::Done(said) => {
                    model.on_done(said);
                    ticks.reset_immediately();
                }
            },
        }
    }
}

/// Asks for what the feed doesn't bring. What can't be had now is asked for again in a second.
async fn look(pane: Pane, hash: Option<String>, client: Rc<UnixHttpClient>) -> Answer {
    let status = client.status(StatusParams::default()).await.ok();
    let show = match (pane, hash) {
        (Pane::Closed, _) | (_, None) => None,
        (pane, Some(id)) => {
            let params = ShowParams {
                id,
                files: pane == Pane::Files,
                peers: pane == Pane::Peers,
                trackers: pane == Pane::Trackers,
                pieces: false,
            };
            client.show(params).await.ok()
        }
    };
    Answer::Looked(Box::new((status, show)))
}

async fn carry_out(wish: Wish, client: Rc<UnixHttpClient>) -> Answer {
    let select = |id: &String| SelectParams { ids: vec![id.clone()], all: false };
    let said = |result: Result<ActResult, wgo_api::ClientError>, what: &str| match result {
        Err(error) => Err(ApiError::from(error).message),
        Ok(result) => match result.torrents.into_iter().next() {
            Some(acted) if acted.error.is_some() => Err(acted.error.unwrap_or_default()),
            Some(acted) => Ok(format!("{what} {}", acted.name.unwrap_or(acted.id))),
            None => Err("wgod gave no answer".to_owned()),
        },
    };
    Answer::Done(match wish {
        Wish::Start(id) => said(
            client.start(StartParams { ids: vec![id.clone()], ..StartParams::default() }).await,
            "Started",
        ),
        Wish::Stop(id) => said(client.stop(select(&id)).await, "Stopped"),
        Wish::Announce(id) => said(client.announce(select(&id)).await, "Announced"),
        Wish::Verify(id) => {
            let params = VerifyParams { ids: vec![id], ..VerifyParams::default() };
            said(client.verify(params).await, "Verifying")
        }
        Wish::Remove { id, data } => {
            let params = RemoveParams { ids: vec![id], all: false, data };
            said(client.remove(params).await, if data { "Removed with its data:" } else { "Removed" })
        }
        Wish::Limit { id, up, down } => {
            let result = client.limit(LimitParams { up, down, id: Some(id), ..LimitParams::default() }).await;
            match result.map_err(ApiError::from) {
                Ok(result) => {
                    let limit = crate::units::limit;
                    let name = result.name.unwrap_or_default();
                    Ok(format!("{name}: down {}, up {}", limit(result.limits.down), limit(result.limits.up)))
                }
                Err(error) => Err(error.message),
            }
        }
        Wish::Quit | Wish::Suspend | Wish::Look => Ok(String::new()),
    })
}

/// The terminal while it is ours: raw, and on its second screen. It is given back on drop, and by the hook
/// that `ratatui::try_init` sets when something panics.
struct Screen(DefaultTerminal);

impl Screen {
    fn take() -> Result<Screen, Failure> {
        ratatui::try_init().map(Screen).map_err(unusable)
    }

    fn draw(&mut self, model: &mut Model) -> Result<(), Failure> {
        self.0.draw(|frame| view::draw(frame, model)).map(drop).map_err(unusable)
    }

    /// Gives the terminal back to the shell, and stops until the shell continues us.
    fn step_back(&mut self) -> Result<(), Failure> {
        ratatui::try_restore().map_err(unusable)?;
        let stopped = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TSTP);
        stopped.map_err(|error| Failure::System("cannot stop", error.into()))?;
        self.0 = ratatui::try_init().map_err(unusable)?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = ratatui::try_restore();
    }
}

fn unusable(error: io::Error) -> Failure {
    Failure::System("cannot draw on this terminal", error)
}
