//! Who may use a socket, in words: the user and the group that its file or folder belongs to, and how
//! to become a member. For [`crate::client`], when the system refuses it a connection.
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::{getgid, getgroups, getuid};

use crate::socket::{Reach, looking_twin, reach};

/// Search permission of a folder's group.
const GROUP_SEARCH: u32 = 0o010;

/// Write permission of a socket's group, which connecting takes.
const GROUP_WRITE: u32 = 0o020;

/// What has to be passed to use a socket: the socket itself, or a folder on the way that this process
/// can't look into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Barrier {
    uid: u32,
    gid: u32,
    /// Whether members of the group pass.
    admits_group: bool,
}

impl Barrier {
    /// `None` when not even the root folder can be looked at.
    fn before(path: &Path) -> Option<Barrier> {
        let found = path.ancestors().find_map(|place| fs::metadata(place).ok())?;
        let needed = if found.is_dir() { GROUP_SEARCH } else { GROUP_WRITE };
        let (uid, gid) = (found.uid(), found.gid());
        Some(Barrier { uid, gid, admits_group: found.mode() & needed != 0 })
    }
}

/// The process that is refused.
#[derive(Debug)]
struct Me {
    uid: u32,
    gids: Vec<u32>,
}

impl Me {
    fn observe() -> Me {
        let mut gids: Vec<u32> = vec![getgid().as_raw()];
        gids.extend(getgroups().unwrap_or_default().into_iter().map(|gid| gid.as_raw()));
        Me { uid: getuid().as_raw(), gids }
    }
}

/// `/etc/passwd` and `/etc/group` as text. Accounts of a directory service are shown by number.
#[derive(Debug, Default)]
struct Accounts {
    users: String,
    groups: String,
}

impl Accounts {
    fn read() -> Accounts {
        let text = |path| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned();
        Accounts { users: text("/etc/passwd"), groups: text("/etc/group") }
    }

    fn user(&self, uid: u32) -> Option<&str> {
        line_of(&self.users, uid)?.first().copied()
    }

    fn user_or_number(&self, uid: u32) -> String {
        self.user(uid).map_or_else(|| uid.to_string(), str::to_owned)
    }

    /// A group by name, else by number, which the tools take as well.
    fn group(&self, gid: u32) -> String {
        let named = line_of(&self.groups, gid).and_then(|fields| fields.first().copied());
        named.map_or_else(|| gid.to_string(), str::to_owned)
    }

    fn is_member(&self, user: &str, gid: u32) -> bool {
        let members = line_of(&self.groups, gid).and_then(|fields| fields.get(3).copied());
        members.is_some_and(|members| members.split(',').any(|member| member == user))
    }
}

/// The fields of the line whose third one is `id` (passwd(5), group(5)).
fn line_of(text: &str, id: u32) -> Option<Vec<&str>> {
    let id = id.to_string();
    text.lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&id.as_str()))
}

/// A group by name, or by number where `/etc/group` has no name for it.
pub fn name(gid: u32) -> String {
    Accounts::read().group(gid)
}

/// For whom the socket at `path` is, and what this user can do about it: whole sentences, to stand
/// behind a colon.
pub(crate) fn advice(path: &Path) -> String {
    let twin = looking_twin(path).and_then(|twin| match reach(&twin) {
        Reach::Usable => Some(Twin::Open(twin)),
        Reach::Absent => None,
        Reach::Forbidden => Barrier::before(&twin).filter(|b| b.admits_group).map(Twin::For),
    });
    advise(Barrier::before(path), twin, &Me::observe(), &Accounts::read())
}

/// The read-only socket beside the one that is refused.
#[derive(Debug)]
enum Twin {
    /// This process may use it.
    Open(PathBuf),
    /// The group of this may.
    For(Barrier),
}

