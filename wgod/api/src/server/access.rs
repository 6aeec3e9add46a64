//! Who may do what: which calls only look, which sockets allow more, and the log of those that do more.
//!
//! A socket's file mode decides who may connect; the kernel doesn't tell a server which further groups
//! the other end is in, so a right of its own takes a socket of its own. The check is made around
//! each single call, so that HTTP, WebSockets and batches can't differ.
use jsonrpsee::server::MethodResponse;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Caller;
use crate::error::{ApiError, Kind};
use crate::params::{AltParams, FilesParams, LimitParams, LogParams, RestoreParams, TrackersParams};

/// Target of the audit's records, a component of `[daemon] log`.
const AUDIT: &str = "wgo_api::audit";

/// Torrents that a record names; of further ones it gives the number.
const NAMED: usize = 4;

/// What those who can connect to a socket may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everything.
    Full,
    /// Look, and touch nothing.
    ReadOnly,
}

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// It tells something that every looker may know.
    Looks,
    /// It changes something, or hands out what only an owner may have.
    Changes,
}

use Deed::{Changes, Looks};

/// Every method of the API. One that is missing counts as changing, and fails a test.
const DEEDS: &[(&str, Deed)] = &[
    ("add", Changes),
    ("remove", Changes),
    ("list", Looks),
    ("show", Looks),
    // The URLs of trackers in it are often keys to somebody's account.
    ("metainfo", Changes),
    ("status", Looks),
    ("stats", Looks),
    // Those in `ASKERS` report when there is nothing to set.
    (LIMIT, Changes),
    (ALT, Changes),
    (FILES, Changes),
    ("label", Changes),
    (TRACKERS, Changes),
    ("start", Changes),
    ("stop", Changes),
    ("set", Changes),
    ("queue", Changes),
    ("move", Changes),
    ("rename", Changes),
    ("verify", Changes),
    ("announce", Changes),
    // It changes little, but sends requests.
    ("scrape", Changes),
    ("wait", Looks),
    ("config", Looks),
    ("config_reset", Changes),
    (LOG, Changes),
    ("doctor", Looks),
    ("reload", Changes),
    ("backup", Changes),
    ("read_backup", Changes),
    ("write_backup", Changes),
    (RESTORE, Changes),
    ("quit", Changes),
    ("subscribe", Looks),
    ("unsubscribe", Looks),
    ("rpc.discover", Looks),
];

/// Tells whether parameters, a list of one object, set nothing.
type SetsNothing = fn(&str) -> bool;

/// The methods that only look when their parameters set nothing.
const ASKERS: &[(&str, SetsNothing)] = &[
    (LIMIT, |raw| sets_nothing(raw, |asked: &LimitParams| asked.up.is_none() && asked.down.is_none())),
    (ALT, |raw| sets_nothing(raw, |asked: &AltParams| *asked == AltParams::default())),
    (TRACKERS, |raw| sets_nothing(raw, TrackersParams::only_asks)),
    (FILES, |raw| {
        sets_nothing(raw, |asked: &FilesParams| asked.choose.is_empty() && asked.first_last.is_none())
    }),
    (LOG, |raw| sets_nothing(raw, |asked: &LogParams| *asked == LogParams::default())),
];

const LIMIT: &str = "limit";
const ALT: &str = "alt";
const TRACKERS: &str = "trackers";
const LOG: &str = "log";
const FILES: &str = "files";
const RESTORE: &str = "restore";

fn sets_nothing<P: DeserializeOwned>(raw: &str, is_so: impl Fn(&P) -> bool) -> bool {
    matches!(serde_json::from_str::<[P; 1]>(raw), Ok([asked]) if is_so(&asked))
}

/// The sockets over which a method can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockets {
    /// Also the read-only one.
    All,
    /// Also the read-only one, when the parameters set nothing.
    AllToAsk,
    /// Only that of those who may change something.
    FullOnly,
}

/// The sockets over which `method` can be called, for the documentation of the API.
pub fn sockets_of(method: &str) -> Sockets {
    if ASKERS.iter().any(|(name, _)| *name == method) {
        return Sockets::AllToAsk;
    }
    match deed(method, None) {
        Looks => Sockets::All,
        Changes => Sockets::FullOnly,
    }
}

/// What `method` does when it is called with `params`, a list of one object.
pub(super) fn deed(method: &str, params: Option<&str>) -> Deed {
    if let Some((_, sets_nothing)) = ASKERS.iter().find(|(name, _)| *name == method) {
        return if params.is_some_and(sets_nothing) { Looks } else { Changes };
    }
    DEEDS.iter().find(|(name, _)| *name == method).map_or(Changes, |(_, deed)| *deed)
}

