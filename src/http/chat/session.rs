//! What the socket and the HTTP fallback share: who the visitor is, storing what was said, showing what is new.

use super::state::{Addr, Channel, ChatState};
use super::{ChatItem, Transcript};
use crate::log::{Ingested, LogError};
use crate::random;
use std::sync::Arc;
use switchboard_envelope::Inbound;
use switchboard_webchat::{
    self as webchat, Ack, ChoiceFrame, Confirmation, Context, ErrorCode, ErrorFrame, From, Hello, MessageFrame,
    MessageIn, PROTOCOL, ServerFrame, Speaker, Visitor, Welcome,
};

/// Messages read from history at once.
pub(super) const PAGE: usize = 50;
/// The replay inside a welcome, in bytes of JSON; what is beyond follows as frames of its own.
const REPLAY_BYTES: usize = 24 * 1024;

/// A visitor whom we know.
#[derive(Clone)]
pub(super) struct Session {
    pub channel: Arc<Channel>,
    pub visitor: Visitor,
    pub context: Context,
    /// To be kept by the browser.
    pub token: String,
    /// History is known to hold something of the visitor's.
    has_written: bool,
}

/// A user may be long; a proof over kilobytes need not be computed for strangers.
const MAX_USER: usize = 256;

impl Session {
    /// Knows a visitor again, or makes a new one.
    pub fn open(state: &ChatState, channel: &Arc<Channel>, hello: &Hello) -> Result<Session, ErrorFrame> {
        let (id, settings, now) = (channel.id(), &channel.settings, state.now());
        let unauthorized = |detail: String| state.refuse(channel, ErrorCode::Unauthorized, detail);
        let user = hello.user.as_ref().filter(|_| !settings.identity_secrets.is_empty());
        if let Some(user) = user {
            let genuine = user.id.len() <= MAX_USER
                && !user.id.is_empty()
                && webchat::identity_matches(&settings.identity_secrets, &user.id, &user.hash);
            if !genuine {
                return Err(unauthorized("the user's hash was not made with this site's secret".into()));
            }
        }
        let vouched = user.map(|u| webchat::identified_visitor(&state.key, id, &u.id));
        let known = match (&hello.token, &vouched) {
            // A user signing in leaves the anonymous token behind, whatever became of it.
            (Some(token), Some(_)) => state.key.verify(id, token, now, settings.token_max_age_ms).ok(),
            (Some(token), None) => Some(
                state.key.verify(id, token, now, settings.token_max_age_ms).map_err(|e| unauthorized(e.to_string()))?,
            ),
            (None, _) => None,
        };
        let is_user = vouched.is_some();
        let visitor = match (vouched, &known) {
            (Some(visitor), _) => visitor,
            (None, Some((visitor, _))) => visitor.clone(),
            (None, None) => Visitor::anonymous(
                random::bytes().map_err(|_| state.refuse_for(channel, ErrorCode::Unavailable, 5000))?,
            ),
        };
        // A token in its second half of life is renewed while its holder is here.
        let fresh = |(v, issued): &(Visitor, _)| *v == visitor && now.since(*issued) < settings.token_max_age_ms / 2;
        let token = match (&hello.token, known.as_ref().is_some_and(fresh)) {
            (Some(token), true) => token.clone(),
            _ => state.key.issue(id, &visitor, now),
        };
        Ok(Session {
            channel: Arc::clone(channel),
            visitor,
            context: Context::new(hello, is_user),
            token,
            has_written: false,
        })
    }

    /// Stores a message durably and acknowledges it.
    pub async fn say(&mut self, state: &ChatState, frame: &MessageFrame, addr: Addr) -> Result<Ack, ErrorFrame> {
        let begun = self.begin(state, addr).await;
        begun.map_err(|e| ErrorFrame { client_id: Some(frame.client_id.chars().take(64).collect()), ..e })?;
        let (channel, now) = (&self.channel, state.now());
        let max = channel.settings.limits.text;
        let inbound = webchat::message(&state.key, channel.id(), &self.visitor, &self.context, frame, max, now)
            .map_err(|r| state.refuse(channel, r.code, r.detail))
            .map_err(|e| ErrorFrame { client_id: Some(frame.client_id.chars().take(64).collect()), ..e })?;
        let id = inbound.id().to_owned();
        let stored = ingest(state, channel, inbound).await;
        let stored = stored.map_err(|e| ErrorFrame { client_id: Some(frame.client_id.clone()), ..e })?;
        let duplicate = stored == Ingested::Duplicate;
        state.metrics.message(channel.id(), duplicate);
        Ok(Ack { client_id: frame.client_id.clone(), id, seq: None, at: now, duplicate })
    }

