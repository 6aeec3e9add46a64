//! Behaviour of the session as its callers see it.
