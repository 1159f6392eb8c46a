//! Going on from a log that is not the one that was written last: nothing is sent twice for it, and nothing is forgotten.

use std::collections::BTreeMap;
use switchboard_envelope::{
    Action, Actor, Address, Attachment, AttemptResult, ChannelProfile, Command, Content, Inbound, Message, Outcome,
    Raw, Scope, Timestamp, Unparsed, Visibility,
};
use switchboard_routing_rules::event::{DeadReason, Event, NoReply, Public};
use switchboard_routing_rules::ids::{MessageId, Salt};
use switchboard_routing_rules::invariants::check_invariants;
use switchboard_routing_rules::pack::{Environment, RulePack};
use switchboard_routing_rules::state::{Cursor, Phase, Rebase};
use switchboard_routing_rules::{Input, State, Verdict, decide};

const CHANNEL: &str = "sms";
const ANN: &str = "+15551230001";
const START: i64 = 1_800_000_000_000;
const PACK: &str = "zone: UTC\nqueues: { q: {} }\nagents: { ann: { capacity: 10 } }\nreplies: { refund: We look at it. }\n\
                    rules: [ { name: R, when: { text: { word: refund } }, then: { reply: refund } } ]\ndefault: { queue: q }\n";

/// One workspace, decided input by input.
#[derive(Clone)]
struct Life {
    state: State,
    seq: u64,
    /// What IN holds beyond it at a rebase.
    unread: u64,
    now: Timestamp,
}

fn pack() -> RulePack {
    let files = [("a.yaml".to_owned(), PACK.as_bytes().to_vec())];
    RulePack::load(&files, &Environment::default()).expect("a pack").pack
}

impl Life {
    fn new() -> Life {
        Life::on(ChannelProfile::new("sms", "phone"))
    }

    fn on(channel: ChannelProfile) -> Life {
        let channels = BTreeMap::from([(CHANNEL.to_owned(), channel)]);
        let now = Timestamp(START);
        let lead = Input::Lead { now, incarnation: 1, channels: &channels };
        Life { state: decide(State::new(Salt([7; 16])), &lead, &pack()).after, seq: 0, unread: 0, now }
    }

    fn takes(&mut self, input: &Input<'_>) -> Vec<Event> {
        let decision = decide(self.state.clone(), input, &pack());
        self.state = decision.after;
        assert_eq!(check_invariants(&self.state, &pack()), vec![], "after {:?}", decision.events);
        decision.events
    }

    fn hears(&mut self, inbound: &Inbound) -> Vec<Event> {
        self.seq += 1;
        self.now = self.now.plus(1000);
        self.takes(&Input::Record { seq: self.seq, stored_at: self.now, inbound, candidate: None })
    }

    /// A record that IN holds since before the rebase.
    fn hears_again(&mut self, seq: u64, stored_at: Timestamp, inbound: &Inbound) -> Vec<Event> {
        self.takes(&Input::Record { seq, stored_at, inbound, candidate: None })
    }

    fn customer(&mut self, key: &str, text: &str) -> Vec<Event> {
        let message = message(key, text, self.now);
        self.hears(&message)
    }

    fn rebases(&mut self, agrees: u64, cut: bool) -> Vec<Event> {
        self.now = self.now.plus(10_000);
        let agrees = Cursor { seq: agrees, at: self.now, id: None };
        let inn = self.seq + self.unread;
        self.takes(&Input::Rebase {
            now: self.now,
            number: 0,
            frame: 9,
            agrees,
            inn,
            out: 3,
            cut,
            why: "an older copy",
        })
    }

    fn ticks(&mut self, ms: i64) -> Vec<Event> {
        self.now = self.now.plus(ms);
        let now = self.now;
        let overdue: Vec<_> = self.state.overdue_attempts(now).map(|s| (s.id, s.part, s.n)).collect();
        let mut events = vec![];
        for (message, part, n) in overdue {
            events.extend(self.takes(&Input::Verdict { now, message, part, n, verdict: Verdict::Unknown }));
        }
        events.extend(self.takes(&Input::Timers { now }));
        events
    }

    fn sends(&self) -> Vec<(MessageId, Phase)> {
        self.state.sends.values().map(|s| (s.id, s.phase.clone())).collect()
    }

    fn result(&mut self, send: MessageId, n: u32, outcome: Outcome) -> Vec<Event> {
        let result = result(send, n, outcome, self.now);
        self.hears(&result)
    }
}

