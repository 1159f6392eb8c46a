//! What people change by hand: a customer's consent, and an answer that is sent again.

use crate::life::{ANN, CHANNEL, Life};
use std::collections::BTreeMap;
use switchboard_envelope::{
    Action, Actor, Address, ChannelProfile, Command, ConsentChange, ConsentState, Destination, Inbound, Outcome, Scope,
    Template,
};
use switchboard_routing_rules::event::{Event, Public};
use switchboard_routing_rules::pack::ConvStatus;

/// Changes the consent of the only customer by hand.
fn consents(life: &mut Life, scope: Scope, key: &str, state: ConsentState) -> (u16, String, usize) {
    let contact = life.state.contact_of(&Address::new("phone", ANN)).to_string();
    let consent = [(CHANNEL.to_owned(), state)].into();
    let action = Action::UpdateContact { contact, tags: None, attributes: BTreeMap::new(), consent, unblock: vec![] };
    let (reply, events) = life.asks_with(scope, key, action);
    let told =
        |e: &&Event| matches!(&e.public, Public::ConsentByHand { by, state: s, .. } if by == "ann" && *s == state);
    (reply.status, reply.code, events.iter().filter(told).count())
}

#[test]
fn an_opt_out_is_undone_by_hand_only_with_the_right_to_and_the_conversation_says_by_whom() {
    let mut life = Life::new();
    life.customer("SM1");
    let (out, back) = (ConsentState::OptedOut, ConsentState::OptedIn);
    assert_eq!(consents(&mut life, Scope::Agent, "1", out), (200, String::new(), 1), "anyone may note an opt-out");
    assert_eq!(consents(&mut life, Scope::Agent, "2", back), (403, "forbidden".into(), 0));
    assert_eq!(life.answers("3", "hi").0, 422, "it still stands");
    assert_eq!(consents(&mut life, Scope::Supervisor, "4", back), (200, String::new(), 1));
    assert_eq!(consents(&mut life, Scope::Supervisor, "5", back), (200, String::new(), 0), "nothing changed");
    assert_eq!(life.answers("6", "hi").0, 202);
}

#[test]
fn a_stop_that_the_provider_keeps_is_undone_by_the_customer_alone() {
    let stop = |life: &mut Life, state, key: &str| {
        life.hears(&Inbound::Consent(ConsentChange {
            id: format!("{CHANNEL}:consent:{key}"),
            channel: CHANNEL.into(),
            address: Address::new("phone", ANN),
            state,
            at: life.now,
            reason: Some("a word".into()),
            topic: None,
        }));
    };
    let (out, back) = (ConsentState::OptedOut, ConsentState::OptedIn);
    let mut life = Life::on(ChannelProfile { keeps_opt_outs: true, ..ChannelProfile::new("sms", "phone") });
    life.customer("SM1");
    assert_eq!(consents(&mut life, Scope::Admin, "1", out).0, 200);
    assert_eq!(consents(&mut life, Scope::Admin, "2", back).0, 200, "the provider knows nothing of ours");
    assert_eq!(consents(&mut life, Scope::Admin, "3", out).0, 200);
    stop(&mut life, out, "SM2");
    assert_eq!(consents(&mut life, Scope::Admin, "4", back), (422, "opted_out".into(), 0));
    stop(&mut life, back, "SM3");
    let (status, _, send) = life.answers("5", "welcome back");
    assert_eq!(status, 202);
    life.result(&send, Outcome::Accepted, false, &[]);
    assert_eq!(consents(&mut life, Scope::Admin, "6", out).0, 200);
    assert_eq!(consents(&mut life, Scope::Admin, "7", back).0, 200, "their START undid it at the provider");
    let (_, _, send) = life.answers("8", "hi");
    life.result(&send, Outcome::Rejected, true, &[]);
    assert_eq!(consents(&mut life, Scope::Admin, "9", back).0, 422, "its refusal says that it keeps one");
}

