//! `doctor`: gathers what the daemon sees of itself and of the machine. What that means is decided in
//! [`judge`], without any input of its own.
mod facts;
mod judge;

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::oneshot;
use wgo_api::error::ApiError;
use wgo_api::params::ListParams;
use wgo_api::result::DoctorResult;
use wgo_api::torrent::{Filter, State};

use super::disks::HUNG_AFTER;
use super::{Console, stopping};
use crate::config::Surroundings;
use crate::files::{DiskError, Done, Folder, Job};
use crate::hooks;
use crate::proxy::ProxyError;
use crate::session::Command;
use facts::{Facts, Hung, Place, ProxyFacts};

/// A disk that doesn't answer within this is not waited for.
const PATIENCE: Duration = Duration::from_secs(3);
/// Torrents in trouble that are named; `list` shows all.
const NAMED: usize = 3;

impl Console {
    /// Everything that was looked at, in the order in which a person would.
    pub(super) async fn doctor(&self) -> Result<DoctorResult, ApiError> {
        Ok(DoctorResult { findings: judge::judge(&self.facts().await?) })
    }

    async fn facts(&self) -> Result<Facts, ApiError> {
        let (inner, control) = (&self.inner, &self.inner.control);
        let checked = control.show(&[], true).await?;
        let config = control.config().await;
        let glance = inner.session.ask(|reply| Command::Glance(None, reply)).await.ok_or_else(stopping)??;
        let filter = Filter { states: vec![State::Error], ..Filter::default() };
        let ask = ListParams { filter, ..ListParams::default() };
        let troubled = if glance.states.contains_key(&State::Error) {
            let list = inner.session.ask(|reply| Command::List(ask, reply)).await.ok_or_else(stopping)?;
            list.torrents.into_iter().map(|row| (row.torrent.name, row.torrent.error)).collect()
        } else {
            Vec::new()
        };
        let devices = inner.engine.storage.status();
        let hung = |number: u64| {
            let device = devices.iter().find(|device| device.device == number)?;
            device.oldest.filter(|age| *age >= HUNG_AFTER)
        };
        let mut places = Vec::new();
        for (number, folder) in &glance.folders {
            places.push(match hung(*number) {
                // It would only gather questions.
                Some(age) => self.found(folder.clone(), Err(Hung::For(age))),
                None => self.place(folder.clone()).await,
            });
        }
        let downloads = control.folder().await.unwrap_or_else(|| inner.default_folder.clone());
        Ok(Facts {
            file: checked.file,
            problems: checked.problems,
            state: Place { outside: false, ..self.place(inner.state_dir.clone()).await },
            downloads: self.place(downloads).await,
            folders: places,
            min_free_space: config.storage.min_free_space.0,
            listen: inner.engine.listening.shown(),
            network: inner.engine.outlet.shown(),
            no_names: inner.engine.trackers.no_names(),
            port: (config.network.port, inner.engine.port),
            mapping: inner.engine.mapping.shown(),
            proxy: self.proxy().await,
            max_peers: config.network.max_peers,
            memory: config.storage.memory.0,
            troubled: troubled.len(),
            confinement: inner.engine.confinement.shown(),
            dht: super::dht::shown(&inner.engine.dht),
            hooks: inner.engine.hooks.shown(),
            hook_faults: hooks::faults(&config, &Surroundings::observe()),
            named: troubled.into_iter().take(NAMED).collect(),
            ..Facts::of_the_machine()
        })
    }

    /// Tries the proxy, if there is one.
    async fn proxy(&self) -> Option<ProxyFacts> {
        let proxies = &self.inner.engine.proxies;
        let (shown, proxy) = (proxies.shown()?, proxies.proxy()?);
        let text = |failure: ProxyError| failure.why.to_string();
        let tried = proxy.check().await.map_err(text);
        let udp = match (&tried, shown.trackers) {
            (Ok(()), true) => Some(proxy.check_udp().await.map_err(text)),
            _ => None,
        };
        Some(ProxyFacts { shown, tried, udp })
    }

    /// Has a storage thread look at a folder.
    async fn place(&self, path: PathBuf) -> Place {
        let (sender, answer) = oneshot::channel();
        let done = Done::new(move |found: Result<Folder, DiskError>| drop(sender.send(found)));
        self.inner.engine.storage.submit_now(Job::Examine { folder: path.clone(), done });
        let found = match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(found)) => found.map_err(|error| Hung::Failed(error.to_string())),
            _ => Err(Hung::For(PATIENCE)),
        };
        self.found(path, found)
    }

    fn found(&self, path: PathBuf, found: Result<Folder, Hung>) -> Place {
        let outside = !self.inner.engine.confinement.allowed.names(&path);
        Place { path, outside, found }
    }
}