fn message(key: &str, text: &str, at: Timestamp) -> Inbound {
    Inbound::Message(Box::new(Message {
        id: format!("{CHANNEL}:message:{key}"),
        channel: CHANNEL.into(),
        thread: ANN.into(),
        at,
        received_at: at,
        from: Address::new("phone", ANN),
        to: None,
        content: Content::text(text),
        references: vec![],
        provider_id: None,
        visibility: Visibility::Private,
        automatic: false,
        authenticated: None,
        meta: BTreeMap::new(),
        raw: None,
        traceparent: None,
        mail: None,
    }))
}

fn reply(conversation: String, key: &str, at: Timestamp) -> Inbound {
    let (text, attachments, choices) = (key.to_owned(), vec![], vec![]);
    let reply = Action::Reply { conversation, text, attachments, take: true, seen: None, choices, template: None };
    command(key, reply, at)
}

fn command(key: &str, action: Action, at: Timestamp) -> Inbound {
    Inbound::Command(Box::new(Command {
        id: format!("api:command:{key}"),
        channel: "api".into(),
        at,
        actor: Actor { agent: Some("ann".into()), token: None, scope: Scope::Admin },
        action,
        body_hash: None,
        traceparent: None,
    }))
}

fn result(send: MessageId, n: u32, outcome: Outcome, at: Timestamp) -> Inbound {
    Inbound::Result(AttemptResult {
        id: format!("{CHANNEL}:result:{send}.1.{n}:{}", outcome.as_str()),
        channel: CHANNEL.into(),
        send: send.to_string(),
        part: 1,
        n,
        at,
        outcome,
        provider_ids: vec![],
        code: None,
        detail: None,
        retry_after_ms: None,
        channel_refused: false,
        opted_out: false,
        fault: None,
        reconciled: false,
    })
}

fn released(events: &[Event]) -> usize {
    events.iter().filter(|e| matches!(e.public, Public::Released { .. })).count()
}

fn dead(events: &[Event]) -> Vec<DeadReason> {
    events.iter().filter_map(|e| if let Public::Dead { reason, .. } = e.public { Some(reason) } else { None }).collect()
}

fn conversation(life: &Life) -> String {
    life.state.conversations.keys().next().expect("a conversation").to_string()
}

#[test]
fn what_was_on_its_way_becomes_unknown_and_is_not_sent_again() {
    let mut life = Life::new();
    assert_eq!(released(&life.customer("1", "refund")), 1);
    life.rebases(1, false);
    let events = life.ticks(5);
    assert_eq!((dead(&events), released(&events)), (vec![DeadReason::Unknown], 0));
    assert_eq!(released(&life.ticks(3_600_000)), 0);
}

#[test]
fn with_frames_lost_what_seems_to_wait_may_have_been_sent_too() {
    for cut in [false, true] {
        let mut life = Life::new();
        life.customer("1", "refund");
        let first = life.sends()[0].0;
        // A retry that waits, and a reply behind it in its lane.
        life.result(first, 1, Outcome::NotSent);
        let conversation = conversation(&life);
        let behind = reply(conversation, "behind", life.now);
        life.hears(&behind);
        life.rebases(3, cut);
        let events: Vec<Event> = (0..40).flat_map(|_| life.ticks(5000)).collect();
        if cut {
            assert_eq!((released(&events), dead(&events)), (0, vec![DeadReason::Unknown; 2]));
        } else {
            assert!(released(&events) > 0, "LOG says that the retry was not made, and LOG is whole");
        }
    }
}

#[test]
fn a_result_that_in_still_holds_settles_what_is_in_doubt_before_it_is_parked() {
    let mut life = Life::new();
    life.customer("1", "refund");
    let send = life.sends()[0].0;
    let at = life.now;
    life.rebases(1, true);
    // An attempt that this log does not know, for the frame that released it is lost.
    let events = life.hears_again(2, at, &result(send, 4, Outcome::Accepted, at));
    assert!(events.iter().any(|e| matches!(e.public, Public::Sent { .. })), "{events:?}");
    assert!(dead(&life.ticks(5)).is_empty() && life.sends().is_empty());
}

#[test]
fn a_late_not_sent_does_not_send_again_what_a_lost_frame_may_have_retried() {
    let mut life = Life::new();
    life.customer("1", "refund");
    let (send, at) = (life.sends()[0].0, life.now);
    life.rebases(1, true);
    life.hears_again(2, at, &result(send, 1, Outcome::NotSent, at));
    let events: Vec<Event> = (0..40).flat_map(|_| life.ticks(5000)).collect();
    assert_eq!((released(&events), dead(&events)), (0, vec![DeadReason::Unknown]));
}

