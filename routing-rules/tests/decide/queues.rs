//! Queues and agents: who gets what, in which order, and what becomes of it when people come and go.

use crate::life::{CHANNEL, Life};
use std::collections::BTreeMap;
use switchboard_envelope::{Action, Author, ChannelProfile, Destination, Timestamp};
use switchboard_routing_rules::event::{Event, PassedOver, Public, Why};
use switchboard_routing_rules::pack::{ConvStatus, Priority};
use switchboard_routing_rules::{Input, State, decide};

fn life(yaml: &str) -> Life {
    Life::with(ChannelProfile { proactive: true, ..ChannelProfile::new("sms", "phone") }, yaml)
}

impl Life {
    fn is(&mut self, agent: &str, presence: &str) -> Vec<Event> {
        let key = format!("presence {}", self.seq);
        self.asks(&key, Action::Presence { agent: agent.into(), presence: presence.into() }).1
    }

    pub fn conv(&self, who: &str) -> &switchboard_routing_rules::state::Conversation {
        let thread = self.state.thread_hash(CHANNEL, who);
        self.state.conversation_of_thread(thread).expect("a conversation")
    }

    /// `ann`, `ann?` for an offer, or the state's name.
    pub fn has(&self, who: &str) -> String {
        let c = self.conv(who);
        match (&c.offer, &c.agent, c.status) {
            (Some(offer), ..) => format!("{}?", offer.agent),
            (None, Some(agent), ConvStatus::Assigned) => agent.to_string(),
            (.., status) => status.as_str().into(),
        }
    }

    pub fn acts(&mut self, action: Action) -> Vec<Event> {
        let key = format!("act {}", self.seq);
        let (reply, events) = self.asks(&key, action);
        assert!(reply.status < 300, "{reply:?}");
        events
    }

    pub fn closes(&mut self, who: &str) -> Vec<Event> {
        let conversation = self.conversation_of(who);
        self.acts(Action::Close { conversation })
    }

    fn declines(&mut self, who: &str) -> Vec<Event> {
        let offer = self.conv(who).offer.as_ref().expect("an offer").id.to_string();
        self.acts(Action::DeclineOffer { offer })
    }

    fn transfers(&mut self, who: &str, to: Destination) {
        let conversation = self.conversation_of(who);
        self.acts(Action::Transfer { conversation, to });
    }
}

fn replies(life: &Life) -> Vec<String> {
    let auto = life.state.sends.values().filter(|s| matches!(s.author, Author::Auto { .. }));
    let mut sent: Vec<_> = auto.filter_map(|s| Some((s.at, s.private.as_ref()?.content.text.clone()))).collect();
    sent.sort();
    sent.into_iter().map(|(_, text)| text).collect()
}

