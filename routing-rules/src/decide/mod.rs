//! What should happen: from the state, one input, the time and the rule pack, to events.
//!
//! A decision takes the state and gives it back: each event is folded as it is made, so that the next step sees it. It is
//! taken by value because a map that nobody else holds is changed in place, and one that somebody holds is copied.

mod assign;
mod clock;
mod command;
mod contact;
mod follow;
mod mail;
pub(crate) mod matching;
mod message;
mod notices;
mod packs;
mod parts;
mod sends;
mod settle;
mod timers;

pub use command::PAUSED_BY_OPERATOR;
pub(crate) use follow::Followed;
pub use message::seen_message;
pub use sends::FAILING;

use crate::event::{CanaryEnd, Event, Happening, KeyHash, Presence, Private, Public, Reply, Why};
use crate::ids::{ContactId, ConvId, MessageId, OfferId};
use crate::pack::{Name, RulePack};
use crate::state::{Conversation, Cursor, InForce, Rebase, State, WaitKey};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use switchboard_envelope::{Action, ChannelProfile, Command, Inbound, Timestamp, is_field};

/// A customer who does not answer: the conversation closes after this.
pub(crate) const PENDING_MS: i64 = 14 * 86_400_000;
/// The clock of a queue without an SLA.
pub(crate) const DEFAULT_CLOCK_MS: i64 = 4 * 3_600_000;
/// A breached clock is looked at again after this.
pub(crate) const BREACH_AGAIN_MS: i64 = 86_400_000;
/// A closed conversation reopens within this, unless its queue says otherwise.
pub(crate) const REOPEN_MS: i64 = 72 * 3_600_000;
/// Assignments of one decision at most; the rest follows by a timer.
pub(crate) const MOST: usize = 64;
/// Timers fired, and conversations moved, by one decision at most.
pub(crate) const STEP: usize = 64;
/// A decision that fires timers, or moves what a pack left behind, begins nothing new beyond this many events: what it
/// leads to must fit a frame, and the rest is still due.
pub(crate) const ENOUGH: usize = 200;

/// A time this much ahead of the log's clock was taken while a clock was wrong, and is set back.
pub const CLOCK_AHEAD_MS: i64 = 60_000;
/// Where commands come from: no channel can have these names.
const COMMANDERS: [&str; 2] = ["api", "router"];

/// What the router learned about an attempt whose `until` passed without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The router took the claim itself: nothing was sent, and nothing will be.
    NotSent,
    /// Somebody had claimed it.
    Unknown,
}

/// One input of a decision.
#[derive(Clone)]
pub enum Input<'a> {
    /// A record of IN. `candidate` is the pack that a command names which changes packs, when it could be loaded.
    Record {
        seq: u64,
        stored_at: Timestamp,
        inbound: &'a Inbound,
        candidate: Option<&'a RulePack>,
    },
    /// A record of IN that cannot be decided: undecodable, on a foreign subject, or it made `decide` panic.
    Poison {
        seq: u64,
        stored_at: Timestamp,
        channel: &'a str,
        reason: &'a str,
    },
    /// Timers that are due by the log's clock, once IN is drained. Where `now` was far ahead of it, both are set back first.
    Timers {
        now: Timestamp,
    },
    Verdict {
        now: Timestamp,
        message: MessageId,
        part: u16,
        n: u32,
        verdict: Verdict,
    },
    /// The log is not the one that was written last; see [`Public::Rebased`].
    Rebase {
        now: Timestamp,
        /// The lowest number that it may have; others than this log knows of may be known to whoever asked for it.
        number: u64,
        frame: u64,
        /// The last record of IN that is the one that was decided; 0 for none.
        agrees: Cursor,
        /// IN's end.
        inn: u64,
        out: u64,
        cut: bool,
        why: &'a str,
    },
    /// This router leads, with this pack and these channels.
    Lead {
        now: Timestamp,
        incarnation: u64,
        channels: &'a BTreeMap<Name, ChannelProfile>,
    },
}

/// What follows from an input.
#[derive(Clone, Debug)]
pub struct Decision {
    pub events: Vec<Event>,
    /// The state after them.
    pub after: State,
}

