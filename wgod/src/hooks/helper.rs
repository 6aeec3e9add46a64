//! The helper: the process that runs hooks, which is wgod itself in another mode.
//!
//! It was started before the daemon confined itself, so it can run programs; and it listens to nobody but the
//! daemon. It ends when the daemon does, however that happens, and takes running programs along. Signals that
//! are meant for the daemon it leaves to the daemon.
use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, sockopt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Event;
use super::program::{self, Run};
use super::queue::AT_ONCE;
use super::wire::{self, How, Order, Report};

/// Reports on their way to the daemon; programs wait for room.
const REPORTS: usize = 64;

/// Runs the helper until the daemon at the other end of stdin ends.
///
/// # Errors
/// It was not started by a daemon, or the system refuses it what it needs.
pub fn run() -> io::Result<()> {
    let stream = daemon_at_stdin()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // They come to a terminal's or a service's processes all together. Once listened to, they do nothing
        // else to us; programs that we start have them as usual.
        for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
            drop(signal(kind)?);
        }
        let (reader, writer) = UnixStream::from_std(stream)?.into_split();
        serve(reader, writer).await;
        Ok(())
    })
}

/// The socket that the daemon gave us as our stdin.
fn daemon_at_stdin() -> io::Result<StdUnixStream> {
    let stdin = io::stdin();
    let socket = stdin.as_fd();
    let fits = sockopt::socket_domain(socket) == Ok(AddressFamily::UNIX)
        && sockopt::socket_type(socket) == Ok(SocketType::STREAM);
    if !fits {
        return Err(io::Error::other("--hook-helper is for wgod itself, which starts its helper so"));
    }
    let stream = StdUnixStream::from(socket.try_clone_to_owned()?);
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Does what the daemon says, until there is no daemon or it can't be understood.
async fn serve(mut orders: OwnedReadHalf, reports: OwnedWriteHalf) {
    let Some(Ok(Order::Setup { time_limit, commands })) = next(&mut orders).await else { return };
    let time_limit = Duration::from_secs(time_limit);
    let commands: BTreeMap<Event, Vec<String>> = commands.into_iter().collect();
    let stop = CancellationToken::new();
    let (sender, receiver) = mpsc::channel(REPORTS);
    let mut programs = JoinSet::new();
    let mut telling = JoinSet::new();
    telling.spawn(tell(reports, receiver));
    loop {
        let order = tokio::select! {
            Some(_ended) = programs.join_next() => continue,
            // The daemon hears nothing any more.
            _ = telling.join_next() => break,
            order = next(&mut orders) => order,
        };
        // The programs are set once.
        let Some(Ok(Order::Run { run: number, event, fields })) = order else { break };
        let run = match commands.get(&event).filter(|_| programs.len() < AT_ONCE) {
            Some(words) => Run { number, words: words.clone(), fields, time_limit },
            None => {
                let how = How::Unstarted("the daemon asked for what it may not".to_owned());
                let _ = sender.send(Report::Ended { run: number, how, hidden: 0 }).await;
                continue;
            }
        };
        programs.spawn(program::run(run, sender.clone(), stop.clone()));
    }
    stop.cancel();
    telling.abort_all();
    while programs.join_next().await.is_some() {}
}

async fn next(orders: &mut OwnedReadHalf) -> Option<Result<Order, wire::Unreadable>> {
    Some(Order::decode(&wire::read(orders).await?))
}

/// Brings reports to the daemon while it hears them.
async fn tell(mut daemon: OwnedWriteHalf, mut reports: mpsc::Receiver<Report>) {
    while let Some(report) = reports.recv().await {
        if wire::write(&mut daemon, &report.encode()).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(60);

    struct Daemon {
        reader: OwnedReadHalf,
        writer: OwnedWriteHalf,
        helper: JoinSet<()>,
    }

    impl Daemon {
        async fn with(script: &str) -> Daemon {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let (reader, writer) = theirs.into_split();
            let mut helper = JoinSet::new();
            helper.spawn(serve(reader, writer));
            let (reader, writer) = ours.into_split();
            let mut daemon = Daemon { reader, writer, helper };
            let words = ["sh", "-c", script].map(str::to_owned).to_vec();
            daemon.order(Order::Setup { time_limit: 600, commands: vec![(Event::Added, words)] }).await;
            daemon
        }

        async fn order(&mut self, order: Order) {
            wire::write(&mut self.writer, &order.encode()).await.unwrap();
        }

        async fn run(&mut self, run: u64, event: Event) {
            self.order(Order::Run { run, event, fields: Vec::new() }).await;
        }

        async fn report(&mut self) -> Report {
            let frame = tokio::time::timeout(SOON, wire::read(&mut self.reader)).await.unwrap();
            Report::decode(&frame.expect("the helper lives")).unwrap()
        }

        async fn helper_ends(mut self) {
            drop((self.writer, self.reader));
            tokio::time::timeout(SOON, self.helper.join_next()).await.unwrap().unwrap().unwrap();
        }
    }

    fn unstarted(report: &Report, number: u64) -> bool {
        matches!(report, Report::Ended { run, how: How::Unstarted(_), .. } if *run == number)
    }

    #[tokio::test]
    async fn configured_programs_run_and_no_others() {
        let mut daemon = Daemon::with("echo ran").await;
        daemon.run(1, Event::Removed).await;
        assert!(unstarted(&daemon.report().await, 1), "nothing is configured for that");
        daemon.run(2, Event::Added).await;
        assert_eq!(daemon.report().await, Report::Line { run: 2, text: "ran".to_owned() });
        assert_eq!(daemon.report().await, Report::Ended { run: 2, how: How::Exited(0), hidden: 0 });
        // The programs can't be set again.
        daemon.order(Order::Setup { time_limit: 1, commands: Vec::new() }).await;
        assert_eq!(wire::read(&mut daemon.reader).await, None);
        daemon.helper_ends().await;
    }

    #[tokio::test]
    async fn no_more_run_at_once_than_the_daemon_asks_for_of_its_own_accord() {
        let mut daemon = Daemon::with("echo up; sleep 1000").await;
        for run in 0..AT_ONCE as u64 {
            daemon.run(run, Event::Added).await;
            assert_eq!(daemon.report().await, Report::Line { run, text: "up".to_owned() });
        }
        daemon.run(99, Event::Added).await;
        assert!(unstarted(&daemon.report().await, 99));
        daemon.helper_ends().await;
    }
}
