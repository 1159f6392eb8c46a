//! What a customer may choose from, and how they choose it.

use crate::life::{ANN, Life};
use switchboard_envelope::{Action, ChannelProfile, Choice, Content, Outcome};
use switchboard_routing_rules::event::{Event, Private};

const YAML: &str = "zone: UTC\nqueues: { q: {}, blue: {} }\nagents: { ann: { capacity: 10 } }\n\
rules:\n  - { name: Blue, when: { choice: BLUE }, then: { tag: chose-blue } }\ndefault: { queue: q }\n";

fn choices(all: &[(&str, &str)]) -> Vec<Choice> {
    all.iter().map(|(id, label)| Choice { id: (*id).into(), label: Some((*label).into()) }).collect()
}

fn asks(life: &mut Life, key: &str, choices: Vec<Choice>) -> Content {
    let action = Action::Reply {
        conversation: life.conversation(),
        text: "Which colour?".into(),
        attachments: vec![],
        choices,
        template: None,
        take: false,
        seen: None,
    };
    let (reply, events) = life.asks(key, action);
    assert_eq!(reply.status, 202, "{reply:?}");
    life.result(&reply.ids["message"], Outcome::Accepted, false, &[key]);
    let content = |e: &Event| match &e.private {
        Some((_, Private::Send { content, .. })) => Some((**content).clone()),
        _ => None,
    };
    events.iter().find_map(content).expect("a send")
}

fn chose(events: &[Event]) -> Option<Choice> {
    let choice = |e: &Event| match &e.private {
        Some((_, Private::Received { content, .. })) => Some(content.choice.clone()),
        _ => None,
    };
    events.iter().find_map(choice).expect("a message")
}

fn tagged(life: &Life) -> bool {
    let thread = life.state.thread_hash(crate::life::CHANNEL, ANN);
    life.state.conversation_of_thread(thread).is_some_and(|c| c.tags.iter().any(|t| &**t == "chose-blue"))
}

#[test]
fn without_buttons_choices_are_lines_of_the_text_and_a_number_chooses() {
    for said in ["2", " 2.", "blue", "2. Blue"] {
        let mut life = Life::with(ChannelProfile::new("sms", "phone"), YAML);
        life.customer("1");
        let sent = asks(&mut life, "ask", choices(&[("RED", "Red"), ("BLUE", "Blue")]));
        assert_eq!(sent.text, "Which colour?\n\n1. Red\n2. Blue");
        let choice = chose(&life.says(ANN, "2", said, |_| {}));
        assert_eq!(choice, Some(Choice { id: "BLUE".into(), label: Some("Blue".into()) }), "{said}");
        assert!(tagged(&life), "rules see it: {said}");
    }
}

#[test]
fn a_channel_with_buttons_gets_the_text_as_it_is_as_long_as_they_fit() {
    let mut life = Life::on(ChannelProfile { choices: 2, choice_label: 4, ..ChannelProfile::new("sms", "phone") });
    life.customer("1");
    assert_eq!(asks(&mut life, "a", choices(&[("RED", "Red"), ("BLUE", "Blue")])).text, "Which colour?");
    let many = asks(&mut life, "b", choices(&[("1", "Red"), ("2", "Blue"), ("3", "Pink")]));
    assert_eq!(many.text, "Which colour?\n\n1. Red\n2. Blue\n3. Pink", "more than it shows");
    let long = asks(&mut life, "c", choices(&[("1", "Green")]));
    assert_eq!(long.text, "Which colour?\n\n1. Green", "longer than it shows");
    assert_eq!(long.choices.len(), 1, "and what is offered stays known");
}

#[test]
fn only_what_our_latest_message_offers_can_be_chosen() {
    let mut life = Life::new();
    life.customer("1");
    assert_eq!(chose(&life.says(ANN, "2", "2", |_| {})), None, "nothing was offered");
    asks(&mut life, "ask", choices(&[("RED", "Red"), ("BLUE", "Blue")]));
    assert_eq!(chose(&life.says(ANN, "3", "neither", |_| {})), None);
    assert_eq!(
        chose(&life.says(ANN, "4", "1", |_| {})).map(|c| c.id),
        Some("RED".into()),
        "words in between matter not"
    );
    let machine = life.says(ANN, "5", "1", |m| m.automatic = true);
    assert_eq!(chose(&machine), None, "a machine chooses nothing");
    let pressed = life.says(ANN, "6", "1", |m| m.content.choice = Some(Choice { id: "PRESSED".into(), label: None }));
    assert_eq!(chose(&pressed).map(|c| c.id), Some("PRESSED".into()), "what the channel says stands");
    life.answers("plain", "How many would you like?");
    assert_eq!(chose(&life.says(ANN, "7", "2", |_| {})), None, "two of them, and not blue");
    let elsewhere = life.says("+15551230002", "8", "1", |_| {});
    assert_eq!(chose(&elsewhere), None, "what was offered to somebody else");
}

const ASKING: &str = "zone: UTC\nqueues: { q: {}, blue: {} }\nagents: { ann: { capacity: 10 } }\n\
replies:\n  ask: { text: 'Which colour?', choices: [{ id: RED, label: Red }, { id: BLUE, label: Blue }] }\n\
rules:\n  - { name: Ask, when: { text: { word: colour } }, then: { reply: ask } }\n  - { name: Blue, when: { choice: BLUE }, then: { tag: chose-blue } }\n\
default: { queue: q }\n";

#[test]
fn a_reply_of_the_pack_offers_choices_and_rules_see_which_was_taken() {
    let sent = |events: &[Event]| {
        let content = |e: &Event| match &e.private {
            Some((_, Private::Send { content, .. })) => Some((**content).clone()),
            _ => None,
        };
        events.iter().find_map(content).expect("a send")
    };
    let mut life = Life::with(ChannelProfile::new("sms", "phone"), ASKING);
    let asked = sent(&life.says(ANN, "1", "I want another colour", |_| {}));
    assert_eq!(asked.text, "Which colour?\n\n1. Red\n2. Blue");
    assert_eq!(chose(&life.says(ANN, "2", "2", |_| {})).map(|c| c.id), Some("BLUE".into()));
    assert!(tagged(&life));
    let buttons = ChannelProfile { choices: 2, choice_label: 4, ..ChannelProfile::new("sms", "phone") };
    let mut life = Life::with(buttons, ASKING);
    let asked = sent(&life.says(ANN, "1", "I want another colour", |_| {}));
    assert_eq!((asked.text.as_str(), asked.choices.len()), ("Which colour?", 2));
    let short = ChannelProfile { max_text: Some(20), ..ChannelProfile::new("sms", "phone") };
    let mut life = Life::with(short, ASKING);
    let refused = life.says(ANN, "1", "I want another colour", |_| {});
    assert!(!refused.iter().any(|e| matches!(&e.private, Some((_, Private::Send { .. })))), "its lines count");
}
