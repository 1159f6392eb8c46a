//! What an explanation says of a decision, and of what came of it.

use super::super::explain::{Moves, later, outcome, seen_facts};
use super::super::told::{Story, moved};
use super::super::views::Names;
use crate::history::{Cause, Considering, EventLine, Facts, FactsOutcome, Message};
use serde_json::{Value, json};
use switchboard_envelope::Timestamp;
use switchboard_routing_rules::event::{ClockKind, Considered, Happening, PassedOver, StepTaken, Why};
use switchboard_routing_rules::pack::{ConvStatus, Priority, RuleTrace, SeenState};
use switchboard_routing_rules::waiting::Waiting;

const NOW: Timestamp = Timestamp(1_795_219_200_000);

fn facts(state: Option<ConvStatus>) -> Facts {
    let seen = SeenState {
        now: NOW,
        new: state.is_none(),
        state,
        queue: state.map(|_| "billing".to_owned()),
        contact_agent: Some("ann".to_owned()),
        ..SeenState::default()
    };
    Facts {
        pack: "p".into(),
        at: NOW,
        hits: vec![],
        place: None,
        seen: Some(seen),
        message: None,
        from: None,
        considering: vec![],
        not_replied: vec![],
        outcome: FactsOutcome::default(),
    }
}

fn sentences(facts: &Facts, traces: Option<&[RuleTrace]>, names: &Names, since: &[Message]) -> Vec<String> {
    Story { facts, traces, missing: None, names, since, waits: None }.sentences()
}

fn told(facts: &Facts) -> Vec<String> {
    let names = Names::of_test(&[("ann", "Ann"), ("bob", "Bob")]);
    let mut told = sentences(facts, None, &names, &[]);
    assert_eq!(told.remove(0), "No rule matched.");
    told
}

#[test]
fn who_was_moved_stays_there_while_the_rules_choose_the_same() {
    let facts = Facts { hits: vec!["VIP".into()], ..facts(Some(ConvStatus::Queued)) };
    let trace = RuleTrace {
        rule: "VIP".into(),
        place: "a.yaml:1".into(),
        matched: true,
        skipped: false,
        failed: None,
        applied: vec!["queue vip".into()],
        superseded: vec![],
    };
    let told = sentences(&facts, Some(&[trace]), &Names::of_test(&[]), &[]);
    let stays = "It stays in the queue billing: the rules choose for it what they chose before.";
    assert_eq!(told, ["The rule “VIP” matched.", stays]);
}

#[test]
fn the_facts_tell_the_priority_that_it_had_where_it_was_kept() {
    let mut facts = facts(Some(ConvStatus::Queued));
    assert_eq!(seen_facts(&facts, None).get("priority"), None);
    facts.seen = facts.seen.map(|seen| SeenState { priority: Some(Priority::High), ..seen });
    assert_eq!(seen_facts(&facts, None)["priority"], json!("high"));
}

fn line(ms: i64, event: EventLine) -> Message {
    use crate::history::{Direction, Who};
    Message {
        seq: 1,
        id: "e1".into(),
        conversation: crate::history::tests::conv(1),
        conversation_seq: 1,
        direction: Direction::Event,
        author: Who::Contact,
        text: None,
        subject: None,
        attachments: vec![],
        choice: None,
        choices: vec![],
        at: NOW.plus(ms),
        status: None,
        code: None,
        detail: None,
        to: None,
        client_id: None,
        resends: None,
        event: Some(event),
        sender_proof: None,
    }
}

/// What is told of what came a minute later.
fn told_of(events: &[EventLine]) -> Vec<String> {
    let since: Vec<Message> = events.iter().map(|event| line(60_000, event.clone())).collect();
    let names = Names::of_test(&[("ann", "Ann"), ("bob", "Bob")]);
    let said = sentences(&facts(None), None, &names, &since).split_off(1);
    let later = "Later, at 2026-11-21T00:01:00.000Z, ";
    said.iter().map(|said| said.strip_prefix(later).unwrap_or(said).to_owned()).collect()
}

