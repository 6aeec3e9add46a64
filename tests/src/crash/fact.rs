//! Something that an operator knows of the daemon: what was acknowledged, and what is in doubt.

/// A value, and those that it may have become by requests that nobody answered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fact<T> {
    sure: T,
    maybe: Vec<T>,
}

impl<T: Clone + PartialEq> Fact<T> {
    pub(super) fn new(sure: T) -> Fact<T> {
        Fact { sure, maybe: Vec::new() }
    }

    /// The last value that is certain.
    pub(super) fn sure(&self) -> &T {
        &self.sure
    }

    /// Whether nothing is in doubt.
    pub(super) fn is_certain(&self) -> bool {
        self.maybe.iter().all(|value| *value == self.sure)
    }

    /// It was asked to become `value`.
    pub(super) fn ask(&mut self, value: T) {
        self.maybe.push(value);
    }

    /// It has become, or turned out to be, `value`.
    pub(super) fn settle(&mut self, value: T) {
        *self = Fact::new(value);
    }

    /// It is shown, which counts for what comes next unless it may be gone with the process.
    pub(super) fn see(&mut self, value: T, volatile: bool) {
        if !volatile {
            self.settle(value);
        }
    }

    /// Whether it can be `value`.
    pub(super) fn allows(&self, value: &T) -> bool {
        self.values().any(|possible| possible == value)
    }

    /// All that it can be.
    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.sure).chain(&self.maybe)
    }
}
