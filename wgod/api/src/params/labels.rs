//! Parameters of `label`.
use serde::{Deserialize, Serialize};

use crate::error::{ApiError, Kind};
use crate::labels;

/// Parameters of `label`: either `set`, or `add` and `remove`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelParams {
    /// Info-hashes, unique prefixes of them, or exact names.
    pub ids: Vec<String>,
    /// Every torrent. Not together with `ids`.
    pub all: bool,
    /// Labels to give. One that a torrent has already is fine.
    pub add: Vec<String>,
    /// Labels to take away. One that a torrent doesn't have is fine.
    pub remove: Vec<String>,
    /// The labels to have from now on, and no others; empty takes all away.
    pub set: Option<Vec<String>>,
}

impl LabelParams {
    /// Checks that it says what to do, without contradicting itself, and that what is given are labels.
    ///
    /// # Errors
    /// [`Kind::BadRequest`].
    pub fn check(&self) -> Result<(), ApiError> {
        let refuse = |why: String| Err(ApiError::new(Kind::BadRequest, why));
        if let Some(set) = &self.set {
            if !self.add.is_empty() || !self.remove.is_empty() {
                return refuse("give either `set`, or `add` and `remove`".to_owned());
            }
            labels::distinct(set)?;
        } else if self.add.is_empty() && self.remove.is_empty() {
            return refuse("no label named: give `add`, `remove` or `set`".to_owned());
        }
        if let Some(both) = self.add.iter().find(|label| self.remove.contains(label)) {
            return refuse(format!("{both:?} is to be added and removed"));
        }
        labels::distinct(&self.add)?;
        // What earlier versions took for labels can be taken away.
        Ok(())
    }

    /// The labels of a torrent that has these `now`.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] when they would be too many.
    pub fn apply(&self, now: &[String]) -> Result<Vec<String>, ApiError> {
        if let Some(set) = &self.set {
            return labels::distinct(set);
        }
        let stay = now.iter().filter(|label| !self.remove.contains(label)).cloned();
        let mut labels: Vec<String> = stay.collect();
        let before = labels.len();
        for label in &self.add {
            if !labels.contains(label) {
                labels.push(label.clone());
            }
        }
        // More than the most, from an earlier version, may become fewer.
        if labels.len() > before && labels.len() > labels::MAX_LABELS {
            let (most, had) = (labels::MAX_LABELS, now.len());
            let why = format!("a torrent has {most} labels at most, and it has {had}; remove some first");
            return Err(ApiError::new(Kind::BadRequest, why));
        }
        Ok(labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(add: &[&str], remove: &[&str], set: Option<&[&str]>) -> LabelParams {
        let owned = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect();
        LabelParams { add: owned(add), remove: owned(remove), set: set.map(owned), ..LabelParams::default() }
    }

    #[test]
    fn labels_come_and_go_and_are_each_there_once() {
        let now = ["a".to_owned(), "b".to_owned()];
        for (params, want) in [
            (params(&["c", "a"], &[], None), &["a", "b", "c"][..]),
            (params(&["c"], &["a", "x"], None), &["b", "c"]),
            (params(&[], &[], Some(&["z", "z"])), &["z"]),
            (params(&[], &[], Some(&[])), &[]),
        ] {
            params.check().unwrap();
            assert_eq!(params.apply(&now).unwrap(), want, "{params:?}");
        }
        let full: Vec<String> = (0..32).map(|i| i.to_string()).collect();
        let error = params(&["x"], &[], None).apply(&full).unwrap_err();
        assert!(error.message.contains("32 labels at most, and it has 32"), "{}", error.message);
        assert_eq!(params(&["x"], &["0"], None).apply(&full).unwrap().len(), 32);
        let too_many: Vec<String> = (0..40).map(|i| i.to_string()).collect();
        assert_eq!(params(&[], &["0"], None).apply(&too_many).unwrap().len(), 39);
    }

    #[test]
    fn what_says_nothing_or_contradicts_itself_is_refused() {
        for (params, why) in [
            (params(&[], &[], None), "no label named"),
            (params(&["a"], &[], Some(&["b"])), "either `set`"),
            (params(&["a"], &["a"], None), "to be added and removed"),
            (params(&["a,b"], &[], None), "commas"),
            (params(&[], &[], Some(&["a\u{7f}"])), "control"),
        ] {
            let error = params.check().unwrap_err();
            assert!(error.message.contains(why), "{params:?}: {}", error.message);
        }
    }
}
