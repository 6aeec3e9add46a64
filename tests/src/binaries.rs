//! The programs under test, built as this test was.
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// `wgod`.
pub fn wgod() -> PathBuf {
    folder().join("wgod")
}

/// `wgoctl`.
pub fn wgoctl() -> PathBuf {
    folder().join("wgoctl")
}

/// Where both are: `WGOD_TEST_BINARIES` if set, else the folder that cargo builds this test into.
///
/// cargo does not tell a test about the programs of other packages, nor does it rebuild them for it,
/// so a build that has nothing to do makes sure that what is tested is what the source says.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| match std::env::var_os("WGOD_TEST_BINARIES") {
        Some(given) => given.into(),
        None => build(),
    })
}

fn build() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // cargo puts tests into TARGET/PROFILE/deps, and programs into the folder above.
    let beside = test.parent().expect("a program lies in a folder");
    let folder =
        if beside.ends_with("deps") { beside.parent().expect("deps lies in a folder") } else { beside };
    let target = folder.parent().unwrap();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--bins", "-p", "wgod", "-p", "wgoctl", "--target-dir"]).arg(target);
    if folder.ends_with("release") {
        command.arg("--release");
    }
    // What cargo tells this test of its package. `ring` is built anew when that changes, and all that needs it.
    let of_this_package = |name: &str| {
        [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_CRATE_",
            "CARGO_TARGET_TMPDIR",
            "LD_LIBRARY_PATH",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix))
    };
    for name in std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()) {
        if of_this_package(&name) {
            command.env_remove(name);
        }
    }
    let status = command.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
    assert!(status.success(), "wgod and wgoctl do not build");
    folder.to_owned()
}
