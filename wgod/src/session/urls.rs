//! URLs of trackers, kept once however many torrents have them: thousands from one tracker have its URL, and
//! most others the same list of public ones.
use std::collections::HashSet;
use std::sync::Arc;

use wgo_core::tracker::Tiers;

/// Sets smaller than this are not looked through for what is in use no longer.
const FEW: usize = 64;

/// What is in use, and may be in use no longer. At most twice what was when it was last looked through.
#[derive(Debug, Default)]
pub(super) struct Urls {
    lists: HashSet<Tiers>,
    urls: HashSet<Arc<str>>,
    /// Look through them when there are so many lists, or so many URLs.
    look_at: (usize, usize),
}

impl Urls {
    /// The list, shared with whoever has the same.
    pub(super) fn share(&mut self, tiers: &[Vec<String>]) -> Tiers {
        self.forget_unused();
        let shared: Tiers = tiers
            .iter()
            .map(|tier| tier.iter().map(|url| shared(&mut self.urls, url.as_str())).collect())
            .collect();
        match self.lists.get(&shared) {
            Some(known) => known.clone(),
            None => {
                self.lists.insert(shared.clone());
                shared
            }
        }
    }

    fn forget_unused(&mut self) {
        if self.lists.len() < self.look_at.0.max(FEW) && self.urls.len() < self.look_at.1.max(FEW) {
            return;
        }
        // Lists first: they use URLs.
        self.lists.retain(|list| Arc::strong_count(list) > 1);
        self.urls.retain(|url| Arc::strong_count(url) > 1);
        self.look_at = (self.lists.len() * 2, self.urls.len() * 2);
    }
}

fn shared(urls: &mut HashSet<Arc<str>>, url: &str) -> Arc<str> {
    match urls.get(url) {
        Some(known) => known.clone(),
        None => {
            let new: Arc<str> = url.into();
            urls.insert(new.clone());
            new
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(urls: &[&str]) -> Vec<Vec<String>> {
        urls.iter().map(|url| vec![(*url).to_owned()]).collect()
    }

    #[test]
    fn equal_lists_are_one_and_others_share_their_urls() {
        let mut urls = Urls::default();
        let (a, same) =
            (urls.share(&list(&["http://a/", "http://b/"])), urls.share(&list(&["http://a/", "http://b/"])));
        let other = urls.share(&list(&["http://b/"]));
        assert!(Arc::ptr_eq(&a, &same));
        assert!(Arc::ptr_eq(&a[1][0], &other[0][0]));
        assert_eq!(other[..], [["http://b/".into()]]);
    }

    #[test]
    fn what_no_torrent_has_is_forgotten_in_time() {
        let mut urls = Urls::default();
        let kept = urls.share(&list(&["http://kept/"]));
        for n in 0..10 * FEW {
            drop(urls.share(&list(&[&format!("http://{n}/")])));
            assert!(urls.lists.len() <= FEW && urls.urls.len() <= FEW);
        }
        assert!(Arc::ptr_eq(&kept, &urls.share(&list(&["http://kept/"]))));
    }

    #[test]
    fn looking_through_them_gets_rarer_as_there_are_more() {
        let mut urls = Urls::default();
        let kept: Vec<Tiers> = (0..10 * FEW).map(|n| urls.share(&list(&[&format!("http://{n}/")]))).collect();
        assert_eq!(urls.lists.len(), kept.len());
        assert!(urls.look_at.0 > FEW);
    }
}
