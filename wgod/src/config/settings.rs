//! The settings of wgod: names, types, defaults, meaning. `config/wgod.toml` is printed from here.
//!
//! `Now` takes effect by `reload`, `Restart` at the next start; `Unbuilt` marks a feature that is not
//! there yet, whose setting takes nothing but its default or "off". Building the feature replaces
//! that word.
use std::net::IpAddr;
use std::path::PathBuf;

use wgo_api::units::{Period, Rate, Size};
use wgo_proto::host_port::HostPort;
use wgo_proto::metainfo::PartSuffix;

use super::allowed_folders::AllowedFolders;
use super::choices::{
    AfterGoal, AfterImport, Encryption, Preallocate, Priority, ProxyFor, SeedingOrder, Slots,
};
use super::chosen::{Chosen, GoalRatio};
use super::endpoint::Endpoint;
use super::hook_command::HookCommand;
use super::key::{Effect, Key, Section, settings};
use super::log_spec::LogSpec;
use super::modes::{FileMode, FolderMode};
use super::name_server::NameServer;
use super::names::{HOSTS, LABELS};
use super::proxy::ProxyUrl;
use super::schedule::{Alternative, Schedule};
use super::setting::Setting;
use super::watch_folder::WatchFolders;
use crate::outlet::InterfaceName;

/// Nodes that have long been there for everybody, of the makers of several clients.
fn well_known_nodes() -> Vec<HostPort> {
    let named = [
        ("dht.libtorrent.org", 25401),
        ("dht.transmissionbt.com", 6881),
        ("router.bittorrent.com", 6881),
        ("router.utorrent.com", 6881),
    ];
    named.iter().filter_map(|(host, port)| HostPort::new(host, *port)).collect()
}

const MIB: u64 = 1 << 20;
const TIB: u64 = 1 << 40;

