//! Sends of several calls: where they go on after a failure, and where they must not; and attempts that settle late.

use crate::life::{ANN, CHANNEL, Life, dead, released};
use switchboard_envelope::{
    Action, Attachment, AttemptResult, ChannelProfile, Inbound, Outcome, Receipt, ReceiptStatus,
};
use switchboard_routing_rules::event::{DeadReason, Event, Private, Public};
use switchboard_routing_rules::ids::MessageId;

fn apart() -> Life {
    let mut life = Life::on(ChannelProfile { files_apart: true, ..ChannelProfile::new("facebook", "phone") });
    life.customer("SM1");
    life
}

/// An answer with a text and two files, which is three calls; the send.
fn answers_with_files(life: &mut Life) -> String {
    let file = |name: &str| Attachment { name: name.into(), mime: "text/plain".into(), ..Attachment::default() };
    let action = Action::Reply {
        conversation: life.conversation_of(ANN),
        text: "see these".into(),
        attachments: vec![file("a"), file("b")],
        take: false,
        seen: None,
        choices: vec![],
        template: None,
    };
    let (reply, _) = life.asks("files", action);
    assert_eq!(reply.status, 202);
    reply.ids["message"].clone()
}

fn ends(life: &mut Life, send: &str, (part, n): (u16, u32), outcome: Outcome) -> Vec<Event> {
    let id = format!("{CHANNEL}:result:{send}.{part}.{n}:{}", outcome.as_str());
    let result = AttemptResult { id, part, ..life.ended(send, n, outcome) };
    life.hears(&Inbound::Result(result))
}

/// The attempts at a send that were released, as part and number.
fn made(events: &[Event], send: &str) -> Vec<(u16, u32)> {
    let attempt = |e: &Event| match &e.public {
        Public::Released { message, part, n, .. } if message.to_string() == send => Some((*part, *n)),
        _ => None,
    };
    events.iter().filter_map(attempt).collect()
}

fn is_sent(events: &[Event]) -> bool {
    events.iter().any(|e| matches!(e.public, Public::Sent { .. }))
}

fn resend(life: &mut Life, send: &str) -> (String, Vec<Event>) {
    let (reply, events) = life.asks("resend", Action::Resend { send: send.into() });
    assert_eq!(reply.status, 202, "{}", reply.detail);
    (reply.ids["message"].clone(), events)
}

/// The text and the files of what was accepted for sending.
fn content(events: &[Event]) -> (String, Vec<String>) {
    let content = events.iter().find_map(|e| match &e.private {
        Some((_, Private::Send { content, .. })) => Some(content.clone()),
        _ => None,
    });
    let content = content.expect("something to send");
    (content.text.clone(), content.attachments.iter().map(|a| a.name.clone()).collect())
}

#[test]
fn a_part_that_the_customer_has_is_not_sent_again_when_a_later_one_fails() {
    let mut life = apart();
    let send = answers_with_files(&mut life);
    let mut all = vec![];
    all.extend(made(&ends(&mut life, &send, (1, 1), Outcome::Accepted), &send));
    assert_eq!(all, [(2, 1)]);
    // Said again, or of a part that is over.
    for outcome in [Outcome::NotSent, Outcome::Unknown, Outcome::Rejected] {
        assert_eq!(made(&ends(&mut life, &send, (1, 1), outcome), &send), [], "{outcome:?}");
    }
    ends(&mut life, &send, (2, 1), Outcome::NotSent);
    all.extend(made(&life.passes(3_000), &send));
    all.extend(made(&ends(&mut life, &send, (2, 2), Outcome::Accepted), &send));
    assert_eq!(all, [(2, 1), (2, 2), (3, 1)]);
    assert!(is_sent(&ends(&mut life, &send, (3, 1), Outcome::Accepted)), "after the last, and not before");
}

