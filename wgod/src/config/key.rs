//! One setting as data: its name, doc comment, effect and how it is read and written.
//!
//! [`settings!`] turns one declaration into a field of a typed struct and a [`Key`], so that neither
//! can be there without the other.
use std::cmp::Ordering;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::Config;
use super::names::Names;
use super::problem::Fault;
use super::setting::{Raw, Refused, Setting, toml_key};
use super::settings::{KEYS, SECTIONS};
use wgo_api::suggest::nearest;

/// When a changed value begins to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// At once, by `reload` or through the control socket.
    Now,
    /// At the next start of the daemon.
    Restart,
    /// Never yet: the feature is to come, only its "off" is taken.
    Unbuilt,
}

/// A table of the file.
pub struct Section {
    /// Its name.
    pub name: &'static str,
    /// The lines of its doc comment.
    pub doc: &'static [&'static str],
    /// There is one for each name of these, as in `[labels.NAME]`; `None`: there is one.
    pub names: Option<&'static Names>,
}

impl Section {
    /// How it is headed in the file, or one of its kind.
    pub fn header(&self) -> String {
        match self.names {
            None => self.name.to_owned(),
            Some(names) => format!("{}.{}", self.name, toml_key(names.example)),
        }
    }
}

/// A setting, or one that there is for each name of a [`Section`].
pub struct Key {
    /// The table of the file it belongs to.
    pub section: &'static str,
    /// Its name within the section.
    pub field: &'static str,
    /// The lines of its doc comment.
    pub doc: &'static [&'static str],
    /// When a change of it counts.
    pub effect: Effect,
    pub(super) assign: fn(&mut Config, &str, &Raw) -> Result<(), Refused>,
    pub(super) text: fn(&Config, &str) -> String,
    pub(super) copy: fn(&mut Config, &Config, &str),
    pub(super) allowed: fn() -> String,
    pub(super) shown: fn(&Raw) -> String,
}

impl Key {
    /// Its default in TOML's notation.
    pub fn default_text(&self) -> String {
        (self.text)(&Config::default(), "")
    }
}

/// A key of [`KEYS`], and whose it is where there is one for each name. In the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyId {
    at: usize,
    of: Option<Arc<str>>,
}

impl Ord for KeyId {
    fn cmp(&self, other: &KeyId) -> Ordering {
        // One name after the other, each with all that is set of it.
        match self.key().section == other.key().section {
            true => (&self.of, self.at).cmp(&(&other.of, other.at)),
            false => self.at.cmp(&other.at),
        }
    }
}

impl PartialOrd for KeyId {
    fn partial_cmp(&self, other: &KeyId) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl KeyId {
    /// Every key that there is once, in the order of the file.
    pub fn all() -> impl Iterator<Item = KeyId> {
        let single = |at: &usize| section(KEYS[*at].section).is_none_or(|section| section.names.is_none());
        (0..KEYS.len()).filter(single).map(|at| KeyId { at, of: None })
    }

    /// The key named `section.field`, or `section.NAME.field`, where a name may be quoted as in TOML.
    pub fn find(name: &str) -> Option<KeyId> {
        let (section_name, rest) = name.split_once('.')?;
        let names = section(section_name)?.names;
        let (of, field) = match names {
            None => (None, rest),
            Some(names) => {
                let (of, field) = rest.rsplit_once('.')?;
                let plain = of.starts_with('"').then(|| super::file::value(of)).flatten();
                let of = plain.as_ref().and_then(Raw::text).unwrap_or(of);
                (Some((names.check)(of).ok()?), field)
            }
        };
        KeyId::of(section_name, of.as_deref(), field)
    }

    /// The key of a section by its field; `of` is the name where there is one for each, in order as
    /// [`Names::check`] gives it.
    pub(super) fn of(section: &str, of: Option<&str>, field: &str) -> Option<KeyId> {
        let at = KEYS.iter().position(|key| key.section == section && key.field == field)?;
        Some(KeyId { at, of: of.map(Arc::from) })
    }

    /// What is known of it.
    pub fn key(&self) -> &'static Key {
        // Only this module makes a KeyId, and only of what is in KEYS.
        &KEYS[self.at]
    }

    /// `section.field`, or `section.NAME.field`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.table(), self.key().field)
    }

    /// The table of the file that it is in: `section`, or `section.NAME`.
    pub fn table(&self) -> String {
        match &self.of {
            None => self.key().section.to_owned(),
            Some(of) => format!("{}.{}", self.key().section, toml_key(of)),
        }
    }

    /// Whose it is, where there is one for each name.
    pub(super) fn owner(&self) -> &str {
        self.of.as_deref().unwrap_or_default()
    }

    /// Its value in TOML's notation.
    pub(super) fn text(&self, config: &Config) -> String {
        (self.key().text)(config, self.owner())
    }

    /// Reads `raw` into this key of `config`, or says why it can't be.
    pub(super) fn assign(&self, config: &mut Config, raw: &Raw) -> Result<(), Fault> {
        let key = self.key();
        let before = self.text(config);
        if key.effect == Effect::Unbuilt && raw.is_off() {
            return Ok(());
        }
        let refuse = |refused: Refused| {
            let detail = refused.detail.map(|detail| format!(" ({detail})")).unwrap_or_default();
            Fault::Value { found: (key.shown)(raw), allowed: (key.allowed)() + &detail }
        };
        (key.assign)(config, self.owner(), raw).map_err(refuse)?;
        if key.effect == Effect::Unbuilt && self.text(config) != before {
            return Err(Fault::Unbuilt { found: (key.shown)(raw), allowed: before });
        }
        Ok(())
    }

    /// Whether `raw` would be taken, whatever else is set.
    pub(super) fn check(&self, raw: &Raw) -> Result<(), Fault> {
        self.assign(&mut Config::default(), raw)
    }
}

