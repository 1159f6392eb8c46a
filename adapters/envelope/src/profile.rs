use crate::{Choice, Content};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the router must know of a channel to decide for it. It is made by the adapter and the channel's configuration, and
/// travels in the log with the channel table, so that every router decides alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelProfile {
    /// What rules call its `kind`.
    pub kind: String,
    /// We push from history to connected clients, and write no OUT records (web chat).
    #[serde(default)]
    pub push: bool,
    /// The adapter is another process, which claims and sends by itself and may speak for nothing but its channel.
    #[serde(default)]
    pub external: bool,
    /// People of ours read it: notices go there, and no customer is written to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub desk: bool,
    /// Where the console is reached, for what a notice leads to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub console: Option<String>,
    /// Its messages are letters: they have a subject, name what they answer, and quote it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mail: bool,
    /// Longest text of one send, in characters (Unicode scalar values); `None` is no limit.
    #[serde(default)]
    pub max_text: Option<u32>,
    #[serde(default)]
    pub max_attachments: Option<u32>,
    /// Why no files can be sent as it is configured: a sentence that says what to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_files: Option<String>,
    /// What answers a message whose `meta.keyword` is this, in the place of what rules would reply: confirmations of an
    /// opt-out, and help.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keyword_replies: BTreeMap<String, String>,
    /// The `kind` of address that it writes to.
    pub address_kind: String,
    /// A conversation may start from our side.
    #[serde(default)]
    pub proactive: bool,
    /// Load on an agent in hundredths of a capacity unit.
    #[serde(default = "one_unit")]
    pub cost: u32,
    /// The provider can be asked what became of an `unknown` attempt.
    #[serde(default)]
    pub reconciles: bool,
    /// How long reconciliation may hold the lane, in milliseconds.
    #[serde(default)]
    pub reconcile_ms: i64,
    /// The receiver drops repeated ids, so `unknown` is retried.
    #[serde(default)]
    pub same_id_retry: bool,
    /// The operator chose to resend `unknown` attempts automatically, and so left the promise.
    #[serde(default)]
    pub resend_unknown: bool,
    /// For so long after the customer's latest message, in milliseconds, everything may be answered; `None` is for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_ms: Option<i64>,
    /// The same for what a person of ours writes, where the provider gives them longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person_window_ms: Option<i64>,
    /// Approved texts are sent also when the window is closed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub templates: bool,
    /// The most choices that it shows as buttons or rows; more become numbered lines of the text. 0 where it has none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub choices: u32,
    /// The longest label of such a choice, in characters.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub choice_label: u32,
    /// The text and each file are calls of their own, in this order.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub files_apart: bool,
    /// The provider itself keeps who opted out: what it was told, only the person can undo.
    #[serde(default)]
    pub keeps_opt_outs: bool,
    /// How long after acceptance of the reply an attempt may still start, in milliseconds.
    pub not_after_ms: i64,
    /// How long one call may take, in milliseconds.
    pub send_timeout_ms: i64,
    /// The most attempts released at once.
    pub in_flight: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

fn one_unit() -> u32 {
    100
}

/// What a conversation of a kind of channel usually costs an agent, in hundredths of a unit: a mail waits longer than a chat.
fn usual_cost(kind: &str) -> u32 {
    if kind == "email" { 50 } else { one_unit() }
}

impl ChannelProfile {
    /// The calls that a message needs.
    #[must_use]
    pub fn parts(&self, content: &Content) -> u16 {
        let files = u16::try_from(content.attachments.len()).unwrap_or(u16::MAX);
        let has_text = !content.text.trim().is_empty() || content.template.is_some();
        if self.files_apart { files.saturating_add(u16::from(has_text)).max(1) } else { 1 }
    }

    /// What the parts from this one on hold.
    #[must_use]
    pub fn remaining(&self, content: &Content, part: u16) -> Content {
        let mut left = content.clone();
        if self.files_apart && part > 1 && self.parts(content) > 1 {
            let has_text = !content.text.trim().is_empty() || content.template.is_some();
            let files = usize::from(part.saturating_sub(1 + u16::from(has_text))).min(left.attachments.len());
            (left.text, left.choices, left.template) = (String::new(), vec![], None);
            left.attachments.drain(..files);
        }
        left
    }

    /// Whether the channel itself shows these choices.
    #[must_use]
    pub fn shows(&self, choices: &[Choice]) -> bool {
        let fits = |choice: &Choice| choice.shown().chars().count() <= self.choice_label as usize;
        choices.len() <= self.choices as usize && choices.iter().all(fits)
    }

    /// A profile with the defaults that suit a request/response provider.
    #[must_use]
    pub fn new(kind: impl Into<String>, address_kind: impl Into<String>) -> ChannelProfile {
        let kind = kind.into();
        ChannelProfile {
            cost: usual_cost(&kind),
            kind,
            push: false,
            external: false,
            desk: false,
            console: None,
            mail: false,
            max_text: None,
            max_attachments: None,
            no_files: None,
            keyword_replies: BTreeMap::new(),
            address_kind: address_kind.into(),
            proactive: false,
            reconciles: false,
            reconcile_ms: 0,
            same_id_retry: false,
            resend_unknown: false,
            window_ms: None,
            person_window_ms: None,
            templates: false,
            choices: 0,
            choice_label: 0,
            files_apart: false,
            keeps_opt_outs: false,
            not_after_ms: 24 * 3_600_000,
            send_timeout_ms: 20_000,
            in_flight: 512,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Attachment;

    #[test]
    fn a_send_that_went_in_part_goes_on_where_it_stopped() {
        let profile = ChannelProfile { files_apart: true, ..ChannelProfile::new("facebook", "facebook") };
        let file = |name: &str| Attachment { name: name.into(), ..Attachment::default() };
        let content = Content { attachments: vec![file("a"), file("b")], ..Content::text("hi") };
        let names = |c: &Content| c.attachments.iter().map(|a| a.name.clone()).collect::<String>();
        assert_eq!(profile.parts(&content), 3);
        for (part, text, files) in [(1, "hi", "ab"), (2, "", "ab"), (3, "", "b"), (4, "", ""), (u16::MAX, "", "")] {
            let left = profile.remaining(&content, part);
            assert_eq!((left.text.as_str(), names(&left).as_str()), (text, files), "from part {part}");
        }
        let files = Content { text: String::new(), ..content.clone() };
        assert_eq!((profile.parts(&files), names(&profile.remaining(&files, 2))), (2, "b".to_owned()));
        assert_eq!(profile.parts(&Content::default()), 1, "at least one call");
        let whole = ChannelProfile::new("sms", "phone");
        assert_eq!((whole.parts(&content), whole.remaining(&content, 1)), (1, content));
    }

    #[test]
    fn choices_are_shown_as_long_as_all_of_them_fit() {
        let profile = ChannelProfile { choices: 2, choice_label: 4, ..ChannelProfile::new("facebook", "facebook") };
        let choice = |label: &str| Choice { id: "x".into(), label: Some(label.into()) };
        assert!(profile.shows(&[]) && profile.shows(&[choice("Żółw"), choice("Blue")]));
        assert!(!profile.shows(&[choice("Green")]), "too long");
        assert!(!profile.shows(&[choice("a"), choice("b"), choice("c")]), "too many");
        assert!(!profile.shows(&[Choice { id: "long-id".into(), label: None }]), "without a label the id is shown");
        assert!(!ChannelProfile::new("sms", "phone").shows(&[choice("a")]));
    }
}
