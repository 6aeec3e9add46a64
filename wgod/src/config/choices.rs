//! Settings that are one of a few words.
use super::setting::{Raw, Refused, Setting, quoted};
use wgo_api::suggest::nearest;

/// Declares an enum and the word that stands for each of its values in a configuration.
macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl Setting for $name {
            fn allowed() -> String {
                one_of(&[$($word),*])
            }

            fn parse(raw: &Raw) -> Result<Self, Refused> {
                let word = if *raw == Raw::Bool(false) { "off" } else { raw.text().unwrap_or_default() };
                // Every setting understands "off"; where that isn't a word of its own, it is "none".
                let word = if word == "off" && ![$($word),*].contains(&word) { "none" } else { word };
                match word {
                    $($word => Ok($name::$variant),)*
                    _ => Err(unknown_word(raw.text().unwrap_or_default(), &[$($word),*])),
                }
            }

            fn to_toml(&self) -> String {
                quoted(match self { $($name::$variant => $word,)* })
            }
        }
    };
}

choice! {
    /// Whether connections between peers are obfuscated (the protocol's "message stream encryption").
    Encryption {
        /// Plain connections only.
        Off = "off",
        /// Plain where the peer takes it, obfuscated otherwise.
        Allow = "allow",
        /// Obfuscated where the peer takes it, plain otherwise.
        Prefer = "prefer",
        /// Obfuscated only.
        Require = "require",
    }
}

choice! {
    /// What goes by the proxy.
    ProxyFor {
        /// Peers and trackers.
        All = "all",
        /// Peers only.
        Peers = "peers",
        /// Trackers only.
        Trackers = "trackers",
    }
}

choice! {
    /// Which peers of a complete torrent are unchoked first.
    SeedingOrder {
        /// Each in turn, by what it took since its last turn.
        RoundRobin = "round-robin",
        /// The peers that take fastest.
        FastestUpload = "fastest-upload",
        /// The peers that have least or almost all; the middle, where leeches sit, comes last.
        AntiLeech = "anti-leech",
    }
}

choice! {
    /// What happens to a torrent that reached its seeding goal.
    AfterGoal {
        /// It stops and stays in the list.
        Stop = "stop",
        /// It leaves the list; its files stay.
        Remove = "remove",
        /// It leaves the list and its files are deleted.
        RemoveWithFiles = "remove-with-files",
        /// Nothing: there are no goals but for torrents with an action of their own.
        Keep = "keep",
    }
}

choice! {
    /// How a torrent ranks in the queue.
    Priority {
        /// After others.
        Low = "low",
        /// As most do.
        Normal = "normal",
        /// Before others.
        High = "high",
    }
}

choice! {
    /// What happens to a .torrent file of a watched folder once it was added.
    AfterImport {
        /// It stays as it is and is remembered.
        Keep = "keep",
        /// It is renamed to end in `.added`.
        Rename = "rename",
        /// It is deleted.
        Delete = "delete",
    }
}

choice! {
    /// How the space of a file is reserved when it is first written to.
    Preallocate {
        /// Not at all: the file grows with what is written.
        None = "none",
        /// It gets its length at once, and space as it is written.
        Sparse = "sparse",
        /// It gets its length and its space at once.
        Full = "full",
    }
}

/// How many peers are unchoked at once, over all torrents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slots {
    /// As many as the upload rate feeds.
    Auto,
    /// Exactly this many.
    Fixed(u32),
}

/// More slots than any link has use for.
const MAX_SLOTS: u32 = 10_000;

impl Setting for Slots {
    fn allowed() -> String {
        format!("\"auto\" or a whole number from 1 to {MAX_SLOTS}")
    }

    fn parse(raw: &Raw) -> Result<Slots, Refused> {
        if raw.text() == Some("auto") {
            return Ok(Slots::Auto);
        }
        let number = raw.whole().and_then(|n| u32::try_from(n).ok());
        number.filter(|n| (1..=MAX_SLOTS).contains(n)).map(Slots::Fixed).ok_or_else(Refused::default)
    }

    fn to_toml(&self) -> String {
        match self {
            Slots::Auto => quoted("auto"),
            Slots::Fixed(n) => n.to_string(),
        }
    }
}

fn one_of(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

fn unknown_word(found: &str, words: &[&str]) -> Refused {
    match nearest(found, words.iter().copied()) {
        Some(word) => Refused::because(format!("did you mean {}?", quoted(word))),
        None => Refused::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_reserved_by_one_of_three_words_and_off_is_none() {
        let text = |word: &str| Raw::Text(word.into());
        for (raw, want) in [
            (text("none"), Preallocate::None),
            (text("sparse"), Preallocate::Sparse),
            (text("full"), Preallocate::Full),
            (text("off"), Preallocate::None),
            (Raw::Bool(false), Preallocate::None),
            (Raw::Bare("full".into()), Preallocate::Full),
        ] {
            assert_eq!(Preallocate::parse(&raw), Ok(want), "{raw}");
        }
        assert_eq!(Preallocate::Full.to_toml(), "\"full\"");
        let refused = Preallocate::parse(&text("ful")).unwrap_err();
        assert_eq!(refused, Refused::because("did you mean \"full\"?"));
        assert!(Preallocate::parse(&Raw::Bool(true)).is_err());
    }

    #[test]
    fn off_is_a_word_of_its_own_where_there_is_one() {
        assert_eq!(Encryption::parse(&Raw::Bool(false)), Ok(Encryption::Off));
        assert!(SeedingOrder::parse(&Raw::Text("off".into())).is_err());
    }
}
