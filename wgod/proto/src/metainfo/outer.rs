//! The keys of a torrent beside `info` and `piece layers`: trackers, web seeds, nodes and remarks. None is
//! vital, so a value of a wrong kind counts as absent.
use crate::bencode::{Dict, Encoder, Value, vetted};
use crate::host_port::HostPort;
use crate::urls;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// The keys read here, in ascending order.
const KEYS: [&str; 9] = [
    "announce",
    "announce-list",
    "comment",
    "comment.utf-8",
    "created by",
    "creation date",
    "httpseeds",
    "nodes",
    "url-list",
];

/// The last second of the year 9999; what lies beyond is a mistake, and breaks formatting.
const LAST_CREATION_DATE: i64 = 253_402_300_799;

/// What is read from the keys.
#[derive(Debug, Default)]
pub(super) struct Outer {
    pub(super) tiers: Vec<Vec<String>>,
    pub(super) web_seeds: Vec<String>,
    pub(super) http_seeds: Vec<String>,
    pub(super) nodes: Vec<HostPort>,
    pub(super) comment: Option<String>,
    pub(super) created_by: Option<String>,
    pub(super) creation_date: Option<i64>,
}

/// The keys as `serde_bencode` reads them.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Keys {
    announce: Loose,
    #[serde(rename = "announce-list")]
    announce_list: Loose,
    comment: Loose,
    #[serde(rename = "comment.utf-8")]
    comment_utf8: Loose,
    #[serde(rename = "created by")]
    created_by: Loose,
    #[serde(rename = "creation date")]
    creation_date: Loose,
    httpseeds: Loose,
    nodes: Loose,
    #[serde(rename = "url-list")]
    url_list: Loose,
}

/// A value of any kind.
#[derive(Default)]
enum Loose {
    #[default]
    Other,
    Int(i64),
    Text(String),
    List(Vec<Loose>),
}

