use std::time::Duration;

/// Random numbers from a printed seed (SplitMix64), so that a run can be repeated as far as the machine's timing allows.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    #[must_use]
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// Another source that depends on this one and on `name` only.
    #[must_use]
    pub fn fork(&self, name: u64) -> Dice {
        let mut forked = Dice(self.0 ^ name.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        forked.roll();
        forked
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to one less than `sides`.
    pub fn below(&mut self, sides: u64) -> u64 {
        self.roll() % sides.max(1)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn millis(&mut self, up_to: u64) -> Duration {
        Duration::from_micros(self.below(up_to * 1000 + 1))
    }
}
