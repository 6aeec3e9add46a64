//! Lists of addresses to have nothing to do with, plain and packed.
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use wgo_proto::ip_list::{Line, line};
use wgod::ip_filter::Lists;

use super::Reader;

/// A list blocks what its lines name one by one, and nothing else; packed it is the same list.
pub(super) fn ip_list(data: &[u8]) {
    let name = Path::new("/etc/wgod/list");
    // A list that is packed, and damaged, or packed over and over to be a bomb.
    let read = Lists::read_from(name, data);
    if data.starts_with(&[0x1f, 0x8b]) {
        return;
    }
    let said: Vec<_> = data.split(|byte| *byte == b'\n').filter_map(|text| line(text).ok()).collect();
    let ranges: Vec<_> = said
        .iter()
        .filter_map(|said| if let Line::Blocked(first, last) = said { Some((*first, *last)) } else { None })
        .collect();
    let Ok(lists) = read else { return assert!(ranges.is_empty(), "it has {} ranges", ranges.len()) };
    let filter = lists.filter();
    assert!(filter.ranges() <= ranges.len());
    for (first, last) in &ranges {
        assert!(first <= last && first.is_ipv4() == last.is_ipv4());
        for ip in [Some(*first), Some(*last), before(*first), after(*last)].into_iter().flatten() {
            let named = ranges.iter().any(|(first, last)| is_between(ip, *first, *last));
            assert_eq!(filter.blocks(ip), named, "{ip}");
        }
    }
    let packed = Lists::read_from(name, &packed(data)[..]).expect("it was read when it was plain");
    assert_eq!(packed.filter(), filter);
    let mut reader = Reader::new(data);
    let ip = Ipv4Addr::from(reader.array::<4>()).into();
    assert_eq!(filter.blocks(ip), ranges.iter().any(|(first, last)| is_between(ip, *first, *last)));
}

fn packed(data: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(data).expect("memory takes it");
    packer.finish().expect("memory takes it")
}

fn is_between(ip: IpAddr, first: IpAddr, last: IpAddr) -> bool {
    // An address that is mapped is the one that it maps.
    let ip = ip.to_canonical();
    ip.is_ipv4() == first.is_ipv4() && (first..=last).contains(&ip)
}

fn before(ip: IpAddr) -> Option<IpAddr> {
    Some(match ip {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits().checked_sub(1)?).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits().checked_sub(1)?).into(),
    })
}

fn after(ip: IpAddr) -> Option<IpAddr> {
    Some(match ip {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits().checked_add(1)?).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits().checked_add(1)?).into(),
    })
}
