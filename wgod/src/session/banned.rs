//! What `show` says of the addresses that are banned, and lifting bans.
use wgo_api::params::Unban;
use wgo_api::result::Ban;
use wgo_core::TorrentId;

use super::Driver;
use super::entry::Entry;
use crate::clock::unix_now;

impl Driver {
    /// Lifts bans; says so if there were none. Who left is tried again when somebody names it, or when it comes by
    /// itself.
    pub(super) fn unban(&self, id: TorrentId, which: Unban) -> Option<String> {
        let entry = self.entries.get(&id)?;
        let (ip, none) = match which {
            Unban::All => (None, "nobody is banned".to_owned()),
            Unban::Address(ip) => (Some(ip), format!("{ip} is not banned")),
        };
        let lift = |live| self.engine.call(live, |swarm, now| swarm.unban(now, ip));
        let lifted = entry.live.as_ref().and_then(lift).unwrap_or_default();
        if lifted == 0 {
            return Some(none);
        }
        entry.span().in_scope(|| tracing::info!(lifted, "bans lifted"));
        None
    }

    /// The bans of a torrent, those that end first first.
    pub(super) fn bans(&self, entry: &Entry) -> Vec<Ban> {
        let now = self.engine.clock.now();
        let bans = entry.live.as_ref().and_then(|live| live.call(|swarm, now| swarm.bans(now)).ok());
        let mut bans = bans.unwrap_or_default();
        bans.sort_unstable_by_key(|&(ip, ban)| (ban.until, ip));
        let today = unix_now().unsigned_abs();
        let each = bans.into_iter().map(|(ip, ban)| Ban {
            // Of IPv6 the network is banned.
            address: if ip.is_ipv6() { format!("{ip}/64") } else { ip.to_string() },
            reason: ban.reason.to_string(),
            times: ban.times,
            banned_at: today.saturating_sub(now.since(ban.at).as_secs()),
            until: today.saturating_add(ban.until.since(now).as_secs()),
        });
        each.collect()
    }
}