fn step(number: Option<u32>, why: Why, only: &[&str]) -> Cause {
    let only = only.iter().map(|agent| (*agent).to_owned()).collect();
    let after_ms = (why == Why::Overflow).then_some(90_000);
    Cause::Step { queue: Some("leads".into()), taken: Some(StepTaken { number, why, after_ms, only }) }
}

#[test]
fn what_changed_its_priority_is_told() {
    let raised = |cause: Option<Cause>, by: Option<&str>| EventLine {
        what: "prioritised".into(),
        cause,
        by: by.map(str::to_owned),
        priority: Some((Priority::Normal, Priority::High)),
        ..EventLine::default()
    };
    let of_before = Cause::Step { queue: Some("leads".into()), taken: None };
    for (cause, by, why) in [
        (
            Some(step(Some(2), Why::Overflow, &[])),
            None,
            " because it had waited 1 minute 30 seconds (step 2 of its overflow in leads)",
        ),
        (
            Some(step(Some(1), Why::NobodyThere, &[])),
            None,
            " because nobody was there who could take it (step 1 of its overflow in leads)",
        ),
        (Some(of_before), None, " by a step of its overflow in leads"),
        (Some(Cause::Breached(ClockKind::FirstResponse)), None, " because its first answer was late"),
        (Some(Cause::Breached(ClockKind::Resolution)), None, " because it should have been resolved"),
        (Some(Cause::Warned(ClockKind::NextResponse)), None, " because an answer was due soon"),
        (Some(Cause::Rules(vec!["Who has it".into()])), None, " by the rule “Who has it”"),
        (None, Some("ann"), ": Ann changed it"),
        (None, None, ""),
    ] {
        assert_eq!(told_of(&[raised(cause, by)]), [format!("its priority went from normal to high{why}.")]);
    }
}

#[test]
fn what_a_step_stopped_asking_for_is_told() {
    let relaxed = |skills: Option<&[(&str, u8)]>, cause: Cause| EventLine {
        what: "relaxed".into(),
        cause: Some(cause),
        skills: skills.map(|all| all.iter().map(|(skill, level)| ((*skill).to_owned(), *level)).collect()),
        ..EventLine::default()
    };
    assert_eq!(
        told_of(&[
            relaxed(None, step(None, Why::Overflow, &["ann", "bob"])),
            relaxed(Some(&[("german", 2)]), step(Some(1), Why::Overflow, &["ann"])),
            relaxed(Some(&[]), step(Some(2), Why::Overflow, &[])),
        ]),
        [
            "others than Ann and Bob were asked too because it had waited 1 minute 30 seconds for Ann and Bob.",
            "it wanted german 2 only, and others than Ann were asked too because it had waited 1 minute 30 seconds \
             (step 1 of its overflow in leads).",
            "it wanted no skills any more because it had waited 1 minute 30 seconds (step 2 of its overflow in leads).",
        ]
    );
}

#[test]
fn who_moved_it_is_told_and_which_rules_followed_up() {
    let queued = |why: Why, by: Option<&str>, cause: Option<Cause>| EventLine {
        what: "queued".into(),
        queue: Some("billing".into()),
        why: Some(why),
        by: by.map(str::to_owned),
        cause,
        ..EventLine::default()
    };
    let rule = Some(Why::Rule("Who has it".into()));
    let on = Some(Happening::Moved);
    let followed = EventLine { what: "followed_up".into(), why: rule, on, ..EventLine::default() };
    assert_eq!(
        told_of(&[
            followed,
            queued(Why::Transferred, Some("ann"), None),
            queued(Why::Transferred, None, None),
            queued(Why::TransferredOn("sales".into()), Some("ann"), None),
            queued(Why::Overflow, None, Some(step(Some(1), Why::Overflow, &[]))),
            queued(Why::Timer, None, Some(Cause::Breached(ClockKind::FirstResponse))),
            queued(Why::Overflow, None, Some(Cause::Full)),
            queued(Why::Returned, None, None),
        ]),
        [
            "Ann moved it to the queue billing.",
            "it was moved to the queue billing by transfer.",
            "Ann moved it to the queue sales, which was full, and it went on to the queue billing.",
            "it went on to the queue billing because it had waited 1 minute 30 seconds (step 1 of its overflow in leads).",
            "it went on to the queue billing because its first answer was late.",
            "it went on to the queue billing because the queue chosen for it was full.",
            "it was put in the queue billing because its owner left or gave it back.",
            "the rule “Who has it” followed up when somebody put it into a queue.",
        ]
    );
    let given = |why: Why, by: Option<&str>, from: Option<&str>| {
        let (by, from) = (by.map(str::to_owned), from.map(str::to_owned));
        let (agent, why) = (Some("bob".to_owned()), Some(why));
        let one = Considering { at: NOW, agent, offered: false, why, considered: Considered::default(), by, from };
        moved(&one, "it", &Names::of_test(&[("ann", "Ann"), ("bob", "Bob")]), None)
    };
    assert_eq!(given(Why::Transferred, Some("ann"), Some("ann")), "Ann transferred it to Bob.");
    assert_eq!(given(Why::Transferred, Some("ops"), Some("ann")), "ops transferred it from Ann to Bob.");
    assert_eq!(given(Why::Taken, None, Some("ann")), "Bob took it over from Ann.");
    assert_eq!(given(Why::Taken, None, None), "Bob took it.");
    let for_bob = "it was assigned to Bob, for whom ops took or answered it.";
    assert_eq!(given(Why::Taken, Some("ops"), None), for_bob);
}

