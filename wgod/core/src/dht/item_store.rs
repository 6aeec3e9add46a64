//! The items that were put here (BEP 44).
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use wgo_proto::NodeId;
use wgo_proto::krpc::item::{MAX_SALT, MAX_VALUE};
use wgo_proto::krpc::{ErrorCode, Item};

use super::address::{Host, host};
use super::terms::{OwnedItem, Verify};
use crate::Time;

/// Items that nobody puts again are dropped (BEP 44).
const EXPIRY: Duration = Duration::from_secs(2 * 3600);

/// Items at most, of 1.2 KiB each: about 1.2 MiB. When there are more, the one farthest from our id goes: others
/// are closer to it, and more likely to be asked.
const MAX_ITEMS: usize = 1000;

/// Items that one host can have put here.
const MAX_OF_HOST: usize = 50;

#[derive(Debug)]
struct Stored {
    item: OwnedItem,
    by: Host,
    at: Time,
}

/// All items.
#[derive(Debug, Default)]
pub(super) struct ItemStore {
    /// By target; at most [`MAX_ITEMS`].
    items: BTreeMap<NodeId, Stored>,
}

impl ItemStore {
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn get(&self, target: NodeId) -> Option<&OwnedItem> {
        self.items.get(&target).map(|stored| &stored.item)
    }

    /// Puts an item for which a right token was given. `own` is our id. Fails with what the other is told.
    pub(super) fn put(
        &mut self,
        now: Time,
        (item, cas): (&Item<'_>, Option<i64>),
        from: SocketAddr,
        own: NodeId,
        verify: Option<Verify>,
    ) -> Result<(), ErrorCode> {
        check(item, verify)?;
        let target = item.target();
        let by = host(from);
        if let Some(known) = self.items.get_mut(&target) {
            known.replace(item, cas)?;
            known.at = now;
            return Ok(());
        }
        if self.items.values().filter(|stored| stored.by == by).count() >= MAX_OF_HOST {
            return Err(ErrorCode::SERVER);
        }
        if self.items.len() >= MAX_ITEMS {
            let farthest = self.items.keys().copied().max_by_key(|known| known.distance(own));
            match farthest.filter(|known| known.distance(own) > target.distance(own)) {
                Some(known) => _ = self.items.remove(&known),
                None => return Err(ErrorCode::SERVER),
            }
        }
        self.items.insert(target, Stored { item: OwnedItem::of(item), by, at: now });
        Ok(())
    }

    pub(super) fn expire(&mut self, now: Time) {
        self.items.retain(|_, stored| now < stored.at + EXPIRY);
    }

    /// Panics when the state contradicts itself. For tests and simulations.
    pub(super) fn check_invariants(&self) {
        assert!(self.items.len() <= MAX_ITEMS);
        for (target, stored) in &self.items {
            assert_eq!(stored.item.as_item().target(), *target);
            assert!(stored.item.value.len() <= MAX_VALUE);
        }
    }
}

impl Stored {
    /// Only a newer version of a mutable item takes the place of what is there.
    fn replace(&mut self, item: &Item<'_>, cas: Option<i64>) -> Result<(), ErrorCode> {
        let (Some(known), Some(new)) = (self.item.seq(), item.signed) else { return Ok(()) };
        if cas.is_some_and(|cas| cas != known) {
            return Err(ErrorCode::CAS_MISMATCH);
        }
        if new.seq < known || new.seq == known && *item.value != *self.item.value {
            return Err(ErrorCode::OLD_SEQUENCE);
        }
        self.item = OwnedItem::of(item);
        Ok(())
    }
}

/// Whether an item may be kept, or believed: short enough, and signed by its owner.
pub(super) fn check(item: &Item<'_>, verify: Option<Verify>) -> Result<(), ErrorCode> {
    if item.value.len() > MAX_VALUE {
        return Err(ErrorCode::TOO_BIG);
    }
    let Some((signed, bytes)) = item.signed.zip(item.signed_bytes()) else { return Ok(()) };
    if signed.salt.len() > MAX_SALT {
        return Err(ErrorCode::SALT_TOO_BIG);
    }
    let verify = verify.ok_or(ErrorCode::SERVER)?;
    if verify(signed.key, &bytes, signed.signature) { Ok(()) } else { Err(ErrorCode::BAD_SIGNATURE) }
}

#[cfg(test)]
pub(super) mod tests;
