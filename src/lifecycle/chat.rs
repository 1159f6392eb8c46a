//! The web chat's view of the daemon: IN in front of it, history behind it.

use crate::history::{Direction, HistoryHandle, Message, Status, Who};
use crate::http::chat::{ChatBackend, ChatItem, Transcript, Wakes};
use crate::inbound::{Ingest, blob_scope};
use crate::log::{Ingested, LogError};
use crate::packs::Packs;
use crate::router::View;
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::Arc;
use switchboard_envelope::{BlobRef, Choice, Inbound, ReceiptStatus};
use switchboard_routing_rules::event::Public;
use switchboard_routing_rules::ids::ConvId;
use switchboard_routing_rules::{Event, State};
use tokio::sync::broadcast;

pub struct Chat {
    pub ingest: Ingest,
    pub history: HistoryHandle,
    pub state: View,
    pub packs: Arc<Packs>,
    /// Tells the consoles in which conversation a visitor writes.
    pub typing: broadcast::Sender<ConvId>,
}

impl Chat {
    fn state(&self) -> Arc<State> {
        self.state.latest().1
    }

    /// Somebody is writing in a thread of any channel.
    pub fn writes(&self, channel: &str, thread: &str) {
        let state = self.state();
        let conversation = state.conversation_of_thread(state.thread_hash(channel, thread));
        if let Some(c) = conversation.filter(|c| c.is_open()) {
            // Nobody who listens is no error.
            let _ = self.typing.send(c.id);
        }
    }

    fn item(&self, m: Message, shows: impl Fn(&[Choice]) -> bool) -> ChatItem {
        let (auto, name) = match &m.author {
            Who::Agent(id) => (false, self.agent_name(id)),
            Who::Auto(_) => (true, None),
            Who::Contact | Who::Token(_) | Who::System | Who::Elsewhere => (false, None),
        };
        ChatItem {
            seq: m.seq,
            id: m.id,
            from_visitor: m.direction == Direction::In,
            author_name: name,
            auto,
            text: m.text.unwrap_or_default(),
            attachments: m.attachments,
            // What is no button stands in the text, as numbered lines.
            choices: Some(m.choices).filter(|all| shows(all)).unwrap_or_default(),
            at: m.at,
            client_id: m.client_id,
            status: (m.direction == Direction::Out).then(|| m.status.map(receipt)).flatten(),
        }
    }

    fn agent_name(&self, id: &str) -> Option<String> {
        let pack = self.packs.cached(&self.state().pack)?;
        pack.agent(id).map(|a| a.name.clone())
    }
}

fn receipt(status: Status) -> ReceiptStatus {
    match status {
        Status::Delivered => ReceiptStatus::Delivered,
        Status::Read => ReceiptStatus::Read,
        Status::Rejected | Status::Failed | Status::Dead => ReceiptStatus::Failed,
        Status::Received | Status::Queued | Status::Sending | Status::Unknown | Status::Accepted => {
            ReceiptStatus::Accepted
        }
    }
}

fn unavailable(error: impl std::fmt::Display) -> LogError {
    LogError::Unavailable(error.to_string())
}

#[async_trait]
impl ChatBackend for Chat {
    async fn ingest(&self, mut inbound: Inbound) -> Result<Ingested, LogError> {
        if let Inbound::Message(m) = &mut inbound {
            // The widget knows its message again by this.
            if let Some(id) = m.provider_id.clone() {
                m.meta.insert("client_id".into(), id);
            }
        }
        self.ingest.one(inbound).await
    }

    async fn transcript(&self, channel: &str, thread: &str, after: u64, max: usize) -> Result<Transcript, LogError> {
        let state = self.state();
        let hash = state.thread_hash(channel, thread);
        let history = self.history.history();
        let mut rows =
            history.transcript(channel.to_owned(), hash, after, max.saturating_add(1)).await.map_err(unavailable)?;
        let more = rows.len() > max;
        rows.truncate(max);
        let mut last_seq = rows.last().map_or(after, |m| m.seq);
        if more {
            // The widget asks again from the last one it got; what is newest only decides whether it must.
            last_seq += 1;
        }
        let profile = state.channels.get(channel).map(|c| &c.profile);
        let shows = |choices: &[Choice]| profile.is_some_and(|p| p.shows(choices));
        let conversation = state.conversation_of_thread(hash);
        let queue_position = conversation.and_then(|c| u32::try_from(state.place(c)?).ok());
        Ok(Transcript {
            messages: rows.into_iter().map(|m| self.item(m, shows)).collect(),
            last_seq,
            reset: false,
            conversation: conversation.map(|c| c.id.to_string()),
            queue_position,
        })
    }

    async fn put_file(&self, channel: &str, thread: &str, bytes: Bytes) -> Result<BlobRef, LogError> {
        self.ingest.log.put_blob(&blob_scope(channel, thread), bytes).await
    }

    async fn get_file(&self, channel: &str, thread: &str, blob: &BlobRef) -> Result<Option<Bytes>, LogError> {
        self.ingest.log.get_blob(&blob_scope(channel, thread), blob).await
    }

    fn visitor_typing(&self, channel: &str, thread: &str) {
        self.writes(channel, thread);
    }
}

/// Wakes the sockets of a thread after history shows something new of it.
pub async fn wake(history: HistoryHandle, mut state: View, wakes: Arc<Wakes>) {
    let mut changes = history.changes();
    loop {
        match changes.recv().await {
            Ok(change) if !change.events.iter().any(shows) => {}
            Ok(change) => {
                let state = state.at(change.seq).await.1;
                for event in change.events.iter().filter(|e| shows(e)) {
                    let Some(c) = event.public.conversation().and_then(|id| state.conversation(id).cloned()) else {
                        continue;
                    };
                    let push = state.channels.get(c.channel.as_str()).is_some_and(|ch| ch.profile.push);
                    if let Some(p) = c.private.as_ref().filter(|_| push) {
                        wakes.grew(&c.channel, p.thread());
                    }
                }
            }
            // Which threads changed is not known any more: every socket looks.
            Err(broadcast::error::RecvError::Lagged(_)) => wakes.all_grew(),
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

/// Whether a visitor can see what the event did.
fn shows(event: &Event) -> bool {
    matches!(
        event.public,
        Public::Received { .. }
            | Public::SendQueued { .. }
            | Public::Queued { .. }
            | Public::Assigned { .. }
            | Public::Offered { .. }
            | Public::Closed { .. }
    )
}
