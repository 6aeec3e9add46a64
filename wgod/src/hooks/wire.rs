//! What the daemon and its hook helper say to each other, over a stream socket.
//!
//! A frame is its length (four bytes, highest first), a byte that says what it is, and strings that each end in
//! NUL, which no argument and no variable of a program can contain. Either side takes what it can't read for the
//! end of the other: a daemon that was taken over gets nothing by it.
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Event;

/// Bytes of a frame at most: more than all fields of a torrent take.
const MAX_FRAME: usize = 512 * 1024;

/// From the daemon to its helper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The programs of all events, and the seconds that each may run: said once, before the daemon hears
    /// anybody.
    Setup {
        /// Seconds.
        time_limit: u64,
        /// Programs with arguments.
        commands: Vec<(Event, Vec<String>)>,
    },
    /// Run the event's program.
    Run {
        /// Number of the run.
        run: u64,
        /// Which program.
        event: Event,
        /// Variables of its environment.
        fields: Vec<(String, OsString)>,
    },
}

/// From the helper to the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// A program printed a line.
    Line {
        /// Number of the run.
        run: u64,
        /// The line, as far as it is shown.
        text: String,
    },
    /// A run ended.
    Ended {
        /// Number of the run.
        run: u64,
        /// How.
        how: How,
        /// Lines that it printed beyond those shown.
        hidden: u64,
    },
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// By itself, with this status.
    Exited(i32),
    /// By a signal that was not ours.
    Signalled(i32),
    /// It ran too long.
    Late,
    /// The daemon ended.
    Stopped,
    /// It could not be started, because of this.
    Unstarted(String),
}

const SETUP: u8 = 1;
const RUN: u8 = 2;
const LINE: u8 = 3;
const ENDED: u8 = 4;

/// A frame that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

struct Writer(Vec<u8>);

impl Writer {
    fn new(kind: u8) -> Writer {
        Writer(vec![kind])
    }

    fn bytes(mut self, bytes: &[u8]) -> Writer {
        // Nothing that is sent has one; if it had, the rest of the frame would be misread.
        self.0.extend(bytes.iter().filter(|byte| **byte != 0));
        self.0.push(0);
        self
    }

    fn text(self, text: &str) -> Writer {
        self.bytes(text.as_bytes())
    }

    fn number(self, number: impl ToString) -> Writer {
        self.text(&number.to_string())
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self) -> Result<&'a [u8], Unreadable> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Unreadable)?;
        let (bytes, rest) = self.0.split_at(end);
        self.0 = rest.get(1..).ok_or(Unreadable)?;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<String, Unreadable> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| Unreadable)
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T, Unreadable> {
        self.text()?.parse().map_err(|_| Unreadable)
    }

    fn event(&mut self) -> Result<Event, Unreadable> {
        Event::named(self.bytes()?).ok_or(Unreadable)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Order {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Order::Setup { time_limit, commands } => {
                let mut frame = Writer::new(SETUP).number(time_limit);
                for (event, words) in commands {
                    frame = frame.text(event.name()).number(words.len());
                    frame = words.iter().fold(frame, |frame, word| frame.text(word));
                }
                frame.0
            }
            Order::Run { run, event, fields } => {
                let mut frame = Writer::new(RUN).number(run).text(event.name());
                for (name, value) in fields {
                    frame = frame.text(name).bytes(value.as_bytes());
                }
                frame.0
            }
        }
    }

    pub(super) fn decode(frame: &[u8]) -> Result<Order, Unreadable> {
        let (kind, rest) = frame.split_first().ok_or(Unreadable)?;
        let mut reader = Reader(rest);
        match *kind {
            SETUP => {
                let time_limit = reader.number()?;
                let mut commands = Vec::new();
                while !reader.is_empty() {
                    let event = reader.event()?;
                    let count: usize = reader.number()?;
                    // Each word takes a byte of the frame at least, so a count that lies ends soon.
                    let mut words = Vec::new();
                    for _ in 0..count {
                        words.push(reader.text()?);
                    }
                    commands.push((event, words));
                }
                Ok(Order::Setup { time_limit, commands })
            }
            RUN => {
                let (run, event) = (reader.number()?, reader.event()?);
                let mut fields = Vec::new();
                while !reader.is_empty() {
                    fields.push((field_name(reader.text()?)?, OsString::from_vec(reader.bytes()?.to_vec())));
                }
                Ok(Order::Run { run, event, fields })
            }
            _ => Err(Unreadable),
        }
    }
}

/// A variable of ours: others, such as LD_PRELOAD, would choose what the program does.
fn field_name(name: String) -> Result<String, Unreadable> {
    let rest = name.strip_prefix("WGOD_").ok_or(Unreadable)?;
    let ours = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if !rest.is_empty() && rest.bytes().all(ours) { Ok(name) } else { Err(Unreadable) }
}

