//! The promises of the design as predicates over a finished simulation.

use super::packs::{ADDRESS_REPLIES, AUTO_REPLIES, PING_PONG, packs};
use super::provider::{counts, key};
use super::world::{CHANNEL, Lived, SALT, World};
use crate::log::frame::id_of;
use crate::log::memory::MemoryLog;
use crate::log::{Log, Seq};
use crate::router::Codec;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use switchboard_envelope::{Author, Inbound, Outcome, Timestamp};
use switchboard_routing_rules::RulePack;
use switchboard_routing_rules::decide::CLOCK_AHEAD_MS;
use switchboard_routing_rules::event::{DeadReason, Event, Private, Public, Why};
use switchboard_routing_rules::ids::{ContactId, ConvId, MessageId};
use switchboard_routing_rules::invariants::{
    Broken, ClockWatch, check_invariants, given_beyond, overtaken, released_within,
};
use switchboard_routing_rules::state::{InForce, State};

/// Frames after which a snapshot is taken, to go on from it.
const SNAPSHOTS: [Seq; 4] = [5, 25, 125, 625];

/// Everything that LOG says, in order.
struct Story {
    events: Vec<Event>,
    folded: State,
    /// The same from a snapshot on the way, and what came after it.
    resumed: Option<State>,
    /// Records of IN in the quarantine because their channel had left the configuration.
    unconfigured: BTreeSet<Seq>,
    /// What broke a promise while it was told.
    broken: Option<Broken>,
    /// How many states of processes were compared with it.
    compared: usize,
}

/// How many states of processes were compared with what LOG says.
pub(super) async fn check(world: &World) -> Result<usize, String> {
    let (seq, live) = (world.end.0, world.end.1.as_ref());
    let story = read(&world.log, &world.lived(), &world.ledger.machines).await?;
    if let Some((id, what)) = story.broken {
        return Err(format!("{id}: {what}"));
    }
    i1_nothing_accepted_is_lost(world, &story)?;
    i1_what_cannot_be_decided_is_kept(world, &story)?;
    i2_nothing_is_decided_twice(&story)?;
    i3_nothing_is_sent_twice(world, &story)?;
    i3_what_is_called_sent_was_sent(world, &story)?;
    i4_inbound_order(world, &story)?;
    i4_outbound_order(world, &story)?;
    i5_to_i10(live)?;
    i6_no_deadline_is_forgotten(live)?;
    i11_state_is_the_fold(seq, live, &story)?;
    i11_nothing_public_depends_on_what_is_sealed(&story)?;
    i12_every_send_ends(live, &story)?;
    i13_a_cut_log_is_rebased(world, &story)?;
    Ok(story.compared)
}

/// The ids of messages that IN holds, and of those that LOG holds.
pub(super) async fn known(log: &MemoryLog) -> Result<(BTreeSet<String>, BTreeSet<String>), String> {
    let records = log.read_in(0, 100_000).await.map_err(|e| e.to_string())?;
    let kept = records.iter().filter_map(|r| Inbound::from_slice(&r.data).ok().map(|i| i.id().to_owned())).collect();
    Ok((kept, received(&read(log, &[], &BTreeSet::new()).await?).into_iter().map(|(_, _, id)| id).collect()))
}

/// The number of the last rebase that LOG holds.
pub(super) async fn rebases(log: &MemoryLog) -> Result<u64, String> {
    Ok(read(log, &[], &BTreeSet::new()).await?.folded.rebased.map_or(0, |r| r.number))
}

/// What LOG says, and what the provider counted, a line each.
pub(super) async fn tell(world: &World) -> Result<Vec<String>, String> {
    let codec = Codec::new(Arc::new(world.log.clone()));
    let mut lines = vec![];
    for frame in world.log.every_frame() {
        let events = codec.decode(&frame).await.map_err(|e| e.to_string())?;
        lines.extend(events.into_iter().map(|event| format!("{} {:?}", frame.seq, event.public)));
    }
    lines.extend(world.provider.book().delivered.iter().map(|d| format!("delivered {d:?}")));
    Ok(lines)
}