/// Between the id of a record that is retried out of the quarantine and its number there.
pub const AGAIN: &str = ":again-";

/// Decides one input. Pure and total: no clock, no randomness, no I/O.
#[must_use]
pub fn decide<'p>(state: State, input: &Input<'p>, packs: impl Into<InForce<'p>>) -> Decision {
    decide_by(state, input, packs.into())
}

fn decide_by<'p>(state: State, input: &Input<'p>, packs: InForce<'p>) -> Decision {
    let d = drafted(state, input, packs);
    Decision { events: d.events, after: d.state }
}

/// A decision, and what rules were asked that follow up on it.
pub(crate) fn decide_and_tell<'p>(
    state: State,
    input: &Input<'p>,
    packs: impl Into<InForce<'p>>,
) -> (Decision, Vec<Followed>) {
    let d = drafted(state, input, packs.into());
    (Decision { events: d.events, after: d.state }, d.followed)
}

fn drafted<'p>(state: State, input: &Input<'p>, packs: InForce<'p>) -> Draft<'p> {
    let mut d = Draft::new(state, packs);
    match input {
        Input::Record { seq, stored_at, inbound, candidate } => d.record(*seq, *stored_at, inbound, *candidate),
        Input::Poison { seq, stored_at, channel, reason } => d.poison(*seq, *stored_at, channel, reason),
        Input::Timers { now } => d.timers(*now),
        Input::Verdict { now, message, part, n, verdict } => d.verdict(*now, *message, *part, *n, *verdict),
        Input::Rebase { now, number, frame, agrees, inn, out, cut, why } => {
            // Where time is ahead it is set back by who leads; what comes then is not of before this.
            let ahead = d.state.now.since(*now) > CLOCK_AHEAD_MS;
            let at = if ahead { *now } else { d.state.now.max(*now) };
            let last = d.state.rebased.map_or(0, |r| r.number);
            d.emit(Public::Rebased {
                number: last.saturating_add(1).max(*number),
                at,
                frame: *frame,
                cursor: agrees.seq,
                cursor_at: agrees.at,
                cursor_id: agrees.id,
                inn: *inn,
                out: *out,
                cut: *cut,
                why: (*why).to_owned(),
            });
        }
        Input::Lead { now, incarnation, channels } => d.lead(*now, *incarnation, channels),
    }
    d.settle_effects();
    d
}

/// Who waits in a queue that their own pack does not have, or has in another order than they stand in: as long as there are any, firing
/// timers moves more. Another pack that has the queue helps nobody whom it does not decide. What this costs does not depend on how
/// many kinds of conversations wait, while all stand right.
pub fn stranded<'s>(state: &'s State, packs: impl Into<InForce<'s>>) -> impl Iterator<Item = &'s WaitKey> {
    let packs: InForce<'s> = packs.into();
    let wrong = move |(queue, trial, newest): &&(Name, u32, bool)| {
        packs.of(state, *trial).queues.get(queue).map(|q| q.newest) != Some(*newest)
    };
    state.standings().filter(wrong).flat_map(|(queue, trial, newest)| {
        let here = state.classes(queue).filter(|(class, _)| (class.trial, class.newest()) == (*trial, *newest));
        here.flat_map(|(_, set)| set.iter())
    })
}

/// Names of what there is that a refusal lists.
const LISTED: usize = 20;

/// That the pack has no such agent or queue, and which it has.
#[must_use]
pub fn lacks<T>(what: &str, id: &str, known: &BTreeMap<Name, T>) -> String {
    let mut said = format!("the pack has no {what} `{id}`");
    if !known.is_empty() {
        let names: Vec<&str> = known.keys().take(LISTED).map(String::as_str).collect();
        said.push_str(&format!("; its {what}s are {}", names.join(", ")));
    }
    if known.len() > LISTED {
        said.push_str(&format!(" and {} more", known.len() - LISTED));
    }
    said
}

