//! Notices at desks: said once, sent in lanes of their own, and without a word to the customer or a change of the conversation.

use crate::life::{ANN, CHANNEL, Life, dead, released};
use std::sync::Arc;
use switchboard_envelope::{
    Action, Attachment, AttemptResult, Author, ChannelProfile, Echo, Inbound, MailFacts, Outcome, SenderProof,
    Timestamp,
};
use switchboard_routing_rules::event::{DeadReason, Event, Public};
use switchboard_routing_rules::ids::MessageId;
use switchboard_routing_rules::pack::ConvStatus;
use switchboard_routing_rules::state::{Conversation, Phase, SendState};
use switchboard_routing_rules::{Input, State, Verdict, decide};

const MINUTE: i64 = 60_000;
const DESK: &str = "team";

const PACK: &str = r##"
zone: UTC
queues:
  q: { sla: { first_response: 10m, warn: 80%, on_breach: { priority: urgent, notify: { desk: team } } } }
agents:
  ann: { name: Ann Smith, capacity: 10, desks: { team: U024BE7LH } }
  bob: { capacity: 10 }
rules:
  - name: Bank
    when: { text: { contains: bank } }
    then: { queue: q, notify: { desk: team, text: "Fraud? {{ message.text }}" } }
  - name: Call
    when: { text: { contains: alarm } }
    then: { agent: ann, desk: team, queue: q, priority: urgent }
  - name: Twice
    when: { text: { contains: loud } }
    then: { queue: q, notify: [{ desk: team, text: one }, { desk: other, text: one }, { desk: team, text: one }] }
default: { queue: q }
"##;

fn desk() -> ChannelProfile {
    let console = Some("https://desk.shop.example".into());
    ChannelProfile { desk: true, console, ..ChannelProfile::new("slack", "slack") }
}

fn life() -> Life {
    let mut life = Life::with(ChannelProfile::new("sms", "phone"), PACK);
    life.leads_with(&[(DESK, desk()), ("other", desk())]);
    life
}

fn comes(life: &mut Life, agent: &str) -> Vec<Event> {
    let presence = Action::Presence { agent: agent.into(), presence: "available".into() };
    let key = format!("{agent} {}", life.seq);
    life.asks(&key, presence).1
}

/// The notices that an input led to.
fn notices(life: &Life, events: &[Event]) -> Vec<Arc<SendState>> {
    let one = |e: &Event| match &e.public {
        Public::SendQueued { message, notice: true, .. } => life.state.sends.get(message).cloned(),
        _ => None,
    };
    events.iter().filter_map(one).collect()
}

fn only(life: &Life, events: &[Event]) -> Arc<SendState> {
    let mut all = notices(life, events);
    assert_eq!(all.len(), 1, "{events:?}");
    all.remove(0)
}

fn text(send: &SendState) -> String {
    send.private.as_ref().expect("its words").content.text.clone()
}

fn says(life: &mut Life, key: &str, text: &str) -> Vec<Event> {
    life.says(ANN, key, text, |_| {})
}

/// The notices that a text of the customer leads to.
fn tells(life: &mut Life, key: &str, text: &str) -> Vec<Arc<SendState>> {
    let events = says(life, key, text);
    notices(life, &events)
}

fn conv(life: &Life) -> Conversation {
    let thread = life.state.thread_hash(CHANNEL, ANN);
    Conversation::clone(life.state.conversation_of_thread(thread).expect("a conversation"))
}

fn ends(life: &mut Life, send: &SendState, n: u32, outcome: Outcome) -> Vec<Event> {
    let id = send.id.to_string();
    let result = AttemptResult {
        id: format!("{}:result:{id}.1.{n}:{}", send.channel, outcome.as_str()),
        channel: send.channel.clone(),
        ..life.ended(&id, n, outcome)
    };
    life.hears(&Inbound::Result(result))
}

