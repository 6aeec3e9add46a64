//! One state directory from its first start through many deaths until all of it is whole.
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::disk::Faults;
use super::home::{Home, Power};
use super::judge::Judge;
use super::known::World;
use super::operator::{Answer, Operator};
use super::plan::{self, Act};
use super::stock::Stock;
use super::{COMPLETE, Tally};
use crate::process::Process;
use crate::wait::pause;

/// The daemon's download limit at first, bytes/s.
const DOWN: u64 = 1_000_000;
/// The same of a daemon that lives long.
const PATIENT_DOWN: u64 = 40_000;
/// A start or an end takes this long at most, on a machine that is busy with many other tests.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks whether it answers: a start takes some ten milliseconds.
const POLL: Duration = Duration::from_millis(4);
/// Between requests to a daemon whose disk fails, microseconds.
const SUFFERED: u64 = 150_000;
/// The longest pause of a patient operator, microseconds: a checkpoint by the clock comes after 30 s.
const LINGER: u64 = 30_000_000;
/// What syncs of a patient operator's disk take at most for each byte, nanoseconds: two seconds for what came since the
/// last checkpoint.
const SLOW_SYNC: u64 = 4_000;
/// A settled look takes as long as some deaths.
const SETTLE_EVERY: u64 = 6;

/// How the daemon is to die.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Death {
    /// Before it answers.
    Starting(Duration),
    /// As soon as it has answered.
    Answered,
    /// So long after the last requests are sent.
    After(Duration),
    /// So long after it was told to stop.
    Stopping(Duration),
    /// By itself, told to.
    Stop,
}

impl Death {
    fn choose(dice: &mut fastrand::Rng, patient: bool) -> Death {
        let micros = |dice: &mut fastrand::Rng, most: u64| Duration::from_micros(dice.u64(..most));
        if patient && dice.u8(..4) > 0 {
            return Death::After(micros(dice, LINGER));
        }
        match dice.u8(..100) {
            0..=14 => Death::Starting(micros(dice, 80_000)),
            15..=44 => Death::Answered,
            45..=74 => Death::After(micros(dice, 10_000)),
            75..=87 => Death::After(micros(dice, 150_000)),
            88..=94 => Death::Stopping(micros(dice, 60_000)),
            _ => Death::Stop,
        }
    }
}

/// A life under way.
pub(super) struct Life<'a> {
    seed: u64,
    power: Power,
    patient: bool,
    dice: fastrand::Rng,
    home: Home,
    stock: &'a Stock,
    operator: Operator,
    world: World,
    plan: Vec<String>,
    begun: Instant,
}

