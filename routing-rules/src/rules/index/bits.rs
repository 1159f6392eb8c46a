//! Sets of rules by their position, small enough that all rules of a pack are a page of memory.

/// Bits of a word.
const WORD: usize = 64;

/// A set of positions, one bit each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bits(Box<[u64]>);

impl Bits {
    /// None of `count` positions.
    pub(crate) fn none(count: usize) -> Bits {
        Bits(vec![0; count.div_ceil(WORD)].into())
    }

    /// All of `count` positions.
    pub(crate) fn all(count: usize) -> Bits {
        let mut words = vec![u64::MAX; count.div_ceil(WORD)];
        if let Some(last) = words.last_mut().filter(|_| !count.is_multiple_of(WORD)) {
            *last = (1 << (count % WORD)) - 1;
        }
        Bits(words.into())
    }

    pub(crate) fn add(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / WORD) {
            *word |= 1 << (at % WORD);
        }
    }

    /// Adds a position; whether it was missing.
    pub(crate) fn add_new(&mut self, at: usize) -> bool {
        let missing = !self.has(at);
        self.add(at);
        missing
    }

    pub(crate) fn remove(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / WORD) {
            *word &= !(1 << (at % WORD));
        }
    }

    pub(crate) fn join(&mut self, other: &Bits) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    pub(crate) fn keep(&mut self, other: &Bits) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a &= b);
    }

    /// Whether it has something that `other` has not.
    pub(crate) fn exceeds(&self, other: &Bits) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & !b != 0)
    }

    /// Whether both have something.
    pub(crate) fn meets(&self, other: &Bits) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    pub(crate) fn has(&self, at: usize) -> bool {
        self.0.get(at / WORD).is_some_and(|w| w >> (at % WORD) & 1 == 1)
    }

    fn word(&self, n: usize) -> u64 {
        self.0.get(n).copied().unwrap_or(0)
    }

    /// The first position from `from` on that is in all of `sets` as well.
    pub(crate) fn next<'b>(&self, from: usize, sets: impl Iterator<Item = &'b Bits> + Clone) -> Option<usize> {
        let mut mask = u64::MAX << (from % WORD);
        for n in from / WORD..self.0.len() {
            let mut word = self.word(n) & mask;
            mask = u64::MAX;
            if word != 0 {
                word = sets.clone().fold(word, |w, s| w & s.word(n));
            }
            if word != 0 {
                return usize::try_from(word.trailing_zeros()).ok().map(|bit| n * WORD + bit);
            }
        }
        None
    }
}

/// The rules that one value belongs to: few are listed, many are bits.
#[derive(Clone, Debug)]
pub(crate) enum Posting {
    Few(Box<[u32]>),
    Many(Bits),
}

impl Posting {
    pub(crate) fn new(mut positions: Vec<u32>, count: usize) -> Posting {
        positions.sort_unstable();
        positions.dedup();
        if positions.len() <= count / WORD {
            return Posting::Few(positions.into());
        }
        let mut bits = Bits::none(count);
        positions.into_iter().for_each(|p| bits.add(p as usize));
        Posting::Many(bits)
    }

    pub(crate) fn join_into(&self, bits: &mut Bits) {
        match self {
            Posting::Few(list) => list.iter().for_each(|p| bits.add(*p as usize)),
            Posting::Many(all) => bits.join(all),
        }
    }

    pub(crate) fn meets(&self, bits: &Bits) -> bool {
        match self {
            Posting::Few(list) => list.iter().any(|p| bits.has(*p as usize)),
            Posting::Many(all) => all.meets(bits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(bits: &Bits, with: &[&Bits]) -> Vec<usize> {
        let (mut from, mut all) = (0, Vec::new());
        while let Some(at) = bits.next(from, with.iter().copied()) {
            all.push(at);
            from = at + 1;
        }
        all
    }

    #[test]
    fn sets_of_any_size_are_listed_in_order() {
        for count in [0, 1, 63, 64, 65, 200] {
            assert_eq!(listed(&Bits::all(count), &[]), (0..count).collect::<Vec<_>>(), "{count}");
            assert_eq!(listed(&Bits::none(count), &[]), Vec::<usize>::new());
        }
        let few = Posting::new(vec![199, 3, 64, 3], 200);
        assert!(matches!(&few, Posting::Few(l) if l.len() == 3));
        let many = Posting::new((0..100).collect(), 200);
        assert!(matches!(many, Posting::Many(_)));
        let (mut a, mut b) = (Bits::none(200), Bits::none(200));
        few.join_into(&mut a);
        many.join_into(&mut b);
        assert_eq!(listed(&a, &[]), [3, 64, 199]);
        assert_eq!(listed(&a, &[&b]), [3, 64]);
        assert!(few.meets(&b) && many.meets(&a) && a.exceeds(&b) && a.meets(&b));
        a.keep(&b);
        assert!(!a.exceeds(&b));
        a.remove(3);
        a.remove(1_000);
        a.add(1_000);
        assert_eq!(listed(&a, &[]), [64]);
    }
}