#[test]
fn a_queue_that_was_full_and_what_put_it_there_is_told_once() {
    let full = EventLine {
        what: "queued".into(),
        queue: Some("late".into()),
        why: Some(Why::Overflow),
        cause: Some(Cause::Full),
        ..EventLine::default()
    };
    let placed = |why: Why, hits: &[&str]| {
        let outcome = FactsOutcome { queue: Some("late".into()), placed: Some(why), ..FactsOutcome::default() };
        let hits = hits.iter().map(|hit| (*hit).to_owned()).collect();
        let facts = Facts { outcome, hits, ..facts(None) };
        sentences(&facts, None, &Names::of_test(&[]), &[line(0, full.clone())])[1..].to_vec()
    };
    assert_eq!(placed(Why::Overflow, &[]), ["It was put in the queue late: the one chosen for it was full."]);
    assert_eq!(placed(Why::Default, &[])[0], "The pack's default put it in the queue late.");
    let by = Why::Rule("VIP".into());
    assert_eq!(placed(by.clone(), &["VIP"])[0], "It was put in the queue late.");
    assert_eq!(placed(by, &["VIP", "Note"])[0], "The rule “VIP” put it in the queue late.");
}

#[test]
fn whom_a_rule_named_is_told_and_that_nobody_could_then_nor_can_now_once() {
    let trace = |applied: &str| RuleTrace {
        rule: "VIP".into(),
        place: "a.yaml:1".into(),
        matched: true,
        skipped: false,
        failed: None,
        applied: vec!["queue vip".into(), applied.into()],
        superseded: vec![],
    };
    let names = Names::of_test(&[("ann", "Ann")]);
    let passed = vec![("ann".to_owned(), PassedOver::Offline)];
    let considered = Considered { chosen: None, passed, others: 0 };
    let nobody = Considering { at: NOW, agent: None, offered: false, why: None, considered, by: None, from: None };
    let outcome = FactsOutcome { queue: Some("vip".into()), ..FactsOutcome::default() };
    let facts = Facts { considering: vec![nobody.clone()], outcome, hits: vec!["VIP".into()], ..facts(None) };
    let told = |facts: &Facts, applied: &str, waits: Option<&Waiting>| {
        let traces = [trace(applied)];
        let story = Story { facts, traces: Some(&traces), missing: None, names: &names, since: &[], waits };
        (story.sentences().split_off(2), story.is_as_then())
    };
    let then = "Nobody could take it then: the only agent was offline.";
    for (applied, said) in [
        ("agent ann or bob", "The rule “VIP” named Ann or bob for it."),
        ("agent sticky", "The rule “VIP” asked for the agent who knows the customer."),
        ("agent (nobody of that name)", "The rule “VIP” named somebody for it who is no agent of the pack."),
    ] {
        assert_eq!(told(&facts, applied, None), (vec![said.to_owned(), then.to_owned()], false));
    }
    let waits = Waiting {
        queue: "vip".into(),
        since: None,
        place: Some(1),
        depth: 1,
        wait_ms: None,
        wanted: [].into(),
        presence: vec![],
        asked_first: None,
        next_step: None,
        agents: vec![("ann".into(), Some(PassedOver::Offline))],
    };
    let named = "The rule “VIP” named Ann for it.".to_owned();
    assert_eq!(told(&facts, "agent ann", Some(&waits)), (vec![named.clone()], true), "how it is now says it");
    let full = EventLine {
        what: "queued".into(),
        queue: Some("vip".into()),
        why: Some(Why::Overflow),
        cause: Some(Cause::Full),
        ..EventLine::default()
    };
    let outcome = FactsOutcome { placed: Some(Why::Overflow), ..facts.outcome.clone() };
    let elsewhere = Facts { outcome, ..facts.clone() };
    let since = [line(0, full)];
    let story =
        Story { facts: &elsewhere, traces: None, missing: None, names: &names, since: &since, waits: Some(&waits) };
    assert!(story.is_as_then(), "that its own queue was full came before");
    let other = Waiting { agents: vec![("ann".into(), Some(PassedOver::Away))], ..waits };
    assert_eq!(told(&facts, "agent ann", Some(&other)), (vec![named, then.to_owned()], false));
    let given = Considering { agent: Some("ann".into()), why: Some(Why::Rule("VIP".into())), ..nobody };
    let facts = Facts { considering: vec![given], ..facts };
    let said = told(&facts, "agent ann", None).0;
    assert_eq!(said, ["It was assigned to Ann, whom the rule “VIP” named; one other agent was passed over."]);
    let said = told(&facts, "agent sticky", None).0;
    let known =
        "It was assigned to Ann by the rule “VIP”, because they know the customer; one other agent was passed over.";
    assert_eq!(said, [known]);
}

