//! The setting that names a program to run: `[hooks] on_…`.
use std::path::Path;

use super::setting::{Raw, Refused, Setting};

/// A program and its arguments, or none. No shell ever reads them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookCommand(Vec<String>);

impl HookCommand {
    /// The program, then its arguments; empty when there is none.
    pub fn words(&self) -> &[String] {
        &self.0
    }

    /// The program as it is written.
    pub fn program(&self) -> Option<&str> {
        self.0.first().map(String::as_str)
    }
}

impl Setting for HookCommand {
    fn allowed() -> String {
        "a list of a program and its arguments, as in [\"/usr/local/bin/done\", \"--quiet\"]".into()
    }

    fn parse(raw: &Raw) -> Result<HookCommand, Refused> {
        let words: Vec<String> = match raw {
            raw if raw.is_off() => Vec::new(),
            Raw::List(_) | Raw::Bare(_) => Vec::parse(raw)?,
            Raw::Text(_) => return Err(Refused::because("no shell takes a line of text apart")),
            _ => return Err(Refused::default()),
        };
        if words.iter().any(|word| word.contains('\0')) {
            return Err(Refused::because("no argument has a NUL character"));
        }
        match words.first().map(String::as_str) {
            Some("") => Err(Refused::because("the program has no name")),
            Some(program) if is_relative(program) => Err(Refused::because(format!(
                "{program} is relative; write an absolute path, one that begins with ~/, or a name without / that is found in $PATH"
            ))),
            _ => Ok(HookCommand(words)),
        }
    }

    fn to_toml(&self) -> String {
        self.0.to_toml()
    }
}

/// Whether it depends on a working directory, which a service has none of its own of.
fn is_relative(program: &str) -> bool {
    program.contains('/') && !program.starts_with("~/") && !Path::new(program).is_absolute()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &[&str]) -> Raw {
        Raw::List(words.iter().map(|word| Raw::Text((*word).into())).collect())
    }

    #[test]
    fn a_command_is_a_list_and_comes_back_as_it_was_written() {
        for words in [&["/bin/x"][..], &["~/bin/x", "", "a b", "$HOME"], &["notify-send", "done"], &[]] {
            let command = HookCommand::parse(&list(words)).unwrap();
            assert_eq!(command.words(), words);
            let again = super::super::file::value(&command.to_toml()).unwrap();
            assert_eq!(HookCommand::parse(&again).unwrap(), command);
        }
        assert_eq!(HookCommand::parse(&Raw::Bare("/bin/x, --a".into())).unwrap().words(), ["/bin/x", "--a"]);
        assert_eq!(HookCommand::parse(&Raw::Bool(false)).unwrap().program(), None);
    }

    #[test]
    fn what_no_program_can_be_is_refused_with_the_reason() {
        for (raw, why) in [
            (Raw::Text("/bin/x --a".into()), "no shell"),
            (list(&["", "a"]), "no name"),
            (list(&["bin/x"]), "relative"),
            (list(&["./x"]), "relative"),
            (list(&["/bin/x", "a\0b"]), "NUL"),
        ] {
            let refused = HookCommand::parse(&raw).unwrap_err().detail.unwrap();
            assert!(refused.contains(why), "{raw}: {refused}");
        }
        for raw in [Raw::Int(1), Raw::Bool(true), Raw::List(vec![Raw::Int(1)])] {
            assert!(HookCommand::parse(&raw).is_err(), "{raw}");
        }
    }
}
