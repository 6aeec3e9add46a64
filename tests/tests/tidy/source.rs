//! A Rust file as the rules see it: its text, and the same text with comments, strings and tests
//! blanked out. A simple scanner: it knows what hides code from a search and where a body ends.
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A Rust file.
pub(crate) struct Source {
    /// From the top of the workspace, with `/`.
    pub(crate) path: String,
    /// As it is.
    pub(crate) text: String,
    /// Of the same length, comments and the insides of strings and characters blank.
    pub(crate) code: String,
    /// Whether all of it is compiled for tests only.
    pub(crate) test: bool,
}

/// A function.
pub(crate) struct Function {
    pub(crate) name: String,
    /// Counted from 1, from `fn` to the closing brace.
    pub(crate) lines: Range<usize>,
}

impl Source {
    pub(crate) fn read(root: &Path, path: &Path) -> Source {
        let text = std::fs::read_to_string(path).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
        let relative = path.strip_prefix(root).expect("a path below the root");
        Source::new(&relative.to_string_lossy(), text)
    }

    pub(crate) fn new(path: &str, text: String) -> Source {
        let in_tests = path.split('/').any(|part| part == "tests" || part == "benches");
        let test = in_tests || path.ends_with("/tests.rs");
        Source { path: path.to_owned(), code: blank(&text), text, test }
    }

    /// The line of a position, from 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        1 + self.code[..at].matches('\n').count()
    }

    /// The code that also runs outside of tests: `code` with `#[cfg(test)]` items blank.
    pub(crate) fn shipped(&self) -> String {
        if self.test {
            return String::new();
        }
        let mut bytes = self.code.clone().into_bytes();
        for (at, attribute) in self.code.match_indices("#[cfg(test)]") {
            let end = item_end(&self.code, at + attribute.len());
            bytes[at..end].iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b' ');
        }
        String::from_utf8(bytes).expect("blanks replace whole characters")
    }

    /// Every function that has a body.
    pub(crate) fn functions(&self) -> Vec<Function> {
        let starts = words(&self.code, "fn");
        let function = |at: usize| {
            let rest = self.code[at + 2..].trim_start();
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let end = item_end(&self.code, at);
            let body = self.code[at..end].ends_with('}');
            (!name.is_empty() && body)
                .then(|| Function { name, lines: self.line(at)..self.line(end - 1) + 1 })
        };
        starts.into_iter().filter_map(function).collect()
    }
}

/// Positions of `word` in `code` where no letter, digit or underscore touches it.
pub(crate) fn words(code: &str, word: &str) -> Vec<usize> {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let free =
        |at: &usize| !part(code[..*at].chars().next_back()) && !part(code[at + word.len()..].chars().next());
    code.match_indices(word).map(|(at, _)| at).filter(free).collect()
}

/// Where the item that begins at `at` ends: after its `;` or the brace that closes its body.
fn item_end(code: &str, at: usize) -> usize {
    let (mut nested, mut braces) = (0_i32, 0_i32);
    for (offset, c) in code[at..].char_indices() {
        match c {
            '(' | '[' => nested += 1,
            ')' | ']' => nested -= 1,
            '{' => braces += 1,
            '}' => braces -= 1,
            _ => {}
        }
        if nested == 0 && braces == 0 && matches!(c, ';' | '}') {
            return at + offset + 1;
        }
    }
    code.len()
}

/// Marks the files that `#[cfg(test)] mod name;` brings in, and those below them.
pub(crate) fn mark_test_modules(sources: &mut [Source]) {
    let mut roots = Vec::new();
    for source in sources.iter() {
        for (at, attribute) in source.code.match_indices("#[cfg(test)]") {
            let item = source.code[at + attribute.len()..].trim_start().trim_start_matches("pub(crate) ");
            let named = item.strip_prefix("mod ").and_then(|rest| rest.split_once([';', '{']));
            if let Some((name, _)) = named {
                roots.push(module_folder(&source.path).join(name.trim()));
            }
        }
    }
    for source in sources {
        let path = Path::new(&source.path);
        source.test |= roots.iter().any(|root| path.starts_with(root) || path.with_extension("") == *root);
    }
}

