//! Presences of a pack's own: which queues give something to whom, and how many are where.

use crate::life::Life;
use switchboard_envelope::{Action, ChannelProfile, Destination};
use switchboard_routing_rules::event::{Event, PassedOver, Presence, Public, Why};
use switchboard_routing_rules::{State, waiting};

const PACK: &str = "
zone: UTC
presence: { grace: 30s, lapses: 1, names: { limited: available, lunch: away, gone: offline } }
queues:
  general: { presence: available, overflow: [{ after: 9m, queue: worth }] }
  worth: { presence: [limited, available], offer: { timeout: 60s }, overflow: [{ if: { agents: [available, limited], lt: 2 }, queue: all }] }
  all: { overflow: [{ if: [{ agents: lunch, gte: 1 }, { agents: offline, lte: 0 }], queue: late }] }
  late: { skills: [late] }
agents:
  ann: { capacity: 2 }
  bob: { capacity: 2 }
  late: { skills: [late] }
rules:
  - { name: Worth, when: { text: { word: worth } }, then: { queue: worth } }
  - { name: Anywhere, when: { text: { word: anywhere } }, then: { agent: ann } }
  - { name: Named, when: { text: { word: ann } }, then: { agent: ann, queue: general, wait: 1m } }
default: { queue: general }
";

fn life() -> Life {
    Life::with(ChannelProfile::new("sms", "phone"), PACK)
}

fn is(life: &mut Life, agent: &str, presence: &str) -> Vec<Event> {
    life.acts(Action::Presence { agent: agent.into(), presence: presence.into() })
}

fn says(life: &mut Life, who: &str, text: &str) -> Vec<Event> {
    let key = format!("{who} {}", life.seq);
    life.says(who, &key, text, |_| {})
}

