//! What keeps our messages from leaving, in words: those of one conversation, and those of a channel.

use crate::history::{HistoryHandle, Status};
use crate::http::api::{Undelivered, resume_command};
use crate::inbound::{Mailboxes, Polls};
use switchboard_envelope::Timestamp;
use switchboard_routing_rules::State;
use switchboard_routing_rules::decide::FAILING;
use switchboard_routing_rules::event::DeadReason;
use switchboard_routing_rules::ids::ConvId;
use switchboard_routing_rules::state::{Phase, SendState};

/// Most sends that are looked at for the one that was tried last.
const LOOKED_AT: usize = 50_000;

/// What is known of how channels do, beside the state.
#[derive(Clone)]
pub struct Troubles {
    pub history: HistoryHandle,
    pub mailboxes: Mailboxes,
    pub polls: Polls,
}

impl Troubles {
    /// Why our messages do not leave on a channel, unless somebody or something paused it; `None` while they do.
    pub async fn sending(&self, state: &State, channel: &str) -> Option<String> {
        state.channels.get(channel).filter(|c| c.paused.is_none())?;
        let said = Troubles::sending_in_short(state, channel)?;
        let why = self.last_failure(state, channel).await;
        Some(why.map_or_else(|| said.clone(), |why| format!("{said}: {why}")))
    }

    /// The same for whoever needs no token: nothing that a provider said of one customer's message, and nothing that has to be read.
    pub fn sending_in_short(state: &State, channel: &str) -> Option<String> {
        let failures = state.channels.get(channel).filter(|c| !c.removed)?.failures;
        let attempts = match failures {
            0 => return None,
            1 => "the last attempt".to_owned(),
            n => format!("the last {n} attempts"),
        };
        Some(format!("{attempts} to send failed"))
    }

    /// Why what customers write on a channel does not come in here.
    pub fn receiving(&self, state: &State, channel: &str) -> Option<String> {
        state.channels.get(channel).filter(|c| !c.removed)?;
        receiving(&self.mailboxes, &self.polls, channel)
    }

    /// What came of the message that was tried last, as its attempt told it.
    async fn last_failure(&self, state: &State, channel: &str) -> Option<String> {
        let of_channel = |s: &&SendState| s.channel == channel && s.released.is_some() && !s.is_dead();
        let sends = state.sends.values().take(LOOKED_AT).map(AsRef::as_ref).filter(of_channel);
        let tried = sends.max_by_key(|s| s.released).map(|s| s.id.to_string());
        let history = self.history.history();
        let message = match tried {
            Some(id) => history.message(id).await.ok()?,
            None => {
                let dead = history.dead_letters(Some(channel.to_owned()), None, 1).await.ok()?;
                dead.items.into_iter().next().map(|d| d.message)
            }
        };
        message.and_then(|m| m.detail.or(m.code))
    }
}

fn receiving(mailboxes: &Mailboxes, polls: &Polls, channel: &str) -> Option<String> {
    let unread = mailboxes.all().into_iter().find(|(id, _)| id == channel).and_then(|(_, why)| why);
    let unread = unread.map(|why| format!("its mailbox cannot be read: {why}"));
    unread.or_else(|| polls.trouble(channel).map(|why| format!("what its webhook missed cannot be fetched: {why}")))
}

/// The newest message of ours in a conversation, while it has not left or did not arrive.
pub fn undelivered(state: &State, conversation: ConvId, now: Timestamp) -> Option<Undelivered> {
    let c = state.conversation(conversation)?;
    let send = state.sends.get(&c.last_sent?)?;
    let channel = state.channels.get(&send.channel);
    // Behind another one it waits for what that one waits for.
    let waits = send.phase == Phase::Waiting;
    let first = c.lane.iter().filter_map(|id| state.sends.get(id)).find(|s| s.channel == send.channel && !s.notice);
    let head = first.filter(|_| waits).unwrap_or(send);
    let paused = channel.and_then(|c| c.paused.as_ref()).filter(|_| !send.is_dead());
    let failing = channel.is_some_and(|c| c.failures >= FAILING);
    let tried_again = match head.phase {
        Phase::Backoff { until } => Some(until),
        Phase::Ready { .. } if failing => channel.and_then(|c| c.probe_at),
        _ => None,
    };
    let held = send.is_dead() || paused.is_some() || failing || head.retries > 0;
    Some(Undelivered {
        message: send.id,
        told_by: head.id,
        status: status(&send.phase),
        since: send.at,
        attempts: head.n,
        tried_again: tried_again.filter(|_| paused.is_none()),
        delayed: held || now.since(send.at) > Undelivered::SOON_MS,
        paused: paused.map(|why| format!("channel `{}` is paused: {why}", send.channel)),
        then: paused.map(|_| resume_command(&send.channel)),
    })
}

fn status(phase: &Phase) -> Status {
    match phase {
        Phase::Waiting | Phase::Ready { .. } | Phase::Backoff { .. } => Status::Queued,
        Phase::InFlight { .. } | Phase::Reconciling { .. } => Status::Sending,
        Phase::Dead { reason: DeadReason::Unknown, .. } => Status::Unknown,
        Phase::Dead { reason: DeadReason::Rejected, .. } => Status::Rejected,
        Phase::Dead { reason: DeadReason::Failed, .. } => Status::Failed,
        Phase::Dead { reason: DeadReason::Expired | DeadReason::ChannelRemoved, .. } => Status::Dead,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_come_in_is_told_whatever_becomes_of_what_leaves() {
        let (mailboxes, polls) = (Mailboxes::default(), Polls::default());
        assert_eq!(receiving(&mailboxes, &polls, "mail"), None);
        mailboxes.set("mail", Some("localhost:993: connection refused".into()));
        polls.set("sms", Some("401".into()));
        let told = |channel| receiving(&mailboxes, &polls, channel);
        assert_eq!(told("mail").as_deref(), Some("its mailbox cannot be read: localhost:993: connection refused"));
        assert_eq!(told("sms").as_deref(), Some("what its webhook missed cannot be fetched: 401"));
        assert_eq!(told("site"), None);
        mailboxes.set("mail", None);
        assert_eq!(told("mail"), None);
    }
}
