//! Encryption of connections to peers: whether it is wanted, and the computing that it takes.
//!
//! A key costs about 50 µs of a core, twice for each handshake, and a stranger has it computed by sending 96 bytes.
//! So keys are computed on a thread of the blocking pool, one at a time, which connections that exist don't notice;
//! and for strangers at a bounded rate, so that a flood of them takes a tenth of a core and no more.
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use wgo_proto::mse::{Chance, Method, Methods, RANDOM_LEN};

use crate::config::Encryption as Mode;
use crate::random;

/// Between two handshakes of strangers that are computed, when they are many.
const PACE: Duration = Duration::from_millis(1);
/// Handshakes that are computed at once after a rest.
const BURST: u32 = 64;

/// The setting, and the work under way.
#[derive(Debug)]
pub struct Encryption {
    mode: AtomicU8,
    turn: Arc<Semaphore>,
    /// When the next stranger's handshake is due at [`PACE`].
    due: Mutex<Option<Instant>>,
}

impl Default for Encryption {
    fn default() -> Encryption {
        Encryption { mode: AtomicU8::new(0), turn: Arc::new(Semaphore::new(1)), due: Mutex::default() }
    }
}

impl Encryption {
    /// The setting in force.
    pub fn mode(&self) -> Mode {
        match self.mode.load(Ordering::Relaxed) {
            0 => Mode::Off,
            1 => Mode::Allow,
            2 => Mode::Prefer,
            _ => Mode::Require,
        }
    }

    /// Another setting, for the connections to come.
    pub(crate) fn set(&self, mode: Mode) {
        let number = match mode {
            Mode::Off => 0,
            Mode::Allow => 1,
            Mode::Prefer => 2,
            Mode::Require => 3,
        };
        self.mode.store(number, Ordering::Relaxed);
    }

    /// What we would use on a connection.
    pub fn methods(&self) -> Methods {
        match self.mode() {
            Mode::Off | Mode::Allow | Mode::Prefer => Methods::ALL,
            Mode::Require => Methods::RC4,
        }
    }

    /// What we choose where the peer leaves us the choice. Whoever sets `prefer` wants what is said hidden too, and
    /// plain payload is told by the lengths of its messages; with `allow` a peer gets encryption that wants it, and
    /// one that offers both is content with the handshake.
    pub fn choice(&self) -> Method {
        match self.mode() {
            Mode::Off | Mode::Allow => Method::Plaintext,
            Mode::Prefer | Mode::Require => Method::Rc4,
        }
    }

    /// Computes what a connection of ours needs.
    pub async fn compute<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> io::Result<R> {
        // Neither is ever closed, and the work goes along with its turn even if nobody waits for it any more.
        let turn = self.turn.clone().acquire_owned().await.map_err(io::Error::other)?;
        #[allow(
            clippy::disallowed_methods,
            reason = "neither of a disk nor of payload, and twice a connection"
        )]
        let computed = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        });
        computed.await.map_err(io::Error::other)
    }

    /// Computes what a stranger's connection needs, when it is its turn.
    pub async fn compute_for_stranger<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> io::Result<R> {
        let at = self.next(Instant::now());
        tokio::time::sleep_until(at).await;
        self.compute(work).await
    }

    /// When the next stranger's turn is. At most as far away as handshakes of strangers are under way, which
    /// whoever accepts connections bounds.
    fn next(&self, now: Instant) -> Instant {
        // A panic can't leave a time half-set.
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let rested = now.checked_sub(PACE * BURST).unwrap_or(now);
        let at = due.map_or(rested, |due| due.max(rested));
        *due = Some(at + PACE);
        at
    }
}

/// The chance that one end of a handshake brings.
pub fn chance() -> io::Result<Chance> {
    Ok(Chance::new(&random::bytes::<RANDOM_LEN>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_computed_for_at_a_bounded_rate() {
        let encryption = Encryption::default();
        let now = Instant::now() + Duration::from_secs(100);
        let delays: Vec<Duration> =
            (0..500).map(|_| encryption.next(now).saturating_duration_since(now)).collect();
        assert!(delays[..BURST as usize].iter().all(Duration::is_zero), "{delays:?}");
        assert_eq!(delays[BURST as usize..], (0..436).map(|n| n * PACE).collect::<Vec<_>>()[..]);
        let later = now + Duration::from_secs(10);
        assert!(encryption.next(later) <= later, "what was put off is not held against the next");
    }

    #[tokio::test]
    async fn keys_are_computed_one_at_a_time_and_by_another_thread() {
        let encryption = Encryption::default();
        let busy = Arc::new(Mutex::new(()));
        let here = std::thread::current().id();
        let work = || {
            let busy = busy.clone();
            move || busy.try_lock().is_ok() && std::thread::current().id() != here
        };
        let (one, other, stranger) = tokio::join!(
            encryption.compute(work()),
            encryption.compute(work()),
            encryption.compute_for_stranger(work())
        );
        assert!(one.is_ok_and(|ok| ok) && other.is_ok_and(|ok| ok) && stranger.is_ok_and(|ok| ok));
    }

    #[test]
    fn chance_differs() {
        let (one, other) = (chance().expect("random bytes"), chance().expect("random bytes"));
        assert_ne!(one.private, other.private);
    }

    #[test]
    fn settings_are_kept() {
        let encryption = Encryption::default();
        assert_eq!(encryption.mode(), Mode::Off);
        for mode in [Mode::Require, Mode::Prefer, Mode::Allow, Mode::Off] {
            encryption.set(mode);
            assert_eq!(encryption.mode(), mode);
        }
        encryption.set(Mode::Require);
        assert_eq!(encryption.methods(), Methods::RC4);
    }
}
