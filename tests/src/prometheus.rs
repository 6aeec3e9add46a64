//! Reads Prometheus' text format, version 0.0.4, as strictly as it is specified and by the conventions for
//! names: what a real scraper would let pass is a fault here.
use std::collections::BTreeMap;

/// What a scrape gave: each series, written as in the text, and its value.
#[derive(Clone, Debug, Default)]
pub struct Scrape {
    /// Values by series, such as `wgod_torrents{state="error"}`.
    pub series: BTreeMap<String, f64>,
    /// Types by family.
    pub types: BTreeMap<String, String>,
}

impl Scrape {
    /// Reads a whole text.
    ///
    /// # Panics
    /// At the first line that is not as it should be.
    #[track_caller]
    pub fn read(text: &str) -> Scrape {
        assert!(text.ends_with('\n'), "the last line ends, too");
        let mut scrape = Scrape::default();
        let mut family = String::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            match line.strip_prefix("# HELP ") {
                Some(help) => family = scrape.head(help, lines.next().unwrap_or_default()),
                None => scrape.sample(line, &family),
            }
        }
        for (family, _) in scrape.types.iter().filter(|(_, kind)| *kind == "histogram") {
            scrape.check_histogram(family);
        }
        scrape
    }

    /// The value of a series.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn value(&self, series: &str) -> f64 {
        *self.series.get(series).unwrap_or_else(|| panic!("no {series} among {:#?}", self.series))
    }

    /// The two lines before a family; its name.
    fn head(&mut self, help: &str, kind: &str) -> String {
        let (name, words) = help.split_once(' ').unwrap_or_else(|| panic!("help without words: {help}"));
        assert!(is_name(name), "{name} is a name");
        assert!(words.ends_with('.'), "help is a sentence: {words}");
        let said = kind.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '));
        let (of, kind) = said.unwrap_or_else(|| panic!("{name}: a type follows the help, not {kind}"));
        assert_eq!(of, name, "the type is that of the family");
        assert!(["counter", "gauge", "histogram"].contains(&kind), "{name}: {kind} is a type");
        assert_eq!(
            kind == "counter",
            name.ends_with("_total"),
            "{name}: counters end with _total, nothing else"
        );
        assert!(self.types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} comes once");
        name.to_owned()
    }

    fn sample(&mut self, line: &str, family: &str) {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let histogram = self.types.get(family).is_some_and(|kind| kind == "histogram");
        let suffix = name.strip_prefix(family).unwrap_or_else(|| panic!("{line}: not of {family}"));
        let allowed: &[&str] = if histogram { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(!family.is_empty() && allowed.contains(&suffix), "{line}: not of {family}");
        let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}: labels end with a brace"));
        check_labels(labels, line);
        let value: f64 = value.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(value.is_finite() && value >= 0.0, "{line}: nothing here can be below 0");
        assert!(self.series.insert(series.to_owned(), value).is_none(), "{line}: comes once");
    }

    fn check_histogram(&self, family: &str) {
        let bound = |series: &str| {
            let le = series.strip_prefix(&format!("{family}_bucket{{le=\""))?.strip_suffix("\"}")?;
            Some(if le == "+Inf" { f64::INFINITY } else { le.parse().unwrap() })
        };
        let mut buckets: Vec<(f64, f64)> =
            self.series.iter().filter_map(|(series, count)| Some((bound(series)?, *count))).collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(buckets.is_sorted_by_key(|(_, count)| *count), "{family}: {buckets:?}");
        let count = self.value(&format!("{family}_count"));
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, count)), "{family}");
    }

    /// # Panics
    /// When a counter of `before` is smaller now, or gone.
    #[track_caller]
    pub fn assert_grown_from(&self, before: &Scrape) {
        let counts = |series: &str| {
            let name = series.split('{').next().unwrap_or(series);
            name.ends_with("_total") || name.ends_with("_count") || name.ends_with("_bucket")
        };
        for (series, old) in before.series.iter().filter(|(series, _)| counts(series)) {
            assert!(self.value(series) >= *old, "{series} fell from {old} to {}", self.value(series));
        }
    }
}

/// Names of series and labels, the colons of recording rules left out.
fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_lowercase() || c == '_')
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// `name="value",…`, with the escapes `\\`, `\"` and `\n`.
fn check_labels(mut rest: &str, line: &str) {
    while !rest.is_empty() {
        let (name, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}: no label at {rest}"));
        assert!(is_name(name), "{line}: {name} is a label");
        let mut chars = value.char_indices();
        let end = loop {
            match chars.next() {
                Some((at, '"')) => break at,
                Some((_, '\\')) => {
                    let escape = chars.next().map(|(_, c)| c);
                    assert!(escape.is_some_and(|c| "\\\"n".contains(c)), "{line}: {escape:?} is an escape");
                }
                Some(_) => {}
                None => panic!("{line}: a label has no end"),
            }
        };
        rest = &value[end + 1..];
        if let Some(more) = rest.strip_prefix(',') {
            assert!(!more.is_empty(), "{line}: a comma at the end");
            rest = more;
        } else {
            assert!(rest.is_empty(), "{line}: {rest} after a label");
        }
    }
}