#[test]
fn a_rule_tells_a_desk_in_its_words_with_the_customers_and_a_link() {
    let mut life = life();
    let events = says(&mut life, "1", "my bank\nwrote <!channel>");
    let send = only(&life, &events);
    let id = conv(&life).id;
    let expected = format!(
        "Fraud? my bank\nwrote <!channel>\n{id} · {CHANNEL} · queue q · from {ANN}\n> my bank wrote <!channel>\n\
         https://desk.shop.example/console/inbox/all/{id}"
    );
    assert_eq!(text(&send), expected);
    assert_eq!((send.channel.as_str(), &send.author), (DESK, &Author::Auto { rule: "Bank".into() }));
    assert!(matches!(send.phase, Phase::InFlight { .. }), "{:?}", send.phase);
    // The customer heard nothing, so it is no answer.
    let c = conv(&life);
    assert_eq!((c.last_out.get(), c.last_sent, c.answered, c.auto_replies), (None, None, false, 0));
}

/// A file that a customer attached.
fn file(name: &str, mime: &str) -> Attachment {
    Attachment { name: name.into(), mime: mime.into(), ..Attachment::default() }
}

#[test]
fn a_notice_names_the_files_of_the_latest_message_and_leads_to_each() {
    let mut life = life();
    let names = ["a.png", " two\n> lines ", "", "4.pdf", "5.pdf", "6.pdf"];
    let events = life.says(ANN, "1", "bank", |m| {
        // What the router lists beside what was attached is no file of theirs.
        m.content.attachments = vec![file("original.eml", Attachment::ORIGINAL)];
        m.content.attachments.extend(names.map(|name| file(name, "image/png")));
    });
    let send = only(&life, &events);
    let message = events.iter().find_map(|e| match &e.public {
        Public::Received { message, .. } => Some(message.to_string()),
        _ => None,
    });
    let message = message.expect("a message");
    let said = text(&send);
    assert!(
        said.contains("\n> bank\n6 files: a.png, two > lines, image/png, 4.pdf, 5.pdf and 1 more\nhttps://desk."),
        "{said}"
    );
    let told: Vec<(String, Option<String>)> = send
        .private
        .as_ref()
        .expect("its words")
        .content
        .attachments
        .iter()
        .map(|file| (file.name.clone(), file.url.clone()))
        .collect();
    let at = |i: usize| Some(format!("/messages/{message}/attachments/{i}"));
    let expected = [("a.png", at(1)), ("two > lines", at(2)), ("image/png", at(3)), ("4.pdf", at(4)), ("5.pdf", at(5))];
    assert_eq!(told, expected.map(|(name, at)| (name.to_owned(), at)));
    let parts = life.state.to_parts().expect("a snapshot");
    let again = State::from_parts(life.state.salt, &parts.public, &parts.private);
    assert!(again.expect("it reads") == life.state);
    // It tells of the latest message, and that one has none.
    let events = says(&mut life, "2", "bank");
    let send = only(&life, &events);
    assert!(!text(&send).contains("file"), "{}", text(&send));
    assert!(send.private.as_ref().expect("its words").content.attachments.is_empty());
}

#[test]
fn a_notice_warns_where_the_sender_of_the_latest_message_was_not_proved() {
    let mut life = Life::with(ChannelProfile { mail: true, ..ChannelProfile::new("email", "email") }, PACK);
    life.leads_with(&[(DESK, desk())]);
    let mut told = |key: &str, verdict: Option<bool>, dmarc: Option<&str>| {
        let events = life.says(ANN, key, "bank", |m| {
            m.authenticated = verdict;
            m.meta.extend(dmarc.map(|said| ("dmarc".to_owned(), said.to_owned())));
            m.mail = Some(Box::new(MailFacts { believed: verdict == Some(true), ..MailFacts::default() }));
        });
        let parts = life.state.to_parts().expect("a snapshot");
        let again = State::from_parts(life.state.salt, &parts.public, &parts.private);
        assert!(again.expect("it reads") == life.state);
        let send = only(&life, &events);
        let lines: Vec<String> = text(&send).lines().map(str::to_owned).collect();
        let quote = lines.iter().position(|line| line.starts_with("> ")).expect("the customer's words");
        let before = lines[quote - 1].clone();
        let warned = before.starts_with("SENDER").then_some(before);
        (warned, send.private.as_ref().expect("its words").content.sender_proof)
    };
    let nobody = "SENDER NOT PROVED: anybody may have written this in the customer's name";
    let other = "SENDER DISPROVED (DMARC failed): somebody else may have written this in the customer's name, or a server that \
                 forwarded it changed it; ask them in another way before you act on it";
    assert_eq!(told("1", Some(false), Some("fail")), (Some(other.into()), Some(SenderProof::Disproved)));
    assert_eq!(told("2", None, None), (Some(nobody.into()), Some(SenderProof::NotProved)));
    assert_eq!(told("3", Some(false), Some("none")), (Some(nobody.into()), Some(SenderProof::NotProved)));
    assert_eq!(told("4", Some(true), Some("pass")), (None, None), "it is the latest message's");
}

