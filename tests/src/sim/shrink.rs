//! What fails, made small: happenings and nodes are taken out of a plan as long as it still fails in the same place.
use std::cell::RefCell;
use std::panic;
use std::time::{Duration, Instant};

use crate::sim::plan::Plan;

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Panics are kept, for [`last_panic`], and not printed, in this whole process.
pub fn keep_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map_or(String::new(), |at| format!("{}:{}", at.file(), at.line()));
        let text = info.payload_as_str().unwrap_or("something that is no text");
        LAST.with_borrow_mut(|last| *last = format!("{place}: {text}"));
    }));
}

/// What this thread panicked with last: the place, and the text.
pub fn last_panic() -> String {
    LAST.with_borrow(Clone::clone)
}

/// Where a failure is, without what it says.
pub fn place_of(failure: &str) -> &str {
    let end = failure.match_indices(": ").next().map_or(failure.len(), |(at, _)| at);
    &failure[..end]
}

/// Takes out what is not needed for `fails`, halves first and then ever smaller parts, until the time is over.
pub fn shrink(plan: &Plan, patience: Duration, fails: impl Fn(&Plan) -> bool) -> Plan {
    let end = Instant::now() + patience;
    let mut best = plan.clone();
    let mut part = best.happenings.len().div_ceil(2);
    while part > 0 && Instant::now() < end {
        let (mut at, mut any) = (0, false);
        while at < best.happenings.len() && Instant::now() < end {
            let mut less = best.clone();
            less.happenings.drain(at..(at + part).min(best.happenings.len()));
            if fails(&less) {
                (best, any) = (less, true);
            } else {
                at += part;
            }
        }
        part = if any && part == 1 { 1 } else { part / 2 };
    }
    for node in (0..best.nodes.len()).rev() {
        if best.nodes[node].absent || Instant::now() >= end {
            continue;
        }
        let mut less = best.clone();
        less.nodes[node].absent = true;
        if fails(&less) {
            best = less;
        }
    }
    best
}