fn queue_of(life: &Life, who: &str) -> String {
    life.conv(who).queue.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn passed(events: &[Event]) -> Vec<(String, PassedOver)> {
    let considered = |e: &Event| match &e.public {
        Public::Assigned { considered, .. } | Public::Offered { considered, .. } => Some(considered.passed.clone()),
        Public::NobodyFree { considered, .. } => Some(considered.passed.clone()),
        _ => None,
    };
    events.iter().rev().find_map(considered).expect("somebody was considered")
}

fn named(name: &str, counts_as: Presence) -> PassedOver {
    PassedOver::Presence { name: name.into(), counts_as }
}

#[test]
fn a_queue_gives_only_to_those_who_are_in_its_presences() {
    let mut life = life();
    is(&mut life, "ann", "limited");
    is(&mut life, "bob", "lunch");
    let events = says(&mut life, "x", "hello");
    assert_eq!((life.has("x"), queue_of(&life, "x")), ("queued".into(), "general".into()));
    let over = passed(&events);
    assert!(over.contains(&("ann".into(), named("limited", Presence::Available))), "{over:?}");
    assert!(over.contains(&("bob".into(), named("lunch", Presence::Away))), "{over:?}");
    let why = waiting::why(&life.state, life.packs(), life.conv("x").id).expect("it waits");
    assert_eq!(why.presence, ["available"]);
    assert!(why.agents.contains(&("ann".into(), Some(named("limited", Presence::Available)))), "{why:?}");
    says(&mut life, "y", "this is worth it");
    assert_eq!(life.has("y"), "ann?", "the other queue asks her");
    // Another word for being there is enough: she is given what waits.
    is(&mut life, "ann", "available");
    assert_eq!(life.has("x"), "ann");
    assert_eq!(life.state.agents["ann"].presence_word(), "available");
}

#[test]
fn who_is_named_is_in_them_and_who_is_given_it_by_hand_need_not_be() {
    let mut life = life();
    is(&mut life, "ann", "limited");
    let events = says(&mut life, "x", "for ann");
    assert_eq!(life.has("x"), "queued", "the rule names a queue that does not give to her now");
    assert!(passed(&events).contains(&("ann".into(), named("limited", Presence::Available))), "{events:?}");
    says(&mut life, "z", "anywhere ann");
    assert_eq!(life.has("z"), "ann", "and this one names none");
    is(&mut life, "bob", "limited");
    says(&mut life, "y", "hello");
    assert_eq!(life.has("y"), "queued");
    let conversation = life.conversation_of("y");
    life.acts(Action::Transfer { conversation, to: Destination::Agent("bob".into()) });
    assert_eq!(life.has("y"), "bob");
}

#[test]
fn a_presence_of_ones_own_does_what_it_counts_as() {
    let mut life = life();
    is(&mut life, "ann", "available");
    is(&mut life, "bob", "available");
    says(&mut life, "x", "worth");
    assert_eq!(life.has("x"), "ann?");
    let events = is(&mut life, "ann", "lunch");
    assert_eq!(life.has("x"), "bob?", "nobody waits for the answer of who is at lunch: {events:?}");
    says(&mut life, "y", "for bob");
    assert_eq!(life.has("y"), "bob");
    is(&mut life, "bob", "gone");
    assert_eq!((life.has("y"), life.state.agents["bob"].presence), ("bob".into(), Presence::Offline));
    life.passes(30_000);
    assert_eq!(life.has("y"), "queued", "what they had goes back after the grace");
    assert_eq!(life.state.agents["bob"].presence_word(), "gone", "and that does not change where they are");
}

#[test]
fn who_lets_an_offer_lapse_is_away_and_no_more() {
    let mut life = life();
    is(&mut life, "ann", "limited");
    is(&mut life, "bob", "limited");
    says(&mut life, "x", "worth");
    life.passes(60_000);
    assert_eq!(life.state.agents["ann"].presence_word(), "away");
    assert_eq!(life.has("x"), "bob?");
}

#[test]
fn a_step_counts_who_is_where_when_its_turn_comes() {
    let mut life = life();
    is(&mut life, "ann", "limited");
    is(&mut life, "late", "available");
    // One has no room, and with the other there are two: it waits.
    for who in ["a", "b", "c"] {
        says(&mut life, who, "worth");
    }
    assert_eq!((life.has("c"), queue_of(&life, "c")), ("ann?".into(), "worth".into()));
    is(&mut life, "late", "offline");
    // Now there is one, who has no room.
    let events = says(&mut life, "d", "worth");
    assert_eq!(queue_of(&life, "d"), "all");
    let why = events.iter().find_map(|e| match &e.public {
        Public::Queued { queue, why: Why::Headcount(said), .. } if queue == "all" => Some(said.clone()),
        _ => None,
    });
    assert_eq!(why.as_deref(), Some("fewer than 2 were in available or limited (1)"));
    // Of two numbers both must hold: somebody is at lunch, and somebody is offline.
    is(&mut life, "bob", "lunch");
    says(&mut life, "e", "worth");
    assert_eq!(queue_of(&life, "e"), "all");
    is(&mut life, "late", "away");
    let events = says(&mut life, "f", "worth");
    assert_eq!(queue_of(&life, "f"), "late", "{events:?}");
    let all = "at least 1 were in lunch (1) and nobody was in offline";
    let said =
        events.iter().any(|e| matches!(&e.public, Public::Queued { why: Why::Headcount(said), .. } if said == all));
    assert!(said, "{events:?}");
}

#[test]
fn a_word_that_the_pack_does_not_know_is_refused_with_those_it_knows() {
    let mut life = life();
    let (reply, _) = life.asks("x", Action::Presence { agent: "ann".into(), presence: "holiday".into() });
    let said = "a presence is one of available, away, offline, gone, limited, lunch";
    assert_eq!((reply.status, reply.detail.as_str()), (422, said));
}

#[test]
fn another_pack_says_what_a_presence_counts_as() {
    let mut life = life();
    is(&mut life, "ann", "limited");
    is(&mut life, "bob", "lunch");
    let other = PACK.replace("limited: available", "busy: available").replace("lunch: away", "lunch: available");
    let other =
        other.replace("[limited, available]", "[busy, available]").replace("[available, limited]", "[available]");
    assert_eq!(life.reloads(&other).status, 200);
    assert_eq!(life.state.agents["ann"].presence_word(), "available", "as it counted before");
    let bob = &life.state.agents["bob"];
    assert_eq!((bob.presence, bob.presence_word()), (Presence::Away, "away"), "a pack makes nobody available");
    // A word that counts as less than before takes them out; one that means the same leaves all as it was.
    is(&mut life, "bob", "lunch");
    assert_eq!(life.state.agents["bob"].presence, Presence::Available);
    assert_eq!(life.reloads(PACK).status, 200);
    assert_eq!(
        (life.state.agents["bob"].presence, life.state.agents["bob"].presence_word()),
        (Presence::Away, "lunch")
    );
}

#[test]
fn nobody_available_means_nobody_to_whom_the_queue_gives() {
    let pack = PACK
        .replace("{ if: { agents: [available, limited], lt: 2 }, queue: all }", "{ if: nobody_available, queue: all }");
    for (queue, presence, wanted) in [
        ("[limited, available]", "limited", "worth"),
        ("[limited, available]", "lunch", "all"),
        ("available", "limited", "all"),
    ] {
        let pack =
            pack.replace("presence: [limited, available], offer: { timeout: 60s }", &format!("presence: {queue}"));
        let mut life = Life::with(ChannelProfile::new("sms", "phone"), &pack);
        is(&mut life, "ann", "limited");
        for who in ["a", "b"] {
            says(&mut life, who, "anywhere");
        }
        assert_eq!(life.has("b"), "ann", "she has no room left");
        is(&mut life, "ann", presence);
        says(&mut life, "x", "worth");
        assert_eq!(queue_of(&life, "x"), wanted, "{queue}, {presence}");
    }
}

#[test]
fn heads_are_counted_for_what_a_rule_wants_beside_the_queue() {
    let pack = PACK.replace("then: { queue: worth }", "then: { queue: worth, skills: [late] }");
    let mut life = Life::with(ChannelProfile::new("sms", "phone"), &pack);
    is(&mut life, "ann", "available");
    is(&mut life, "bob", "available");
    says(&mut life, "x", "worth");
    assert_eq!(queue_of(&life, "x"), "all", "two are there, and neither can do it");
}

#[test]
fn a_pack_is_not_tried_whose_queue_could_give_to_nobody() {
    let mut life = life();
    let other = PACK.replace("limited: available", "busy: available").replace("[limited, available]", "[busy]");
    let other = other.replace("[available, limited]", "[available]");
    let reply = life.tries(&other, 50);
    assert_eq!((reply.status, reply.code.as_str()), (422, "presence"), "{reply:?}");
    assert!(reply.detail.contains("queue `worth`"), "{reply:?}");
    assert_eq!(life.tries(&PACK.replace("capacity: 2", "capacity: 3"), 50).status, 200);
}

#[test]
fn a_snapshot_keeps_the_name_and_states_of_before_are_read() {
    let mut life = life();
    is(&mut life, "ann", "limited");
    says(&mut life, "x", "worth");
    let parts = life.state.to_parts().expect("a snapshot");
    let again = State::from_parts(life.state.salt, &parts.public, &parts.private);
    assert_eq!(again.expect("it reads"), life.state);
    let before =
        r#"{"presence_changed":{"agent":"ann","presence":"away","at":"2026-11-21T00:00:00.000Z","lapsed":false}}"#;
    let event: Public = serde_json::from_str(before).expect("an event of before");
    assert!(matches!(event, Public::PresenceChanged { named: None, presence: Presence::Away, .. }));
}