#[test]
fn where_nobody_reaches_the_console_files_are_named_and_lead_nowhere() {
    let mut life = Life::with(ChannelProfile::new("sms", "phone"), PACK);
    life.leads_with(&[(DESK, ChannelProfile { console: None, ..desk() })]);
    let events = life.says(ANN, "1", "bank", |m| m.content.attachments = vec![file("a.png", "image/png")]);
    let send = only(&life, &events);
    assert!(text(&send).ends_with("\n> bank\n1 file: a.png"), "{}", text(&send));
    assert!(send.private.as_ref().expect("its words").content.attachments.is_empty());
    // Without desks nothing is kept of them.
    let mut life = Life::with(ChannelProfile::new("sms", "phone"), PACK);
    life.says(ANN, "1", "hello", |m| m.content.attachments = vec![file("a.png", "image/png")]);
    assert_eq!(conv(&life).private.expect("its words").files(), None);
}

#[test]
fn the_same_is_told_a_desk_once_and_a_repeated_input_tells_nothing() {
    let mut life = life();
    let events = says(&mut life, "1", "loud");
    let told: Vec<String> = notices(&life, &events).iter().map(|s| s.channel.clone()).collect();
    assert_eq!(told, [DESK, "other"]);
    assert!(tells(&mut life, "1", "loud").is_empty(), "the message came twice");
}

#[test]
fn a_notice_waits_for_no_customer_and_no_customer_for_a_notice() {
    let mut life = life();
    let first = says(&mut life, "1", "bank");
    let first = only(&life, &first);
    let second = says(&mut life, "2", "bank again");
    let second = only(&life, &second);
    assert_eq!(second.phase, Phase::Waiting, "one at a time at a desk");
    let (status, _, reply) = life.answers("r", "hello");
    assert_eq!(status, 202);
    let reply = switchboard_routing_rules::ids::MessageId::parse(&reply).expect("an id");
    assert!(matches!(life.state.sends[&reply].phase, Phase::InFlight { .. }), "the customer's lane is another");
    assert_eq!(conv(&life).lane.len(), 3);
    ends(&mut life, &first, 1, Outcome::Accepted);
    assert!(matches!(life.state.sends[&second.id].phase, Phase::InFlight { .. }));
}

#[test]
fn what_becomes_of_a_notice_changes_nothing_of_the_conversation() {
    for outcome in [Outcome::Rejected, Outcome::Unknown, Outcome::NotSent, Outcome::Accepted] {
        let mut life = life();
        let told = says(&mut life, "1", "bank");
        let send = only(&life, &told);
        life.answers("r", "hello");
        let before = conv(&life);
        assert_eq!(before.status, ConvStatus::Pending);
        let events = ends(&mut life, &send, 1, outcome);
        let after = Conversation { lane: before.lane.clone(), ..conv(&life) };
        assert_eq!(after, before, "{outcome:?}: {events:?}");
        match outcome {
            Outcome::Rejected => assert_eq!(dead(&events), [DeadReason::Rejected]),
            Outcome::Unknown => assert_eq!(dead(&events), [DeadReason::Unknown]),
            Outcome::NotSent => {
                assert!(matches!(life.state.sends[&send.id].phase, Phase::Backoff { .. }));
                life.passes(5_000);
                assert_eq!(life.state.sends[&send.id].n, 2, "it is tried again");
            }
            Outcome::Accepted => assert!(!life.state.sends.contains_key(&send.id)),
        }
    }
}

