//! Which answers are awaited on the UDP sockets: by transaction id and by whom (BEP 15).
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
use wgo_proto::compact::Family;
use wgo_proto::tracker::udp;

use crate::random;

/// Answers kept until their request looks at them; one more is dropped, as the network may drop it.
pub(super) const ANSWERS_KEPT: usize = 4;

/// The table of one daemon.
#[derive(Default)]
pub(super) struct Transactions {
    /// Two for each announce that has its turn at most, so the [`Gate`](super::gate::Gate) bounds it.
    awaited: Mutex<HashMap<u32, Awaited>>,
}

struct Awaited {
    from: Source,
    answers: mpsc::Sender<Packet>,
}

/// Where a packet comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    /// A tracker.
    Addr(SocketAddr),
    /// The proxy's relay. It says from which address, but a tracker that it was given by name may have any.
    Relay,
}

impl Source {
    /// The flow label and scope of an IPv6 source are not part of its identity.
    fn is(self, other: Source) -> bool {
        match (self, other) {
            (Source::Addr(one), Source::Addr(other)) => (one.ip(), one.port()) == (other.ip(), other.port()),
            (Source::Relay, Source::Relay) => true,
            _ => false,
        }
    }
}

/// A packet, and the family by which it came, as far as that is known: addresses in it are of the same.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) family: Family,
    pub(super) bytes: Vec<u8>,
}

/// A transaction under way; none any more when dropped.
pub(super) struct Transaction {
    pub(super) id: u32,
    table: Arc<Transactions>,
}

impl Transactions {
    /// Begins a transaction with `from`, whose answers go to `answers`.
    pub(super) fn open(
        self: &Arc<Self>,
        from: Source,
        answers: &mpsc::Sender<Packet>,
    ) -> io::Result<Transaction> {
        loop {
            // Not to be guessed by who would forge an answer.
            let id = u32::from_ne_bytes(random::bytes()?);
            let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
            if let Entry::Vacant(free) = awaited.entry(id) {
                free.insert(Awaited { from, answers: answers.clone() });
                return Ok(Transaction { id, table: self.clone() });
            }
        }
    }

    /// Passes a packet on to the transaction that it answers. `false` if it answers none, or came from
    /// elsewhere: then it is forged or late.
    pub(super) fn deliver(&self, from: Source, family: Family, packet: &[u8]) -> bool {
        let awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = udp::transaction_of(packet).and_then(|id| awaited.get(&id));
        let Some(awaited) = transaction.filter(|awaited| awaited.from.is(from)) else { return false };
        // When full, this is one answer too many to a request that has some already.
        let _ = awaited.answers.try_send(Packet { family, bytes: packet.to_vec() });
        true
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.awaited.lock().unwrap().len()
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.table.awaited.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wgo_proto::compact::Family::V6;
    use wgo_proto::tracker::udp::Response;

    fn addr(text: &str) -> Source {
        Source::Addr(text.parse().unwrap())
    }

    #[test]
    fn only_the_one_who_was_asked_can_answer_and_only_while_asked() {
        let table = Arc::new(Transactions::default());
        let (sender, mut answers) = mpsc::channel(ANSWERS_KEPT);
        let asked = addr("[2001:db8::1]:80");
        let transaction = table.open(asked, &sender).unwrap();
        let mut packet = Vec::new();
        Response::Connect { transaction: transaction.id, connection: 7 }.encode(&mut packet);
        let mut other = Vec::new();
        Response::Connect { transaction: !transaction.id, connection: 7 }.encode(&mut other);

        assert!(!table.deliver(addr("[2001:db8::1]:81"), V6, &packet), "another port");
        assert!(!table.deliver(addr("[2001:db8::2]:80"), V6, &packet), "another address");
        assert!(!table.deliver(asked, V6, &other), "another transaction");
        assert!(!table.deliver(asked, V6, &packet[..7]), "too short");
        assert!(answers.try_recv().is_err());
        assert!(table.deliver(asked, V6, &packet));
        assert!(!table.deliver(Source::Relay, V6, &packet), "by the proxy");
        assert_eq!(answers.try_recv().unwrap(), Packet { family: V6, bytes: packet.clone() });

        // A flood for one transaction takes no more room than this.
        (0..100).for_each(|_| assert!(table.deliver(asked, V6, &packet)));
        assert_eq!(std::iter::from_fn(|| answers.try_recv().ok()).count(), ANSWERS_KEPT);

        drop(transaction);
        assert!(!table.deliver(asked, V6, &packet), "over");
        assert_eq!(table.len(), 0);
    }
}