/// The folder of the submodules of a file.
fn module_folder(path: &str) -> PathBuf {
    let path = Path::new(path);
    let is_root = ["mod.rs", "lib.rs", "main.rs"].iter().any(|name| path.ends_with(name));
    if is_root { path.with_file_name("") } else { path.with_extension("") }
}

/// `text` with comments and the insides of literals replaced by blanks; line ends stay.
fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let hidden = hidden_len(rest, out.chars().next_back());
        let (taken, tail) = rest.split_at(if hidden == 0 { c.len_utf8() } else { hidden });
        if hidden == 0 {
            out.push(c);
        } else {
            // One blank a byte keeps positions; the ends of lines stay for counting.
            out.extend(taken.bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }));
        }
        rest = tail;
    }
    out
}

/// Bytes of the comment or literal that `rest` begins with; 0 when it begins with code.
fn hidden_len(rest: &str, before: Option<char>) -> usize {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let raw = rest.trim_start_matches(['b', 'c']).strip_prefix('r').filter(|_| !in_word);
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    } else if rest.starts_with("/*") {
        return block_comment_len(rest);
    } else if let Some(raw) = raw {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let opening = rest.len() - raw.len() + hashes + 1;
            return rest[opening..].find(&close).map_or(rest.len(), |at| opening + at + close.len());
        }
    }
    match rest.chars().next() {
        Some('"') => quoted_len(rest, '"'),
        // A lifetime has no closing quote right after its first character.
        Some('\'') if rest[1..].starts_with('\\') || rest.chars().nth(2) == Some('\'') => {
            quoted_len(rest, '\'')
        }
        _ => 0,
    }
}

fn block_comment_len(rest: &str) -> usize {
    let mut depth = 0;
    for (at, _) in rest.char_indices() {
        let (opens, closes) = (rest[at..].starts_with("/*"), rest[at..].starts_with("*/"));
        depth += i32::from(opens) - i32::from(closes);
        if closes && depth == 0 {
            return at + 2;
        }
    }
    rest.len()
}

fn quoted_len(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

#[test]
fn comments_and_literals_are_hidden_and_positions_kept() {
    let cases = [
        ("a // b\nc", "a c"),
        ("a /* b /* c */ d */ e", "a e"),
        (r#"x("\"y") z"#, "x( ) z"),
        (r##"f(r#"a"b"#, 'c', '\'', "é")"##, "f( , , , )"),
        ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
        ("b'x' + br\"y\" + for_r", "b + + for_r"),
    ];
    for (text, want) in cases {
        let code = blank(text);
        assert_eq!(code.len(), text.len(), "{text}");
        assert_eq!(code.split_whitespace().collect::<Vec<_>>().join(" "), want, "{text}");
    }
}

#[test]
fn functions_and_tests_are_found() {
    let text =
        "fn a() {\n  { }\n}\ntrait T { fn b(x: [u8; 3]); }\n#[cfg(test)]\nmod tests { fn c() {} }\nfn d() {}";
    let source = Source::new("x/src/y.rs", text.to_owned());
    let found: Vec<_> = source.functions().into_iter().map(|f| (f.name, f.lines.len())).collect();
    assert_eq!(found, [("a".to_owned(), 3), ("c".to_owned(), 1), ("d".to_owned(), 1)]);
    assert_eq!(words(&source.shipped(), "fn").len(), 3);
    let mut files = [("x/src/y.rs", "#[cfg(test)]\nmod sim;"), ("x/src/y/sim.rs", ""), ("x/src/sim.rs", "")]
        .map(|(path, text)| Source::new(path, text.to_owned()));
    mark_test_modules(&mut files);
    assert_eq!(files.map(|source| source.test), [false, true, false]);
}
