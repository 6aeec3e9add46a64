//! Which torrent an operator means: by info-hash, by a unique prefix of one, or by exact name.
//!
//! Pure, so that the daemon's look-up and its tests share one definition. Strongest first: a whole
//! info-hash (v1, v2, or v2 truncated to 40 digits) beats everything; an exact name and a prefix of
//! an info-hash count the same, so a torrent *named* like another's hash makes the id ambiguous
//! rather than wrong.
use crate::error::{ApiError, Kind};

/// Shortest prefix of an info-hash that counts. Shorter ones are likelier a typo than a choice.
pub const MIN_PREFIX: usize = 4;

/// Candidates that an ambiguous match lists; further ones are only counted.
pub const MAX_CANDIDATES: usize = 10;

/// A torrent that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate<K> {
    /// What the caller knows it by.
    pub key: K,
    /// Its canonical info-hash.
    pub info_hash: String,
    /// Its name.
    pub name: String,
}

/// What an id names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match<K> {
    /// No torrent.
    None,
    /// This torrent.
    One(K),
    /// Several: the first [`MAX_CANDIDATES`] of them, and how many there are.
    Ambiguous {
        /// The first of them.
        candidates: Vec<Candidate<K>>,
        /// All of them.
        count: usize,
    },
}

/// Looks for the torrents that an id names, one torrent at a time.
#[derive(Clone, Debug)]
pub struct Matcher<'a, K> {
    id: &'a str,
    /// The id in lowercase, if it can be a prefix of an info-hash.
    hex: Option<String>,
    whole: Option<K>,
    found: Vec<Candidate<K>>,
    count: usize,
}

impl<'a, K> Matcher<'a, K> {
    /// Begins to look for `id`, as the operator wrote it. Hexadecimal digits may be in either case.
    pub fn new(id: &'a str) -> Self {
        let is_hex = id.len() >= MIN_PREFIX && id.bytes().all(|b| b.is_ascii_hexdigit());
        Self { id, hex: is_hex.then(|| id.to_ascii_lowercase()), whole: None, found: Vec::new(), count: 0 }
    }

    /// Looks at one torrent. `info_hash` is its canonical hash (40 digits), `v2` its whole v2 hash
    /// (64 digits); both lowercase. A hybrid answers to its truncated v2 hash through `v2`.
    pub fn see(&mut self, key: K, info_hash: &str, v2: Option<&str>, name: &str) {
        let hashes = || std::iter::once(info_hash).chain(v2);
        if let Some(hex) = &self.hex {
            let is_whole = |hash: &str| hash == hex || (hash.len() == 64 && hash.get(..40) == Some(hex));
            if hashes().any(is_whole) {
                self.whole = Some(key);
                return;
            }
        }
        let is_prefix = self.hex.as_deref().is_some_and(|hex| hashes().any(|hash| hash.starts_with(hex)));
        if is_prefix || name == self.id {
            self.count += 1;
            if self.found.len() < MAX_CANDIDATES {
                let (info_hash, name) = (info_hash.to_owned(), name.to_owned());
                self.found.push(Candidate { key, info_hash, name });
            }
        }
    }

    /// What the id names among the torrents seen.
    pub fn finish(mut self) -> Match<K> {
        match (self.whole, self.count) {
            (Some(key), _) => Match::One(key),
            (None, 1) => self.found.pop().map_or(Match::None, |only| Match::One(only.key)),
            (None, 0) => Match::None,
            (None, count) => Match::Ambiguous { candidates: self.found, count },
        }
    }
}

impl<K> Match<K> {
    /// The torrent, or the error that says what else the operator may have meant.
    ///
    /// # Errors
    /// [`Kind::NoMatch`] and [`Kind::Ambiguous`], both naming `id`.
    pub fn one(self, id: &str) -> Result<K, ApiError> {
        match self {
            Match::One(key) => Ok(key),
            Match::None => Err(ApiError::new(Kind::NoMatch, no_match(id)).torrent(id)),
            Match::Ambiguous { candidates, count } => {
                let mut message = format!("{id:?} matches {count} torrents; give more digits of one:");
                for candidate in &candidates {
                    message.push_str(&format!("\n  {}  {}", candidate.info_hash, candidate.name));
                }
                if count > candidates.len() {
                    message.push_str(&format!("\n  and {} more", count - candidates.len()));
                }
                Err(ApiError::new(Kind::Ambiguous, message).torrent(id))
            }
        }
    }
}

fn no_match(id: &str) -> String {
    let short = id.len() < MIN_PREFIX && !id.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit());
    let hint = if short {
        format!("; a prefix of an info-hash takes at least {MIN_PREFIX} digits")
    } else {
        "; `wgoctl list` shows what there is".to_owned()
    };
    format!("no torrent matches {id:?}{hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaa111111111111111111111111111111111111";
    const B: &str = "aaaa222222222222222222222222222222222222";
    const B2: &str = "bbbb3333333333333333333333333333333333334444444444444444444444ff";
    const C: &str = "cccc222222222222222222222222222222222222";

    fn find(id: &str) -> Match<u8> {
        let mut matcher = Matcher::new(id);
        matcher.see(1, A, None, "linux");
        matcher.see(2, B, Some(B2), "twins");
        matcher.see(3, C, None, "twins");
        matcher.see(4, "dddd222222222222222222222222222222222222", None, "cccc22");
        matcher.see(5, "eeee222222222222222222222222222222222222", None, A);
        matcher.finish()
    }

    #[test]
    fn hashes_prefixes_and_names_find_their_torrent() {
        for (id, key) in [
            (A, 1),
            (&A.to_uppercase(), 1),
            ("aaaa1", 1),
            ("AAAA1", 1),
            ("linux", 1),
            (B2, 2),
            (&B2[..40], 2),
            ("bbbb", 2),
            ("dddd", 4),
        ] {
            assert_eq!(find(id), Match::One(key), "{id}");
        }
    }

    #[test]
    fn no_id_is_guessed() {
        for id in ["", "aaa", "Linux", "linu", "ffff", "aaaa11g", &"a".repeat(80)] {
            assert_eq!(find(id), Match::None, "{id}");
            assert_eq!(find(id).one(id).unwrap_err().kind(), Kind::NoMatch);
        }
        let error = find("aaa").one("aaa").unwrap_err();
        assert!(error.message.contains("at least 4 digits"), "{error}");
    }

    #[test]
    fn what_fits_several_is_ambiguous_and_lists_them() {
        for id in ["aaaa", "twins", "cccc22"] {
            let Match::Ambiguous { candidates, count } = find(id) else { panic!("{id} is not ambiguous") };
            assert_eq!((candidates.len(), count), (2, 2));
        }
        let error = find("aaaa").one("aaaa").unwrap_err();
        assert_eq!(error.kind(), Kind::Ambiguous);
        assert!(error.message.contains(A) && error.message.contains("twins"), "{error}");
    }

    #[test]
    fn a_whole_hash_wins_over_a_torrent_of_that_name() {
        assert_eq!(find(A), Match::One(1));
    }

    #[test]
    fn candidates_are_bounded() {
        let mut matcher = Matcher::new("same");
        for i in 0..1000 {
            matcher.see(i, &format!("{i:040x}"), None, "same");
        }
        let error = matcher.finish().one("same").unwrap_err();
        assert!(error.message.contains("1000 torrents") && error.message.contains("990 more"), "{error}");
        assert_eq!(error.message.lines().count(), MAX_CANDIDATES + 2);
    }
}
