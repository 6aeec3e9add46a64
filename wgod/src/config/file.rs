//! Reads the text of `wgod.toml` into a layer; every error names file, line and key.
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key::{KeyId, unknown};
use super::layers::{Layer, Origin};
use super::problem::{Fault, Problem, Problems};
use super::setting::Raw;
use super::settings::SECTIONS;
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

    let (mut layer, mut problems) = (Layer::default(), Vec::new());
    for (section, value) in document.get_ref() {
        let name = section.get_ref().as_ref();
        let mut refuse =
            |fault| problems.push(Problem { origin: at(section.span().start), key: name.into(), fault });
        match value.get_ref() {
            _ if !SECTIONS.iter().any(|(known, _)| *known == name) => refuse(unknown_section(name)),
            DeValue::Table(fields) => read_section(name, fields, &at, &mut layer, &mut problems),
            _ => refuse(Fault::Syntax(format!("this is a section, to be written as [{name}]"))),
        }
    }
    problems.sort_by_key(|problem| match problem.origin {
        Origin::File { line, .. } => line,
        _ => 0,
    });
    Problems::none_or(problems, layer)
}

fn read_section(
    section: &str,
    fields: &DeTable<'_>,
    at: &impl Fn(usize) -> Origin,
    layer: &mut Layer,
    problems: &mut Vec<Problem>,
) {
    for (field, value) in fields {
        let name = format!("{section}.{}", field.get_ref());
        let origin = at(field.span().start);
        let taken = match KeyId::find(&name) {
            Some(id) => layer.insert(id, raw(value), origin),
            None => Err(Problem { origin, key: name, fault: unknown(section, field.get_ref()) }),
        };
        problems.extend(taken.err());
    }
}

/// A key outside of all sections is told where it belongs, a misspelt section its name.
fn unknown_section(name: &str) -> Fault {
    if let Fault::Unknown { meant: Some(meant) } = unknown("", name)
        && meant.ends_with(&format!(".{name}"))
    {
        return Fault::Unknown { meant: Some(meant) };
    }
    let all: Vec<_> = SECTIONS.iter().map(|(known, _)| format!("[{known}]")).collect();
    let meant = nearest(name, SECTIONS.iter().map(|(known, _)| *known)).map(String::from);
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
