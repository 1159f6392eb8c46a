use crate::config::Settings;
use bytes::Bytes;
use switchboard_adapter_sdk::{Adapter, Answer, AttemptOutcome, Call, RawRequest, Verdict};
use switchboard_envelope::{ChannelProfile, Inbound, Outcome, Raw, Send, Timestamp, Unparsed, event_id};

/// One web chat channel. Visitors come in through sockets, not through webhooks, and answers are pushed from history: the
/// functions that speak to a provider refuse.
#[derive(Clone, Debug)]
pub struct Webchat {
    settings: Settings,
}

impl Webchat {
    #[must_use]
    pub fn new(settings: Settings) -> Webchat {
        Webchat { settings }
    }

    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

/// How long a pushed message waits for its visitor before it counts as not delivered, in milliseconds. Visitors come back
/// days later, and the thread waits for them.
const NOT_AFTER_MS: i64 = 14 * 86_400_000;

/// What the widget shows as buttons; more, or longer ones, are numbered lines of the text.
const CHOICES: u32 = 20;
const CHOICE_LABEL: u32 = 80;

impl Adapter for Webchat {
    fn profile(&self) -> ChannelProfile {
        let mut profile = ChannelProfile::new("webchat", "visitor");
        profile.push = true;
        profile.max_text = Some(self.settings.limits.text);
        profile.max_attachments = Some(10);
        profile.choices = CHOICES;
        profile.choice_label = CHOICE_LABEL;
        profile.cost = self.settings.cost;
        profile.not_after_ms = NOT_AFTER_MS;
        profile
    }

    fn verify(&self, _request: &RawRequest) -> Verdict {
        Verdict::Forged("a web chat channel has no webhooks".into())
    }

    fn parse(&self, _request: &RawRequest) -> Vec<Inbound> {
        vec![]
    }

    fn reparse(&self, raw: &Raw, _body: Bytes, received_at: Timestamp) -> Vec<Inbound> {
        // Nothing that a visitor sends is ever quarantined; a foreign record in this channel's name stays where it is.
        let channel = &self.settings.channel;
        vec![Inbound::Unparsed(Unparsed {
            id: event_id(channel, "unparsed", &format!("reparse.{}", received_at.0)),
            channel: channel.clone(),
            reason: "web chat has no raw form to read again".into(),
            at: received_at,
            raw: raw.clone(),
        })]
    }

    fn encode(&self, _send: &Send) -> Result<Call, AttemptOutcome> {
        let mut outcome = AttemptOutcome::new(Outcome::Rejected);
        outcome.detail = Some("web chat is pushed to the visitor's browser and has no provider to call".into());
        Err(outcome)
    }

    fn classify(&self, _send: &Send, _answer: &Answer, _now: Timestamp) -> AttemptOutcome {
        AttemptOutcome::new(Outcome::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WebchatConfig;
    use switchboard_envelope::Choice;

    #[test]
    fn the_profile_says_that_we_push() {
        let chat = Webchat::new(WebchatConfig::default().validate("site", &[]).unwrap());
        let p = chat.profile();
        assert!(p.push && !p.proactive && !p.reconciles);
        assert_eq!(
            (p.kind.as_str(), p.address_kind.as_str(), p.max_text, p.cost),
            ("webchat", "visitor", Some(4000), 100)
        );
        let choice = |label: &str| Choice { id: "1".into(), label: Some(label.into()) };
        assert!(p.shows(&[choice("Track my parcel"), choice("Something else")]));
        assert!(!p.shows(&[choice(&"long ".repeat(20))]), "a button is one line or two");
    }

    #[test]
    fn a_webhook_to_a_chat_is_forged() {
        let chat = Webchat::new(WebchatConfig::default().validate("site", &[]).unwrap());
        let request = RawRequest {
            method: http::Method::POST,
            path: String::new(),
            query: String::new(),
            headers: http::HeaderMap::new(),
            body: Bytes::from_static(b"{}"),
            url: "https://shop.example/hooks/site".into(),
            received_at: Timestamp(0),
        };
        assert!(matches!(chat.verify(&request), Verdict::Forged(_)));
        assert!(chat.parse(&request).is_empty());
    }
}
