//! Tests of the bencode validator, views and encoder.
use super::*;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// An owned tree, to compare with.
#[derive(Clone, Debug, PartialEq)]
enum Tree {
    Int(i64),
    Bytes(Vec<u8>),
    List(Vec<Tree>),
    Dict(BTreeMap<Vec<u8>, Tree>),
}

impl Tree {
    fn encode(&self, encoder: Encoder<'_>) {
        match self {
            Tree::Int(value) => encoder.int(*value),
            Tree::Bytes(bytes) => encoder.bytes(bytes),
            Tree::List(items) => encoder.list(|list| items.iter().for_each(|item| item.encode(list.item()))),
            Tree::Dict(entries) => {
                encoder.dict(|dict| entries.iter().for_each(|(key, value)| value.encode(dict.entry(key))));
            }
        }
    }

    fn decode(value: Value<'_>) -> Tree {
        match value.kind() {
            Kind::Int => Tree::Int(value.as_int().unwrap()),
            Kind::Bytes => Tree::Bytes(value.as_bytes().unwrap().to_vec()),
            Kind::List => Tree::List(value.as_list().unwrap().iter().map(Tree::decode).collect()),
            Kind::Dict => Tree::Dict(
                value
                    .as_dict()
                    .unwrap()
                    .iter()
                    .map(|(key, value)| (key.to_vec(), Tree::decode(value)))
                    .collect(),
            ),
        }
    }
}

fn any_tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![any::<i64>().prop_map(Tree::Int), vec(any::<u8>(), 0..20).prop_map(Tree::Bytes)];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Tree::List),
            btree_map(vec(any::<u8>(), 0..6), inner, 0..6).prop_map(Tree::Dict),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same(tree in any_tree(), tail in vec(any::<u8>(), 0..4)) {
        let mut bytes = Vec::new();
        tree.encode(Encoder::new(&mut bytes));
        let value = parse(&bytes).unwrap();
        prop_assert_eq!(value.raw(), &bytes[..]);
        prop_assert_eq!(Tree::decode(value), tree.clone());
        let end = bytes.len();
        bytes.extend_from_slice(&tail);
        prop_assert_eq!(parse_prefix(&bytes).unwrap().span(), 0..end);
        prop_assert_eq!(parse(&bytes).is_ok(), tail.is_empty());
    }

    #[test]
    fn every_proper_prefix_of_a_value_is_refused(tree in any_tree(), cut in any::<prop::sample::Index>()) {
        let mut bytes = Vec::new();
        tree.encode(Encoder::new(&mut bytes));
        prop_assert!(parse_prefix(&bytes[..cut.index(bytes.len())]).is_err());
    }

    #[test]
    fn any_bytes_are_refused_or_read_without_panic(bytes in vec(prop::sample::select(&b"ilde:-0123456789ab\xff"[..]), 0..60)) {
        if let Ok(value) = parse_prefix(&bytes) {
            let tokens = value.tokens().count();
            prop_assert!(tokens > 0 && value.span().end <= bytes.len());
            if let Some(dict) = value.as_dict() {
                let _ = dict.pick(["", "a", "b"]);
            }
            let _ = vetted::<Vec<i64>>(value.raw());
        }
    }
}

#[test]
fn malformed_values_are_refused_with_the_place_and_the_reason() {
    let truncated = |at| (Fault::Truncated, at);
    let cases: &[(&[u8], (Fault, usize))] = &[
        (b"", truncated(0)),
        (b"i1", truncated(2)),
        (b"l", truncated(1)),
        (b"d1:a", truncated(4)),
        (b"12", truncated(2)),
        (b"ie", (Fault::Integer, 0)),
        (b"i-e", (Fault::Integer, 0)),
        (b"i-0e", (Fault::Integer, 0)),
        (b"i03e", (Fault::Integer, 0)),
        (b"i-03e", (Fault::Integer, 0)),
        (b"i+3e", (Fault::Integer, 0)),
        (b"i1.5e", (Fault::Integer, 0)),
        (b"li9223372036854775808ee", (Fault::Integer, 1)),
        (b"i-9223372036854775809e", (Fault::Integer, 0)),
        (b"01:a", (Fault::StringLength, 0)),
        (b"1a", (Fault::StringLength, 0)),
        (b"99999999999999999999999:a", (Fault::StringLength, 0)),
        // The string swallows the list's end, then the input is over.
        (b"l3:abe", truncated(6)),
        (b"18446744073709551615:a", (Fault::StringTooLong { claimed: u64::MAX, left: 1 }, 0)),
        (b"di1ei2ee", (Fault::KeyNotString, 1)),
        (b"dl1:aei2ee", (Fault::KeyNotString, 1)),
        (b"d1:ae", (Fault::KeyWithoutValue, 4)),
        (b"e", (Fault::UnexpectedByte { found: b'e' }, 0)),
        (b"-1:a", (Fault::UnexpectedByte { found: b'-' }, 0)),
        (b"i1ei2e", (Fault::Trailing { count: 3 }, 3)),
    ];
    for (input, (fault, at)) in cases {
        let found = parse(input).map(|value| value.span());
        let expected = BencodeError { fault: fault.clone(), at: *at };
        assert_eq!(found, Err(expected), "{}", input.escape_ascii());
    }
}