#[test]
fn messages_dated_before_it_get_no_automatic_reply_and_later_ones_do() {
    for cut in [false, true] {
        let mut life = Life::new();
        life.customer("1", "hello");
        let before = life.now.plus(500);
        life.unread = 1;
        life.rebases(1, cut);
        let events = life.hears_again(2, before, &message("2", "refund", before));
        let refused = |e: &Event| matches!(e.public, Public::NotReplied { why: NoReply::Rebased, .. });
        assert!(events.iter().any(refused) && released(&events) == 0, "{events:?}");
        assert!(events.iter().any(|e| matches!(e.public, Public::Received { .. })), "it is routed all the same");
        life.seq = 2;
        assert_eq!(released(&life.customer("3", "refund please")), 1);
        // What comes late was said before: where something was lost, it may have been answered.
        let events = life.hears(&message("late", "refund", before));
        assert_eq!(events.iter().any(refused), cut, "{events:?}");
    }
}

/// A part of a text of two.
fn part(key: &str, number: u16, at: Timestamp) -> Inbound {
    let Inbound::Message(mut m) = message(key, "my refund, please ", at) else { unreachable!("it is a message") };
    let meta = [("part_of", "7".to_owned()), ("part", number.to_string()), ("parts", "2".to_owned())];
    m.meta = meta.map(|(k, v)| (k.to_owned(), v)).into();
    Inbound::Message(m)
}

#[test]
fn a_text_in_parts_that_may_have_been_answered_in_lost_frames_is_not_answered_again() {
    for completes in [false, true] {
        let mut life = Life::new();
        let first = part("1", 1, life.now);
        life.hears(&first);
        let mut lost = life.clone();
        assert_eq!(released(&lost.ticks(60_000)), 1, "its clock was ahead, so it waited no longer");
        life.rebases(1, true);
        let second = part("2", 2, life.now);
        let events = if completes { life.hears(&second) } else { life.ticks(60_000) };
        let refused = |e: &Event| matches!(e.public, Public::NotReplied { why: NoReply::Rebased, .. });
        assert!(events.iter().any(refused) && released(&events) == 0, "complete: {completes}: {events:?}");
    }
}

#[test]
fn an_answer_that_is_decided_again_is_parked_and_not_sent_again() {
    let mut life = Life::new();
    life.customer("1", "hello");
    let copy = life.clone();
    let answer = reply(conversation(&life), "answer", life.now);
    assert_eq!(released(&life.hears(&answer)), 1, "it went out, in frames that are lost");
    let (lost, at) = (life.sends()[0].0, life.now);

    let mut life = copy;
    life.unread = 1;
    life.rebases(1, true);
    let events = life.hears_again(2, at, &answer);
    assert_eq!((released(&events), life.sends()[0].0), (0, lost), "the same message, under the same id");
    let mut told = life.clone();
    let events = life.ticks(5);
    assert_eq!((released(&events), dead(&events)), (0, vec![DeadReason::Unknown]), "with a person to decide");
    // Where IN holds how it ended, that is believed.
    told.hears_again(3, at, &result(lost, 1, Outcome::Accepted, at));
    assert!(told.sends().is_empty() && dead(&told.ticks(5)).is_empty());
}

/// An answer with two files on a channel that sends each apart, which goes on after a copy that knows only the question; IN holds it.
fn answered_with_files() -> (Life, MessageId, Timestamp) {
    let mut life = Life::on(ChannelProfile { files_apart: true, ..ChannelProfile::new("sms", "phone") });
    life.customer("1", "hello");
    let (answer, at) = (with_files(reply(conversation(&life), "answer", life.now)), life.now);
    life.unread = 5;
    life.rebases(1, true);
    assert_eq!(released(&life.hears_again(2, at, &answer)), 0);
    let send = life.sends()[0].0;
    (life, send, at)
}

fn accepted(send: MessageId, part: u16, at: Timestamp) -> Inbound {
    let Inbound::Result(r) = result(send, 1, Outcome::Accepted, at) else { unreachable!("it is a result") };
    let id = format!("{CHANNEL}:result:{send}.{part}.1:accepted");
    Inbound::Result(AttemptResult { id, part, ..r })
}

