//! How providers deliver again what was not taken.

use std::{future::Future, time::Duration};

/// When a provider delivers something again that was not answered as it wants. What is not documented is a guess that is as
/// unkind as providers are: it begins at once, and becomes rarer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeats {
    /// Seconds from one delivery to the next; the last of them holds from then on.
    gaps: &'static [u64],
    /// How often it delivers before it gives up.
    most: usize,
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

impl Repeats {
    /// Meta: at once, then ever more rarely for a day and a half; WhatsApp for longer.
    pub const META: Repeats = Repeats { gaps: &[0, 15, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR], most: 40 };
    /// X: it calls transient what lasts up to 28 hours, and has no other schedule to read; what it gave up is replayed when it is asked.
    pub const X: Repeats = Repeats { gaps: &[1, 5, 30, 5 * MINUTE, HOUR], most: 31 };
    /// Telegram: a reasonable number of attempts.
    pub const TELEGRAM: Repeats = Repeats { gaps: &[1, 5, 30, MINUTE, 5 * MINUTE], most: 100 };
    /// Twilio: one more connection, as it is set when nobody changes it.
    pub const TWILIO: Repeats = Repeats { gaps: &[0], most: 2 };
    /// Vonage: every minute of a day.
    pub const VONAGE: Repeats = Repeats { gaps: &[MINUTE], most: 24 * 60 };
    /// Jasmin: three times more, thirty seconds apart.
    pub const JASMIN: Repeats = Repeats { gaps: &[30], most: 4 };
    /// A gateway with an API of its own.
    pub const GATEWAY: Repeats = Repeats { gaps: &[10], most: 360 };
    /// Standard Webhooks.
    pub const WEBHOOK: Repeats =
        Repeats { gaps: &[5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR], most: 10 };

    /// The waits between its deliveries, this many times shorter than the provider's; there is one delivery more than waits.
    pub fn waits(&self, faster: u32) -> impl Iterator<Item = Duration> + use<> {
        let gap = |n: usize| self.gaps.get(n).or(self.gaps.last()).copied().unwrap_or(0);
        let waits: Vec<Duration> =
            (0..self.most.saturating_sub(1)).map(|n| Duration::from_secs(gap(n)) / faster.max(1)).collect();
        waits.into_iter()
    }

    /// Delivers until it is taken: how often that was, or `None` when the provider gave up.
    pub async fn until_taken<F: Future<Output = bool>>(
        &self,
        faster: u32,
        mut deliver: impl FnMut() -> F,
    ) -> Option<usize> {
        let mut waits = self.waits(faster);
        for n in 1.. {
            if deliver().await {
                return Some(n);
            }
            tokio::time::sleep(waits.next()?).await;
        }
        None
    }
}
