//! Follows what we are bound to, over its ends and returns.
//!
//! The kernel tells of every change of an interface or an address (rtnetlink(7)); what changed is then looked at, not
//! read out of the message, so that one that was lost does no harm. While all is well nothing is done.
use std::io;
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
use tokio::net::UnixDatagram;
use tokio_util::sync::CancellationToken;

use super::{Outlet, Standing, look};

/// What comes back does so in steps, an address after its interface and routes after that: so long it is left to
/// settle. What goes counts at once.
const SETTLING: Duration = Duration::from_millis(200);
/// While something is missing it is looked for this often, besides what the kernel tells: the end of the test of an
/// IPv6 address for being unique, say.
const MISSING_INTERVAL: Duration = Duration::from_secs(1);
/// Where the kernel tells nothing, it is looked this often.
const BLIND_INTERVAL: Duration = Duration::from_secs(1);

/// News come in heaps: so long is waited for the rest of one. Nothing leaks meanwhile, as all is bound.
const PACE: Duration = Duration::from_millis(50);

impl Outlet {
    /// Follows what it is bound to, until `stopping`. Without anything to follow it ends at once.
    pub async fn watch(self, stopping: CancellationToken) {
        if self.bounds().is_free() {
            return;
        }
        let news = News::listen().inspect_err(|error| {
            tracing::warn!(%error, "no news of network interfaces; they are looked at every second");
        });
        let news = news.ok();
        if let Some(missing) = self.trouble() {
            tracing::warn!("{missing}; what is bound to it waits");
        }
        loop {
            self.look().await;
            let wait = match (&news, self.trouble()) {
                (None, _) => Some(BLIND_INTERVAL),
                (Some(_), Some(_)) => Some(MISSING_INTERVAL),
                (Some(_), None) => None,
            };
            tokio::select! {
                () = stopping.cancelled() => return,
                () = told(news.as_ref()) => {}
                () = sleep(wait) => {}
            }
            tokio::time::sleep(PACE).await;
        }
    }

    /// Looks, and takes up what is found.
    async fn look(&self) {
        let (before, was_missing) = (self.standing(), self.trouble());
        let mut paths = look::paths(self.bounds());
        let found = Standing { generation: 0, paths: paths.clone().into() };
        if found.keeps(&before) && *found.paths != *before.paths {
            tokio::time::sleep(SETTLING).await;
            paths = look::paths(self.bounds());
        }
        if !self.settle(paths) {
            return;
        }
        match (self.trouble(), was_missing) {
            (Some(missing), was) if was.as_ref() != Some(&missing) => {
                tracing::warn!("{missing}; what is bound to it waits");
            }
            (None, Some(was)) => tracing::info!("no longer so: {was}; everything is bound anew"),
            (None, None) => tracing::info!("the network is another one; everything is bound anew"),
            (Some(_), _) => {}
        }
    }
}

async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

async fn told(news: Option<&News>) {
    match news {
        Some(news) => news.wait().await,
        None => std::future::pending().await,
    }
}

/// The kernel's news of interfaces and addresses. Its socket is one of netlink; std knows no type for these, and
/// receiving is the same on every socket of datagrams.
struct News(UnixDatagram);

impl News {
    fn listen() -> io::Result<News> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // No protocol is NETLINK_ROUTE.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, None)?;
        let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
        bind(&socket, &SocketAddrNetlink::new(0, groups.cast_unsigned()))?;
        Ok(News(UnixDatagram::from_std(socket.into())?))
    }

    /// Ends when there are some, having taken all that there are. Lost ones are some, too (`ENOBUFS`).
    async fn wait(&self) {
        // Nothing is read out of them, so what doesn't fit is no loss.
        let mut buf = [0; 64];
        let _ = self.0.recv(&mut buf).await;
        while self.0.try_recv(&mut buf).is_ok() {}
    }
}
