//! Reads the environment into a layer: `WGOD_LIMITS_UP` sets `limits.up`, and so on for every key.
use super::key::KeyId;
use super::layers::{Layer, Origin};
use super::problem::Problems;
use super::setting::Raw;
use wgo_api::suggest::nearest;

/// What every variable of ours begins with.
const PREFIX: &str = "WGOD_";

/// `WGOD_SOCKET` is where `wgoctl` looks for the socket; honoured here too, so that one export serves
/// both. The full name wins.
const SOCKET: (&str, &str) = ("SOCKET", "DAEMON_SOCKET");

/// The values that the environment sets, or everything that is wrong with them. A list is separated
/// by commas.
///
/// With the values come warnings for variables that look like a misspelt key; they are no error,
/// since others may use our prefix for their own ends.
pub fn parse(
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<(Layer, Vec<String>), Problems> {
    let (mut layer, mut problems, mut warnings) = (Layer::default(), Vec::new(), Vec::new());
    let names: Vec<(String, KeyId)> = KeyId::all().map(|id| (variable(&id), id)).collect();
    let find = |name: &str| names.iter().find(|(known, _)| known == name).map(|(_, id)| id.clone());
    let ours = |(name, value): (String, String)| Some((name.strip_prefix(PREFIX)?.to_owned(), value));
    let mut given: Vec<_> = variables.into_iter().filter_map(ours).collect();
    // The short name first, so that the full one replaces it.
    given.sort_by_key(|(name, _)| name != SOCKET.0);
    for (name, value) in given {
        if let Some(id) = find(if name == SOCKET.0 { SOCKET.1 } else { &name }) {
            let origin = Origin::Environment(format!("{PREFIX}{name}"));
            problems.extend(layer.insert(id, Raw::Bare(value), origin).err());
        } else if let Some(near) = nearest(&name, names.iter().map(|(known, _)| known.as_str())) {
            warnings.push(format!("${PREFIX}{name} sets nothing; did you mean ${PREFIX}{near}?"));
        }
    }
    Problems::none_or(problems, (layer, warnings))
}

/// The variable that sets a key, without the prefix.
fn variable(id: &KeyId) -> String {
    id.name().replace('.', "_").to_uppercase()
}