/// Who wants nothing sold to them is still answered.
#[test]
fn an_opt_out_of_one_kind_of_message_holds_back_that_kind_alone() {
    let mut life = Life::on(ChannelProfile { templates: true, ..ChannelProfile::new("sms", "phone") });
    life.customer("SM1");
    let wants = |life: &mut Life, state, address: &str, topic: Option<&str>, key: &str| {
        life.hears(&Inbound::Consent(ConsentChange {
            id: format!("{CHANNEL}:consent:{key}"),
            channel: CHANNEL.into(),
            address: Address::new("phone", address),
            state,
            at: life.now,
            reason: None,
            topic: topic.map(Into::into),
        }));
    };
    let says = |life: &mut Life, key: &str, category: Option<&str>| {
        let template = Template {
            name: "news".into(),
            language: "en".into(),
            category: category.map(Into::into),
            ..Template::default()
        };
        let action = Action::Reply {
            conversation: life.conversation(),
            text: "hi".into(),
            attachments: vec![],
            choices: vec![],
            template: category.map(|_| template),
            take: false,
            seen: None,
        };
        let (reply, _) = life.asks(key, action);
        (reply.status, reply.code)
    };
    let (out, back) = (ConsentState::OptedOut, ConsentState::OptedIn);
    let (taken, refused) = ((202, String::new()), (422, "opted_out".to_owned()));
    wants(&mut life, out, ANN, Some("marketing"), "1");
    assert_eq!(says(&mut life, "1", None), taken);
    assert_eq!(says(&mut life, "2", Some("utility")), taken);
    for (key, written) in [("3", "marketing"), ("4", "MARKETING")] {
        assert_eq!(says(&mut life, key, Some(written)), refused, "{written}");
    }
    wants(&mut life, back, ANN, Some("marketing"), "2");
    assert_eq!(says(&mut life, "5", Some("marketing")), taken);
    wants(&mut life, out, "+15559999999", Some("marketing"), "3");
    wants(&mut life, out, "+15559999999", None, "4");
    assert_eq!(says(&mut life, "6", Some("marketing")), taken, "it was somebody else");
    wants(&mut life, out, ANN, None, "5");
    wants(&mut life, back, ANN, Some("marketing"), "6");
    for (key, category) in [("7", None), ("8", Some("utility")), ("9", Some("marketing"))] {
        assert_eq!(says(&mut life, key, category), refused, "{category:?}: of everything");
    }
}

#[test]
fn an_answer_that_failed_and_is_sent_again_leaves_the_customer_their_turn() {
    let mut life = Life::new();
    life.customer("SM1");
    let (_, _, send) = life.answers("1", "hi");
    assert_eq!(life.status(), ConvStatus::Pending);
    life.result(&send, Outcome::Rejected, false, &[]);
    assert_eq!(life.status(), ConvStatus::Queued, "it waits for us: the customer has no answer");
    let (reply, _) = life.asks("2", Action::Resend { send });
    assert_eq!((reply.status, life.status()), (202, ConvStatus::Pending));

    let again = reply.ids.get("message").cloned().unwrap_or_default();
    life.result(&again, Outcome::Rejected, false, &[]);
    life.customer("SM2");
    assert_eq!(life.asks("3", Action::Resend { send: again }).0.status, 202);
    assert_eq!(life.status(), ConvStatus::Queued, "what they wrote meanwhile is not answered by it");
}

/// How often events give the conversation to somebody.
fn assigned(events: &[Event]) -> usize {
    events.iter().filter(|e| matches!(&e.public, Public::Assigned { .. })).count()
}

/// Somebody acts as this agent.
fn answers_as(life: &mut Life, agent: &str, key: &str, take: bool) -> Vec<Event> {
    let conversation = life.conversation();
    let action = Action::Reply {
        conversation,
        text: format!("answer {key}"),
        attachments: vec![],
        choices: vec![],
        template: None,
        take,
        seen: None,
    };
    let events = life.hears(&Inbound::Command(Box::new(Command {
        id: format!("api:command:{key}"),
        channel: "api".into(),
        at: life.now,
        actor: Actor { agent: Some(agent.into()), token: None, scope: Scope::Supervisor },
        action,
        body_hash: None,
        traceparent: None,
    })));
    assert!(events.iter().any(|e| matches!(&e.public, Public::SendQueued { .. })), "{events:?}");
    events
}

#[test]
fn who_has_a_conversation_and_answers_again_takes_nothing() {
    const PACK: &str = "
zone: UTC
queues: { q: { sla: { first_response: 10m, next_response: 20m, resolution: 8h } } }
agents: { ann: { capacity: 10 }, bob: { capacity: 10 } }
default: { queue: q }
";
    let owner = |life: &Life| life.conv(ANN).agent.as_deref().cloned().unwrap_or_default();
    let mut life = Life::with(ChannelProfile::new("sms", "phone"), PACK);
    life.customer("1");
    assert_eq!(assigned(&answers_as(&mut life, "ann", "r1", false)), 1, "whoever answers first has taken it");
    let first = life.conv(ANN).clone();
    assert_eq!((first.status, owner(&life)), (ConvStatus::Pending, "ann".to_owned()));
    life.passes(60_000);
    assert_eq!(assigned(&answers_as(&mut life, "ann", "r2", false)), 0);
    let again = life.conv(ANN).clone();
    assert_eq!((again.status, owner(&life)), (ConvStatus::Pending, "ann".to_owned()));
    // It waits for the customer from this answer on; the other clocks are as they were.
    assert!(again.wait_until.get() > first.wait_until.get());
    assert_eq!((&again.clock, &again.resolution), (&first.clock, &first.resolution));
    assert_eq!(again.resolution_due, first.resolution_due);
    // The same from a snooze, whose end no longer matters.
    let conversation = life.conversation();
    let until = life.now.plus(3_600_000);
    assert_eq!(life.asks("z", Action::Snooze { conversation: conversation.clone(), until }).0.status, 200);
    assert_eq!(assigned(&answers_as(&mut life, "ann", "r3", false)), 0);
    assert_eq!((life.conv(ANN).status, owner(&life)), (ConvStatus::Pending, "ann".to_owned()));
    assert_eq!(life.conv(ANN).resolution, first.resolution);
    // Another who answers takes it, and so does who takes it back in hand.
    assert_eq!(assigned(&answers_as(&mut life, "bob", "r4", true)), 1);
    assert_eq!((life.conv(ANN).status, owner(&life)), (ConvStatus::Pending, "bob".to_owned()));
    assert_eq!(assigned(&life.asks("t", Action::Take { conversation }).1), 1);
    assert_eq!((life.conv(ANN).status, owner(&life)), (ConvStatus::Assigned, "ann".to_owned()));
}