    /// A visitor costs nothing to make, and the first message of each opens a conversation: so many of an address.
    async fn begin(&mut self, state: &ChatState, addr: Addr) -> Result<(), ErrorFrame> {
        if self.has_written || addr.is_none() {
            return Ok(());
        }
        if self.transcript(state, 0, 1).await?.messages.is_empty() {
            state.metered_address(&self.channel, &self.channel.beginnings, addr)?;
        }
        self.has_written = true;
        Ok(())
    }

    /// Records that the widget showed our messages.
    pub async fn confirm(&self, state: &ChatState, confirmed: Confirmation) -> Result<(), ErrorFrame> {
        let inbound = webchat::confirmation(self.channel.id(), &self.visitor, confirmed, state.now());
        ingest(state, &self.channel, inbound).await.map(|_| ())
    }

    pub async fn transcript(&self, state: &ChatState, after: u64, max: usize) -> Result<Transcript, ErrorFrame> {
        let found = state.backend.transcript(self.channel.id(), self.visitor.as_str(), after, max);
        match tokio::time::timeout(state.timing.ingest, found).await {
            Ok(Ok(transcript)) => Ok(transcript),
            Ok(Err(e)) => Err(failed(state, &self.channel, &e)),
            Err(_) => Err(state.refuse_for(&self.channel, ErrorCode::Unavailable, 2000)),
        }
    }

    /// The welcome for what history holds, and what of it was left out for size.
    pub fn welcome(&self, state: &ChatState, transcript: Transcript) -> (Welcome, Vec<ChatItem>) {
        let mut replay = vec![];
        let mut rest = vec![];
        let mut bytes = 0;
        for item in transcript.messages {
            let frame = shown(&item);
            bytes += frame.to_json().len();
            if rest.is_empty() && bytes <= REPLAY_BYTES {
                replay.push(frame);
            } else {
                rest.push(item);
            }
        }
        let welcome = Welcome {
            v: PROTOCOL,
            visitor: self.visitor.as_str().to_owned(),
            token: self.token.clone(),
            conversation: transcript.conversation,
            last_seq: transcript.last_seq,
            reset: transcript.reset,
            ping_s: u32::try_from(state.timing.ping.as_secs()).unwrap_or(30),
            replay,
            queue_position: transcript.queue_position,
        };
        (welcome, rest)
    }
}

async fn ingest(state: &ChatState, channel: &Channel, inbound: Inbound) -> Result<Ingested, ErrorFrame> {
    match tokio::time::timeout(state.timing.ingest, state.backend.ingest(inbound)).await {
        Ok(Ok(ingested)) => Ok(ingested),
        Ok(Err(e)) => Err(failed(state, channel, &e)),
        // It may have landed: the same id again is harmless.
        Err(_) => Err(state.refuse_for(channel, ErrorCode::Unavailable, 2000)),
    }
}

fn failed(state: &ChatState, channel: &Channel, error: &LogError) -> ErrorFrame {
    tracing::warn!(channel = channel.id(), %error, "web chat could not reach the log");
    match error {
        LogError::Full(_) => state.refuse_for(channel, ErrorCode::Unavailable, 10_000),
        LogError::Unavailable(_) | LogError::Damaged(_) => state.refuse_for(channel, ErrorCode::Unavailable, 2000),
        LogError::Refused(why) => state.refuse(channel, ErrorCode::Refused, why.clone()),
    }
}

/// A message of history as a frame.
pub(super) fn shown(item: &ChatItem) -> ServerFrame {
    let kind = match (item.from_visitor, item.auto) {
        (true, _) => Speaker::Visitor,
        (false, true) => Speaker::Auto,
        (false, false) => Speaker::Agent,
    };
    ServerFrame::Message(Box::new(MessageIn {
        seq: item.seq,
        id: item.id.clone(),
        from: From { kind, name: item.author_name.clone() },
        text: item.text.clone(),
        attachments: item.attachments.clone(),
        choices: item.choices.iter().map(|c| ChoiceFrame { id: c.id.clone(), label: c.label.clone() }).collect(),
        at: item.at,
        client_id: item.client_id.clone(),
        status: item.status,
    }))
}