/// The name of a key of which there is one for each of the names of a section.
pub fn key_of(section: &str, name: &str, field: &str) -> String {
    format!("{section}.{}.{field}", toml_key(name))
}

/// The section of that name.
pub(super) fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name == name)
}

/// What settings are called elsewhere, and here.
const SYNONYMS: [(&str, &str); 6] = [
    ("upload", "up"),
    ("download", "down"),
    ("seed_time", "time"),
    ("idle_time", "idle"),
    ("then", "action"),
    ("path", "folder"),
];

/// Why there is no setting `table.field`, with the nearest one that there is. `table` is what is written before
/// the field: a section, or one with a name.
pub(super) fn unknown(section: &str, table: &str, field: &str) -> Fault {
    let fields = || KEYS.iter().filter(|key| key.section == section).map(|key| key.field);
    let known = SYNONYMS.iter().find(|(word, ours)| *word == field && fields().any(|name| name == *ours));
    let near = nearest(field, fields()).or(known.map(|(_, ours)| *ours));
    let near = near.map(|field| format!("{table}.{field}"));
    let once: Vec<KeyId> = KeyId::all().collect();
    let elsewhere = || once.iter().find(|id| id.key().field == field).map(KeyId::name);
    let names: Vec<_> = once.iter().map(KeyId::name).collect();
    let full = || nearest(&format!("{table}.{field}"), names.iter().map(String::as_str)).map(String::from);
    Fault::Unknown { meant: near.or_else(elsewhere).or_else(full) }
}

/// [`Setting::parse`], with the value bound to `range`.
pub(super) fn parse_within<T: Setting + PartialOrd>(
    raw: &Raw,
    range: &RangeInclusive<T>,
) -> Result<T, Refused> {
    let value = T::parse(raw)?;
    if range.contains(&value) { Ok(value) } else { Err(Refused::default()) }
}

/// [`Setting::allowed`], with the bounds.
pub(super) fn allowed_within<T: Setting>(range: &RangeInclusive<T>) -> String {
    format!("{}, from {} to {}", T::allowed(), range.start().to_toml(), range.end().to_toml())
}

/// Declares sections and settings: `[effect] name: Type = default, within range;`. Before the section stands
/// `[once]`, or the [`Names`] of which there is one for each.
macro_rules! settings {
    ($(
        $(#[doc = $section_doc:literal])*
        [$count:ident] $section:ident: $Section:ident {
            $(
                $(#[doc = $doc:literal])*
                [$effect:ident] $field:ident: $ty:ty = $default:expr $(, within $range:expr)?;
            )*
        }
    )*) => {
        $(
            $(#[doc = $section_doc])*
            #[derive(Clone, Debug, PartialEq)]
            pub struct $Section {
                $($(#[doc = $doc])* pub $field: $ty,)*
            }

            impl Default for $Section {
                fn default() -> Self {
                    $Section { $($field: $default,)* }
                }
            }
        )*

        /// Every setting, in the sections of the file.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Config {
            $($(#[doc = $section_doc])* pub $section: settings!(@type $count $Section),)*
        }

        /// Every setting as data, in the order of the file.
        pub static KEYS: &[Key] = &[$($(
            Key {
                section: stringify!($section),
                field: stringify!($field),
                doc: &[$($doc),*],
                effect: Effect::$effect,
                assign: |config, of, raw| {
                    let value = settings!(@parse $ty, raw $(, $range)?)?;
                    settings!(@of_mut $count config.$section, of).$field = value;
                    Ok(())
                },
                text: |config, of| Setting::to_toml(&settings!(@of $count config.$section, of).$field),
                copy: |to, from, of| {
                    let value = settings!(@of $count from.$section, of).$field.clone();
                    settings!(@of_mut $count to.$section, of).$field = value;
                },
                allowed: || settings!(@allowed $ty $(, $range)?),
                shown: |raw| <$ty as Setting>::shown(raw),
            },
        )*)*];

        /// The tables of the file.
        pub static SECTIONS: &[Section] = &[$(
            Section {
                name: stringify!($section),
                doc: &[$($section_doc),*],
                names: settings!(@names $count),
            },
        )*];
    };
    (@type once $Section:ident) => { $Section };
    (@type $names:ident $Section:ident) => { std::collections::BTreeMap<String, $Section> };
    (@of once $config:ident.$section:ident, $of:ident) => { { let _ = $of; &$config.$section } };
    (@of $names:ident $config:ident.$section:ident, $of:ident) => {
        $config.$section.get($of).cloned().unwrap_or_default()
    };
    (@of_mut once $config:ident.$section:ident, $of:ident) => { { let _ = $of; &mut $config.$section } };
    (@of_mut $names:ident $config:ident.$section:ident, $of:ident) => {
        $config.$section.entry($of.to_owned()).or_default()
    };
    (@names once) => { None };
    (@names $names:ident) => { Some(&$names) };
    (@parse $ty:ty, $raw:ident) => { <$ty as Setting>::parse($raw) };
    (@parse $ty:ty, $raw:ident, $range:expr) => { $crate::config::key::parse_within::<$ty>($raw, &$range) };
    (@allowed $ty:ty) => { <$ty as Setting>::allowed() };
    (@allowed $ty:ty, $range:expr) => { $crate::config::key::allowed_within::<$ty>(&$range) };
}
pub(super) use settings;
