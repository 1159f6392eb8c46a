//! What comes of a conversation's place when its customer writes again, when rules and the pack's default meet, and when people leave.

use crate::life::{ANN, Life};
use switchboard_envelope::{Action, Actor, Address, ChannelProfile, Command, Destination, Inbound, Outcome, Scope};

use switchboard_routing_rules::State;
use switchboard_routing_rules::event::{Event, Presence, Public, Why};
use switchboard_routing_rules::pack::{ConvStatus, Priority};
use switchboard_routing_rules::state::Conversation;

const MINUTE: i64 = 60_000;

fn life(yaml: &str) -> Life {
    Life::with(ChannelProfile::new("sms", "phone"), yaml)
}

fn queue(c: &Conversation) -> &str {
    c.queue.as_deref().map_or("", String::as_str)
}

fn skills(c: &Conversation) -> Vec<&str> {
    c.skills.keys().map(String::as_str).collect()
}

fn why_queued(events: &[Event]) -> Vec<Why> {
    let why = |e: &Event| match &e.public {
        Public::Queued { why, .. } => Some(why.clone()),
        _ => None,
    };
    events.iter().filter_map(why).collect()
}

/// The queue that the design shows: both are due at the same moment.
#[test]
fn an_overflow_step_never_lowers_what_a_breach_raised() {
    let pack = "
zone: UTC
queues:
  everyone: {}
  billing: { sla: { first_response: 15m, on_breach: { priority: urgent } }, overflow: [{ after: 15m, queue: everyone, priority: high }] }
agents: { ann: {} }
rules: [{ name: Low, when: { from: low }, then: { priority: low }, continue: true }]
default: { queue: billing }
";
    let mut life = life(pack);
    life.writes("who", "1");
    life.passes(20 * MINUTE);
    let c = life.conv("who");
    assert_eq!((queue(c), c.priority), ("everyone", Priority::Urgent));
    let calm = pack.replace("first_response: 15m", "first_response: 2h");
    let mut life = self::life(&calm);
    life.writes("low", "1");
    life.passes(20 * MINUTE);
    let c = life.conv("low");
    assert_eq!((queue(c), c.priority), ("everyone", Priority::High), "it raises where nothing did");
}

#[test]
fn a_step_that_sets_the_priority_lowers_it_unless_a_clock_is_late() {
    let pack = "
zone: UTC
queues:
  everyone: {}
  billing: { sla: { first_response: 15m, on_breach: { priority: urgent } }, overflow: [{ after: 20m, queue: everyone, priority: { set: low } }] }
agents: { ann: {} }
default: { queue: billing, priority: high }
";
    let promise = "sla: { first_response: 15m, on_breach: { priority: urgent } }, ";
    assert!(pack.contains(promise));
    for (other, wanted) in
        [(promise, Priority::Urgent), ("sla: { first_response: 2h }, ", Priority::Low), ("", Priority::Low)]
    {
        let mut life = life(&pack.replace(promise, other));
        life.writes("who", "1");
        assert_eq!(life.conv("who").priority, Priority::High);
        life.passes(20 * MINUTE);
        let c = life.conv("who");
        assert_eq!((queue(c), c.priority), ("everyone", wanted));
        let parts = life.state.to_parts().expect("a snapshot");
        let again = switchboard_routing_rules::State::from_parts(life.state.salt, &parts.public, &parts.private);
        assert_eq!(again.expect("it reads"), life.state);
    }
}