/// A reason without what it quotes: it goes into the public part of an event, and a parser's message may quote a customer. The
/// names of fields of our own stay, up to the first that is none.
fn unquoted(reason: &str) -> String {
    let mut said = String::with_capacity(reason.len());
    let mut quote: Option<(char, String)> = None;
    for c in reason.chars() {
        match &mut quote {
            Some((close, quoted)) if c == *close => {
                said.push_str(&if c == '`' { fields(quoted) } else { "…".to_owned() });
                said.push(c);
                quote = None;
            }
            Some((_, quoted)) => quoted.push(c),
            None => {
                said.push(c);
                quote = match c {
                    '"' | '`' => Some(c),
                    '“' => Some('”'),
                    '«' => Some('»'),
                    _ => None,
                }
                .map(|close| (close, String::new()));
            }
        }
    }
    said
}

/// `content.text`, as far as these are fields of ours.
fn fields(path: &str) -> String {
    let known: Vec<&str> = path.split('.').take_while(|name| is_field(name)).collect();
    let all = known.len() == path.split('.').count();
    known.into_iter().chain((!all).then_some("…")).collect::<Vec<_>>().join(".")
}

/// A decision in the making.
pub(crate) struct Draft<'a> {
    pub state: State,
    /// The pack in force; see [`Draft::pack_of`].
    pub pack: &'a RulePack,
    /// The pack that is tried, while the state says that one is.
    tried: Option<&'a RulePack>,
    pub events: Vec<Event>,
    /// Names the input or timer, for the ids that derive from it.
    cause: String,
    ordinal: u32,
    /// Channels in which something may be released now.
    release: BTreeSet<Name>,
    /// Queues in which somebody may be assigned now.
    assign: BTreeSet<Name>,
    /// Somebody may have room now, for any queue.
    freed: bool,
    /// Conversations that came to wait in this decision.
    arrived: BTreeSet<ConvId>,
    /// Whom rules named for a conversation, where none of them could take it.
    named: BTreeMap<ConvId, matching::Named>,
    /// What people of ours did, on which rules may follow up.
    happened: Vec<(ConvId, Happening)>,
    /// Who of ours told the router what is decided.
    by: Option<Name>,
    /// What rules were asked that follow up on it, for who wants to know why they did what they did.
    followed: Vec<Followed>,
    /// The input was stored, or said, before the log was last rebased.
    before_rebase: bool,
    /// It may have been decided in frames that are lost: an input that they may have read, a timer that may have fired in them.
    relived: bool,
    /// The trace of the input, which what is sent for it carries on.
    traceparent: Option<String>,
}

impl<'a> Draft<'a> {
    fn new(state: State, packs: InForce<'a>) -> Draft<'a> {
        let InForce { pack, tried } = packs;
        Draft {
            state,
            pack,
            tried,
            events: Vec::new(),
            cause: String::new(),
            ordinal: 0,
            release: BTreeSet::new(),
            assign: BTreeSet::new(),
            freed: false,
            arrived: BTreeSet::new(),
            named: BTreeMap::new(),
            happened: Vec::new(),
            by: None,
            followed: Vec::new(),
            before_rebase: false,
            relived: false,
            traceparent: None,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.state.now
    }

    pub(crate) fn packs(&self) -> InForce<'a> {
        InForce { pack: self.pack, tried: self.tried }
    }

    /// The pack that decides a conversation: the one in force, or the one that is tried on it. Who the agents are, and how much
    /// each of them takes, says the pack in force for all.
    pub(crate) fn pack_of(&self, c: &Conversation) -> &'a RulePack {
        self.packs().of(&self.state, c.trial)
    }

    pub(crate) fn emit(&mut self, public: Public) {
        let event = Event::from(public);
        self.state.apply(&event);
        self.events.push(event);
    }

    pub(crate) fn emit_private(&mut self, public: Public, contact: ContactId, private: Private) {
        let event = Event { public, private: Some((contact, private)) };
        self.state.apply(&event);
        self.events.push(event);
    }

    fn next_ordinal(&mut self) -> String {
        self.ordinal += 1;
        self.ordinal.to_string()
    }

