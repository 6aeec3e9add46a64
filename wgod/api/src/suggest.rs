//! "Did you mean …": the known name that a misspelt one is closest to. For keys, columns, states and fields.

/// The candidate nearest to `word` by edits, when it is near enough to be what was meant: at most a
/// quarter of the letters differ.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let bound = word.chars().count().div_ceil(4).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(edits, _)| *edits <= bound)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `, did you mean NAME?` if there is one, and then another sentence; else `; ` and the same: to be put behind
/// "unknown …".
pub fn hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>, then: &str) -> String {
    let Some(name) = nearest(word, candidates) else { return format!("; {then}") };
    let mut letters = then.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    format!(", did you mean {name}? {}{}", first.map(String::from).unwrap_or_default(), letters.as_str())
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b` (optimal string
/// alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(rows[i - 2][j - 2] + 1);
            }
        }
        rows.push(row);
    }
    rows.last().and_then(|row| row.last()).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["port", "proxy", "max_peers", "max_peers_per_torrent"];
        for (word, want) in
            [("prot", Some("port")), ("max_peer", Some("max_peers")), ("x", None), ("folder", None)]
        {
            assert_eq!(nearest(word, known), want, "{word}");
        }
        assert_eq!(hint("prot", known, "there are some"), ", did you mean port? There are some");
        assert_eq!(hint("x", known, "there are some"), "; there are some");
    }
}