#[test]
fn the_default_gives_the_place_and_what_the_rules_decided_stands() {
    let mut life = life("
zone: UTC
queues: { q: { skills: [phone] } }
agents: { ann: { skills: [phone] }, bob: { skills: [phone, french] }, cyn: { skills: [calm] } }
rules:
  - { name: French, when: { text: bonjour }, then: { skills: [french], priority: high, set: { tongue: french }, tag: fr, overflow: [{ after: 1m, priority: urgent }] }, continue: true }
default: { queue: q, priority: low, skills: [calm], set: { tongue: unknown, by: default }, tag: default }
");
    life.acts(Action::Presence { agent: "ann".into(), presence: "available".into() });
    let events = life.says("who", "1", "bonjour", |_| {});
    assert_eq!(why_queued(&events), [Why::Default]);
    let c = life.conv("who");
    assert_eq!((queue(c), skills(c), c.priority, c.status), ("q", vec!["french"], Priority::High, ConvStatus::Queued));
    assert_eq!(c.tags.iter().map(String::as_str).collect::<Vec<_>>(), ["default", "fr"]);
    let p = c.private.as_ref().expect("it is not erased");
    let attributes: Vec<_> = p.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(attributes, [("by", "default"), ("tongue", "french")]);
    life.passes(MINUTE);
    assert_eq!(life.conv("who").priority, Priority::Urgent, "the rule's steps, not the queue's");
    life.acts(Action::Presence { agent: "bob".into(), presence: "available".into() });
    assert_eq!(life.has("who"), "bob", "who speaks French");
    life.says("else", "2", "hello", |_| {});
    let c = life.conv("else");
    assert_eq!((skills(c), c.priority), (vec!["calm"], Priority::Low), "alone it says everything");
}

#[test]
fn the_rule_that_chose_the_place_is_named_and_not_the_last_that_matched() {
    let mut life = life(
        "
zone: UTC
queues: { q: {}, r: {} }
agents: { ann: {} }
rules:
  - { name: Place, when: { text: buy }, then: { queue: r }, continue: true }
  - { name: Note, then: { tag: seen } }
default: { queue: q }
",
    );
    let events = life.says("who", "1", "buy", |_| {});
    assert_eq!(why_queued(&events), [Why::Rule("Place".into())]);
    let events = life.says("else", "2", "hello", |_| {});
    assert_eq!(why_queued(&events), [Why::Default]);
}

#[test]
fn what_is_wanted_of_agents_holds_for_who_waits_already() {
    let mut life = life(
        "
zone: UTC
queues: { q: {} }
agents: { ann: { skills: [french] }, bob: { skills: [french, billing] } }
rules:
  - { name: French, when: { text: bonjour }, then: { skills: [french] } }
  - { name: Hurry, when: { text: vite }, then: { overflow: [{ after: 1m, priority: urgent }] } }
default: { queue: q }
",
    );
    life.says("who", "1", "hello", |_| {});
    let since = life.conv("who").queued_at;
    life.says("who", "2", "bonjour", |_| {});
    life.says("who", "3", "vite", |_| {});
    let c = life.conv("who");
    assert_eq!((queue(c), skills(c), c.overflow.len(), c.queued_at), ("q", vec!["french"], 1, since));
}

#[test]
fn the_default_takes_what_comes_back_without_a_place() {
    let mut life = life("
zone: UTC
queues: { q: {} }
agents: { ann: {} }
rules: [{ name: Bye, when: { text: bye }, then: { close: true } }, { name: Later, when: { text: later }, then: { snooze: 1h } }]
default: { queue: q, tag: default, priority: high }
");
    for (first, was) in [("bye", "closed"), ("later", "snoozed")] {
        life.says(first, &format!("{first} 1"), first, |_| {});
        assert_eq!(life.has(first), was);
        life.says(first, &format!("{first} 2"), "hello", |_| {});
        let c = life.conv(first);
        assert_eq!((queue(c), c.priority, c.tags.contains("default")), ("q", Priority::High, true), "{first}");
    }
}

#[test]
fn what_a_rule_places_and_snoozes_comes_back_to_that_place() {
    let mut life = life(
        "
zone: UTC
queues: { q: {}, later: { sla: { first_response: 30m } } }
agents: { ann: {} }
rules:
  - { name: Later, when: { text: later }, then: { queue: later, snooze: 2h } }
  - { name: Ann, when: { text: ann }, then: { agent: ann, snooze: 2h } }
default: { queue: q }
",
    );
    life.acts(Action::Presence { agent: "ann".into(), presence: "available".into() });
    life.says("who", "1", "later", |_| {});
    assert_eq!((life.has("who"), queue(life.conv("who"))), ("snoozed".into(), "later"));
    life.says("else", "2", "ann", |_| {});
    assert_eq!(life.has("else"), "snoozed");
    life.passes(2 * 60 * MINUTE);
    assert_eq!((life.has("who"), queue(life.conv("who"))), ("ann".into(), "later"));
    assert_eq!(life.has("else"), "ann");
    assert!(life.conv("who").clock.as_ref().is_some_and(|k| k.due == life.now.plus(30 * MINUTE)), "with its clock");
}

/// Whoever moves it and why: since when a customer waits is told by when they came.
#[test]
fn waiting_time_is_kept_where_a_rule_or_an_overflow_moves_it() {
    let mut life = life(
        "
zone: UTC
queues: { q: { overflow: [{ after: 10m, queue: r }] }, r: {}, s: {} }
agents: { ann: { capacity: 1 } }
rules: [{ name: Move, when: { text: refund }, then: { queue: s } }]
default: { queue: q }
",
    );
    life.writes("who", "1");
    let since = life.conv("who").queued_at.get().expect("it waits");
    life.passes(10 * MINUTE);
    let c = life.conv("who");
    assert_eq!((queue(c), c.queued_at.get()), ("r", Some(since)), "overflow");
    assert!(c.entered_at.get().is_some_and(|at| at > since));
    life.says("new", "2", "refund", |_| {});
    life.says("who", "3", "refund", |_| {});
    let c = life.conv("who");
    assert_eq!((queue(c), c.queued_at.get()), ("s", Some(since)), "a rule");
    life.acts(Action::Presence { agent: "ann".into(), presence: "available".into() });
    assert_eq!((life.has("who"), life.has("new")), ("ann".into(), "queued".into()), "it was there first");
}

#[test]
fn each_queue_says_how_long_a_closed_conversation_opens_again_and_who_had_it_is_preferred() {
    let pack = "
zone: UTC
queues: { never: { reopen: 0s, strategy: round_robin }, hour: { reopen: 1h, strategy: round_robin }, usual: { strategy: round_robin } }
agents: { ann: {}, bob: {}, cy: {} }
rules:
  - { name: N, when: { from: never, new: true }, then: { queue: never } }
  - { name: H, when: { from: hour, new: true }, then: { queue: hour } }
default: { queue: usual }
";
    for (who, after, opens) in [
        ("never", MINUTE, false),
        ("hour", 30 * MINUTE, true),
        ("hour", 61 * MINUTE, false),
        ("usual", 71 * 60 * MINUTE, true),
        ("usual", 73 * 60 * MINUTE, false),
    ] {
        let mut life = life(pack);
        for agent in ["ann", "bob", "cy"] {
            life.acts(Action::Presence { agent: agent.into(), presence: "available".into() });
        }
        life.writes(who, "1");
        let (first, had) = (life.conversation_of(who), life.has(who));
        life.closes(who);
        life.passes(after);
        life.writes(who, "2");
        assert_eq!(life.conversation_of(who) == first, opens, "{who} after {} minutes", after / MINUTE);
        assert_eq!(life.has(who) == had, opens, "{who}: the next by turns is another");
    }
}

#[test]
fn what_somebody_is_given_while_they_are_offline_goes_back_after_the_grace() {
    let pack = "
zone: UTC
queues: { q: {} }
presence: { grace: 2m }
agents: { ann: {}, bob: {} }
default: { queue: q }
";
    for gives in ["transfer", "take"] {
        let mut life = life(pack);
        life.writes("who", "1");
        let conversation = life.conversation_of("who");
        life.acts(match gives {
            "take" => Action::Take { conversation },
            _ => Action::Transfer { conversation, to: Destination::Agent("ann".into()) },
        });
        life.passes(MINUTE);
        assert_eq!(life.has("who"), "ann", "{gives}: she may come");
        life.passes(MINUTE);
        assert_eq!(life.has("who"), "queued", "{gives}: she did not");
        life.acts(Action::Presence { agent: "bob".into(), presence: "available".into() });
        assert_eq!(life.has("who"), "bob");
        // Who is there keeps what they are given, and so does who comes in time.
        life.acts(Action::Transfer { conversation: life.conversation_of("who"), to: Destination::Agent("ann".into()) });
        life.acts(Action::Presence { agent: "ann".into(), presence: "available".into() });
        life.passes(10 * MINUTE);
        assert_eq!(life.has("who"), "ann");
    }
}

#[test]
fn what_an_earlier_build_left_with_who_is_offline_goes_back_as_well() {
    let mut life = life("zone: UTC\nqueues: { q: {} }\nagents: { ann: {} }\ndefault: { queue: q }\n");
    life.writes("who", "1");
    let conversation = life.conversation_of("who");
    life.acts(Action::Transfer { conversation, to: Destination::Agent("ann".into()) });
    let (agent, at) = ("ann".to_owned(), life.now);
    life.state
        .apply(&Public::PresenceChanged { agent, presence: Presence::Offline, named: None, at, lapsed: false }.into());
    life.passes(60 * MINUTE);
    assert_eq!(life.has("who"), "ann");
    life.leads_with(&[]);
    life.passes(2 * MINUTE);
    assert_eq!(life.has("who"), "queued");
}

#[test]
fn nothing_is_given_back_to_who_returns_after_it_went_to_another() {
    let mut life = life("zone: UTC\nqueues: { q: {} }\nagents: { ann: {}, bob: {} }\ndefault: { queue: q }\n");
    life.acts(Action::Presence { agent: "ann".into(), presence: "available".into() });
    life.writes("unanswered", "1");
    life.writes("answered", "2");
    let (_, _, send) = life.answers_to("answered", "a", "hi");
    life.result(&send, Outcome::Accepted, false, &["p"]);
    life.acts(Action::Presence { agent: "ann".into(), presence: "offline".into() });
    life.acts(Action::Presence { agent: "bob".into(), presence: "available".into() });
    life.passes(2 * MINUTE);
    assert_eq!((life.has("unanswered"), life.has("answered")), ("bob".into(), "pending".into()));
    let mut events = life.acts(Action::Presence { agent: "ann".into(), presence: "available".into() });
    events.extend(life.passes(60 * MINUTE));
    assert!(!events.iter().any(|e| matches!(e.public, Public::Assigned { .. } | Public::Queued { .. })), "{events:?}");
    assert_eq!(life.has("unanswered"), "bob");
}

/// Only what a customer writes is decided: what we say, and what is said of that, runs no rule.
#[test]
fn rules_do_not_feed_themselves() {
    let mut life = life(
        "
zone: UTC
queues: { q: { sla: { first_response: 1m, on_breach: { notify: { desk: leads } } } } }
agents: { ann: {} }
replies: { hi: Hello }
rules: [{ name: Everything, then: { reply: hi, tag: seen, notify: { desk: leads, text: somebody wrote } } }]
default: { queue: q }
",
    );
    life.leads_with(&[("leads", ChannelProfile { desk: true, ..ChannelProfile::new("webhook", "webhook") })]);
    let decided = |events: &[Event]| events.iter().filter(|e| matches!(e.public, Public::Decided { .. })).count();
    let events = life.says(ANN, "1", "hello", |_| {});
    assert_eq!(decided(&events), 1);
    let sends: Vec<String> = life.state.sends.keys().map(ToString::to_string).collect();
    assert_eq!(sends.len(), 2, "a reply and a notice");
    let mut later = vec![];
    for (n, send) in sends.iter().enumerate() {
        let channel = life.state.sends.values().find(|s| s.id.to_string() == *send).map(|s| s.channel.clone());
        let mut result = life.ended(send, 1, Outcome::Accepted);
        result.channel = channel.expect("it is unsettled");
        result.provider_ids = vec![format!("p{n}")];
        later.extend(life.hears(&Inbound::Result(result)));
    }
    let at = life.now;
    later.extend(life.echo("p0", "Hello", at));
    later.extend(life.passes(2 * MINUTE));
    let at = life.now;
    later.extend(life.echo("p1", "somebody wrote", at));
    later.extend(life.echo("of another tool", "Hello", at));
    let conversation = life.conversation_of(ANN);
    later.extend(life.acts(Action::Note { conversation, text: "hello".into() }));
    assert!(later.iter().any(|e| matches!(e.public, Public::ClockBreached { .. })), "the second notice");
    assert_eq!(decided(&later), 0, "{later:?}");
}

#[test]
fn a_vacation_notice_of_who_was_answered_opens_nothing_however_often_it_comes() {
    let mut life = life("zone: UTC\nqueues: { q: {} }\nagents: { ann: {} }\ndefault: { queue: q }\n");
    life.writes("who", "1");
    life.closes("who");
    let closed = life.conversation_of("who");
    for n in 0..11 {
        life.passes(60 * MINUTE);
        let events = life.says("who", &format!("away {n}"), "I am away", |m| m.automatic = true);
        let places =
            |e: &Event| matches!(e.public, Public::Opened { .. } | Public::Reopened { .. } | Public::Queued { .. });
        assert!(!events.iter().any(places), "notice {n}: {events:?}");
        assert!(events.iter().any(|e| matches!(e.public, Public::Received { .. })), "it is kept");
        assert_eq!((life.conversation_of("who"), life.has("who")), (closed.clone(), "closed".into()));
    }
}

/// Somebody who waits and asks again is not sent back to where they waited before, nor to the end of anything.
#[test]
fn who_writes_again_stays_where_an_overflow_or_a_breach_brought_them() {
    let mut life = life("
zone: UTC
queues:
  vip: { skills: { care: 2 }, sla: { first_response: 8m, on_breach: { priority: urgent } }, overflow: [{ after: 5m, skills: [] }, { after: 10m, queue: everyone }] }
  everyone: { overflow: [{ after: 30m, queue: leads }] }
  billing: {}
  leads: {}
agents: { ann: { skills: { care: 1 } }, bob: { skills: [french] } }
rules:
  - { name: Refund, when: { text: refund }, then: { queue: billing, priority: low } }
  - { name: French, when: { text: bonjour }, then: { queue: vip, priority: high, skills: [french] } }
  - { name: VIP, when: { from: { prefix: vip } }, then: { queue: vip, priority: high } }
default: { queue: everyone }
");
    life.writes("vip", "1");
    assert_eq!((queue(life.conv("vip")), life.conv("vip").priority), ("vip", Priority::High));
    life.passes(6 * MINUTE);
    life.writes("vip", "2");
    let c = life.conv("vip");
    assert_eq!((c.step, c.relaxed.is_some()), (1, true), "fewer skills are wanted by now");
    life.passes(2 * MINUTE);
    life.passes(2 * MINUTE);
    let before = life.conv("vip").clone();
    assert_eq!((queue(&before), before.priority), ("everyone", Priority::Urgent));
    life.passes(MINUTE);
    let events = life.says("vip", "3", "hello??", |_| {});
    let moves = |e: &Event| matches!(e.public, Public::Queued { .. } | Public::Prioritised { .. });
    assert!(!events.iter().any(moves), "{events:?}");
    let c = life.conv("vip");
    assert_eq!((c.entered_at, c.queued_at, c.step), (before.entered_at, before.queued_at, before.step));
    let parts = life.state.to_parts().expect("a snapshot");
    let again = State::from_parts(life.state.salt, &parts.public, &parts.private).expect("it reads");
    assert_eq!(again, life.state, "a router that starts anew remembers it");
    // What a person decides stands as well.
    let conversation = life.conversation_of("vip");
    life.acts(Action::Transfer { conversation: conversation.clone(), to: Destination::Queue("leads".into()) });
    let update = Action::Update {
        conversation,
        tags: None,
        priority: Some("normal".into()),
        attributes: std::collections::BTreeMap::new(),
    };
    life.acts(update);
    life.writes("vip", "4");
    assert_eq!((queue(life.conv("vip")), life.conv("vip").priority), ("leads", Priority::Normal));
    // Another choice is another matter, and so is the first one after it.
    life.says("vip", "5", "refund", |_| {});
    assert_eq!((queue(life.conv("vip")), life.conv("vip").priority), ("billing", Priority::Low));
    life.writes("vip", "6");
    assert_eq!((queue(life.conv("vip")), life.conv("vip").priority), ("vip", Priority::High));
    life.says("vip", "7", "bonjour", |_| {});
    assert_eq!((queue(life.conv("vip")), skills(life.conv("vip"))), ("vip", vec!["french"]), "with other skills");
    life.passes(11 * MINUTE);
    assert_eq!(queue(life.conv("vip")), "vip", "step by step");
    life.passes(MINUTE);
    assert_eq!(queue(life.conv("vip")), "everyone");
    life.closes("vip");
    life.says("vip", "8", "bonjour", |_| {});
    assert_eq!(queue(life.conv("vip")), "vip", "opened again, it begins again");
}

/// What a rule wanted of agents and for how long goes together: back to its queue, and nowhere else.
#[test]
fn what_a_rule_wanted_comes_back_with_its_steps_and_begins_anew_once_it_was_elsewhere() {
    let pack = "
zone: UTC
queues: { q: { overflow: [{ after: 1h, priority: high }] }, r: { overflow: [{ after: 3h, priority: high }] } }
agents: { ann: { skills: [french] }, bob: {}, cyn: { skills: [french], capacity: 1 } }
rules:
  - { name: Cyn, when: { text: cyn }, then: { agent: cyn, wait: 5m, queue: q, skills: [french], overflow: [{ after: 2m, skills: [] }] } }
  - { name: French, when: { text: bonjour }, then: { queue: q, skills: [french], overflow: [{ after: 2m, skills: [] }] } }
default: { queue: q }
";
    let after = |c: &Conversation| c.overflow.iter().map(|s| s.after_ms.unwrap_or(0) / MINUTE).collect::<Vec<_>>();
    let snoozed = |life: &mut Life| {
        let conversation = life.conversation_of("who");
        let until = life.now.plus(MINUTE);
        life.acts(Action::Snooze { conversation, until });
        life.passes(MINUTE);
    };
    let mut life = life(pack);
    life.says("who", "1", "bonjour", |_| {});
    snoozed(&mut life);
    let c = life.conv("who");
    assert_eq!((queue(c), skills(c), after(c)), ("q", vec!["french"], vec![2]));
    // What a person moved wants what its new queue does.
    let conversation = life.conversation_of("who");
    life.acts(Action::Transfer { conversation: conversation.clone(), to: Destination::Queue("r".into()) });
    snoozed(&mut life);
    let c = life.conv("who");
    assert_eq!((queue(c), skills(c), after(c)), ("r", vec![], vec![180]));
    // So does what was closed and is opened again.
    let mut life = self::life(pack);
    life.says("who", "1", "bonjour", |_| {});
    life.closes("who");
    let conversation = life.conversation_of("who");
    life.acts(Action::Reopen { conversation });
    let c = life.conv("who");
    assert_eq!((queue(c), skills(c), after(c)), ("q", vec![], vec![60]));
    // For whom it waited by name was a matter of that time.
    let mut life = self::life(pack);
    life.acts(Action::Presence { agent: "cyn".into(), presence: "available".into() });
    life.says("busy", "1", "bonjour", |_| {});
    life.says("who", "2", "cyn", |_| {});
    let c = life.conv("who");
    assert_eq!((after(c), c.asks_first()), (vec![2, 5], &["cyn".to_owned()][..]));
    snoozed(&mut life);
    let c = life.conv("who");
    assert_eq!((queue(c), skills(c), after(c), c.asks_first().len()), ("q", vec!["french"], vec![2], 0));
}

#[test]
fn an_agent_whom_a_rule_names_takes_what_waits_elsewhere_by_now() {
    let mut life = life(
        "
zone: UTC
queues: { vip: { overflow: [{ after: 5m, queue: care }] }, care: { skills: [care] } }
agents: { ann: {} }
rules: [{ name: VIP, then: { agent: ann, queue: vip } }]
default: { queue: care }
",
    );
    life.writes("who", "1");
    life.passes(5 * MINUTE);
    life.acts(Action::Presence { agent: "ann".into(), presence: "available".into() });
    assert_eq!((life.has("who"), queue(life.conv("who"))), ("queued".into(), "care"));
    life.writes("who", "2");
    assert_eq!((life.has("who"), queue(life.conv("who"))), ("ann".into(), "care"));
}

const KNOWN: &str = "
zone: UTC
queues: { q: { sticky: 7d, reopen: 1h }, known: { skills: [nobody] } }
agents: { ann: {}, bob: {} }
replies: { hi: Hello }
rules:
  - { name: Again, when: { text: again }, then: { agent: sticky, queue: known } }
  - { name: Bye, when: { text: bye }, then: { reply: hi, close: true } }
  - { name: Ann, when: { text: who, contact.agent: ann }, then: { tag: ann }, continue: true }
default: { queue: q }
";

/// One person writes in one of several threads.
fn writes_in(life: &mut Life, thread: &str, text: &str) {
    let key = format!("{thread} {}", life.seq);
    life.says(ANN, &key, text, |m| m.thread = thread.into());
}

fn answers(life: &mut Life, agent: &str, thread: &str) {
    let action = Action::Reply {
        conversation: life.conversation_of(thread),
        text: "hi".into(),
        attachments: vec![],
        take: true,
        seen: None,
        choices: vec![],
        template: None,
    };
    let command = Command {
        id: format!("api:command:answer {}", life.seq),
        channel: "api".into(),
        at: life.now,
        actor: Actor { agent: Some(agent.into()), token: None, scope: Scope::Admin },
        action,
        body_hash: None,
        traceparent: None,
    };
    life.hears(&Inbound::Command(Box::new(command)));
    settle(life);
}

fn settle(life: &mut Life) {
    let unsettled: Vec<String> = life.state.sends.keys().map(ToString::to_string).collect();
    for send in unsettled {
        life.result(&send, Outcome::Accepted, false, &[&send]);
    }
}

fn come(life: &mut Life) {
    for agent in ["ann", "bob"] {
        life.acts(Action::Presence { agent: agent.into(), presence: "available".into() });
    }
}

#[test]
fn sticky_is_the_owner_of_the_other_conversation_that_was_open_latest() {
    let mut life = life(KNOWN);
    for (thread, agent) in [("t1", "ann"), ("t2", "bob")] {
        writes_in(&mut life, thread, "hello");
        answers(&mut life, agent, thread);
    }
    come(&mut life);
    writes_in(&mut life, "t3", "again");
    assert_eq!(life.has("t3"), "bob");
    writes_in(&mut life, "t1", "hello");
    writes_in(&mut life, "t4", "again");
    assert_eq!(life.has("t4"), "ann");
}

#[test]
fn who_answered_last_is_a_person_who_answered_in_whichever_conversation() {
    let mut life = life(KNOWN);
    for (thread, agent) in [("t1", "ann"), ("t2", "bob")] {
        writes_in(&mut life, thread, "hello");
        answers(&mut life, agent, thread);
    }
    // A rule has the last word in what was Ann's.
    writes_in(&mut life, "t1", "bye");
    settle(&mut life);
    life.closes("t2");
    come(&mut life);
    writes_in(&mut life, "t3", "again");
    assert_eq!(life.has("t3"), "bob");
    life.closes("t3");
    // The conversation itself counts like any other.
    answers(&mut life, "ann", "t1");
    life.closes("t1");
    writes_in(&mut life, "t1", "again");
    assert_eq!(life.has("t1"), "ann");
    assert_eq!(life.conv("t1").last_answer().map(|(_, by)| by.as_str()), Some("ann"));
}

#[test]
fn who_had_a_conversation_and_never_answered_it_is_nobody_whom_the_customer_knows() {
    let mut life = life(KNOWN);
    writes_in(&mut life, "t1", "hello");
    answers(&mut life, "bob", "t1");
    life.closes("t1");
    writes_in(&mut life, "t2", "hello");
    let conversation = life.conversation_of("t2");
    life.acts(Action::Transfer { conversation, to: Destination::Agent("ann".into()) });
    writes_in(&mut life, "t2", "bye");
    settle(&mut life);
    assert_eq!(life.has("t2"), "closed");
    come(&mut life);
    writes_in(&mut life, "t3", "again");
    assert_eq!(life.has("t3"), "bob", "by a rule");
    writes_in(&mut life, "t4", "hello");
    assert_eq!(life.has("t4"), "bob", "and by the queue, though Ann has less to do");
}

#[test]
fn conditions_know_who_answered_last_as_long_as_sticky_does() {
    let mut life = life(KNOWN);
    writes_in(&mut life, "t1", "hello");
    answers(&mut life, "ann", "t1");
    life.closes("t1");
    writes_in(&mut life, "t2", "who");
    assert!(life.conv("t2").tags.contains("ann"));
    life.closes("t2");
    life.passes(2 * 60 * MINUTE);
    assert!(life.state.conversations.is_empty(), "forgotten");
    writes_in(&mut life, "t3", "who");
    assert!(life.conv("t3").tags.contains("ann"), "the queue sticks");
    life.closes("t3");
    life.passes(8 * 24 * 60 * MINUTE);
    writes_in(&mut life, "t4", "who");
    assert!(!life.conv("t4").tags.contains("ann"), "for so long");
}

/// Who is one person after two contacts were merged is one to rules and agents, whichever of the two was kept and whichever writes.
#[test]
fn what_was_known_of_either_is_known_of_contacts_that_were_merged() {
    const OTHER: &str = "+15551230009";
    for kept in [ANN, OTHER] {
        for writer in [ANN, OTHER] {
            let mut life = life(&KNOWN.replace("contact.agent: ann }", "contact.agent: ann, contact.open: 2 }"));
            writes_in(&mut life, "t1", "hello");
            answers(&mut life, "ann", "t1");
            life.says(OTHER, "first", "hello", |m| m.thread = "t2".into());
            come(&mut life);
            let [known, other] = [ANN, OTHER].map(|who| life.state.contact_of(&Address::new("phone", who)).to_string());
            let (into, from) = if kept == ANN { (known, other) } else { (other, known) };
            life.acts(Action::MergeContact { into, from });
            life.says(writer, "who", "who", |m| m.thread = "t3".into());
            assert!(life.conv("t3").tags.contains("ann"), "{kept} was kept, {writer} writes");
            life.says(writer, "again", "again", |m| m.thread = "t4".into());
            assert_eq!(life.has("t4"), "ann", "{kept} was kept, {writer} writes");
            // Also where nothing but a memory of who answered is left.
            for thread in ["t1", "t2", "t3", "t4"] {
                life.closes(thread);
            }
            life.passes(4 * 24 * 60 * MINUTE);
            assert!(life.state.conversations.is_empty(), "forgotten");
            life.says(writer, "later", "again", |m| m.thread = "t5".into());
            assert_eq!(life.has("t5"), "ann", "{kept} was kept, {writer} writes");
        }
    }
}
