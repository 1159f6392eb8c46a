//! Where messages are, by id.

use super::cache::Spread;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use switchboard_routing_rules::ids::MessageId;

type Table<V> = HashMap<MessageId, V, BuildHasherDefault<Spread>>;

/// Messages of ours that are remembered in each of two generations: under a flood, what became of one is told when some ten
/// thousand others were folded meanwhile, and the file would be asked for each of them in many runs.
const HALF: usize = if cfg!(test) { 64 } else { 57_344 };

/// The places of messages that the file does not have yet, and of the newest others whose fate is still to be told.
#[derive(Default)]
pub(super) struct Places {
    /// With whether they are remembered once the file has them.
    fresh: Table<(u64, bool)>,
    young: Table<u64>,
    old: Table<u64>,
}

impl Places {
    pub fn get(&self, id: MessageId) -> Option<u64> {
        let fresh = || self.fresh.get(&id).map(|(place, _)| *place);
        self.young.get(&id).or_else(|| self.old.get(&id)).copied().or_else(fresh)
    }

    /// A message that the file does not have yet; `told`: more will be told of it.
    pub fn add(&mut self, id: MessageId, place: u64, told: bool) {
        self.fresh.insert(id, (place, told));
    }

    /// A message that is in the file.
    pub fn remember(&mut self, id: MessageId, place: u64) {
        if self.young.len() >= HALF {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id, place);
    }

    /// The file has everything now.
    pub fn saved(&mut self) {
        let mut fresh = std::mem::take(&mut self.fresh);
        for (id, (place, told)) in fresh.drain() {
            if told {
                self.remember(id, place);
            }
        }
        self.fresh = fresh;
    }

    pub fn forget(&mut self, id: MessageId) {
        self.young.remove(&id);
        self.old.remove(&id);
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.fresh.len() + self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::msg;
    use super::*;

    #[test]
    fn what_the_file_does_not_have_is_never_forgotten_and_the_rest_is_bounded() {
        let mut places = Places::default();
        for n in 0..1000 {
            places.add(msg(n), u64::from(n), n % 2 == 0);
        }
        assert!((0..1000).all(|n| places.get(msg(n)) == Some(u64::from(n))));
        places.saved();
        assert!(places.len() <= 2 * HALF, "{} of {HALF}", places.len());
        assert!(
            (0..1000).filter(|n| n % 2 == 1).all(|n| places.get(msg(n)).is_none()),
            "nothing more is told of these"
        );
        for n in 2000..2000 + HALF as u32 {
            places.remember(msg(n), u64::from(n));
            assert_eq!(places.get(msg(n)), Some(u64::from(n)));
        }
        assert!((2000..2000 + HALF as u32).all(|n| places.get(msg(n)).is_some()), "the newest stay");
        places.forget(msg(2000));
        assert_eq!(places.get(msg(2000)), None);
    }
}
