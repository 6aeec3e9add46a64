//! Taking back what was set through the control socket, in this run or an earlier one (`wgoctl config reset`):
//! then the other sources say what counts.
use std::collections::BTreeMap;

use wgo_api::error::{ApiError, Kind};
use wgo_api::params::ResetParams;
use wgo_api::result::{ResetResult, ResetSetting};

use super::{Control, State, api_origin, chosen, json};
use crate::config::{self, KeyId, Plan};
use crate::store::Change as StoreChange;

/// What is to be taken back.
struct Asked {
    keys: Vec<KeyId>,
    /// Of what is in the database and doesn't count.
    untaken: BTreeMap<String, String>,
}

impl Control {
    /// Takes settings back, durably: all of them or, after an error, none.
    pub async fn reset(&self, params: &ResetParams) -> Result<ResetResult, ApiError> {
        let mut state = self.state.lock().await;
        let asked = asked(params, &state)?;
        let mut plan = config::reset(&state.running, &state.layers, &asked.keys).map_err(|problems| {
            let message = format!(
                "without what was set through the socket the settings exclude each other: {problems}"
            );
            ApiError::new(Kind::Conflict, message)
        })?;
        self.put_off_folders(&mut plan, &state.running);
        let result = told(&asked, &state, &plan)?;
        let stored = asked.keys.iter().filter(|key| state.layers.stored.gives(key)).map(|key| key.name());
        let stored = stored.chain(asked.untaken.keys().cloned());
        let changes: Vec<_> = stored.map(|key| StoreChange::Override { key, value: None }).collect();
        if !changes.is_empty() {
            self.engine.store.put(changes).await.map_err(|error| {
                ApiError::new(
                    Kind::Disk,
                    format!("nothing is taken back, since that can't be saved: {error}"),
                )
            })?;
        }
        state.untaken.retain(|name, _| !asked.untaken.contains_key(name));
        self.commit(&mut state, plan).await;
        tracing::info!(
            taken_back = result.settings.iter().filter(|one| one.taken_back).count(),
            "settings reset"
        );
        Ok(result)
    }
}

fn asked(params: &ResetParams, state: &State) -> Result<Asked, ApiError> {
    let refuse = |message: &str| Err(ApiError::new(Kind::BadRequest, message));
    match (params.all, &params.keys[..]) {
        (true, []) => Ok(Asked {
            keys: state.running.keys().into_iter().filter(|key| state.layers.is_overridden(key)).collect(),
            untaken: state.untaken.clone(),
        }),
        (true, _) => refuse("`all` and `keys` exclude each other"),
        (false, []) => refuse("name the `keys` to reset, or set `all`"),
        (false, keys) => {
            // A name that isn't a setting any more may still be in the database.
            let (stale, keys): (Vec<String>, Vec<String>) =
                keys.iter().cloned().partition(|name| state.untaken.contains_key(name));
            let untaken = state.untaken.iter().filter(|(name, _)| stale.contains(name));
            let untaken = untaken.map(|(name, text)| (name.clone(), text.clone())).collect();
            Ok(Asked { keys: chosen(&state.running, &keys)?, untaken })
        }
    }
}

fn told(asked: &Asked, state: &State, plan: &Plan) -> Result<ResetResult, ApiError> {
    let coming = config::resolve(&plan.layers).map_err(|p| ApiError::new(Kind::Conflict, p.to_string()))?;
    let setting = |key: &KeyId| {
        let waits = plan.restart.iter().any(|change| change.key == *key);
        // The origin of a value that stays until a restart is where it came from.
        ResetSetting {
            key: key.name(),
            taken_back: state.layers.is_overridden(key),
            was: json(&state.running.text(key)),
            value: json(&plan.next.text(key)),
            origin: api_origin(coming.origin(key)),
            next_start: waits.then(|| json(&coming.text(key))),
            unknown: false,
        }
    };
    let mut settings: Vec<ResetSetting> = asked.keys.iter().map(setting).collect();
    settings.extend(asked.untaken.iter().map(|(name, text)| ResetSetting {
        key: name.clone(),
        taken_back: true,
        was: json(text),
        unknown: KeyId::find(name).is_none(),
        ..ResetSetting::default()
    }));
    Ok(ResetResult { settings })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::{Decision, Layer, Layers, Resolved};

    /// As after a start with these overrides in the database.
    fn state(stored: &[(&str, &str)]) -> State {
        let (stored, problems) = Layer::from_store(stored.iter().copied());
        let layers = Layers { stored, ..Layers::default() };
        let running: Resolved = config::resolve(&layers).unwrap();
        let untaken = problems.into_iter().map(|problem| (problem.key, "1".to_owned())).collect();
        State { layers, running, decision: Decision::default(), untaken }
    }

    fn reset(state: &mut State, keys: &[&str], all: bool) -> Result<Vec<ResetSetting>, ApiError> {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        let asked = asked(&ResetParams { keys, all }, state)?;
        let plan = config::reset(&state.running, &state.layers, &asked.keys).unwrap();
        let told = told(&asked, state, &plan)?;
        (state.layers, state.running) = (plan.layers, plan.next);
        Ok(told.settings)
    }

    #[test]
    fn what_takes_a_restart_says_so_until_then_and_what_is_no_setting_goes_too() {
        let mut state =
            state(&[("network.port", "7000"), ("limits.up", "\"9 KB/s\""), ("limits.sideways", "1")]);
        let told = reset(&mut state, &[], true).unwrap();
        let [port, up, sideways] = &told[..] else { panic!("{told:?}") };
        assert_eq!((port.key.as_str(), port.taken_back), ("network.port", true));
        assert_eq!(
            (&port.was, &port.value, &port.next_start),
            (&json!(7000), &json!(7000), &Some(json!(6868)))
        );
        assert_eq!((&up.was, &up.value, &up.next_start), (&json!("9 KB/s"), &json!(0), &None));
        assert_eq!((sideways.key.as_str(), sideways.unknown), ("limits.sideways", true));
        let again = &reset(&mut state, &["network"], false).unwrap();
        let port = again.iter().find(|one| one.key == "network.port").unwrap();
        assert_eq!((port.taken_back, &port.next_start), (false, &Some(json!(6868))));
        assert!(again.iter().filter(|one| one.key != "network.port").all(|one| one.next_start.is_none()));
    }

    #[test]
    fn wrong_keys_are_refused_and_only_those_of_the_database_may_be_unknown() {
        let mut state = state(&[("limits.sideways", "1")]);
        for (keys, all, why) in [
            (&["limits.upp"][..], false, "did you mean limits.up?"),
            (&["limits.up", "limit"], false, "did you mean limits?"),
            (&["limits.sidewise"], false, "no setting or section"),
            (&[], false, "`all`"),
            (&["limits"], true, "exclude each other"),
        ] {
            let error = reset(&mut state, keys, all).unwrap_err();
            assert_eq!(error.kind(), Kind::BadRequest);
            assert!(error.to_string().contains(why), "{error}");
        }
        assert_eq!(reset(&mut state, &["limits.sideways", "limits.up"], false).unwrap().len(), 2);
    }
}