fn advise(barrier: Option<Barrier>, twin: Option<Twin>, me: &Me, accounts: &Accounts) -> String {
    let Some(Barrier { uid, gid, admits_group }) = barrier else {
        return "ask whoever runs wgod".to_owned();
    };
    let owner = accounts.user_or_number(uid);
    // Nobody should become a member of root's group for this.
    if !admits_group || gid == 0 {
        return format!(
            "it is for the user {owner} alone; run wgoctl as that user: `sudo -u {owner} wgoctl …`"
        );
    }
    let group = accounts.group(gid);
    let name = accounts.user(me.uid);
    let join = match name {
        Some(name) if accounts.is_member(name, gid) && !me.gids.contains(&gid) => {
            format!(
                "{name} is a member by now, but this session began before: log in again, or run `newgrp {group}`"
            )
        }
        _ => {
            format!("to join: `sudo usermod -aG {group} {}`, then log in again", name.unwrap_or("YOUR_NAME"))
        }
    };
    let look = match twin {
        Some(Twin::Open(path)) => format!(". To look and not to touch: --socket {}", path.display()),
        Some(Twin::For(barrier)) if barrier.gid != gid && barrier.gid != 0 => {
            format!(". The group {} may look and not touch", accounts.group(barrier.gid))
        }
        _ => String::new(),
    };
    format!("it is for the user {owner} and the group {group}; {join}{look}")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn accounts() -> Accounts {
        Accounts {
            users: "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nwgod:x:990:990::/:/\nbroken"
                .to_owned(),
            groups: "root:x:0:\nwgod:x:990:bob,alice2\nwgod-ro:x:991:\nlate:x:992:bob,alice\n".to_owned(),
        }
    }

    #[test]
    fn the_advice_names_the_group_and_the_command() {
        let barrier = |gid, admits_group| Some(Barrier { uid: 990, gid, admits_group });
        let twin = |gid| Some(Twin::For(Barrier { uid: 990, gid, admits_group: true }));
        let alice = Me { uid: 1000, gids: vec![1000] };
        let stranger = Me { uid: 4711, gids: vec![4711] };
        let open = Some(Twin::Open("/run/wgod-ro/wgod-ro.sock".into()));
        for (barrier, twin, me, expected) in [
            (
                barrier(990, true),
                None,
                &alice,
                "it is for the user wgod and the group wgod; to join: `sudo usermod -aG wgod alice`, then log in again",
            ),
            (
                barrier(990, true),
                twin(991),
                &alice,
                "it is for the user wgod and the group wgod; to join: `sudo usermod -aG wgod alice`, then log in again. The group wgod-ro may look and not touch",
            ),
            (
                barrier(990, true),
                open,
                &alice,
                "it is for the user wgod and the group wgod; to join: `sudo usermod -aG wgod alice`, then log in again. To look and not to touch: --socket /run/wgod-ro/wgod-ro.sock",
            ),
            (
                barrier(992, true),
                None,
                &alice,
                "it is for the user wgod and the group late; alice is a member by now, but this session began before: log in again, or run `newgrp late`",
            ),
            (
                barrier(5000, true),
                twin(5000),
                &stranger,
                "it is for the user wgod and the group 5000; to join: `sudo usermod -aG 5000 YOUR_NAME`, then log in again",
            ),
            (
                barrier(990, false),
                twin(991),
                &alice,
                "it is for the user wgod alone; run wgoctl as that user: `sudo -u wgod wgoctl …`",
            ),
            (
                Some(Barrier { uid: 0, gid: 0, admits_group: true }),
                None,
                &alice,
                "it is for the user root alone; run wgoctl as that user: `sudo -u root wgoctl …`",
            ),
            (None, None, &alice, "ask whoever runs wgod"),
        ] {
            assert_eq!(advise(barrier, twin, me, &accounts()), expected);
        }
    }

    #[test]
    fn the_barrier_is_the_socket_or_the_last_folder_that_shows_itself() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("run");
        fs::create_dir(&folder).unwrap();
        for (mode, admits_group) in [(0o750, true), (0o700, false)] {
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
            let barrier = Barrier::before(&folder.join("none/wgod.sock")).unwrap();
            assert_eq!(barrier.admits_group, admits_group, "{mode:o}");
        }
        let socket = folder.join("s");
        fs::write(&socket, "").unwrap();
        for (mode, admits_group) in [(0o660, true), (0o640, false)] {
            fs::set_permissions(&socket, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(Barrier::before(&socket).unwrap().admits_group, admits_group, "{mode:o}");
        }
    }
}
