//! Receipts of messages that the provider has in several parts: a text of several segments, or a text and its files.

use crate::life::{ANN, CHANNEL, Life};
use switchboard_envelope::{
    Action, Attachment, AttemptResult, ChannelProfile, Inbound, Outcome, Receipt,
    ReceiptStatus::{self, Accepted, Delivered, Failed, Read},
};
use switchboard_routing_rules::event::{Event, Private, Public};
use switchboard_routing_rules::ids::MessageId;
use switchboard_routing_rules::pack::ConvStatus;

fn receipt(life: &mut Life, provider_id: &str, send: Option<&str>, status: ReceiptStatus) -> Vec<Event> {
    let failed = status == Failed;
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
        code: failed.then(|| "131053".into()),
        detail: failed.then(|| "WhatsApp could not take the file".into()),
    };
    life.hears(&Inbound::Receipt(receipt))
}

fn status(life: &Life, send: &str) -> Option<ReceiptStatus> {
    life.state.settled.get(&MessageId::parse(send).expect("an id")).map(|s| s.status)
}

/// An answer of several segments, which its provider took in one call.
fn answered_in_segments() -> (Life, String) {
    let mut life = Life::new();
    life.customer("SM1");
    let send = life.answers("1", "a long text").2;
    life.result(&send, Outcome::Accepted, false, &["P1", "P2", "P3"]);
    (life, send)
}

fn is_told(life: &Life) -> bool {
    life.status() == ConvStatus::Queued
}

#[test]
fn a_part_that_fails_after_another_was_delivered_is_told() {
    for named in [true, false] {
        let (mut life, send) = answered_in_segments();
        let by = named.then_some(send.as_str());
        receipt(&mut life, "P1", by, Delivered);
        receipt(&mut life, "P3", by, Read);
        assert_eq!((status(&life, &send), is_told(&life)), (Some(Read), false));
        let events = receipt(&mut life, "P2", by, Failed);
        assert_eq!((status(&life, &send), is_told(&life)), (Some(Failed), true), "by our id: {named}");
        let detail = events.iter().find_map(|e| match &e.private {
            Some((_, Private::Receipt { detail })) => detail.clone(),
            _ => None,
        });
        assert_eq!(detail.unwrap(), "a part of it, while another was delivered: WhatsApp could not take the file");
        for (part, late) in [("P1", Read), ("P2", Delivered), ("P3", Failed)] {
            receipt(&mut life, part, by, late);
            assert_eq!(status(&life, &send), Some(Failed), "{part} {late:?}");
        }
    }
}

#[test]
fn a_part_moves_forward_only() {
    let (mut life, send) = answered_in_segments();
    for (part, said, wanted) in [
        ("P1", Delivered, Delivered),
        ("P1", Failed, Delivered),
        ("P2", Accepted, Delivered),
        ("P2", Delivered, Delivered),
        ("P2", Failed, Delivered),
        ("P1", Read, Read),
        ("P2", Delivered, Read),
    ] {
        receipt(&mut life, part, None, said);
        assert_eq!((status(&life, &send), is_told(&life)), (Some(wanted), false), "{part} {said:?}");
    }
}

#[test]
fn what_failed_first_stays_failed() {
    let (mut life, send) = answered_in_segments();
    let events = receipt(&mut life, "P2", None, Failed);
    let told = events.iter().filter(|e| matches!(e.public, Public::Receipt { status: Failed, .. })).count();
    assert_eq!((told, is_told(&life)), (1, true));
    receipt(&mut life, "P1", None, Delivered);
    assert_eq!(status(&life, &send), Some(Failed));
}

#[test]
fn receipts_of_several_parts_that_overtake_their_result_are_not_lost() {
    for (first, second) in [(("P1", Delivered), ("P2", Failed)), (("P2", Failed), ("P1", Delivered))] {
        for named in [true, false] {
            let mut life = Life::new();
            life.customer("SM1");
            let send = life.answers("1", "a long text").2;
            let by = named.then_some(send.as_str());
            receipt(&mut life, first.0, by, first.1);
            receipt(&mut life, second.0, by, second.1);
            assert_eq!(status(&life, &send), None);
            life.result(&send, Outcome::Accepted, false, &["P1", "P2"]);
            assert_eq!((status(&life, &send), is_told(&life)), (Some(Failed), true), "{first:?}, by our id: {named}");
        }
    }
}