#[test]
fn a_breach_is_told_once_and_once_more_where_it_was_a_dead_letter_that_somebody_resends() {
    let mut life = life();
    life.customer("1");
    let mut all = vec![];
    for _ in 0..30 {
        all.extend(life.passes(MINUTE));
    }
    let send = only(&life, &all);
    assert!(text(&send).starts_with("the first answer is late\n"), "{}", text(&send));
    assert!(text(&send).contains("urgent"), "as it stands after the breach");
    let send = life.state.sends[&send.id].clone();
    // Nobody answered for so long that the attempt is in doubt; the router says so.
    ends(&mut life, &send, send.n, Outcome::Unknown);
    assert!(life.state.sends[&send.id].is_dead());
    let (reply, events) = life.asks("again", Action::Resend { send: send.id.to_string() });
    assert_eq!(reply.status, 202, "{reply:?}");
    let again = only(&life, &events);
    assert_eq!((text(&again), again.channel.as_str()), (text(&send), DESK));
    assert!(matches!(again.phase, Phase::InFlight { .. }) && !life.state.sends.contains_key(&send.id));
}

#[test]
fn a_desk_that_left_the_configuration_leaves_a_dead_letter_and_comes_back_for_it() {
    let mut life = life();
    life.leads_with(&[]);
    let events = says(&mut life, "1", "bank");
    assert_eq!(dead(&events), [DeadReason::ChannelRemoved]);
    let send = only(&life, &events);
    let resend = Action::Resend { send: send.id.to_string() };
    let (reply, _) = life.asks("early", resend.clone());
    assert_eq!((reply.status, reply.code.as_str()), (422, "no_channel"));
    // Its name is a customers' channel now: what was meant for colleagues does not go there.
    life.leads_with(&[(DESK, ChannelProfile::new("sms", "phone"))]);
    assert_eq!(life.asks("wrong", resend.clone()).0.status, 422);
    life.leads_with(&[(DESK, desk())]);
    let (reply, events) = life.asks("late", resend);
    assert_eq!(reply.status, 202, "{reply:?}");
    assert!(matches!(only(&life, &events).phase, Phase::InFlight { .. }));
}

#[test]
fn what_waits_for_a_desk_does_not_go_to_a_channel_of_its_name() {
    let mut life = life();
    let pause = Action::PauseChannel { target: DESK.into() };
    assert_eq!(life.asks("pause", pause).0.status, 200);
    let told = says(&mut life, "1", "bank");
    let send = only(&life, &told);
    assert!(matches!(send.phase, Phase::Ready { .. }), "paused");
    life.leads_with(&[(DESK, ChannelProfile::new("sms", "phone"))]);
    life.asks("resume", Action::ResumeChannel { target: DESK.into(), mended: false });
    let send = &life.state.sends[&send.id];
    assert!(matches!(send.phase, Phase::Dead { reason: DeadReason::ChannelRemoved, .. }), "{:?}", send.phase);
}

#[test]
fn who_is_given_a_conversation_hears_of_it_where_they_are_and_who_takes_it_knows() {
    let mut life = life();
    life.customer("1");
    let events = comes(&mut life, "ann");
    let send = only(&life, &events);
    let to = &send.private.as_ref().expect("its address").to;
    assert_eq!((to.kind.as_str(), to.value.as_str(), to.name.as_deref()), ("slack", "U024BE7LH", Some("Ann Smith")));
    assert!(text(&send).starts_with("Ann Smith: this conversation is yours\n"), "{}", text(&send));
    assert!(text(&send).contains("with ann") && text(&send).contains("\n> hello\n"), "{}", text(&send));
    // What the customer adds while it is hers is not told again; that they wrote after her answer is.
    assert!(tells(&mut life, "2", "more").is_empty());
    life.answers("r", "answer");
    assert_eq!(tells(&mut life, "3", "thanks, but").len(), 1);
    // One who has no desk is told nothing.
    let mut other = self::life();
    comes(&mut other, "bob");
    assert!(tells(&mut other, "1", "hi").is_empty());
    assert_eq!(conv(&other).agent.as_deref().map(String::as_str), Some("bob"));
    // Neither is who takes it.
    let mut third = self::life();
    third.customer("1");
    let (reply, events) = third.asks("take", Action::Take { conversation: third.conversation() });
    assert_eq!((reply.status, notices(&third, &events).len()), (200, 0));
}

