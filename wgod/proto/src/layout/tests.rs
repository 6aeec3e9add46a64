//! Tests of the layout.
use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn piece(index: u32) -> PieceIndex {
    PieceIndex(index)
}

fn any_layout() -> impl Strategy<Value = Layout> {
    let len =
        prop_oneof![3 => Just(0u64), 2 => 1u64..40, 3 => 1u64..200_000, 1 => Just(u64::from(BLOCK_LEN) * 2)];
    let v1 = (1u32..100_000, vec(len.clone(), 1..30))
        .prop_filter_map("empty or too many pieces", |(piece_len, lens)| Layout::v1(piece_len, &lens).ok());
    let v2 = (0u32..4, vec(len, 1..30))
        .prop_filter_map("empty", |(exponent, lens)| Layout::v2(BLOCK_LEN << exponent, &lens).ok());
    prop_oneof![v1, v2]
}

/// Small, or so large that a sum of two wraps round.
fn any_number() -> impl Strategy<Value = u32> {
    prop_oneof![0..=2 * MAX_REQUEST_LEN, any::<u32>(), u32::MAX - MAX_REQUEST_LEN..=u32::MAX]
}

proptest! {
    #[test]
    fn the_pieces_spans_cover_every_byte_of_every_file_once_and_in_order(layout in any_layout()) {
        let mut covered = vec![0u64; layout.file_count() as usize];
        for index in 0..layout.piece_count() {
            let len = layout.piece_len(piece(index));
            prop_assert!((1..=layout.nominal_piece_len()).contains(&len));
            let mut sum = 0;
            for span in layout.spans(piece(index), 0, u32::MAX) {
                prop_assert!(span.len > 0);
                prop_assert_eq!(covered[span.file.0 as usize], span.offset);
                prop_assert!(layout.pieces_of(span.file).contains(&index));
                covered[span.file.0 as usize] += u64::from(span.len);
                sum += span.len;
            }
            prop_assert_eq!(sum, len);
        }
        for (index, len) in covered.iter().enumerate() {
            prop_assert_eq!(*len, layout.file_len(FileIndex(index as u32)));
        }
        prop_assert_eq!(covered.iter().sum::<u64>(), layout.total_len());
    }

    #[test]
    fn a_run_of_bytes_has_the_spans_of_its_bytes(
        layout in any_layout(), at in any::<prop::sample::Index>(), offset in 0u32..100_000, len in 0u32..70_000,
    ) {
        let index = piece(at.index(layout.piece_count() as usize) as u32);
        let piece_len = layout.piece_len(index);
        let spans: Vec<Span> = layout.spans(index, offset, len).collect();
        let sum: u32 = spans.iter().map(|span| span.len).sum();
        prop_assert_eq!(sum, piece_len.saturating_sub(offset).min(len));
        prop_assert!(spans.windows(2).all(|pair| pair[0].file < pair[1].file));
        prop_assert_eq!(layout.file_of(index, offset), layout.spans(index, offset, 1).next().map(|s| s.file));
    }

    #[test]
    fn the_blocks_of_a_piece_cover_it_and_pass_the_check(layout in any_layout(), at in any::<prop::sample::Index>()) {
        let index = piece(at.index(layout.piece_count() as usize) as u32);
        let mut end = 0;
        for number in 0..layout.blocks_in(index) {
            let block = layout.block(index, number);
            prop_assert_eq!((block.offset, block.number()), (end, number));
            prop_assert_eq!(layout.check(block), Ok(block));
            prop_assert!(layout.is_whole_block(block));
            let shifted = Block { offset: block.offset + 1, ..block };
            prop_assert!(!layout.is_whole_block(shifted));
            end += block.len;
        }
        prop_assert_eq!(end, layout.piece_len(index));
        let beyond = layout.block(index, layout.blocks_in(index));
        prop_assert_eq!(beyond.len, 0);
        prop_assert!(layout.check(beyond).is_err() && !layout.is_whole_block(beyond));
    }

    #[test]
    fn whatever_a_peer_sends_is_checked_without_panic(
        layout in any_layout(), p: u32, there: bool, offset in any_number(), len in any_number(),
    ) {
        // Nearly no number names a piece that there is.
        let p = if there { p % layout.piece_count() } else { p };
        let block = Block { piece: piece(p), offset, len };
        let inside = u64::from(offset) + u64::from(len) <= u64::from(layout.piece_len(piece(p)));
        prop_assert_eq!(layout.check(block).is_ok(), inside && len > 0 && len <= MAX_REQUEST_LEN);
        layout.is_whole_block(block);
        layout.spans(piece(p), offset, len).for_each(drop);
        layout.pieces_of(FileIndex(p));
    }
}