#[test]
fn a_later_part_of_an_answer_that_is_decided_again_may_have_been_sent_too() {
    let (mut life, send, at) = answered_with_files();
    let events = life.hears_again(3, at, &accepted(send, 1, at));
    assert_eq!(released(&events), 0, "a lost frame may have released the second: {events:?}");
    let events = life.ticks(5);
    assert_eq!((released(&events), dead(&events)), (0, vec![DeadReason::Unknown]), "with a person to decide");
}

#[test]
fn what_in_holds_of_each_part_ends_an_answer_that_is_decided_again() {
    let (mut life, send, at) = answered_with_files();
    for part in 1..=3 {
        let events = life.hears_again(2 + u64::from(part), at, &accepted(send, part, at));
        assert_eq!((released(&events), dead(&events)), (0, vec![]), "part {part}");
    }
    assert!(life.sends().is_empty() && dead(&life.ticks(5)).is_empty());
}

/// The first answer ended in frames that are lost, after which the second one was sent in part: IN says so of the second only.
#[test]
fn a_part_that_was_sent_behind_what_is_in_doubt_lets_nothing_overtake() {
    let mut life = Life::on(ChannelProfile { files_apart: true, ..ChannelProfile::new("sms", "phone") });
    life.customer("1", "hello");
    let first = reply(conversation(&life), "first", life.now);
    life.hears(&first);
    let first = life.sends()[0].0;
    let second = with_files(reply(conversation(&life), "second", life.now));
    life.hears(&second);
    let (second, at) = (life.sends().into_iter().map(|(id, _)| id).find(|id| *id != first).expect("another"), life.now);
    life.unread = 1;
    life.rebases(3, true);
    let events = life.hears_again(4, at, &accepted(second, 1, at));
    assert_eq!((released(&events), dead(&events)), (0, vec![]), "{events:?}");
    let phase = |life: &Life| life.state.sends.get(&second).map(|s| (s.part, s.phase.clone()));
    assert_eq!(phase(&life), Some((2, Phase::Waiting)), "it waits for the end of the first, with its next part");
    let events: Vec<Event> = (0..3).flat_map(|_| life.ticks(5)).collect();
    assert_eq!((released(&events), dead(&events)), (0, vec![DeadReason::Unknown; 2]), "with a person to decide");
}

/// An answer with two files.
fn with_files(mut answer: Inbound) -> Inbound {
    if let Inbound::Command(c) = &mut answer
        && let Action::Reply { attachments, .. } = &mut c.action
    {
        attachments.extend([Attachment::default(), Attachment::default()]);
    }
    answer
}

#[test]
fn where_the_receiver_drops_repeated_ids_the_same_id_is_sent_again() {
    let mut life = Life::on(ChannelProfile { same_id_retry: true, ..ChannelProfile::new("sms", "phone") });
    life.customer("1", "hello");
    let (answer, at) = (reply(conversation(&life), "answer", life.now), life.now);
    life.unread = 1;
    life.rebases(1, true);
    assert_eq!(released(&life.hears_again(2, at, &answer)), 1);
}

#[test]
fn ids_remove_what_is_read_again() {
    let mut life = Life::new();
    life.customer("1", "refund");
    let at = life.now;
    life.rebases(0, false);
    assert_eq!(life.state.cursor.seq, 0);
    let events = life.hears_again(1, at, &message("1", "refund", at));
    assert!(matches!(events[..], [Event { public: Public::Consumed { duplicate: true, .. }, .. }]), "{events:?}");
    assert_eq!(life.state.cursor.seq, 1);
}

#[test]
fn quarantined_records_that_are_others_now_are_let_go() {
    let mut life = Life::new();
    for seq in [1, 2] {
        let poison = Input::Poison { seq, stored_at: life.now, channel: CHANNEL, reason: "broken" };
        life.takes(&poison);
    }
    life.rebases(1, false);
    assert_eq!(life.state.quarantine.keys().copied().collect::<Vec<_>>(), [1]);
}

#[test]
fn a_snapshot_keeps_when_it_was() {
    let mut life = Life::new();
    life.customer("1", "refund");
    life.rebases(1, true);
    let parts = life.state.to_parts().expect("parts");
    let again = State::from_parts(Salt([7; 16]), &parts.public, &parts.private).expect("a state");
    assert_eq!(again, life.state);
    let rebased = again.rebased.expect("it was rebased");
    assert_eq!((rebased.number, rebased.at, rebased.frame), (1, life.now, 9));
    assert_eq!((rebased.out, rebased.inn, rebased.cut_inn), (3, 1, Some(1)));
    assert_eq!(rebased.lost_at, Some(life.now));
}

