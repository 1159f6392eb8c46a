//! What every provider's channel does in the same way, around the provider's own adapter: keywords, plain characters, and the
//! limit of segments.

use crate::{
    keywords::{Keyword, Words},
    number, segments,
};
use bytes::Bytes;
use std::collections::BTreeMap;
use switchboard_adapter_sdk::{
    Adapter, Answer, AttemptOutcome, Call, Measure, Polled, RawRequest, Reply, Settings, Verdict, classify::Class,
};
use switchboard_envelope::{
    Address, Attachment, ChannelProfile, ConsentChange, ConsentState, Inbound, Message, Raw, Reconcile, Send,
    Timestamp, event_id,
};

/// The most segments of one text where the configuration does not say: what the air can number.
const MAX_SEGMENTS: usize = 255;

/// A provider's adapter with what all of them share.
pub(crate) struct Channel {
    provider: Box<dyn Adapter>,
    words: Words,
    /// Our answers to keywords, by keyword.
    replies: BTreeMap<String, String>,
    smart: bool,
    max_segments: usize,
}

impl Channel {
    pub(crate) fn new(provider: Box<dyn Adapter>, settings: &Settings) -> Channel {
        let reply = |(keyword, key): (&str, &str)| Some((keyword.to_owned(), settings.text(key)?.to_owned()));
        let replies = [("STOP", "stop_reply"), ("START", "start_reply"), ("HELP", "help_reply")];
        Channel {
            provider,
            words: Words {
                stop: settings.words("stop_words").to_vec(),
                start: settings.words("start_words").to_vec(),
                help: settings.words("help_words").to_vec(),
            },
            replies: replies.into_iter().filter_map(reply).collect(),
            smart: settings.flag("smart_encoding"),
            max_segments: settings.count("max_segments").and_then(|n| usize::try_from(n).ok()).unwrap_or(MAX_SEGMENTS),
        }
    }

    /// Gives each message that is a keyword its meaning, unless the provider did.
    fn marked(&self, events: Vec<Inbound>) -> Vec<Inbound> {
        let said: Vec<String> = events
            .iter()
            .filter_map(|event| match event {
                Inbound::Consent(consent) => Some(consent.id.clone()),
                _ => None,
            })
            .collect();
        events
            .into_iter()
            .flat_map(|event| match event {
                // A part is no text of its own, whatever it looks like.
                Inbound::Message(message)
                    if !message.automatic
                        && !message.meta.contains_key("keyword")
                        && !message.meta.contains_key("part_of") =>
                {
                    self.mark(message, &said)
                }
                other => vec![other],
            })
            .collect()
    }

    fn mark(&self, mut message: Box<Message>, said: &[String]) -> Vec<Inbound> {
        let Some(keyword) = self.words.read(&message.content.text) else { return vec![Inbound::Message(message)] };
        let (name, change) = match keyword {
            Keyword::Stop(word) => (Some("STOP"), Some((ConsentState::OptedOut, word))),
            Keyword::Start(word) => (Some("START"), Some((ConsentState::OptedIn, word))),
            // The router knows whether the person had opted out; to anyone else this changes nothing.
            Keyword::Yes => (None, Some((ConsentState::OptedIn, "YES"))),
            Keyword::Help(_) => (Some("HELP"), None),
        };
        if let Some(name) = name {
            message.meta.insert("keyword".into(), name.into());
        }
        let prefix = event_id(&message.channel, "message", "");
        let key = message.id.strip_prefix(prefix.as_str()).unwrap_or(&message.id);
        let id = event_id(&message.channel, "consent", key);
        let change = change.filter(|_| !said.contains(&id)).map(|(state, word)| {
            let consent = ConsentChange {
                id,
                channel: message.channel.clone(),
                address: switchboard_envelope::Address { name: None, ..message.from.clone() },
                state,
                at: message.at,
                reason: Some(word.to_owned()),
                topic: None,
            };
            (state, Inbound::Consent(consent))
        });
        let message = Inbound::Message(message);
        match change {
            // The one confirmation goes out while it still may; from then on nothing does.
            Some((ConsentState::OptedOut, consent)) if self.replies.contains_key("STOP") => vec![message, consent],
            Some((_, consent)) => vec![consent, message],
            None => vec![message],
        }
    }

