//! `wgoctl completions` in the real shells: what they make of a line that is half written.
use std::path::PathBuf;
use std::process::Command;

use wgoctl::console::Terminal;

use crate::harness::run_with;

/// Runs `script` in the shell with the completions' path as its first argument and returns what it printed;
/// `None`, loudly, where the shell isn't installed.
#[expect(clippy::print_stderr, reason = "a test that did not run says so")]
fn complete(shell: &str, options: &[&str], script: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("completions");
    std::fs::write(&path, run_with(&["completions", shell], b"", Terminal::default()).code(0).out).unwrap();
    let mut command = Command::new(shell);
    command.args(options).arg("-c").arg(script);
    // bash and zsh take the next for their own name.
    command.args(if shell == "fish" { &[][..] } else { &["test"] }).arg(&path);
    let ran = command.env_clear().env("PATH", std::env::var_os("PATH")?).env("HOME", folder.path()).output();
    match ran {
        Ok(output) => {
            let err = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success() && err.is_empty(), "{shell}: {err}");
            Some(String::from_utf8(output.stdout).unwrap())
        }
        Err(error) => {
            let required = ["CI", "WGOD_REQUIRE_PEERS"].iter().any(|name| std::env::var_os(name).is_some());
            assert!(!required, "{shell} is required and can't be run: {error}");
            eprintln!("SKIPPED: completions for {shell}, which can't be run: {error}");
            None
        }
    }
}

#[test]
fn bash_completes_verbs_options_and_values() {
    let script = r#"
        . "$1"
        for line in "lis" "list --fil" "add --wait " "config sh" "--so"; do
            COMP_WORDS=(wgoctl); IFS=' ' read -ra rest <<<"$line"; COMP_WORDS+=("${rest[@]}")
            [[ $line == *' ' ]] && COMP_WORDS+=("")
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
            _wgoctl wgoctl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}" 2>/dev/null
            echo "${COMPREPLY[*]}"
        done"#;
    let Some(out) = complete("bash", &["--norc", "--noprofile"], script) else { return };
    assert_eq!(out, "list\n--filter\nmetadata done\nshow\n--socket\n");
}

#[test]
fn fish_completes_verbs_options_and_values() {
    let script = r#"
        source $argv[1]
        for line in "lis" "list --fil" "add --wait " "config sh"
            complete -C "wgoctl $line" | string split -f1 \t | string join ' '
        end
        # `string join` fails where there was nothing to join.
        true"#;
    let Some(out) = complete("fish", &["--no-config"], script) else { return };
    assert_eq!(out, "list\n--filter\ndone metadata\nshow\n");
}

#[test]
fn zsh_completes_verbs_options_and_values() {
    // Types into an interactive shell, whose wgoctl writes down what it was called with.
    let script = r#"
        zmodload zsh/zpty
        zpty shell zsh -f -i
        say() { zpty -w shell "$1" }
        say "autoload -U compinit; compinit -D; . ${(q)1}; compdef _wgoctl wgoctl"
        say "wgoctl() { print -r -- \"\$*\" >> ${(q)1}.calls }"
        zpty -n -w shell $'wgoctl lis\t\n'
        zpty -n -w shell $'wgoctl list --fil\tx\n'
        zpty -n -w shell $'wgoctl add --wait don\tx\n'
        say 'exit'
        # Reads to the shell's end, so that it never waits for us.
        while zpty -r shell line; do :; done
        cat ${1}.calls"#;
    let Some(out) = complete("zsh", &["-f"], script) else { return };
    let words: Vec<String> =
        out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(words, ["list", "list --filter=x", "add --wait done x"]);
}
