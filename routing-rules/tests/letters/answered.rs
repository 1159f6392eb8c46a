//! Which letters rules answer: who asks for no answer, who was not proved, and machines that face each other.

use super::*;
use switchboard_routing_rules::decide::seen_message;

#[test]
fn what_asks_for_no_answer_is_routed_and_not_answered() {
    let mut life = Life::new();
    let (conv, events) = life.gets(&Mail { no_auto_reply: true, ..mail("1", ANN) });
    assert_eq!((sent(&events).is_none(), refused(&events)), (true, Some(NoReply::Unwanted)));
    assert_eq!(life.state.conversation(conv).expect("it is there").status, ConvStatus::Queued);
}

#[test]
fn a_logo_that_the_page_shows_is_no_attachment_for_rules() {
    let mut message = Life::new().message(&mail("1", ANN));
    let has = |m: &Message| seen_message(m, "email".into()).has_attachment;
    assert!(has(&message));
    message.content.attachments[0].content_id = Some("logo@customer.example".into());
    assert!(!has(&message));
    message.content.attachments.push(Attachment { name: "bill.pdf".into(), ..Attachment::default() });
    assert!(has(&message));
}

/// Whether the sender of what was received is said to be proved.
fn proof(events: &[Event]) -> Option<bool> {
    let of = |e: &Event| match &e.private {
        Some((_, Private::Received { proved, .. })) => Some(*proved),
        _ => None,
    };
    events.iter().find_map(of).expect("a mail")
}

#[test]
fn who_was_disproved_is_routed_and_gets_no_answer_that_nobody_wrote() {
    for (verdict, believed, proved, answer) in [
        (Some(true), true, Some(true), None),
        (Some(false), false, Some(false), Some(NoReply::Disproved)),
        // Whoever could have said so said nothing: it is not proved, and it may well be them.
        (None, false, Some(false), None),
        (None, true, None, None),
    ] {
        let mut life = Life::new();
        let (conv, events) = life.gets(&Mail { believed, verdict, ..mail("1", ANN) });
        assert_eq!((sent(&events).is_none(), refused(&events)), (answer.is_some(), answer), "{verdict:?}");
        assert_eq!(proof(&events), proved, "{verdict:?} {believed}");
        let c = life.state.conversation(conv).expect("it is there");
        assert_eq!(
            (c.status, c.quiet),
            (ConvStatus::Queued, answer.is_some()),
            "no rule that follows up writes either"
        );
    }
    let mut life = Life::new();
    let foreign = Mail { channel: OUTSIDE, believed: false, verdict: Some(false), ..mail("1", ANN) };
    let (_, events) = life.gets(&foreign);
    assert_eq!((proof(&events), refused(&events)), (Some(false), None), "only of letters it is known what it means");
}

#[test]
fn two_auto_responders_that_face_each_other_stop() {
    let mut life = Life::new();
    let (conv, first) = life.gets(&mail("0", ANN));
    let mut answered = usize::from(sent(&first).is_some());
    for n in 1..30 {
        let (_, events) = life.gets(&mail(&n.to_string(), ANN).naming(conv, Evidence::MessageId));
        answered += usize::from(sent(&events).is_some());
    }
    assert_eq!(answered, 3, "before the budget of the conversation is spent");
}