impl Outer {
    /// Reads the outer dictionary.
    ///
    /// `serde_bencode` copies each string and takes no key that is not UTF-8, so it gets a dictionary of
    /// the known keys only, never `info`, `piece layers` or what strangers add.
    pub(super) fn read(torrent: Dict<'_>) -> Outer {
        let mut known: [Option<Value<'_>>; KEYS.len()] = [None; KEYS.len()];
        for (key, value) in torrent.iter() {
            if let Ok(index) = KEYS.binary_search_by(|known| known.as_bytes().cmp(key)) {
                known[index].get_or_insert(value);
            }
        }
        let mut bytes = Vec::new();
        Encoder::new(&mut bytes).dict(|dict| {
            for (key, value) in KEYS.iter().zip(known) {
                if let Some(value) = value {
                    dict.entry(key).raw(value.raw());
                }
            }
        });
        vetted::<Keys>(&bytes).map(Outer::from).unwrap_or_default()
    }
}

impl From<Keys> for Outer {
    fn from(keys: Keys) -> Outer {
        let mut tiers = urls::tiers(keys.announce_list.items().map(Loose::texts));
        if tiers.is_empty() {
            tiers = urls::tiers([keys.announce.texts()]);
        }
        let creation_date = match keys.creation_date {
            Loose::Int(date @ 0..=LAST_CREATION_DATE) => Some(date),
            _ => None,
        };
        Outer {
            tiers,
            web_seeds: urls::web_seeds(keys.url_list.texts()),
            http_seeds: urls::web_seeds(keys.httpseeds.texts()),
            nodes: keys.nodes.items().filter_map(Loose::node).collect(),
            comment: keys.comment_utf8.text().or(keys.comment.text()),
            created_by: keys.created_by.text(),
            creation_date,
        }
    }
}

impl Loose {
    fn text(self) -> Option<String> {
        match self {
            Loose::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// The strings of a list, or the one string where a list could be (BEP 19 allows both).
    fn texts(&self) -> impl Iterator<Item = &str> {
        let alone = std::slice::from_ref(self);
        let items = if let Loose::List(items) = self { items } else { alone };
        items.iter().filter_map(|item| match item {
            Loose::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    fn items(&self) -> impl Iterator<Item = &Loose> {
        let items = if let Loose::List(items) = self { items.as_slice() } else { &[] };
        items.iter()
    }

    /// A node as BEP 5 has it: a list of host and port.
    fn node(&self) -> Option<HostPort> {
        match self {
            Loose::List(parts) => match parts.as_slice() {
                [Loose::Text(host), Loose::Int(port)] => HostPort::new(host, u16::try_from(*port).ok()?),
                _ => None,
            },
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseVisitor)
    }
}

struct LooseVisitor;

impl<'de> Visitor<'de> for LooseVisitor {
    type Value = Loose;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any bencoded value")
    }

    fn visit_i64<E>(self, value: i64) -> Result<Loose, E> {
        Ok(Loose::Int(value))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Loose, E> {
        Ok(Loose::Text(String::from_utf8_lossy(value).into_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Loose, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Loose::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Loose, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Loose::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bencode;

    /// What is read from the entries, whose values are bencoded.
    fn read(entries: &[(&str, &[u8])]) -> Outer {
        let mut torrent = Vec::new();
        Encoder::new(&mut torrent).dict(|dict| {
            dict.entry(b"\x01\xff").list(|_| ());
            entries.iter().for_each(|(key, value)| dict.entry(key).raw(value));
            dict.entry(b"zz\xff").int(0);
        });
        Outer::read(bencode::parse(&torrent).unwrap().as_dict().unwrap())
    }

    #[test]
    fn tiers_come_from_announce_list_else_from_announce() {
        let announce = ("announce", &b"9:http://a/"[..]);
        let nested = read(&[announce, ("announce-list", b"ll9:http://b/10:udp://c:80el8:wss://d/ee")]);
        assert_eq!(nested.tiers, [["http://b/", "udp://c:80"]]);
        let unusable = read(&[announce, ("announce-list", b"ll8:wss://b/ee")]);
        assert_eq!(unusable.tiers, [["http://a/"]]);
        let flat = read(&[announce, ("announce-list", b"l9:http://b/9:http://c/e")]);
        assert_eq!(flat.tiers, [["http://b/"], ["http://c/"]]);
        assert_eq!(read(&[announce]).tiers, [["http://a/"]]);
    }

    #[test]
    fn values_of_a_wrong_kind_count_as_absent_and_harm_no_other() {
        let odd = read(&[
            ("announce", b"i1e"),
            ("announce-list", b"d1:\xff1:ae"),
            ("comment", b"le"),
            ("created by", b"2:a\xff"),
            ("creation date", b"i-1e"),
            ("httpseeds", b"i4e"),
            ("nodes", b"l1:ali1ei2ee1:bl1:hi0eel1:hi65536eel0:i1eee"),
            ("url-list", b"ll0:ee"),
        ]);
        assert!(
            odd.tiers.is_empty()
                && odd.http_seeds.is_empty()
                && odd.web_seeds.is_empty()
                && odd.nodes.is_empty()
        );
        assert_eq!((odd.comment, odd.creation_date), (None, None));
        assert_eq!(odd.created_by.as_deref(), Some("a\u{fffd}"));
        assert_eq!(read(&[("creation date", b"i253402300800e")]).creation_date, None);
    }

    #[test]
    fn every_key_is_read() {
        let outer = read(&[
            ("comment", b"3:old"),
            ("comment.utf-8", b"3:new"),
            ("created by", b"2:me"),
            ("creation date", b"i1359599503e"),
            ("httpseeds", b"l9:http://a/e"),
            ("nodes", b"ll9:192.0.2.1i6881eel11:2001:db8::1i1eee"),
            ("url-list", b"9:http://b/"),
        ]);
        assert_eq!((outer.comment.as_deref(), outer.created_by.as_deref()), (Some("new"), Some("me")));
        assert_eq!(outer.creation_date, Some(1_359_599_503));
        assert_eq!((outer.http_seeds, outer.web_seeds), (vec!["http://a/".into()], vec!["http://b/".into()]));
        let nodes: Vec<String> = outer.nodes.iter().map(HostPort::to_string).collect();
        assert_eq!(nodes, ["192.0.2.1:6881", "[2001:db8::1]:1"]);
    }
}
