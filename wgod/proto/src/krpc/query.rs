//! What nodes ask each other: methods and their arguments (BEP 5, 32, 33, 43, 44, 51).
use super::{Item, KrpcError, Signed, exact, exactly, int, string, token};
use crate::bencode::{Dict, DictEncoder, Value};
use crate::compact::Family;
use crate::units::{NodeId, WireHash};

/// A query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// Who asks.
    pub id: NodeId,
    /// Whoever asks answers no queries: it is not to be put into routing tables (BEP 43).
    pub read_only: bool,
    /// What is asked.
    pub method: Method<'a>,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method<'a> {
    /// Are you there?
    Ping,
    /// Which nodes are closest to `target`?
    FindNode {
        /// Any point.
        target: NodeId,
        /// Families of nodes to name (BEP 32); those of the query itself when absent.
        want: Option<Want>,
    },
    /// Which peers does a torrent have, and which nodes are closest to it?
    GetPeers {
        /// The torrent.
        info_hash: WireHash,
        /// As in `FindNode`.
        want: Option<Want>,
        /// Peers that are no seeds are preferred (BEP 33).
        noseed: bool,
        /// Filters that count peers and seeds are wanted (BEP 33).
        scrape: bool,
    },
    /// Whoever asks is a peer of a torrent.
    AnnouncePeer {
        /// The torrent.
        info_hash: WireHash,
        /// Where the peer listens; `None` is the port that the query comes from.
        port: Option<u16>,
        /// It has everything (BEP 33).
        seed: bool,
        /// From the response to `GetPeers`.
        token: &'a [u8],
    },
    /// For which torrents do you have peers (BEP 51)?
    SampleInfohashes {
        /// The closest nodes to this are to be named too.
        target: NodeId,
        /// As in `FindNode`.
        want: Option<Want>,
    },
    /// What is stored there (BEP 44)?
    Get {
        /// The item's place.
        target: NodeId,
        /// Only if its sequence number is higher than this.
        seq: Option<i64>,
        /// As in `FindNode`.
        want: Option<Want>,
    },
    /// Store this (BEP 44). How long value and salt may be is for the receiver to judge.
    Put {
        /// From the response to `Get`.
        token: &'a [u8],
        /// The item.
        item: Item<'a>,
        /// Only if what is stored has this sequence number.
        cas: Option<i64>,
    },
    /// A method that we don't know.
    Unknown {
        /// Its name.
        name: &'a [u8],
        /// Its `target` or `info_hash`: nodes answer such queries like `FindNode`, so that lookups of new
        /// kinds work through nodes that don't know them.
        target: Option<NodeId>,
        /// As in `FindNode`.
        want: Option<Want>,
    },
}

/// Families of nodes that a response shall name (BEP 32).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// IPv4 nodes.
    pub v4: bool,
    /// IPv6 nodes.
    pub v6: bool,
}

impl Want {
    /// One family only.
    pub fn only(family: Family) -> Self {
        Want { v4: family == Family::V4, v6: family == Family::V6 }
    }

    /// Whether a family is wanted.
    pub fn includes(self, family: Family) -> bool {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }

    fn decode(value: Value<'_>) -> Option<Self> {
        let list = value.as_list()?;
        let mut want = Want::default();
        for family in list.iter().filter_map(|item| item.as_bytes()) {
            want.v4 |= family == b"n4";
            want.v6 |= family == b"n6";
        }
        Some(want)
    }

    fn encode(self, args: &mut DictEncoder<'_>) {
        args.entry("want").list(|list| {
            for (wanted, name) in [(self.v4, "n4"), (self.v6, "n6")] {
                if wanted {
                    list.item().bytes(name);
                }
            }
        });
    }
}

impl<'a> Method<'a> {
    /// The name on the wire.
    pub fn name(&self) -> &'a [u8] {
        match self {
            Method::Ping => b"ping",
            Method::FindNode { .. } => b"find_node",
            Method::GetPeers { .. } => b"get_peers",
            Method::AnnouncePeer { .. } => b"announce_peer",
            Method::SampleInfohashes { .. } => b"sample_infohashes",
            Method::Get { .. } => b"get",
            Method::Put { .. } => b"put",
            Method::Unknown { name, .. } => name,
        }
    }
}

