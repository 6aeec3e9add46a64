//! What the tests of the whole share: payloads, daemons under test, real peers, trackers.
