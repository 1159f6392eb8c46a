//! Rules that follow up on what people of ours do: what they say, when they are silent, and that nothing follows up on them.

use crate::life::{ANN, CHANNEL, Life};
use switchboard_envelope::{Action, ChannelProfile, Destination, Inbound, MailFacts};
use switchboard_routing_rules::event::{Event, Happening, NoReply, Private, Public};
use switchboard_routing_rules::pack::ConvStatus;

const PACK: &str = r#"
zone: UTC
queues: { q: {}, vip: {} }
agents: { ann: { name: Ann Smith, capacity: 100 }, bob: { name: Bob, capacity: 100 } }
budget: { conversation: 3, address: 20 }
replies:
  hi: We read it.
  owner: "{{ agent.name | default('one of us') }} has it now."
  bye: It is closed.
rules:
  - { name: Greet, when: { text: { prefix: hello } }, then: { reply: hi } }
  - { name: VIP, when: { text: vip }, then: { queue: vip } }
  - { name: Owner, on: assigned, when: { queue: { none: [vip] } }, then: { reply: owner } }
  - { name: Closed, on: closed, then: { reply: bye, tag: done }, continue: true }
  - { name: Closed by Bob, on: closed, when: { contact.agent: bob }, then: { set: { by: bob } } }
  - { name: Urgent, on: changed, when: { tags: urgent }, then: { priority: urgent, tag: seen } }
  - { name: Noted, on: noted, then: { tag: noted } }
  - { name: Answered, on: answered, then: { tag: answered, reply: bye } }
default: { queue: q }
"#;

fn life() -> Life {
    let profile = ChannelProfile { push: true, window_ms: Some(86_400_000), ..ChannelProfile::new("sms", "phone") };
    Life::with(profile, PACK)
}

fn take(life: &mut Life) -> Vec<Event> {
    let conversation = life.conversation();
    life.acts(Action::Take { conversation })
}

fn sent(events: &[Event]) -> Vec<&str> {
    let texts = events.iter().filter_map(|e| match (&e.public, &e.private) {
        (Public::SendQueued { notice: false, .. }, Some((_, Private::Send { content, .. }))) => Some(content),
        _ => None,
    });
    texts.map(|content| content.text.as_str()).collect()
}

fn refused(events: &[Event]) -> Option<NoReply> {
    events.iter().find_map(|e| match &e.public {
        Public::NotReplied { why, .. } => Some(*why),
        _ => None,
    })
}

fn followed(events: &[Event]) -> Vec<(Happening, Vec<String>)> {
    let one = |e: &Event| match &e.public {
        Public::FollowedUp { on, hits, .. } => Some((*on, hits.clone())),
        _ => None,
    };
    events.iter().filter_map(one).collect()
}

fn hits(all: &[&str]) -> Vec<String> {
    all.iter().map(|s| (*s).to_owned()).collect()
}

#[test]
fn the_customer_hears_who_has_it_and_that_it_is_closed() {
    let mut life = life();
    life.says(ANN, "1", "please help", |_| {});
    let events = take(&mut life);
    assert_eq!(followed(&events), [(Happening::Assigned, hits(&["Owner"]))]);
    assert_eq!(sent(&events), ["Ann Smith has it now."]);
    assert_eq!(followed(&take(&mut life)), [], "who has it already is no news");
    let events = life.closes(ANN);
    assert_eq!(followed(&events), [(Happening::Closed, hits(&["Closed"]))]);
    assert_eq!((sent(&events), life.status()), (vec!["It is closed."], ConvStatus::Closed));
    assert!(life.conv(ANN).tags.contains("done"));
    assert_eq!(followed(&life.closes(ANN)), [], "it is closed once");
}

#[test]
fn it_is_said_to_whoever_is_given_it_by_turn_too_and_conditions_hold() {
    let mut life = life();
    life.acts(Action::Presence { agent: "bob".into(), presence: "available".into() });
    let events = life.says(ANN, "1", "please help", |_| {});
    assert_eq!(sent(&events), ["Bob has it now."]);
    let events = life.says("+15551230002", "2", "vip", |_| {});
    assert_eq!((followed(&events), life.has("+15551230002")), (vec![], "bob".to_owned()));
    // One message has one automatic answer.
    let events = life.says("+15551230003", "3", "hello", |_| {});
    assert_eq!((sent(&events), refused(&events)), (vec!["We read it."], Some(NoReply::Answered)));
    assert_eq!(followed(&events), [(Happening::Assigned, hits(&["Owner"]))]);
}

