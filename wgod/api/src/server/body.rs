//! A request body that fails when it does not arrive in time, so that no call waits for one forever.
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use jsonrpsee::core::BoxError;
use tokio::time::{Instant, Sleep};

/// The whole body may take this many times as long as the pause between two parts of it.
const WHOLE: u32 = 4;

/// `Incoming` with a time-out for each part and one for the whole.
pub(super) struct TimedBody {
    body: Incoming,
    pause: Duration,
    end: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl TimedBody {
    pub(super) fn new(body: Incoming, pause: Duration) -> Self {
        let end = Instant::now() + pause * WHOLE;
        Self { body, pause, end, sleep: Box::pin(tokio::time::sleep(pause)) }
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            let next = self.end.min(Instant::now() + self.pause);
            self.sleep.as_mut().reset(next);
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(self.sleep.as_mut().poll(cx));
        Poll::Ready(Some(Err("the request body did not arrive in time".into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
