//! A Session whose shell a test plays. Every call checks the invariants.
use std::time::Duration;

use wgo_proto::InfoHashes;

use crate::session::{
    Check, Device, Effect, Fault, FaultKind, Newcomer, Phase, Place, QueueLimits, Row, Session, State,
};
use crate::time::Time;
use crate::units::TorrentId;

pub(super) const A: TorrentId = TorrentId(1);
pub(super) const B: TorrentId = TorrentId(2);
pub(super) const C: TorrentId = TorrentId(3);

/// The device of torrents that don't say otherwise.
pub(super) const DISK: Device = 8;

pub(super) struct Rig {
    pub(super) session: Session,
    pub(super) now: Time,
}

pub(super) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) fn fault(kind: FaultKind) -> Fault {
    Fault { kind, message: format!("{kind:?}") }
}

impl Rig {
    pub(super) fn new() -> Rig {
        Rig::with(None, None)
    }

    pub(super) fn with(downloads: Option<u32>, seeds: Option<u32>) -> Rig {
        let session = Session::new(QueueLimits { downloads, seeds, ..QueueLimits::default() });
        Rig { session, now: Time::from_start(secs(1000)) }
    }

    /// A live torrent that downloads, with its first effects drained.
    pub(super) fn live() -> Rig {
        let mut rig = Rig::new();
        rig.add(A, true, Check::None, false);
        assert_eq!(rig.effects(), [Effect::GoLive(A)]);
        rig
    }

    /// A live torrent that seeds.
    pub(super) fn seeding() -> Rig {
        let mut rig = Rig::new();
        rig.add(A, true, Check::None, true);
        assert_eq!(rig.effects(), [Effect::GoLive(A)]);
        rig
    }

    pub(super) fn dormant() -> Rig {
        let mut rig = Rig::seeding();
        rig.session.on_idle(A);
        assert_eq!(rig.effects(), [Effect::GoDormant(A)]);
        rig
    }

    pub(super) fn add(&mut self, id: TorrentId, started: bool, needs: Check, finished: bool) {
        let hashes = InfoHashes { v1: Some(wgo_proto::InfoHashV1([id.0 as u8; 20])), v2: None };
        let (check_asked, device, moving, place) = (false, DISK, None, Place::default());
        self.take(Newcomer {
            id,
            hashes,
            started,
            known: true,
            needs,
            check_asked,
            finished,
            device,
            moving,
            place,
        });
    }

    pub(super) fn take(&mut self, newcomer: Newcomer) {
        self.session.add(self.now, newcomer);
        self.session.check_invariants();
    }

    pub(super) fn call<R>(&mut self, f: impl FnOnce(&mut Session, Time) -> R) -> R {
        let result = f(&mut self.session, self.now);
        self.session.check_invariants();
        result
    }

    pub(super) fn fault(&mut self, id: TorrentId, kind: FaultKind) {
        self.call(|session, now| session.on_fault(now, id, fault(kind)));
    }

    /// What came out, without the housekeeping and choke rounds of the clock.
    pub(super) fn effects(&mut self) -> Vec<Effect> {
        let clock = [Effect::Housekeep, Effect::ChokeRound];
        self.all_effects().into_iter().filter(|effect| !clock.contains(effect)).collect()
    }

    pub(super) fn all_effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.session.poll_effect()).collect()
    }

    pub(super) fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.session.handle_timeout(self.now);
            self.session.check_invariants();
        }
        self.now = end;
    }

    /// Seconds until an effect comes out, others being dropped; `None` if it takes over ten minutes.
    pub(super) fn seconds_until(&mut self, wanted: &Effect) -> Option<u64> {
        (0..600).find(|second| {
            self.wait(secs(u64::from(*second > 0)));
            self.effects().contains(wanted)
        })
    }

    pub(super) fn row(&self, id: TorrentId) -> &Row {
        self.session.row(id).expect("it is there")
    }

    pub(super) fn state(&self, id: TorrentId) -> State {
        self.row(id).state()
    }

    pub(super) fn phase(&self, id: TorrentId) -> Phase {
        self.row(id).phase
    }
}
