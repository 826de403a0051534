//! Covering designs: few cases of a product too large to be run, in which all that is said to matter occurs together.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Axes whose values must meet.
#[derive(Debug, Clone)]
pub(crate) struct Meet {
    pub(crate) axes: Vec<usize>,
    /// Cases with this value on this axis do not count.
    pub(crate) not: Option<(usize, usize)>,
}

/// Every two of so many axes.
pub(crate) fn pairs(axes: usize) -> Vec<Meet> {
    let two = |b| (0..b).map(move |a| Meet { axes: vec![a, b], not: None });
    (0..axes).flat_map(two).collect()
}

/// Values that met: where, and one for each of the axes there. None of a case that does not count there.
pub(crate) type Met = (usize, Option<[usize; 3]>);

fn all_met<const N: usize>(meets: &[Meet], case: [usize; N]) -> impl Iterator<Item = Met> {
    meets.iter().enumerate().map(move |(index, meet)| {
        let mut values = [0; 3];
        values.iter_mut().zip(&meet.axes).for_each(|(value, &axis)| *value = case[axis]);
        let counts = meet.not.is_none_or(|(axis, value)| case[axis] != value);
        (index, counts.then_some(values))
    })
}

/// All that `cases` cover; what a test holds against what [`design`] promises.
pub(crate) fn covered<'a, const N: usize>(
    meets: &[Meet],
    cases: impl IntoIterator<Item = &'a [usize; N]>,
) -> HashSet<Met> {
    cases.into_iter().flat_map(|&case| all_met(meets, case)).collect()
}

/// Few cases of `product` that cover all that it covers: for whatever has not met yet, in the order of `meets`, the case in
/// which most meets for the first time. A `kind` of cases that is new costs as much as `price` meetings; of equals the one
/// is taken whose values met least often, so that cases spread over the product.
pub(crate) fn design<const N: usize, K: Ord>(
    product: &[[usize; N]],
    meets: &[Meet],
    kind: impl Fn(&[usize; N]) -> K,
    price: usize,
) -> Vec<[usize; N]> {
    // Everything by number, so that the search is quick.
    let (mut numbers, mut kinds) = (BTreeMap::new(), BTreeMap::new());
    let mut of_case: Vec<u32> = Vec::with_capacity(product.len() * meets.len());
    let mut kind_of: Vec<usize> = Vec::with_capacity(product.len());
    for case in product {
        of_case.extend(all_met(meets, *case).map(|met| {
            let next = numbers.len() as u32;
            *numbers.entry(met).or_insert(next)
        }));
        let next = kinds.len();
        kind_of.push(*kinds.entry(kind(case)).or_insert(next));
    }
    let of_case = |case: usize| of_case[case * meets.len()..][..meets.len()].iter().map(|&number| number as usize);
    let mut holding = vec![Vec::new(); numbers.len()];
    (0..product.len()).for_each(|case| of_case(case).for_each(|number| holding[number].push(case)));

    let (mut times, mut known, mut chosen) = (vec![0_u32; numbers.len()], BTreeSet::new(), Vec::new());
    // In the order of the map: meeting after meeting.
    for &wanted in numbers.values() {
        if times[wanted as usize] > 0 {
            continue;
        }
        let worth = |case: &usize| {
            let new = of_case(*case).filter(|&number| times[number] == 0).count();
            let worth = new + if known.contains(&kind_of[*case]) { price } else { 0 };
            (worth, Reverse(of_case(*case).map(|number| times[number]).sum::<u32>()))
        };
        if let Some(case) = holding[wanted as usize].iter().copied().max_by_key(worth) {
            of_case(case).for_each(|number| times[number] += 1);
            known.insert(kind_of[case]);
            chosen.push(product[case]);
        }
    }
    chosen
}
