//! What a label may be, and how many a torrent may have. Both ends ask here.
use crate::error::{ApiError, Kind};

/// Longest label, in bytes of UTF-8.
pub const MAX_LABEL_LEN: usize = 100;

/// Labels of one torrent at most.
pub const MAX_LABELS: usize = 32;

/// Checks one label: text that isn't empty, begins and ends with no space, and has neither control characters
/// (which act on terminals) nor commas (which separate labels on command lines and in lists).
///
/// # Errors
/// [`Kind::BadRequest`], saying what is wrong with it.
pub fn check(label: &str) -> Result<(), ApiError> {
    let why = if label.is_empty() {
        "a label can't be empty".to_owned()
    } else if label.len() > MAX_LABEL_LEN {
        format!("a label has {MAX_LABEL_LEN} bytes at most, and this one {}", label.len())
    } else if label.chars().any(char::is_control) {
        format!("{label:?} can't be a label: it has control characters")
    } else if label.contains(',') {
        format!("{label:?} can't be a label: commas separate labels")
    } else if label.trim() != label {
        format!("{label:?} can't be a label: it begins or ends with a space")
    } else {
        return Ok(());
    };
    Err(ApiError::new(Kind::BadRequest, why))
}

/// The labels in their order, each once.
///
/// # Errors
/// As [`check`]; and when there are more than [`MAX_LABELS`].
pub fn distinct<'a>(labels: impl IntoIterator<Item = &'a String>) -> Result<Vec<String>, ApiError> {
    let mut kept: Vec<String> = Vec::new();
    for label in labels {
        if kept.contains(label) {
            continue;
        }
        check(label)?;
        if kept.len() == MAX_LABELS {
            let why = format!("a torrent has {MAX_LABELS} labels at most; remove some first");
            return Err(ApiError::new(Kind::BadRequest, why));
        }
        kept.push(label.clone());
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_terminals_or_separates_is_no_label() {
        for good in ["tv", "Linux ISOs", "ü/ß", "a=b", &"x".repeat(100)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("", "empty"),
            ("a\u{1b}[31m", "control characters"),
            ("a\n", "control characters"),
            ("a\u{85}b", "control characters"),
            ("tv,films", "commas separate"),
            (" tv", "begins or ends"),
            ("tv\u{a0}", "begins or ends"),
            (&"ü".repeat(51), "100 bytes at most, and this one 102"),
        ] {
            let error = check(bad).unwrap_err();
            assert_eq!(error.kind(), Kind::BadRequest);
            assert!(error.message.contains(why), "{bad:?}: {}", error.message);
            assert!(!error.message.contains(char::is_control), "{bad:?}");
        }
    }

    #[test]
    fn a_torrent_has_each_label_once_and_not_too_many() {
        let labels = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
        let twice = ["b".to_owned(), "a".to_owned(), "b".to_owned()];
        assert_eq!(distinct(&twice).unwrap(), ["b", "a"]);
        let most = labels(MAX_LABELS);
        assert_eq!(distinct(most.iter().chain(&most)).unwrap(), most);
        let error = distinct(&labels(MAX_LABELS + 1)).unwrap_err();
        assert!(error.message.contains("32 labels at most"), "{}", error.message);
        assert!(distinct(&["".to_owned()]).is_err());
    }
}
