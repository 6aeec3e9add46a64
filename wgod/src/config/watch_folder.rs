//! The setting that names a watched folder and its rules: an item of `[watch] folders`.
use std::path::{Path, PathBuf};

use super::setting::{Raw, Refused, Setting, quoted};

/// A watched folder, and what becomes of the torrents that are found in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchFolder {
    /// The folder.
    pub path: PathBuf,
    /// Labels that its torrents get.
    pub labels: Vec<String>,
    /// Where their files go, if not to `storage.folder`.
    pub folder: Option<PathBuf>,
    /// They are added stopped.
    pub paused: bool,
}

impl WatchFolder {
    /// A folder without rules.
    pub fn plain(path: impl Into<PathBuf>) -> WatchFolder {
        WatchFolder { path: path.into(), ..WatchFolder::default() }
    }

    fn of_table(fields: &[(String, Raw)]) -> Result<WatchFolder, Refused> {
        let mut rule = WatchFolder::default();
        for (name, raw) in fields {
            let taken = match name.as_str() {
                "path" => PathBuf::parse(raw).map(|path| rule.path = path),
                "label" => labels(raw).map(|labels| rule.labels = labels),
                "folder" => Option::<PathBuf>::parse(raw).map(|folder| rule.folder = folder),
                "paused" => bool::parse(raw).map(|paused| rule.paused = paused),
                _ => return Err(Refused::because(format!("there is no {name} in it"))),
            };
            if let Err(refused) = taken {
                let why = refused.detail.unwrap_or_else(|| match name.as_str() {
                    "label" => "it is text, or a list of texts".to_owned(),
                    "paused" => format!("it is {}", bool::allowed()),
                    _ => format!("it is {}", PathBuf::allowed()),
                });
                return Err(Refused::because(format!("{raw} can't be its {name}: {why}")));
            }
        }
        if rule.path.as_os_str().is_empty() {
            return Err(Refused::because("it has no path"));
        }
        Ok(rule)
    }
}

/// One label, or a list of several.
fn labels(raw: &Raw) -> Result<Vec<String>, Refused> {
    let labels = match raw {
        Raw::Text(text) if !text.is_empty() => vec![text.clone()],
        raw => Vec::<String>::parse(raw)?,
    };
    match labels.iter().any(|label| label.is_empty() || label.contains(char::is_control)) {
        true => Err(Refused::because("a label has characters, and none that control a terminal")),
        false => Ok(labels),
    }
}

impl Setting for WatchFolder {
    fn allowed() -> String {
        format!(
            "{}, or {{ path = \"…\", label = \"…\", folder = \"…\", paused = true }}, of which only the path is needed",
            PathBuf::allowed()
        )
    }

    fn parse(raw: &Raw) -> Result<WatchFolder, Refused> {
        match raw {
            Raw::Table(fields) => WatchFolder::of_table(fields),
            Raw::Bare(text) if text.starts_with(['{', '[']) => Err(Refused::because(
                "a folder with rules can only be written in the file; here are paths, separated by commas",
            )),
            raw => PathBuf::parse(raw).map(WatchFolder::plain),
        }
    }

    fn to_toml(&self) -> String {
        if *self == WatchFolder::plain(&self.path) {
            return self.path.to_toml();
        }
        let mut fields = vec![format!("path = {}", self.path.to_toml())];
        match self.labels.as_slice() {
            [] => {}
            [label] => fields.push(format!("label = {}", quoted(label))),
            labels => fields.push(format!("label = {}", labels.to_vec().to_toml())),
        }
        fields.extend(self.folder.as_ref().map(|folder| format!("folder = {}", folder.to_toml())));
        fields.extend(self.paused.then(|| "paused = true".to_owned()));
        format!("{{ {} }}", fields.join(", "))
    }
}

/// All watched folders; none twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchFolders(pub Vec<WatchFolder>);

impl WatchFolders {
    /// The folders that torrents are put into, where rules name one.
    pub fn targets(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().filter_map(|rule| rule.folder.as_deref())
    }
}

impl Setting for WatchFolders {
    fn allowed() -> String {
        format!("a list, each item {}", WatchFolder::allowed())
    }

    fn parse(raw: &Raw) -> Result<WatchFolders, Refused> {
        if matches!(raw, Raw::Table(_)) {
            return Err(Refused::because("one folder of a list is headed by [[watch.folders]]"));
        }
        let folders: Vec<WatchFolder> = Vec::parse(raw)?;
        // By components, so that a slash at the end makes no difference.
        for (at, rule) in folders.iter().enumerate() {
            if folders.iter().take(at).any(|other| other.path == rule.path) {
                return Err(Refused::because(format!("{} is in it twice", rule.path.display())));
            }
        }
        Ok(WatchFolders(folders))
    }

    fn to_toml(&self) -> String {
        self.0.to_toml()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Raw {
        super::super::file::value(text).unwrap()
    }

    #[test]
    fn a_folder_is_a_path_or_a_table_and_comes_back_as_it_was_written() {
        let rule = WatchFolder {
            path: "/srv/w".into(),
            labels: vec!["tv".into()],
            folder: Some("~/tv".into()),
            paused: true,
        };
        for (text, want) in [
            (r#""/srv/w""#, WatchFolder::plain("/srv/w")),
            (r#"{ path = "/srv/w", label = "tv", folder = "~/tv", paused = true }"#, rule.clone()),
            (
                r#"{ path = "/srv/w", label = ["a", "b \"c\""] }"#,
                WatchFolder { labels: vec!["a".into(), "b \"c\"".into()], ..WatchFolder::plain("/srv/w") },
            ),
        ] {
            let parsed = WatchFolder::parse(&value(text)).unwrap();
            assert_eq!(parsed, want);
            assert_eq!(parsed.to_toml(), text);
        }
        let few = value(r#"{ path = "/srv/w", label = [], folder = "", paused = false }"#);
        assert_eq!(WatchFolder::parse(&few).unwrap(), WatchFolder::plain("/srv/w"));
        let bare = WatchFolders::parse(&Raw::Bare("/a, /b".into())).unwrap();
        assert_eq!(bare.0, ["/a", "/b"].map(WatchFolder::plain));
    }

    #[test]
    fn what_is_wrong_with_a_folder_is_named() {
        for (text, why) in [
            (r#"["srv"]"#, ""),
            (r#"[{ label = "a" }]"#, "it has no path"),
            (r#"[{ path = "srv" }]"#, "\"srv\" can't be its path: it is an absolute path"),
            (r#"[{ path = "/w", folder = "b" }]"#, "\"b\" can't be its folder"),
            (r#"[{ path = "/w", label = [""] }]"#, "none that control"),
            (r#"[{ path = "/w", label = 5 }]"#, "5 can't be its label: it is text"),
            (r#"[{ path = "/w", paused = "maybe" }]"#, "can't be its paused: it is true or false"),
            (r#"[{ path = "/w", lable = "a" }]"#, "there is no lable in it"),
            (r#"["/w", { path = "/w/" }]"#, "twice"),
            (r#"{ path = "/w" }"#, "[[watch.folders]]"),
        ] {
            let raw = value(text);
            let refused = WatchFolders::parse(&raw).unwrap_err().detail.unwrap_or_default();
            assert!(refused.contains(why), "{text}: {refused}");
        }
        let refused = WatchFolders::parse(&Raw::Bare("{ path = \"/w\" }".into())).unwrap_err();
        assert!(refused.detail.unwrap().contains("in the file"));
    }
}
