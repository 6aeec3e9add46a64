//! A real process is killed in the middle of its work.