    pub(crate) fn new_message_id(&mut self) -> MessageId {
        let n = self.next_ordinal();
        MessageId::derive(&self.state.salt, &[self.cause.as_bytes(), n.as_bytes()])
    }

    pub(crate) fn new_conv_id(&mut self) -> ConvId {
        let n = self.next_ordinal();
        ConvId::derive(&self.state.salt, &[self.cause.as_bytes(), n.as_bytes()])
    }

    pub(crate) fn new_offer_id(&mut self) -> OfferId {
        let n = self.next_ordinal();
        OfferId::derive(&self.state.salt, &[self.cause.as_bytes(), n.as_bytes()])
    }

    pub(crate) fn conv(&self, id: ConvId) -> Option<Arc<Conversation>> {
        self.state.conversation(id).cloned()
    }

    pub(crate) fn profile(&self, channel: &str) -> Option<&ChannelProfile> {
        self.state.channels.get(channel).filter(|c| !c.removed).map(|c| &c.profile)
    }

    fn record(&mut self, seq: u64, stored_at: Timestamp, inbound: &Inbound, candidate: Option<&'a RulePack>) {
        let id = self.state.hash("input", &[inbound.id()]);
        let now = self.state.now.max(stored_at);
        let duplicate = self.state.dups.contains(id) || self.is_decided_again(inbound.id());
        // What was said before something was lost, and comes only now, may have been answered in what is lost. A clock that was ahead
        // then says nothing.
        let said = |r: &Rebase| match inbound {
            Inbound::Message(m) => r.lost_at.is_some() && stored_at >= r.at && m.at < r.at,
            _ => false,
        };
        self.before_rebase = self.state.rebased.as_ref().is_some_and(|r| r.is_after(seq) || said(r));
        self.relived = self.state.rebased.is_some_and(|r| r.cut_after(seq));
        self.emit(Public::Consumed { seq, stored_at, now, id: Some(id), duplicate });
        if duplicate {
            return;
        }
        inbound.id().clone_into(&mut self.cause);
        self.traceparent = inbound.traceparent().map(str::to_owned);
        match inbound {
            Inbound::Command(c) if !self.may_command(c) => {
                self.quarantine(seq, &c.channel, "commands come from the API, and from no channel");
            }
            Inbound::Command(c) => {
                self.by = Some(command::by_whom(&c.actor));
                self.command(c, id, candidate);
            }
            // A provider may still tell us of a channel that left the configuration: its results settle what is unsettled.
            Inbound::Result(r) => self.result(r),
            Inbound::Receipt(r) => self.receipt(r),
            other if self.profile(other.channel()).is_none() => {
                self.quarantine(seq, other.channel(), "the channel is not in the configuration");
            }
            // The answers of agents are commands; what a desk says is no customer's.
            Inbound::Message(_) | Inbound::Consent(_) | Inbound::Echo(_) if self.is_desk(inbound.channel()) => {
                self.quarantine(seq, inbound.channel(), "it is a desk: customers write to channels");
            }
            Inbound::Message(m) => self.said(m),
            Inbound::Consent(c) => self.consent(c),
            Inbound::Echo(e) => self.echo(e),
            Inbound::Unparsed(u) => self.quarantine(seq, &u.channel, &u.reason),
            Inbound::Refused(r) => self.channel_refused(&r.channel, &r.detail),
        }
    }

    /// What was retried out of the quarantine under an id of its own, and was decided under its first one since: frames are lost in
    /// which it could not be. While it is retried it is in the quarantine.
    fn is_decided_again(&self, id: &str) -> bool {
        let Some((first, seq)) = id.rsplit_once(AGAIN) else { return false };
        let held = seq.parse().is_ok_and(|seq: u64| self.state.quarantine.contains_key(&seq));
        !held && self.state.dups.contains(self.state.hash("input", &[first]))
    }

    /// Only the API and the router itself send commands; a chat's own edge says what its widget confirmed.
    fn may_command(&self, c: &Command) -> bool {
        match &c.action {
            Action::Confirmed { target, .. } => {
                let pushes = |p: &ChannelProfile| p.push && !p.external;
                *target == c.channel && self.profile(target).is_some_and(pushes)
            }
            _ => COMMANDERS.contains(&c.channel.as_str()),
        }
    }