#[test]
fn where_it_went_on_to_is_told_among_who_was_asked_for_it() {
    let line = |ms: i64, queue: &str, why: Why| {
        let event =
            EventLine { what: "queued".into(), queue: Some(queue.into()), why: Some(why), ..EventLine::default() };
        line(ms, event)
    };
    let count = Why::Headcount("fewer than 2 were in available (1)".into());
    let moved = [line(0, "late", count), line(60_000, "everyone", Why::Overflow)];
    let taken = Considering {
        at: NOW.plus(60_000),
        agent: Some("bob".into()),
        offered: false,
        why: Some(Why::Strategy),
        considered: Considered::default(),
        by: None,
        from: None,
    };
    let outcome = FactsOutcome { queue: Some("first".into()), ..FactsOutcome::default() };
    let facts = Facts { considering: vec![taken], outcome, ..facts(None) };
    let names = Names::of_test(&[("bob", "Bob")]);
    assert_eq!(
        sentences(&facts, None, &names, &moved)[1..],
        [
            "It was put in the queue first.",
            "Then it went on to the queue late because fewer than 2 were in available (1), of those who have its skills.",
            "Later, at 2026-11-21T00:01:00.000Z, it went on to the queue everyone because it had waited too long.",
            "Later, at 2026-11-21T00:01:00.000Z, it was assigned to Bob, who came first by the queue's order.",
        ]
    );
}

#[test]
fn a_message_that_moves_nothing_says_where_the_conversation_stays() {
    for (state, sentence, agent) in [
        (ConvStatus::Assigned, "It stays with Ann, who has the conversation.", json!("ann")),
        (ConvStatus::Queued, "It keeps its place in the queue billing.", Value::Null),
        (ConvStatus::Offered, "It stays with the agent to whom the conversation is offered.", Value::Null),
        (ConvStatus::Closed, "The conversation stays closed: a machine wrote the message.", Value::Null),
    ] {
        let facts = facts(Some(state));
        assert_eq!(told(&facts), [sentence]);
        let came = outcome(&facts);
        assert_eq!((&came["queue"], &came["agent"], &came["kept"]), (&json!("billing"), &agent, &json!(true)));
    }
    let mut moved = facts(Some(ConvStatus::Assigned));
    moved.outcome.queue = Some("vip".into());
    assert_eq!(told(&moved), ["It was put in the queue vip."]);
    assert_eq!((&outcome(&moved)["agent"], &outcome(&moved)["kept"]), (&Value::Null, &json!(false)));
    assert_eq!(told(&facts(None)), Vec::<String>::new(), "a new conversation was nowhere before");
}

