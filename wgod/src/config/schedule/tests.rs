//! Schedules: how they are written, and what they say at which time, in zones whose clocks jump.
use super::*;

fn list(entries: &[&str]) -> Raw {
    Raw::List(entries.iter().map(|text| Raw::Text((*text).into())).collect())
}

fn schedule(entries: &[&str]) -> Schedule {
    Schedule::parse(&list(entries)).unwrap()
}

fn zone(name: &str) -> TimeZone {
    // Rules as in TZ, so that no test depends on what the machine knows of zones.
    TimeZone::posix(name).unwrap()
}

const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn entries_are_written_in_one_way_and_read_back() {
    for (text, want) in [
        ("mon-fri 08:00-18:00", "mon-fri 08:00-18:00"),
        ("Monday,  WED , tue 8:00-9:30", "mon-wed 08:00-09:30"),
        ("sat,sun 10:00-02:00", "sat,sun 10:00-02:00"),
        ("fri-mon 00:00-24:00", "mon,fri-sun 00:00-24:00"),
        ("daily 23:59-00:00", "mon-sun 23:59-00:00"),
        ("mon,mon 01:00-02:00", "mon 01:00-02:00"),
    ] {
        let read = schedule(&[text]);
        assert_eq!(read.to_toml(), format!("[\"{want}\"]"), "{text}");
        assert_eq!(schedule(&[want]), read);
    }
    let two = Schedule::parse(&Raw::Bare("mon,tue 08:00-09:00; fri 10:00-11:00".into())).unwrap();
    assert_eq!(two, schedule(&["mon,tue 08:00-09:00", "fri 10:00-11:00"]));
    for off in [Raw::Bool(false), Raw::Text("off".into()), Raw::List(Vec::new())] {
        assert!(Schedule::parse(&off).unwrap().is_empty());
    }
}

#[test]
fn what_is_no_entry_is_refused_with_the_reason() {
    for (text, why) in [
        ("mon-fri", "is not of the form"),
        ("08:00-18:00", "is not of the form"),
        ("mon 08:00", "is not of the form"),
        ("mon 8-18", "\"8\" in \"mon 8-18\" is no time of day"),
        ("mon 08:60-18:00", "\"08:60\""),
        ("mon 08:00-24:01", "\"24:01\""),
        ("mon 08:0-18:00", "\"08:0\""),
        ("mon +8:00-18:00", "\"+8:00\""),
        ("mon 08:00-08:00", "a whole day is 00:00-24:00"),
        ("mon 24:00-08:00", "begins at 24:00"),
        ("funday 08:00-18:00", "\"funday\" in \"funday 08:00-18:00\" is no day: mon, tue"),
        ("mon- 08:00-18:00", "\"\" in"),
        ("", "is not of the form"),
        ("ü 08:00-18:00", "\"ü\""),
    ] {
        let refused = Schedule::parse(&list(&[text])).unwrap_err().detail.unwrap();
        assert!(refused.contains(why), "{text}: {refused}");
    }
    for raw in [Raw::Int(3), Raw::Text("mon 08:00-18:00".into()), Raw::List(vec![Raw::Int(1)])] {
        assert!(Schedule::parse(&raw).is_err(), "{raw}");
    }
}

#[test]
fn entries_that_overlap_are_named_and_those_that_touch_are_fine() {
    for (a, b, day) in [
        ("mon-fri 08:00-18:00", "wed 10:00-12:00", "wed"),
        ("wed 10:00-12:00", "mon-fri 08:00-18:00", "wed"),
        ("mon 22:00-06:00", "tue 05:59-07:00", "tue"),
        ("sun 22:00-06:00", "mon 00:00-01:00", "mon"),
        ("mon 00:00-01:00", "sun 22:00-06:00", "mon"),
        ("daily 00:00-24:00", "sat 12:00-12:01", "sat"),
        ("mon 08:00-09:00", "mon 08:00-09:00", "mon"),
    ] {
        let refused = Schedule::parse(&list(&[a, b])).unwrap_err().detail.unwrap();
        for part in [
            format!("\"{}\" and \"", schedule(&[a]).0[0]),
            format!("\"{}\" overlap on {day}", schedule(&[b]).0[0]),
        ] {
            assert!(refused.contains(&part), "{refused}");
        }
    }
    schedule(&[
        "mon 08:00-12:00",
        "mon 12:00-14:00",
        "sun 22:00-00:00",
        "mon 00:00-01:00",
        "tue 00:00-24:00",
    ]);
}

