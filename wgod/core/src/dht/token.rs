//! Write tokens (BEP 5): whoever announces must have asked before, from the same address, so that nobody is
//! signed up by another.
use std::net::IpAddr;
use std::time::Duration;

use sha1::{Digest, Sha1};
use wgo_proto::NodeId;

use crate::Time;

/// A secret is used for so long, and accepted for as long again: a token is good for 5 to 10 minutes (BEP 5).
const ROTATION: Duration = Duration::from_secs(5 * 60);

/// 64 bits can't be guessed at the rate at which we answer; more would cost room in each response.
const LEN: usize = 8;

/// Makes tokens and recognises them. None is kept.
#[derive(Debug)]
pub(super) struct Tokens {
    secret: [u8; 16],
    previous: [u8; 16],
    rotate_at: Time,
}

impl Tokens {
    pub(super) fn new(now: Time, rng: &mut fastrand::Rng) -> Tokens {
        let mut secret = || std::array::from_fn(|_| rng.u8(..));
        Tokens { secret: secret(), previous: secret(), rotate_at: now + ROTATION }
    }

    /// A new secret when it is time. After a long sleep both are new.
    pub(super) fn rotate(&mut self, now: Time, rng: &mut fastrand::Rng) {
        while self.rotate_at <= now {
            self.previous = self.secret;
            self.secret = std::array::from_fn(|_| rng.u8(..));
            self.rotate_at = match now.since(self.rotate_at) > ROTATION * 2 {
                true => now,
                false => self.rotate_at + ROTATION,
            };
        }
    }

    /// What the node at `ip` needs to announce or put something at `target`.
    pub(super) fn issue(&self, ip: IpAddr, target: NodeId) -> [u8; LEN] {
        token(&self.secret, ip, target)
    }

    /// Whether this was issued to `ip` for `target` not long ago.
    pub(super) fn accepts(&self, given: &[u8], ip: IpAddr, target: NodeId) -> bool {
        [&self.secret, &self.previous].into_iter().any(|secret| token(secret, ip, target) == given)
    }
}

fn token(secret: &[u8; 16], ip: IpAddr, target: NodeId) -> [u8; LEN] {
    let mut hash = Sha1::new_with_prefix(secret).chain_update(target.0);
    match ip {
        IpAddr::V4(v4) => hash.update(v4.octets()),
        IpAddr::V6(v6) => hash.update(v6.octets()),
    }
    let digest: [u8; 20] = hash.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    [a, b, c, d, e, f, g, h]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mins(mins: u64) -> Time {
        Time::from_start(Duration::from_secs(mins * 60))
    }

    #[test]
    fn a_token_is_good_for_its_address_and_target_and_for_five_to_ten_minutes() {
        let mut rng = fastrand::Rng::with_seed(1);
        let (ip, other): (IpAddr, IpAddr) = ("1.2.3.4".parse().unwrap(), "1.2.3.5".parse().unwrap());
        let target = NodeId([7; 20]);
        for (issued, asked, good) in
            [(0, 0, true), (0, 9, true), (4, 9, true), (4, 10, false), (0, 60, false)]
        {
            let mut tokens = Tokens::new(mins(0), &mut rng);
            tokens.rotate(mins(issued), &mut rng);
            let token = tokens.issue(ip, target);
            assert!(tokens.accepts(&token, ip, target));
            assert!(!tokens.accepts(&token, other, target));
            assert!(!tokens.accepts(&token, ip, NodeId([8; 20])));
            assert!(!tokens.accepts(&token[..7], ip, target) && !tokens.accepts(b"", ip, target));
            tokens.rotate(mins(asked), &mut rng);
            assert_eq!(tokens.accepts(&token, ip, target), good, "issued {issued} asked {asked}");
        }
    }
}