/// A receipt that names the attempt, as where our token comes back with it.
fn named(life: &mut Life, provider_id: &str, send: &str, n: u32, status: ReceiptStatus) -> Vec<Event> {
    let receipt = Receipt {
        id: format!("{CHANNEL}:receipt:{provider_id}:{send}:{n}:{status:?}"),
        channel: CHANNEL.into(),
        provider_id: provider_id.into(),
        thread: None,
        send: Some(send.to_owned()),
        part: Some(1),
        n: Some(n),
        status,
        at: life.now,
        code: None,
        detail: None,
    };
    life.hears(&Inbound::Receipt(receipt))
}

#[test]
fn of_a_text_whose_answer_was_lost_each_segment_is_told_by_itself() {
    for (first, second) in [(("P1", Delivered), ("P2", Failed)), (("P2", Failed), ("P1", Delivered))] {
        let mut life = Life::new();
        life.customer("SM1");
        let send = life.answers("1", "a long text").2;
        life.result(&send, Outcome::Unknown, false, &[]);
        named(&mut life, first.0, &send, 1, first.1);
        assert_eq!(status(&life, &send), Some(first.1), "the first one proves that it was taken");
        named(&mut life, second.0, &send, 1, second.1);
        assert_eq!((status(&life, &send), is_told(&life)), (Some(Failed), true), "{first:?} {second:?}");
    }
    let mut life = Life::new();
    life.customer("SM1");
    let send = life.answers("1", "a long text").2;
    life.result(&send, Outcome::Unknown, false, &[]);
    for (part, said, wanted) in [
        ("P1", Delivered, Delivered),
        ("P2", Accepted, Delivered),
        ("P2", Delivered, Delivered),
        ("P2", Failed, Delivered),
        ("P1", Failed, Delivered),
    ] {
        named(&mut life, part, &send, 1, said);
        assert_eq!(status(&life, &send), Some(wanted), "{part} {said:?}");
    }
    // What another attempt came to says nothing of the one that was taken.
    named(&mut life, "P9", &send, 7, Failed);
    assert_eq!(status(&life, &send), Some(Delivered));
    // Nor does an id that no receipt of ours brought.
    receipt(&mut life, "P8", Some(&send), Failed);
    assert_eq!(status(&life, &send), Some(Delivered));
}

#[test]
fn what_came_of_a_text_before_its_answer_was_lost_proves_that_it_was_taken() {
    let mut life = Life::new();
    life.customer("SM1");
    let send = life.answers("1", "a long text").2;
    named(&mut life, "P1", &send, 1, Delivered);
    assert_eq!(status(&life, &send), None, "its answer may still come");
    let events = life.result(&send, Outcome::Unknown, false, &[]);
    assert_eq!(status(&life, &send), Some(Delivered));
    assert!(!events.iter().any(|e| matches!(e.public, Public::Dead { .. } | Public::Reconciling { .. })), "{events:?}");
    named(&mut life, "P2", &send, 1, Failed);
    assert_eq!((status(&life, &send), is_told(&life)), (Some(Failed), true));
}

/// An answer with a text and a picture, which is two calls.
fn answers_with_a_picture(life: &mut Life) -> String {
    let picture = Attachment { name: "a.jpg".into(), mime: "image/jpeg".into(), ..Attachment::default() };
    let action = Action::Reply {
        conversation: life.conversation_of(ANN),
        text: "see this".into(),
        attachments: vec![picture],
        take: false,
        seen: None,
        choices: vec![],
        template: None,
    };
    life.asks("picture", action).0.ids["message"].clone()
}

