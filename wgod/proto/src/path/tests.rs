//! Tests of safe paths.
use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use std::path::Component;

fn assert_safe(path: &SafePath) {
    assert!(path.as_str().len() <= MAX_PATH_LEN + NUMBER_LEN);
    assert!(!path.as_str().chars().any(|c| c.is_control() || c == '\\'));
    for component in path.as_path().components() {
        assert!(matches!(component, Component::Normal(_)), "{path:?}");
    }
    for component in path.components() {
        assert!(!matches!(component, "" | "." | "..") && component.len() <= MAX_COMPONENT_LEN, "{path:?}");
    }
    assert_eq!(path.as_path().components().count(), path.components().count());
}

fn deduped(paths: &[&str]) -> Vec<String> {
    let mut paths: Vec<SafePath> = paths.iter().map(|path| SafePath::exact(path).unwrap()).collect();
    dedupe(&mut paths.iter_mut().collect::<Vec<_>>());
    paths.iter().map(|path| path.to_string()).collect()
}

fn assert_distinct(paths: &[SafePath]) {
    let all: HashSet<&str> = paths.iter().map(SafePath::as_str).collect();
    assert_eq!(all.len(), paths.len());
    for path in paths {
        let mut parent = path.parent();
        while let Some(folder) = parent {
            assert!(!all.contains(folder.as_str()), "{folder} is a file and a folder");
            parent = folder.parent();
        }
    }
}

proptest! {
    #[test]
    fn a_path_of_any_bytes_never_leaves_its_folder(
        components in vec(prop_oneof![
            vec(any::<u8>(), 0..300),
            vec(prop::sample::select(&b"./\\\0a \n~"[..]), 0..5),
            "\\PC{0,200}".prop_map(String::into_bytes),
        ], 0..12)
    ) {
        match SafePath::sanitise(&components) {
            Ok(path) => {
                assert_safe(&path);
                prop_assert_eq!(path.components().count(), components.len());
                prop_assert_eq!(SafePath::exact(path.as_str()), Ok(path));
            }
            Err(error) => prop_assert!(components.is_empty() || error == PathError::TooLong),
        }
    }

    #[test]
    fn deduped_paths_are_distinct_and_no_file_is_a_folder(
        texts in vec(prop_oneof![
            "[ab](/[ab]){0,3}",
            "a(\\.[12])?(\\.t)?",
            Just("n".repeat(MAX_COMPONENT_LEN)),
            Just(format!("{}m", "n".repeat(MAX_COMPONENT_LEN - 1))),
        ], 0..40)
    ) {
        let mut paths: Vec<SafePath> = texts.iter().map(|text| SafePath::exact(text).unwrap()).collect();
        dedupe(&mut paths.iter_mut().collect::<Vec<_>>());
        assert_distinct(&paths);
        for (path, text) in paths.iter().zip(&texts) {
            assert_safe(path);
            prop_assert_eq!(path.parent(), SafePath::exact(text).unwrap().parent());
        }
    }
}

#[test]
fn components_are_kept_or_replaced_as_documented() {
    let long = "é".repeat(200);
    let cases: &[(&[u8], &str)] = &[
        (b"foobar ", "foobar "),
        (b".hidden", ".hidden"),
        (b"...", "..."),
        (b"~", "~"),
        (b"", "_"),
        (b".", "_"),
        (b"..", "_"),
        (b"/", "_"),
        (b"/foobar", "_foobar"),
        (b"abc/../../def", "abc_.._.._def"),
        (b"C:\\x", "C:_x"),
        (b"a\0b\nc\x7f", "a_b_c_"),
        (b"a\xc2\x85b", "a_b"),
        ("exe\u{202e}gpj.scr".as_bytes(), "exe_gpj.scr"),
        (b"\x82est", "\u{fffd}est"),
        (long.as_bytes(), &long[..254]),
    ];
    for (bytes, expected) in cases {
        assert_eq!(safe_component(bytes), *expected);
    }
    let name = format!("{}.torrent", "x".repeat(400));
    assert_eq!(safe_component(name.as_bytes()), format!("{}.torrent", "x".repeat(247)));
}

#[test]
fn paths_that_cannot_be_stored_are_refused() {
    assert_eq!(SafePath::sanitise(Vec::<&str>::new()), Err(PathError::Empty));
    assert_eq!(SafePath::sanitise(vec!["a"; MAX_COMPONENTS + 1]), Err(PathError::TooDeep));
    assert_eq!(SafePath::sanitise(vec!["a".repeat(255); 13]), Err(PathError::TooLong));
    for (text, component) in [("/etc", ""), ("a/../b", ".."), ("a//b", ""), ("a/", ""), (".", ".")] {
        let component = component.to_owned();
        assert_eq!(SafePath::exact(text), Err(PathError::Unsafe { component }));
    }
    assert_eq!(SafePath::exact(""), Err(PathError::Empty));
}

#[test]
fn equal_names_are_numbered_before_the_extension() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["t/bar.txt", "t/bar.txt"], &["t/bar.txt", "t/bar.1.txt"]),
        (&["_", "_", "_"], &["_", "_.1", "_.2"]),
        (&["a", "A"], &["a", "A"]),
        // A name that was there from the start is not taken from its file.
        (&["a.t", "a.t", "a.1.t"], &["a.t", "a.2.t", "a.1.t"]),
        // A file that is a folder of another gives way, whichever comes first.
        (&["a", "a/b", "a-b"], &["a.1", "a/b", "a-b"]),
        (&["a/b/c", "a/b", "a"], &["a/b/c", "a/b.1", "a.1"]),
        (&["a", "a", "a.1/x", "a/y"], &["a.2", "a.3", "a.1/x", "a/y"]),
        (&[".x", ".x"], &[".x", ".x.1"]),
    ];
    for (paths, expected) in cases {
        assert_eq!(deduped(paths), *expected);
    }
}

#[test]
fn a_hundred_thousand_equal_names_are_told_apart() {
    let path = SafePath::exact("folder/name.txt").unwrap();
    let mut paths = vec![path; 100_000];
    dedupe(&mut paths.iter_mut().collect::<Vec<_>>());
    assert_distinct(&paths);
}