/// Folds LOG, and compares what processes held after a frame with what it says.
async fn read(log: &MemoryLog, lived: &[Lived], machines: &BTreeSet<String>) -> Result<Story, String> {
    let codec = Codec::new(Arc::new(log.clone()));
    let mut story = Story {
        events: vec![],
        folded: State::new(SALT),
        resumed: None,
        unconfigured: BTreeSet::new(),
        broken: None,
        compared: 0,
    };
    let (mut clocks, mut replies) = (ClockWatch::default(), Replies::default());
    for frame in &log.every_frame() {
        for event in codec.decode(frame).await.map_err(|e| format!("I11: frame {}: {e}", frame.seq))? {
            let given = given(&story.folded, story.events.last().map(|e| &e.public), &event.public)?;
            story.folded.apply(&event);
            story.resumed.iter_mut().for_each(|state| state.apply(&event));
            story.broken = story.broken.or(given).or_else(|| replies.see(&event, machines));
            let late = clocks.see(story.folded.now, &event.public);
            let crowd = released_within(&story.folded, &event.public);
            story.broken = story.broken.or(late).or(crowd).or_else(|| other_pack(&story.folded, &event.public));
            match event.public {
                Public::Quarantined { seq, .. } if story.folded.channels.get(CHANNEL).is_none_or(|c| c.removed) => {
                    story.unconfigured.insert(seq);
                }
                Public::Rebased { cursor, .. } => story.unconfigured.retain(|seq| *seq <= cursor),
                _ => {}
            }
            story.events.push(event);
        }
        for lived in lived.iter().filter(|l| l.at == frame.seq && l.frame == id_of(frame)) {
            let parts = |s: &State| s.to_parts().map_err(|e| e.to_string());
            story.compared += 1;
            if parts(&lived.state)? != parts(&story.folded)? {
                let what = format!("what a process held after frame {} is not the fold of the log", frame.seq);
                story.broken = story.broken.or(Some(("I11", what)));
            }
        }
        if SNAPSHOTS.contains(&frame.seq) {
            let parts = story.folded.to_parts().map_err(|e| e.to_string())?;
            let read = State::from_parts(SALT, &parts.public, &parts.private).map_err(|e| e.to_string())?;
            story.resumed = Some(read);
        }
    }
    Ok(story)
}

/// I7 and I17: who is given something has room for it, and nobody whom they could take has waited longer.
fn given(before: &State, last: Option<&Public>, event: &Public) -> Result<Option<Broken>, String> {
    if !matches!(event, Public::Offered { .. } | Public::Assigned { .. }) {
        return Ok(None);
    }
    // Whoever was offered it bore it, also where a smaller pack came since.
    if let (Some(Public::OfferEnded { conv, agent, .. }), Public::Assigned { conv: given, agent: to, why, .. }) =
        (last, event)
        && (conv, agent) == (given, to)
        && matches!(why, Why::Accepted | Why::Taken | Why::CustomerWrote | Why::Transferred)
    {
        return Ok(None);
    }
    let packs = packs()?;
    let in_force = in_force(before, &packs)?;
    Ok(given_beyond(before, event, in_force.pack).or_else(|| overtaken(before, event, in_force)))
}

/// The packs by which a state is decided.
fn in_force<'p>(state: &State, packs: &'p [Arc<RulePack>]) -> Result<InForce<'p>, String> {
    let known = |hash: &str| packs.iter().find(|p| p.hash() == hash).map(AsRef::as_ref);
    let pack = known(&state.pack).ok_or("I16: a pack is in force that nobody put there")?;
    Ok(InForce { pack, tried: state.trying().and_then(|c| known(&c.pack)) })
}

