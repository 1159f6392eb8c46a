//! For how long a provider takes answers after the customer wrote.

use super::Conversation;
use switchboard_envelope::{ChannelProfile, Timestamp};

/// The window of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// When the customer last wrote, by the provider's clock.
    pub said: Timestamp,
    pub until: Timestamp,
    /// Afterwards an approved text can still be sent.
    pub templates: bool,
    channel: String,
}

impl Window {
    /// `None` where the channel has none, and where only the provider knows when they wrote, which was before this daemon was there.
    #[must_use]
    pub fn of(c: &Conversation, profile: &ChannelProfile, person: bool) -> Option<Window> {
        let window = profile.window_ms?;
        let said = c.private.as_ref()?.said_at.get()?;
        let until = said.plus(profile.person_window_ms.filter(|_| person).unwrap_or(window));
        Some(Window { said, until, templates: profile.templates, channel: c.channel.to_string() })
    }

    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        now <= self.until
    }

    /// Why nothing can be sent once it is over, and what can.
    #[must_use]
    pub fn closed(&self) -> String {
        let (said, channel, hours) = (self.said, &self.channel, self.until.since(self.said) / 3_600_000);
        let instead =
            if self.templates { "; send an approved text (`template`)" } else { "; they have to write first" };
        format!(
            "the customer last wrote at {said}, and channel `{channel}` takes answers for {hours} hours after that{instead}"
        )
    }
}
