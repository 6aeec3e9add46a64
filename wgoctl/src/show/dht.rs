//! What the DHT did for a torrent, in a line below its trackers.
use wgo_api::result::{DhtLookups, DhtUse};

use crate::units::{count, human_secs};

/// The line, without its name.
pub(crate) fn lookups(dht: &DhtLookups) -> String {
    let next = |next: Option<u64>| match next {
        Some(0) => "next as soon as possible".to_owned(),
        Some(secs) => format!("next in {}", human_secs(secs)),
        None => "none is planned".to_owned(),
    };
    match dht.status {
        DhtUse::Off => "off (discovery.dht)".to_owned(),
        DhtUse::Private => "not used, as the torrent is private".to_owned(),
        DhtUse::Inactive => "not used, as the torrent does not run".to_owned(),
        DhtUse::Looking => format!("looking for peers now{}", last(dht, "; ")),
        DhtUse::Waiting => format!("{}{}", last(dht, "").trim(), lead(dht, &next(dht.next_secs))),
    }
}

/// What comes behind the last lookup, or stands alone.
fn lead(dht: &DhtLookups, next: &str) -> String {
    if dht.last_secs.is_some() { format!("; {next}") } else { format!("not looked up yet, {next}") }
}

/// What came of the last lookup.
fn last(dht: &DhtLookups, before: &str) -> String {
    let Some(secs) = dht.last_secs else { return String::new() };
    let (peers, nodes) = (dht.peers.unwrap_or_default(), dht.nodes.unwrap_or_default());
    let ago = human_secs(secs);
    if nodes == 0 {
        return format!("{before}no node answered {ago} ago");
    }
    let announced = match dht.announced {
        Some(announced @ 1..) => format!(", announced to {announced}"),
        _ => String::new(),
    };
    format!(
        "{before}{} found {ago} ago by {}{announced}",
        count(peers as usize, "peer"),
        count(nodes as usize, "node")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_came_of_it_and_what_comes_next() {
        let waiting = DhtLookups { status: DhtUse::Waiting, next_secs: Some(780), ..DhtLookups::default() };
        let found = DhtLookups {
            last_secs: Some(120),
            peers: Some(1),
            nodes: Some(30),
            announced: Some(8),
            ..waiting
        };
        for (dht, line) in [
            (DhtLookups::default(), "off (discovery.dht)"),
            (waiting, "not looked up yet, next in 13m"),
            (found, "1 peer found 2m ago by 30 nodes, announced to 8; next in 13m"),
            (DhtLookups { nodes: Some(0), ..found }, "no node answered 2m ago; next in 13m"),
            (
                DhtLookups { status: DhtUse::Looking, next_secs: None, announced: Some(0), ..found },
                "looking for peers now; 1 peer found 2m ago by 30 nodes",
            ),
        ] {
            assert_eq!(lookups(&dht), line);
        }
    }
}
