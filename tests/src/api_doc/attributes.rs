//! What attributes say of a type, a member or a word: serde's rules, and the documentation.
use syn::{Attribute, Expr, Lit, LitStr, Meta};

/// serde's rules for a type, a member or a word.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// What is absent has its default.
    pub(super) default: bool,
    /// Unknown members are refused.
    pub(super) closed: bool,
    /// A value of any of the variants' types.
    pub(super) untagged: bool,
    /// It is written and read as another type.
    pub(super) goes_by_another: bool,
    /// Left out of what is written where it is `None`.
    pub(super) skipped: bool,
    /// Its members stand in its place.
    pub(super) flat: bool,
    /// It stands for every word that isn't known.
    pub(super) other: bool,
    /// Its name on the wire.
    pub(super) rename: Option<String>,
    /// The case of all names of it.
    case: Option<String>,
}

impl Rules {
    /// The rules that these attributes of `owner` give.
    ///
    /// # Panics
    /// When there is one that isn't known here: what it means for the documentation has to be said first.
    pub(super) fn of(attrs: &[Attribute], owner: &str) -> Rules {
        let mut rules = Rules::default();
        for attr in attrs.iter().filter(|attr| attr.path().is_ident("serde")) {
            let read = attr.parse_nested_meta(|meta| {
                let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
                let value = match meta.input.peek(syn::Token![=]) {
                    true => Some(meta.value()?.parse::<LitStr>()?.value()),
                    false => None,
                };
                rules.learn(&name, value).map_err(|why| meta.error(why))
            });
            read.unwrap_or_else(|why| panic!("{owner}: {why}"));
        }
        rules
    }

    fn learn(&mut self, name: &str, value: Option<String>) -> Result<(), String> {
        match (name, value) {
            ("default", None) => self.default = true,
            ("deny_unknown_fields", None) => self.closed = true,
            ("untagged", None) => self.untagged = true,
            ("try_from" | "into", Some(_)) | ("transparent", None) => self.goes_by_another = true,
            ("skip_serializing_if", Some(test)) if test == "Option::is_none" => self.skipped = true,
            ("flatten", None) => self.flat = true,
            ("other", None) => self.other = true,
            ("rename", Some(name)) => self.rename = Some(name),
            ("rename_all", Some(case)) => self.case = Some(case),
            // The words of an error.
            ("expecting", Some(_)) => {}
            (name, value) => {
                return Err(format!(
                    "the serde attribute {name} {value:?} is new to tests/src/api_doc/attributes.rs: say there what it means"
                ));
            }
        }
        Ok(())
    }

    /// A variant's name on the wire.
    pub(super) fn renamed(&self, variant: &str, owner: &str) -> String {
        let separator = match self.case.as_deref() {
            Some("lowercase") => return variant.to_lowercase(),
            Some("snake_case") => '_',
            Some("kebab-case") => '-',
            case => panic!("{owner}: api_doc doesn't know the case {case:?}"),
        };
        let mut word = String::new();
        for letter in variant.chars() {
            if letter.is_uppercase() && !word.is_empty() {
                word.push(separator);
            }
            word.extend(letter.to_lowercase());
        }
        word
    }
}

/// The documentation, a paragraph a line, without links that lead into the source.
pub(super) fn doc_of(attrs: &[Attribute]) -> String {
    let mut paragraphs = vec![String::new()];
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("doc")) {
        let Meta::NameValue(doc) = &attr.meta else { continue };
        let Expr::Lit(literal) = &doc.value else { continue };
        let Lit::Str(line) = &literal.lit else { continue };
        let line = line.value();
        let line = line.trim();
        if line.is_empty() {
            paragraphs.push(String::new());
        }
        let paragraph = paragraphs.last_mut().expect("there is always one");
        if !paragraph.is_empty() && !line.is_empty() {
            paragraph.push(' ');
        }
        paragraph.push_str(line);
    }
    let text = paragraphs.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n");
    without_links(&text)
}

/// `[`Name`]` and `[`Name`](path)` become `Name` as code; paths that remain are a fault of the text.
fn without_links(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once("[`") {
        let (name, after) = link.split_once("`]").unwrap_or_else(|| panic!("a link without end: {text}"));
        out.push_str(before);
        out.push_str(&format!("`{name}`"));
        rest = match after.strip_prefix('(') {
            Some(target) => target.split_once(')').map_or("", |(_, after)| after),
            None => after,
        };
    }
    out.push_str(rest);
    assert!(!out.contains("::"), "whoever uses the API can't follow a path of the source: {out}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_into_the_source_become_code() {
        assert_eq!(
            without_links("as [`Known`] says, and [`Quit`](super::Quit)."),
            "as `Known` says, and `Quit`."
        );
        assert_eq!(without_links("`[storage]` and <https://a>"), "`[storage]` and <https://a>");
    }

    #[test]
    fn words_get_the_case_of_serde() {
        let rules = |case: &str| Rules { case: Some(case.to_owned()), ..Rules::default() };
        assert_eq!(rules("kebab-case").renamed("RemoveWithFiles", "A"), "remove-with-files");
        assert_eq!(rules("snake_case").renamed("NoMatch", "A"), "no_match");
        assert_eq!(rules("lowercase").renamed("Ok", "A"), "ok");
    }
}