impl<'a> Query<'a> {
    pub(super) fn decode(name: &'a [u8], args: Dict<'a>, read_only: bool) -> Result<Self, KrpcError> {
        let [id, info_hash, target, want, wish] = args.pick(["id", "info_hash", "target", "want", "seq"])?;
        let id = NodeId(*exact("id", id)?);
        let want = want.and_then(Want::decode);
        let the_target = || exact("target", target).map(|target| NodeId(*target));
        let the_hash = || exact("info_hash", info_hash).map(|hash| WireHash(*hash));
        let method = match name {
            b"ping" => Method::Ping,
            b"find_node" => Method::FindNode { target: the_target()?, want },
            b"sample_infohashes" => Method::SampleInfohashes { target: the_target()?, want },
            b"get" => Method::Get { target: the_target()?, seq: wish.and_then(|seq| seq.as_int()), want },
            b"get_peers" => {
                let flag = |key| args.int(key) == Some(1);
                let (noseed, scrape) = (flag("noseed"), flag("scrape"));
                Method::GetPeers { info_hash: the_hash()?, want, noseed, scrape }
            }
            b"announce_peer" => decode_announce(args, the_hash()?)?,
            b"put" => decode_put(args)?,
            name => {
                let target = exactly(target).or(exactly(info_hash)).map(|target| NodeId(*target));
                Method::Unknown { name, target, want }
            }
        };
        Ok(Query { id, read_only, method })
    }

    pub(super) fn encode(&self, args: &mut DictEncoder<'_>) {
        let head = |args: &mut DictEncoder<'_>| args.entry("id").bytes(self.id.0);
        let tail = |args: &mut DictEncoder<'_>, want: &Option<Want>| {
            if let Some(want) = want {
                want.encode(args);
            }
        };
        match &self.method {
            Method::Ping => head(args),
            Method::FindNode { target, want } | Method::SampleInfohashes { target, want } => {
                head(args);
                args.entry("target").bytes(target.0);
                tail(args, want);
            }
            Method::Unknown { target, want, .. } => {
                head(args);
                if let Some(target) = target {
                    args.entry("target").bytes(target.0);
                }
                tail(args, want);
            }
            Method::GetPeers { info_hash, want, noseed, scrape } => {
                head(args);
                args.entry("info_hash").bytes(info_hash.0);
                flag(args, "noseed", *noseed);
                flag(args, "scrape", *scrape);
                tail(args, want);
            }
            Method::AnnouncePeer { info_hash, port, seed, token } => {
                head(args);
                flag(args, "implied_port", port.is_none());
                args.entry("info_hash").bytes(info_hash.0);
                // Whoever doesn't know `implied_port` takes the packet for malformed without a port.
                args.entry("port").int(port.map_or(1, i64::from));
                flag(args, "seed", *seed);
                args.entry("token").bytes(token);
            }
            Method::Get { target, seq, want } => {
                head(args);
                if let Some(seq) = seq {
                    args.entry("seq").int(*seq);
                }
                args.entry("target").bytes(target.0);
                tail(args, want);
            }
            Method::Put { token, item, cas } => {
                if let Some(cas) = cas {
                    args.entry("cas").int(*cas);
                }
                head(args);
                encode_put(args, token, item);
            }
        }
    }
}

fn flag(args: &mut DictEncoder<'_>, key: &str, set: bool) {
    if set {
        args.entry(key).int(1);
    }
}

fn decode_announce<'a>(args: Dict<'a>, info_hash: WireHash) -> Result<Method<'a>, KrpcError> {
    let [implied, port, seed, write] = args.pick(["implied_port", "port", "seed", "token"])?;
    let implied = implied.and_then(|implied| implied.as_int()).is_some_and(|implied| implied != 0);
    let port = match implied {
        true => None,
        false => {
            let found = int("port", port)?;
            let listening = u16::try_from(found).ok().filter(|port| *port != 0);
            Some(listening.ok_or(KrpcError::Port { found })?)
        }
    };
    let seed = seed.and_then(|seed| seed.as_int()) == Some(1);
    Ok(Method::AnnouncePeer { info_hash, port, seed, token: token(write)? })
}

fn decode_put<'a>(args: Dict<'a>) -> Result<Method<'a>, KrpcError> {
    let [cas, k, salt, seq, sig, write, v] = args.pick(["cas", "k", "salt", "seq", "sig", "token", "v"])?;
    let value = v.ok_or(KrpcError::Missing { key: "v" })?.raw();
    let signed = match k {
        None => None,
        Some(_) => Some(Signed {
            key: exact("k", k)?,
            seq: int("seq", seq)?,
            signature: exact("sig", sig)?,
            salt: salt.map_or(Ok(&b""[..]), |salt| string("salt", Some(salt)))?,
        }),
    };
    let cas = cas.and_then(|cas| cas.as_int());
    Ok(Method::Put { token: token(write)?, item: Item { value, signed }, cas })
}

fn encode_put(args: &mut DictEncoder<'_>, token: &[u8], item: &Item<'_>) {
    if let Some(signed) = &item.signed {
        args.entry("k").bytes(signed.key);
        if !signed.salt.is_empty() {
            args.entry("salt").bytes(signed.salt);
        }
        args.entry("seq").int(signed.seq);
        args.entry("sig").bytes(signed.signature);
    }
    args.entry("token").bytes(token);
    args.entry("v").raw(item.value);
}
