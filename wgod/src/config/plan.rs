//! What changed sources would do to a running daemon, before any of it is done.
use super::key::{Effect, KeyId};
use super::layers::{Layers, Origin, Resolved, resolve};
use super::problem::{Fault, Problem, Problems};
use super::setting::Raw;
use super::{Config, file};

/// Why no override can change a setting; `None` if one can.
pub(super) fn fixed(key: &KeyId) -> Option<&'static str> {
    match (key.key().section, key.key().field) {
        ("daemon", "state_dir") => Some("the overrides are stored there; set it in the file"),
        ("storage", "allowed_folders") => {
            Some("it bounds what the socket may ask for; set it in the file and restart wgod")
        }
        ("network", "ip_filter") => Some(
            "whoever reaches the socket must not have the daemon read files; set it in the file and reload",
        ),
        ("network", "proxy" | "proxy_password_file" | "proxy_for" | "proxy_only") => {
            Some("it decides who sees the traffic; set it in the file and restart wgod")
        }
        ("hooks", _) => {
            Some("whoever reaches the socket must not choose programs; set it in the file and restart wgod")
        }
        ("watch", _) => {
            Some("files in those folders are taken and deleted; set it in the file and restart wgod")
        }
        _ => None,
    }
}

/// A setting whose value changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub key: KeyId,
    /// The value in force, in TOML's notation.
    pub from: String,
    /// The new value.
    pub to: String,
}

/// A value of the file that doesn't count because a stronger source gives another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadowed {
    /// Which setting.
    pub key: KeyId,
    /// What the file says, in TOML's notation.
    pub file: String,
    /// The source that wins.
    pub by: Origin,
}

/// Everything a reload or a command would do. It is carried out whole or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Take effect at once.
    pub applied: Vec<Change>,
    /// Take effect at the next start; `next` keeps the old values.
    pub restart: Vec<Change>,
    /// Are set in the file and have no effect.
    pub shadowed: Vec<Shadowed>,
    /// The values in force once the plan is carried out.
    pub next: Resolved,
    /// The sources from then on.
    pub layers: Layers,
}

impl Plan {
    /// Puts a change off to the next start that would count at once, because this run can't take it.
    pub fn put_off(&mut self, running: &Resolved, key: &KeyId) {
        let Some(at) = self.applied.iter().position(|change| change.key == *key) else { return };
        self.restart.push(self.applied.remove(at));
        keep(&mut self.next, running, key);
    }
}

/// Leaves a key as it is.
fn keep(next: &mut Resolved, running: &Resolved, key: &KeyId) {
    (key.key().copy)(&mut next.config, &running.config, key.owner());
    next.origins.insert(key.clone(), running.origin(key).clone());
}

/// What it means for a daemon that runs with the values of `running` when its sources become
/// `layers`: for `reload`, the old ones with a new `file`.
pub fn plan(running: &Resolved, layers: Layers) -> Result<Plan, Problems> {
    let wanted = resolve(&layers)?;
    let mut plan = Plan {
        applied: Vec::new(),
        restart: Vec::new(),
        shadowed: shadowed(&layers, &wanted),
        next: wanted.clone(),
        layers,
    };
    let mut keys = running.keys();
    keys.extend(wanted.keys());
    for key in keys {
        let (from, to) = (running.text(&key), wanted.text(&key));
        if from == to {
            continue;
        }
        let change = Change { key, from, to };
        match change.key.key().effect {
            Effect::Now => plan.applied.push(change),
            Effect::Restart | Effect::Unbuilt => {
                keep(&mut plan.next, running, &change.key);
                plan.restart.push(change);
            }
        }
    }
    Ok(plan)
}

/// What it would mean to set a key through the control socket: it wins over every other source until
/// the daemon ends, and is stored for the next start.
pub fn set(running: &Resolved, layers: &Layers, key: KeyId, value: Raw) -> Result<Plan, Problems> {
    set_all(running, layers, vec![(key, value)])
}

/// The same of several keys, together or not at all.
pub fn set_all(running: &Resolved, layers: &Layers, values: Vec<(KeyId, Raw)>) -> Result<Plan, Problems> {
    let mut layers = layers.clone();
    values.into_iter().try_for_each(|(key, value)| override_with(&mut layers, key, value))?;
    plan(running, layers)
}

fn override_with(layers: &mut Layers, key: KeyId, value: Raw) -> Result<(), Problems> {
    let refuse = |fault| Problems(vec![Problem { origin: Origin::Socket, key: key.name(), fault }]);
    if let Some(why) = fixed(&key) {
        return Err(refuse(Fault::Conflict(why.into())));
    }
    let mut alone = Config::default();
    key.assign(&mut alone, &value).map_err(refuse)?;
    // Stored as the setting itself writes it, whatever notation it came in.
    let written = key.text(&alone);
    let value = file::value(&written).unwrap_or(value);
    for (layer, origin) in [(&mut layers.socket, Origin::Socket), (&mut layers.stored, Origin::Stored)] {
        layer.insert(key.clone(), value.clone(), origin).map_err(|problem| Problems(vec![problem]))?;
    }
    Ok(())
}

/// What it would mean to take back what was set of these keys through the control socket, in this run or before.
pub fn reset(running: &Resolved, layers: &Layers, keys: &[KeyId]) -> Result<Plan, Problems> {
    let mut layers = layers.clone();
    for key in keys {
        layers.socket.remove(key);
        layers.stored.remove(key);
    }
    plan(running, layers)
}

fn shadowed(layers: &Layers, wanted: &Resolved) -> Vec<Shadowed> {
    let mut out = Vec::new();
    for (key, given) in layers.file.iter() {
        let mut alone = Config::default();
        // A value of a layer fits its key: it was checked when it came in.
        let fits = key.assign(&mut alone, &given.raw).is_ok();
        let file = key.text(&alone);
        if fits && *wanted.origin(key) != given.origin && file != wanted.text(key) {
            out.push(Shadowed { key: key.clone(), file, by: wanted.origin(key).clone() });
        }
    }
    out
}
