//! What channels say after a send, and what was written outside: opt-outs that the provider knows, and echoes.

use std::collections::BTreeMap;
use switchboard_envelope::{
    Action, Actor, Address, Attachment, AttemptResult, Author, ChannelProfile, Command, ConsentChange, ConsentState,
    Content, Echo, Inbound, Message, Outcome, Scope, Timestamp, Visibility,
};
use switchboard_routing_rules::event::{DeadReason, Event, Public, Reply, Why};
use switchboard_routing_rules::ids::Salt;
use switchboard_routing_rules::invariants::check_invariants;
use switchboard_routing_rules::pack::{ConvStatus, Environment, RulePack};
use switchboard_routing_rules::{Input, State, decide};

const CHANNEL: &str = "support-sms";
const ANN: &str = "+15551230001";
const START: i64 = 1_800_000_000_000;

/// One workspace, decided input by input.
struct Life {
    state: State,
    pack: RulePack,
    seq: u64,
    now: Timestamp,
}

impl Life {
    fn new() -> Life {
        Life::on(ChannelProfile::new("sms", "phone"))
    }

    fn on(channel: ChannelProfile) -> Life {
        let yaml = "zone: UTC\nqueues: { q: {} }\nagents: { ann: { capacity: 10 } }\ndefault: { queue: q }\n";
        let files = [("a.yaml".to_owned(), yaml.as_bytes().to_vec())];
        let pack = RulePack::load(&files, &Environment::default()).expect("a pack").pack;
        let channels = BTreeMap::from([(CHANNEL.to_owned(), channel)]);
        let now = Timestamp(START);
        let state = State::new(Salt([7; 16]));
        let state = decide(state, &Input::Lead { now, incarnation: 1, channels: &channels }, &pack).after;
        Life { state, pack, seq: 0, now }
    }

    fn hears(&mut self, inbound: &Inbound) -> Vec<Event> {
        self.seq += 1;
        self.now = self.now.plus(1000);
        let input = Input::Record { seq: self.seq, stored_at: self.now, inbound, candidate: None };
        let decision = decide(self.state.clone(), &input, &self.pack);
        self.state = decision.after;
        assert_eq!(check_invariants(&self.state, &self.pack), vec![], "after {inbound:?}");
        decision.events
    }

    fn customer(&mut self, key: &str) {
        let from = Address::new("phone", ANN);
        let message = Message {
            id: format!("{CHANNEL}:message:{key}"),
            channel: CHANNEL.into(),
            thread: ANN.into(),
            at: self.now,
            received_at: self.now,
            from,
            to: None,
            content: Content::text("hello"),
            references: vec![],
            provider_id: Some(key.into()),
            visibility: Visibility::Private,
            automatic: false,
            authenticated: None,
            meta: BTreeMap::new(),
            raw: None,
            traceparent: None,
        };
        self.hears(&Inbound::Message(Box::new(message)));
    }

    /// An agent asks for something; the answer, and what happened.
    fn asks(&mut self, key: &str, action: Action) -> (Reply, Vec<Event>) {
        let command = Command {
            id: format!("api:command:{key}"),
            channel: "api".into(),
            at: self.now,
            actor: Actor { agent: Some("ann".into()), scope: Scope::Admin },
            action,
            body_hash: None,
        };
        let events = self.hears(&Inbound::Command(Box::new(command)));
        let reply = events.iter().find_map(|e| match &e.public {
            Public::Answered { reply, .. } => Some(reply.clone()),
            _ => None,
        });
        (reply.expect("every command is answered"), events)
    }

    /// An agent answers; the status of the command's answer, its code, and the send's id.
    fn answers(&mut self, key: &str, text: &str) -> (u16, String, String) {
        let conversation = self.conversation();
        let action = Action::Reply { conversation, text: text.into(), attachments: vec![], take: false, seen: None };
        let (reply, _) = self.asks(key, action);
        (reply.status, reply.code, reply.ids.get("message").cloned().unwrap_or_default())
    }

    fn result(&mut self, send: &str, outcome: Outcome, opted_out: bool, provider: &[&str]) -> Vec<Event> {
        let result = AttemptResult {
            provider_ids: provider.iter().map(|p| (*p).to_owned()).collect(),
            code: opted_out.then(|| "21610".into()),
            opted_out,
            ..self.ended(send, 1, outcome)
        };
        self.hears(&Inbound::Result(result))
    }

    fn ended(&self, send: &str, n: u32, outcome: Outcome) -> AttemptResult {
        AttemptResult {
            id: format!("{CHANNEL}:result:{send}.1.{n}:{}", outcome.as_str()),
            channel: CHANNEL.into(),
            send: send.into(),
            part: 1,
            n,
            at: self.now,
            outcome,
            provider_ids: vec![],
            code: None,
            detail: None,
            retry_after_ms: None,
            channel_refused: false,
            opted_out: false,
            reconciled: false,
        }
    }