    fn poison(&mut self, seq: u64, stored_at: Timestamp, channel: &str, reason: &str) {
        let now = self.state.now.max(stored_at);
        self.emit(Public::Consumed { seq, stored_at, now, id: None, duplicate: false });
        self.quarantine(seq, channel, reason);
    }

    fn quarantine(&mut self, seq: u64, channel: &str, reason: &str) {
        let at = self.now();
        let reason: String = unquoted(reason).chars().take(300).collect();
        self.emit(Public::Quarantined { seq, channel: channel.to_owned(), reason, at });
    }

    pub(crate) fn ignore(&mut self, reason: impl Into<String>) {
        self.emit(Public::Ignored { reason: reason.into() });
    }

    /// What tells a cause that is not an input from one before the last rebase.
    pub(crate) fn since_rebase(&self) -> String {
        self.state.rebased.map_or_else(String::new, |r| format!(":{}", r.number))
    }

    fn lead(&mut self, now: Timestamp, incarnation: u64, channels: &BTreeMap<Name, ChannelProfile>) {
        let now = self.state.now.max(now);
        // Frames that are lost may have held a start of the same number.
        self.cause = format!("lead:{incarnation}{}", self.since_rebase());
        self.emit(Public::Led { now, incarnation });
        if self.state.pack != self.pack.hash {
            self.end_canary_for(CanaryEnd::Replaced);
            self.emit(Public::PackInForce { hash: self.pack.hash.clone() });
        }
        if self.state.trying().is_some_and(|c| self.tried.is_none_or(|p| p.hash != c.pack)) {
            self.end_canary_for(CanaryEnd::Unreadable);
        }
        let live: BTreeMap<&Name, &ChannelProfile> =
            self.state.channels.iter().filter(|(_, c)| !c.removed).map(|(n, c)| (n, &c.profile)).collect();
        if !live.iter().map(|(n, p)| (*n, *p)).eq(channels.iter()) {
            self.emit(Public::ChannelsInForce { channels: channels.clone() });
        }
        self.after_reading_again();
    }

    /// The configuration or the rules were read again: what a provider refused may be mended now, conversations of queues and
    /// agents that the pack does not have move, and everything may be assigned anew.
    pub(crate) fn after_reading_again(&mut self) {
        let channels = self.state.channels.iter();
        let refused = channels.filter(|(_, c)| c.paused.as_deref().is_some_and(|p| p != command::PAUSED_BY_OPERATOR));
        let refused: Vec<Name> = refused.map(|(name, _)| name.clone()).collect();
        for channel in refused {
            self.emit(Public::ChannelHealth { channel, failures: 0, probe_at: None, paused: None });
        }
        self.release.extend(self.state.channels.keys().cloned());
        self.somebody_freed();
        self.move_stranded();
        let gone: Vec<Name> =
            self.state.agents.keys().filter(|a| !self.pack.agents.contains_key(*a)).cloned().collect();
        for agent in gone {
            if self.state.agents.get(&agent).is_some_and(|a| a.presence != Presence::Offline || a.load > 0) {
                let at = self.now();
                self.emit(Public::PresenceChanged {
                    agent: agent.clone(),
                    presence: Presence::Offline,
                    named: None,
                    at,
                    lapsed: false,
                });
                if self.events.len() < ENOUGH {
                    self.give_back(&agent);
                } else {
                    let until = self.now().plus(1);
                    self.emit(Public::GraceBegan { agent, until });
                }
            }
        }
        self.rename_presences();
        self.begin_graces();
    }