#[test]
fn the_extremes_of_integers_are_read() {
    for value in [0, 1, -1, i64::MAX, i64::MIN] {
        assert_eq!(parse(format!("i{value}e").as_bytes()).unwrap().as_int(), Some(value));
    }
}

#[test]
fn nesting_is_capped_and_costs_no_stack() {
    let nested = |open: &str, levels: usize| {
        let close = "e".repeat(levels);
        format!("{}{close}", open.repeat(levels)).into_bytes()
    };
    assert!(parse(&nested("l", MAX_DEPTH)).is_ok());
    for (open, levels) in [("l", MAX_DEPTH + 1), ("l", 20_000), ("d0:", 1_000_000)] {
        assert_eq!(parse(&nested(open, levels)).map(|_| ()).unwrap_err().fault, Fault::TooDeep);
        assert!(vetted::<Vec<String>>(&nested(open, levels)).is_err());
    }
}

#[test]
fn unordered_keys_are_read_and_of_duplicates_the_first_counts() {
    let value = parse(b"d1:bi1e1:ai2e1:bi3ee").unwrap();
    let dict = value.as_dict().unwrap();
    assert_eq!((dict.int("b"), dict.int("a"), dict.int("c")), (Some(1), Some(2), None));
    assert!(!dict.ascending());
    let twice = dict.pick(["a", "b"]).map(|_| ()).unwrap_err();
    assert_eq!(twice.to_string(), "`b` for the second time at byte 16");
    let [a, c] = dict.pick(["a", "c"]).unwrap();
    assert_eq!((a.unwrap().as_int(), c.is_some()), (Some(2), false));
    let cases: &[(&[u8], bool)] =
        &[(b"de", true), (b"d1:a0:1:b0:e", true), (b"d1:b0:1:a0:e", false), (b"d1:a0:1:a0:e", false)];
    for (input, ascending) in cases {
        assert_eq!(parse(input).unwrap().as_dict().unwrap().ascending(), *ascending);
    }
}

#[test]
fn a_value_knows_its_exact_place() {
    let input = b"d4:infod1:ai1ee4:name2:xye";
    let info = parse(input).unwrap().as_dict().unwrap().get("info").unwrap();
    assert_eq!((info.span(), info.raw()), (7..15, &b"d1:ai1ee"[..]));
}

#[test]
fn an_error_reads_as_a_sentence() {
    let error = parse(b"d4:name9:xe").map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "a string of 9 bytes, of which only 2 are there, at byte 7");
}

#[test]
fn vetted_reads_a_struct_and_names_a_wrong_shape() {
    #[derive(serde::Deserialize, Debug, PartialEq)]
    struct Point {
        x: i64,
        y: Option<i64>,
    }
    assert_eq!(vetted::<Point>(b"d1:xi4ee").unwrap(), Point { x: 4, y: None });
    assert!(matches!(vetted::<Point>(b"d1:x1:ae"), Err(VettedError::Shape { .. })));
    assert!(matches!(vetted::<Point>(b"d1:xi-0ee"), Err(VettedError::Bencode(_))));
    assert!(matches!(vetted::<Point>(b"d1:xi4eee"), Err(VettedError::Bencode(_))));
}

#[test]
fn ten_megabytes_are_validated_in_one_pass() {
    let mut bytes = Vec::new();
    Encoder::new(&mut bytes).list(|list| (0..1_000_000).for_each(|i| list.item().int(i * 7919)));
    assert!(bytes.len() > 10_000_000);
    // Were the validator or the view quadratic, this would take hours.
    let count = parse(&bytes).unwrap().as_list().unwrap().iter().count();
    assert_eq!(count, 1_000_000);
}