    fn passes(&mut self, ms: i64) -> Vec<Event> {
        self.now = self.now.plus(ms);
        let decision = decide(self.state.clone(), &Input::Timers { now: self.now }, &self.pack);
        self.state = decision.after;
        assert_eq!(check_invariants(&self.state, &self.pack), vec![], "after {ms} ms");
        decision.events
    }

    fn echo(&mut self, sid: &str, text: &str, at: Timestamp) -> Vec<Event> {
        self.hears(&Inbound::Echo(Box::new(Echo {
            id: format!("{CHANNEL}:echo:{sid}"),
            channel: CHANNEL.into(),
            thread: ANN.into(),
            at,
            provider_id: sid.into(),
            send: None,
            part: None,
            n: None,
            to: Address::new("phone", ANN),
            content: Content::text(text),
        })))
    }

    fn conversation(&self) -> String {
        let thread = self.state.thread_hash(CHANNEL, ANN);
        self.state.conversation_of_thread(thread).expect("a conversation").id.to_string()
    }

    fn status(&self) -> ConvStatus {
        self.state.conversation_of_thread(self.state.thread_hash(CHANNEL, ANN)).expect("a conversation").status
    }
}

fn ignored(events: &[Event]) -> bool {
    events.iter().any(|e| matches!(e.public, Public::Ignored { .. }))
}

fn written_elsewhere(events: &[Event]) -> usize {
    events.iter().filter(|e| matches!(&e.public, Public::SendQueued { author: Author::Elsewhere, .. })).count()
}

#[test]
fn a_refusal_for_an_opt_out_is_one_and_start_undoes_it() {
    let mut life = Life::new();
    life.customer("SM1");
    let (status, _, send) = life.answers("1", "hi");
    assert_eq!(status, 202);
    let events = life.result(&send, Outcome::Rejected, true, &[]);
    let changed =
        events.iter().any(|e| matches!(&e.public, Public::ConsentChanged { state: ConsentState::OptedOut, .. }));
    assert!(changed, "{events:?}");
    let (status, code, _) = life.answers("2", "hi again");
    assert_eq!((status, code.as_str()), (422, "opted_out"));

    life.hears(&Inbound::Consent(ConsentChange {
        id: format!("{CHANNEL}:consent:SM2"),
        channel: CHANNEL.into(),
        address: Address::new("phone", ANN),
        state: ConsentState::OptedIn,
        at: life.now,
        reason: Some("START".into()),
    }));
    assert_eq!(life.answers("3", "welcome back").0, 202);
}

#[test]
fn another_refusal_says_nothing_of_consent() {
    let mut life = Life::new();
    life.customer("SM1");
    let (_, _, send) = life.answers("1", "hi");
    life.result(&send, Outcome::Rejected, false, &[]);
    assert_eq!(life.answers("2", "hi again").0, 202);
}

#[test]
fn what_was_written_in_the_providers_tool_belongs_to_the_conversation_and_answers_it() {
    let mut life = Life::new();
    life.customer("SM1");
    assert_eq!(life.status(), ConvStatus::Queued);
    let at = life.now;
    let events = life.echo("SM9", "we are on it", at);
    assert_eq!(written_elsewhere(&events), 1);
    assert!(!events.iter().any(|e| matches!(e.public, Public::Released { .. })), "nothing is sent for it: {events:?}");
    assert_eq!(life.status(), ConvStatus::Pending, "the customer has their answer");
    let again = life.echo("SM9", "we are on it", at);
    assert_eq!(written_elsewhere(&again), 0, "once");
    life.customer("SM2");
    assert_eq!(life.status(), ConvStatus::Queued, "and the next question waits again");
}

#[test]
fn an_echo_to_a_stranger_opens_a_conversation_that_waits_for_them() {
    let mut life = Life::new();
    let at = life.now;
    assert_eq!(written_elsewhere(&life.echo("SM9", "your parcel is here", at)), 1);
    assert_eq!(life.status(), ConvStatus::Pending);
}

#[test]
fn an_echo_of_our_own_send_is_never_taken_for_anothers() {
    let mut life = Life::new();
    life.customer("SM1");
    let (_, _, send) = life.answers("1", "hi");
    let at = life.now;
    // In flight: the result is on its way.
    let events = life.echo("SM5", "hi", at);
    assert!(ignored(&events) && written_elsewhere(&events) == 0, "{events:?}");
    life.result(&send, Outcome::Accepted, false, &["SM6"]);
    assert_eq!(written_elsewhere(&life.echo("SM6", "hi", at)), 0, "known by the provider's id");

    // Lost: it may have been sent, with a text that the provider changed.
    let (_, _, send) = life.answers("2", "“hello”");
    let at = life.now;
    life.result(&send, Outcome::Unknown, false, &[]);
    assert_eq!(written_elsewhere(&life.echo("SM7", "\"hello\"", at)), 0);
    let later = at.plus(10 * 60_000);
    assert_eq!(written_elsewhere(&life.echo("SM8", "“hello”", later)), 0, "the same text, whenever");
    assert_eq!(written_elsewhere(&life.echo("SM10", "something else", later)), 1);
}

