//! Queues in which who came last comes first.

use crate::life::Life;
use crate::queues::whatever_people_do;
use switchboard_envelope::{Action, ChannelProfile, Timestamp};
use switchboard_routing_rules::State;
use switchboard_routing_rules::decide::stranded;
use switchboard_routing_rules::event::{Event, Public, Why};
use switchboard_routing_rules::state::Clock;

const MINUTE: i64 = 60_000;

const PACK: &str = "
zone: UTC
queues: { leads: { order: newest, ageing: 30m }, q: {} }
agents: { ann: { capacity: 1 } }
rules:
  - { name: Hot, when: { from: { prefix: hot } }, then: { queue: leads, priority: high } }
  - { name: Lead, when: { from: { prefix: lead } }, then: { queue: leads } }
default: { queue: q }
";

/// They write a minute apart, and then Ann comes.
fn life(who: &[&str]) -> Life {
    let mut life = Life::with(ChannelProfile::new("sms", "phone"), PACK);
    for name in who {
        life.writes(name, name);
        life.passes(MINUTE);
    }
    life.acts(Action::Presence { agent: "ann".into(), presence: "available".into() });
    life
}

/// Whom Ann is given, one after the other.
fn order(mut life: Life, who: &[&str]) -> Vec<String> {
    let mut given = vec![];
    while let Some(has) = who.iter().find(|name| life.has(name) == "ann") {
        given.push((*has).to_owned());
        life.closes(has);
    }
    given
}

#[test]
fn who_came_last_is_given_away_first() {
    let who = ["lead1", "lead2", "lead3"];
    assert_eq!(order(life(&who), &who), ["lead3", "lead2", "lead1"]);
}

#[test]
fn a_level_of_priority_is_worth_as_much_newness_as_the_queue_says() {
    let who = ["hot1", "lead2", "lead3"];
    assert_eq!(order(life(&who), &who), ["hot1", "lead3", "lead2"]);
    let mut life = Life::with(ChannelProfile::new("sms", "phone"), PACK);
    life.writes("hot1", "1");
    life.passes(31 * MINUTE);
    life.writes("lead2", "2");
    life.acts(Action::Presence { agent: "ann".into(), presence: "available".into() });
    assert_eq!(life.has("lead2"), "ann", "half an hour is worth more than its priority");
}

/// Within the queue it is their place that counts, and among queues how long the first one has waited.
#[test]
fn among_queues_who_has_waited_longest_comes_first() {
    let who = ["lead1", "x2", "lead3"];
    assert_eq!(order(life(&who), &who), ["x2", "lead3", "lead1"]);
    let who = ["lead1", "lead2", "x3"];
    assert_eq!(order(life(&who), &who), ["lead2", "lead1", "x3"]);
}

#[test]
fn the_line_and_the_oldest_are_known() {
    let mut life = Life::with(ChannelProfile::new("sms", "phone"), PACK);
    for name in ["lead1", "lead2", "hot3", "lead4"] {
        life.writes(name, name);
        life.passes(MINUTE);
    }
    let places = ["hot3", "lead4", "lead2", "lead1"].map(|name| life.state.place(life.conv(name)));
    assert_eq!(places, [1, 2, 3, 4].map(Some));
    assert_eq!(life.state.oldest("leads"), life.conv("lead1").queued_at.get());
    let parts = life.state.to_parts().expect("a snapshot");
    assert_eq!(State::from_parts(life.state.salt, &parts.public, &parts.private).expect("it reads"), life.state);
}

/// When a conversation came, and until when it must be answered.
fn times(life: &Life, who: &str) -> (Option<Timestamp>, Option<Timestamp>, Option<Clock>, u32) {
    let c = life.conv(who);
    (c.queued_at.get(), c.entered_at.get(), c.clock.clone(), c.step)
}

/// Who was put anew into the queue, because its order changed.
fn reordered(events: &[Event]) -> usize {
    events.iter().filter(|e| matches!(e.public, Public::Queued { why: Why::Reordered, .. })).count()
}