    /// Who is in a presence that the pack does not have, or that counts as something else in it, is in what it counted as, or
    /// counts as now; but a pack makes nobody available who is not there.
    fn rename_presences(&mut self) {
        let moved = self.state.agents.iter().filter_map(|(agent, a)| {
            let name = a.named.as_ref()?;
            let known = self.pack.presences.find(name);
            let now = known.filter(|(now, _)| *now != Presence::Available || a.presence == *now);
            let now = now.unwrap_or((a.presence, None));
            (now != (a.presence, Some(name.clone()))).then(|| (agent.clone(), now))
        });
        for (agent, (presence, named)) in moved.collect::<Vec<_>>() {
            let (before, at) = (self.agent_state(&agent), self.now());
            if before.presence != presence && self.events.len() < ENOUGH {
                self.set_presence(&agent, presence, named, false);
                continue;
            }
            // Only another word for it: what they wrap up, and the offers that they let lapse, stay. Of many who leave at once the offers
            // end with their time.
            self.emit(Public::PresenceChanged { agent: agent.clone(), presence, named, at, lapsed: true });
            if before.presence == presence && before.wrap_until.is_some() {
                self.emit(Public::WrapUp { agent, until: before.wrap_until });
            } else if presence == Presence::Offline {
                let until = before.grace_until.unwrap_or(at.plus(self.pack.presences.grace_ms));
                self.emit(Public::GraceBegan { agent, until });
            }
        }
    }

    /// Nobody keeps for ever what they bear while they are offline, also where an earlier build let them.
    fn begin_graces(&mut self) {
        let absent = self.state.agents.iter().filter(|(_, a)| a.presence == Presence::Offline && a.load > 0);
        let absent: Vec<Name> = absent.map(|(name, _)| name.clone()).collect();
        for agent in absent {
            if self.events.len() >= ENOUGH {
                break;
            }
            self.begin_grace(&agent);
        }
    }

    /// What waits in a queue that its pack does not have moves to the default queue, and what waits in one whose order changed stands
    /// there by the new one, in bounded steps. What is left moves with a timer, for nobody gives it away where it is.
    pub(crate) fn move_stranded(&mut self) {
        let waiting: Vec<ConvId> = stranded(&self.state, self.packs()).take(STEP).map(|key| key.conv).collect();
        for conv in waiting {
            if self.events.len() >= ENOUGH {
                break;
            }
            if !self.stands_by_the_order(conv) {
                self.enqueue_default(conv, Why::Vanished);
            }
        }
        if self.state.assign_at.is_none() && stranded(&self.state, self.packs()).next().is_some() {
            let at = Some(self.now().plus(1));
            self.emit(Public::AssignAgain { at });
        }
    }

    /// What every decision ends with: assignments, what rules say to them, and releases that it made possible.
    fn settle_effects(&mut self) {
        self.assign_pass();
        self.follow_up_pass();
        self.release_pass();
    }

    pub(crate) fn answer(&mut self, command: KeyHash, body: Option<String>, reply: Reply) {
        self.emit(Public::Answered { command, body, reply });
    }
}

#[cfg(test)]
mod tests {
    use super::{lacks, unquoted};
    use std::collections::BTreeMap;

    #[test]
    fn whoever_names_what_is_not_there_is_told_what_is() {
        let known = |n: usize| (0..n).map(|n| (format!("a{n:02}"), ())).collect::<BTreeMap<_, _>>();
        assert_eq!(lacks("agent", "anne", &known(0)), "the pack has no agent `anne`");
        assert_eq!(lacks("agent", "anne", &known(2)), "the pack has no agent `anne`; its agents are a00, a01");
        let many = lacks("queue", "x", &known(22));
        assert!(many.ends_with("a18, a19 and 2 more") && !many.contains("a20"), "{many}");
    }

    #[test]
    fn a_reason_keeps_nothing_that_it_quotes() {
        for (said, kept) in [
            ("no MessageSid", "no MessageSid"),
            ("invalid type: string \"my card is 4111\", expected u64", "invalid type: string \"…\", expected u64"),
            ("unknown field `secret`, and “more”", "unknown field `…`, and “…”"),
            ("cut off: \"my card", "cut off: \""),
            ("another type: `text` at line 1", "another type: `text` at line 1"),
            ("another type: `content.attachments.size`", "another type: `content.attachments.size`"),
            ("another type: `content.card-4111.text`", "another type: `content.…`"),
            ("no text: \"text\", `text my card`", "no text: \"…\", `…`"),
        ] {
            assert_eq!(unquoted(said), kept);
        }
    }
}
