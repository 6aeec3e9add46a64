//! CONNECT: a tunnel through an HTTP proxy (RFC 9110, 9.3.6).
use super::Target;

/// Bytes of the head of an answer at most. A proxy that refuses may add a page, which isn't read.
pub const MAX_HEAD: usize = 8 * 1024;

/// What an answer begins with.
pub const BEGIN: &[u8] = b"HTTP/1.";

/// What ends the head of an answer.
pub const END: &[u8] = b"\r\n\r\n";

/// What a proxy answered other than that the tunnel is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not this protocol: a proxy of another kind, or something else altogether.
    #[error("it doesn't speak HTTP")]
    NotHttp,
    /// The head never ends.
    #[error("its answer begins with more than {MAX_HEAD} bytes of headers")]
    TooLong,
    /// 407: we must log in, or did so wrongly.
    #[error("{}", login_text(*.tried))]
    Login {
        /// Whether we said who we are.
        tried: bool,
    },
    /// 405, 501: tunnels are not for this proxy.
    #[error("it makes no tunnels (HTTP status {0})")]
    NoTunnels(u16),
    /// Any other status: about this target.
    #[error("{}", status_text(*.0))]
    Refused(u16),
}

fn login_text(tried: bool) -> &'static str {
    match tried {
        true => "it refused user and password",
        false => "it wants a user and a password",
    }
}

fn status_text(status: u16) -> String {
    match status {
        403 => "its rules don't allow it (HTTP status 403)".to_owned(),
        502 | 503 => format!("it can't reach the target (HTTP status {status})"),
        504 => "the target doesn't answer (HTTP status 504)".to_owned(),
        other => format!("it refused with HTTP status {other}"),
    }
}

/// Asks for a tunnel; `basic` is user and password in base64, as the header has it.
pub fn request(target: &Target, basic: Option<&str>, out: &mut Vec<u8>) {
    out.extend(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").as_bytes());
    if let Some(basic) = basic {
        out.extend(format!("Proxy-Authorization: Basic {basic}\r\n").as_bytes());
    }
    out.extend(b"\r\n");
}

/// Whether the head of an answer says that the tunnel is there.
///
/// # Errors
/// Any [`Fault`] but [`Fault::TooLong`].
pub fn answer(head: &[u8], logged_in: bool) -> Result<(), Fault> {
    let rest = head.strip_prefix(BEGIN).ok_or(Fault::NotHttp)?;
    let [b'0' | b'1', b' ', status @ ..] = rest else { return Err(Fault::NotHttp) };
    let digits = status.first_chunk::<3>().filter(|digits| digits.iter().all(u8::is_ascii_digit));
    let end = status.get(3).is_none_or(|next| matches!(next, b' ' | b'\r' | b'\n'));
    let digits = digits.filter(|_| end).ok_or(Fault::NotHttp)?;
    let status = digits.iter().fold(0, |status: u16, digit| status * 10 + u16::from(digit - b'0'));
    match status {
        200..=299 => Ok(()),
        407 => Err(Fault::Login { tried: logged_in }),
        405 | 501 => Err(Fault::NoTunnels(status)),
        other => Err(Fault::Refused(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_tunnel_is_asked_for() {
        let mut out = Vec::new();
        request(&Target::new("2001:db8::1", 6881).unwrap(), None, &mut out);
        assert_eq!(out, b"CONNECT [2001:db8::1]:6881 HTTP/1.1\r\nHost: [2001:db8::1]:6881\r\n\r\n");
        out.clear();
        request(&Target::new("t.example", 80).unwrap(), Some("bWU6cHc="), &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.ends_with("Host: t.example:80\r\nProxy-Authorization: Basic bWU6cHc=\r\n\r\n"),
            "{text}"
        );
    }

    #[test]
    fn every_answer_has_its_meaning() {
        for (head, said) in [
            ("HTTP/1.1 200 Connection established\r\n\r\n", None),
            ("HTTP/1.0 204\r\n\r\n", None),
            ("HTTP/1.1 407 Proxy Authentication Required\r\n", Some("it wants a user and a password")),
            ("HTTP/1.1 403 Filtered\r\n", Some("its rules don't allow it (HTTP status 403)")),
            ("HTTP/1.1 405 No\r\n", Some("it makes no tunnels (HTTP status 405)")),
            ("HTTP/1.1 502 Bad\r\n", Some("it can't reach the target (HTTP status 502)")),
            ("HTTP/1.1 504 Late\r\n", Some("the target doesn't answer (HTTP status 504)")),
            ("HTTP/1.1 302 Found\r\n", Some("it refused with HTTP status 302")),
            ("HTTP/1.1 20x\r\n", Some("it doesn't speak HTTP")),
            ("HTTP/1.1 2000 OK\r\n", Some("it doesn't speak HTTP")),
            ("HTTP/2 200 OK\r\n", Some("it doesn't speak HTTP")),
            ("SSH-2.0-OpenSSH\r\n", Some("it doesn't speak HTTP")),
            ("", Some("it doesn't speak HTTP")),
        ] {
            let fault = answer(head.as_bytes(), false).err().map(|fault| fault.to_string());
            assert_eq!(fault.as_deref(), said, "{head}");
        }
        assert_eq!(answer(b"HTTP/1.1 407 x", true).unwrap_err().to_string(), "it refused user and password");
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if answer(&bytes, false).is_ok() {
                prop_assert!(bytes.starts_with(b"HTTP/1."));
            }
        }
    }
}