/// More wait than one decision moves, and a router that begins from a snapshot in the midst of it goes on with them.
#[test]
fn who_waits_stands_by_the_order_that_a_reload_gives_the_queue() {
    let oldest = PACK.replace("order: newest, ", "");
    let mut life = Life::with(ChannelProfile::new("sms", "phone"), &oldest);
    let who: Vec<String> = (0..150).map(|n| format!("lead{n}")).collect();
    for name in &who {
        life.writes(name, name);
        life.passes(1000);
    }
    let all = |life: &Life| who.iter().map(|name| times(life, name)).collect::<Vec<_>>();
    let line = |life: &Life| life.state.waiting("leads").map(|key| key.conv).collect::<Vec<_>>();
    let (before, mut came) = (all(&life), who.iter().map(|name| life.conv(name).id).collect::<Vec<_>>());
    assert_eq!(line(&life), came);
    for pack in [PACK, &oldest] {
        life.reloads(pack);
        came.reverse();
        let parts = life.state.to_parts().expect("a snapshot");
        let read = State::from_parts(life.state.salt, &parts.public, &parts.private).expect("it reads");
        assert_eq!(read, life.state);
        let mut other = Life { state: read, ..life.again() };
        let mut steps = vec![];
        while stranded(&life.state, life.packs()).next().is_some() {
            let events = life.passes(1);
            assert_eq!(other.passes(1), events);
            steps.push(reordered(&events));
        }
        assert_eq!(steps, [64, 22], "the reload itself moved as many as a step does");
        assert_eq!(other.state, life.state);
        assert_eq!((line(&life), all(&life)), (came.clone(), before.clone()));
        assert_eq!(reordered(&life.passes(1000)), 0, "once is enough");
    }
}

#[test]
fn who_is_offered_when_the_order_changes_comes_back_by_the_new_one() {
    let yaml = "
zone: UTC
queues: { leads: { offer: { timeout: 30s }, overflow: [{ after: 10s, priority: high }, { after: 1h, priority: urgent }] } }
agents: { ann: { capacity: 1 } }
default: { queue: leads }
";
    let mut life = Life::with(ChannelProfile::new("sms", "phone"), yaml);
    life.writes("lead1", "1");
    life.passes(20_000);
    life.acts(Action::Presence { agent: "ann".into(), presence: "available".into() });
    life.writes("lead2", "2");
    assert_eq!((life.has("lead1"), life.conv("lead1").step), ("ann?".to_owned(), 1));
    life.reloads(&yaml.replace("leads: { offer", "leads: { order: newest, offer"));
    let before = times(&life, "lead1");
    life.acts(Action::Presence { agent: "ann".into(), presence: "away".into() });
    assert_eq!(times(&life, "lead1"), before, "its steps go on where they were");
    let places = ["lead1", "lead2"].map(|name| life.state.place(life.conv(name)));
    assert_eq!(places, [1, 2].map(Some), "its priority outweighs what it came earlier");
    life.passes(20_000);
    let places = ["lead1", "lead2"].map(|name| life.state.place(life.conv(name)));
    assert_eq!(places, [2, 1].map(Some));
}

/// One stands first whom nobody has room for any more: who waits behind it, and longer than others elsewhere, has their turn.
#[test]
fn who_is_hidden_by_the_newest_that_nobody_has_room_for_is_not_overtaken_from_another_queue() {
    let yaml = "
zone: UTC
queues: { leads: { order: newest }, q: {} }
agents: { ann: { capacity: 1 } }
rules: [{ name: Q, when: { text: { word: q } }, then: { queue: q } }]
default: { queue: leads }
";
    let of = |cost| ChannelProfile { cost, ..ChannelProfile::new("sms", "phone") };
    let mut life = Life::with(of(50), yaml);
    life.leads_with(&[("whole", of(100))]);
    for (who, text) in [("first", "q"), ("old", "lead"), ("middle", "q"), ("newest", "lead")] {
        life.says(who, who, text, |m| {
            if who == "newest" {
                m.channel = "whole".into();
            }
        });
    }
    life.acts(Action::Presence { agent: "ann".into(), presence: "available".into() });
    assert_eq!(["first", "old", "middle"].map(|who| life.has(who)), ["ann", "ann", "queued"]);
}

#[test]
fn whatever_people_do_the_promises_hold_where_the_newest_come_first() {
    whatever_people_do(
        "
zone: UTC
queues:
  asked: { skills: [french], order: newest, offer: { timeout: 30s }, overflow: [{ after: 2m, skills: [] }, { after: 5m, queue: open, priority: high }] }
  open: { strategy: longest_idle, ageing: 10m, sticky: 1d, wrap_up: 20s, limit: { waiting: 4, queue: last } }
  last: { strategy: round_robin, order: newest, ageing: 5m, sla: { first_response: 10m, warn: 50%, on_breach: { priority: urgent } } }
presence: { grace: 30s, lapses: 2 }
agents:
  ann: { skills: { french: 2 }, capacity: 2 }
  bob: { skills: { french: 1, german: 1 }, capacity: 3 }
  cy: { capacity: 1 }
rules:
  - { name: French, when: { from: { prefix: f } }, then: { queue: asked } }
  - { name: Two, when: { from: { prefix: g } }, then: { queue: asked, skills: { french: 2 }, priority: urgent } }
default: { queue: open }
",
    );
}
