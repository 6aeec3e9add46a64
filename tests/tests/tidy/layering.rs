//! Who may depend on whom, and why each outside crate is there.
use std::process::Command;

use serde_json::Value;

use crate::{assert_none, root};

/// The packages and the packages of the workspace that each may use.
const EDGES: &[(&str, &[&str])] = &[
    ("wgo-proto", &[]),
    ("wgo-hash", &["wgo-proto"]),
    ("wgo-core", &["wgo-proto"]),
    ("wgo-api", &["wgo-proto"]),
    ("wgod", &["wgo-proto", "wgo-hash", "wgo-core", "wgo-api"]),
    ("wgoctl", &["wgo-api", "wgo-proto", "wgo-hash"]),
    ("wgo-tests", &["wgo-proto", "wgo-hash", "wgo-core", "wgo-api", "wgod", "wgoctl"]),
];

fn packages() -> Vec<Value> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs: it runs this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    metadata["packages"].as_array().expect("packages are a list").clone()
}

#[test]
fn packages_depend_only_downwards() {
    let packages = packages();
    let mut breaches = Vec::new();
    for package in &packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = EDGES.iter().find(|(known, _)| *known == name) else {
            breaches.push(format!("{name} is a new package: add it to EDGES"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let used = dependency["name"].as_str().unwrap_or_default();
            let ours = EDGES.iter().any(|(known, _)| *known == used);
            // A package may use itself in its tests, with more features.
            if ours && used != name && !allowed.contains(&used) {
                breaches.push(format!("{name} uses {used}"));
            }
        }
    }
    assert_eq!(packages.len(), EDGES.len(), "a package is missing");
    assert_none("a floor uses only the floors below it (DESIGN, The house)", &breaches);
}

#[test]
fn every_dependency_says_why_it_is_there() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let lines: Vec<_> = manifest.lines().map(str::trim).collect();
    let mut breaches = Vec::new();
    for (at, line) in table(&lines, "[workspace.dependencies]") {
        let explained = line.contains(" # ") || (at > 0 && lines[at - 1].starts_with('#'));
        if !explained && !line.contains("path =") {
            breaches.push(line.to_owned());
        }
    }
    assert_none("Cargo.toml: a comment above each dependency says what it is for", &breaches);
}

#[test]
fn versions_stand_in_the_workspace_only() {
    let mut breaches = Vec::new();
    for package in packages() {
        let path = package["manifest_path"].as_str().unwrap_or_default().to_owned();
        let manifest = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = manifest.lines().map(str::trim).collect();
        for header in ["[dependencies]", "[dev-dependencies]", "[build-dependencies]"] {
            let own = table(&lines, header).filter(|(_, line)| !line.contains("workspace = true"));
            breaches.extend(own.map(|(_, line)| format!("{path}: {line}")));
        }
    }
    assert_none("a member takes versions from the workspace", &breaches);
}

/// The entries of a table of a manifest, one a line.
fn table<'a>(lines: &'a [&'a str], header: &str) -> impl Iterator<Item = (usize, &'a str)> {
    let start = lines.iter().position(|line| *line == header).map_or(lines.len(), |at| at + 1);
    let entries =
        lines.iter().copied().enumerate().skip(start).take_while(|(_, line)| !line.starts_with('['));
    entries.filter(|(_, line)| !line.is_empty() && !line.starts_with('#') && line.contains('='))
}