/// Who moved or changed a conversation by hand, as the log says.
fn by_whom(events: &[Event]) -> Vec<(&'static str, Option<&str>)> {
    let one = |e: &'_ Event| match &e.public {
        Public::Queued { .. } => Some("queued"),
        Public::Assigned { .. } => Some("assigned"),
        Public::Prioritised { .. } => Some("prioritised"),
        _ => None,
    };
    let by = |e: &'_ Event| match &e.public {
        Public::Queued { by, .. } | Public::Assigned { by, .. } | Public::Prioritised { by, .. } => by.clone(),
        _ => None,
    };
    let known = |by: Option<String>| by.map(|by| if by == "ann" { "ann" } else { "another" });
    events.iter().filter_map(|e| Some((one(e)?, known(by(e))))).collect()
}

#[test]
fn who_moved_it_or_changed_its_priority_is_kept() {
    let yaml = "zone: UTC\nqueues: { q: {}, r: {} }\nagents: { ann: {}, bob: {}, cyn: {} }\ndefault: { queue: q }\n";
    let mut life = Life::with(ChannelProfile::new("sms", "phone"), yaml);
    life.customer("SM1");
    let conversation = life.conversation_of(ANN);
    let mut does = |key: &str, action: Action| life.asks(key, action).1;
    let to = |to: Destination| Action::Transfer { conversation: conversation.clone(), to };
    let events = does("1", to(Destination::Agent("bob".into())));
    assert_eq!(by_whom(&events), [("assigned", Some("ann"))]);
    let events = does("2", to(Destination::Queue("r".into())));
    assert_eq!(by_whom(&events), [("queued", Some("ann"))]);
    // Who takes it is who has it.
    let events = does("3", Action::Take { conversation: conversation.clone() });
    assert_eq!(by_whom(&events), [("assigned", None)]);
    let priority = Some("high".to_owned());
    let attributes = BTreeMap::new();
    let events = does("4", Action::Update { conversation: conversation.clone(), tags: None, priority, attributes });
    assert_eq!(by_whom(&events), [("prioritised", Some("ann"))]);
    // What nobody did is nobody's.
    life.writes("other", "SM2");
    let events = life.says("third", "SM3", "hello", |_| {});
    assert_eq!(by_whom(&events), [("queued", None)]);
}

#[test]
fn consent_by_hand_is_for_each_address_of_contacts_that_were_merged() {
    const OTHER: &str = "+15551230009";
    let mut life = Life::new();
    life.customer("SM1");
    life.writes(OTHER, "SM2");
    let ids = [ANN, OTHER].map(|who| life.state.contact_of(&Address::new("phone", who)).to_string());
    let [into, from] = ids;
    life.asks_with(Scope::Supervisor, "merge", Action::MergeContact { into, from });
    let (out, back) = (ConsentState::OptedOut, ConsentState::OptedIn);
    assert_eq!(consents(&mut life, Scope::Agent, "1", out), (200, String::new(), 2));
    let identities = [ANN, OTHER].map(|who| life.state.identity_hash(&Address::new("phone", who)));
    let now = |life: &Life| identities.map(|who| life.state.consent.get(&(who, CHANNEL.to_owned())).copied());
    assert_eq!(now(&life), [Some(out); 2]);
    assert_eq!(consents(&mut life, Scope::Agent, "2", out), (200, String::new(), 0), "nothing changed");
    assert_eq!(consents(&mut life, Scope::Supervisor, "3", back), (200, String::new(), 2));
    assert_eq!(now(&life), [Some(back); 2]);
}