#[test]
fn who_is_answered_hears_nothing_else() {
    let mut life = life();
    life.says(ANN, "1", "please help", |_| {});
    let conversation = life.conversation();
    let action = Action::Reply {
        conversation,
        text: "Here you are.".into(),
        attachments: vec![],
        choices: vec![],
        template: None,
        take: false,
        seen: None,
    };
    let events = life.acts(action);
    assert_eq!(sent(&events), ["Here you are."]);
    assert_eq!(
        followed(&events),
        [(Happening::Assigned, hits(&["Owner"])), (Happening::Answered, hits(&["Answered"]))]
    );
    assert_eq!(refused(&events), Some(NoReply::Answered));
    assert!(life.conv(ANN).tags.contains("answered"));
}

#[test]
fn what_a_rule_changes_is_not_followed_up() {
    let mut life = life();
    life.says(ANN, "1", "please help", |_| {});
    let conversation = life.conversation();
    let change = |tags: &[&str]| Action::Update {
        conversation: conversation.clone(),
        tags: Some(tags.iter().map(|t| (*t).to_owned()).collect()),
        priority: None,
        attributes: Default::default(),
    };
    let events = life.acts(change(&["urgent"]));
    assert_eq!(followed(&events), [(Happening::Changed, hits(&["Urgent"]))], "once, though it tags");
    let seen = |e: &Event| matches!(&e.public, Public::Tagged { add, .. } if add.contains("seen"));
    assert!(events.iter().any(seen));
    assert_eq!(followed(&life.acts(change(&["urgent", "seen"]))), [], "nothing was changed");
    // Neither does what is sent, what time does, or what the customer writes.
    let conversation = life.conversation();
    let noted = life.acts(Action::Note { conversation, text: "look".into() });
    assert_eq!(followed(&noted), [(Happening::Noted, hits(&["Noted"]))]);
    take(&mut life);
    life.answers("a", "Done.");
    let events = life.passes(15 * 86_400_000);
    assert_eq!(life.status(), ConvStatus::Closed, "time closed it");
    assert_eq!((followed(&events), sent(&events)), (vec![], vec![]));
}

#[test]
fn machines_hear_nothing_nor_does_anybody_who_should_not() {
    let quiet = |change: fn(&mut switchboard_envelope::Message)| {
        let mut life = life();
        life.says(ANN, "1", "please help", |_| {});
        life.says(ANN, "2", "I am away", change);
        let events = take(&mut life);
        assert_eq!(sent(&events), Vec::<&str>::new());
        refused(&events)
    };
    assert_eq!(quiet(|m| m.automatic = true), Some(NoReply::Quiet));
    // A person who says in a letter that they want no more is not called a machine for it.
    let unwanted = |m: &mut switchboard_envelope::Message| {
        m.mail = Some(Box::new(MailFacts { no_auto_reply: true, ..MailFacts::default() }));
    };
    assert_eq!(quiet(unwanted), Some(NoReply::Quiet));
    // A person who writes afterwards is one again.
    let mut life = life();
    life.says(ANN, "1", "beep", |m| m.automatic = true);
    life.says(ANN, "2", "please help", |_| {});
    assert_eq!(sent(&take(&mut life)).len(), 1);
    // The budgets are those of all automatic replies.
    for key in ["3", "4", "5"] {
        life.says(ANN, key, &format!("hello {key}"), |_| {});
        life.passes(60_000);
    }
    assert_eq!(refused(&life.closes(ANN)), Some(NoReply::ConversationBudget));
    // And so are windows and consent.
    let mut life = self::life();
    life.says(ANN, "1", "please help", |_| {});
    life.passes(2 * 86_400_000);
    assert_eq!(refused(&take(&mut life)), Some(NoReply::OutsideWindow));
    let mut life = self::life();
    life.says(ANN, "1", "please help", |_| {});
    life.hears(&Inbound::Consent(switchboard_envelope::ConsentChange {
        id: format!("{CHANNEL}:consent:1"),
        channel: CHANNEL.into(),
        address: switchboard_envelope::Address::new("phone", ANN),
        state: switchboard_envelope::ConsentState::OptedOut,
        at: life.now,
        reason: Some("STOP".into()),
        topic: None,
    }));
    assert_eq!(refused(&take(&mut life)), Some(NoReply::OptedOut));
}

