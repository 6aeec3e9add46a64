//! Settings that may leave a value to who comes next: a label or a tracker need not say everything.
use super::setting::{Raw, Refused, Setting, quoted};

/// A value, or none: who comes next says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen<T>(pub Option<T>);

impl<T> Chosen<T> {
    /// Who comes next says it.
    pub const DEFAULT: Chosen<T> = Chosen(None);
}

impl<T: Setting> Setting for Chosen<T> {
    fn allowed() -> String {
        format!("{}; or \"default\"", T::allowed())
    }

    fn parse(raw: &Raw) -> Result<Chosen<T>, Refused> {
        match raw.text() {
            Some("default") => Ok(Chosen::DEFAULT),
            // Unlike an optional setting, "off" is a choice: there is to be none, whoever comes next.
            _ => T::parse(raw).map(|value| Chosen(Some(value))),
        }
    }

    fn to_toml(&self) -> String {
        self.0.as_ref().map_or_else(|| quoted("default"), T::to_toml)
    }
}

/// A ratio that is a seeding goal: 0 is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GoalRatio(pub f64);

impl Setting for GoalRatio {
    fn allowed() -> String {
        format!("a number, from 0 to {}", wgo_api::goals::MAX_RATIO)
    }

    fn parse(raw: &Raw) -> Result<GoalRatio, Refused> {
        let ratio = f64::parse(raw)?;
        match (0.0..=wgo_api::goals::MAX_RATIO).contains(&ratio) {
            true => Ok(GoalRatio(ratio)),
            false => Err(Refused::default()),
        }
    }

    fn to_toml(&self) -> String {
        self.0.to_toml()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgo_api::units::Period;

    fn value(text: &str) -> Raw {
        super::super::file::value(text).unwrap()
    }

    #[test]
    fn none_is_a_choice_and_the_default_is_none() {
        for (text, want) in [
            ("\"default\"", Chosen::DEFAULT),
            ("1.5", Chosen(Some(GoalRatio(1.5)))),
            ("2", Chosen(Some(GoalRatio(2.0)))),
            ("0", Chosen(Some(GoalRatio(0.0)))),
            ("\"off\"", Chosen(Some(GoalRatio(0.0)))),
            ("false", Chosen(Some(GoalRatio(0.0)))),
        ] {
            let parsed = Chosen::<GoalRatio>::parse(&value(text)).unwrap();
            assert_eq!(parsed, want, "{text}");
            assert_eq!(Chosen::parse(&value(&parsed.to_toml())), Ok(want), "{text}");
        }
        for text in ["-1", "100001", "nan", "\"much\"", "[1]"] {
            assert!(Chosen::<GoalRatio>::parse(&value(text)).is_err(), "{text}");
        }
        assert_eq!(Chosen::<Period>::parse(&value("\"7 d\"")), Ok(Chosen(Some(Period(604_800)))));
    }
}
