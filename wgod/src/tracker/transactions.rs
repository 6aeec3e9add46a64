//! Which answers are awaited on the UDP sockets: by transaction id and by whom (BEP 15).
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;
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
    from: SocketAddr,
    answers: mpsc::Sender<Vec<u8>>,
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
        from: SocketAddr,
        answers: &mpsc::Sender<Vec<u8>>,
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
    pub(super) fn deliver(&self, from: SocketAddr, packet: &[u8]) -> bool {
        let awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = udp::transaction_of(packet).and_then(|id| awaited.get(&id));
        // The flow label and scope of an IPv6 source are not part of its identity.
        let genuine =
            |awaited: &&Awaited| (awaited.from.ip(), awaited.from.port()) == (from.ip(), from.port());
        let Some(awaited) = transaction.filter(genuine) else { return false };
        // When full, this is one answer too many to a request that has some already.
        let _ = awaited.answers.try_send(packet.to_vec());
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
    use wgo_proto::tracker::udp::Response;

    #[test]
    fn only_the_one_who_was_asked_can_answer_and_only_while_asked() {
        let table = Arc::new(Transactions::default());
        let (sender, mut answers) = mpsc::channel(ANSWERS_KEPT);
        let asked: SocketAddr = "[2001:db8::1]:80".parse().unwrap();
        let transaction = table.open(asked, &sender).unwrap();
        let mut packet = Vec::new();
        Response::Connect { transaction: transaction.id, connection: 7 }.encode(&mut packet);
        let mut other = Vec::new();
        Response::Connect { transaction: !transaction.id, connection: 7 }.encode(&mut other);

        assert!(!table.deliver("[2001:db8::1]:81".parse().unwrap(), &packet), "another port");
        assert!(!table.deliver("[2001:db8::2]:80".parse().unwrap(), &packet), "another address");
        assert!(!table.deliver(asked, &other), "another transaction");
        assert!(!table.deliver(asked, &packet[..7]), "too short");
        assert!(answers.try_recv().is_err());
        assert!(table.deliver(asked, &packet));
        assert_eq!(answers.try_recv().unwrap(), packet);

        // A flood for one transaction takes no more room than this.
        (0..100).for_each(|_| assert!(table.deliver(asked, &packet)));
        assert_eq!(std::iter::from_fn(|| answers.try_recv().ok()).count(), ANSWERS_KEPT);

        drop(transaction);
        assert!(!table.deliver(asked, &packet), "over");
        assert_eq!(table.len(), 0);
    }
}