#[test]
fn who_never_wrote_is_told_nothing_and_a_snapshot_keeps_who_is_a_machine() {
    let mut life = Life::with(ChannelProfile { proactive: true, ..ChannelProfile::new("sms", "phone") }, PACK);
    let to = switchboard_envelope::Address::new("phone", ANN);
    let start = Action::Start {
        to_channel: CHANNEL.into(),
        to,
        subject: None,
        text: "We have news.".into(),
        destination: None,
    };
    assert_eq!(sent(&life.acts(start)), ["We have news."]);
    let events = life.closes(ANN);
    assert_eq!((sent(&events), refused(&events)), (vec![], None));
    let mut life = self::life();
    life.says(ANN, "1", "beep", |m| m.automatic = true);
    let parts = life.state.to_parts().expect("a snapshot");
    let again = switchboard_routing_rules::State::from_parts(life.state.salt, &parts.public, &parts.private);
    life.state = again.expect("it reads");
    assert_eq!(refused(&take(&mut life)), Some(NoReply::Quiet));
}

#[test]
fn what_such_a_rule_sets_is_bounded() {
    let set: String = (0..3).map(|n| format!("k{n}: '{{{{ contact.attributes.long | default(\"\") }}}}', ")).collect();
    let pack = PACK.replace("set: { by: bob }", &format!("set: {{ {set}by: bob }}"));
    let mut life = Life::with(ChannelProfile { push: true, ..ChannelProfile::new("sms", "phone") }, &pack);
    life.acts(Action::Presence { agent: "bob".into(), presence: "available".into() });
    life.says(ANN, "1", "please help", |_| {});
    let contact = life.conv(ANN).contact.to_string();
    let attributes = [("long".to_owned(), Some("x".repeat(1_900)))].into();
    life.acts(Action::UpdateContact { contact, tags: None, attributes, consent: [].into(), unblock: vec![] });
    let events = life.closes(ANN);
    let c = life.conv(ANN);
    let kept = c.private.as_ref().expect("its words").attributes.clone();
    assert_eq!(kept.keys().map(String::as_str).collect::<Vec<_>>(), ["by", "k0", "k1"], "the third is too much");
    let ignored = |e: &Event| matches!(&e.public, Public::Ignored { reason, .. } if reason.contains("too long"));
    assert!(events.iter().any(ignored), "{events:?}");
}

#[test]
fn many_who_are_given_away_at_once_are_told_in_bounded_steps() {
    let mut life = life();
    for n in 0..30 {
        life.says(&format!("+1555000{n:04}"), &format!("m{n}"), "please help", |_| {});
    }
    let events = life.acts(Action::Presence { agent: "bob".into(), presence: "available".into() });
    assert_eq!(sent(&events).len(), 8);
    let mut told = 8;
    for _ in 0..10 {
        told += sent(&life.passes(1)).len();
    }
    assert_eq!(told, 30, "and all of them are");
}

#[test]
fn the_pack_in_force_of_each_conversation_follows_up_and_the_hits_say_which() {
    let mut life = life();
    life.says(ANN, "1", "please help", |_| {});
    let events = take(&mut life);
    let pack = events.iter().find_map(|e| match &e.public {
        Public::FollowedUp { pack, .. } => Some(pack.clone()),
        _ => None,
    });
    assert_eq!(pack.as_deref(), Some(life.pack.hash()));
    let places: Vec<&str> = life.pack.rules().map(|(name, _)| name).collect();
    assert_eq!(places.last(), Some(&"Answered"), "they stand behind those that run for messages: {places:?}");
}

/// What people move, and what comes back by itself.
const MOVES: &str = r#"
zone: UTC
queues: { q: { overflow: [{ after: 10m, queue: late }] }, late: {}, vip: {} }
agents: { ann: { name: Ann Smith, capacity: 100 }, bob: { name: Bob, capacity: 100 } }
replies: { back: We look at it again. }
rules:
  - { name: Low again, when: { text: again, priority: low }, then: { tag: was-low } }
  - { name: VIP, when: { text: vip }, then: { queue: vip, priority: low } }
  - { name: Later, when: { text: later }, then: { queue: q, snooze: 1h } }
  - { name: Moved, on: moved, when: { priority: { none: [low] } }, then: { tag: moved, priority: high }, continue: true }
  - { name: Moved to VIP, on: moved, when: { queue: vip }, then: { set: { to: "{{ conversation.queue | default('') }}" } } }
  - { name: Returned, on: returned, then: { tag: returned, reply: back, notify: { desk: console, text: It is back } } }
default: { queue: q }
"#;

fn moves() -> Life {
    Life::with(ChannelProfile { push: true, ..ChannelProfile::new("sms", "phone") }, MOVES)
}

fn transfer(life: &mut Life, to: Destination) -> Vec<Event> {
    let conversation = life.conversation();
    life.acts(Action::Transfer { conversation, to })
}

