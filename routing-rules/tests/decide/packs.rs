//! Packs that come in force, are tried on a share of the new conversations, and are taken back.

use crate::life::{CHANNEL, Life};
use std::collections::BTreeMap;
use switchboard_envelope::{Action, ChannelProfile, Destination};
use switchboard_routing_rules::event::{CanaryEnd, Event, Public, Reply};
use switchboard_routing_rules::invariants::check_invariants;
use switchboard_routing_rules::pack::{ConvStatus, Environment, RulePack};
use switchboard_routing_rules::state::InForce;
use switchboard_routing_rules::{Input, State, decide};

const OLD: &str = "
zone: UTC
queues: { everyone: {}, old-only: {} }
agents: { ann: { capacity: 100, skills: [french] }, bob: { capacity: 100 } }
rules:
  - { name: Bye, when: { text: { word: bye } }, then: { close: true } }
default: { queue: everyone }
";

/// `everyone` wants french here, answers sooner, and a queue is new.
const NEW: &str = "
zone: UTC
queues:
  everyone: { skills: [french], sla: { first_response: 5m }, strategy: longest_idle }
  billing: { strategy: round_robin, sla: { first_response: 1h } }
agents: { ann: { capacity: 1 }, zoe: {} }
replies: { hi: \"Welcome.\" }
rules:
  - { name: Greets, then: { reply: hi }, continue: true }
  - { name: Refunds, when: { text: { word: refund } }, then: { queue: billing } }
default: { queue: everyone }
";

fn pack(yaml: &str) -> RulePack {
    RulePack::load(&[("a.yaml".to_owned(), yaml.as_bytes().to_vec())], &Environment::default()).expect("a pack").pack
}

fn life() -> Life {
    Life::with(ChannelProfile::new("sms", "phone"), OLD)
}

impl Life {
    /// A command that names a pack which could be loaded.
    fn changes(&mut self, pack: Option<RulePack>, action: Action) -> (Reply, Vec<Event>) {
        self.candidate = pack;
        let key = format!("pack {}", self.seq);
        self.asks(&key, action)
    }

    pub fn tries(&mut self, yaml: &str, percent: u8) -> Reply {
        let pack = pack(yaml);
        let action = Action::TryPack { hash: pack.hash().to_owned(), percent };
        self.changes(Some(pack), action).0
    }

    pub fn reloads(&mut self, yaml: &str) -> Reply {
        let pack = pack(yaml);
        let action = Action::ReloadPack { hash: pack.hash().to_owned() };
        self.changes(Some(pack), action).0
    }

    fn comes(&mut self, agent: &str) {
        let key = format!("presence {}", self.seq);
        self.asks(&key, Action::Presence { agent: agent.into(), presence: "available".into() });
    }

    fn came_to(&self) -> Option<CanaryEnd> {
        self.state.canary.as_deref().and_then(|c| c.ended).map(|(_, how)| how)
    }

    fn trial(&self, who: &str) -> u32 {
        let thread = self.state.thread_hash(CHANNEL, who);
        self.state.conversation_of_thread(thread).expect("a conversation").trial
    }
}

/// The pack by which a message was decided.
fn decided(events: &[Event]) -> String {
    let pack = events.iter().find_map(|e| match &e.public {
        Public::Decided { pack, .. } => Some(pack.clone()),
        _ => None,
    });
    pack.expect("a decision")
}

#[test]
fn a_share_of_the_new_conversations_is_decided_by_the_pack_that_is_tried() {
    let mut life = life();
    life.writes("before", "before");
    let (old, new) = (pack(OLD).hash().to_owned(), pack(NEW).hash().to_owned());
    assert_eq!(life.tries(NEW, 25).status, 200);
    let mut by: BTreeMap<String, usize> = BTreeMap::new();
    let mut of = BTreeMap::new();
    for n in 0..400 {
        let who = format!("c{n}");
        let pack = decided(&life.says(&who, &format!("m{n}"), "hello", |_| {}));
        *by.entry(pack.clone()).or_default() += 1;
        of.insert(who, pack);
    }
    assert!((60..140).contains(&by[&new]), "{by:?}");
    // What was open is decided as before, and so is whatever anybody writes later.
    assert_eq!(decided(&life.says("before", "again", "refund", |_| {})), old);
    // A larger share takes more of those who come, and nobody changes sides.
    assert_eq!(life.tries(NEW, 60).status, 200);
    for (who, pack) in &of {
        assert_eq!(decided(&life.says(who, &format!("{who} again"), "hello", |_| {})), *pack, "{who}");
    }
    let more = (400..800).filter(|n| {
        let events = life.says(&format!("c{n}"), &format!("m{n}"), "hello", |_| {});
        decided(&events) == new
    });
    let more = more.count();
    assert!((200..280).contains(&more), "{more}");
    let canary = life.state.trying().expect("a trial").clone();
    assert_eq!(canary.tried.conversations + canary.others.conversations, 800);
    assert_eq!(canary.tried.conversations as usize, by[&new] + more);
    // Over: everybody is decided by the pack in force, and the report stays.
    assert_eq!(life.changes(None, Action::EndTrial { promote: false }).0.status, 200);
    assert_eq!(life.came_to(), Some(CanaryEnd::Stopped));
    for who in of.keys().take(20) {
        assert_eq!(decided(&life.says(who, &format!("{who} last"), "hello", |_| {})), old);
    }
    assert_eq!(life.trial("c1") / 2, 1);
    life.writes("fresh", "fresh");
    assert_eq!((life.trial("fresh"), life.state.canary.as_deref().map(|c| c.tried.clone())), (0, Some(canary.tried)));
}

/// Whoever decides with the same log draws the same, also from a snapshot.
#[test]
fn routers_agree_on_who_was_drawn() {
    let mut life = life();
    life.tries(NEW, 50);
    let parts = life.state.to_parts().expect("a snapshot");
    let read = State::from_parts(life.state.salt, &parts.public, &parts.private).expect("it is read");
    assert_eq!(read, life.state);
    State::check_public(&parts.public).expect("it reads as it was written");
    let mut other = Life { state: read, ..life.again() };
    for n in 0..40 {
        let (who, key) = (format!("c{n}"), format!("m{n}"));
        assert_eq!(life.says(&who, &key, "refund", |_| {}), other.says(&who, &key, "refund", |_| {}));
    }
    assert_eq!(other.state, life.state);
}

#[test]
fn each_conversation_waits_and_is_assigned_by_its_own_pack() {
    let mut life = life();
    life.tries(NEW, 100);
    // Only the pack in force says who the agents are: `zoe` is none yet, and one of `ann`'s hundred units is all the other leaves her.
    life.comes("bob");
    life.writes("a", "1");
    let c = |life: &Life, who: &str| {
        let thread = life.state.thread_hash(CHANNEL, who);
        (**life.state.conversation_of_thread(thread).expect("a conversation")).clone()
    };
    assert_eq!(c(&life, "a").status, ConvStatus::Queued, "bob speaks no french");
    let due = c(&life, "a").clock.expect("a clock").due;
    assert_eq!(due.since(life.now), 5 * 60_000, "the clock of the pack that is tried");
    life.comes("ann");
    assert_eq!(c(&life, "a").agent.as_deref().map(String::as_str), Some("ann"));
    // A queue that only it has takes agents in its own order, and can be transferred to within the trial.
    life.says("b", "2", "a refund", |_| {});
    assert_eq!(
        (c(&life, "b").queue.as_deref().map(String::as_str), c(&life, "b").status),
        (Some("billing"), ConvStatus::Assigned)
    );
    let (conversation, to) = (life.conversation_of("a"), Destination::Queue("old-only".into()));
    assert_eq!(life.asks("t", Action::Transfer { conversation, to }).0.code, "unknown_queue");
    // Beside it the pack in force decides as ever.
    life.tries(NEW, 1);
    let other = (0..50).map(|n| format!("o{n}")).find(|who| {
        life.writes(who, &format!("{who} writes"));
        life.trial(who).is_multiple_of(2)
    });
    let other = other.expect("one that was not drawn");
    assert!(c(&life, &other).clock.is_some_and(|k| k.due.since(life.now) > 3_600_000), "no promise: the default clock");
}

#[test]
fn both_packs_are_counted_side_by_side() {
    let mut life = life();
    life.comes("ann");
    life.tries(NEW, 50);
    let people: Vec<String> = (0..60).map(|n| format!("c{n}")).collect();
    for who in &people {
        life.says(who, &format!("{who} refund"), "a refund, bye", |_| {});
    }
    for who in people.iter().filter(|who| life.trial(who) % 2 == 1).cloned().collect::<Vec<_>>().iter().take(5) {
        assert_eq!(life.answers_to(who, &format!("to {who}"), "done").0, 202);
        assert_eq!(life.answers_to(who, &format!("more to {who}"), "indeed").0, 202);
    }
    let canary = life.state.trying().expect("a trial");
    let (tried, others) = (&canary.tried, &canary.others);
    assert_eq!(tried.conversations + others.conversations, 60);
    assert_eq!(tried.places, BTreeMap::from([("queue billing".to_owned(), tried.conversations)]));
    assert_eq!(others.places.values().sum::<u64>(), others.conversations, "each is put somewhere once: {others:?}");
    assert_eq!((tried.auto_replies, others.auto_replies), (tried.conversations, 0));
    assert_eq!((tried.answered(), others.answered()), (5, 0), "an answer counts once");
    assert!(tried.answered_within(50).is_some_and(|ms| ms >= 1_000) && others.answered_within(50).is_none());
    assert_eq!(tried.breached, 0);
    life.passes(2 * 3_600_000);
    let canary = life.state.trying().expect("a trial");
    assert!(canary.tried.breached > 0 && canary.others.breached == 0, "{canary:?}");
}

#[test]
fn what_is_tried_can_be_put_in_force_and_a_trial_ends_with_any_other_pack() {
    let (old, new) = (pack(OLD).hash().to_owned(), pack(NEW).hash().to_owned());
    let mut life = life();
    assert_eq!(life.changes(None, Action::EndTrial { promote: true }).0.code, "no_canary");
    life.tries(NEW, 10);
    let (reply, events) = life.changes(None, Action::EndTrial { promote: true });
    assert_eq!((reply.ids["pack"].clone(), reply.ids["ended"].clone()), (new.clone(), new.clone()));
    assert!(events.iter().any(|e| matches!(&e.public, Public::PackInForce { hash } if *hash == new)));
    assert_eq!(
        (life.came_to(), &life.state.pack, life.state.previous_pack.as_ref()),
        (Some(CanaryEnd::Promoted), &new, Some(&old))
    );
    assert_eq!(decided(&life.says("a", "1", "hello", |_| {})), new);
    // Reloading what is tried is the same; any other pack ends a trial.
    life.reloads(OLD);
    life.tries(NEW, 10);
    life.reloads(NEW);
    assert_eq!((life.came_to(), &life.state.pack), (Some(CanaryEnd::Promoted), &new));
    life.tries(OLD, 10);
    life.reloads(&format!("{NEW}# changed\n"));
    assert_eq!(life.came_to(), Some(CanaryEnd::Replaced));
    // What is in force cannot be tried, and nothing that was not loaded.
    assert_eq!(life.tries(&format!("{NEW}# changed\n"), 10).code, "in_force");
    assert_eq!(life.tries(OLD, 0).code, "share");
    assert_eq!(life.changes(None, Action::TryPack { hash: old, percent: 5 }).0.code, "bad_pack");
    assert!(life.state.trying().is_none());
}

#[test]
fn a_roll_back_takes_the_latest_change_back() {
    let (old, new) = (pack(OLD).hash().to_owned(), pack(NEW).hash().to_owned());
    let mut life = life();
    life.reloads(NEW);
    let changed = format!("{NEW}# changed\n");
    life.tries(&changed, 50);
    life.says("a", "1", "hello", |_| {});
    // First the trial, which keeps the pack in force; then that.
    let (reply, _) = life.changes(Some(pack(OLD)), Action::RollbackPack { to: None });
    assert_eq!((&reply.ids["pack"], &reply.ids["ended"]), (&new, &pack(&changed).hash().to_owned()));
    assert_eq!((life.came_to(), &life.state.pack), (Some(CanaryEnd::RolledBack), &new));
    let (reply, _) = life.changes(Some(pack(OLD)), Action::RollbackPack { to: None });
    assert_eq!((reply.status, &life.state.pack), (200, &old));
    // Any that was in force.
    life.reloads(&changed);
    let (reply, _) = life.changes(Some(pack(NEW)), Action::RollbackPack { to: Some(new.clone()) });
    assert_eq!((reply.status, &life.state.pack), (200, &new));
    let (reply, _) = life.changes(None, Action::RollbackPack { to: Some(old.clone()) });
    assert_eq!((reply.code.as_str(), &life.state.pack), ("bad_pack", &new));
    let were: Vec<String> = life.state.packs.iter().map(|(hash, _)| hash.clone()).collect();
    assert_eq!(were, [old.clone(), new.clone(), old, pack(&changed).hash().to_owned(), new]);
    for n in 0..40 {
        life.reloads(&format!("{OLD}# {n}\n"));
    }
    assert_eq!(life.state.packs.len(), 20);
    assert_eq!(life.state.packs.last().map(|(hash, _)| hash), Some(&life.state.pack));
}

#[test]
fn a_roll_back_to_the_pack_in_force_ends_the_trial_beside_it_and_a_reload_of_it_says_that_one_runs() {
    let (old, new) = (pack(OLD).hash().to_owned(), pack(NEW).hash().to_owned());
    let mut life = life();
    life.tries(NEW, 100);
    life.says("c", "1", "refund", |_| {});
    let reply = life.reloads(OLD);
    assert_eq!((reply.status, reply.ids.get("tried")), (200, Some(&new)));
    assert!(life.state.trying().is_some(), "a reload that changes nothing ends nothing");
    let (reply, _) = life.changes(Some(pack(OLD)), Action::RollbackPack { to: Some(old.clone()) });
    assert_eq!((reply.status, &reply.ids["pack"], reply.ids.get("ended")), (200, &old, Some(&new)));
    assert_eq!((life.came_to(), &life.state.pack), (Some(CanaryEnd::RolledBack), &old));
    assert_eq!(life.state.depth("everyone"), 1, "and what waited in a queue of the tried pack moved");
    assert_eq!(life.reloads(OLD).ids.get("tried"), None);
}

#[test]
fn what_waits_where_only_the_tried_pack_has_a_queue_moves_when_the_trial_ends() {
    let mut life = life();
    life.tries(NEW, 100);
    for n in 0..30 {
        life.says(&format!("c{n}"), &format!("m{n}"), "refund", |_| {});
    }
    assert_eq!(life.state.depth("billing"), 30);
    life.changes(None, Action::RollbackPack { to: None });
    while life.state.depth("billing") > 0 {
        assert!(!life.passes(10).is_empty());
    }
    assert_eq!(life.state.depth("everyone"), 30);
}

/// `NEW` with an offer in the queue that only it has, and the same with a mended word.
fn offering() -> [String; 2] {
    let first = NEW.replace("billing: { strategy", "billing: { offer: { timeout: 60s }, strategy");
    [first.clone(), first.replace("Welcome.", "Welcome!")]
}

#[test]
fn an_offer_that_lapses_after_its_trial_was_replaced_leaves_nobody_in_a_queue_that_their_pack_lacks() {
    let [first, mended] = offering();
    // Stopped and tried anew, or replaced at once; the offer lapses, or is declined.
    for (stops, declines) in [(false, false), (true, false), (false, true)] {
        let mut life = life();
        life.comes("bob");
        life.tries(&first, 100);
        life.says("c", "1", "refund", |_| {});
        let thread = life.state.thread_hash(CHANNEL, "c");
        let now = |life: &Life| (**life.state.conversation_of_thread(thread).expect("a conversation")).clone();
        assert_eq!(
            (now(&life).status, now(&life).queue.as_deref().map(String::as_str)),
            (ConvStatus::Offered, Some("billing"))
        );
        if stops {
            life.changes(None, Action::EndTrial { promote: false });
        }
        life.tries(&mended, 10);
        let offer = now(&life).offer.clone().expect("an offer").id.to_string();
        if declines {
            assert_eq!(life.asks("no", Action::DeclineOffer { offer }).0.status, 200);
        } else {
            life.passes(61_000);
        }
        // The default queue offers nothing, and whoever is free has it: another queue knows nothing of who was asked before.
        assert_eq!(now(&life).queue.as_deref().map(String::as_str), Some("everyone"));
        assert_eq!(
            (now(&life).status, now(&life).agent.as_deref().map(String::as_str)),
            (ConvStatus::Assigned, Some("bob")),
            "{stops}"
        );
        assert_eq!(check_invariants(&life.state, life.packs()), vec![]);
    }
}

#[test]
fn everybody_who_waits_moves_when_a_trial_is_replaced_by_another_with_the_same_queue() {
    let [first, mended] = offering();
    let mut life = life();
    life.tries(&first, 100);
    for n in 0..150 {
        life.says(&format!("c{n}"), &format!("m{n}"), "refund", |_| {});
    }
    assert_eq!(life.state.depth("billing"), 150);
    life.tries(&mended, 1);
    let mut steps = 0;
    // What moves them is a timer, not the arrival of anybody. (Attempts without a result are the router's to settle.)
    while life.state.depth("billing") > 0 {
        assert!(steps < 20 && life.state.next_timer().is_some_and(|at| at.since(life.now) <= 1), "{steps}");
        life.passes(1);
        steps += 1;
    }
    assert!(steps > 1, "one decision did not move them all");
    assert_eq!((life.state.depth("billing"), life.state.depth("everyone")), (0, 150));
    life.comes("bob");
    assert!(life.state.depth("everyone") < 150, "and who is free is given them");
}

#[test]
fn a_tried_pack_replies_within_its_own_budget() {
    let mut life = life();
    life.tries(&format!("{NEW}budget: {{ conversation: 1 }}\n"), 100);
    let replies = |events: &[Event]| events.iter().filter(|e| matches!(e.public, Public::SendQueued { .. })).count();
    assert_eq!(replies(&life.says("c", "1", "hello", |_| {})), 1);
    assert_eq!(replies(&life.says("c", "2", "hello", |_| {})), 0, "the pack in force allows five");
}

#[test]
fn a_router_that_cannot_read_what_is_tried_ends_the_trial() {
    let mut life = life();
    life.tries(NEW, 100);
    life.says("a", "1", "refund", |_| {});
    let channels = BTreeMap::from([(CHANNEL.to_owned(), ChannelProfile::new("sms", "phone"))]);
    let lead = Input::Lead { now: life.now, incarnation: 2, channels: &channels };
    // With it, nothing ends.
    let tried = life.tried.clone();
    let with = InForce { pack: &life.pack, tried: tried.as_ref() };
    let led = decide(life.state.clone(), &lead, with);
    assert!(led.after.trying().is_some());
    let led = decide(life.state.clone(), &lead, &life.pack);
    assert_eq!(led.after.canary.as_deref().and_then(|c| c.ended).map(|(_, how)| how), Some(CanaryEnd::Unreadable));
    assert_eq!(check_invariants(&led.after, &life.pack), vec![]);
    // Another pack on disk ends it too.
    let other = pack(&format!("{OLD}# changed\n"));
    let led = decide(life.state.clone(), &lead, InForce { pack: &other, tried: tried.as_ref() });
    assert_eq!(led.after.canary.as_deref().and_then(|c| c.ended).map(|(_, how)| how), Some(CanaryEnd::Replaced));
}
