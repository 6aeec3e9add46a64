//! Texts that name places: magnet links, hosts, paths of files, and the configuration.
use std::path::{Component, Path};

use wgo_proto::host_port::HostPort;
use wgo_proto::magnet::Magnet;
use wgo_proto::path::{SafePath, dedupe, safe_component};
use wgod::config::{Layer, Layers, file, resolve};

/// A link says the same when it is written and read again.
pub(super) fn magnet(data: &[u8]) {
    let Ok(magnet) = Magnet::parse(&String::from_utf8_lossy(data)) else { return };
    let written = magnet.to_string();
    match Magnet::parse(&written) {
        Ok(again) => assert_eq!(again, magnet, "{written}"),
        Err(error) => panic!("{error}: {written}"),
    }
    magnet.name.iter().for_each(|name| assert_stays_below(name));
    for range in &magnet.select {
        assert!(magnet.selects(*range.start()) && magnet.selects(*range.end()));
    }
}

/// An address and a port, the same.
pub(super) fn host_port(data: &[u8]) {
    let Ok(found) = String::from_utf8_lossy(data).parse::<HostPort>() else { return };
    assert_eq!(found.to_string().parse().as_ref(), Ok(&found));
    assert!(found.port != 0 && !found.host.is_empty());
    if let Some(addr) = found.socket_addr() {
        assert_eq!(addr.port(), found.port);
    }
}

/// Components of paths, apart by zeros, and paths by line breaks.
pub(super) fn path(data: &[u8]) {
    let made = |line: &[u8]| SafePath::sanitise(line.split(|byte| *byte == 0)).ok();
    let mut paths: Vec<SafePath> = data.split(|byte| *byte == b'\n').filter_map(made).collect();
    for path in &paths {
        assert_stays_below(path.as_str());
        assert_eq!(SafePath::exact(path.as_str()).as_ref(), Ok(path), "it is safe as it is");
        let name = safe_component(path.file_name().as_bytes());
        assert_eq!(name, path.file_name(), "once is enough");
    }
    let before = paths.len();
    dedupe(&mut paths.iter_mut().collect::<Vec<_>>());
    let mut texts: Vec<_> = paths.iter().map(SafePath::as_str).collect();
    texts.iter().for_each(|path| assert_stays_below(path));
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), before, "each has its own");
    for pair in texts.windows(2) {
        let folder = pair[1].strip_prefix(pair[0]).is_some_and(|rest| rest.starts_with('/'));
        assert!(!folder, "{pair:?}: no file is another one's folder");
    }
}

/// A path that comes from outside names a place below the folder it is put in.
pub(super) fn assert_stays_below(path: &str) {
    assert!(!path.is_empty() && path.len() <= wgo_proto::path::MAX_PATH_LEN);
    assert!(!path.contains('\0'));
    let normal = |component| matches!(component, Component::Normal(_));
    assert!(Path::new(path).components().all(normal), "{path:?}");
    // Nor does anything fall away, as an empty component or a dot would.
    assert_eq!(Path::new(path).components().count(), path.split('/').count(), "{path:?}");
}

/// A file of settings: what it sets is found again in the form that the database keeps it in.
pub(super) fn config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let layer = match file::parse(Path::new("/etc/wgod/wgod.toml"), &text) {
        Ok(layer) => layer,
        // Every message says where.
        Err(problems) => {
            let said = problems.to_string();
            return assert!(said.starts_with("/etc/wgod/wgod.toml:"), "{said}");
        }
    };
    let stored: Vec<(String, String)> = layer.store().collect();
    let pairs = stored.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let (again, problems) = Layer::from_store(pairs.clone());
    // Some settings are never taken from there, and are told.
    let taken = pairs.filter(|(key, _)| !problems.iter().any(|problem| problem.key == *key));
    let again: Vec<(String, String)> = again.store().collect();
    assert!(again.iter().map(|(key, value)| (key.as_str(), value.as_str())).eq(taken));
    if let Err(problems) = resolve(&Layers { file: layer, ..Layers::default() }) {
        assert!(!problems.to_string().is_empty());
    }
}