#[test]
fn a_file_that_is_refused_leaves_the_text_sent() {
    let mut life = apart();
    let send = answers_with_files(&mut life);
    ends(&mut life, &send, (1, 1), Outcome::Accepted);
    let events = ends(&mut life, &send, (2, 1), Outcome::Rejected);
    assert_eq!((dead(&events), made(&events, &send)), (vec![DeadReason::Rejected], vec![]));
    // Its owner hears of it, and what is sent again is only what the customer does not have.
    let (_, events) = resend(&mut life, &send);
    assert_eq!(content(&events), (String::new(), vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn no_further_part_leaves_once_the_lane_was_freed() {
    let mut life = apart();
    let send = answers_with_files(&mut life);
    let next = life.answers("2", "and this").2;
    ends(&mut life, &send, (1, 1), Outcome::Accepted);
    let events = ends(&mut life, &send, (2, 1), Outcome::Unknown);
    assert_eq!(dead(&events), [DeadReason::Unknown]);
    assert_eq!(made(&events, &next), [(1, 1)], "the lane goes on");
    // It turns out that the second part arrived: a third one now would come after what was said next.
    let events = ends(&mut life, &send, (2, 1), Outcome::Accepted);
    assert!(released(&events).is_empty() && !is_sent(&events), "{events:?}");
    assert!(life.state.sends[&MessageId::parse(&send).expect("an id")].is_dead(), "a person decides");
    assert!(released(&life.passes(60_000)).is_empty());
}

#[test]
fn a_resend_does_not_repeat_a_part_that_turned_out_sent() {
    for by_receipt in [false, true] {
        let mut life = apart();
        let send = answers_with_files(&mut life);
        ends(&mut life, &send, (1, 1), Outcome::Accepted);
        ends(&mut life, &send, (2, 1), Outcome::Unknown);
        if by_receipt {
            let receipt = Receipt {
                id: format!("{CHANNEL}:receipt:1"),
                channel: CHANNEL.into(),
                provider_id: "P2".into(),
                thread: None,
                send: Some(send.clone()),
                part: Some(2),
                n: Some(1),
                status: ReceiptStatus::Delivered,
                at: life.now,
                code: None,
                detail: None,
            };
            life.hears(&Inbound::Receipt(receipt));
        } else {
            ends(&mut life, &send, (2, 1), Outcome::Accepted);
        }
        let (again, events) = resend(&mut life, &send);
        assert_eq!(content(&events), (String::new(), vec!["b".to_owned()]), "by a receipt: {by_receipt}");
        assert!(is_sent(&ends(&mut life, &again, (1, 1), Outcome::Accepted)), "and that is all of it");
    }
}

#[test]
fn a_resend_repeats_what_nobody_knows_of_and_what_came_after() {
    let mut life = apart();
    let send = answers_with_files(&mut life);
    ends(&mut life, &send, (1, 1), Outcome::Accepted);
    ends(&mut life, &send, (2, 1), Outcome::Unknown);
    let (_, events) = resend(&mut life, &send);
    assert_eq!(content(&events), (String::new(), vec!["a".to_owned(), "b".to_owned()]));
}

#[test]
fn while_the_provider_is_asked_about_a_part_the_lane_waits_and_then_goes_on_with_the_next() {
    let asks = ChannelProfile { files_apart: true, reconciles: true, reconcile_ms: 30_000, ..apart_profile() };
    let mut life = Life::on(asks);
    life.customer("SM1");
    let send = answers_with_files(&mut life);
    let next = life.answers("2", "and this").2;
    let events = ends(&mut life, &send, (1, 1), Outcome::Unknown);
    assert!(dead(&events).is_empty() && released(&events).is_empty(), "{events:?}");
    let events = ends(&mut life, &send, (1, 1), Outcome::Accepted);
    assert_eq!((made(&events, &send), made(&events, &next)), (vec![(2, 1)], vec![]));
}

fn apart_profile() -> ChannelProfile {
    ChannelProfile::new("facebook", "phone")
}

#[test]
fn what_is_said_of_an_attempt_after_its_resend_sends_nothing_more() {
    let mut life = Life::new();
    life.customer("SM1");
    let send = life.answers("1", "hi").2;
    life.result(&send, Outcome::Unknown, false, &[]);
    let (again, _) = resend(&mut life, &send);
    for outcome in [Outcome::NotSent, Outcome::Rejected, Outcome::Accepted] {
        let events = life.result(&send, outcome, false, &[]);
        assert!(matches!(events.last().map(|e| &e.public), Some(Public::Ignored { .. })), "{outcome:?}: {events:?}");
    }
    assert!(released(&life.passes(3_600_000)).is_empty(), "only the resend is under way");
    assert!(is_sent(&life.result(&again, Outcome::Accepted, false, &[])));
    assert!(life.state.sends.is_empty());
}

#[test]
fn an_attempt_that_turns_out_unsent_comes_behind_what_went_on_without_it() {
    let mut life = Life::new();
    life.customer("SM1");
    let first = life.answers("1", "first").2;
    let second = life.answers("2", "second").2;
    let events = life.result(&first, Outcome::Unknown, false, &[]);
    assert_eq!(made(&events, &second), [(1, 1)]);
    // The invariants say that no two of a conversation are under way, and are asked after each step.
    let events = life.result(&first, Outcome::NotSent, false, &[]);
    assert!(dead(&events).is_empty());
    assert!(released(&life.passes(60_000)).is_empty(), "one at a time");
    let events = life.result(&second, Outcome::Accepted, false, &[]);
    assert_eq!(made(&events, &first), [(1, 2)], "then it is made again");
    let accepted = Inbound::Result(life.ended(&first, 2, Outcome::Accepted));
    assert!(is_sent(&life.hears(&accepted)));
}

#[test]
fn an_attempt_that_turns_out_unsent_is_made_again_where_nothing_waits_behind_it() {
    let mut life = Life::new();
    life.customer("SM1");
    let send = life.answers("1", "hi").2;
    life.result(&send, Outcome::Unknown, false, &[]);
    life.result(&send, Outcome::NotSent, false, &[]);
    assert_eq!(made(&life.passes(3_000), &send), [(1, 2)]);
}

/// An answer that was given up, and turned out unsent, waits behind the next one. That its first part was sent after all moves it
/// on, and not ahead.
#[test]
fn a_part_that_turns_out_sent_behind_others_lets_nothing_overtake_them() {
    let mut life = apart();
    let first = answers_with_files(&mut life);
    ends(&mut life, &first, (1, 1), Outcome::Unknown);
    let second = life.answers("2", "and this").2;
    ends(&mut life, &first, (1, 1), Outcome::NotSent);
    let events = ends(&mut life, &first, (1, 1), Outcome::Accepted);
    assert_eq!(made(&events, &first), [], "the second one is under way");
    let events = ends(&mut life, &second, (1, 1), Outcome::Accepted);
    assert_eq!(made(&events, &first), [(2, 1)], "{events:?}");
    ends(&mut life, &first, (2, 1), Outcome::Accepted);
    assert!(is_sent(&ends(&mut life, &first, (3, 1), Outcome::Accepted)) && life.state.sends.is_empty());
}
