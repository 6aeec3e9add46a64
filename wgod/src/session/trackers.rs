//! The trackers of a torrent, changed by operators: durably, and for those that are announced to now.
//!
//! While an operation of the torrent is under way, its Swarm may be about to come or to go, with what the
//! trackers know of it; the change reaches them when that has ended.
use std::mem::take;

use tokio::sync::oneshot;
use wgo_api::error::{ApiError, Kind};
use wgo_api::params::{Replacement, TrackersParams};
use wgo_api::result::TrackersResult;
use wgo_core::TorrentId;
use wgo_core::tracker::MAX_TRACKERS;
use wgo_proto::urls;

use super::Driver;
use crate::tracker::check_url;

/// The answer to a call.
type Reply = oneshot::Sender<Result<TrackersResult, ApiError>>;

/// Longest URL of a tracker that is taken.
const MAX_URL_LEN: usize = 4096;

/// The tiers after a change.
///
/// # Errors
/// [`Kind::BadRequest`] for what can't be a tracker's URL and for too many, [`Kind::NoMatch`] for one that isn't
/// there.
fn changed<T: AsRef<str>>(tiers: &[Vec<T>], params: &TrackersParams) -> Result<Vec<Vec<String>>, ApiError> {
    let owned = |tier: &Vec<T>| tier.iter().map(|url| url.as_ref().to_owned()).collect();
    let mut tiers: Vec<Vec<String>> = tiers.iter().map(owned).collect();
    let gone = |url: &str| {
        let message = format!("{url:?} is none of its trackers; `wgoctl trackers ID` lists them");
        ApiError::new(Kind::NoMatch, message)
    };
    for Replacement { old, new } in &params.replace {
        let new = usable(new)?;
        let place = tiers.iter().flatten().position(|url| url == old).ok_or_else(|| gone(old))?;
        if new == old {
            continue;
        }
        // One that is there already stays in its place, and the old one goes.
        let double = tiers.iter().flatten().any(|url| url == new);
        match tiers.iter_mut().flatten().nth(place) {
            Some(url) if !double => new.clone_into(url),
            _ => tiers.iter_mut().for_each(|tier| tier.retain(|url| url != old)),
        }
    }
    for url in &params.remove {
        if !tiers.iter().flatten().any(|other| other == url) {
            return Err(gone(url));
        }
        tiers.iter_mut().for_each(|tier| tier.retain(|other| other != url));
    }
    tiers.retain(|tier| !tier.is_empty());
    // Where a tier of that number is missing, all that are added share a new one.
    let tier = params.tier.map(|tier| (tier as usize).min(tiers.len()));
    for url in &params.add {
        let url = usable(url)?;
        if tiers.iter().flatten().any(|other| other == url) {
            continue;
        }
        match tier.and_then(|tier| tiers.get_mut(tier)) {
            Some(tier) => tier.push(url.to_owned()),
            None => tiers.push(vec![url.to_owned()]),
        }
    }
    let count = tiers.iter().map(Vec::len).sum::<usize>();
    if count > MAX_TRACKERS && !(params.add.is_empty() && params.replace.is_empty()) {
        let message = format!("a torrent has {MAX_TRACKERS} trackers at most, and this would make {count}");
        return Err(ApiError::new(Kind::BadRequest, message));
    }
    Ok(tiers)
}

/// The URL without blanks around it.
fn usable(url: &str) -> Result<&str, ApiError> {
    let refuse = |why: String| ApiError::new(Kind::BadRequest, why);
    if url.len() > MAX_URL_LEN {
        return Err(refuse(format!(
            "a tracker's URL has {MAX_URL_LEN} bytes at most, and this one {}",
            url.len()
        )));
    }
    check_url(url.trim()).map_err(|why| refuse(format!("{url:?}: {why}")))?;
    // What a torrent may name.
    urls::tracker(url).ok_or_else(|| refuse(format!("{url:?} can't be a tracker's URL")))
}

impl Driver {
    /// Shows the trackers of a torrent, after a change if one is asked for.
    pub(super) fn trackers_of(&mut self, params: &TrackersParams, reply: Reply) {
        if let Err((error, reply)) = self.try_trackers(params, reply) {
            drop(reply.send(Err(error)));
        }
    }

    fn try_trackers(&mut self, params: &TrackersParams, reply: Reply) -> Result<(), (ApiError, Reply)> {
        let id = match self.resolve(&params.id) {
            Ok(id) => id,
            Err(error) => return Err((error, reply)),
        };
        let Some(entry) = self.entries.get(&id).filter(|entry| !entry.removing) else {
            return Err((ApiError::new(Kind::NoMatch, "it is being removed"), reply));
        };
        let tiers = match changed(&entry.tiers, params) {
            Ok(tiers) => tiers,
            Err(error) => return Err((error, reply)),
        };
        let shared = self.urls.share(&tiers);
        let Some(entry) = self.entries.get_mut(&id) else { return Ok(()) };
        let others = !params.only_asks() && shared != entry.tiers;
        if others {
            // Their URLs may be keys to accounts, so none is logged.
            let count = tiers.iter().map(Vec::len).sum::<usize>();
            entry.span().in_scope(|| tracing::info!(trackers = count, "its trackers are others now"));
            entry.settings.trackers = Some(tiers);
            entry.tiers = shared;
            entry.retiered = true;
            self.tell_trackers(id);
            // They may have a say in its seeding goals.
            self.look_at_goal(id);
        } else if params.only_asks() || self.is_saved(id) {
            // Else they are what was asked for, but the store doesn't know yet.
            drop(reply.send(Ok(self.trackers_result(id))));
            return Ok(());
        }
        self.touch();
        let saved = self.saved(id);
        let result = self.trackers_result(id);
        self.replies.spawn(async move {
            let answer = match saved.await {
                Ok(Ok(())) => Ok(result),
                Ok(Err(why)) => Err(ApiError::new(Kind::Disk, format!("the change is in force, but {why}"))),
                Err(_) => Err(ApiError::new(Kind::NoMatch, "it is being removed")),
            };
            // Whoever asked may have hung up.
            drop(reply.send(answer));
        });
        Ok(())
    }