/// I18: what a machine wrote is never answered automatically, nobody gets more automatic replies a day than the pack allows, whichever
/// conversation they are of, and whoever answers them as machines do gets none before a person of ours wrote.
#[derive(Default)]
struct Replies {
    /// What the input is that is decided: a machine's message.
    automatic: bool,
    of: BTreeMap<ConvId, ContactId>,
    sent: BTreeMap<(ConvId, i64), u32>,
    to: BTreeMap<(ContactId, i64), u32>,
    rallies: BTreeMap<ConvId, Rally>,
    /// Who has the addresses of several: an address has its own budget.
    merged: BTreeSet<ContactId>,
}

/// Automatic replies in a row, as one who only listens tells them.
#[derive(Default)]
struct Rally {
    /// When the latest was sent that nothing was said after.
    answered_at: Option<Timestamp>,
    text: String,
    returned: u32,
}

/// So fast nobody answers several times in a row.
const AT_ONCE_MS: i64 = 15_000;

impl Replies {
    fn see(&mut self, event: &Event, machines: &BTreeSet<String>) -> Option<Broken> {
        match &event.public {
            Public::Consumed { .. } | Public::Ticked { .. } => self.automatic = false,
            Public::Opened { conv, contact, .. } => drop(self.of.insert(*conv, *contact)),
            Public::ContactMerged { into, .. } => drop(self.merged.insert(*into)),
            Public::Received { conv, at, automatic, .. } => {
                self.automatic = *automatic;
                let Some((_, Private::Received { id, content, said_at, .. })) = &event.private else { return None };
                self.automatic |= machines.contains(id);
                if !automatic {
                    self.rallies.entry(*conv).or_default().hear(said_at.unwrap_or(*at), &content.text);
                }
            }
            // Days and times are others then.
            Public::TimeSetBack { .. } => {
                let Replies { automatic, of, merged, .. } = std::mem::take(self);
                *self = Replies { automatic, of, merged, ..Replies::default() };
            }
            Public::SendQueued { conv, author: Author::Auto { .. }, resends: None, notice: false, at, .. } => {
                return self.replied(*conv, *at);
            }
            Public::SendQueued { conv, author, .. } if !matches!(author, Author::Auto { .. }) => {
                self.rallies.remove(conv);
            }
            _ => {}
        }
        None
    }

    fn replied(&mut self, conv: ConvId, at: Timestamp) -> Option<Broken> {
        if self.automatic {
            return Some(("I18", format!("{conv}: a machine's message was answered automatically")));
        }
        let today = at.0.div_euclid(86_400_000);
        let sent = self.sent.entry((conv, today)).or_default();
        *sent += 1;
        if *sent > AUTO_REPLIES {
            return Some(("I18", format!("{conv}: {sent} automatic replies in a day")));
        }
        if let Some(contact) = self.of.get(&conv).filter(|contact| !self.merged.contains(contact)) {
            let to = self.to.entry((*contact, today)).or_default();
            *to += 1;
            if *to > ADDRESS_REPLIES {
                return Some(("I18", format!("{conv}: its customer got {to} automatic replies in a day")));
            }
        }
        let rally = self.rallies.entry(conv).or_default();
        rally.answered_at = Some(at);
        let machine = rally.returned >= PING_PONG;
        machine.then(|| ("I18", format!("{conv}: {} automatic replies were answered by a machine", rally.returned)))
    }
}

impl Rally {
    fn hear(&mut self, at: Timestamp, text: &str) {
        if let Some(sent) = self.answered_at.take().filter(|_| self.returned < PING_PONG) {
            // What was said before the reply is no answer to it; providers tell whole seconds.
            let at_once = (-1_000..=AT_ONCE_MS).contains(&at.since(sent));
            let machine = at_once || self.text == text;
            self.returned = if machine { self.returned + 1 } else { 0 };
        }
        text.clone_into(&mut self.text);
    }
}

/// I16: while a pack is tried, each conversation is decided by the one that was drawn for it, by whichever router.
fn other_pack(state: &State, event: &Public) -> Option<Broken> {
    let Public::Decided { conv, pack, .. } = event else { return None };
    let trial = state.conversation(*conv)?.trial;
    let wanted = state.trying().filter(|c| c.tries(trial)).map_or(&state.pack, |c| &c.pack);
    (pack != wanted).then(|| ("I16", format!("{conv} was decided by pack {pack}, and {wanted} is to decide it")))
}

