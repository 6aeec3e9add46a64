//! How the fields of a record look as text.
use std::fmt;

use tracing::field::{Field, Visit};
use tracing_subscriber::field::{MakeVisitor, RecordFields, VisitOutput};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultFields, DefaultVisitor, Writer};

/// The field that holds an info-hash.
const HASH: &str = "info_hash";
/// Digits of it that a person sees: `wgoctl` takes them as the torrent's ID.
const DIGITS: usize = 8;

/// The usual form, but that control characters are written as escapes wherever they come from: a tracker's
/// reason or a file's name must neither act on a terminal nor look like a record of its own.
///
/// On a terminal info-hashes are cut short, so that a record is a line; elsewhere they are whole, to be
/// searched for.
pub(super) struct Fields {
    /// Cut them.
    pub(super) short: bool,
}

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = Short { inner: DefaultFields::new().make_visitor(writer), short: self.short };
        fields.record(&mut visitor);
        visitor.inner.finish()
    }
}

struct Short<'w> {
    inner: DefaultVisitor<'w>,
    short: bool,
}

impl Visit for Short<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = harmless(format!("{value:?}"));
        let cut = if self.short && field.name() == HASH { text.get(..DIGITS) } else { None };
        self.inner.record_debug(field, &format_args!("{}", cut.unwrap_or(&text)));
    }
}

/// `text` with its control characters as escapes.
fn harmless(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::logging::{peer_span, torrent_span};

    #[derive(Clone, Default)]
    struct Text(Arc<Mutex<Vec<u8>>>);

    impl Write for Text {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(short: bool, work: impl FnOnce()) -> String {
        let text = Text::default();
        let writer = text.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .without_time()
            .fmt_fields(Fields { short });
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let text = text.0.lock().unwrap();
        String::from_utf8(text.clone()).unwrap()
    }

    #[test]
    fn a_record_names_torrent_and_peer_and_fits_a_terminal() {
        let record = || {
            let hash = wgo_proto::WireHash([0xab; 20]);
            let torrent = torrent_span(&hash, "debian.iso").entered();
            peer_span("192.0.2.1:6881".parse().unwrap()).in_scope(|| tracing::info!(pieces = 3, "connected"));
            drop(torrent);
        };
        assert_eq!(
            logged(true, record),
            " INFO torrent{info_hash=abababab name=\"debian.iso\"}:connection{peer=192.0.2.1:6881}: \
             wgod::logging::fields::tests: connected pieces=3\n"
        );
        let whole = logged(false, record);
        assert!(whole.contains(&format!("info_hash={} name", "ab".repeat(20))), "{whole}");
    }

    #[test]
    fn what_strangers_chose_does_not_act_on_the_terminal() {
        let hostile = "x\u{1b}[31m\nERROR";
        let text = logged(true, || {
            let _torrent = torrent_span(&wgo_proto::WireHash([0; 20]), hostile).entered();
            tracing::info!(why = %hostile, "refused: {hostile}");
        });
        let escaped = "x\\u{1b}[31m\\nERROR";
        assert_eq!(text.matches(escaped).count(), 3, "{text:?}");
        assert!(text.chars().filter(|c| c.is_control()).eq(['\n']), "{text:?}");
    }
}