fn waits_in(life: &Life) -> String {
    life.conv(ANN).queue.as_deref().cloned().unwrap_or_default()
}

fn snooze(life: &mut Life, ms: i64) {
    let (conversation, until) = (life.conversation(), life.now.plus(ms));
    let events = life.acts(Action::Snooze { conversation, until });
    assert_eq!(followed(&events), [], "a snooze that begins is nothing that happened");
}

#[test]
fn who_puts_it_into_a_queue_by_hand_is_followed_up_and_nobody_else() {
    let mut life = moves();
    life.says(ANN, "1", "please help", |_| {});
    let to = |queue: &str| Destination::Queue(queue.into());
    let events = transfer(&mut life, to("vip"));
    assert_eq!(followed(&events), [(Happening::Moved, hits(&["Moved", "Moved to VIP"]))], "once");
    let c = life.conv(ANN);
    assert!(c.tags.contains("moved"));
    assert_eq!(c.private.as_ref().expect("its words").attributes.get("to").map(String::as_str), Some("vip"));
    assert_eq!(followed(&transfer(&mut life, to("vip"))), [], "there it waits already");
    // Out of somebody's hands it goes to that queue too.
    take(&mut life);
    assert_eq!(followed(&transfer(&mut life, to("vip"))).len(), 1);
    let to_bob = transfer(&mut life, Destination::Agent("bob".into()));
    assert!(followed(&to_bob).is_empty(), "who has it is not where it waits");
    // What steps and rules move, no person did.
    let mut life = moves();
    life.says(ANN, "1", "please help", |_| {});
    let events = life.passes(600_000);
    assert_eq!((waits_in(&life).as_str(), followed(&events)), ("late", vec![]));
    let events = life.says(ANN, "2", "vip", |_| {});
    assert_eq!((waits_in(&life).as_str(), followed(&events)), ("vip", vec![]));
}

#[test]
fn rules_ask_for_the_priority_that_it_had_before_the_message() {
    let mut life = moves();
    life.says(ANN, "1", "vip", |_| {});
    let events = transfer(&mut life, Destination::Queue("q".into()));
    assert_eq!(followed(&events), [], "it is low, and stays untold");
    life.says(ANN, "2", "again", |_| {});
    assert!(life.conv(ANN).tags.contains("was-low"));
    let mut life = moves();
    life.says(ANN, "1", "again", |_| {});
    assert!(life.conv(ANN).tags.is_empty(), "who begins one had none");
}

#[test]
fn the_end_of_a_snooze_is_followed_up_once() {
    let mut life = moves();
    life.says(ANN, "1", "please help", |_| {});
    snooze(&mut life, 3_600_000);
    assert_eq!(followed(&life.passes(3_000_000)), []);
    let events = life.passes(600_000);
    assert_eq!(followed(&events), [(Happening::Returned, hits(&["Returned"]))]);
    assert_eq!((sent(&events), life.status()), (vec!["We look at it again."], ConvStatus::Queued));
    assert!(life.conv(ANN).tags.contains("returned"));
    assert_eq!(followed(&life.passes(3_600_000)), [], "it came back once");
    // A customer who writes ends it, and so does who takes it: that is a message, and somebody's hand.
    snooze(&mut life, 3_600_000);
    assert_eq!(followed(&life.says(ANN, "2", "hello?", |_| {})), []);
    snooze(&mut life, 3_600_000);
    assert_eq!(followed(&take(&mut life)), []);
    assert_eq!(followed(&life.passes(7_200_000)), []);
    // What a rule laid aside comes back as well.
    let mut life = moves();
    life.says(ANN, "1", "later", |_| {});
    assert_eq!(life.status(), ConvStatus::Snoozed);
    assert_eq!(followed(&life.passes(3_600_000)), [(Happening::Returned, hits(&["Returned"]))]);
}

#[test]
fn many_that_come_back_at_once_are_told_in_bounded_steps() {
    let mut life = moves();
    for n in 0..30 {
        life.says(&format!("+1555000{n:04}"), &format!("m{n}"), "later", |_| {});
    }
    let told = |events: &[Event]| followed(events).len();
    let first = told(&life.passes(7_200_000));
    assert_eq!(first, 8);
    let mut all = first;
    while life.state.next_timer().is_some_and(|at| at <= life.now) {
        let more = told(&life.passes(0));
        assert!((1..=8).contains(&more), "{more}");
        all += more;
    }
    assert_eq!(all, 30, "and all of them are");
}