/// What a record calls a call: one that only checks a backup restores nothing.
pub(super) fn title(method: &'static str, params: Option<&str>) -> &'static str {
    let only_checks =
        |raw| matches!(serde_json::from_str::<[RestoreParams; 1]>(raw), Ok([asked]) if asked.check);
    if method == RESTORE && params.is_some_and(only_checks) { "check of a backup" } else { method }
}

/// Refuses what `access` doesn't allow.
pub(super) fn permit(access: Access, deed: Deed, method: &str) -> Result<(), ApiError> {
    match (access, deed) {
        (Access::Full, _) | (Access::ReadOnly, Looks) => Ok(()),
        (Access::ReadOnly, Changes) => {
            let message = format!(
                "`{method}` is refused: this socket is for looking, and whoever may change something uses the \
                 daemon's other one"
            );
            Err(ApiError::new(Kind::Permission, message))
        }
    }
}

/// A call that changes something, from its arrival until its one line in the log.
#[derive(Debug)]
pub(super) struct Audit {
    method: &'static str,
    caller: Option<Caller>,
    told: bool,
}

impl Audit {
    pub(super) fn begin(method: &'static str, caller: Option<Caller>) -> Self {
        Self { method, caller, told: false }
    }

    /// Logs how it ended.
    pub(super) fn end(mut self, answer: &MethodResponse) {
        let Outcome { what, torrents } = Outcome::of(answer.as_json().get());
        self.log(&what, &torrents);
    }

    fn log(&mut self, outcome: &str, torrents: &str) {
        self.told = true;
        let method = self.method;
        // All of it is in the text: that is what a journal shows.
        match self.caller {
            Some(Caller { uid, gid, pid, connection, access }) => {
                let pid = pid.map_or("unknown".to_owned(), |pid| pid.to_string());
                let socket = if access == Access::ReadOnly { " of the read-only socket" } else { "" };
                tracing::info!(
                    target: AUDIT,
                    "{method} by uid {uid}, gid {gid}, pid {pid} (connection {connection}{socket}): {outcome}{torrents}"
                );
            }
            None => tracing::info!(target: AUDIT, "{method} by nobody known: {outcome}{torrents}"),
        }
    }
}

impl Drop for Audit {
    /// The future of a call is dropped when its client hangs up; what it began goes on.
    fn drop(&mut self) {
        if !self.told {
            self.log("the caller left before the answer", "");
        }
    }
}

/// What a record says of an answer: no payload, nothing that the caller wrote.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    what: String,
    /// A list of info-hashes with a separator before it, or nothing.
    torrents: String,
}

