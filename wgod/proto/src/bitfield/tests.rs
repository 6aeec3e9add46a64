//! Every operation against a `Vec<bool>` that does the same the slow way.
use super::*;
use proptest::prelude::*;

fn of(bools: &[bool]) -> Bitfield {
    let mut set = Bitfield::new(bools.len() as u32);
    for (i, _) in bools.iter().enumerate().filter(|(_, b)| **b) {
        assert!(set.set(i as u32));
    }
    set.check_invariants();
    set
}

fn indices(bools: impl IntoIterator<Item = bool>) -> Vec<u32> {
    bools.into_iter().enumerate().filter_map(|(i, b)| b.then_some(i as u32)).collect()
}

fn bools() -> impl Strategy<Value = Vec<bool>> {
    prop::collection::vec(any::<bool>(), 0..300)
}

fn pair() -> impl Strategy<Value = (Vec<bool>, Vec<bool>)> {
    prop::collection::vec(any::<(bool, bool)>(), 0..300).prop_map(|both| both.into_iter().unzip())
}

#[test]
fn the_high_bit_of_the_first_byte_is_piece_zero() {
    let set = Bitfield::from_wire(&[0b1010_0000, 0b0100_0000], 10).unwrap();
    assert_eq!(set.iter_ones().collect::<Vec<_>>(), [0, 2, 9]);
    assert_eq!(set.to_wire(), [0b1010_0000, 0b0100_0000]);
}

#[test]
fn wrong_lengths_and_spare_bits_are_refused_with_evidence() {
    for (bytes, bits) in [(&[0u8; 1][..], 9), (&[0; 3], 9), (&[0], 0), (&[], 1)] {
        let expected = Bitfield::wire_len(bits);
        let error = BitfieldError::WrongLength { bits, expected, found: bytes.len() };
        assert_eq!(Bitfield::from_wire(bytes, bits), Err(error));
    }
    for last_byte in [0b0000_0001, 0b0010_0000, 0xff] {
        let error = BitfieldError::SpareBitSet { bits: 10, last_byte: last_byte | 0b1000_0000 };
        assert_eq!(Bitfield::from_wire(&[0, last_byte | 0b1000_0000], 10), Err(error));
    }
    assert_eq!(Bitfield::from_wire(&[], 0), Ok(Bitfield::new(0)));
}

#[test]
fn full_and_empty_sets_know_it_at_every_length() {
    for len in [0, 1, 7, 8, 63, 64, 65, 128, 1000] {
        let (none, all) = (Bitfield::new(len), Bitfield::full(len));
        none.check_invariants();
        all.check_invariants();
        assert!(none.is_empty() && all.is_full());
        assert_eq!((all.count(), none.count_zeros()), (len, len));
        assert_eq!(all.first_zero(), None);
        assert_eq!(none.first_one(), None);
        let mut set = none.clone();
        set.set_all();
        assert_eq!(set, all);
        set.clear_all();
        assert_eq!(set, none);
    }
}

#[test]
fn past_the_end_reads_as_zero_and_writes_change_nothing() {
    let mut set = Bitfield::new(70);
    for index in [70, 71, 127, 128, u32::MAX] {
        assert!(!set.get(index) && !set.set(index) && !set.clear(index));
        assert_eq!(set.next_one(index), None);
    }
    set.set_range(60..u32::MAX);
    assert_eq!(set.count(), 10);
    set.check_invariants();
}

proptest! {
    #[test]
    fn the_wire_form_round_trips(bools in bools()) {
        let set = of(&bools);
        let wire = set.to_wire();
        prop_assert_eq!(wire.len(), Bitfield::wire_len(set.len()));
        prop_assert_eq!(Bitfield::from_wire(&wire, set.len()), Ok(set));
    }

    #[test]
    fn any_bytes_decode_to_themselves_or_an_error(
        bytes in prop::collection::vec(any::<u8>(), 0..40), len in 0u32..320,
    ) {
        if let Ok(set) = Bitfield::from_wire(&bytes, len) {
            set.check_invariants();
            prop_assert_eq!(set.to_wire(), bytes);
        }
    }

    #[test]
    fn single_bits_and_iteration_match_the_slow_way(mut bools in bools(), at in 0u32..310) {
        let mut set = of(&bools);
        prop_assert_eq!(set.iter_ones().collect::<Vec<_>>(), indices(bools.clone()));
        prop_assert_eq!(set.iter_zeros().collect::<Vec<_>>(), indices(bools.iter().map(|b| !b)));
        prop_assert_eq!(set.next_one(at), indices(bools.clone()).into_iter().find(|&i| i >= at));
        let was = bools.get(at as usize).copied();
        prop_assert_eq!(set.get(at), was.unwrap_or(false));
        prop_assert_eq!(set.clear(at), was == Some(true));
        set.check_invariants();
        prop_assert_eq!(set.set(at), was.is_some());
        set.check_invariants();
        if let Some(bit) = bools.get_mut(at as usize) {
            *bit = true;
        }
        prop_assert_eq!(set, of(&bools));
    }

    #[test]
    fn ranges_match_the_slow_way(bools in bools(), from in 0u32..310, to in 0u32..310, on: bool) {
        let mut set = of(&bools);
        if on { set.set_range(from..to) } else { set.clear_range(from..to) }
        set.check_invariants();
        let expected = bools.iter().enumerate().map(|(i, &b)| if (from..to).contains(&(i as u32)) { on } else { b });
        prop_assert_eq!(set, of(&expected.collect::<Vec<_>>()));
    }

    #[test]
    fn pairs_match_the_slow_way((a, b) in pair()) {
        let (x, y) = (of(&a), of(&b));
        let zip = |op: fn(bool, bool) -> bool| a.iter().zip(&b).map(|(&a, &b)| op(a, b)).collect::<Vec<_>>();
        let (and, and_not, or) = (zip(|a, b| a & b), zip(|a, b| a & !b), zip(|a, b| a | b));
        prop_assert_eq!(x.iter_and(&y).collect::<Vec<_>>(), indices(and.clone()));
        prop_assert_eq!(x.iter_and_not(&y).collect::<Vec<_>>(), indices(and_not.clone()));
        prop_assert_eq!(x.count_and(&y) as usize, x.iter_and(&y).count());
        prop_assert_eq!(x.count_and_not(&y) as usize, x.iter_and_not(&y).count());
        prop_assert_eq!(x.first_and(&y), x.iter_and(&y).next());
        prop_assert_eq!(x.first_and_not(&y), x.iter_and_not(&y).next());
        for (op, expected) in [
            (Bitfield::union_with as fn(&mut Bitfield, &Bitfield), or),
            (Bitfield::intersect_with, and),
            (Bitfield::subtract, and_not),
        ] {
            let mut set = x.clone();
            op(&mut set, &y);
            set.check_invariants();
            prop_assert_eq!(set, of(&expected));
        }
    }

    #[test]
    fn a_shorter_set_counts_as_followed_by_zeros(a in bools(), b in bools()) {
        let (x, y) = (of(&a), of(&b));
        let mut padded = b.clone();
        padded.resize(a.len(), false);
        let same = of(&padded);
        prop_assert_eq!(x.count_and(&y), x.count_and(&same));
        prop_assert_eq!(x.count_and_not(&y), x.count_and_not(&same));
        for op in [Bitfield::union_with as fn(&mut Bitfield, &Bitfield), Bitfield::intersect_with, Bitfield::subtract] {
            let (mut one, mut two) = (x.clone(), x.clone());
            op(&mut one, &y);
            op(&mut two, &same);
            one.check_invariants();
            prop_assert_eq!(one, two);
        }
    }
}
