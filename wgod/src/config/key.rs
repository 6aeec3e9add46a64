//! One setting as data: its name, doc comment, effect and how it is read and written.
//!
//! [`settings!`] turns one declaration into a field of a typed struct and a [`Key`], so that neither
//! can be there without the other.
use std::ops::RangeInclusive;

use super::Config;
use super::problem::Fault;
use super::setting::{Raw, Refused, Setting};
use super::settings::KEYS;
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

/// A setting.
pub struct Key {
    /// The table of the file it belongs to.
    pub section: &'static str,
    /// Its name within the section.
    pub field: &'static str,
    /// The lines of its doc comment.
    pub doc: &'static [&'static str],
    /// When a change of it counts.
    pub effect: Effect,
    pub(super) assign: fn(&mut Config, &Raw) -> Result<(), Refused>,
    /// Its value in TOML's notation.
    pub text: fn(&Config) -> String,
    pub(super) copy: fn(&mut Config, &Config),
    pub(super) allowed: fn() -> String,
}

/// Position of a key in [`KEYS`], which is also the order of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(usize);

impl KeyId {
    /// Every key, in the order of the file.
    pub fn all() -> impl Iterator<Item = KeyId> {
        (0..KEYS.len()).map(KeyId)
    }

    /// The key named `section.field`.
    pub fn find(name: &str) -> Option<KeyId> {
        let (section, field) = name.split_once('.')?;
        Self::all().find(|id| id.key().section == section && id.key().field == field)
    }

    /// What is known of it.
    pub fn key(self) -> &'static Key {
        // Only this module makes a KeyId, and only from the length of KEYS.
        &KEYS[self.0]
    }

    /// `section.field`.
    pub fn name(self) -> String {
        format!("{}.{}", self.key().section, self.key().field)
    }

    /// Reads `raw` into this key of `config`, or says why it can't be.
    pub(super) fn assign(self, config: &mut Config, raw: &Raw) -> Result<(), Fault> {
        let key = self.key();
        let before = (key.text)(config);
        if key.effect == Effect::Unbuilt && raw.is_off() {
            return Ok(());
        }
        let refuse = |refused: Refused| {
            let detail = refused.detail.map(|detail| format!(" ({detail})")).unwrap_or_default();
            Fault::Value { found: raw.to_string(), allowed: (key.allowed)() + &detail }
        };
        (key.assign)(config, raw).map_err(refuse)?;
        if key.effect == Effect::Unbuilt && (key.text)(config) != before {
            return Err(Fault::Unbuilt { found: raw.to_string(), allowed: before });
        }
        Ok(())
    }

    /// Whether `raw` would be taken, whatever else is set.
    pub(super) fn check(self, raw: &Raw) -> Result<(), Fault> {
        self.assign(&mut Config::default(), raw)
    }
}

/// Why there is no setting `section.field`, with the nearest one that there is.
pub(super) fn unknown(section: &str, field: &str) -> Fault {
    let fields = KEYS.iter().filter(|key| key.section == section).map(|key| key.field);
    let near = nearest(field, fields).map(|field| format!("{section}.{field}"));
    let elsewhere = || KEYS.iter().find(|key| key.field == field).map(|k| format!("{}.{field}", k.section));
    let names: Vec<_> = KeyId::all().map(KeyId::name).collect();
    let full = || nearest(&format!("{section}.{field}"), names.iter().map(String::as_str)).map(String::from);
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

/// Declares sections and settings: `[effect] name: Type = default, within range;`.
macro_rules! settings {
    ($(
        $(#[doc = $section_doc:literal])*
        $section:ident: $Section:ident {
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
            $($(#[doc = $section_doc])* pub $section: $Section,)*
        }

        /// Every setting as data, in the order of the file.
        pub static KEYS: &[Key] = &[$($(
            Key {
                section: stringify!($section),
                field: stringify!($field),
                doc: &[$($doc),*],
                effect: Effect::$effect,
                assign: |config, raw| {
                    config.$section.$field = settings!(@parse $ty, raw $(, $range)?)?;
                    Ok(())
                },
                text: |config| Setting::to_toml(&config.$section.$field),
                copy: |to, from| to.$section.$field = from.$section.$field.clone(),
                allowed: || settings!(@allowed $ty $(, $range)?),
            },
        )*)*];

        /// The tables of the file, each with the lines of its doc comment.
        pub static SECTIONS: &[(&str, &[&str])] =
            &[$((stringify!($section), &[$($section_doc),*]),)*];
    };
    (@parse $ty:ty, $raw:ident) => { <$ty as Setting>::parse($raw) };
    (@parse $ty:ty, $raw:ident, $range:expr) => { $crate::config::key::parse_within::<$ty>($raw, &$range) };
    (@allowed $ty:ty) => { <$ty as Setting>::allowed() };
    (@allowed $ty:ty, $range:expr) => { $crate::config::key::allowed_within::<$ty>(&$range) };
}
pub(super) use settings;