/// Before everything was read again that frames which are lost had decided, another rebase can come.
#[test]
fn a_later_rebase_without_a_loss_does_not_make_an_earlier_loss_forgotten() {
    let mut life = Life::new();
    life.customer("1", "hello");
    let (answer, at) = (reply(conversation(&life), "answer", life.now), life.now);
    life.unread = 1;
    life.rebases(1, true);
    life.rebases(1, false);
    assert_eq!(released(&life.hears_again(2, at, &answer)), 0);
    assert_eq!(dead(&life.ticks(5)), [DeadReason::Unknown]);
}

#[test]
fn an_in_that_lacks_what_was_decided_may_lack_more_and_a_later_rebase_does_not_deny_it() {
    let mut life = Life::new();
    for n in ["1", "2", "3"] {
        life.customer(n, "hello");
    }
    let lost_at = |life: &Life| life.state.rebased.expect("it was rebased").lost_at;
    life.rebases(life.state.cursor.seq, false);
    assert_eq!(lost_at(&life), None, "IN and LOG hold everything");
    life.rebases(1, false);
    let then = life.now;
    assert_eq!(lost_at(&life), Some(then));
    life.now = life.now.plus(86_400_000);
    life.rebases(1, false);
    assert_eq!(lost_at(&life), Some(then), "the second rebase lost nothing, the first did");
    life.rebases(1, true);
    assert_eq!(lost_at(&life), Some(life.now), "frames are gone now, too");
}

#[test]
fn a_rebase_of_a_clock_that_was_ahead_takes_nothing_that_comes_later_for_what_was_there_before() {
    let mut life = Life::new();
    life.customer("1", "hello");
    let (now, days) = (life.now, 30 * 86_400_000);
    life.now = now.plus(days);
    life.rebases(1, true);
    life.now = now.plus(60_000);
    let answers = life.customer("2", "refund");
    assert_eq!(released(&answers), 1, "{answers:?}");
    let answer = reply(conversation(&life), "answer", life.now);
    life.hears(&answer);
    assert!(life.state.sends.values().all(|s| !s.doubted), "nor for what may have been sent: {:?}", life.sends());
}

#[test]
fn each_rebase_has_a_higher_number_than_this_log_or_whoever_asked_for_it_knew() {
    let mut life = Life::new();
    let mut numbers = vec![];
    for number in [0, 1, 7, 3, u64::MAX, 0] {
        let (now, agrees) = (life.now, Cursor::default());
        let rebase = Input::Rebase { now, number, frame: 9, agrees, inn: 0, out: 0, cut: true, why: "asked for" };
        life.takes(&rebase);
        numbers.push(life.state.rebased.expect("it was rebased").number);
    }
    assert_eq!(numbers, [1, 2, 7, 8, u64::MAX, u64::MAX]);
}

#[test]
fn what_is_in_quarantine_and_is_read_again_is_in_quarantine_again() {
    let raw = Raw { content_type: "text/plain".into(), blob: None, inline: None, meta: BTreeMap::new() };
    let (id, reason) = ("sms:unparsed:1".to_owned(), "nobody can read it".to_owned());
    let unparsed = Inbound::Unparsed(Unparsed { id, channel: CHANNEL.into(), reason, at: Timestamp(START), raw });
    let mut life = Life::new();
    life.hears(&unparsed);
    let stored_at = life.now;
    life.customer("a", "hello");
    assert!(life.state.quarantine.contains_key(&1));
    // Its record is there, and others are not: it is read from the beginning.
    life.rebases(0, false);
    assert!(life.state.quarantine.is_empty());
    life.hears_again(1, stored_at, &unparsed);
    assert!(life.state.quarantine.contains_key(&1), "it is listed as before");
    life.hears(&unparsed);
    assert_eq!(life.state.quarantine.len(), 1, "what the provider delivers again is a duplicate as ever");
}

