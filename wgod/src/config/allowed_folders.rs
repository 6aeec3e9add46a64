//! The setting that bounds where torrents may lie.
use std::path::{Component, Path, PathBuf};

use super::setting::{Raw, Refused, Setting, quoted};

/// The folders that torrents may be put into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedFolders {
    /// A service: the folders that its other settings name. By hand: any.
    Auto,
    /// Any folder that the daemon's user may write to.
    Any,
    /// These and what is below them; at least one.
    Only(Vec<PathBuf>),
}

impl AllowedFolders {
    /// Whether `folder` is certainly in none of them, going by how it is written. One that is written with `~/`
    /// can't be compared with one that is not.
    pub(super) fn excludes(&self, folder: &Path) -> bool {
        let AllowedFolders::Only(allowed) = self else { return false };
        let comparable = |other: &Path| folder.starts_with("~") == other.starts_with("~");
        allowed.iter().all(|allowed| comparable(allowed) && !folder.starts_with(allowed))
    }
}

impl Setting for AllowedFolders {
    fn allowed() -> String {
        format!("\"auto\", \"any\", or a list [\"…\", …], each item {}", PathBuf::allowed())
    }

    fn parse(raw: &Raw) -> Result<AllowedFolders, Refused> {
        let paths: Vec<PathBuf> = match (raw, raw.text()) {
            (_, Some("auto")) => return Ok(AllowedFolders::Auto),
            (_, Some("any" | "off")) | (Raw::Bool(false), _) => return Ok(AllowedFolders::Any),
            (Raw::List(items), _) => items.iter().map(PathBuf::parse).collect::<Result<_, _>>()?,
            (Raw::Bare(text), _) if !text.is_empty() => Vec::parse(raw)?,
            (_, Some("")) => Vec::new(),
            _ => return Err(Refused::default()),
        };
        if paths.is_empty() {
            return Err(Refused::because("without a folder, nothing could be downloaded"));
        }
        match paths.iter().find_map(|path| fault(path)) {
            Some(why) => Err(Refused::because(why)),
            None => Ok(AllowedFolders::Only(paths)),
        }
    }

    fn to_toml(&self) -> String {
        match self {
            AllowedFolders::Auto => quoted("auto"),
            AllowedFolders::Any => quoted("any"),
            AllowedFolders::Only(folders) => folders.to_toml(),
        }
    }
}

/// What keeps a path from being a bound.
fn fault(path: &Path) -> Option<String> {
    let shown = quoted(&path.to_string_lossy());
    if path.components().any(|component| component == Component::ParentDir) {
        return Some(format!("{shown} climbs with ..; write out where it leads"));
    }
    let is_root = !path.components().any(|component| matches!(component, Component::Normal(_)));
    is_root.then(|| format!("{shown} is everything; that is written \"any\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str]) -> Raw {
        Raw::List(items.iter().map(|item| Raw::Text((*item).into())).collect())
    }

    fn only(paths: &[&str]) -> AllowedFolders {
        AllowedFolders::Only(paths.iter().map(PathBuf::from).collect())
    }

    #[test]
    fn a_bound_is_lifted_by_a_word_alone_and_never_by_an_empty_value() {
        let text = |text: &str| Raw::Text(text.into());
        for (raw, want) in [
            (text("auto"), AllowedFolders::Auto),
            (Raw::Bare("auto".into()), AllowedFolders::Auto),
            (text("any"), AllowedFolders::Any),
            (text("off"), AllowedFolders::Any),
            (Raw::Bool(false), AllowedFolders::Any),
            (list(&["/srv/a", "~/b"]), only(&["/srv/a", "~/b"])),
            (Raw::Bare("/srv/a, /srv/b".into()), only(&["/srv/a", "/srv/b"])),
        ] {
            let parsed = AllowedFolders::parse(&raw).unwrap();
            assert_eq!(parsed, want, "{raw}");
            let again = super::super::file::value(&parsed.to_toml()).unwrap();
            assert_eq!(AllowedFolders::parse(&again).unwrap(), want);
        }
        for (raw, why) in [
            (list(&[]), "nothing could be downloaded"),
            (text(""), "nothing could be downloaded"),
            (Raw::Bare(String::new()), "nothing could be downloaded"),
            (list(&["/"]), "\"any\""),
            (list(&["/srv/a", "/."]), "\"any\""),
            (list(&["/srv/a/../b"]), "climbs"),
        ] {
            let refused = AllowedFolders::parse(&raw).unwrap_err().detail.unwrap();
            assert!(refused.contains(why), "{raw}: {refused}");
        }
        for raw in [list(&["srv"]), text("/srv"), Raw::Bool(true), Raw::Int(0), Raw::Bare("srv".into())] {
            assert!(AllowedFolders::parse(&raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn only_what_is_certain_is_excluded() {
        let allowed = only(&["/srv/a", "/mnt"]);
        assert!(allowed.excludes(Path::new("/srv/ab")));
        assert!(!allowed.excludes(Path::new("/srv/a/b")) && !allowed.excludes(Path::new("/srv/a")));
        assert!(!allowed.excludes(Path::new("~/a")), "the home may be /srv/a");
        assert!(!AllowedFolders::Any.excludes(Path::new("/x")));
        assert!(!AllowedFolders::Auto.excludes(Path::new("/x")));
    }
}
