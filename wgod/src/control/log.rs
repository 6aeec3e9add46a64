//! What is logged, shown and changed while the daemon runs (`wgoctl log`).
use wgo_api::error::{ApiError, Kind};
use wgo_api::params::LogParams;
use wgo_api::result::{LogComponent, LogResult};

use super::{Control, api_origin};
use crate::config::{self, COMPONENTS, KeyId, LogSpec, Origin, Raw};

/// The setting.
const KEY: &str = "daemon.log";

impl Control {
    /// Changes what is logged until the daemon restarts, and says what is logged then. Unlike other settings
    /// it isn't stored: nobody wants last month's `trace` back.
    pub async fn log(&self, params: &LogParams) -> Result<LogResult, ApiError> {
        let key =
            KeyId::find(KEY).ok_or_else(|| ApiError::new(Kind::Internal, format!("no setting {KEY}")))?;
        let mut state = self.state.lock().await;
        let refuse = |error: String| ApiError::new(Kind::BadRequest, error);
        if params.reset || params.spec.is_some() {
            let mut layers = state.layers.clone();
            if params.reset {
                layers.socket.remove(&key);
            }
            if let Some(change) = &params.spec {
                let now = config::resolve(&layers).map_err(|problems| refuse(problems.to_string()))?;
                let spec = now.config.daemon.log.with(change).map_err(|error| refuse(error.to_string()))?;
                let raw = Raw::Text(spec.to_string());
                let taken = layers.socket.insert(key.clone(), raw, Origin::Socket);
                taken.map_err(|problem| refuse(problem.to_string()))?;
            }
            let plan =
                config::plan(&state.running, layers).map_err(|problems| refuse(problems.to_string()))?;
            self.commit(&mut state, plan).await;
            tracing::info!(log = %state.running.config.daemon.log, "log levels changed");
        }
        let origin = api_origin(state.running.origin(&key));
        Ok(LogResult { origin, ..shown(&state.running.config.daemon.log) })
    }
}

fn shown(spec: &LogSpec) -> LogResult {
    let components = COMPONENTS.iter().map(|component| {
        let own = spec.own(component);
        let level = own.unwrap_or(spec.level).to_string();
        LogComponent { name: component.name.to_owned(), level, own: own.is_some() }
    });
    LogResult {
        spec: spec.to_string(),
        level: spec.level.to_string(),
        components: components.collect(),
        ..LogResult::default()
    }
}
