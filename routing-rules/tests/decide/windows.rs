//! Windows in which a provider takes answers, receipts of whole threads, and a provider that refuses the channel.

use crate::life::{ANN, CHANNEL, Life};
use switchboard_envelope::{
    Action, ChannelProfile, ChannelRefused, Inbound, Outcome, Receipt, ReceiptStatus, Template, Timestamp,
};
use switchboard_routing_rules::event::{Event, NoReply, Public};

const HOUR: i64 = 3_600_000;

fn windowed() -> ChannelProfile {
    ChannelProfile { window_ms: Some(24 * HOUR), ..ChannelProfile::new("facebook", "phone") }
}

fn resends(life: &mut Life, key: &str, send: &str) -> (u16, String) {
    let (reply, _) = life.asks(key, Action::Resend { send: send.into() });
    (reply.status, reply.code)
}

#[test]
fn an_answer_is_refused_with_the_reason_once_the_window_is_closed() {
    let mut life = Life::on(windowed());
    life.customer("1");
    let (status, _, send) = life.answers("a", "at once");
    assert_eq!(status, 202);
    life.result(&send, Outcome::Rejected, false, &[]);
    life.passes(23 * HOUR);
    assert_eq!(life.answers("b", "in time").0, 202);
    life.passes(HOUR);
    let (status, code, _) = life.answers("c", "too late");
    assert_eq!((status, code.as_str()), (422, "outside_window"));
    assert_eq!(resends(&mut life, "d", &send), (422, "outside_window".into()), "a dead letter too");
    life.customer("2");
    assert_eq!(life.answers("e", "they wrote again").0, 202);
    assert_eq!(resends(&mut life, "f", &send).0, 202);
}

#[test]
fn a_person_may_have_longer_than_a_rule() {
    let mut life = Life::on(ChannelProfile { person_window_ms: Some(7 * 24 * HOUR), ..windowed() });
    life.customer("1");
    life.passes(6 * 24 * HOUR);
    assert_eq!(life.answers("a", "after six days").0, 202);
    life.passes(25 * HOUR);
    let (status, code, _) = life.answers("b", "after seven");
    assert_eq!((status, code.as_str()), (422, "outside_window"));
}

#[test]
fn the_window_is_counted_from_when_the_person_wrote_and_not_from_when_it_came() {
    let yaml = "zone: UTC\nqueues: { q: {} }\nagents: { ann: { capacity: 10 } }\nreplies: { r: Thanks }\n\
rules:\n  - { name: R, when: {}, then: { reply: r } }\ndefault: { queue: q }\n";
    let mut life = Life::with(windowed(), yaml);
    let late = life.says(ANN, "1", "hello", |m| m.at = m.at.plus(-25 * HOUR));
    let refused = |e: &Event| matches!(e.public, Public::NotReplied { why: NoReply::OutsideWindow, .. });
    assert!(late.iter().any(refused), "{late:?}");
    assert_eq!(life.answers("a", "hi").1, "outside_window");
    let machine = life.says(ANN, "2", "[a reaction]", |m| m.automatic = true);
    assert!(!machine.is_empty());
    assert_eq!(life.answers("b", "hi").1, "outside_window", "a machine opens no window");
    life.says(ANN, "3", "hello", |m| m.at = m.at.plus(1000 * HOUR));
    assert_eq!(life.answers("c", "hi").0, 202);
    life.passes(25 * HOUR);
    assert_eq!(life.answers("d", "hi").1, "outside_window", "a clock that runs ahead opens it no longer");
}

#[test]
fn who_wrote_before_we_were_there_is_the_providers_to_know() {
    let mut life = Life::on(windowed());
    life.echo("SM1", "written in the app", life.now);
    assert_eq!(life.answers("a", "and we go on").0, 202);
}

#[test]
fn an_approved_text_goes_also_when_the_window_is_closed() {
    for templates in [true, false] {
        let mut life = Life::on(ChannelProfile { templates, ..windowed() });
        life.customer("1");
        life.passes(25 * HOUR);
        let template = Template { name: "order_ready".into(), language: "en_US".into(), ..Template::default() };
        let action = Action::Reply {
            conversation: life.conversation(),
            text: String::new(),
            attachments: vec![],
            choices: vec![],
            template: Some(template),
            take: false,
            seen: None,
        };
        let (reply, _) = life.asks("a", action);
        assert_eq!((reply.status, reply.code.as_str()), if templates { (202, "") } else { (422, "template") });
    }
}

