//! Tests of reading and writing rates, sizes and durations.
use proptest::prelude::*;

use super::*;

#[test]
fn rates_are_read_with_and_without_units() {
    for (text, bytes) in [
        ("0", 0),
        ("0 B/s", 0),
        ("20", 20_000),
        ("1.5", 1500),
        ("20 KB/s", 20_000),
        ("20 MB/s", 20_000_000),
        ("20MB/s", 20_000_000),
        ("1 MiB/s", 1 << 20),
        ("1.3 MiB/s", 1_363_149),
        ("500000 B/s", 500_000),
        ("20M", 20_000_000),
        ("20 mb/s", 20_000_000),
        (" 2  kib/s ", 2048),
        ("7 B", 7),
    ] {
        assert_eq!(text.parse(), Ok(Rate(bytes)), "{text}");
    }
}

#[test]
fn sizes_and_periods_are_read_with_and_without_units() {
    for (text, bytes) in
        [("1 MiB", 1 << 20), ("20 GB", 20_000_000_000), ("512", 512), ("0", 0), ("2Ti", 2 << 40)]
    {
        assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
    }
    for (text, secs) in [
        ("10 min", 600),
        ("10m", 600),
        ("90", 90),
        ("1 h 30 min", 5400),
        ("1h30m", 5400),
        ("1.5 h", 5400),
        ("2 weeks", 1_209_600),
        ("1 day", 86_400),
        ("0", 0),
    ] {
        assert_eq!(text.parse(), Ok(Period(secs)), "{text}");
    }
}

#[test]
fn what_is_no_quantity_is_refused_with_the_reason() {
    for text in ["-5", " - 5 MB/s", "-.5", "\u{2212}5"] {
        assert!(matches!(text.parse::<Rate>(), Err(BadUnit::Negative { .. })), "{text}");
        assert!(matches!(text.parse::<Size>(), Err(BadUnit::Negative { .. })), "{text}");
        assert!(matches!(text.parse::<Period>(), Err(BadUnit::Negative { .. })), "{text}");
    }
    for text in ["", "MB/s", "-", "--up", "x", ".5", "5.", "1.2.3", "∞"] {
        assert!(
            matches!(text.parse::<Rate>(), Err(BadUnit::NoNumber { .. } | BadUnit::UnknownUnit { .. })),
            "{text}"
        );
        assert!(text.parse::<Size>().is_err(), "{text}");
        assert!(text.parse::<Period>().is_err(), "{text}");
    }
    for text in ["5 parsecs", "5 MB/h", "5 M B/s", "5 MB/s x", "5 KiBs"] {
        assert!(matches!(text.parse::<Rate>(), Err(BadUnit::UnknownUnit { .. })), "{text}");
    }
    for text in ["5 Mb/s", "5 Kb/s", "5 Mbit/s", "5 mbps"] {
        assert!(matches!(text.parse::<Rate>(), Err(BadUnit::Bits { .. })), "{text}");
    }
    for text in ["20000000000 GB", "99999999999999999999999999", "18446744073709551616 B"] {
        assert!(matches!(text.parse::<Size>(), Err(BadUnit::TooLarge { .. })), "{text}");
    }
    assert!("5 MB/s".parse::<Size>().is_err());
    let error = "5 parsecs".parse::<Period>().unwrap_err().to_string();
    assert!(error.contains("parsecs") && error.contains("10 min"), "{error}");
}

#[test]
fn toml_and_json_numbers_mean_what_bare_text_means() {
    assert_eq!(serde_json::from_str::<Rate>("20").unwrap(), Rate(20_000));
    assert_eq!(serde_json::from_str::<Rate>("1.5").unwrap(), Rate(1500));
    assert_eq!(serde_json::from_str::<Size>("20").unwrap(), Size(20));
    assert_eq!(serde_json::from_str::<Period>("\"2 h\"").unwrap(), Period(7200));
    assert!(serde_json::from_str::<Rate>("-1").is_err());
    assert_eq!(serde_json::to_string(&Rate(20_000)).unwrap(), "\"20 KB/s\"");
}

#[test]
fn exact_text_uses_the_shortest_exact_unit() {
    for (bytes, text) in
        [(0, "0 B"), (1, "1 B"), (1500, "1500 B"), (2048, "2 KiB"), (3_000_000, "3 MB"), (1 << 30, "1 GiB")]
    {
        assert_eq!(Size(bytes).to_string(), text);
    }
    assert_eq!(Period(5400).to_string(), "90 min");
    assert_eq!(Period(0).to_string(), "0 s");
}

#[test]
fn human_quantities_keep_three_digits() {
    for (bytes, text) in [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 KB"),
        (9_994, "9.99 KB"),
        (9_996, "10.0 KB"),
        (999_499, "999 KB"),
        (999_500, "1.00 MB"),
        (u64::MAX, "18.4 EB"),
    ] {
        assert_eq!(human_bytes(bytes), text, "{bytes}");
    }
    for (secs, text) in
        [(0, "0s"), (59, "59s"), (60, "1m"), (200, "3m 20s"), (7500, "2h 5m"), (273_600, "3d 4h")]
    {
        assert_eq!(human_secs(secs), text, "{secs}");
    }
}

proptest! {
    #[test]
    fn every_value_reads_back_as_itself(value: u64) {
        prop_assert_eq!(Rate(value).to_string().parse(), Ok(Rate(value)));
        prop_assert_eq!(Size(value).to_string().parse(), Ok(Size(value)));
        prop_assert_eq!(Period(value).to_string().parse(), Ok(Period(value)));
    }

    #[test]
    fn round_values_read_back_as_themselves(value in 0_u64..5000, unit in 0_usize..8) {
        let value = value * PREFIXES[unit].1;
        prop_assert_eq!(Rate(value).to_string().parse(), Ok(Rate(value)));
    }

    #[test]
    fn no_text_makes_the_readers_panic(text: String) {
        let _ = (text.parse::<Rate>(), text.parse::<Size>(), text.parse::<Period>());
    }
}