fn received(story: &Story) -> Vec<(ConvId, MessageId, String)> {
    let mut all = vec![];
    for e in &story.events {
        if let (Public::Received { conv, message, .. }, Some((_, Private::Received { id, .. }))) =
            (&e.public, &e.private)
        {
            all.push((*conv, *message, id.clone()));
        }
    }
    all
}

/// The ids of these records of IN.
fn ids(world: &World, seqs: &BTreeSet<Seq>) -> BTreeSet<String> {
    let records = world.log.everything_in();
    let named = records.iter().filter(|r| seqs.contains(&r.seq));
    named.filter_map(|r| Inbound::from_slice(&r.data).ok().map(|i| i.id().to_owned())).collect()
}

fn i1_nothing_accepted_is_lost(world: &World, story: &Story) -> Result<(), String> {
    let mut seen: BTreeSet<String> = received(story).into_iter().map(|(_, _, id)| id).collect();
    seen.append(&mut ids(world, &story.unconfigured));
    let decidable = |id: &&String| !world.ledger.tripping.contains(*id);
    match world.ledger.accepted.values().flatten().filter(decidable).find(|id| !seen.contains(*id)) {
        Some(id) => Err(format!("I1: {id} was accepted and is in no conversation")),
        None => Ok(()),
    }
}

/// A message whose decision panics is in the quarantine with its bytes, and it alone: nothing that was decided beside it in the
/// same frame is lost or done twice, which the other promises say.
fn i1_what_cannot_be_decided_is_kept(world: &World, story: &Story) -> Result<(), String> {
    let mut held: BTreeSet<Seq> = BTreeSet::new();
    for event in &story.events {
        match event.public {
            Public::Quarantined { seq, .. } => drop(held.insert(seq)),
            // Later records of IN are others since.
            Public::Rebased { cursor, .. } => held.retain(|seq| *seq <= cursor),
            _ => {}
        }
    }
    let held = ids(world, &held);
    let mut meant = world.ledger.tripping.clone();
    meant.append(&mut ids(world, &story.unconfigured));
    if let Some(id) = held.difference(&meant).next() {
        return Err(format!("I1: {id} was quarantined, and could have been decided"));
    }
    match world.ledger.accepted.values().flatten().find(|id| world.ledger.tripping.contains(*id) && !held.contains(*id))
    {
        Some(id) => Err(format!("I1: {id} cannot be decided, and is not in the quarantine")),
        None => Ok(()),
    }
}

fn i2_nothing_is_decided_twice(story: &Story) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for (_, _, id) in received(story) {
        if !seen.insert(id.clone()) {
            return Err(format!("I2: {id} was routed twice"));
        }
    }
    let mut decided = BTreeSet::new();
    for e in &story.events {
        if let Public::Decided { message, .. } = &e.public
            && !decided.insert(*message)
        {
            return Err(format!("I2: {message} was decided twice"));
        }
    }
    Ok(())
}

fn i3_nothing_is_sent_twice(world: &World, _: &Story) -> Result<(), String> {
    match counts(&world.provider.book()).into_iter().find(|(_, n)| *n > 1) {
        Some((send, n)) => Err(format!("I3: {send} was sent {n} times")),
        None => Ok(()),
    }
}