settings! {
    /// The process itself.
    [once] daemon: Daemon {
        /// The control socket, a Unix socket.
        /// Not set: `wgod.sock` in $RUNTIME_DIRECTORY under systemd, in /run/wgod for root, else in
        /// $XDG_RUNTIME_DIR/wgod.
        [Restart] socket: Option<PathBuf> = None;

        /// A second control socket, for those who may look and not touch: it answers `list`, `show` and
        /// the like, and refuses what changes something. Its folder decides who they are: the socket gets
        /// the folder's group, where that has its setgid bit.
        /// Not set: `wgod-ro.sock` in /run/wgod-ro under systemd, if that folder is there (for another
        /// $RUNTIME_DIRECTORY, in the one beside it with `-ro` behind its name); else there is none.
        [Restart] socket_ro: Option<PathBuf> = None;

        /// Where the daemon keeps its database.
        /// Not set: $STATE_DIRECTORY under systemd, /var/lib/wgod for root, else
        /// ~/.local/state/wgod.
        [Restart] state_dir: Option<PathBuf> = None;

        /// Backups of the session that the daemon makes and keeps by itself, one a day and one before
        /// an upgrade changes the database, in `backups` of its state directory; 0 makes none.
        [Now] backups: u32 = 7, within 0..=100;

        /// What is logged: a level (off, error, warn, info, debug, trace), and levels of components
        /// after it, as in "info,peer=debug,tracker=trace".
        /// Components: session, torrent, peer, tracker, dht, lsd, files, store, console, audit (who changed what
        /// over the control sockets), listen, portmap, choke, hooks, watch, config, daemon.
        [Now] log: LogSpec = LogSpec::default();
    }

    /// Files, memory and processors.
    [once] storage: Storage {
        /// Where torrents go that are added without a folder, unless a label of theirs has one.
        /// Not set: the user's Downloads folder when the desktop names one, else `downloads` in the
        /// state directory.
        [Now] folder: Option<PathBuf> = None;

        /// Where torrents are kept until they are complete; then their files go to the folder that they were
        /// added to, or `folder`. On another file system they are copied and hashed for that. A torrent of
        /// which that folder has files already begins there. Counts for torrents that are added from then on.
        [Now] incomplete_folder: Option<PathBuf> = None;

        /// What the names of files end in on disk that are not complete, as in ".part", so that media servers
        /// and the like pass over them. A file gets its own name when the last of it is safely on disk; one that
        /// is there by its own name is used as it is. Counts for torrents that are added from then on.
        [Now] part_suffix: Option<PartSuffix> = None;

        /// The only folders, each with all below it, that torrents may be put into. The daemon confines
        /// itself to them by Landlock, where the kernel has that. "auto": under systemd `folder`,
        /// `incomplete_folder`, `watch.folders`, the folders of their rules and those of `[labels]`; started by
        /// hand, any folder.
        /// "any": any folder that the daemon may write to. Name the folder above the mount point for a disk that
        /// comes and goes: what is mounted on an allowed folder itself later is out of reach until the next
        /// start. Can't be set by wgoctl.
        [Restart] allowed_folders: AllowedFolders = AllowedFolders::Auto;

        /// How the space of a file is reserved before the first write to it. "full": all of it, which
        /// keeps files in one stretch and finds a full disk early (sparse where the file system can't, or
        /// lies in memory); "sparse": its length alone; "none": it grows with what is written.
        [Now] preallocate: Preallocate = Preallocate::Full;

        /// The mode of the files that torrents make, as in "0640": exactly that, whatever the umask. Those
        /// that a torrent calls executable may be executed by whoever may read them. Not set: what the umask
        /// leaves of 0666. What is there already keeps its mode.
        [Now] file_mode: Option<FileMode> = None;

        /// The same of folders, as in "0750", or "2775" for folders whose group passes on to what is made in
        /// them (a service of systemd may set that bit only without `RestrictSUIDSGID=`). Not set: what the
        /// umask leaves of 0777.
        [Now] folder_mode: Option<FolderMode> = None;

        /// All memory for payload: pieces on their way to the disk, pieces read ahead, batches being
        /// sent.
        [Restart] memory: Size = Size(52 * MIB), within Size(4 * MIB)..=Size(TIB);

        /// Downloads to a file system wait while it has less than this left, and go on by themselves when a
        /// tenth more is free. What is complete there is seeded on.
        [Now] min_free_space: Size = Size(100 * MIB);

        /// Processors to use at most for network and hashing; 0 is all there are.
        [Restart] procs: u32 = 0, within 0..=1024;
    }

    /// Connections to peers.
    [once] network: Network {
        /// Local addresses to listen on and connect from, as in ["192.0.2.1", "2001:db8::1"]. None: all. Packets
        /// leave by the interface that has the address and by no other: while it is missing nothing does. An
        /// interface is named in `interface`.
        [Restart] ip: Vec<IpAddr> = Vec::new();

        /// The port peers connect to; 0 takes any free one. While it is left at the default, another
        /// one is taken when it is in use; `wgoctl status` shows which.
        [Restart] port: u16 = 6868, within 0..=65535;

        /// The only network interface to use, as in "wg0": for peers, trackers and the names of trackers. While it
        /// is missing or down nothing leaves by another one, and all goes on by itself when it is back. `ip` may
        /// name which of its addresses. Names are resolved through it too: see `dns`.
        [Restart] interface: Option<InterfaceName> = None;

        /// Name servers to ask for the addresses of trackers, as in ["10.2.0.1"], or with a port
        /// ["10.2.0.1:5353"]. Not set: with `interface`, those of /etc/resolv.conf, asked through it; else the
        /// system's resolver, which may ask whom it likes, through any interface.
        [Restart] dns: Vec<NameServer> = Vec::new();

        /// Lists of addresses to have nothing to do with, as in ["/etc/wgod/blocklist.p2p.gz"]: neither to
        /// connect to nor to be connected from. PeerGuardian's (P2P), eMule's (ipfilter.dat; levels below 128 block), or
        /// lines with ranges, networks or addresses of IPv4 and IPv6; packed with gzip or not. `reload` reads them
        /// again and closes connections that are blocked then. wgod doesn't start when one can't be read; a
        /// `reload` then fails and leaves the old ones in force. Trackers are asked wherever they are. Can't be set
        /// by wgoctl.
        [Now] ip_filter: Vec<PathBuf> = Vec::new();

        /// Connections to peers at most, over all torrents.
        [Now] max_peers: u32 = 1000, within 1..=1_000_000;

        /// Connections to peers at most, of one torrent.
        [Now] max_peers_per_torrent: u32 = 100, within 1..=1_000_000;

        /// Connections that are being made at a time, over all torrents: each counts until the peer has answered or
        /// was given up. Small routers lose other connections when there are many.
        [Now] max_dials: u32 = 200, within 1..=100_000;

        /// Connections begun in a second, over all torrents. Those that thousands of torrents want wait for their
        /// turn.
        [Now] dials_per_second: u32 = 50, within 1..=100_000;

        /// Connect by TCP.
        [Restart] tcp: bool = true;

        /// Connect by uTP (BEP 29).
        [Unbuilt] utp: bool = false;

        /// Encrypt connections (message stream encryption): "off" neither makes nor takes encrypted ones; "allow"
        /// connects plainly, and encrypts where the peer wants it; "prefer" encrypts where the peer takes it, and
        /// connects plainly where it doesn't; "require" has no other connections. It hides from networks that
        /// slow BitTorrent down what a connection is; it keeps nothing secret. A GiB that is encrypted takes
        /// about 1.5 s of processor time more. A change is for connections to come.
        [Now] encryption: Encryption = Encryption::Allow;

        /// Have the router that translates our IPv4 address let peers in, by PCP, NAT-PMP or UPnP. It is asked where
        /// `ip`, or the address that the system would choose, is a private one in the network of the default
        /// gateway, and nothing is sent elsewhere. Taken back at the end; `wgoctl status` shows what came of it.
        [Restart] port_mapping: bool = true;

        /// A proxy by which peers and trackers are reached: "socks5://HOST:PORT", or "http://HOST:PORT" for one that
        /// makes tunnels (CONNECT) to any port and carries no UDP. A login is written as in
        /// "socks5://USER:PASSWORD@HOST:PORT", with %40 for an @ in it; messages and `wgoctl` never show the password.
        /// What the proxy is for never goes round it: names of trackers are looked up by the proxy, UDP trackers are
        /// asked by its UDP relay, and when it is down, nothing goes. Can't be set by wgoctl.
        [Restart] proxy: Option<ProxyUrl> = None;

        /// A file with nothing but the password, for a `proxy` that names a user alone. Not set: the credential
        /// `proxy_password` of the systemd unit, if there is one.
        [Restart] proxy_password_file: Option<PathBuf> = None;

        /// What goes by the proxy: "peers", "trackers", or "all", which is both.
        [Restart] proxy_for: ProxyFor = ProxyFor::All;

        /// Nothing at all goes round the proxy: wgod doesn't listen for peers (trackers are told port 1, as others
        /// do behind proxies, since many refuse 0), looks no name up but the proxy's own, and has neither DHT, local
        /// discovery nor port mapping. It doesn't start without a `proxy`.
        [Restart] proxy_only: bool = false;

        /// Our address to tell trackers when it isn't the one they see, as behind a proxy or in the same network
        /// as they are. Trackers that are asked by the other family of addresses aren't told; many believe only
        /// what they see.
        [Now] announce_ip: Option<IpAddr> = None;
    }

    /// How peers are found, besides trackers. Private torrents use none of these.
    [once] discovery: Discovery {
        /// The distributed hash table (BEP 5): nodes tell each other which peers a torrent has, without a
        /// tracker. It is further configured by `[dht]`.
        [Now] dht: bool = true;

        /// Announcements in the local network (local service discovery, BEP 14): active torrents find peers there
        /// and are found, by IPv4 and IPv6, on every network interface with neighbours; tunnels are none.
        [Now] lsd: bool = true;

        /// Peers tell each other of peers (BEP 11).
        [Now] pex: bool = true;
    }

    /// Our node of the distributed hash table, which is there while `discovery.dht` is on. It has the number of the
    /// port that peers connect to, by UDP.
    [once] dht: Dht {
        /// Nodes to ask for others while none is known, as in ["router.example:6881", "192.0.2.1:6881"], addresses of
        /// IPv6 in brackets. Those that were known at the end of the last run are asked first.
        [Now] bootstrap: Vec<HostPort> = well_known_nodes();

        /// Ask others and answer nobody, and tell so (BEP 43): for lines where each packet costs. Torrents are
        /// announced all the same. A change makes the node begin anew, with those that it knows.
        [Now] read_only: bool = false;
    }

    /// Rates over all torrents: "20 MB/s", "1 MiB/s", "500000 B/s", a bare number of KB/s (1000
    /// bytes), 0 for no limit.
    [once] limits: Limits {
        /// Upload.
        [Now] up: Rate = Rate(0);

        /// Download.
        [Now] down: Rate = Rate(0);

        /// Upload while the alternative limits are on.
        [Now] alt_up: Rate = Rate(0);

        /// Download while the alternative limits are on.
        [Now] alt_down: Rate = Rate(0);

        /// When the alternative limits are on, in local time, as in ["mon-fri 08:00-18:00",
        /// "sat,sun 10:00-02:00"]; "daily" is every day. Entries may not overlap.
        [Now] schedule: Schedule = Schedule::default();

        /// Whether the alternative limits are on: "on", "off", or "auto", by the schedule. `wgoctl alt on` and
        /// `off` set it until the schedule would switch them next.
        [Now] alt: Alternative = Alternative::Auto;
    }

    /// Who is uploaded to.
    [once] choke: Choke {
        /// Peers uploaded to at once over all torrents; "auto" follows the upload rate.
        [Now] slots: Slots = Slots::Auto;

        /// Peers uploaded to on trial, besides these; "auto" is a fifth of the slots.
        [Now] optimistic: Slots = Slots::Auto;

        /// Whom complete torrents upload to first: "round-robin", "fastest-upload" or "anti-leech".
        [Now] seeding: SeedingOrder = SeedingOrder::RoundRobin;
    }

    /// How many torrents are active at once; 0 is no limit. Others wait: downloads in the order of the queue,
    /// seeds for their turn, which changes every half an hour; those of a higher priority go first.
    [once] queue: Queue {
        /// Torrents that download.
        [Now] downloads: u32 = 0;

        /// Torrents that seed.
        [Now] seeds: u32 = 0;

        /// Torrents that download or seed, slow ones included; downloads go first.
        [Now] active: u32 = 0;

        /// A torrent that is slower than this for a minute goes on but doesn't count as a download or a
        /// seed, up to 100 of each; 0 counts every one.
        [Now] slow: Rate = Rate(1000);
    }

    /// When a torrent has been seeded enough; values of its own, of its labels and of its trackers win. 0 is
    /// no limit. One that is started again after it reached a goal goes on until its goals change.
    [once] seeding: Seeding {
        /// Uploaded bytes over the torrent's size, to three decimals.
        [Now] ratio: f64 = 0.0, within 0.0..=100_000.0;

        /// Time spent seeding.
        [Now] time: Period = Period(0);

        /// Time spent seeding without an upload.
        [Now] idle: Period = Period(0);

        /// What happens at the first of these: "stop", "remove", "remove-with-files", or "keep", which is
        /// nothing.
        [Now] action: AfterGoal = AfterGoal::Stop;
    }

    /// What the torrents of a label have in common: one section for each label. A torrent with several labels is
    /// held by the limits of each; of their seeding goals the strictest count, and of their actions the
    /// mildest. A torrent's own goals win over those of its labels, these over those of its trackers and
    /// `[seeding]`, each goal by itself.
    [LABELS] labels: Label {
        /// Where torrents go that are added with the label and without a folder. Of several labels the first
        /// counts that has one.
        [Now] folder: Option<PathBuf> = None;

        /// Upload of all its torrents together. `wgoctl limit --label NAME` changes it at run time.
        [Now] up: Rate = Rate(0);

        /// Download of all its torrents together.
        [Now] down: Rate = Rate(0);

        /// How torrents rank in the queue that are added with it: "low", "normal" or "high". "default" leaves it to
        /// the next of their labels; in the end it is "normal".
        [Now] priority: Chosen<Priority> = Chosen::DEFAULT;

        /// Torrents that are added with it do not start.
        [Now] paused: bool = false;

        /// Seeding goal: uploaded bytes over the torrent's size; 0 is no goal, "default" leaves it to the
        /// trackers and `[seeding]`.
        [Now] ratio: Chosen<GoalRatio> = Chosen::DEFAULT;

        /// Seeding goal: time spent seeding.
        [Now] time: Chosen<Period> = Chosen::DEFAULT;

        /// Seeding goal: time spent seeding without an upload.
        [Now] idle: Chosen<Period> = Chosen::DEFAULT;

        /// What happens at the first goal that is reached: "stop", "remove", "remove-with-files", or "keep", which
        /// is nothing.
        [Now] action: Chosen<AfterGoal> = Chosen::DEFAULT;
    }

    /// Seeding goals of the torrents of a tracker: one section for each host, which counts for all hosts below
    /// it, too. Where several fit, of a torrent's trackers the first counts that says something of a goal, tier
    /// by tier, and of hosts the longest.
    [HOSTS] trackers: Tracker {
        /// Uploaded bytes over the torrent's size; 0 is no goal, "default" leaves it to the next tracker and
        /// `[seeding]`.
        [Now] ratio: Chosen<GoalRatio> = Chosen::DEFAULT;

        /// Time spent seeding.
        [Now] time: Chosen<Period> = Chosen::DEFAULT;

        /// Time spent seeding without an upload.
        [Now] idle: Chosen<Period> = Chosen::DEFAULT;

        /// What happens at the first goal that is reached, as in `[seeding]`.
        [Now] action: Chosen<AfterGoal> = Chosen::DEFAULT;
    }

    /// Folders whose .torrent and .magnet files are added by themselves. Can't be set by wgoctl.
    [once] watch: Watch {
        /// The folders, as in ["/srv/watch"]; what lies deeper, is hidden or a symlink is left alone. A folder
        /// may have rules for its torrents, written in place of its path or, headed by [[watch.folders]], at the
        /// end of this section:
        ///   { path = "/srv/watch/tv", label = "tv", folder = "/srv/media/tv", paused = true }
        /// Only the path is needed; `label` may be a list; `folder` is where the torrent's files go, if not to
        /// storage.folder. A file that is no torrent gets `.error` behind its name, and the log says why.
        [Restart] folders: WatchFolders = WatchFolders::default();

        /// What happens to a file that was added, or was there already: "keep" leaves it as it is and
        /// remembers it; "rename" puts `.added` behind its name; "delete" deletes it.
        [Restart] after: AfterImport = AfterImport::Rename;
    }

    /// Programs run on events, each a list of program and arguments that no shell reads. The torrent is
    /// described in the environment: WGOD_EVENT, WGOD_INFO_HASH, WGOD_NAME, WGOD_FOLDER, WGOD_PATH, WGOD_LABELS,
    /// WGOD_SIZE_BYTES and more; WGOD_SOCKET lets wgoctl find the daemon. What they print goes to the log.
    /// Can't be set by wgoctl.
    [once] hooks: Hooks {
        /// A torrent was added.
        [Restart] on_added: HookCommand = HookCommand::default();

        /// The metadata of a magnet link has come: what the torrent consists of is known from now on.
        [Restart] on_metadata: HookCommand = HookCommand::default();

        /// A torrent that was downloaded is complete and safe on the disk. Runs at least once: what a crash or
        /// the end of the daemon interrupts runs again at the next start.
        [Restart] on_completed: HookCommand = HookCommand::default();

        /// A torrent was removed.
        [Restart] on_removed: HookCommand = HookCommand::default();

        /// A torrent came into the state "error"; WGOD_ERROR says why.
        [Restart] on_error: HookCommand = HookCommand::default();

        /// A program that runs longer is ended, with all that it started: by SIGTERM, after 5 s by SIGKILL.
        [Restart] time_limit: Period = Period(60), within Period(1)..=Period(7 * 86_400);
    }

    /// Figures for a monitoring system.
    [once] metrics: Metrics {
        /// Where to serve them over HTTP in the text format of Prometheus, at /metrics: a loopback
        /// address as in "127.0.0.1:9868", or a Unix socket as in "/run/wgod/metrics.sock", which the
        /// daemon's user and group may connect to.
        [Restart] listen: Option<Endpoint> = None;
    }
}
