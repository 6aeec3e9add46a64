//! The alternative limits: by the schedule or by hand (`wgoctl alt`), and the task that switches them.
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;
use wgo_api::error::ApiError;
use wgo_api::params::{AltMode, AltParams};
use wgo_api::result::AltResult;
use wgo_api::torrent::RateLimits;
use wgo_core::ByteRate;
use wgo_core::limiter::Direction;

use super::{Control, State};
use crate::config::{self, Alternative, Config, Decision, KeyId, Origin, Raw};
use crate::store::Change;

/// The setting.
const KEY: &str = "limits.alt";

/// How late a jump of the machine's clock is noticed, or another time zone, while there is a schedule.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

impl Control {
    /// Sets the alternative limits and whether they are on, durably, and reports them.
    pub async fn alternative(&self, params: &AltParams) -> Result<AltResult, ApiError> {
        let mut state = self.state.lock().await;
        let rates = [("limits.alt_up", params.up), ("limits.alt_down", params.down)];
        let mut values: Vec<(KeyId, Raw)> = rates
            .into_iter()
            .filter_map(|(name, bytes)| Some((KeyId::find(name)?, Raw::Text(format!("{} B/s", bytes?)))))
            .collect();
        if let Some(mode) = params.mode {
            let by_hand = |on| {
                let schedule = &state.running.config.limits.schedule;
                // In force until the schedule would change something, whichever way.
                let (_, until) = schedule.at(Timestamp::now(), &zone());
                Alternative::ByHand { on, until }
            };
            let alternative = match mode {
                AltMode::Auto => Alternative::Auto,
                AltMode::On => by_hand(true),
                AltMode::Off => by_hand(false),
            };
            values.extend(KeyId::find(KEY).map(|key| (key, Raw::Text(alternative.to_string()))));
        }
        if !values.is_empty() {
            self.set(&mut state, values).await?;
        }
        Ok(result(&state.running.config, state.decision))
    }

    /// The alternative limits as they are now.
    pub async fn alternative_now(&self) -> AltResult {
        let state = self.state.lock().await;
        result(&state.running.config, state.decision)
    }

    /// Puts the limits in force that count now.
    pub(super) fn put_limits_in_force(&self, state: &mut State) {
        let limits = &state.running.config.limits;
        let decision = limits.alt.decide(&limits.schedule, Timestamp::now(), &zone());
        if decision.on != state.decision.on {
            let who = if decision.by_hand { "as was asked for" } else { "by the schedule" };
            let what = if decision.on { "on" } else { "off" };
            tracing::info!("the alternative limits are {what}, {who}");
        }
        state.decision = decision;
        if !limits.schedule.is_empty()
            && let Err(error) = TimeZone::try_system()
        {
            tracing::warn!(%error, "the time zone is unknown, so `[limits] schedule` is in UTC; set /etc/localtime or $TZ");
        }
        let RateLimits { up, down } = in_force(&state.running.config, decision);
        for (direction, rate) in [(Direction::Up, up), (Direction::Down, down)] {
            self.engine.shaper.set(None, direction, (rate > 0).then_some(ByteRate(rate)));
        }
        self.rescheduled.notify_one();
    }

    /// Switches them when the time has come; returns how long nothing has to be done, `None` for ever.
    async fn look_at_schedule(&self) -> Option<Duration> {
        let mut state = self.state.lock().await;
        let now = Timestamp::now();
        let limits = &state.running.config.limits;
        if limits.alt.is_over(now) {
            self.forget_hand(&mut state).await;
        }
        let limits = &state.running.config.limits;
        let decision = limits.alt.decide(&limits.schedule, now, &zone());
        if decision != state.decision {
            self.put_limits_in_force(&mut state);
        }
        let until = state.decision.until?;
        let wait = Duration::try_from(until.duration_since(now)).unwrap_or_default();
        Some(wait.min(LOOK_AGAIN))
    }

    /// What was set by hand is over: the schedule decides again, also after a restart.
    async fn forget_hand(&self, state: &mut State) {
        let Some(key) = KeyId::find(KEY) else { return };
        // What the file says is the operator's to change.
        if !matches!(state.running.origin(&key), Origin::Socket | Origin::Stored) {
            return;
        }
        let Ok(plan) = config::reset(&state.running, &state.layers, &[key]) else { return };
        let forgotten = Change::Override { key: KEY.to_owned(), value: None };
        if let Err(error) = self.engine.store.put(vec![forgotten]).await {
            // It names a time that has passed, so it means nothing at the next start either.
            tracing::debug!(%error, "a limit that was set by hand is not forgotten yet");
        }
        self.commit(state, plan).await;
    }

    /// The limits in force for the whole daemon.
    pub(super) fn limits_of(state: &State) -> RateLimits {
        in_force(&state.running.config, state.decision)
    }

    /// Switches the alternative limits by the schedule until `stopping`.
    pub(crate) async fn follow_schedule(self: std::sync::Arc<Self>, stopping: CancellationToken) {
        loop {
            let wait = self.look_at_schedule().await;
            let sleep = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stopping.cancelled() => return,
                () = self.rescheduled.notified() => {}
                () = sleep => {}
            }
        }
    }
}

/// The limits that count.
fn in_force(config: &Config, decision: Decision) -> RateLimits {
    let limits = &config.limits;
    match decision.on {
        true => RateLimits { up: limits.alt_up.0, down: limits.alt_down.0 },
        false => RateLimits { up: limits.up.0, down: limits.down.0 },
    }
}

fn result(config: &Config, decision: Decision) -> AltResult {
    let limits = &config.limits;
    let mode = match (decision.by_hand, decision.on) {
        (false, _) => AltMode::Auto,
        (true, true) => AltMode::On,
        (true, false) => AltMode::Off,
    };
    AltResult {
        on: decision.on,
        mode,
        until: decision.until.map(|until| u64::try_from(until.as_second()).unwrap_or(0)),
        limits: RateLimits { up: limits.alt_up.0, down: limits.alt_down.0 },
        schedule: limits.schedule.entries().collect(),
    }
}

/// The machine's time zone, which may change while we run; UTC where it can't be told.
fn zone() -> TimeZone {
    TimeZone::try_system().unwrap_or(TimeZone::UTC)
}