    /// Has those announced to that are its trackers now, unless an operation is under way.
    pub(super) fn tell_trackers(&mut self, id: TorrentId) {
        let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.retiered && !entry.busy) else {
            return;
        };
        entry.retiered = false;
        if let Some(live) = entry.live.clone() {
            let tiers = entry.tiers.clone();
            self.engine.call(&live, |swarm, now| swarm.set_trackers(now, &tiers));
        } else if let Some(mut memory) = take(&mut entry.trackers) {
            memory.set_trackers(&entry.tiers);
            entry.trackers = Some(memory);
            // Some are to hear of it, or that it leaves them.
            self.session.wake(self.engine.clock.now(), id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "http://a.example/announce";
    const B: &str = "udp://b.example:80";
    const C: &str = "https://c.example/KEY/announce";

    fn urls(urls: &[&str]) -> Vec<String> {
        urls.iter().map(|url| (*url).to_owned()).collect()
    }

    fn tiers(all: &[&[&str]]) -> Vec<Vec<String>> {
        all.iter().map(|tier| urls(tier)).collect()
    }

    fn params(add: &[&str], remove: &[&str], replace: &[(&str, &str)], tier: Option<u32>) -> TrackersParams {
        let replacement = |(old, new): &(&str, &str)| Replacement { old: (*old).into(), new: (*new).into() };
        TrackersParams {
            add: urls(add),
            remove: urls(remove),
            replace: replace.iter().map(replacement).collect(),
            tier,
            ..TrackersParams::default()
        }
    }

    #[test]
    fn trackers_come_go_and_change_in_their_place() {
        for (before, params, after) in [
            (&[&[A][..]][..], params(&[B, C], &[], &[], None), &[&[A][..], &[B], &[C]][..]),
            (&[&[A]], params(&[B, C, A], &[], &[], Some(0)), &[&[A, B, C]]),
            (&[&[A]], params(&[B, C], &[], &[], Some(7)), &[&[A], &[B, C]]),
            (&[&[A, B], &[C]], params(&[], &[C], &[], None), &[&[A, B]]),
            (&[&[A, B]], params(&[], &[], &[(A, C)], None), &[&[C, B]]),
            (&[&[A, B], &[C]], params(&[], &[], &[(A, C)], None), &[&[B], &[C]]),
            (&[&[A]], params(&[], &[], &[(A, A)], None), &[&[A]]),
            (&[&[A]], params(&[" udp://b.example:80 "], &[A], &[], None), &[&[B]]),
            (&[], params(&[A], &[], &[], Some(0)), &[&[A]]),
            (&[&[A]], params(&[], &[A], &[], None), &[]),
        ] {
            assert_eq!(changed(&tiers(before), &params).unwrap(), tiers(after), "{params:?}");
        }
    }

    #[test]
    fn what_can_be_no_tracker_or_is_not_there_changes_nothing() {
        let long = format!("http://a.example/{}", "x".repeat(MAX_URL_LEN));
        for (params, kind, why) in [
            (params(&["wss://a.example"], &[], &[], None), Kind::BadRequest, "not with wss:"),
            (params(&["a.example/announce"], &[], &[], None), Kind::BadRequest, "not a tracker's URL"),
            (params(&["udp://a.example"], &[], &[], None), Kind::BadRequest, "no port"),
            (params(&["http://a.example/\u{1b}[0m"], &[], &[], None), Kind::BadRequest, "can't be"),
            (params(&[""], &[], &[], None), Kind::BadRequest, "not a tracker's URL"),
            (params(&[&long], &[], &[], None), Kind::BadRequest, "4096 bytes at most"),
            (params(&[], &[], &[(A, "x")], None), Kind::BadRequest, "not a tracker's URL"),
            (params(&[C], &[B], &[], None), Kind::NoMatch, "none of its trackers"),
            (params(&[], &[], &[(B, C)], None), Kind::NoMatch, "none of its trackers"),
            (params(&[], &[A, A], &[], None), Kind::NoMatch, "none of its trackers"),
        ] {
            let error = changed(&tiers(&[&[A]]), &params).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message.contains(why), "{}", error.message);
            assert!(!error.message.contains('\u{1b}'));
        }
        let many: Vec<String> = (0..MAX_TRACKERS).map(|i| format!("udp://t{i}.example:1")).collect();
        let many = vec![many];
        let error = changed(&many, &params(&[A], &[], &[], None)).unwrap_err();
        assert!(error.message.contains("128 trackers at most"), "{}", error.message);
        assert!(changed(&many, &params(&[A], &["udp://t0.example:1"], &[], None)).is_ok());
        // A torrent may have come with more.
        let more = vec![[many[0].clone(), urls(&[A, B])].concat()];
        assert!(changed(&more, &params(&[], &[A], &[], None)).is_ok());
    }
}