fn of_thread(key: &str, status: ReceiptStatus, at: Timestamp) -> Inbound {
    Inbound::Receipt(Receipt {
        id: format!("{CHANNEL}:receipt:{key}"),
        channel: CHANNEL.into(),
        provider_id: String::new(),
        thread: Some(ANN.into()),
        send: None,
        part: None,
        n: None,
        status,
        at,
        code: None,
        detail: None,
    })
}

fn told(events: &[Event]) -> Vec<(String, ReceiptStatus)> {
    let one = |e: &Event| match &e.public {
        Public::Receipt { message, status, .. } => Some((message.to_string(), *status)),
        _ => None,
    };
    events.iter().filter_map(one).collect()
}

#[test]
fn a_receipt_of_a_thread_is_of_every_message_until_then() {
    let mut life = Life::on(windowed());
    life.customer("1");
    life.writes("+15551230002", "other");
    let mut sent = vec![];
    for key in ["a", "b", "c"] {
        let (_, _, send) = life.answers(key, key);
        life.result(&send, Outcome::Accepted, false, &[key]);
        sent.push((send, life.now));
    }
    let (_, _, other) = life.answers_to("+15551230002", "d", "to somebody else");
    life.result(&other, Outcome::Accepted, false, &["d"]);
    let at = sent[1].1;
    let delivered: Vec<_> = sent.iter().take(2).map(|(id, _)| (id.clone(), ReceiptStatus::Delivered)).collect();
    assert_eq!(told(&life.hears(&of_thread("1", ReceiptStatus::Delivered, at))), delivered, "in order, up to then");
    assert_eq!(told(&life.hears(&of_thread("2", ReceiptStatus::Delivered, at))), vec![], "the same again");
    let read: Vec<_> = sent.iter().map(|(id, _)| (id.clone(), ReceiptStatus::Read)).collect();
    assert_eq!(told(&life.hears(&of_thread("3", ReceiptStatus::Read, life.now))), read);
    assert_eq!(told(&life.hears(&of_thread("4", ReceiptStatus::Delivered, life.now))), vec![], "statuses only rise");
    assert_eq!(told(&life.hears(&of_thread("5", ReceiptStatus::Read, life.now))), vec![]);
    let (_, _, pending) = life.answers("e", "not taken yet");
    assert_eq!(told(&life.hears(&of_thread("6", ReceiptStatus::Read, life.now))), vec![], "it is not sent");
    life.result(&pending, Outcome::Accepted, false, &["e"]);
    let last = told(&life.hears(&of_thread("7", ReceiptStatus::Read, life.now)));
    assert_eq!(last, vec![(pending, ReceiptStatus::Read)]);
}

#[test]
fn a_channel_that_its_provider_refuses_pauses_until_somebody_acts() {
    let mut life = Life::on(windowed());
    life.customer("1");
    life.hears(&Inbound::Refused(ChannelRefused {
        id: format!("{CHANNEL}:refused:1"),
        channel: CHANNEL.into(),
        at: life.now,
        detail: "access was revoked: authorize the app again".into(),
    }));
    let paused = life.state.channels.get(CHANNEL).and_then(|c| c.paused.clone());
    assert_eq!(paused.as_deref(), Some("access was revoked: authorize the app again"));
    let (status, _, send) = life.answers("a", "hi");
    assert_eq!(status, 202, "it waits");
    assert!(life.state.sends.values().all(|s| s.n == 0), "nothing is released");
    let (reply, _) = life.asks("resume", Action::ResumeChannel { target: CHANNEL.into(), mended: false });
    assert_eq!(reply.status, 200);
    assert!(life.state.sends.values().any(|s| s.id.to_string() == send && s.n == 1), "and then it goes");
}

#[test]
fn a_note_leaves_what_an_answer_answers() {
    let mut life = Life::on(ChannelProfile::new("twitter", "phone"));
    life.customer("post-1");
    life.customer("post-2");
    life.says(ANN, "note", "[the customer deleted a post]", |m| {
        (m.automatic, m.provider_id) = (true, None);
    });
    let (status, _, send) = life.answers("a", "sorry");
    assert_eq!(status, 202);
    let answers = |s: &switchboard_routing_rules::state::SendState| s.private.as_ref().map(|p| p.reply_to.clone());
    let found = life.state.sends.values().find(|s| s.id.to_string() == send).and_then(|s| answers(s));
    assert_eq!(found, Some(vec!["post-2".to_owned()]));
}
