//! What `doctor` finds, and the judgements that both ends make: of the kernel and the clock.
use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    #[default]
    Ok,
    /// Works, but not as well as it could.
    Warn,
    /// Something does not work, or will not.
    Bad,
}

impl Severity {
    /// The word that stands for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Ok => "ok",
            Severity::Warn => "warn",
            Severity::Bad => "bad",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub what: String,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, and what follows from it.
    pub why: String,
    /// What to do about it; `null` when it is fine.
    #[serde(rename = "do")]
    pub remedy: Option<String>,
}

impl Finding {
    /// It is fine.
    pub fn ok(what: &str, why: impl Into<String>) -> Finding {
        Finding { what: what.to_owned(), severity: Severity::Ok, why: why.into(), remedy: None }
    }

    /// It works, but could be better.
    pub fn warn(what: &str, why: impl Into<String>, remedy: impl Into<String>) -> Finding {
        let (why, remedy) = (why.into(), Some(remedy.into()));
        Finding { what: what.to_owned(), severity: Severity::Warn, why, remedy }
    }

    /// It does not work.
    pub fn bad(what: &str, why: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { severity: Severity::Bad, ..Finding::warn(what, why, remedy) }
    }
}

/// The oldest kernel that wgod runs on: 5.8, for what it asks of it when it reads and writes.
const KERNEL: (u32, u32) = (5, 8);
/// The kernel that tells what it caches (`cachestat`).
const CACHESTAT: (u32, u32) = (6, 5);

/// Judges a kernel by its release, as in `6.1.0-13-amd64`.
pub fn kernel(release: &str) -> Finding {
    const WHAT: &str = "kernel";
    let mut parts = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>());
    let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else {
        return Finding::warn(
            WHAT,
            format!("its release {release:?} can't be read"),
            format!("make sure that it is Linux {}.{} or newer", KERNEL.0, KERNEL.1),
        );
    };
    if (major, minor) < KERNEL {
        let why = format!("Linux {release} lacks what wgod needs");
        return Finding::bad(WHAT, why, format!("run Linux {}.{} or newer", KERNEL.0, KERNEL.1));
    }
    if (major, minor) < CACHESTAT {
        let why =
            format!("Linux {release}; checks of arrays are faster from 6.5 on, which tells what it caches");
        return Finding::ok(WHAT, why);
    }
    Finding::ok(WHAT, format!("Linux {release}"))
}

/// The beginning of 2026: nobody could run this release before.
const EARLIEST: i64 = 1_767_225_600;

/// Judges the clock by the Unix time that it shows, and whether it is known to be kept right.
pub fn clock(now: i64, synchronized: bool) -> Finding {
    const WHAT: &str = "clock";
    if now < EARLIEST {
        let why = "it is years behind: certificates of trackers will be refused, dates are wrong";
        return Finding::bad(WHAT, why, "set it, and keep it right: `timedatectl set-ntp true`, or chrony");
    }
    Finding::ok(
        WHAT,
        if synchronized { "kept right by NTP" } else { "plausible; whether NTP keeps it right is not known" },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_judged_by_their_number() {
        use Severity::{Bad, Ok, Warn};
        let cases = [
            ("6.18.0", Ok, "Linux 6.18.0"),
            ("6.1.0-13-amd64", Ok, "from 6.5 on"),
            ("5.8", Ok, "from 6.5 on"),
            ("5.7.19", Bad, "lacks"),
            ("4.19.0-26-amd64", Bad, "lacks"),
            ("10.0-rc1", Ok, "Linux 10.0-rc1"),
            ("strange", Warn, "can't be read"),
            ("", Warn, "can't be read"),
            ("99999999999.1", Warn, "can't be read"),
        ];
        for (release, severity, why) in cases {
            let found = kernel(release);
            assert_eq!(found.severity, severity, "{found:?}");
            assert!(found.why.contains(why), "{found:?}");
            assert_eq!(found.remedy.is_some(), severity != Ok, "{found:?}");
        }
    }

    #[test]
    fn a_clock_that_begins_with_the_machine_is_bad() {
        assert_eq!(clock(0, true).severity, Severity::Bad);
        assert_eq!(clock(-1, false).severity, Severity::Bad);
        assert_eq!(clock(EARLIEST, false).severity, Severity::Ok);
    }

    #[test]
    fn a_finding_says_do_in_json() {
        let json = serde_json::to_value(Finding::bad("clock", "stands", "wind it")).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"what": "clock", "severity": "bad", "why": "stands", "do": "wind it"})
        );
        let ok = serde_json::to_value(Finding::ok("clock", "runs")).unwrap();
        assert!(ok["do"].is_null());
    }
}
