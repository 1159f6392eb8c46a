//! The desk `slack`: people of ours are told in a channel of Slack (<https://docs.slack.dev/reference/methods/chat.postMessage>).
//!
//! Notices go out, one post each, with our id in its metadata, so that a post whose answer was lost is found again. What people
//! write in Slack is not read.
#![forbid(unsafe_code)]

mod codes;
mod post;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use std::sync::Arc;
use switchboard_adapter_sdk::{
    Adapter, Answer, AttemptOutcome, Call, ConfigProblem, Kind, RawRequest, Secret, Settings, Verdict,
    settings::{Key, Shape},
};
use switchboard_envelope::{ChannelProfile, Inbound, Raw, Reconcile, Send, Timestamp, Unparsed, event_id};

const BASE_URL: &str = "https://slack.com";
/// How long a post whose answer was lost is looked for.
const RECONCILE_MS: i64 = 30_000;

const KEYS: &[Key] = &[
    Key::new("bot_token", Shape::Secret, "the bot's token, as `xoxb-…`, with the scope chat:write")
        .required("{ env = \"NAME\" }"),
    Key::new(
        "signing_secret",
        Shape::Secret,
        "with which Slack signs what it sends us; this version reads nothing from Slack",
    ),
    Key::new(
        "channel",
        Shape::Text { check: channel_id, pattern: "^[CGD][A-Z0-9]{2,30}$" },
        "the id of the channel that is told; the bot must be a member",
    )
    .required("\"C0SUPPORT\""),
    Key::new("base_url", Shape::Url, "another address of the Web API").usual(BASE_URL),
];

/// The desk, as the daemon's registry lists it. Slack takes about a message a second in a channel.
pub const KIND: Kind = Kind {
    name: "slack",
    about: "A channel of Slack.",
    keys: KEYS,
    either: &[],
    needs: &[],
    poll: None,
    rate: Some("1/s"),
    check: |_| vec![],
    build,
};

/// A channel of a workspace of Slack.
#[derive(Debug)]
pub(crate) struct Slack {
    desk: String,
    base: String,
    token: Secret,
    channel: String,
}

fn is_id(text: &str, first: &str) -> bool {
    text.starts_with(|c| first.contains(c))
        && (3..=31).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

fn channel_id(text: &str) -> Result<String, String> {
    if is_id(text, "CGD") {
        return Ok(text.to_owned());
    }
    Err("is no id of a channel: write the one at the end of the channel's details in Slack, such as `C0SUPPORT`".into())
}

fn build(settings: &Settings) -> Result<Arc<dyn Adapter>, Vec<ConfigProblem>> {
    let token = settings.secret("bot_token").cloned().unwrap_or_else(|| Secret::new(""));
    let usable = |t: &str| (8..=512).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_graphic());
    if !usable(token.expose()) || !token.expose().starts_with("xox") {
        let problem = "is no token of a bot: write the “Bot User OAuth Token” of the app, which begins with `xoxb-`";
        return Err(vec![settings.problem("bot_token", problem)]);
    }
    let base = settings.text("base_url").unwrap_or(BASE_URL).trim_end_matches('/');
    Ok(Arc::new(Slack {
        desk: settings.channel.clone(),
        base: base.strip_suffix("/api").unwrap_or(base).to_owned(),
        token,
        channel: settings.text("channel").unwrap_or_default().to_owned(),
    }))
}

const UNREAD: &str = "this version reads nothing from Slack: agents answer in the console and through the API";

impl Adapter for Slack {
    fn profile(&self) -> ChannelProfile {
        ChannelProfile { reconciles: true, reconcile_ms: RECONCILE_MS, ..ChannelProfile::new("slack", "slack") }
    }

    fn verify(&self, _request: &RawRequest) -> Verdict {
        Verdict::Forged(UNREAD.into())
    }

    fn parse(&self, _request: &RawRequest) -> Vec<Inbound> {
        vec![]
    }

    fn reparse(&self, raw: &Raw, _body: Bytes, received_at: Timestamp) -> Vec<Inbound> {
        vec![Inbound::Unparsed(Unparsed {
            id: event_id(&self.desk, "unparsed", &format!("reparse.{}", received_at.0)),
            channel: self.desk.clone(),
            reason: UNREAD.into(),
            at: received_at,
            raw: raw.clone(),
        })]
    }

    fn encode(&self, send: &Send) -> Result<Call, AttemptOutcome> {
        post::encode(self, send)
    }

    fn classify(&self, _send: &Send, answer: &Answer, now: Timestamp) -> AttemptOutcome {
        post::classify(answer, now)
    }

    fn reconcile(&self, attempt: &Reconcile) -> Option<Call> {
        Some(post::asks(self, attempt))
    }

    fn reconciled(&self, attempt: &Reconcile, answer: &Answer) -> Option<AttemptOutcome> {
        post::found(self, attempt, answer)
    }
}
