//! Receipts and echoes that come before the result of their message.

use crate::life::{ANN, CHANNEL, Life};
use switchboard_envelope::{Address, Content, Echo, Inbound, Outcome, Receipt, ReceiptStatus};
use switchboard_routing_rules::event::{Event, Public};
use switchboard_routing_rules::ids::MessageId;
use switchboard_routing_rules::pack::ConvStatus;

fn receipt(life: &mut Life, provider_id: &str, send: Option<&str>, status: ReceiptStatus) -> Vec<Event> {
    let receipt = Receipt {
        id: format!("{CHANNEL}:receipt:{provider_id}:{}:{status:?}", send.unwrap_or("")),
        channel: CHANNEL.into(),
        provider_id: provider_id.into(),
        thread: None,
        send: send.map(str::to_owned),
        part: None,
        n: None,
        status,
        at: life.now,
        code: None,
        detail: None,
    };
    life.hears(&Inbound::Receipt(receipt))
}

fn statuses(events: &[Event]) -> Vec<ReceiptStatus> {
    let status = |e: &Event| match e.public {
        Public::Receipt { status, .. } => Some(status),
        _ => None,
    };
    events.iter().filter_map(status).collect()
}

fn status(life: &Life, send: &str) -> Option<ReceiptStatus> {
    life.state.settled.get(&MessageId::parse(send).expect("an id")).map(|s| s.status)
}

fn answered() -> (Life, String) {
    let mut life = Life::new();
    life.customer("SM1");
    let send = life.answers("1", "hi").2;
    (life, send)
}

#[test]
fn a_receipt_that_overtakes_its_result_is_not_lost() {
    use ReceiptStatus::{Delivered, Read};
    for by_our_id in [true, false] {
        let (mut life, send) = answered();
        let named = by_our_id.then_some(send.as_str());
        let events = receipt(&mut life, "P1", named, Delivered);
        assert!(events.iter().any(|e| matches!(e.public, Public::ReceiptHeld { .. })), "{events:?}");
        assert_eq!((statuses(&events), status(&life, &send)), (vec![], None), "nothing is known of the attempt yet");
        receipt(&mut life, "P1", named, Read);
        // What comes late does not take back what is held.
        receipt(&mut life, "P1", named, ReceiptStatus::Accepted);
        let events = life.result(&send, Outcome::Accepted, false, &["P1"]);
        assert_eq!((statuses(&events), status(&life, &send)), (vec![Read], Some(Read)), "by our id: {by_our_id}");
    }
}

#[test]
fn a_failure_that_overtakes_its_result_still_brings_the_conversation_back() {
    let (mut life, send) = answered();
    assert_eq!(life.status(), ConvStatus::Pending);
    receipt(&mut life, "P1", None, ReceiptStatus::Failed);
    life.result(&send, Outcome::Accepted, false, &["P1"]);
    assert_eq!((status(&life, &send), life.status()), (Some(ReceiptStatus::Failed), ConvStatus::Queued));
}

#[test]
fn a_held_receipt_is_given_to_no_other_message() {
    let (mut life, first) = answered();
    life.writes("+15551230002", "SM2");
    let second = life.answers_to("+15551230002", "2", "hi").2;
    receipt(&mut life, "P1", Some(&first), ReceiptStatus::Delivered);
    receipt(&mut life, "P9", None, ReceiptStatus::Read);
    let events = life.result(&second, Outcome::Accepted, false, &["P2"]);
    assert_eq!((statuses(&events), status(&life, &second)), (vec![], Some(ReceiptStatus::Accepted)));
    let events = life.result(&first, Outcome::Accepted, false, &["P1"]);
    assert_eq!(statuses(&events), [ReceiptStatus::Delivered]);
}

#[test]
fn receipts_of_messages_that_are_not_ours_do_not_fill_the_memory() {
    let (mut life, send) = answered();
    life.state.limits.held = 10;
    receipt(&mut life, "early", None, ReceiptStatus::Delivered);
    for n in 0..100 {
        receipt(&mut life, &format!("stranger{n}"), None, ReceiptStatus::Delivered);
        assert!(life.state.held.len() <= 10, "{}", life.state.held.len());
    }
    // The newest are kept, the oldest went.
    life.result(&send, Outcome::Accepted, false, &["early"]);
    assert_eq!(status(&life, &send), Some(ReceiptStatus::Accepted));
    life.writes("+15551230002", "SM2");
    let other = life.answers_to("+15551230002", "2", "hi").2;
    life.result(&other, Outcome::Accepted, false, &["stranger99"]);
    assert_eq!(status(&life, &other), Some(ReceiptStatus::Delivered));
}

#[test]
fn a_held_receipt_does_not_wait_for_ever() {
    let (mut life, _) = answered();
    receipt(&mut life, "stranger", None, ReceiptStatus::Delivered);
    life.passes(3_599_000);
    assert_eq!(life.state.held.len(), 1);
    life.passes(1_000);
    assert_eq!(life.state.held.len(), 0);
}

#[test]
fn an_echo_that_overtakes_its_result_is_neither_a_new_message_nor_a_second_one() {
    let (mut life, send) = answered();
    let echo = Echo {
        id: format!("{CHANNEL}:echo:P1"),
        channel: CHANNEL.into(),
        thread: ANN.into(),
        at: life.now,
        provider_id: "P1".into(),
        send: Some(send.clone()),
        part: Some(1),
        n: Some(1),
        to: Address::new("phone", ANN),
        content: Content::text("hi"),
    };
    let events = life.hears(&Inbound::Echo(Box::new(echo)));
    let queued = |events: &[Event]| events.iter().any(|e| matches!(e.public, Public::SendQueued { .. }));
    assert!(!queued(&events) && life.state.sends.len() == 1, "{events:?}");
    let events = life.result(&send, Outcome::Accepted, false, &["P1"]);
    assert!(!queued(&events) && life.state.sends.is_empty());
    assert_eq!(status(&life, &send), Some(ReceiptStatus::Accepted));
}
