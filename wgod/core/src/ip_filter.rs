//! IpFilter: the addresses that the operator wants nothing to do with, as sorted ranges.
//!
//! Lists of half a million ranges are usual, so a range of IPv4 takes 8 bytes and one of IPv6 32, and looking an
//! address up is a binary search. A filter never changes: another one takes its place.
use std::net::IpAddr;

/// Ranges of addresses, none of which touch. See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpFilter {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

/// A filter that is being read.
#[derive(Debug, Default)]
pub struct Builder {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl Builder {
    /// Blocks all addresses from `first` to `last`; nothing when they are of two families, or in the wrong order.
    pub fn block(&mut self, first: IpAddr, last: IpAddr) {
        match (first, last) {
            (IpAddr::V4(a), IpAddr::V4(b)) if a <= b => self.v4.push((a.to_bits(), b.to_bits())),
            (IpAddr::V6(a), IpAddr::V6(b)) if a <= b => self.v6.push((a.to_bits(), b.to_bits())),
            _ => {}
        }
    }

    /// Ranges that were blocked so far, whether they overlap or not.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The filter.
    pub fn build(self) -> IpFilter {
        IpFilter {
            v4: merged(self.v4, |end| end.checked_add(1)),
            v6: merged(self.v6, |end| end.checked_add(1)),
        }
    }
}

/// Sorts ranges and makes one of those that overlap or touch. `next` gives what follows an address.
fn merged<T: Ord + Copy>(mut ranges: Vec<(T, T)>, next: impl Fn(T) -> Option<T>) -> Box<[(T, T)]> {
    ranges.sort_unstable();
    ranges.dedup_by(|later, earlier| {
        // Whatever begins after the last address there is lies in the range that ends there.
        let joins = next(earlier.1).is_none_or(|next| later.0 <= next);
        if joins {
            earlier.1 = earlier.1.max(later.1);
        }
        joins
    });
    ranges.into_boxed_slice()
}

impl IpFilter {
    /// Whether the address is in one of the ranges. An IPv4 address mapped into IPv6 is the IPv4 address.
    pub fn blocks(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(v4) => contains(&self.v4, v4.to_bits()),
            IpAddr::V6(v6) => contains(&self.v6, v6.to_bits()),
        }
    }

    /// How many ranges there are.
    pub fn ranges(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether nothing is blocked.
    pub fn is_empty(&self) -> bool {
        self.ranges() == 0
    }

    /// Bytes that the ranges take.
    pub fn memory(&self) -> usize {
        size_of_val(&*self.v4) + size_of_val(&*self.v6)
    }
}

fn contains<T: Ord + Copy>(ranges: &[(T, T)], one: T) -> bool {
    let after = ranges.partition_point(|range| range.0 <= one);
    after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|range| one <= range.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn filter(ranges: &[(&str, &str)]) -> IpFilter {
        let mut builder = Builder::default();
        ranges.iter().for_each(|(a, b)| builder.block(a.parse().unwrap(), b.parse().unwrap()));
        builder.build()
    }

    #[test]
    fn ranges_are_merged_and_their_ends_belong_to_them() {
        let filter = filter(&[
            ("1.2.3.8", "1.2.3.9"),
            ("1.2.3.0", "1.2.3.4"),
            ("1.2.3.5", "1.2.3.7"),
            ("1.2.3.2", "1.2.3.3"),
            ("255.255.255.0", "255.255.255.255"),
            ("255.255.255.255", "255.255.255.255"),
            ("2001:db8::", "2001:db8::ff"),
            ("1.2.3.9", "1.2.3.0"),
        ]);
        assert_eq!(filter.ranges(), 3);
        for (ip, blocked) in [
            ("1.2.2.255", false),
            ("1.2.3.0", true),
            ("1.2.3.9", true),
            ("1.2.3.10", false),
            ("::ffff:1.2.3.9", true),
            ("255.255.255.255", true),
            ("0.0.0.0", false),
            ("2001:db8::ff", true),
            ("2001:db8::100", false),
        ] {
            assert_eq!(filter.blocks(ip.parse().unwrap()), blocked, "{ip}");
        }
        assert!(!IpFilter::default().blocks("1.2.3.4".parse().unwrap()));
        assert!(
            self::filter(&[("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ("::1", "::2")]).ranges() == 1
        );
    }

    #[test]
    fn half_a_million_ranges_take_four_megabytes() {
        let mut builder = Builder::default();
        for n in 0..500_000u32 {
            builder.block(Ipv4Addr::from_bits(n * 4).into(), Ipv4Addr::from_bits(n * 4 + 1).into());
        }
        let filter = builder.build();
        assert_eq!((filter.ranges(), filter.memory()), (500_000, 4_000_000));
    }

    proptest! {
        #[test]
        fn an_address_is_blocked_when_some_range_has_it(
            ranges in prop::collection::vec((0u8..60, 0u8..60), 0..20),
            v6: bool,
        ) {
            let ip = |n: u8| match v6 {
                true => IpAddr::V6(Ipv6Addr::from_bits(u128::MAX - 60 + u128::from(n))),
                false => IpAddr::V4(Ipv4Addr::from_bits(u32::from(n))),
            };
            let mut builder = Builder::default();
            ranges.iter().for_each(|&(a, b)| builder.block(ip(a.min(b)), ip(a.max(b))));
            let filter = builder.build();
            for n in 0..61 {
                let wanted = ranges.iter().any(|&(a, b)| (a.min(b)..=a.max(b)).contains(&n));
                prop_assert_eq!(filter.blocks(ip(n)), wanted);
            }
            prop_assert!(filter.v4.windows(2).all(|two| two[0].1 + 1 < two[1].0));
        }
    }
}
