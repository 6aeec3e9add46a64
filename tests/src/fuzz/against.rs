//! Ours against others: hashing against the `sha1` and `sha2` crates, RC4 against the `rc4` crate, sets of pieces
//! against a list of truths.
use rc4::{KeyInit, Rc4, StreamCipher};
use sha1::{Digest, Sha1};
use sha2::Sha256;
use wgo_hash::{Algorithm, Cpu, Stream, update_with};
use wgo_proto::Bitfield;
use wgo_proto::mse::Cipher;

use super::Reader;

/// Messages at a time: more than there are lanes.
const MESSAGES: u8 = 11;
/// A message is longer by so many zeros at most: so it goes through several rounds of every kernel.
const MAX_ZEROS: u16 = 1024;

/// Several messages hashed together, in parts of any lengths, by each kind of instructions that the machine has.
pub(super) fn hash(data: &[u8]) {
    let mut reader = Reader::new(data);
    let mut messages = Vec::new();
    for _ in 0..reader.byte() % MESSAGES {
        let zeros = usize::from(reader.short() % MAX_ZEROS);
        messages.push([&vec![0; zeros], reader.sized()].concat());
    }
    let cuts: Vec<usize> = (0..4).map(|_| 1 + usize::from(reader.short() % 500)).collect();
    let sha1: Vec<Vec<u8>> = messages.iter().map(|message| Sha1::digest(message).to_vec()).collect();
    let sha256: Vec<Vec<u8>> = messages.iter().map(|message| Sha256::digest(message).to_vec()).collect();
    for cpu in Cpu::choices() {
        assert_eq!(together::<wgo_hash::Sha1, 20>(cpu, &messages, &cuts), sha1, "{cpu:?}");
        assert_eq!(together::<wgo_hash::Sha256, 32>(cpu, &messages, &cuts), sha256, "{cpu:?}");
    }
}

fn together<A: Algorithm, const N: usize>(cpu: Cpu, messages: &[Vec<u8>], cuts: &[usize]) -> Vec<Vec<u8>>
where
    A::Digest: Into<[u8; N]>,
{
    let mut streams: Vec<Stream<A>> = messages.iter().map(|_| Stream::new()).collect();
    let mut rests: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let mut cuts = cuts.iter().cycle();
    while rests.iter().any(|rest| !rest.is_empty()) {
        let mut inputs = Vec::new();
        for rest in &mut rests {
            let (now, later) = rest.split_at(rest.len().min(*cuts.next().expect("they go on")));
            inputs.push(now);
            *rest = later;
        }
        update_with(cpu, &mut streams.iter_mut().collect::<Vec<_>>(), &inputs);
    }
    streams.into_iter().map(|stream| stream.finish().into().to_vec()).collect()
}

/// The cipher of an encrypted connection, over parts of any lengths, makes of them what the `rc4` crate makes.
pub(super) fn rc4(data: &[u8]) {
    let mut reader = Reader::new(data);
    let key: [u8; 20] = reader.array();
    let mut ours = Cipher::new(&key);
    let mut theirs = Rc4::new_from_slice(&key).expect("a key of 20 bytes");
    // MSE throws the first KiB away.
    theirs.apply_keystream(&mut [0; 1024]);
    while !reader.is_empty() {
        let part = reader.sized();
        let (mut one, mut two) = (part.to_vec(), part.to_vec());
        ours.apply(&mut one);
        theirs.apply_keystream(&mut two);
        assert_eq!(one, two);
    }
}

/// A set of pieces under operations, beside a list that does the same one by one.
pub(super) fn bits(data: &[u8]) {
    let mut reader = Reader::new(data);
    let lens = [reader.short() % 300, reader.short() % 300];
    let mut sets = lens.map(|len| (Bitfield::new(len.into()), vec![false; len.into()]));
    while !reader.is_empty() {
        let op = reader.byte();
        let (at, end) = (u32::from(reader.short() % 320), u32::from(reader.short() % 320));
        let [(one, list), (other, others)] = &mut sets;
        let has = |list: &[bool], at: u32| list.get(at as usize).copied().unwrap_or(false);
        let each = |list: &mut Vec<bool>, change: &dyn Fn(usize, bool) -> bool| {
            list.iter_mut().enumerate().for_each(|(at, bit)| *bit = change(at, *bit));
        };
        let within = |bit: usize| (at..end).contains(&(bit as u32));
        let theirs = |bit: usize| others.get(bit).copied().unwrap_or(false);
        match op % 12 {
            0 => assert_eq!(one.set(at), (at as usize) < list.len() && !has(list, at)),
            1 => assert_eq!(one.clear(at), has(list, at)),
            2 => one.set_range(at..end),
            3 => one.clear_range(at..end),
            4 => one.union_with(other),
            5 => one.intersect_with(other),
            6 => one.subtract(other),
            7 => one.set_all(),
            8 => one.clear_all(),
            9 => *one = Bitfield::from_wire(&one.to_wire(), one.len()).expect("it is its own form"),
            _ => {}
        }
        match op % 12 {
            0 => each(list, &|bit, was| was || bit == at as usize),
            1 => each(list, &|bit, was| was && bit != at as usize),
            2 => each(list, &|bit, was| was || within(bit)),
            3 => each(list, &|bit, was| was && !within(bit)),
            4 => each(list, &|bit, was| was || theirs(bit)),
            5 => each(list, &|bit, was| was && theirs(bit)),
            6 => each(list, &|bit, was| was && !theirs(bit)),
            7 => each(list, &|_, _| true),
            8 => each(list, &|_, _| false),
            _ => {}
        }
        same(one, list);
        compare(one, list, other, others, at);
        if op >= 200 {
            sets.swap(0, 1);
        }
    }
}

fn same(set: &Bitfield, list: &[bool]) {
    set.check_invariants();
    let ones: Vec<u32> = (0..).zip(list).filter(|(_, bit)| **bit).map(|(at, _)| at).collect();
    let zeros: Vec<u32> = (0..).zip(list).filter(|(_, bit)| !**bit).map(|(at, _)| at).collect();
    assert_eq!(set.iter_ones().collect::<Vec<_>>(), ones);
    assert_eq!(set.iter_zeros().collect::<Vec<_>>(), zeros);
    assert_eq!((set.count() as usize, set.count_zeros() as usize), (ones.len(), zeros.len()));
    assert_eq!((set.first_one(), set.first_zero()), (ones.first().copied(), zeros.first().copied()));
    assert_eq!((set.is_full(), set.is_empty()), (zeros.is_empty(), ones.is_empty()));
}

fn compare(one: &Bitfield, list: &[bool], other: &Bitfield, others: &[bool], from: u32) {
    let theirs = |at: u32| others.get(at as usize).copied().unwrap_or(false);
    let ones = || (0..).zip(list).filter(|(_, bit)| **bit).map(|(at, _)| at);
    let both: Vec<u32> = ones().filter(|at| theirs(*at)).collect();
    let alone: Vec<u32> = ones().filter(|at| !theirs(*at)).collect();
    assert_eq!(one.iter_and(other).collect::<Vec<_>>(), both);
    assert_eq!(one.iter_and_not(other).collect::<Vec<_>>(), alone);
    assert_eq!((one.count_and(other) as usize, one.count_and_not(other) as usize), (both.len(), alone.len()));
    assert_eq!(
        (one.first_and(other), one.first_and_not(other)),
        (both.first().copied(), alone.first().copied())
    );
    let later: Vec<u32> = ones().filter(|at| *at >= from).collect();
    assert_eq!(
        (one.next_one(from), one.ones_from(from).collect::<Vec<_>>()),
        (later.first().copied(), later)
    );
}