#[test]
fn the_head_of_a_queue_never_hides_those_behind_whom_somebody_can_take() {
    let mut life = life("
zone: UTC
queues: { q: {} }
agents: { ann: { skills: [french] }, bob: { capacity: 200 } }
rules: [{ name: French, when: { text: { contains: hello }, from: { prefix: fr } }, then: { skills: [french], queue: q } }]
default: { queue: q }
");
    for n in 0..100 {
        life.writes(&format!("fr{n}"), &format!("f{n}"));
    }
    life.writes("en", "e");
    life.is("bob", "available");
    assert_eq!((life.has("en"), life.has("fr0")), ("bob".into(), "queued".into()));
}

#[test]
fn what_waits_longest_comes_first_whatever_its_queue_is_called() {
    let mut life = life(
        "
zone: UTC
queues: { a: {}, z: { ageing: 30m } }
agents: { ann: { capacity: 1 } }
rules:
  - { name: a, when: { from: { prefix: a } }, then: { queue: a } }
  - { name: u, when: { from: { prefix: zu } }, then: { queue: z, priority: urgent } }
default: { queue: z }
",
    );
    life.writes("z1", "1");
    life.writes("a1", "2");
    life.is("ann", "available");
    assert_eq!(life.has("z1"), "ann", "it came first");
    life.passes(1_000);
    life.writes("zu", "3");
    life.closes("z1");
    assert_eq!((life.has("zu"), life.has("a1")), ("ann".into(), "queued".into()), "urgent is worth an hour");
    life.passes(2 * 3_600_000);
    life.writes("zu2", "4");
    life.closes("zu");
    assert_eq!((life.has("a1"), life.has("zu2")), ("ann".into(), "queued".into()), "and no more than that");
}

#[test]
fn who_waits_longest_is_known_whatever_the_priorities() {
    let mut life = life("
zone: UTC
queues: { q: { ageing: 10m } }
agents: { ann: { capacity: 1 } }
rules: [{ name: urgent, when: { from: { prefix: u } }, then: { priority: urgent } }, { name: low, when: { from: { prefix: l } }, then: { priority: low } }]
default: { queue: q }
");
    assert_eq!(life.state.oldest("q"), None);
    let mut first = None;
    for who in ["l1", "x1", "u1", "x2", "u2", "l2"] {
        life.writes(who, who);
        life.passes(60_000);
        first = first.or(life.conv(who).queued_at.get());
        assert_eq!(life.state.oldest("q"), first);
    }
    let order: Vec<_> = life.state.waiting("q").map(|k| k.conv).collect();
    let wanted = ["u1", "u2", "x1", "x2", "l1", "l2"].map(|who| life.conv(who).id);
    assert_eq!(order, wanted, "and the line is one");
    assert_eq!(
        wanted.map(|id| life.state.place(life.state.conversation(id).expect("it waits"))),
        [1, 2, 3, 4, 5, 6].map(Some)
    );
}

#[test]
fn without_ageing_a_low_priority_waits_behind_a_days_worth_and_not_for_ever() {
    let pack = "
zone: UTC
queues: { q: {} }
agents: { ann: { capacity: 1 } }
rules: [{ name: low, when: { from: low }, then: { priority: low } }]
default: { queue: q }
";
    for (days, first) in [(0, "later"), (2, "low")] {
        let mut life = life(pack);
        life.writes("low", "1");
        life.passes(days * 86_400_000 + 1_000);
        life.writes("later", "2");
        life.is("ann", "available");
        assert_eq!(life.has(first), "ann", "after {days} days");
        assert_eq!(life.conv("low").priority, Priority::Low);
    }
}

#[test]
fn strategies_choose_as_they_are_called() {
    let pack = |strategy: &str| {
        format!(
            "zone: UTC\nqueues: {{ q: {{ strategy: {strategy} }} }}\nagents: {{ ann: {{}}, bob: {{}}, cy: {{}} }}\ndefault: {{ queue: q }}\n"
        )
    };
    let run = |strategy: &str| {
        let mut life = life(&pack(strategy));
        for agent in ["cy", "bob", "ann"] {
            life.is(agent, "available");
        }
        let mut got = vec![];
        for n in 0..3 {
            let who = format!("w{n}");
            life.writes(&who, &who);
            got.push(life.has(&who));
        }
        // Bob is done first, then Ann; Cy keeps his.
        for who in ["bob", "ann"] {
            let (of, _) = got.iter().enumerate().find(|(_, a)| *a == who).expect("each got one");
            life.closes(&format!("w{of}"));
        }
        life.writes("next", "next");
        got.push(life.has("next"));
        got
    };
    assert_eq!(run("round_robin"), ["ann", "bob", "cy", "ann"], "by turns, whoever is done when");
    assert_eq!(run("least_loaded"), ["ann", "bob", "cy", "ann"], "of those with nothing, who waited longest for one");
    assert_eq!(run("longest_idle"), ["cy", "bob", "ann", "bob"], "who came first, then who was done first");
}

#[test]
fn skills_have_levels_and_capacity_is_counted_in_units() {
    let mut life = Life::with(
        ChannelProfile { cost: 50, ..ChannelProfile::new("email", "phone") },
        "
zone: UTC
queues: { q: { skills: { french: 2 } } }
agents: { ann: { skills: { french: 1 } }, bob: { skills: { french: 3 }, capacity: 1.5 } }
default: { queue: q }
",
    );
    life.is("ann", "available");
    life.is("bob", "available");
    for who in ["a", "b", "c", "d"] {
        life.writes(who, who);
    }
    assert_eq!(["a", "b", "c", "d"].map(|w| life.has(w)), ["bob", "bob", "bob", "queued"], "half a unit each");
    life.writes("e", "e");
    let events = life.is("ann", "away");
    assert!(!events.iter().any(|e| matches!(e.public, Public::Assigned { .. })), "{events:?}");
}

#[test]
fn each_agent_who_is_passed_over_is_told_why() {
    let mut life = life(
        "
zone: UTC
queues: { q: { skills: [french], offer: { timeout: 60s } } }
agents:
  ann: { skills: [french] }
  bob: { skills: [french], capacity: 1 }
  cy: {}
  dan: { skills: [french] }
  eve: { skills: [french] }
  fay: { skills: [french] }
default: { queue: q }
",
    );
    for agent in ["bob", "cy", "dan", "fay"] {
        life.is(agent, "available");
    }
    life.is("eve", "away");
    life.writes("first", "1");
    assert_eq!(life.has("first"), "bob?");
    life.writes("second", "2");
    assert_eq!(life.has("second"), "dan?");
    let events = life.declines("second");
    let considered = events.iter().find_map(|e| match &e.public {
        Public::Offered { agent, considered, .. } => Some((agent.clone(), considered.clone())),
        _ => None,
    });
    let (agent, considered) = considered.expect("the next one is asked");
    assert_eq!(agent, "fay");
    let passed: BTreeMap<_, _> = considered.passed.into_iter().collect();
    let wanted = [
        ("ann", PassedOver::Offline),
        ("bob", PassedOver::Capacity { load: 100, capacity: 100 }),
        ("cy", PassedOver::MissingSkill("french".into())),
        ("dan", PassedOver::Declined),
        ("eve", PassedOver::Away),
    ];
    assert_eq!(passed, wanted.map(|(a, why)| (a.to_owned(), why)).into());
    assert_eq!(considered.others, 0);
}

#[test]
fn of_a_thousand_agents_twenty_are_named_and_the_rest_counted() {
    let agents: Vec<String> = (0..1000).map(|n| format!("a{n}: {{}}")).collect();
    let mut life = life(&format!(
        "zone: UTC\nqueues: {{ q: {{}} }}\nagents: {{ {} }}\ndefault: {{ queue: q }}\n",
        agents.join(", ")
    ));
    life.is("a500", "available");
    life.is("a700", "available");
    let events = life.says("who", "1", "hello", |_| {});
    let considered = events.iter().find_map(|e| match &e.public {
        Public::Assigned { considered, .. } => Some(considered.clone()),
        _ => None,
    });
    let considered = considered.expect("it is assigned");
    assert_eq!(considered.chosen.as_deref(), Some("a500"));
    assert_eq!((considered.passed.len(), considered.others), (20, 979));
    let other = considered.passed.iter().find(|(a, _)| a == "a700");
    assert_eq!(other.map(|(_, why)| why), Some(&PassedOver::LessPreferred), "who was able is named");
}

#[test]
fn offers_that_lapse_make_an_agent_away_and_nobody_is_asked_twice_at_once() {
    let mut life = life(
        "
zone: UTC
queues: { q: { offer: { timeout: 30s } } }
presence: { lapses: 2 }
agents: { ann: {}, bob: {} }
default: { queue: q }
",
    );
    life.is("ann", "available");
    life.writes("a", "a");
    life.writes("b", "b");
    assert_eq!((life.has("a"), life.has("b")), ("ann?".into(), "ann?".into()));
    let events = life.passes(31_000);
    let away = events.iter().any(|e| matches!(&e.public, Public::PresenceChanged { lapsed: true, .. }));
    assert!(away, "{events:?}");
    assert_eq!((life.has("a"), life.has("b")), ("queued".into(), "queued".into()));
    life.is("bob", "available");
    assert_eq!((life.has("a"), life.has("b")), ("bob?".into(), "bob?".into()));
    // Whoever goes away is not waited for.
    life.is("ann", "available");
    life.passes(121_000);
    life.is("bob", "away");
    assert!(life.conv("a").offer.as_ref().is_none_or(|o| o.agent == "ann"), "{}", life.has("a"));
}

#[test]
fn who_goes_offline_gives_back_to_the_head_after_a_grace() {
    let mut life = life(
        "
zone: UTC
queues: { q: {} }
presence: { grace: 2m }
agents: { ann: { capacity: 1 }, bob: { capacity: 1 } }
default: { queue: q }
",
    );
    life.is("ann", "available");
    life.writes("first", "1");
    life.writes("second", "2");
    life.is("ann", "offline");
    life.passes(60_000);
    life.is("ann", "available");
    life.passes(120_000);
    assert_eq!(life.has("first"), "ann", "back in time");
    life.is("ann", "offline");
    life.passes(121_000);
    assert_eq!(life.has("first"), "queued");
    life.is("bob", "available");
    assert_eq!(
        (life.has("first"), life.has("second")),
        ("bob".into(), "queued".into()),
        "it comes before who came later"
    );
}

#[test]
fn a_queue_that_sticks_asks_for_who_answered_the_contact_last_and_for_so_long() {
    let pack = "
zone: UTC
queues: { q: { sticky: 7d, reopen: 1h, strategy: longest_idle } }
agents: { ann: {}, bob: {} }
default: { queue: q }
";
    for (days, agent) in [(2, "ann"), (8, "bob")] {
        let mut life = life(pack);
        life.is("ann", "available");
        life.writes("who", "1");
        let (_, _, send) = life.answers_to("who", "r", "hi");
        life.result(&send, switchboard_envelope::Outcome::Accepted, false, &["p"]);
        life.closes("who");
        // The conversation leaves the state, and who had it is still known.
        life.passes(3_600_001);
        assert!(life.state.conversations.is_empty(), "forgotten");
        life.is("bob", "available");
        life.is("ann", "away");
        life.is("ann", "available");
        life.passes(days * 86_400_000);
        life.writes("who", "2");
        assert_eq!(life.has("who"), agent, "after {days} days");
        let parts = life.state.to_parts().expect("a snapshot");
        let again = State::from_parts(life.state.salt, &parts.public, &parts.private).expect("it reads");
        assert_eq!(again, life.state);
    }
}

#[test]
fn a_rules_queue_is_kept_for_later_where_its_agent_takes_at_once() {
    let mut life = life(
        "
zone: UTC
queues: { q: {}, vip: { sla: { first_response: 5m, resolution: 1h } } }
agents: { ann: {} }
rules: [{ name: vip, when: { from: vip }, then: { agent: ann, queue: vip } }]
default: { queue: q }
",
    );
    life.is("ann", "available");
    life.writes("vip", "1");
    let c = life.conv("vip");
    assert_eq!((life.has("vip"), c.queue.as_deref().map(String::as_str)), ("ann".into(), Some("vip")));
    assert_eq!(c.clock.as_ref().map(|k| k.due.since(c.opened_at)), Some(300_000), "its clock runs");
    life.is("ann", "offline");
    life.passes(61_000);
    assert_eq!(
        (life.has("vip"), life.conv("vip").queue.as_deref().map(String::as_str)),
        ("queued".into(), Some("vip"))
    );
}

#[test]
fn a_transfer_to_a_queue_does_not_come_straight_back() {
    let mut life = life(
        "
zone: UTC
queues: { q: {}, r: {} }
agents: { ann: {}, bob: {} }
default: { queue: q }
",
    );
    life.is("ann", "available");
    life.writes("who", "1");
    life.transfers("who", Destination::Queue("r".into()));
    assert_eq!(life.has("who"), "queued");
    life.is("bob", "available");
    assert_eq!(life.has("who"), "bob");
    life.transfers("who", Destination::Agent("ann".into()));
    assert_eq!(life.has("who"), "ann");
    life.is("bob", "offline");
    life.transfers("who", Destination::Queue("q".into()));
    assert_eq!(life.has("who"), "queued");
    life.passes(121_000);
    assert_eq!(life.has("who"), "ann", "who gave it away is asked last");
}

#[test]
fn wrapping_up_keeps_new_work_away_for_a_while() {
    let mut life = life(
        "
zone: UTC
queues: { q: { wrap_up: 45s } }
agents: { ann: {} }
rules: [{ name: Bye, when: { text: bye }, then: { close: true } }]
default: { queue: q }
",
    );
    life.is("ann", "available");
    life.writes("a", "a");
    life.closes("a");
    life.writes("b", "b");
    assert_eq!(life.has("b"), "queued");
    life.passes(45_000);
    assert_eq!(life.has("b"), "ann");
    life.closes("b");
    life.writes("c", "c");
    assert_eq!(life.has("c"), "queued");
    life.is("ann", "available");
    assert_eq!(life.has("c"), "ann", "they may say that they are done");
    life.says("c", "d", "bye", |_| {});
    assert_eq!(
        (life.has("c"), life.state.agents["ann"].wrap_until),
        ("closed".into(), None),
        "a rule leaves nothing to finish"
    );
}

#[test]
fn a_full_queue_sends_the_next_one_on_but_not_who_comes_back() {
    let mut life = life(
        "
zone: UTC
queues: { q: { limit: { waiting: 2, queue: r } }, r: { limit: { waiting: 1, queue: s } }, s: {} }
agents: { ann: { capacity: 1 } }
default: { queue: q }
",
    );
    for who in ["a", "b", "c", "d"] {
        life.writes(who, who);
    }
    let queues = |life: &Life| ["a", "b", "c", "d"].map(|w| life.conv(w).queue.clone().expect("a queue"));
    assert_eq!(queues(&life), ["q", "q", "r", "s"]);
    life.is("ann", "available");
    life.writes("e", "e");
    assert_eq!(
        (life.has("a"), life.conv("e").queue.as_deref().map(String::as_str)),
        ("ann".into(), Some("q")),
        "there was room again"
    );
    life.is("ann", "offline");
    life.passes(61_000);
    assert_eq!(life.conv("a").queue.as_deref().map(String::as_str), Some("q"), "it stood here before");
    assert_eq!(life.state.depth("q"), 3);
}

#[test]
fn more_than_one_decision_may_assign_goes_on_by_itself() {
    let mut life = life("zone: UTC\nqueues: { q: {} }\nagents: { ann: { capacity: 150 } }\ndefault: { queue: q }\n");
    for n in 0..150 {
        life.writes(&format!("w{n}"), &format!("w{n}"));
    }
    let events = life.is("ann", "available");
    assert!(events.len() < 400, "{}", events.len());
    assert_eq!(life.state.depth("q"), 150 - 64);
    assert_eq!(life.state.next_timer(), life.state.assign_at);
    life.passes(10);
    life.passes(10);
    assert_eq!((life.state.depth("q"), life.state.assign_at), (0, None));
}

#[test]
fn a_customer_learns_the_place_and_the_wait() {
    let mut life = life(
        "
zone: UTC
queues: { q: {} }
agents: { ann: { capacity: 1 } }
replies: { hi: 'You are {{ queue.place }}, that is number {{ queue.position }}: {{ queue.wait }}. {{ message.text }}' }
rules: [{ name: Hello, when: { new: true }, then: { reply: hi } }]
default: { queue: q }
",
    );
    life.is("ann", "available");
    life.writes("0", "0");
    for n in 1..=7 {
        life.writes(&n.to_string(), &n.to_string());
    }
    let said = replies(&life);
    assert_eq!(said[0], "You are first, that is number 1: a moment. hello");
    assert_eq!(said[3], "You are third, that is number 3: a while. hello", "nothing is known of the pace yet");
    for n in 0..4 {
        life.passes(119_000);
        life.closes(&n.to_string());
    }
    assert_eq!(life.state.estimated_wait("q", 3), Some(360_000));
    life.writes("8", "8");
    assert_eq!(replies(&life).last().expect("one"), "You are fourth, that is number 4: about eight minutes. hello");
    assert_eq!(life.state.place(life.conv("8")), Some(4));
    assert_eq!(life.state.place(life.conv("4")), None, "whoever is served has no place");
}

#[test]
fn a_previous_owner_is_preferred_and_a_supervisor_may_take() {
    let mut life = life("zone: UTC\nqueues: { q: {} }\nagents: { ann: {}, bob: {} }\ndefault: { queue: q }\n");
    life.is("bob", "available");
    life.writes("who", "1");
    assert_eq!(life.has("who"), "bob");
    let conversation = life.conversation_of("who");
    let (reply, _) = life.asks_with(
        switchboard_envelope::Scope::Agent,
        "steal",
        Action::Take { conversation: conversation.clone() },
    );
    assert_eq!((reply.status, reply.code.as_str()), (409, "owned"));
    let events = life.acts(Action::Take { conversation: conversation.clone() });
    assert_eq!(life.has("who"), "ann");
    assert!(events.iter().any(|e| matches!(&e.public, Public::Assigned { why: Why::Taken, .. })));
    let until = life.now.plus(600_000);
    life.acts(Action::Snooze { conversation, until });
    assert_eq!(life.has("who"), "snoozed");
    life.is("ann", "available");
    life.passes(600_000);
    assert_eq!(life.has("who"), "ann", "it comes back to whom it was with");
}

#[test]
fn whatever_people_do_the_promises_hold() {
    whatever_people_do(
        "
zone: UTC
queues:
  asked: { skills: [french], offer: { timeout: 30s }, overflow: [{ after: 2m, skills: [] }, { after: 5m, queue: open, priority: high }] }
  open: { strategy: longest_idle, ageing: 10m, sticky: 1d, wrap_up: 20s, limit: { waiting: 4, queue: last } }
  last: { strategy: round_robin, sla: { first_response: 10m, warn: 50%, on_breach: { priority: urgent } } }
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

#[test]
fn whatever_people_do_the_promises_hold_where_steps_do_not_wait_and_rules_follow_up() {
    whatever_people_do(
        "
zone: UTC
queues:
  asked:
    skills: [french]
    prefer: [french, { german: least }]
    offer: { timeout: 30s }
    overflow:
      - { after: 2m, if: nobody_available, skills: [] }
      - { if: nobody_free, queue: open }
      - { after: 5m, queue: last, priority: high }
  open: { prefer: german, ageing: 10m, limit: { waiting: 4, queue: last }, overflow: [{ if: nobody_available, queue: last }] }
  last: { strategy: round_robin, sla: { first_response: 10m, warn: 50%, on_breach: { priority: urgent } } }
presence: { grace: 30s, lapses: 2 }
agents:
  ann: { skills: { french: 2 }, capacity: 2 }
  bob: { skills: { french: 1, german: 1 }, capacity: 3 }
  cy: { capacity: 1 }
replies: { has: \"{{ agent.name | default('Somebody') }} has it.\", bye: Goodbye. }
rules:
  - { name: French, when: { from: { prefix: f } }, then: { queue: asked } }
  - { name: Two, when: { from: { prefix: g } }, then: { agent: [cy, bob], wait: 40s, queue: asked, priority: urgent } }
  - { name: Has, on: assigned, then: { reply: has, tag: told }, continue: true }
  - { name: Urgent, on: assigned, when: { queue: asked }, then: { priority: urgent } }
  - { name: Bye, on: closed, then: { reply: bye } }
  - { name: Moved, on: moved, when: { priority: [normal, urgent] }, then: { tag: moved, priority: high } }
default: { queue: open }
",
    );
}

/// Nobody waits whom somebody could take (I14), loads are what is borne (I7), and the fold is the same.
pub fn whatever_people_do(pack: &str) {
    for seed in 0..60u64 {
        let mut life = life(pack);
        let mut events: Vec<Event> = vec![];
        let mut dice = seed;
        let mut below = |end: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % end
        };
        for step in 0..120 {
            let who = format!("{}{}", ["f", "g", "x"][below(3) as usize], below(6));
            let agent = ["ann", "bob", "cy"][below(3) as usize];
            let known = |life: &Life| {
                let thread = life.state.thread_hash(CHANNEL, &who);
                life.state.conversation_of_thread(thread).map(|c| c.id.to_string())
            };
            let key = format!("{step}");
            let offered = life.state.offers().next().map(|(o, _)| o.to_string());
            let happened = match (below(9), known(&life)) {
                (0..=2, _) | (_, None) => {
                    life.writes(&who, &key);
                    vec![]
                }
                (3 | 4, _) => life.is(agent, ["available", "available", "away", "offline"][below(4) as usize]),
                (5, Some(conversation)) => life.asks(&key, Action::Close { conversation }).1,
                (6, Some(conversation)) => {
                    let to = Destination::Queue(["asked", "open", "last"][below(3) as usize].into());
                    life.asks(&key, Action::Transfer { conversation, to }).1
                }
                (7, Some(_)) => match offered {
                    Some(offer) if below(2) == 0 => life.asks(&key, Action::DeclineOffer { offer }).1,
                    Some(offer) => life.asks(&key, Action::AcceptOffer { offer }).1,
                    None => vec![],
                },
                _ => life.passes([1_000, 30_000, 180_000][below(3) as usize]),
            };
            events.extend(happened);
            for (name, a) in &life.state.agents {
                let most = life.pack.agent(name).expect("in the pack").capacity;
                assert!(a.load <= most, "seed {seed}, step {step}: {name} bears {} of {most}", a.load);
            }
        }
        let parts = life.state.to_parts().expect("a snapshot");
        State::check_public(&parts.public).expect("it says what it was made of");
        let again = State::from_parts(life.state.salt, &parts.public, &parts.private).expect("it reads");
        assert_eq!(again, life.state, "seed {seed}");
        assert!(events.iter().any(|e| matches!(e.public, Public::Assigned { .. })), "seed {seed}: something happened");
    }
}

#[test]
fn time_that_is_set_back_takes_what_agents_wait_for_with_it() {
    let mut life =
        life("zone: UTC\nqueues: { q: { wrap_up: 45s, sticky: 1d } }\nagents: { ann: {} }\ndefault: { queue: q }\n");
    let right = life.now;
    life.now = life.now.plus(365 * 86_400_000);
    life.is("ann", "available");
    life.writes("a", "a");
    life.closes("a");
    let decision = decide(life.state.clone(), &Input::Timers { now: right }, &life.pack);
    life.state = decision.after;
    let wrap = life.state.agents["ann"].wrap_until.expect("she wraps up");
    assert!(wrap > right && wrap.since(right) < 60_000, "{wrap}");
    assert!(life.state.next_timer().is_some_and(|at| at <= Timestamp(right.0 + 60_000)));
}
