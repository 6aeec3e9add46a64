//! The Swarm's table of connections: dense slots, keys that never match a later tenant.
use crate::peer::Peer;
use crate::units::PeerKey;

/// Connections by [`PeerKey`]. Bounded by the connection limits that the Swarm checks before `insert`.
#[derive(Debug, Default)]
pub(super) struct PeerTable {
    slots: Vec<Slot>,
    free: Vec<u32>,
    len: usize,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    peer: Option<Box<Peer>>,
}

impl PeerTable {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, peer: Peer) -> PeerKey {
        self.len += 1;
        let peer = Some(Box::new(peer));
        if let Some(slot) = self.free.pop() {
            let at = &mut self.slots[slot as usize];
            at.peer = peer;
            return PeerKey { slot, generation: at.generation };
        }
        self.slots.push(Slot { generation: 0, peer });
        PeerKey { slot: self.slots.len() as u32 - 1, generation: 0 }
    }

    pub(super) fn remove(&mut self, key: PeerKey) -> Option<Box<Peer>> {
        let slot = self.slots.get_mut(key.slot as usize).filter(|s| s.generation == key.generation)?;
        let peer = slot.peer.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.slot);
        self.len -= 1;
        Some(peer)
    }

    pub(super) fn peer(&self, key: PeerKey) -> Option<&Peer> {
        let slot = self.slots.get(key.slot as usize)?;
        slot.peer.as_deref().filter(|_| slot.generation == key.generation)
    }

    pub(super) fn peer_mut(&mut self, key: PeerKey) -> Option<&mut Peer> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        slot.peer.as_deref_mut().filter(|_| slot.generation == key.generation)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (PeerKey, &Peer)> + Clone {
        self.slots.iter().enumerate().filter_map(|(slot, s)| {
            let key = PeerKey { slot: slot as u32, generation: s.generation };
            s.peer.as_deref().map(|p| (key, p))
        })
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (PeerKey, &mut Peer)> {
        self.slots.iter_mut().enumerate().filter_map(|(slot, s)| {
            let key = PeerKey { slot: slot as u32, generation: s.generation };
            s.peer.as_deref_mut().map(|p| (key, p))
        })
    }

    pub(super) fn keys(&self) -> Vec<PeerKey> {
        self.iter().map(|(key, _)| key).collect()
    }
}