#[test]
fn why_nobody_could_take_it_is_told_as_it_was_then() {
    let mut waited = facts(None);
    let full = PassedOver::Capacity { load: 200, capacity: 200 };
    let passed = vec![("ann".to_owned(), PassedOver::Away), ("bob".to_owned(), full)];
    let nobody = |after: i64, considered: &Considered| Considering {
        at: NOW.plus(after),
        agent: None,
        offered: false,
        why: None,
        considered: considered.clone(),
        by: None,
        from: None,
    };
    let many = Considered { chosen: None, passed, others: 3 };
    waited.considering = vec![nobody(0, &many), nobody(60_000, &Considered::default())];
    assert_eq!(
        told(&waited),
        [
            "Nobody could take it then: of 5 agents 1 had no room, 1 was away, and 3 others.",
            "Later, at 2026-11-21T00:01:00.000Z, nobody could take it: the pack has no agents.",
        ]
    );
    let moves = Moves::of(&waited);
    assert!(moves.chosen().is_none(), "who could not take it was not chosen");
    assert_eq!(
        moves.nobody().map(later),
        Some(json!({
            "at": "2026-11-21T00:00:00.000Z", "agent": null, "offered": false, "why": null, "by": null, "from": null, "others": 3,
            "agents": [
                { "agent": "ann", "chosen": false, "reason": "is away" },
                { "agent": "bob", "chosen": false, "reason": "has no room: 2 of 2 units taken" },
            ],
        }))
    );
    // Whom it went to afterwards is shown as chosen, and why nobody took it stays.
    let took = Considering { agent: Some("bob".into()), why: Some(Why::Strategy), ..nobody(90_000, &many) };
    waited.considering.push(took);
    assert_eq!(Moves::of(&waited).chosen().map(|c| c.agent.as_deref()), Some(Some("bob")));
    assert!(told(&waited)[0].starts_with("Nobody could take it then: of 5 agents"));
}

#[test]
fn what_came_later_is_told_as_later() {
    let passed = |agent: &str| Considered {
        chosen: Some(agent.to_owned()),
        passed: vec![("cyn".to_owned(), PassedOver::Away)],
        others: 0,
    };
    let considering = |after: i64, agent: &str, why, considered| Considering {
        at: NOW.plus(after),
        agent: Some(agent.to_owned()),
        offered: false,
        why: Some(why),
        considered,
        by: None,
        from: None,
    };
    let mut waited = facts(None);
    waited.outcome.queue = Some("billing".into());
    waited.considering = vec![
        considering(60_000, "ann", Why::Strategy, passed("ann")),
        considering(90_000, "bob", Why::Transferred, Considered::default()),
    ];
    assert_eq!(
        told(&waited),
        [
            "It was put in the queue billing.",
            "Later, at 2026-11-21T00:01:00.000Z, it was assigned to Ann, who came first by the queue's order; one other agent was passed over.",
            "Later, at 2026-11-21T00:01:30.000Z, it was assigned to Bob by transfer.",
        ]
    );
    // The comparison of agents is the one that was made, not the transfer that compared nobody.
    let moves = Moves::of(&waited);
    assert_eq!(moves.chosen().map(|c| c.agent.as_deref()), Some(Some("ann")));
    assert_eq!(
        later(moves.later[1]),
        json!({
            "at": "2026-11-21T00:01:30.000Z", "agent": "bob", "offered": false, "why": "by transfer", "by": null, "from": null, "others": 0,
            "agents": [{ "agent": "bob", "chosen": true, "reason": "it was assigned to them" }],
        })
    );

    let mut at_once = waited;
    at_once.considering.insert(0, considering(0, "bob", Why::Strategy, passed("bob")));
    assert_eq!(Moves::of(&at_once).chosen().map(|c| c.agent.as_deref()), Some(Some("bob")));
    assert_eq!(
        told(&at_once)[1],
        "It was assigned to Bob, who came first by the queue's order; one other agent was passed over."
    );
}