impl Outcome {
    fn of(answer: &str) -> Outcome {
        #[derive(Deserialize)]
        struct Answer {
            result: Option<Acts>,
            error: Option<Failure>,
        }
        #[derive(Deserialize)]
        struct Failure {
            data: Option<Data>,
        }
        #[derive(Deserialize)]
        struct Data {
            kind: Kind,
            torrent: Option<String>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Acts {
            info_hash: Option<String>,
            torrents: Vec<Act>,
        }
        #[derive(Deserialize)]
        struct Act {
            info_hash: Option<String>,
            #[serde(default)]
            kind: Option<Kind>,
        }
        let done = || Outcome { what: "ok".to_owned(), torrents: String::new() };
        // The result of a method that acts on no torrent has another shape.
        let Ok(Answer { result, error }) = serde_json::from_str::<Answer>(answer) else { return done() };
        if let Some(Failure { data }) = error {
            let what = data.as_ref().map_or(Kind::Internal, |data| data.kind);
            // An id that matches nothing is the caller's own words.
            let torrent = data.and_then(|data| data.torrent).filter(|hash| is_hash(hash));
            return Outcome { what: what.to_string(), torrents: named(torrent.as_slice()) };
        }
        let Some(Acts { info_hash, torrents }) = result else { return done() };
        let mut kinds: Vec<String> = torrents.iter().filter_map(|t| Some(t.kind?.to_string())).collect();
        let failed = kinds.len();
        kinds.sort();
        kinds.dedup();
        let what = match failed {
            0 => "ok".to_owned(),
            _ => format!("{failed} of {} failed ({})", torrents.len(), kinds.join(", ")),
        };
        let hashes: Vec<String> =
            torrents.into_iter().filter_map(|torrent| torrent.info_hash).chain(info_hash).collect();
        Outcome { what, torrents: named(&hashes) }
    }
}

fn is_hash(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn named(hashes: &[String]) -> String {
    if hashes.is_empty() {
        return String::new();
    }
    let shown = hashes[..hashes.len().min(NAMED)].join(", ");
    match hashes.len().saturating_sub(NAMED) {
        0 => format!("; {shown}"),
        more => format!("; {shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::mock::MockDaemon;

    #[test]
    fn every_method_of_the_api_is_classified_exactly_once() {
        let methods = MockDaemon::method_names();
        let listed: BTreeSet<&str> = DEEDS.iter().map(|(name, _)| *name).collect();
        assert_eq!(listed.len(), DEEDS.len(), "a method is listed twice");
        let unlisted: Vec<_> = methods.iter().filter(|name| !listed.contains(*name)).collect();
        assert!(unlisted.is_empty(), "say in DEEDS what these do: {unlisted:?}");
        let gone: Vec<_> = listed.iter().filter(|name| !methods.contains(*name)).collect();
        assert!(gone.is_empty(), "the API has no such methods: {gone:?}");
    }

    #[test]
    fn what_is_not_known_changes_something_and_a_limit_only_when_it_sets_one() {
        assert_eq!(deed("frobnicate", None), Changes);
        for (params, expected) in [
            (r#"[{}]"#, Looks),
            (r#"[{"id":"ab"}]"#, Looks),
            (r#"[{"up":null,"down":null}]"#, Looks),
            (r#"[{"up":0}]"#, Changes),
            (r#"[{"id":"ab","down":5}]"#, Changes),
            (r#"[{"up":"x"}]"#, Changes),
            (r#"[{},{"up":1}]"#, Changes),
        ] {
            assert_eq!(deed("limit", Some(params)), expected, "{params}");
        }
        for (params, expected) in [
            (r#"[{"spec":null,"reset":false}]"#, Looks),
            ("[{}]", Looks),
            (r#"[{"spec":"debug"}]"#, Changes),
            (r#"[{"reset":true}]"#, Changes),
            ("[]", Changes),
        ] {
            assert_eq!(deed("log", Some(params)), expected, "{params}");
        }
        for (params, expected) in [
            (r#"[{"mode":null}]"#, Looks),
            (r#"[{"mode":"auto"}]"#, Changes),
            (r#"[{"up":0}]"#, Changes),
            (r#"[{"mode":"x"}]"#, Changes),
        ] {
            assert_eq!(deed("alt", Some(params)), expected, "{params}");
        }
        for (params, expected) in [
            (r#"[{"id":"ab"}]"#, Looks),
            (r#"[{"id":"ab","add":[],"tier":1}]"#, Looks),
            (r#"[{"id":"ab","remove":["udp://a:1"]}]"#, Changes),
            (r#"[{"id":"ab","replace":[{"old":"a","new":"b"}]}]"#, Changes),
            ("[{}]", Changes),
        ] {
            assert_eq!(deed("trackers", Some(params)), expected, "{params}");
        }
        assert_eq!(deed("limit", None), Changes, "no caller comes here without parameters");
    }

    #[test]
    fn a_check_of_a_backup_does_not_read_like_a_restore() {
        for (method, params, expected) in [
            ("restore", Some(r#"[{"id":"a","check":true}]"#), "check of a backup"),
            ("restore", Some(r#"[{"id":"a","check":false}]"#), "restore"),
            ("restore", Some(r#"[{"id":"a"}]"#), "restore"),
            ("restore", Some("[]"), "restore"),
            ("restore", None, "restore"),
            ("stop", Some(r#"[{"id":"a","check":true}]"#), "stop"),
        ] {
            assert_eq!(title(method, params), expected, "{params:?}");
        }
    }

    #[test]
    fn an_outcome_names_torrents_and_kinds_and_nothing_that_the_caller_wrote() {
        let [a, b] = ["01".repeat(20), "02".repeat(20)];
        let many: Vec<String> = (0..7).map(|i| format!(r#"{{"info_hash":"h{i}","error":null}}"#)).collect();
        for (answer, what, torrents) in [
            (r#"{"result":{"pid":7}}"#.to_owned(), "ok", String::new()),
            (r#"{"result":7}"#.to_owned(), "ok", String::new()),
            (format!(r#"{{"result":{{"info_hash":"{a}","limits":{{}}}}}}"#), "ok", format!("; {a}")),
            (
                format!(
                    r#"{{"result":{{"torrents":[{{"info_hash":"{a}"}},{{"info_hash":null,"kind":"no_match","error":"SECRET"}}]}}}}"#
                ),
                "1 of 2 failed (no_match)",
                format!("; {a}"),
            ),
            (
                format!(r#"{{"result":{{"torrents":[{}]}}}}"#, many.join(",")),
                "ok",
                "; h0, h1, h2, h3 and 3 more".to_owned(),
            ),
            (
                format!(
                    r#"{{"error":{{"code":1,"message":"SECRET","data":{{"kind":"disk","torrent":"{b}"}}}}}}"#
                ),
                "disk",
                format!("; {b}"),
            ),
            (
                r#"{"error":{"code":1,"message":"m","data":{"kind":"no_match","torrent":"SECRET\n"}}}"#
                    .to_owned(),
                "no_match",
                String::new(),
            ),
            (r#"{"error":{"code":1,"message":"m"}}"#.to_owned(), "internal", String::new()),
        ] {
            assert_eq!(Outcome::of(&answer), Outcome { what: what.to_owned(), torrents }, "{answer}");
        }
    }
}