#[test]
fn what_was_only_quarantined_is_decided_once_it_can_be_wherever_it_is_read_again() {
    let mut life = Life::new();
    life.customer("a", "hello");
    leads_nothing(&mut life);
    let missed = message("b", "hello?", life.now);
    life.hears(&missed);
    assert!(life.state.quarantine.contains_key(&2), "its channel is not in the configuration");
    let parts = life.state.to_parts().expect("parts");
    life.state = State::from_parts(Salt([7; 16]), &parts.public, &parts.private).expect("a state");
    // IN came back without it; the provider delivers it again, while the channel is still missing, and IN is lost once more.
    for _ in 0..2 {
        life.rebases(1, false);
        life.hears(&missed);
        assert_eq!(life.state.quarantine.len(), 1, "it is kept for whoever looks at what could not be decided");
    }
    life.rebases(1, false);
    let channels = BTreeMap::from([(CHANNEL.to_owned(), ChannelProfile::new("sms", "phone"))]);
    let now = life.now;
    life.takes(&Input::Lead { now, incarnation: 3, channels: &channels });
    let received = |events: &[Event]| events.iter().filter(|e| matches!(e.public, Public::Received { .. })).count();
    assert_eq!(received(&life.hears(&missed)), 1);
    assert!(life.state.quarantine.is_empty());
    assert_eq!(received(&life.hears(&missed)), 0, "from here on it is a duplicate");
}

#[test]
fn what_left_the_quarantine_does_not_come_back_to_it_with_a_rebase() {
    let mut life = Life::new();
    leads_nothing(&mut life);
    let missed = message("b", "hello?", life.now);
    life.hears(&missed);
    let stored_at = life.now;
    let released = Action::Released { quarantined: 1 };
    life.hears(&command("drop", released, life.now));
    assert!(life.state.quarantine.is_empty());
    life.rebases(0, false);
    life.hears_again(1, stored_at, &missed);
    assert!(life.state.quarantine.is_empty(), "somebody dropped it");
}

#[test]
fn what_was_retried_in_lost_frames_and_can_be_decided_now_is_decided_once() {
    let mut life = Life::new();
    leads_nothing(&mut life);
    let missed = message("b", "hello?", life.now);
    let retried = message("b:again-1", "hello?", life.now);
    let mut lost = life.clone();
    lost.hears(&missed);
    let received = |events: &[Event]| events.iter().filter(|e| matches!(e.public, Public::Received { .. })).count();
    let channels = BTreeMap::from([(CHANNEL.to_owned(), ChannelProfile::new("sms", "phone"))]);
    let now = lost.now;
    lost.takes(&Input::Lead { now, incarnation: 3, channels: &channels });
    assert_eq!(received(&lost.hears(&retried)), 1, "as long as it is in the quarantine");
    // LOG came back from before it all, and IN has both.
    life.unread = 2;
    life.rebases(0, true);
    let now = life.now;
    life.takes(&Input::Lead { now, incarnation: 3, channels: &channels });
    assert_eq!(received(&life.hears_again(1, now, &missed)), 1);
    assert_eq!(received(&life.hears_again(2, now, &retried)), 0);
}

/// Leads without any channel.
fn leads_nothing(life: &mut Life) {
    let now = life.now;
    life.takes(&Input::Lead { now, incarnation: 2, channels: &BTreeMap::new() });
}

/// As builds wrote it that did not say when something was lost.
#[derive(serde::Serialize)]
struct Before {
    number: u64,
    at: Timestamp,
    frame: u64,
    out: u64,
    inn: u64,
    cut_inn: Option<u64>,
    rewound: bool,
}

#[test]
fn what_a_snapshot_of_before_says_was_lost_was_lost_at_its_rebase() {
    let read = |cut_inn, rewound| {
        let before = Before { number: 2, at: Timestamp(START), frame: 9, out: 3, inn: 20, cut_inn, rewound };
        let bytes = rmp_serde::to_vec_named(&before).expect("it is written");
        rmp_serde::from_slice::<Rebase>(&bytes).expect("it is read")
    };
    let lost_at = Some(Timestamp(START));
    let none = Rebase { number: 2, at: Timestamp(START), frame: 9, out: 3, inn: 20, cut_inn: None, lost_at: None };
    assert_eq!(read(None, false), none);
    assert_eq!(read(None, true), Rebase { lost_at, ..none });
    assert_eq!(read(Some(20), false), Rebase { cut_inn: Some(20), lost_at, ..none });
    let earlier = Rebase { lost_at: Some(Timestamp(START - 1)), cut_inn: Some(7), ..none };
    let bytes = rmp_serde::to_vec_named(&earlier).expect("it is written");
    assert_eq!(rmp_serde::from_slice::<Rebase>(&bytes).expect("it is read"), earlier, "as it was written");
}