#[test]
fn an_offer_is_told_with_its_time() {
    let yaml = PACK.replace("  q: { sla", "  q: { offer: { timeout: 30s }, sla");
    let mut life = Life::with(ChannelProfile::new("sms", "phone"), &yaml);
    life.leads_with(&[(DESK, desk())]);
    comes(&mut life, "ann");
    let events = says(&mut life, "1", "hi");
    let send = only(&life, &events);
    assert!(text(&send).starts_with("Ann Smith: this conversation is offered to you for 30s\n"), "{}", text(&send));
    let offer = conv(&life).offer.expect("an offer").id.to_string();
    let (_, events) = life.asks("accept", Action::AcceptOffer { offer });
    assert!(notices(&life, &events).is_empty());
}

#[test]
fn a_rule_that_calls_an_agent_at_a_desk_reaches_them_though_they_are_not_there() {
    let mut life = life();
    let events = says(&mut life, "1", "alarm");
    let send = only(&life, &events);
    assert_eq!(conv(&life).status, ConvStatus::Queued);
    assert_eq!(send.private.as_ref().expect("its address").to.value, "U024BE7LH");
    assert!(
        text(&send).starts_with("Ann Smith: you are called to this conversation, which waits\n"),
        "{}",
        text(&send)
    );
    assert!(text(&send).contains("queue q · urgent"), "{}", text(&send));
    // Where she is there, she has it, and hears so once.
    let mut life = self::life();
    comes(&mut life, "ann");
    let events = says(&mut life, "1", "alarm");
    assert!(text(&only(&life, &events)).contains("is yours"));
}

#[test]
fn a_desk_is_no_place_for_customers() {
    let mut life = life();
    let events = life.says(ANN, "1", "hi", |m| m.channel = DESK.into());
    assert!(events.iter().any(|e| matches!(&e.public, Public::Quarantined { channel, .. } if channel == DESK)));
    let echo = Echo {
        id: "team:echo:1".into(),
        channel: DESK.into(),
        thread: "t".into(),
        at: Timestamp(0),
        provider_id: "1".into(),
        send: None,
        part: None,
        n: None,
        to: switchboard_envelope::Address::new("slack", "U1"),
        content: switchboard_envelope::Content::text("hi"),
    };
    let events = life.hears(&Inbound::Echo(Box::new(echo)));
    assert!(events.iter().any(|e| matches!(e.public, Public::Quarantined { .. })), "{events:?}");
    let start = Action::Start {
        to_channel: DESK.into(),
        to: switchboard_envelope::Address::new("slack", "U1"),
        subject: None,
        text: "hi".into(),
        destination: None,
    };
    assert_eq!(life.asks("start", start).0.code, "desk");
}

#[test]
fn the_ids_of_answers_do_not_depend_on_who_is_told() {
    let yaml = format!("{PACK}replies: {{ hi: {{ text: hello }} }}\n").replace(
        "then: { queue: q, notify: { desk: team, text: \"Fraud?",
        "then: { reply: hi, queue: q, notify: { desk: team, text: \"Fraud?",
    );
    let reply = |yaml: &str| {
        let mut life = Life::with(ChannelProfile::new("sms", "phone"), yaml);
        life.leads_with(&[(DESK, desk())]);
        let events = says(&mut life, "1", "bank");
        let ours = events.iter().find_map(|e| match &e.public {
            Public::SendQueued { message, notice: false, .. } => Some(*message),
            _ => None,
        });
        ours.expect("an answer")
    };
    assert_eq!(reply(&yaml), reply(&yaml.replace(", notify: { desk: team, text: \"Fraud? {{ message.text }}\" }", "")));
}

#[test]
fn a_snapshot_gives_back_notices_and_what_they_quote() {
    let mut life = life();
    says(&mut life, "1", "bank");
    says(&mut life, "2", "bank again");
    let parts = life.state.to_parts().expect("a snapshot");
    let again = switchboard_routing_rules::State::from_parts(life.state.salt, &parts.public, &parts.private);
    assert!(again.expect("it reads") == life.state);
}

/// The log lost frames that came after this, and IN nothing.
fn rebases(life: &mut Life) {
    let agrees = life.state.cursor;
    let (now, inn, why) = (life.now, life.seq, "an older copy");
    let rebase = Input::Rebase { now, number: 0, frame: 9, agrees, inn, out: 0, cut: true, why };
    life.state = decide(life.state.clone(), &rebase, life.packs()).after;
}

