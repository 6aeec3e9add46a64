//! Permission bits of the files and folders that torrents consist of.
use super::setting::{Raw, Refused, Setting, quoted};

/// Read and write for the owner: wgod opens its files again.
const OWNER_OF_FILE: u16 = 0o600;
/// And search, for folders.
const OWNER_OF_FOLDER: u16 = 0o700;
/// Read, write and execute for everybody.
const PLAIN: u16 = 0o777;
/// What is made in a folder gets the folder's group.
const SETGID: u16 = 0o2000;

/// The mode of new files: plain permission bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(pub u16);

/// The mode of new folders: permission bits, and perhaps setgid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FolderMode(pub u16);

impl Setting for FileMode {
    fn allowed() -> String {
        "an octal mode in quotes, from \"0600\" to \"0777\", that lets the owner read and write".into()
    }

    fn parse(raw: &Raw) -> Result<FileMode, Refused> {
        let bits = octal(raw)?;
        if bits & !PLAIN != 0 {
            return Err(Refused::because("files get no set-user-ID, set-group-ID or sticky bit"));
        }
        within_reach(bits, OWNER_OF_FILE).map(FileMode)
    }

    fn to_toml(&self) -> String {
        quoted(&format!("{:04o}", self.0))
    }
}

impl Setting for FolderMode {
    fn allowed() -> String {
        "an octal mode in quotes, from \"0700\" to \"0777\", with a 2 in front (as in \"2775\") for the setgid bit, that lets the owner read, write and search".into()
    }

    fn parse(raw: &Raw) -> Result<FolderMode, Refused> {
        let bits = octal(raw)?;
        if bits & !(PLAIN | SETGID) != 0 {
            return Err(Refused::because("of the special bits, folders can get setgid (2) only"));
        }
        within_reach(bits, OWNER_OF_FOLDER).map(FolderMode)
    }

    fn to_toml(&self) -> String {
        quoted(&format!("{:04o}", self.0))
    }
}

/// Three or four octal digits.
fn octal(raw: &Raw) -> Result<u16, Refused> {
    if let Raw::Int(n) = raw {
        // 640 is another number than 0640, and TOML has no numbers that begin with 0.
        return Err(Refused::because(format!("write it in quotes, as in \"{n:04}\"")));
    }
    let digits = raw.text().map(str::trim).filter(|text| matches!(text.len(), 3 | 4));
    let digits = digits.filter(|text| text.bytes().all(|digit| matches!(digit, b'0'..=b'7')));
    digits.and_then(|text| u16::from_str_radix(text, 8).ok()).ok_or_else(Refused::default)
}

/// Without these the daemon locks itself out of what it makes.
fn within_reach(bits: u16, owner: u16) -> Result<u16, Refused> {
    if bits & owner == owner {
        return Ok(bits);
    }
    Err(Refused::because(format!(
        "wgod itself could not use them: the owner's digit must have {:o}",
        owner >> 6
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<T: Setting + std::fmt::Debug>(raw: &Raw) -> String {
        T::parse(raw).unwrap_err().detail.unwrap_or_default()
    }

    #[test]
    fn a_mode_is_octal_text_and_reads_back() {
        for (text, bits) in
            [("0640", 0o640), ("640", 0o640), ("0666", 0o666), ("0777", 0o777), ("600", 0o600)]
        {
            let mode = FileMode::parse(&Raw::Text(text.into())).unwrap();
            assert_eq!(mode, FileMode(bits), "{text}");
            assert_eq!(FileMode::parse(&Raw::Text(mode.to_toml().replace('"', ""))), Ok(mode));
        }
        for (text, bits) in [("2775", 0o2775), ("0750", 0o750), ("700", 0o700)] {
            assert_eq!(FolderMode::parse(&Raw::Bare(text.into())), Ok(FolderMode(bits)), "{text}");
        }
        assert_eq!(FolderMode(0o2775).to_toml(), "\"2775\"");
    }

    #[test]
    fn what_is_no_mode_or_a_harmful_one_is_refused_with_its_reason() {
        for text in ["", "64", "06400", "0680", "rw-r-----", "+640", "0o640", "-640"] {
            assert!(FileMode::parse(&Raw::Text(text.into())).is_err(), "{text}");
            assert!(FolderMode::parse(&Raw::Text(text.into())).is_err(), "{text}");
        }
        assert!(refusal::<FileMode>(&Raw::Int(640)).contains("\"0640\""));
        for special in ["4755", "2644", "1666"] {
            assert!(refusal::<FileMode>(&Raw::Text(special.into())).contains("no set-user-ID"), "{special}");
        }
        for special in ["4755", "1777", "6775"] {
            assert!(
                refusal::<FolderMode>(&Raw::Text(special.into())).contains("setgid (2) only"),
                "{special}"
            );
        }
        assert!(refusal::<FileMode>(&Raw::Text("0440".into())).contains("must have 6"));
        assert!(refusal::<FolderMode>(&Raw::Text("0660".into())).contains("must have 7"));
    }
}
