//! The little of XML that is needed: elements in their order, and the text of those that have no others in
//! them. Names go without prefix and namespace, which gateways get wrong.
use quick_xml::Reader;
use quick_xml::events::Event;

use super::Unusable;

/// Elements within each other at most.
const MAX_DEPTH: usize = 32;
/// Characters of a text that are kept.
const MAX_TEXT: usize = 1024;

/// What comes next in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node<'a> {
    /// An element begins.
    Open(&'a str),
    /// An element without others in it, and its text. Its `Open` came before, its `Close` comes after.
    Leaf(&'a str, &'a str),
    /// An element ends.
    Close(&'a str),
}

/// Shows a document to `visit`. Time and memory are linear in its length, which callers bound: nothing in it is
/// expanded.
pub(super) fn walk(document: &[u8], mut visit: impl FnMut(Node<'_>)) -> Result<(), Unusable> {
    let document = String::from_utf8_lossy(document);
    // Some end with zeros.
    let mut reader = Reader::from_str(document.trim_matches(['\0', '\u{feff}', ' ', '\r', '\n', '\t']));
    // As they stand in URLs of careless authors.
    reader.config_mut().allow_dangling_amp = true;
    let (mut depth, mut is_leaf, mut text) = (0_usize, false, String::new());
    loop {
        match reader.read_event().map_err(|error| Unusable::Xml(error.to_string()))? {
            Event::Start(start) => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(Unusable::Deep);
                }
                (is_leaf, text) = (true, String::new());
                visit(Node::Open(start.local_name().as_ref()));
            }
            Event::Empty(empty) => {
                is_leaf = false;
                let name = empty.local_name();
                let name = name.as_ref();
                [Node::Open(name), Node::Leaf(name, ""), Node::Close(name)].into_iter().for_each(&mut visit);
            }
            Event::End(end) => {
                depth = depth.saturating_sub(1);
                let name = end.local_name();
                if std::mem::take(&mut is_leaf) {
                    visit(Node::Leaf(name.as_ref(), text.trim()));
                }
                visit(Node::Close(name.as_ref()));
            }
            Event::Text(more) => append(&mut text, &more.xml10_content()),
            Event::CData(more) => append(&mut text, &more.xml10_content()),
            Event::GeneralRef(name) => {
                let known = match name.resolve_char_ref() {
                    Ok(Some(char)) => Some(char),
                    _ => predefined(&name.xml10_content()),
                };
                let mut bytes = [0; 4];
                append(&mut text, known.unwrap_or('\u{fffd}').encode_utf8(&mut bytes));
            }
            Event::DocType(_) => return Err(Unusable::Dtd),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof if depth > 0 => return Err(Unusable::Xml("it ends within an element".to_owned())),
            Event::Eof => return Ok(()),
        }
    }
}

fn append(text: &mut String, more: &str) {
    let left = MAX_TEXT.saturating_sub(text.len());
    text.extend(more.chars().take(left));
}

/// The five entities that there are without definition.
fn predefined(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaves(document: &str) -> Result<Vec<(String, String)>, Unusable> {
        let mut found = Vec::new();
        walk(document.as_bytes(), |node| {
            if let Node::Leaf(name, text) = node {
                found.push((name.to_owned(), text.to_owned()));
            }
        })?;
        Ok(found)
    }

    #[test]
    fn leaves_have_their_text_whatever_their_prefix() {
        let document = "<?xml version=\"1.0\"?><!-- x --><s:a xmlns:s='u'><m:b> 1 </m:b><c/>\n<d><![CDATA[<e>]]></d>\
            <e>a&amp;b&#65;&#x42;&lt;&unknown;&x</e></s:a>\0\0";
        let want = [("b", "1"), ("c", ""), ("d", "<e>"), ("e", "a&bAB<\u{fffd}&x")];
        let want: Vec<_> = want.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
        assert_eq!(leaves(document), Ok(want));
    }

    #[test]
    fn bombs_and_ruins_are_refused() {
        let bomb = "<!DOCTYPE a [<!ENTITY b \"bbbbbbbb\"><!ENTITY c \"&b;&b;&b;\">]><a>&c;</a>";
        assert_eq!(leaves(bomb), Err(Unusable::Dtd));
        assert_eq!(leaves(&"<a>".repeat(1000)), Err(Unusable::Deep));
        for ruin in ["<a>", "<a></b>", "</a>", "<a", "<a><![CDATA[", "<a b=></a"] {
            assert!(matches!(leaves(ruin), Err(Unusable::Xml(_))), "{ruin}");
        }
    }

    #[test]
    fn a_text_is_kept_up_to_its_bound() {
        let long = leaves(&format!("<a>{}</a>", "x".repeat(100_000))).unwrap();
        assert_eq!(long[0].1.len(), MAX_TEXT);
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(document in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = walk(&document, |_| {});
        }

        #[test]
        fn nothing_like_xml_breaks_it(document in "(<|>|/|a|b|&|;|!|\\[|\\]|CDATA|\\?|-|=|\"){0,60}") {
            let _ = walk(document.as_bytes(), |_| {});
        }
    }
}
