//! What is wrong with a configuration, said so that the operator can fix it.
use std::fmt;

use super::layers::Origin;

/// What is wrong with one value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The text isn't TOML.
    #[error("{0}")]
    Syntax(String),
    /// There is no such setting.
    #[error("no such setting{}", meant.as_ref().map(|name| format!("; did you mean {name}?")).unwrap_or_default())]
    Unknown {
        /// The nearest name that there is.
        meant: Option<String>,
    },
    /// There is no such section.
    #[error("no such section{}; there are {all}", meant.as_ref().map(|name| format!("; did you mean [{name}]?")).unwrap_or_default())]
    UnknownSection {
        /// The nearest name that there is.
        meant: Option<String>,
        /// All sections.
        all: String,
    },
    /// The value has the wrong type or is out of bounds.
    #[error("{found} can't be used; allowed is {allowed}")]
    Value {
        /// What was written.
        found: String,
        /// What may be written, and what is wrong in particular.
        allowed: String,
    },
    /// The value asks for a feature that is to come.
    #[error("{found} is not available in this version; allowed is {allowed}")]
    Unbuilt {
        /// What was written.
        found: String,
        /// The default.
        allowed: String,
    },
    /// Two values exclude each other.
    #[error("{0}")]
    Conflict(String),
}

/// A fault, where it is and which setting it concerns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// File and line, variable or argument.
    pub origin: Origin,
    /// `section.field`, `section`, or empty when the text can't be read at all.
    pub key: String,
    /// What is wrong.
    pub fault: Fault,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem { origin, key, fault } = self;
        match key.as_str() {
            "" => write!(f, "{origin}: {fault}"),
            key => write!(f, "{origin}: {key}: {fault}"),
        }
    }
}

/// Everything that is wrong, one line each; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl Problems {
    /// `value` when nothing is wrong.
    pub(super) fn none_or<T>(problems: Vec<Problem>, value: T) -> Result<T, Problems> {
        if problems.is_empty() { Ok(value) } else { Err(Problems(problems)) }
    }
}