fn i3_what_is_called_sent_was_sent(world: &World, story: &Story) -> Result<(), String> {
    let sent = counts(&world.provider.book());
    let was = |message: &MessageId, part: u16| sent.contains_key(&key(&message.to_string(), part));
    // How many parts each has, and at which one it is.
    let mut parts: BTreeMap<MessageId, (u16, u16)> = BTreeMap::new();
    for e in &story.events {
        match &e.public {
            Public::SendQueued { message, parts: of, .. } => drop(parts.insert(*message, (*of, 1))),
            Public::AttemptEnded { message, part, outcome: Outcome::Accepted, .. } => {
                parts.entry(*message).and_modify(|(_, at)| *at = part + 1);
            }
            Public::Sent { message, .. } => {
                let of = parts.get(message).map_or(1, |(of, _)| *of);
                if let Some(part) = (1..=of).find(|part| !was(message, *part)) {
                    return Err(format!("I3: {message} is called sent, and the provider never saw its part {part}"));
                }
            }
            Public::Dead { message, reason, .. } if !matches!(reason, DeadReason::Unknown | DeadReason::Failed) => {
                let at = parts.get(message).map_or(1, |(_, at)| *at);
                if was(message, at) {
                    return Err(format!("I3: part {at} of {message} is called not sent, and the provider sent it"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Inbound order is the order of IN.
fn i4_inbound_order(world: &World, story: &Story) -> Result<(), String> {
    let records = world.log.everything_in();
    let mut place = BTreeMap::new();
    for r in &records {
        if let Ok(Inbound::Message(m)) = Inbound::from_slice(&r.data) {
            place.entry(m.id.clone()).or_insert(r.seq);
        }
    }
    let mut last: BTreeMap<ConvId, u64> = BTreeMap::new();
    for (conv, _, id) in received(story) {
        let Some(at) = place.get(&id) else { continue };
        if last.insert(conv, *at).is_some_and(|before| before > *at) {
            return Err(format!("I4: {id} overtook an earlier message of {conv}"));
        }
    }
    Ok(())
}

/// The provider got the messages of a conversation in the order in which they were accepted for sending, and a desk its notices of
/// it.
fn i4_outbound_order(world: &World, story: &Story) -> Result<(), String> {
    let mut rank = BTreeMap::new();
    let mut revived = BTreeSet::new();
    for e in &story.events {
        match &e.public {
            Public::SendQueued { message, conv, .. } => {
                let next = rank.len();
                rank.insert(message.to_string(), (next, *conv));
            }
            // An attempt that was given up as unknown may turn out sent, or be released again, after its lane went on.
            Public::Dead { message, .. } => drop(revived.insert(message.to_string())),
            _ => {}
        }
    }
    let mut last: BTreeMap<(ConvId, String), (usize, u16)> = BTreeMap::new();
    // What became of earlier ones on their way was in frames that are lost, such as that one was given up and released again.
    for d in world.provider.book().delivered.iter().skip(world.ledger.before_cut) {
        if revived.contains(&d.send) {
            continue;
        }
        let Some((place, conv)) = rank.get(&d.send) else {
            // The frame that released it may be lost; it is not sent again, which I3 says.
            if world.ledger.cut.is_some() {
                continue;
            }
            return Err(format!("I3: the provider got {}, which no frame released", d.send));
        };
        let place = (*place, d.part);
        if last.insert((*conv, d.channel.clone()), place).is_some_and(|before| before > place) {
            return Err(format!("I4: {} overtook an earlier message of {conv}", d.key()));
        }
    }
    Ok(())
}

fn i5_to_i10(live: &State) -> Result<(), String> {
    let packs = packs()?;
    match check_invariants(live, in_force(live, &packs)?).first() {
        Some((id, what)) => Err(format!("{id}: {what}")),
        None => Ok(()),
    }
}

/// At a quiet moment nothing that was due is still waiting to be done.
fn i6_no_deadline_is_forgotten(live: &State) -> Result<(), String> {
    let now = crate::clock::now();
    let late = live.conversations.values().find(|c| c.next_deadline().is_some_and(|at| now.since(at) > 60_000));
    if let Some(c) = late {
        return Err(format!("I6: {} ({}) was due at {:?}", c.id, c.status.as_str(), c.next_deadline()));
    }
    // The longest wait of all: for a customer's answer.
    let longest = now.plus(14 * 86_400_000 + 60_000);
    let far = live.conversations.values().find(|c| c.next_deadline().is_some_and(|at| at > longest));
    if let Some(c) = far {
        return Err(format!("I6: {} ({}) waits until {:?}", c.id, c.status.as_str(), c.next_deadline()));
    }
    if live.now.since(now) > CLOCK_AHEAD_MS {
        return Err(format!("I6: the router's time is {}, and it is {now}", live.now));
    }
    match live.next_timer().filter(|at| now.since(*at) > 60_000) {
        Some(at) => Err(format!("I6: a timer of {at} did not fire by {now}")),
        None => Ok(()),
    }
}

fn i11_state_is_the_fold(seq: Seq, live: &State, story: &Story) -> Result<(), String> {
    let parts = |s: &State| s.to_parts().map_err(|e| e.to_string());
    // Stopping may have folded a little more than the state that was looked at.
    if story.folded.cursor.seq == live.cursor.seq
        && story.folded.now == live.now
        && parts(&story.folded)? != parts(live)?
    {
        return Err(format!("I11: the state after frame {seq} is not the fold of the log"));
    }
    let written = parts(&story.folded)?;
    State::check_public(&written.public).map_err(|e| format!("I11: {e}"))?;
    written.private.iter().try_for_each(|(_, p)| State::check_private(p)).map_err(|e| format!("I11: {e}"))?;
    let again = State::from_parts(SALT, &written.public, &written.private).map_err(|e| e.to_string())?;
    if again != story.folded {
        return Err("I11: a snapshot does not give the state that it was made of".into());
    }
    match &story.resumed {
        Some(resumed) if parts(resumed)? != written => {
            Err("I11: a snapshot and what came after it is another state".into())
        }
        _ => Ok(()),
    }
}

/// Folding without the keys of some, or of all, gives the same public state: erasing somebody changes no decision about others.
fn i11_nothing_public_depends_on_what_is_sealed(story: &Story) -> Result<(), String> {
    let people: BTreeSet<ContactId> = story.events.iter().filter_map(|e| Some(e.private.as_ref()?.0)).collect();
    let public = |s: &State| {
        let mut bytes = vec![];
        s.write_public(&mut bytes).map_err(|e| e.to_string()).map(|()| bytes)
    };
    let wanted = public(&story.folded)?;
    for erased in [people.iter().next().copied(), None] {
        let mut state = State::new(SALT);
        for event in &story.events {
            let sealed = event.private.as_ref().filter(|(contact, _)| erased.is_some_and(|e| e != *contact));
            state.apply(&Event { public: event.public.clone(), private: sealed.cloned() });
        }
        if public(&state)? != wanted {
            return Err(format!("I11: the public state depends on what is sealed of {erased:?}"));
        }
    }
    Ok(())
}

fn i12_every_send_ends(live: &State, story: &Story) -> Result<(), String> {
    let mut open = BTreeMap::new();
    for e in &story.events {
        match &e.public {
            Public::SendQueued { message, .. } => drop(open.insert(*message, "queued")),
            Public::Sent { message, .. } | Public::DeadCleared { message, .. } => drop(open.remove(message)),
            Public::Dead { message, .. } => {
                if let Some(state) = open.get_mut(message) {
                    *state = "dead";
                }
            }
            _ => {}
        }
    }
    for (message, state) in open {
        let listed = live.sends.get(&message).is_some_and(|s| s.is_dead());
        if state != "dead" || !listed {
            return Err(format!("I12: {message} was accepted for sending, and is neither sent nor a dead letter"));
        }
    }
    Ok(())
}

/// Frames that are lost were read, and may have been acted on: before anything else a router says so.
fn i13_a_cut_log_is_rebased(world: &World, story: &Story) -> Result<(), String> {
    let Some(cut) = world.ledger.cut else { return Ok(()) };
    let answers = |e: &Event| matches!(e.public, Public::Rebased { frame, cut: true, .. } if frame > cut);
    match story.events.iter().any(answers) {
        true => Ok(()),
        false => Err(format!("I13: frames after {cut} were lost, and no router rebased")),
    }
}
