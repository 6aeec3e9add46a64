//! Reads the text of `wgod.toml` into a layer; every error names file, line and key.
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key::{KeyId, Section, section, unknown};
use super::layers::{Layer, Origin};
use super::names::Names;
use super::problem::{Fault, Problem, Problems};
use super::setting::{Raw, quoted, toml_key};
use super::settings::{KEYS, SECTIONS};
use wgo_api::suggest::nearest;

/// The values that the file sets, or everything that is wrong with it. `path` is for the messages.
pub fn parse(path: &Path, text: &str) -> Result<Layer, Problems> {
    let path: Arc<Path> = path.into();
    let at = |offset: usize| {
        let before = text.as_bytes().get(..offset).unwrap_or_default();
        Origin::File { path: path.clone(), line: 1 + before.iter().filter(|b| **b == b'\n').count() }
    };
    let document = DeTable::parse(text).map_err(|err| {
        let origin = at(err.span().map_or(0, |span| span.start));
        let fault = Fault::Syntax(format!("not valid TOML: {}", err.message().trim().replace('\n', ", ")));
        Problems(vec![Problem { origin, key: String::new(), fault }])
    })?;

    let mut reader = Reader { at: &at, layer: Layer::default(), problems: Vec::new() };
    for (name, value) in document.get_ref() {
        reader.section(name, value);
    }
    let Reader { layer, mut problems, .. } = reader;
    problems.sort_by_key(|problem| match problem.origin {
        Origin::File { line, .. } => line,
        _ => 0,
    });
    Problems::none_or(problems, layer)
}

type Name<'a> = Spanned<Cow<'a, str>>;

/// Takes values, and notes what is wrong.
struct Reader<'a> {
    /// Where in the file an offset is.
    at: &'a dyn Fn(usize) -> Origin,
    layer: Layer,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn refuse(&mut self, name: &Name<'_>, key: String, fault: Fault) {
        self.problems.push(Problem { origin: (self.at)(name.span().start), key, fault });
    }

    fn section(&mut self, name: &Name<'_>, value: &Spanned<DeValue<'_>>) {
        let word = name.get_ref().as_ref();
        match (section(word), value.get_ref()) {
            (None, _) => self.refuse(name, word.into(), unknown_section(word)),
            (Some(kind @ Section { names: Some(names), .. }), DeValue::Table(each)) => {
                self.named_sections(kind, names, each);
            }
            (Some(Section { names: None, .. }), DeValue::Table(fields)) => {
                self.fields(word, None, word, fields);
            }
            (Some(section), _) => {
                let why = format!("this is a section, to be written as [{}]", section.header());
                self.refuse(name, word.into(), Fault::Syntax(why));
            }
        }
    }

    /// The sections of a kind of which there is one for each name.
    fn named_sections(&mut self, kind: &Section, names: &Names, each: &DeTable<'_>) {
        let (section, mut seen) = (kind.name, BTreeSet::new());
        for (name, value) in each {
            let table = format!("{section}.{}", toml_key(name.get_ref()));
            let fault = match ((names.check)(name.get_ref()), value.get_ref()) {
                (_, DeValue::Table(fields)) if let Some(whole) = dotted(name.get_ref(), fields) => {
                    let header = format!("[{section}.{}]", quoted(&whole));
                    Fault::Syntax(format!("a {} with dots in it is put in quotes: {header}", names.what))
                }
                (Ok(name), DeValue::Table(fields)) if seen.insert(name.clone()) => {
                    self.fields(section, Some(&name), &table, fields);
                    continue;
                }
                (Ok(name), DeValue::Table(_)) => {
                    Fault::Syntax(format!("there is a section of {name} already; put them together"))
                }
                (Ok(_), _)
                    if KEYS.iter().any(|key| key.section == section && key.field == name.get_ref()) =>
                {
                    let (what, header) = (names.what, kind.header());
                    Fault::Syntax(format!("it is set for one {what} at a time, below [{header}]"))
                }
                (Ok(_), _) => Fault::Syntax(format!("this is a section, to be written as [{table}]")),
                (Err(why), _) => Fault::Syntax(why),
            };
            self.refuse(name, table, fault);
        }
    }

    /// What is set in one table.
    fn fields(&mut self, section: &str, of: Option<&str>, table: &str, fields: &DeTable<'_>) {
        for (field, value) in fields {
            let origin = (self.at)(field.span().start);
            let word = field.get_ref().as_ref();
            let taken = match KeyId::of(section, of, word) {
                Some(id) => self.layer.insert(id, raw(value), origin),
                None => {
                    let (key, fault) = (format!("{table}.{word}"), unknown(section, table, word));
                    Err(Problem { origin, key, fault })
                }
            };
            self.problems.extend(taken.err());
        }
    }
}

/// The name that was meant where its dots were taken for those between tables: `[trackers.example.org]`.
fn dotted(name: &str, fields: &DeTable<'_>) -> Option<String> {
    let (next, value) = fields.iter().next()?;
    let DeValue::Table(fields) = value.get_ref() else { return None };
    let so_far = format!("{name}.{}", next.get_ref());
    Some(dotted(&so_far, fields).unwrap_or(so_far))
}

/// A key outside of all sections is told where it belongs, a misspelt section its name.
fn unknown_section(name: &str) -> Fault {
    if let Fault::Unknown { meant: Some(meant) } = unknown("", "", name)
        && meant.ends_with(&format!(".{name}"))
    {
        return Fault::Unknown { meant: Some(meant) };
    }
    let all: Vec<_> = SECTIONS.iter().map(|section| format!("[{}]", section.header())).collect();
    let meant = nearest(name, SECTIONS.iter().map(|section| section.name)).map(String::from);
    Fault::UnknownSection { meant, all: all.join(" ") }
}

/// A single value in TOML's notation.
pub(super) fn value(text: &str) -> Option<Raw> {
    DeValue::parse(text).ok().map(|value| raw(&value))
}

fn raw(value: &Spanned<DeValue<'_>>) -> Raw {
    match value.get_ref() {
        DeValue::String(text) => Raw::Text(text.clone().into_owned()),
        DeValue::Boolean(on) => Raw::Bool(*on),
        DeValue::Integer(n) => match i64::from_str_radix(n.as_str(), n.radix()) {
            Ok(n) => Raw::Int(n),
            Err(_) => Raw::Other("number beyond 64 bits"),
        },
        DeValue::Float(x) => x.as_str().parse().map_or(Raw::Other("number beyond 64 bits"), Raw::Float),
        DeValue::Array(items) => Raw::List(items.iter().map(raw).collect()),
        DeValue::Datetime(_) => Raw::Other("date"),
        DeValue::Table(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.get_ref().clone().into_owned(), raw(value)));
            Raw::Table(fields.collect())
        }
    }
}
