use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn uid(number: u32) -> Uid {
    Uid::new(number).unwrap()
}

/// What a set has to say, against a plain one.
fn same(set: &UidSet, plain: &BTreeSet<u32>) {
    assert_eq!(set.iter().map(Uid::get).collect::<Vec<_>>(), Vec::from_iter(plain.clone()));
    assert_eq!(set.len() as usize, plain.len());
    assert_eq!(set.is_empty(), plain.is_empty());
    assert_eq!(set.first().map(Uid::get), plain.first().copied());
    assert_eq!(set.last().map(Uid::get), plain.last().copied());
    for (index, number) in plain.iter().enumerate() {
        let at = u32::try_from(index).unwrap() + 1;
        assert_eq!(set.number(uid(*number)), Some(at));
        assert_eq!(set.uid(at), Some(uid(*number)));
    }
    assert_eq!(set.uid(0), None);
    assert_eq!(set.uid(set.len() + 1), None);
    let ranges: Vec<_> = set.ranges().collect();
    assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{ranges:?}");
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u32),
    Remove(u32),
    Run(u32, u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let number = prop_oneof![1_u32..200, 1000_u32..1060, 2040_u32..2060, Just(u32::MAX), 1_u32..];
    let step = prop_oneof![
        number.clone().prop_map(Step::Insert),
        number.clone().prop_map(Step::Remove),
        (1_u32..3000, 1_u32..700).prop_map(|(from, len)| Step::Run(from, len)),
    ];
    proptest::collection::vec(step, 0..40)
}

fn built(steps: &[Step]) -> (UidSet, BTreeSet<u32>) {
    let (mut set, mut plain) = (UidSet::default(), BTreeSet::new());
    for step in steps {
        match step {
            Step::Insert(number) => assert_eq!(set.insert(uid(*number)), plain.insert(*number)),
            Step::Remove(number) => assert_eq!(set.remove(uid(*number)), plain.remove(number)),
            Step::Run(from, len) => {
                set.extend((*from..from + len).map(uid));
                plain.extend(*from..from + len);
            }
        }
    }
    (set, plain)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn numbers_and_uids_agree_whatever_comes_and_goes(steps in steps(), other in steps()) {
        let ((set, plain), (other, theirs)) = (built(&steps), built(&other));
        same(&set, &plain);
        same(&set.and(&other), &plain.intersection(&theirs).copied().collect());
        same(&set.without(&other), &plain.difference(&theirs).copied().collect());
        for probe in [1, 63, 64, 1023, 1024, 1050, 2048, u32::MAX] {
            prop_assert_eq!(set.below(probe) as usize, plain.range(..probe).count());
        }
        for (first, last) in [(1, 3), (2, 1500), (0, u32::MAX), (900, 10)] {
            let numbered: Vec<_> = set.numbered(first, last).map(|(at, u)| (at, u.get())).collect();
            let expected = (1_u32..).zip(plain.iter().copied());
            let expected: Vec<_> =
                expected.filter(|(at, _)| (first..=last).contains(at)).collect();
            prop_assert_eq!(numbered, expected);
        }
        // Equal sets are equal, however they came about.
        prop_assert_eq!(plain.iter().copied().map(uid).collect::<UidSet>(), set);
    }

    #[test]
    fn a_block_is_its_words_and_its_runs(words in proptest::array::uniform16(any::<u64>())) {
        let block = Block::from_words(words);
        prop_assert_eq!(block.words(), words);
        let mut again = Block::default();
        for (first, len) in block.runs() {
            (first..first + len).for_each(|place| assert!(again.set(place, true)));
        }
        prop_assert_eq!(again, block);
    }
}

#[test]
fn a_mailbox_of_200_000_takes_a_few_kilobytes() {
    let mut set: UidSet = (1..=200_000).map(uid).collect();
    assert_eq!(set.slots.len() * size_of::<Slot>(), 196 * 24);
    // Every third one deleted: a bit for each.
    (1..=200_000).step_by(3).for_each(|number| assert!(set.remove(uid(number))));
    assert!(set.slots.len() * (size_of::<Slot>() + WORDS * 8) < 30_000);
    assert_eq!(set.number(uid(200_000)), Some(133_333));
}
