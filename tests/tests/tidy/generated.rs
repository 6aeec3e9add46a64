//! What is generated from the source is what the source makes of it.
use wgo_tests::api_doc::{COMMAND, documents};

/// The first lines in which two texts differ, for whoever wonders what they forgot.
fn difference(kept: &str, made: &str) -> String {
    let (mut kept, mut made) = (kept.lines(), made.lines());
    for number in 1.. {
        match (kept.next(), made.next()) {
            (None, None) => break,
            (kept, made) if kept == made => {}
            (kept, made) => {
                let shown =
                    |line: Option<&str>| line.unwrap_or("(the end)").chars().take(200).collect::<String>();
                return format!("line {number} is\n    {}\nand should be\n    {}", shown(kept), shown(made));
            }
        }
    }
    "they differ in line ends only".to_owned()
}

#[test]
fn the_documents_of_the_api_are_what_its_source_says() {
    let mut stale = Vec::new();
    for (path, made) in documents() {
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        if kept != made {
            let name = path.file_name().expect("a document has a name").to_string_lossy();
            stale.push(format!("wgod/api/{name}: {}", difference(&kept, &made)));
        }
    }
    assert!(
        stale.is_empty(),
        "the documents of the API are stale: its trait, types or their comments, or wgod/api/doc, have changed.\n\n{}\n\n\
         Renew both files and commit them with the change (after a conflict too: they are never merged by hand):\n\n    \
         {COMMAND}\n",
        stale.join("\n")
    );
}

#[test]
fn each_link_of_the_api_s_readme_leads_somewhere() {
    let [.., (_, readme)] = documents();
    let headings: Vec<String> =
        readme.lines().filter_map(|line| line.strip_prefix('#')).map(anchor).collect();
    let links: Vec<&str> = readme.split("](#").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    assert!(links.len() > 100, "only {} links", links.len());
    let lost: Vec<String> = links
        .into_iter()
        .filter(|link| !headings.iter().any(|heading| heading == link))
        .map(str::to_owned)
        .collect();
    super::assert_none("links that lead nowhere", &lost);
    let mut seen = std::collections::BTreeSet::new();
    let twice: Vec<String> = headings.into_iter().filter(|heading| !seen.insert(heading.clone())).collect();
    super::assert_none(
        "headings that are there twice, so that links to them may lead to the wrong one",
        &twice,
    );
}

/// What a link calls a heading: as web views of Markdown make it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|letter| letter.is_alphanumeric() || ['_', '-', ' '].contains(letter));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}