#[test]
fn what_a_timer_may_have_told_in_lost_frames_is_told_again_only_by_hand_whatever_the_clock_said_there() {
    let mut life = life();
    says(&mut life, "1", "hello");
    // Its clock was ahead, so the desk heard of what is due in ten minutes; and then the frames were lost.
    let mut lost = life.again();
    let events = lost.passes(10 * MINUTE);
    let told = only(&lost, &events);
    assert_eq!(released(&events), [1]);

    rebases(&mut life);
    life.says("+15551230002", "2", "hello", |_| {});
    let events = life.passes(10 * MINUTE);
    let told_again = only(&life, &events);
    assert_eq!((told_again.id, told_again.doubted, released(&events)), (told.id, true, vec![]), "{events:?}");
    let parts = life.state.to_parts().expect("a snapshot");
    let read = State::from_parts(life.state.salt, &parts.public, &parts.private).expect("it reads");
    assert!(read == life.state, "what may have fired is kept");
    // Who wrote since the loss waits for the first time.
    let events = life.passes(0);
    assert_eq!((notices(&life, &events).len(), released(&events)), (1, vec![1]), "{events:?}");
}

/// What is due follows from when the conversation began, so a clock that starts anew can be due at the very moment of one in lost frames.
#[test]
fn a_clock_that_somebody_set_since_a_loss_is_told_of_though_lost_frames_had_one_for_the_same_moment() {
    const SOLD: &str = "queues: { q: {}, sold: { sla: { resolution: 40m, on_breach: { notify: { desk: team } } } } }\n\
        agents: { ann: {} }\nrules: [{ name: S, when: { text: { contains: bought } }, then: { queue: sold } }]\ndefault: { queue: q }\n";
    let mut life = Life::with(ChannelProfile::new("sms", "phone"), SOLD);
    life.leads_with(&[(DESK, desk())]);
    says(&mut life, "1", "hello");
    let mut lost = life.again();
    says(&mut lost, "2", "bought it");
    let events = lost.passes(45 * MINUTE);
    let told = only(&lost, &events);

    rebases(&mut life);
    life.passes(50 * MINUTE);
    says(&mut life, "3", "bought it");
    let events = life.passes(0);
    let told_now = only(&life, &events);
    assert_eq!((told_now.doubted, released(&events)), (false, vec![1]), "{events:?}");
    assert_ne!(told_now.id, told.id, "that was of another clock");
}

#[test]
fn what_became_of_an_answer_that_lost_frames_knew_is_told_again_only_by_hand() {
    let mut life = Life::with(ChannelProfile { same_id_retry: true, ..ChannelProfile::new("sms", "phone") }, PACK);
    life.leads_with(&[(DESK, desk()), ("other", desk())]);
    comes(&mut life, "ann");
    says(&mut life, "1", "hello");
    let message = MessageId::parse(&life.answers("1", "hi").2).expect("an id");
    rebases(&mut life);
    let verdict = Input::Verdict { now: life.now.plus(10), message, part: 1, n: 1, verdict: Verdict::Unknown };
    life.state = decide(life.state.clone(), &verdict, life.packs()).after;
    assert_eq!(released(&life.passes(10_000)), [2], "its receiver drops repetitions");
    let send = life.state.sends.get(&message).cloned().expect("it is under way");
    let events = ends(&mut life, &send, 2, Outcome::Rejected);
    assert_eq!(dead(&events), [DeadReason::Unknown]);
    let told = only(&life, &events);
    assert!(told.doubted && released(&events).is_empty(), "that attempt may have been made before: {events:?}");
}

#[test]
fn an_agent_hears_of_each_answer_that_came_back() {
    let mut life = Life::with(ChannelProfile { not_after_ms: MINUTE, ..ChannelProfile::new("sms", "phone") }, PACK);
    life.leads_with(&[(DESK, desk()), ("other", desk())]);
    comes(&mut life, "ann");
    says(&mut life, "1", "hello");
    for key in ["1", "2"] {
        let send = life.answers(key, "hi").2;
        life.result(&send, Outcome::NotSent, false, &[]);
        let events = life.passes(2 * MINUTE);
        assert_eq!((dead(&events), notices(&life, &events).len()), (vec![DeadReason::Expired], 1), "{events:?}");
    }
}