impl Report {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Report::Line { run, text } => Writer::new(LINE).number(run).text(text).0,
            Report::Ended { run, how, hidden } => {
                let frame = Writer::new(ENDED).number(run).number(hidden);
                let frame = match how {
                    How::Exited(code) => frame.text("exited").number(code),
                    How::Signalled(signal) => frame.text("signalled").number(signal),
                    How::Late => frame.text("late"),
                    How::Stopped => frame.text("stopped"),
                    How::Unstarted(why) => frame.text("unstarted").text(why),
                };
                frame.0
            }
        }
    }

    pub(super) fn decode(frame: &[u8]) -> Result<Report, Unreadable> {
        let (kind, rest) = frame.split_first().ok_or(Unreadable)?;
        let mut reader = Reader(rest);
        let run = reader.number()?;
        let report = match *kind {
            LINE => Report::Line { run, text: reader.text()? },
            ENDED => {
                let hidden = reader.number()?;
                let how = match reader.bytes()? {
                    b"exited" => How::Exited(reader.number()?),
                    b"signalled" => How::Signalled(reader.number()?),
                    b"late" => How::Late,
                    b"stopped" => How::Stopped,
                    b"unstarted" => How::Unstarted(reader.text()?),
                    _ => return Err(Unreadable),
                };
                Report::Ended { run, how, hidden }
            }
            _ => return Err(Unreadable),
        };
        if reader.is_empty() { Ok(report) } else { Err(Unreadable) }
    }
}

/// The next frame; `None` at the end of the stream, or of what can be read of it.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let len = usize::try_from(stream.read_u32().await.ok()?).ok()?;
    if len > MAX_FRAME {
        return None;
    }
    let mut frame = vec![0; len];
    stream.read_exact(&mut frame).await.ok()?;
    Some(frame)
}

/// Sends a frame.
pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin), frame: &[u8]) -> io::Result<()> {
    stream.write_all(&framed(frame)?).await
}

/// The frame behind its length.
///
/// # Errors
/// It is longer than the other side takes.
pub(super) fn framed(frame: &[u8]) -> io::Result<Vec<u8>> {
    let len = u32::try_from(frame.len()).ok().filter(|len| *len as usize <= MAX_FRAME);
    let len = len.ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let mut bytes = len.to_be_bytes().to_vec();
    bytes.extend_from_slice(frame);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event() -> impl Strategy<Value = Event> {
        proptest::sample::select(&Event::ALL[..])
    }

    fn words() -> impl Strategy<Value = String> {
        "[^\0]{0,12}"
    }

    fn order() -> impl Strategy<Value = Order> {
        let command = (event(), prop::collection::vec(words(), 0..4));
        let setup = (any::<u64>(), prop::collection::vec(command, 0..4))
            .prop_map(|(time_limit, commands)| Order::Setup { time_limit, commands });
        let value = prop::collection::vec(1u8.., 0..20).prop_map(OsString::from_vec);
        let field = ("WGOD_[A-Z0-9_]{1,8}", value);
        let run = (any::<u64>(), event(), prop::collection::vec(field, 0..5))
            .prop_map(|(run, event, fields)| Order::Run { run, event, fields });
        prop_oneof![setup, run]
    }

    fn report() -> impl Strategy<Value = Report> {
        let how = prop_oneof![
            any::<i32>().prop_map(How::Exited),
            any::<i32>().prop_map(How::Signalled),
            Just(How::Late),
            Just(How::Stopped),
            words().prop_map(How::Unstarted),
        ];
        prop_oneof![
            (any::<u64>(), words()).prop_map(|(run, text)| Report::Line { run, text }),
            (any::<u64>(), how, any::<u64>()).prop_map(|(run, how, hidden)| Report::Ended {
                run,
                how,
                hidden
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_said_is_understood(order in order(), report in report()) {
            prop_assert_eq!(Order::decode(&order.encode()), Ok(order));
            prop_assert_eq!(Report::decode(&report.encode()), Ok(report));
        }

        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = (Order::decode(&bytes), Report::decode(&bytes));
        }

        #[test]
        fn a_frame_that_is_cut_short_is_refused_or_says_less(order in order(), cut in any::<prop::sample::Index>()) {
            let frame = order.encode();
            let cut = cut.index(frame.len());
            prop_assert_ne!(Order::decode(&frame[..cut]), Ok(order));
        }
    }

    #[test]
    fn only_variables_of_ours_can_be_set() {
        for (name, taken) in [
            ("WGOD_NAME", true),
            ("WGOD_INFO_HASH_V2", true),
            ("LD_PRELOAD", false),
            ("PATH", false),
            ("WGOD_", false),
            ("WGOD_name", false),
            ("WGOD_X=1", false),
            ("xWGOD_X", false),
        ] {
            let fields = vec![(name.to_owned(), OsString::from("x"))];
            let order = Order::Run { run: 1, event: Event::Added, fields };
            assert_eq!(Order::decode(&order.encode()).is_ok(), taken, "{name}");
        }
    }

    #[tokio::test]
    async fn frames_are_told_apart_and_one_that_is_too_long_ends_the_stream() {
        let (mut ours, mut theirs) = tokio::io::duplex(1 << 20);
        write(&mut ours, b"one").await.unwrap();
        write(&mut ours, b"").await.unwrap();
        assert_eq!(read(&mut theirs).await.as_deref(), Some(&b"one"[..]));
        assert_eq!(read(&mut theirs).await.as_deref(), Some(&b""[..]));
        assert!(write(&mut ours, &vec![0; MAX_FRAME + 1]).await.is_err());
        ours.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
        assert_eq!(read(&mut theirs).await, None);
        ours.write_all(&[0, 0]).await.unwrap();
        drop(ours);
        assert_eq!(read(&mut theirs).await, None);
    }
}
