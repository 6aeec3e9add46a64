//! Tests of the store of items, with real signatures.
use super::*;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use wgo_proto::krpc::Signed;

const OWN: NodeId = NodeId([0; 20]);

pub(in crate::dht) fn verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
}

pub(in crate::dht) fn signed(seed: u8, seq: i64, salt: &[u8], value: &[u8]) -> OwnedItem {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let key = pair.public_key().as_ref().try_into().unwrap();
    let unsigned = Signed { key: &key, seq, signature: &[0; 64], salt };
    let bytes = Item { value, signed: Some(unsigned) }.signed_bytes().unwrap();
    let signature = pair.sign(&bytes).as_ref().try_into().unwrap();
    OwnedItem::of(&Item { value, signed: Some(Signed { signature: &signature, ..unsigned }) })
}

fn mins(mins: u64) -> Time {
    Time::from_start(Duration::from_secs(mins * 60))
}

fn from(n: u32) -> SocketAddr {
    SocketAddr::from(((0x1400_0000 + n).to_be_bytes(), 1))
}

fn put(store: &mut ItemStore, item: &Item<'_>, cas: Option<i64>) -> Result<(), ErrorCode> {
    let result = store.put(mins(0), (item, cas), from(1), OWN, Some(verify));
    store.check_invariants();
    result
}

fn unhex<const N: usize>(text: &str) -> [u8; N] {
    std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
}

#[test]
fn the_signed_examples_of_the_bep_are_taken_and_changed_ones_are_not() {
    let key = unhex("77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548");
    for (salt, signature) in [
        (
            &b""[..],
            "305ac8aeb6c9c151fa120f120ea2cfb923564e11552d06a5d856091e5e853cff\
             1260d3f39e4999684aa92eb73ffd136e6f4f3ecbfda0ce53a1608ecd7ae21f01",
        ),
        (
            b"foobar",
            "6834284b6b24c3204eb2fea824d82f88883a3d95e8b4a21b8c0ded553d17d17d\
             df9a8a7104b1258f30bed3787e6cb896fca78c58f8e03b5f18f14951a87d9a08",
        ),
    ] {
        let signature = unhex(signature);
        let good = Signed { key: &key, seq: 1, signature: &signature, salt };
        let item = Item { value: b"12:Hello World!", signed: Some(good) };
        assert_eq!(put(&mut ItemStore::default(), &item, None), Ok(()));
        assert_eq!(check(&item, None), Err(ErrorCode::SERVER), "without a verifier nobody is believed");
        for changed in [
            Item { value: b"12:Hello World?", ..item },
            Item { signed: Some(Signed { seq: 2, ..good }), ..item },
            Item { signed: Some(Signed { salt: b"other", ..good }), ..item },
            Item { signed: Some(Signed { key: &[1; 32], ..good }), ..item },
        ] {
            assert_eq!(put(&mut ItemStore::default(), &changed, None), Err(ErrorCode::BAD_SIGNATURE));
        }
    }
}

#[test]
fn a_mutable_item_changes_with_its_sequence_and_never_back() {
    let mut store = ItemStore::default();
    for (seq, value, cas, expected) in [
        (5, &b"1:a"[..], Some(77), Ok(())),
        (5, b"1:a", None, Ok(())),
        (5, b"1:b", None, Err(ErrorCode::OLD_SEQUENCE)),
        (4, b"1:a", None, Err(ErrorCode::OLD_SEQUENCE)),
        (6, b"1:c", Some(4), Err(ErrorCode::CAS_MISMATCH)),
        (6, b"1:c", Some(5), Ok(())),
        (9, b"1:d", None, Ok(())),
    ] {
        let item = signed(1, seq, b"", value);
        assert_eq!(put(&mut store, &item.as_item(), cas), expected, "{seq} {}", value.escape_ascii());
    }
    let target = signed(1, 0, b"", b"0:").as_item().target();
    assert_eq!(store.get(target), Some(&signed(1, 9, b"", b"1:d")));
}

#[test]
fn what_is_too_long_is_refused_by_name() {
    let long = [&b"1000:"[..], &[b'x'; 1000]].concat();
    let salted = signed(1, 1, &[7; 65], b"1:a");
    for (item, error) in [
        (Item { value: &long, signed: None }, ErrorCode::TOO_BIG),
        (salted.as_item(), ErrorCode::SALT_TOO_BIG),
    ] {
        assert_eq!(put(&mut ItemStore::default(), &item, None), Err(error));
    }
}

#[test]
fn items_that_nobody_puts_again_expire() {
    let mut store = ItemStore::default();
    let item = Item { value: b"i1e", signed: None };
    put(&mut store, &item, None).unwrap();
    store.put(mins(60), (&item, None), from(2), OWN, None).unwrap();
    for (at, count) in [(179, 1), (180, 0)] {
        store.expire(mins(at));
        assert_eq!(store.len(), count);
    }
}

#[test]
fn many_items_take_bounded_room_and_the_closest_stay() {
    let mut store = ItemStore::default();
    let mut taken = Vec::new();
    for n in 0..2000u32 {
        let value = format!("i{n}e");
        let item = Item { value: value.as_bytes(), signed: None };
        if store.put(mins(0), (&item, None), from(n), OWN, None).is_ok() {
            taken.push(item.target());
        }
    }
    store.check_invariants();
    assert_eq!(store.len(), MAX_ITEMS);
    taken.sort();
    assert!(taken[..MAX_ITEMS].iter().all(|target| store.get(*target).is_some()));
    let mut store = ItemStore::default();
    let of_one = (1..500).filter(|n| {
        let value = format!("i{n}e");
        store
            .put(mins(0), (&Item { value: value.as_bytes(), signed: None }, None), from(1), OWN, None)
            .is_ok()
    });
    assert_eq!(of_one.count(), MAX_OF_HOST);
}