#[test]
fn it_is_on_from_the_minute_that_it_says_to_the_minute_that_it_says() {
    let office = ["mon-fri 08:00-18:00", "sat,sun 10:00-02:00"];
    let utc = TimeZone::UTC;
    for (entries, now, on, until) in [
        // 2026-11-27 is a Friday.
        (&office[..], "2026-11-27T07:59:59Z", false, Some("2026-11-27T08:00:00Z")),
        (&office, "2026-11-27T08:00:00Z", true, Some("2026-11-27T18:00:00Z")),
        (&office, "2026-11-27T17:59:59.9Z", true, Some("2026-11-27T18:00:00Z")),
        (&office, "2026-11-27T18:00:00Z", false, Some("2026-11-28T10:00:00Z")),
        (&office, "2026-11-28T01:00:00Z", false, Some("2026-11-28T10:00:00Z")),
        (&office, "2026-11-28T23:00:00Z", true, Some("2026-11-29T02:00:00Z")),
        (&office, "2026-11-30T01:59:00Z", true, Some("2026-11-30T02:00:00Z")),
        (&["fri 10:00-11:00"], "2026-11-27T11:00:00Z", false, Some("2026-12-04T10:00:00Z")),
        // What follows at once is no change.
        (&["fri 10:00-11:00", "fri 11:00-12:00"], "2026-11-27T10:30:00Z", true, Some("2026-11-27T12:00:00Z")),
        (&["thu,fri 00:00-24:00"], "2026-11-26T12:00:00Z", true, Some("2026-11-28T00:00:00Z")),
        (&["daily 00:00-24:00"], "2026-11-26T12:00:00Z", true, None),
        (&[], "2026-11-26T12:00:00Z", false, None),
    ] {
        let got = schedule(entries).at(time(now), &utc);
        assert_eq!(got, (on, until.map(time)), "{entries:?} at {now}");
    }
}

#[test]
fn a_clock_that_is_put_forward_or_back_skips_no_switch_and_makes_none_twice() {
    let berlin = zone(BERLIN);
    // On 2026-03-29 02:00 becomes 03:00 (01:00 UTC), on 2026-10-25 03:00 becomes 02:00 (01:00 UTC).
    for (entry, now, on, until) in [
        ("sun 02:30-05:00", "2026-03-29T00:59:59Z", false, "2026-03-29T01:00:00Z"),
        ("sun 02:30-05:00", "2026-03-29T01:00:00Z", true, "2026-03-29T03:00:00Z"),
        ("sun 01:00-02:30", "2026-03-29T00:30:00Z", true, "2026-03-29T01:00:00Z"),
        // Begins and ends in what is left out: a week later then.
        ("sun 02:10-02:50", "2026-03-29T00:00:00Z", false, "2026-04-05T00:10:00Z"),
        ("sun 02:10-02:50", "2026-03-22T02:00:00Z", false, "2026-04-05T00:10:00Z"),
        ("sun 02:30-05:00", "2026-10-25T00:29:59Z", false, "2026-10-25T00:30:00Z"),
        // 02:30 for the second time, 02:45 for the first and the second.
        ("sun 02:30-05:00", "2026-10-25T01:00:00Z", true, "2026-10-25T04:00:00Z"),
        ("sun 02:30-02:45", "2026-10-25T00:30:00Z", true, "2026-10-25T00:45:00Z"),
        ("sun 02:30-02:45", "2026-10-25T01:30:00Z", false, "2026-11-01T01:30:00Z"),
        ("sat 22:00-02:30", "2026-10-25T00:00:00Z", true, "2026-10-25T00:30:00Z"),
        // As long as the night is.
        ("sat 22:00-06:00", "2026-10-24T20:00:00Z", true, "2026-10-25T05:00:00Z"),
        ("sat 22:00-06:00", "2026-03-28T21:00:00Z", true, "2026-03-29T04:00:00Z"),
    ] {
        let got = schedule(&[entry]).at(time(now), &berlin);
        assert_eq!(got, (on, Some(time(until))), "{entry} at {now}");
    }
}

