//! What makes a type usable as a setting, and a value as it was written before its type is known.
use std::fmt;

/// A value as some source gave it, before the type of its key was applied.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    /// `true` or `false` in TOML or JSON.
    Bool(bool),
    /// A whole number in TOML or JSON.
    Int(i64),
    /// A number with a fraction in TOML or JSON.
    Float(f64),
    /// A quoted string in TOML or JSON.
    Text(String),
    /// A list in TOML or JSON.
    List(Vec<Raw>),
    /// A table in TOML, an object in JSON: names and values, in the order of the names.
    Table(Vec<(String, Raw)>),
    /// Text that carries no type of its own: an environment variable, a command line argument.
    Bare(String),
    /// Something that no setting takes; the name of its kind.
    Other(&'static str),
}

impl Raw {
    /// Whether this is one of the ways to say "not at all", which every setting of a feature takes:
    /// `false`, `"off"`, the empty string, the empty list.
    pub fn is_off(&self) -> bool {
        match self {
            Raw::Bool(on) => !on,
            Raw::Text(text) => matches!(text.as_str(), "" | "off"),
            Raw::Bare(text) => matches!(text.as_str(), "" | "off" | "false" | "no"),
            Raw::List(items) => items.is_empty(),
            Raw::Int(_) | Raw::Float(_) | Raw::Table(_) | Raw::Other(_) => false,
        }
    }

    /// The text of a string or of an untyped value.
    pub fn text(&self) -> Option<&str> {
        match self {
            Raw::Text(text) | Raw::Bare(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number, also one written as untyped text.
    pub fn whole(&self) -> Option<i64> {
        match self {
            Raw::Int(n) => Some(*n),
            Raw::Bare(text) => text.trim().parse().ok(),
            _ => None,
        }
    }
}

impl fmt::Display for Raw {
    /// As the operator wrote it, in TOML's notation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raw::Bool(on) => write!(f, "{on}"),
            Raw::Int(n) => write!(f, "{n}"),
            Raw::Float(x) => write!(f, "{x}"),
            Raw::Text(text) | Raw::Bare(text) => f.write_str(&quoted(text)),
            Raw::List(items) => {
                let items: Vec<_> = items.iter().map(Raw::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Raw::Table(fields) => {
                let fields: Vec<_> =
                    fields.iter().map(|(name, raw)| format!("{} = {raw}", toml_key(name))).collect();
                write!(f, "{{ {} }}", fields.join(", "))
            }
            Raw::Other(kind) => write!(f, "a {kind}"),
        }
    }
}

/// A name as a key of TOML, quoted where it has to be.
pub(super) fn toml_key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { quoted(name) }
}

/// `text` as a TOML basic string.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Why a value does not fit its key, beyond what the key allows in general.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Refused {
    /// More precise than "allowed is …", when there is more to say.
    pub(super) detail: Option<String>,
}

impl Refused {
    /// A refusal that says what exactly is wrong.
    pub(super) fn because(detail: impl Into<String>) -> Refused {
        Refused { detail: Some(detail.into()) }
    }
}

/// A type that a setting can have.
pub(super) trait Setting: Sized + Clone + PartialEq {
    /// What may be written, as the end of the sentence "allowed is …".
    fn allowed() -> String;

    /// The value, or why it isn't one of this type.
    fn parse(raw: &Raw) -> Result<Self, Refused>;

    /// The value in TOML's notation; `parse` reads it back unchanged, but for what is secret in it.
    fn to_toml(&self) -> String;

    /// What somebody wrote, as messages may repeat it: without what is secret.
    fn shown(raw: &Raw) -> String {
        raw.to_string()
    }
}