#[test]
fn a_block_whose_end_is_beyond_all_numbers_is_refused() {
    let layout = Layout::v1(100, &[250]).unwrap();
    for (offset, len) in [(0, 0), (100, 1), (99, 2), (u32::MAX, 1), (u32::MAX - 9, 20), (u32::MAX - 1, 102)] {
        let block = Block { piece: piece(1), offset, len };
        assert_eq!(layout.check(block), Err(OutOfRange { block, piece_len: 100 }));
    }
}

#[test]
fn v1_files_share_pieces_and_empty_files_are_passed_over() {
    let layout = Layout::v1(10, &[0, 4, 0, 9, 0, 12, 0]).unwrap();
    assert_eq!((layout.piece_count(), layout.total_len(), layout.piece_len(piece(2))), (3, 25, 5));
    let span = |file, offset, len| Span { file: FileIndex(file), offset, len };
    assert_eq!(layout.spans(piece(0), 0, 10).collect::<Vec<_>>(), [span(1, 0, 4), span(3, 0, 6)]);
    assert_eq!(layout.spans(piece(1), 2, 2).collect::<Vec<_>>(), [span(3, 8, 1), span(5, 0, 1)]);
    let pieces: Vec<_> = (0..8).map(|file| layout.pieces_of(FileIndex(file))).collect();
    assert_eq!(pieces, [0..0, 0..1, 0..0, 0..2, 1..1, 1..3, 2..2, 0..0]);
}

#[test]
fn each_v2_file_starts_a_piece_and_ends_in_a_short_one() {
    let k = u64::from(BLOCK_LEN);
    let layout = Layout::v2(BLOCK_LEN, &[k + 1, 0, 5, k]).unwrap();
    let lens: Vec<_> = (0..5).map(|index| layout.piece_len(piece(index))).collect();
    assert_eq!(lens, [BLOCK_LEN, 1, 5, BLOCK_LEN, 0]);
    assert_eq!((layout.piece_count(), layout.total_len()), (4, 2 * k + 6));
    let pieces: Vec<_> = (0..4).map(|file| layout.pieces_of(FileIndex(file))).collect();
    assert_eq!(pieces, [0..2, 2..2, 2..3, 3..4]);
}

#[test]
fn impossible_lengths_are_refused() {
    let many = vec![1u64; MAX_PIECES as usize + 1];
    let cases = [
        (Layout::v1(0, &[1]), LayoutError::PieceLen { found: 0 }),
        (Layout::v1(u32::MAX, &[1]), LayoutError::PieceLen { found: u32::MAX }),
        (Layout::v1(16384, &[]), LayoutError::Empty),
        (Layout::v1(16384, &[0, 0]), LayoutError::Empty),
        (Layout::v1(1 << 28, &[MAX_TOTAL_LEN, 1]), LayoutError::TooLarge),
        (Layout::v1(1 << 28, &[u64::MAX, u64::MAX]), LayoutError::TooLarge),
        (Layout::v1(1, &[1 << 22]), LayoutError::TooManyPieces { found: 1 << 22 }),
        (Layout::v2(32767, &[1]), LayoutError::PieceLenV2 { found: 32767 }),
        (Layout::v2(8192, &[1]), LayoutError::PieceLenV2 { found: 8192 }),
        (Layout::v2(16384, &many), LayoutError::TooManyPieces { found: u64::from(MAX_PIECES) + 1 }),
    ];
    for (layout, expected) in cases {
        assert_eq!(layout, Err(expected));
    }
    assert!(Layout::v1(MAX_PIECE_LEN, &[MAX_TOTAL_LEN]).is_ok());
}

#[test]
fn a_layout_that_is_not_known_has_nothing_that_could_be_asked_for() {
    let layout = Layout::unknown();
    assert!(!layout.is_known());
    assert_eq!((layout.piece_count(), layout.file_count(), layout.total_len()), (0, 0, 0));
    assert_eq!((layout.piece_len(piece(0)), layout.spans(piece(0), 0, 9).count()), (0, 0));
    assert!(layout.check(Block { piece: piece(0), offset: 0, len: 1 }).is_err());
    assert!(Layout::v1(16_384, &[1]).unwrap().is_known());
}