#[test]
fn going_from_change_to_change_meets_each_minute_of_the_year() {
    let berlin = zone(BERLIN);
    let schedule = schedule(&["mon-fri 08:00-18:00", "sat,sun 10:00-02:30", "wed 19:00-24:00"]);
    let end = time("2027-01-04T00:00:00Z");
    let (mut now, mut switches) = (time("2026-01-01T00:00:00Z"), 0);
    let mut was = schedule.at(now, &berlin).0;
    while now < end {
        let (on, until) = schedule.at(now, &berlin);
        let until = until.unwrap();
        assert!(until > now && on == was, "{now}");
        let just_before = until - Days::new().milliseconds(1);
        assert_eq!(schedule.at(just_before, &berlin), (on, Some(until)), "{now}");
        (now, was, switches) = (until, !on, switches + 1);
    }
    // Each entry of each day once on and once off, in 53 weeks less their first days.
    let weeks = 52 * 2 * (5 + 2 + 1);
    assert!((weeks..weeks + 16).contains(&switches), "{switches}");
}

#[test]
fn what_is_set_by_hand_holds_until_the_time_that_it_names() {
    let schedule = schedule(&["fri 08:00-18:00"]);
    let hand = |on, until: Option<&str>| Alternative::ByHand { on, until: until.map(time) };
    let utc = TimeZone::UTC;
    for (alternative, now, want) in [
        (Alternative::Auto, "2026-11-27T12:00:00Z", (true, false, Some("2026-11-27T18:00:00Z"))),
        (hand(false, None), "2026-11-27T12:00:00Z", (false, true, None)),
        (
            hand(false, Some("2026-11-27T18:00:00Z")),
            "2026-11-27T17:59:59Z",
            (false, true, Some("2026-11-27T18:00:00Z")),
        ),
        (
            hand(true, Some("2026-11-27T18:00:00Z")),
            "2026-11-27T18:00:00Z",
            (false, false, Some("2026-12-04T08:00:00Z")),
        ),
        // The daemon was down, or the clock was put forward.
        (
            hand(true, Some("2020-01-01T00:00:00Z")),
            "2026-11-27T09:00:00Z",
            (true, false, Some("2026-11-27T18:00:00Z")),
        ),
    ] {
        let (on, by_hand, until) = want;
        let want = Decision { on, by_hand, until: until.map(time) };
        assert_eq!(alternative.decide(&schedule, time(now), &utc), want, "{alternative} at {now}");
    }
}

#[test]
fn what_is_set_by_hand_is_written_with_its_time_and_read_back() {
    let text = |text: &str| Alternative::parse(&Raw::Text(text.into()));
    for word in ["auto", "on", "off", "on until 2026-11-27T18:00:00Z", "off until 2026-11-27T18:00:00Z"] {
        let read = text(word).unwrap();
        assert_eq!(read.to_toml(), format!("\"{word}\""));
    }
    assert_eq!(Alternative::parse(&Raw::Bool(true)), text("on"));
    assert_eq!(text("on until 2026-11-27T20:00+02"), text("on until 2026-11-27T18:00:00Z"));
    for wrong in ["maybe", "on until", "on until tomorrow", "auto until 2026-11-27T18:00:00Z", "ON"] {
        assert!(text(wrong).is_err(), "{wrong}");
    }
}