    /// The text as it goes out.
    fn outgoing(&self, text: &str) -> Option<String> {
        self.smart.then(|| segments::plain(text)).filter(|plain| plain != text)
    }
}

impl Adapter for Channel {
    fn profile(&self) -> ChannelProfile {
        ChannelProfile { keyword_replies: self.replies.clone(), ..self.provider.profile() }
    }

    fn verify(&self, request: &RawRequest) -> Verdict {
        self.provider.verify(request)
    }

    fn screen(&self, head: &RawRequest) -> Verdict {
        self.provider.screen(head)
    }

    fn unsigned_status(&self) -> u16 {
        self.provider.unsigned_status()
    }

    fn handshake(&self, request: &RawRequest) -> Option<Reply> {
        self.provider.handshake(request)
    }

    fn kept_path<'a>(&self, path: &'a str) -> &'a str {
        self.provider.kept_path(path)
    }

    fn parse(&self, request: &RawRequest) -> Vec<Inbound> {
        self.marked(self.provider.parse(request))
    }

    fn accepted(&self, request: &RawRequest) -> Reply {
        self.provider.accepted(request)
    }

    fn reparse(&self, raw: &Raw, body: Bytes, received_at: Timestamp) -> Vec<Inbound> {
        self.marked(self.provider.reparse(raw, body, received_at))
    }

    fn reaches(&self, to: &Address) -> Result<(), String> {
        if to.kind == "phone" && number::e164(&to.value).is_none() {
            return Err("the number is not international: write it as +15551230001".into());
        }
        self.provider.reaches(to)
    }

    fn canonical(&self, to: Address) -> Address {
        number::canonical(to)
    }

    fn encode(&self, send: &Send) -> Result<Call, AttemptOutcome> {
        let plain = self.outgoing(&send.content.text).map(|text| {
            let mut send = send.clone();
            send.content.text = text;
            send
        });
        let send = plain.as_ref().unwrap_or(send);
        let segments = segments::count(&send.content.text).segments;
        if segments > self.max_segments {
            let why =
                format!("the text needs {segments} segments, and this channel sends at most {}", self.max_segments);
            return Err(Class::PermanentMessage.attempt(None, why));
        }
        self.provider.encode(send)
    }

    fn signed(&self, call: Call, now: Timestamp) -> Call {
        self.provider.signed(call, now)
    }

    fn classify(&self, send: &Send, answer: &Answer, now: Timestamp) -> AttemptOutcome {
        self.provider.classify(send, answer, now)
    }

    fn reconcile(&self, attempt: &Reconcile) -> Option<Call> {
        match self.outgoing(&attempt.content.text) {
            Some(text) => {
                let mut attempt = attempt.clone();
                attempt.content.text = text;
                self.provider.reconcile(&attempt)
            }
            None => self.provider.reconcile(attempt),
        }
    }

    fn reconciled(&self, attempt: &Reconcile, answer: &Answer) -> Option<AttemptOutcome> {
        match self.outgoing(&attempt.content.text) {
            Some(text) => {
                let mut attempt = attempt.clone();
                attempt.content.text = text;
                self.provider.reconciled(&attempt, answer)
            }
            None => self.provider.reconciled(attempt, answer),
        }
    }

    fn poll(&self, cursor: Option<&str>, now: Timestamp) -> Option<Call> {
        self.provider.poll(cursor, now)
    }

    fn polled(&self, cursor: Option<&str>, answer: &Answer, now: Timestamp) -> Result<Polled, String> {
        let polled = self.provider.polled(cursor, answer, now)?;
        Ok(Polled { events: self.marked(polled.events), ..polled })
    }

    fn fetch(&self, attachment: &Attachment) -> Option<Call> {
        self.provider.fetch(attachment)
    }

    fn listed(&self, attachment: &Attachment, fetched: &Bytes) -> Option<Vec<Attachment>> {
        self.provider.listed(attachment, fetched)
    }

    fn measure(&self, text: &str) -> Option<Measure> {
        let plain = self.outgoing(text);
        let counted = segments::count(plain.as_deref().unwrap_or(text));
        Some(Measure {
            encoding: counted.encoding.name(),
            units: counted.units,
            segments: counted.segments,
            per_segment: counted.per_segment,
            most: self.max_segments,
            text: plain,
        })
    }
}

#[cfg(test)]
#[path = "channel_tests.rs"]
mod tests;