impl<'a> Life<'a> {
    pub(super) fn new(
        (seed, power, patient): (u64, Power, bool),
        ip: IpAddr,
        stock: &'a Stock,
        seeder: SocketAddr,
    ) -> Life<'a> {
        let down = if patient { PATIENT_DOWN } else { DOWN };
        let home = Home::new(power, ip, down);
        let operator = Operator::new(&home.socket(), seeder);
        let world = World::new(stock, down);
        let mut dice = fastrand::Rng::with_seed(seed);
        if let Some(disk) = home.disk.as_ref().filter(|_| patient) {
            disk.slow(Duration::from_nanos(dice.u64(..SLOW_SYNC)));
        }
        let (plan, begun) = (Vec::new(), Instant::now());
        Life { seed, power, patient, dice, home, stock, operator, world, plan, begun }
    }

    fn note(&mut self, what: String) {
        self.plan.push(format!("{:9.4} {what}", self.begun.elapsed().as_secs_f64()));
    }

    /// Lets it die `deaths` times, then makes all whole.
    pub(super) fn run(&mut self, tally: &mut Tally, deaths: u64) {
        let mut died = 0;
        while self.power == Power::Faults && died < deaths {
            self.suffer(tally);
            died += 1;
        }
        while died < deaths {
            let death = Death::choose(&mut self.dice, self.patient);
            self.note(format!("--- {death:?}"));
            let killed = match death {
                Death::Starting(after) => self.die_starting(after),
                _ => self.live(death, tally, died),
            };
            match (killed, death) {
                (false, _) => tally.stops += 1,
                (true, Death::Starting(_)) => tally.kills_at_start += 1,
                (true, Death::Stopping(_)) => tally.kills_at_stop += 1,
                (true, _) => {}
            }
            died += u64::from(self.after(killed, tally));
        }
        self.end(tally);
    }

    /// What happens once the daemon is dead; whether that was one of the deaths that are counted.
    fn after(&mut self, killed: bool, tally: &mut Tally) -> bool {
        if !killed {
            return false;
        }
        // Between power cuts there are kills, so many of ten: what a run did not sync, the next one must.
        let kills = if self.patient { 1 } else { 4 };
        if !self.power.is_cut() || self.dice.u8(..10) < kills {
            tally.kills += 1;
            return !self.power.is_cut();
        }
        let seed = self.dice.u64(..);
        if let Some(disk) = &mut self.home.disk {
            let survival = disk.cut(seed);
            self.plan.push(format!("--- power cut, survives: {survival:?}"));
        }
        tally.cuts += 1;
        true
    }

    /// One run of the daemon on a disk that fails for a while; it may heal before the power is cut.
    fn suffer(&mut self, tally: &mut Tally) {
        let mut process = self.start();
        self.judge(&mut process, false);
        self.act(tally, None);
        self.act(tally, None);
        let share = |dice: &mut fastrand::Rng| [0.0, 0.02, 0.2, 1.0][dice.usize(..4)];
        let faults =
            Faults { full: share(&mut self.dice), sync: share(&mut self.dice), write: share(&mut self.dice) };
        self.note(format!("--- {faults:?}"));
        let Some(before) = self.home.disk.as_ref().map(|disk| (disk.fail(faults), disk.failures()).1) else {
            return;
        };
        for _ in 0..self.dice.usize(1..6) {
            self.act(tally, None);
            pause(Duration::from_micros(self.dice.u64(..SUFFERED)));
        }
        // A third of the lives end while it fails.
        let heals = self.dice.u8(..3) > 0;
        if !heals {
            self.note("--- killed while the disk fails".into());
            process.kill9();
        }
        let Some(disk) = &self.home.disk else { return };
        disk.fail(Faults::default());
        tally.failures += disk.failures() - before;
        for known in &mut self.world.torrents {
            // A move that could not be made was called off.
            known.target = None;
        }
        if heals {
            self.note("--- the disk works again".into());
            let judge = judge(&self.operator, self.stock, &self.home);
            judge.heal(&self.world);
            judge.settle(&mut self.world);
            assert!(process.ended().is_none(), "the daemon ended");
            process.kill9();
        }
        tally.cuts += 1;
        let seed = self.dice.u64(..);
        if let Some(disk) = &mut self.home.disk {
            self.plan.push(format!("--- power cut, survives: {:?}", disk.cut(seed)));
        }
    }

    fn die_starting(&mut self, after: Duration) -> bool {
        let mut process = self.home.launch();
        pause(after);
        let ended = process.ended();
        assert!(ended.is_none(), "the daemon ended with {ended:?} instead of starting");
        process.kill9();
        self.home.assert_no_error();
        true
    }

    /// One run of the daemon; whether it was killed.
    fn live(&mut self, death: Death, tally: &mut Tally, round: u64) -> bool {
        let mut process = self.start();
        let mut anew = self.selected_anew();
        self.judge(&mut process, round % SETTLE_EVERY == SETTLE_EVERY - 1);
        for _ in 0..self.dice.usize(..3) {
            self.act(tally, None);
            if self.patient {
                pause(Duration::from_micros(self.dice.u64(..LINGER)));
            }
        }
        match death {
            Death::After(delay) => {
                self.act(tally, Some((process.pid(), delay)));
                // Whether or not all was answered before.
                process.kill9();
            }
            Death::Answered | Death::Starting(_) => {
                self.act(tally, None);
                process.kill9();
            }
            Death::Stopping(delay) => {
                self.act(tally, None);
                process.signal(Signal::TERM);
                pause(delay);
                process.kill9();
            }
            Death::Stop => {
                self.act(tally, None);
                let status = process.terminate(PATIENCE);
                assert!(status.success(), "it is told to stop, and ends with {status}");
                self.home.assert_no_error();
                return false;
            }
        }
        self.home.assert_no_error();
        if self.power == Power::On {
            anew.extend(self.selected_anew());
            self.home.assert_hashed_little(&anew);
        }
        true
    }

    /// The torrents of which other files may be wanted than what is stored of their files is about.
    fn selected_anew(&self) -> BTreeSet<String> {
        let all = self.world.torrents.iter().zip(&self.stock.items);
        all.filter(|(known, _)| known.selected_anew).map(|(_, item)| item.torrent.id()).collect()
    }

    /// Starts the daemon and waits until it answers.
    fn start(&mut self) -> Process {
        let mut process = self.home.launch();
        self.world.restarted();
        let end = Instant::now() + PATIENCE;
        while !self.operator.is_there() {
            let ended = process.ended();
            assert!(ended.is_none(), "the daemon ended with {ended:?} instead of starting");
            assert!(Instant::now() < end, "the daemon does not answer after {PATIENCE:?}");
            pause(POLL);
        }
        self.note("it answers".into());
        process
    }

    fn judge(&mut self, process: &mut Process, closely: bool) {
        let judge = judge(&self.operator, self.stock, &self.home);
        judge.look(&mut self.world);
        if closely {
            judge.settle(&mut self.world);
        }
        if self.power != Power::Faults {
            self.home.assert_no_error();
        }
        let ended = process.ended();
        assert!(ended.is_none(), "the daemon ended with {ended:?}");
        let there = self.world.torrents.iter().enumerate().filter(|(_, known)| *known.present.sure());
        let there: Vec<usize> = there.map(|(at, _)| at).collect();
        self.operator.introduce(self.stock, &there, &self.home.folders[0]);
        self.note(if closely { "judged closely".into() } else { "judged".to_owned() });
    }

    /// Asks for some things at once; `kill` ends the daemon so long after.
    fn act(&mut self, tally: &mut Tally, kill: Option<(u32, Duration)>) {
        let acts = plan::burst(&self.world, self.stock, &self.home.folders, self.patient, &mut self.dice);
        self.perform(&acts, tally, kill);
    }

    fn perform(&mut self, acts: &[Act], tally: &mut Tally, kill: Option<(u32, Duration)>) {
        for act in acts {
            self.note(format!("ask {act:?}"));
            self.world.ask(act, self.stock);
        }
        let answers = std::thread::scope(|scope| {
            if let Some((pid, delay)) = kill {
                scope.spawn(move || {
                    pause(delay);
                    let pid = Pid::from_raw(pid as i32).expect("a process has a number");
                    // It can't have ended: nobody has waited for it.
                    let _ = kill_process(pid, Signal::KILL);
                });
            }
            self.operator.perform(acts, self.stock)
        });
        for (act, answer) in acts.iter().zip(answers) {
            self.note(format!("{answer:?} to {act:?}"));
            match answer {
                Answer::Done => {
                    tally.acknowledged += 1;
                    self.world.acknowledge(act);
                }
                Answer::Refused(_) => {
                    tally.refused += 1;
                    self.world.refuse(act);
                }
                Answer::Nothing(why) => {
                    assert!(kill.is_some(), "no answer to {act:?}, though nothing was killed: {why}");
                    tally.doubtful += 1;
                }
            }
        }
    }

    /// Everything is wanted, and comes; then every byte is compared.
    fn end(&mut self, tally: &mut Tally) {
        let mut process = self.start();
        self.judge(&mut process, true);
        let mut acts = vec![Act::DaemonDown(0)];
        for (at, known) in self.world.torrents.iter().enumerate() {
            if *known.present.sure() && known.leaving {
                acts.push(Act::Remove { at, data: true });
            } else if *known.present.sure() {
                acts.push(Act::Start(at));
                acts.push(Act::Limits { at, up: 0, down: 0 });
                if !known.skipped.sure().is_empty() {
                    acts.push(Act::Select { at, skip: Default::default() });
                }
            }
        }
        self.perform(&acts, tally, None);
        let judge = judge(&self.operator, self.stock, &self.home);
        judge.complete(&mut self.world, COMPLETE);
        let status = process.terminate(PATIENCE);
        assert!(status.success(), "it is told to stop, and ends with {status}");
        self.home.assert_no_error();
    }
}

fn judge<'a>(operator: &'a Operator, stock: &'a Stock, home: &'a Home) -> Judge<'a> {
    let lenient = home.disk.as_ref().is_some_and(|disk| disk.failures() > 0);
    Judge { operator, stock, folders: &home.folders, canaries: &home.canaries, lenient }
}

impl Drop for Life<'_> {
    /// Says how to see a failure again, and keeps what it left.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let tail = self.plan.len().saturating_sub(60);
            eprintln!("{}", self.plan[tail..].join("\n"));
            let kept = self.home.keep(&self.plan.join("\n"));
            eprintln!("seed {} ({:?}); its folders are kept in {}", self.seed, self.power, kept.display());
        }
    }
}
