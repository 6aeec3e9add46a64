//! `--socket ssh://…` with a program in place of `ssh` that connects to nothing but this machine.
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::harness::Rig;

/// Writes down its arguments, makes the far socket stand at the near end, and ends with its input.
const FORWARDS: &str = r#"#!/bin/sh
printf '%s\n' "$@" > "$0.args"
while [ $# -gt 0 ]; do [ "$1" = -L ] && spec=$2; shift; done
ln -s "${spec#*:}" "${spec%%:*}"
cat
echo ended > "$0.ended"
"#;

/// What an `ssh` looks like that does not get in.
const FAILS: &str = "#!/bin/sh\necho 'banner' >&2\necho 'ssh: connect to host box port 22: Connection refused' >&2\nexit 255\n";

fn ssh(folder: &Path, script: &str) -> std::path::PathBuf {
    let path = folder.join("ssh");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn wgoctl(folder: &Path, args: &[&str]) -> Output {
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let mut command = Command::new(env!("CARGO_BIN_EXE_wgoctl"));
    command.args(args).env_clear().env("PATH", path).env("TMPDIR", folder).output().unwrap()
}

/// What is left in the folder besides what a test put there.
fn leftovers(folder: &Path) -> Vec<String> {
    let names =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("wgoctl-")).collect()
}

#[test]
fn verbs_work_through_ssh_which_ends_with_them() {
    let rig = Rig::new();
    let folder = rig.daemon.folder();
    let ssh = ssh(folder, FORWARDS);
    let socket = format!("ssh://me@box:2222{}", rig.daemon.socket().display());
    let file = rig.file("a.torrent", b"d1:ae");
    for args in [&["status"][..], &["list"], &["add", &file, "--folder", "/srv"], &["events"]] {
        let ran = wgoctl(folder, &[&["--socket", &socket], args].concat());
        assert!(ran.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
    }
    let doctor = wgoctl(folder, &["--socket", &socket, "doctor"]);
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("ssh://me@box"), "{doctor:?}");
    let sent = std::fs::read_to_string(ssh.with_file_name("ssh.args")).unwrap();
    assert!(sent.ends_with("--\nssh://me@box:2222\ncat\n"), "{sent}");
    assert!(sent.contains("-o\nBatchMode=yes\n") && sent.contains("-L\n"), "{sent}");
    assert!(leftovers(folder).is_empty(), "{:?}", leftovers(folder));
    // The folder is at the far end: what it is relative to can't be known.
    let ran = wgoctl(folder, &["--socket", &socket, "add", &file, "--folder", "media"]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("the whole path"), "{ran:?}");
    let ran = wgoctl(folder, &["--socket", &socket, "quit"]);
    assert!(ran.status.success(), "{ran:?}");
}

#[test]
fn what_goes_wrong_is_told_with_the_url_and_the_words_of_ssh() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let said = |ran: &Output| String::from_utf8_lossy(&ran.stderr).into_owned();
    let ran = wgoctl(folder, &["--socket", "ssh://", "status"]);
    assert_eq!((ran.status.code(), said(&ran).contains("names no host")), (Some(2), true), "{}", said(&ran));

    ssh(folder, FAILS);
    let ran = wgoctl(folder, &["--socket", "ssh://box", "status"]);
    assert_eq!(ran.status.code(), Some(3));
    assert!(
        said(&ran).contains("ssh to ssh://box ended") && said(&ran).contains("Connection refused"),
        "{}",
        said(&ran)
    );

    // A tunnel to where no daemon is: it lets in and hangs up.
    let deaf = folder.join("deaf");
    let _listener = std::os::unix::net::UnixListener::bind(&deaf).unwrap();
    ssh(folder, FORWARDS);
    let url = format!("ssh://box{}", deaf.display());
    let ran = wgoctl(folder, &["--socket", &url, "--timeout", "1", "status"]);
    assert_eq!(ran.status.code(), Some(7), "{}", said(&ran));

    ssh(folder, "#!/bin/sh\nexec cat\n");
    let ran = wgoctl(folder, &["--socket", "ssh://box", "--timeout", "1", "status"]);
    assert_eq!(
        (ran.status.code(), said(&ran).contains("has not connected")),
        (Some(7), true),
        "{}",
        said(&ran)
    );
    assert!(leftovers(folder).is_empty());
    // What needs no daemon needs no ssh.
    assert!(wgoctl(folder, &["--socket", "ssh://box", "completions", "bash"]).status.success());
}
