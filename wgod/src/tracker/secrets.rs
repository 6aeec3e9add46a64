//! Passkeys in what a tracker says: "unknown passkey 0123…" must not carry them into logs and answers.
use reqwest::Url;
use wgo_proto::tracker::TrackerError as Answer;
use wgo_proto::tracker::http::query_pairs;

use super::TrackerError;

/// Shorter parts of a URL are words or numbers, not keys; in a text they would be cut out of others.
const SHORTEST: usize = 8;

/// What stands for a secret.
const HIDDEN: &str = "…";

/// The text without those parts of the tracker's URL that may be secret: user, path and query.
pub(super) fn without(text: String, url: &str) -> String {
    let secrets = of(url);
    secrets.iter().fold(text, |text, secret| text.replace(secret.as_str(), HIDDEN))
}

/// The failure without them.
pub(super) fn without_in(failure: TrackerError, url: &str) -> TrackerError {
    let clean = |text| without(text, url);
    let answer = match failure {
        TrackerError::Answer(answer) => answer,
        other => return other,
    };
    TrackerError::Answer(match answer {
        Answer::Refused { reason, retry } => Answer::Refused { reason: clean(reason), retry },
        Answer::Nonsense { error, start } => Answer::Nonsense { error, start: clean(start) },
        Answer::NotDict { start } => Answer::NotDict { start: clean(start) },
        other => other,
    })
}

/// The longest first, as one may be a part of another.
fn of(url: &str) -> Vec<String> {
    let Ok(parsed) = Url::parse(url) else { return Vec::new() };
    let path = parsed.path().split('/').map(str::to_owned);
    let query = query_pairs(url).filter_map(|(_, value)| String::from_utf8(value).ok());
    let user = [parsed.username(), parsed.password().unwrap_or_default()].map(str::to_owned);
    let word = |part: &String| part.starts_with("announce") || part.starts_with("scrape");
    let mut secrets: Vec<String> =
        path.chain(query).chain(user).filter(|part| part.len() >= SHORTEST && !word(part)).collect();
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_loses_the_passkey_and_nothing_else() {
        for (url, text, left) in [
            ("http://t.example/0123456789abcdef/announce", "no 0123456789abcdef", "no …"),
            ("http://t.example/announce?passkey=0123456789&x=1", "1: bad key 0123456789!", "1: bad key …!"),
            ("http://t.example/announce?passkey=%30123456789", "bad key 0123456789", "bad key …"),
            ("http://t.example/announce.php", "announce.php is gone", "announce.php is gone"),
            ("http://someuser:somepassword@t.example/", "someuser, somepassword?", "…, …?"),
            ("http://t.example/12345678/12345678abc", "12345678abc or 12345678", "… or …"),
            ("udp://t.example:1/12345678", "no 12345678", "no …"),
            ("not a URL", "text", "text"),
        ] {
            assert_eq!(without(text.into(), url), left, "{url}");
        }
    }
}