#[test]
fn an_echo_from_before_what_is_remembered_changes_nothing() {
    let mut life = Life::new();
    life.customer("SM1");
    let long_ago = life.now.plus(-4 * 86_400_000);
    let events = life.echo("SM9", "we are on it", long_ago);
    assert!(ignored(&events) && written_elsewhere(&events) == 0, "{events:?}");
}

/// As where no public address is configured at which a provider could fetch them.
#[test]
fn a_reply_with_a_file_is_refused_where_the_channel_can_send_none() {
    let no_files = Some("Twilio fetches them from us: set http.public_url".to_owned());
    let mut life = Life::on(ChannelProfile { no_files, ..ChannelProfile::new("sms", "phone") });
    life.customer("1");
    let reply = |life: &Life, attachments| Action::Reply {
        conversation: life.conversation(),
        text: "here it is".into(),
        attachments,
        take: false,
        seen: None,
    };
    let file =
        Attachment { name: "label.pdf".into(), mime: "application/pdf".into(), size: 1, ..Attachment::default() };
    let with_file = reply(&life, vec![file]);
    let (refused, events) = life.asks("with a file", with_file);
    assert_eq!((refused.status, refused.code.as_str()), (422, "attachments"));
    assert!(refused.detail.contains(CHANNEL) && refused.detail.contains("set http.public_url"), "{}", refused.detail);
    assert!(!events.iter().any(|e| matches!(e.public, Public::SendQueued { .. })), "{events:?}");
    let without = reply(&life, vec![]);
    assert_eq!(life.asks("without", without).0.status, 202, "and without the file it goes");
}

#[test]
fn what_is_opened_again_by_hand_says_so() {
    let mut life = Life::new();
    life.customer("1");
    let conversation = life.conversation();
    life.asks("close", Action::Close { conversation: conversation.clone() });
    assert_eq!(life.status(), ConvStatus::Closed);
    let (_, events) = life.asks("reopen", Action::Reopen { conversation });
    let whys: Vec<&Why> = events
        .iter()
        .filter_map(|e| match &e.public {
            Public::Reopened { why, .. } | Public::Queued { why, .. } | Public::Assigned { why, .. } => Some(why),
            _ => None,
        })
        .collect();
    assert_eq!(whys, [&Why::Reopened, &Why::Reopened], "nobody transferred it");
}

/// The numbers of the attempts that were released.
fn released(events: &[Event]) -> Vec<u32> {
    let number = |e: &Event| match &e.public {
        Public::Released { n, .. } => Some(*n),
        _ => None,
    };
    events.iter().filter_map(number).collect()
}

fn dead(events: &[Event]) -> Vec<DeadReason> {
    let reason = |e: &Event| match &e.public {
        Public::Dead { reason, .. } => Some(*reason),
        _ => None,
    };
    events.iter().filter_map(reason).collect()
}

#[test]
fn where_the_receiver_drops_repeats_an_unknown_attempt_is_made_again_and_never_called_unsent() {
    let drops = ChannelProfile { same_id_retry: true, not_after_ms: 60_000, ..ChannelProfile::new("webhook", "phone") };
    for (first, end) in [(Outcome::Unknown, DeadReason::Unknown), (Outcome::NotSent, DeadReason::Expired)] {
        let mut life = Life::on(drops.clone());
        life.customer("SM1");
        let (_, _, send) = life.answers("1", "hi");
        let events = life.result(&send, first, false, &[]);
        assert_eq!(dead(&events), [], "{first:?}: it is tried again");
        assert_eq!(released(&life.passes(5_000)), [2], "{first:?}");
        let second = Inbound::Result(life.ended(&send, 2, Outcome::NotSent));
        life.hears(&second);
        assert_eq!(dead(&life.passes(120_000)), [end], "the first attempt was {first:?}");
    }
    let mut life = Life::on(drops);
    life.customer("SM1");
    let (_, _, send) = life.answers("1", "hi");
    life.result(&send, Outcome::Unknown, false, &[]);
    life.passes(5_000);
    let second = Inbound::Result(life.ended(&send, 2, Outcome::Accepted));
    let events = life.hears(&second);
    assert!(events.iter().any(|e| matches!(e.public, Public::Sent { .. })), "{events:?}");
}

#[test]
fn an_adapter_in_another_process_sends_no_commands() {
    let mut life = Life::on(ChannelProfile { external: true, ..ChannelProfile::new("telegram", "phone") });
    life.customer("SM1");
    let command = Command {
        id: format!("{CHANNEL}:command:1"),
        channel: CHANNEL.into(),
        at: life.now,
        actor: Actor { agent: None, scope: Scope::Admin },
        action: Action::Close { conversation: life.conversation() },
        body_hash: None,
    };
    let events = life.hears(&Inbound::Command(Box::new(command)));
    assert!(events.iter().any(|e| matches!(&e.public, Public::Quarantined { .. })), "{events:?}");
    assert_eq!(life.status(), ConvStatus::Queued);
}