/// A provider that counts from one again after a restart gives its ids twice.
#[test]
fn an_id_that_a_provider_gives_again_means_its_latest_message() {
    let mut life = Life::new();
    life.customer("SM1");
    let sends = ["1", "2", "3"].map(|n| {
        let send = life.answers(n, "an answer").2;
        life.result(&send, Outcome::Accepted, false, &["P1"]);
        life.passes(1_000);
        send
    });
    receipt(&mut life, "P1", None, Delivered);
    assert_eq!(sends.map(|send| status(&life, &send)), [Some(Accepted), Some(Accepted), Some(Delivered)]);
    let parts = life.state.to_parts().expect("a snapshot");
    let read = switchboard_routing_rules::State::from_parts(life.state.salt, &parts.public, &parts.private)
        .expect("it can be read");
    assert!(read == life.state, "a snapshot gives the same state");
}

fn part_ends(life: &mut Life, send: &str, part: u16, outcome: Outcome, provider: &[&str]) {
    let id = format!("{CHANNEL}:result:{send}.{part}.1:{}", outcome.as_str());
    let provider_ids = provider.iter().map(|p| (*p).to_owned()).collect();
    let result = AttemptResult { id, part, provider_ids, ..life.ended(send, 1, outcome) };
    life.hears(&Inbound::Result(result));
}

#[test]
fn a_picture_that_was_taken_and_then_failed_is_told_although_its_text_was_read() {
    for failed_early in [true, false] {
        let mut life = Life::on(ChannelProfile { files_apart: true, ..ChannelProfile::new("whatsapp", "phone") });
        life.customer("SM1");
        let send = answers_with_a_picture(&mut life);
        part_ends(&mut life, &send, 1, Outcome::Accepted, &["P1"]);
        // The text is there before the picture was even handed over.
        receipt(&mut life, "P1", Some(&send), Delivered);
        receipt(&mut life, "P1", Some(&send), Read);
        if failed_early {
            receipt(&mut life, "P2", Some(&send), Failed);
        }
        part_ends(&mut life, &send, 2, Outcome::Accepted, &["P2"]);
        if !failed_early {
            assert_eq!((status(&life, &send), is_told(&life)), (Some(Read), false));
            receipt(&mut life, "P2", Some(&send), Failed);
        }
        assert_eq!((status(&life, &send), is_told(&life)), (Some(Failed), true), "early: {failed_early}");
    }
}

#[test]
fn a_receipt_that_proves_a_lost_part_also_says_what_became_of_it() {
    let mut life = Life::on(ChannelProfile {
        files_apart: true,
        reconciles: true,
        reconcile_ms: 30_000,
        ..ChannelProfile::new("whatsapp", "phone")
    });
    life.customer("SM1");
    let send = answers_with_a_picture(&mut life);
    part_ends(&mut life, &send, 1, Outcome::Unknown, &[]);
    let failed = Receipt {
        id: format!("{CHANNEL}:receipt:P1:failed"),
        channel: CHANNEL.into(),
        provider_id: "P1".into(),
        thread: None,
        send: Some(send.clone()),
        part: Some(1),
        n: Some(1),
        status: Failed,
        at: life.now,
        code: None,
        detail: None,
    };
    life.hears(&Inbound::Receipt(failed));
    part_ends(&mut life, &send, 2, Outcome::Accepted, &["P2"]);
    assert_eq!((status(&life, &send), is_told(&life)), (Some(Failed), true));
}

#[test]
fn a_receipt_of_the_whole_is_of_every_part() {
    let (mut life, send) = answered_in_segments();
    let whole = Receipt {
        id: format!("{CHANNEL}:receipt:whole"),
        channel: CHANNEL.into(),
        provider_id: "another id".into(),
        thread: None,
        send: Some(send.clone()),
        part: None,
        n: None,
        status: Delivered,
        at: life.now,
        code: None,
        detail: None,
    };
    life.hears(&Inbound::Receipt(whole));
    receipt(&mut life, "P2", None, Failed);
    assert_eq!((status(&life, &send), is_told(&life)), (Some(Delivered), false));
}
