//! What channels say after a send, and what was written outside: opt-outs that the provider knows, and echoes.

use crate::life::{ANN, CHANNEL, Life, dead, released};
use std::sync::Arc;
use switchboard_envelope::{
    Action, Address, Attachment, AttemptResult, Author, ChannelProfile, ConsentChange, ConsentState, Content, Echo,
    Inbound, Outcome,
};
use switchboard_routing_rules::event::{DeadReason, Event, Public, Why};
use switchboard_routing_rules::ids::{MessageId, Salt};
use switchboard_routing_rules::pack::ConvStatus;
use switchboard_routing_rules::{Input, Verdict, decide};

fn ignored(events: &[Event]) -> bool {
    events.iter().any(|e| matches!(e.public, Public::Ignored { .. }))
}

fn written_elsewhere(events: &[Event]) -> usize {
    events.iter().filter(|e| matches!(&e.public, Public::SendQueued { author: Author::Elsewhere, .. })).count()
}

#[test]
fn a_refusal_for_an_opt_out_is_one_and_start_undoes_it() {
    let mut life = Life::new();
    life.customer("SM1");
    let (status, _, send) = life.answers("1", "hi");
    assert_eq!(status, 202);
    let events = life.result(&send, Outcome::Rejected, true, &[]);
    let changed =
        events.iter().any(|e| matches!(&e.public, Public::ConsentChanged { state: ConsentState::OptedOut, .. }));
    assert!(changed, "{events:?}");
    let (status, code, _) = life.answers("2", "hi again");
    assert_eq!((status, code.as_str()), (422, "opted_out"));

    life.hears(&Inbound::Consent(ConsentChange {
        id: format!("{CHANNEL}:consent:SM2"),
        channel: CHANNEL.into(),
        address: Address::new("phone", ANN),
        state: ConsentState::OptedIn,
        at: life.now,
        reason: Some("START".into()),
        topic: None,
    }));
    assert_eq!(life.answers("3", "welcome back").0, 202);
}

#[test]
fn another_refusal_says_nothing_of_consent() {
    let mut life = Life::new();
    life.customer("SM1");
    let (_, _, send) = life.answers("1", "hi");
    life.result(&send, Outcome::Rejected, false, &[]);
    assert_eq!(life.answers("2", "hi again").0, 202);
}

#[test]
fn what_was_written_in_the_providers_tool_belongs_to_the_conversation_and_answers_it() {
    let mut life = Life::new();
    life.customer("SM1");
    assert_eq!(life.status(), ConvStatus::Queued);
    let at = life.now;
    let events = life.echo("SM9", "we are on it", at);
    assert_eq!(written_elsewhere(&events), 1);
    assert!(!events.iter().any(|e| matches!(e.public, Public::Released { .. })), "nothing is sent for it: {events:?}");
    assert_eq!(life.status(), ConvStatus::Pending, "the customer has their answer");
    let again = life.echo("SM9", "we are on it", at);
    assert_eq!(written_elsewhere(&again), 0, "once");
    life.customer("SM2");
    assert_eq!(life.status(), ConvStatus::Queued, "and the next question waits again");
}

#[test]
fn an_echo_with_another_tools_word_in_the_place_of_ours_is_not_ours() {
    let mut life = Life::new();
    life.customer("SM1");
    let at = life.now;
    let echo = |sid: &str, send: &str| {
        Inbound::Echo(Box::new(Echo {
            id: format!("{CHANNEL}:echo:{sid}"),
            channel: CHANNEL.into(),
            thread: ANN.into(),
            at,
            provider_id: sid.into(),
            send: Some(send.into()),
            part: Some(1),
            n: Some(2),
            to: Address::new("phone", ANN),
            content: Content::text(format!("from another inbox, {sid}")),
        }))
    };
    assert_eq!(written_elsewhere(&life.hears(&echo("SM8", "ticket-7731"))), 1, "what they wrote is kept");
    let ours = MessageId::derive(&Salt([7; 16]), &[b"one that this process does not know yet"]);
    assert_eq!(written_elsewhere(&life.hears(&echo("SM9", &ours.to_string()))), 0);
}

#[test]
fn an_echo_to_a_stranger_opens_a_conversation_that_waits_for_them() {
    let mut life = Life::new();
    let at = life.now;
    assert_eq!(written_elsewhere(&life.echo("SM9", "your parcel is here", at)), 1);
    assert_eq!(life.status(), ConvStatus::Pending);
}

#[test]
fn an_echo_of_our_own_send_is_never_taken_for_anothers() {
    let mut life = Life::new();
    life.customer("SM1");
    let (_, _, send) = life.answers("1", "hi");
    let at = life.now;
    // In flight: the result is on its way.
    let events = life.echo("SM5", "hi", at);
    assert!(ignored(&events) && written_elsewhere(&events) == 0, "{events:?}");
    life.result(&send, Outcome::Accepted, false, &["SM6"]);
    assert_eq!(written_elsewhere(&life.echo("SM6", "hi", at)), 0, "known by the provider's id");

    // Lost: it may have been sent, with a text that the provider changed.
    let (_, _, send) = life.answers("2", "“hello”");
    let at = life.now;
    life.result(&send, Outcome::Unknown, false, &[]);
    assert_eq!(written_elsewhere(&life.echo("SM7", "\"hello\"", at)), 0);
    let later = at.plus(10 * 60_000);
    assert_eq!(written_elsewhere(&life.echo("SM8", "“hello”", later)), 0, "the same text, whenever");
    assert_eq!(written_elsewhere(&life.echo("SM10", "something else", later)), 1);
}

#[test]
fn an_echo_from_before_what_is_remembered_changes_nothing() {
    let mut life = Life::new();
    life.customer("SM1");
    let long_ago = life.now.plus(-7 * 86_400_000);
    let events = life.echo("SM9", "we are on it", long_ago);
    assert!(ignored(&events) && written_elsewhere(&events) == 0, "{events:?}");
}

/// As where no public address is configured at which a provider could fetch them.
#[test]
fn a_reply_with_a_file_is_refused_where_the_channel_can_send_none() {
    let no_files = Some("Twilio fetches them from us: set http.public_url".to_owned());
    let mut life = Life::on(ChannelProfile { no_files, ..ChannelProfile::new("sms", "phone") });
    life.customer("1");
    let reply = |life: &Life, attachments| Action::Reply {
        choices: vec![],
        template: None,
        conversation: life.conversation(),
        text: "here it is".into(),
        attachments,
        take: false,
        seen: None,
    };
    let file =
        Attachment { name: "label.pdf".into(), mime: "application/pdf".into(), size: 1, ..Attachment::default() };
    let with_file = reply(&life, vec![file]);
    let (refused, events) = life.asks("with a file", with_file);
    assert_eq!((refused.status, refused.code.as_str()), (422, "attachments"));
    assert!(refused.detail.contains(CHANNEL) && refused.detail.contains("set http.public_url"), "{}", refused.detail);
    assert!(!events.iter().any(|e| matches!(e.public, Public::SendQueued { .. })), "{events:?}");
    let without = reply(&life, vec![]);
    assert_eq!(life.asks("without", without).0.status, 202, "and without the file it goes");
}

#[test]
fn what_is_opened_again_by_hand_says_so() {
    let mut life = Life::new();
    life.customer("1");
    let conversation = life.conversation();
    life.asks("close", Action::Close { conversation: conversation.clone() });
    assert_eq!(life.status(), ConvStatus::Closed);
    let (_, events) = life.asks("reopen", Action::Reopen { conversation });
    let whys: Vec<&Why> = events
        .iter()
        .filter_map(|e| match &e.public {
            Public::Reopened { why, .. } | Public::Queued { why, .. } | Public::Assigned { why, .. } => Some(why),
            _ => None,
        })
        .collect();
    assert_eq!(whys, [&Why::Reopened, &Why::Reopened], "nobody transferred it");
}

#[test]
fn where_the_receiver_drops_repeats_an_unknown_attempt_is_made_again_and_never_called_unsent() {
    let drops = ChannelProfile { same_id_retry: true, not_after_ms: 60_000, ..ChannelProfile::new("webhook", "phone") };
    for (first, end) in [(Outcome::Unknown, DeadReason::Unknown), (Outcome::NotSent, DeadReason::Expired)] {
        let mut life = Life::on(drops.clone());
        life.customer("SM1");
        let (_, _, send) = life.answers("1", "hi");
        let events = life.result(&send, first, false, &[]);
        assert_eq!(dead(&events), [], "{first:?}: it is tried again");
        assert_eq!(released(&life.passes(5_000)), [2], "{first:?}");
        let second = Inbound::Result(life.ended(&send, 2, Outcome::NotSent));
        life.hears(&second);
        assert_eq!(dead(&life.passes(120_000)), [end], "the first attempt was {first:?}");
    }
    let mut life = Life::on(drops);
    life.customer("SM1");
    let (_, _, send) = life.answers("1", "hi");
    life.result(&send, Outcome::Unknown, false, &[]);
    life.passes(5_000);
    let second = Inbound::Result(life.ended(&send, 2, Outcome::Accepted));
    let events = life.hears(&second);
    assert!(events.iter().any(|e| matches!(e.public, Public::Sent { .. })), "{events:?}");
}

fn code_of(events: &[Event]) -> Option<String> {
    events.iter().find_map(|e| match &e.public {
        Public::AttemptEnded { code, .. } => code.clone(),
        _ => None,
    })
}

/// A send whose first attempt may have been taken, while the second is under way.
fn tried_again() -> (Life, String) {
    let drops = ChannelProfile { same_id_retry: true, not_after_ms: 60_000, ..ChannelProfile::new("webhook", "phone") };
    let mut life = Life::on(drops);
    life.customer("SM1");
    let (_, _, send) = life.answers("1", "hi");
    life.result(&send, Outcome::Unknown, false, &[]);
    assert_eq!(released(&life.passes(5_000)), [2]);
    (life, send)
}

#[test]
fn what_may_have_been_taken_is_never_called_rejected() {
    let (mut life, send) = tried_again();
    let repeat = AttemptResult { code: Some("409".into()), ..life.ended(&send, 2, Outcome::Rejected) };
    let events = life.hears(&Inbound::Result(repeat));
    assert_eq!(dead(&events), [DeadReason::Unknown]);
    assert_eq!(code_of(&events).as_deref(), Some("409"), "what the provider said is kept");
}

#[test]
fn what_may_have_been_taken_is_never_called_unsent_because_its_channel_went() {
    let (mut life, send) = tried_again();
    life.leads_without_channels();
    let now = life.now;
    let verdict = Input::Verdict {
        now,
        message: MessageId::parse(&send).expect("an id"),
        part: 1,
        n: 2,
        verdict: Verdict::NotSent,
    };
    assert_eq!(dead(&decide(life.state.clone(), &verdict, &life.pack).events), [DeadReason::Unknown]);
    let refused = Inbound::Result(life.ended(&send, 2, Outcome::NotSent));
    life.hears(&refused);
    assert_eq!(dead(&life.passes(120_000)), [DeadReason::Unknown]);
}

#[test]
fn an_attempt_that_turns_out_rejected_is_called_so() {
    let asks = ChannelProfile { reconciles: true, reconcile_ms: 5_000, ..ChannelProfile::new("sms", "phone") };
    let mut life = Life::on(asks);
    life.customer("SM1");
    let (_, _, send) = life.answers("1", "hi");
    assert_eq!(dead(&life.result(&send, Outcome::Unknown, false, &[])), []);
    assert_eq!(dead(&life.result(&send, Outcome::Rejected, false, &[])), [DeadReason::Rejected]);
}

#[test]
fn a_success_that_comes_while_the_retry_waits_for_its_turn_settles_the_send() {
    let mut life = Life::on(ChannelProfile { same_id_retry: true, ..ChannelProfile::new("webhook", "phone") });
    life.customer("SM1");
    let (_, _, send) = life.answers("1", "hi");
    life.result(&send, Outcome::Unknown, false, &[]);
    life.asks("pause", Action::PauseChannel { target: CHANNEL.into() });
    assert!(released(&life.passes(5_000)).is_empty(), "the channel is paused");
    let early = Inbound::Result(life.ended(&send, 2, Outcome::Accepted));
    assert!(ignored(&life.hears(&early)), "an attempt that was never made proves nothing");
    let events = life.result(&send, Outcome::Accepted, false, &["SM2"]);
    assert!(events.iter().any(|e| matches!(e.public, Public::Sent { .. })), "{events:?}");
}

#[test]
fn what_was_erased_is_neither_released_nor_asked_for_so_that_each_of_them_has_its_place_in_out() {
    let erase = |life: &mut Life| {
        let id = *life.state.sends.keys().next().expect("a send");
        Arc::make_mut(life.state.sends.get_mut(&id).expect("a send")).private = None;
    };
    let asks = ChannelProfile { reconciles: true, reconcile_ms: 5_000, ..ChannelProfile::new("sms", "phone") };
    let mut life = Life::on(asks);
    life.customer("SM1");
    life.asks("pause", Action::PauseChannel { target: CHANNEL.into() });
    life.answers("1", "hi");
    erase(&mut life);
    let (_, events) = life.asks("resume", Action::ResumeChannel { target: CHANNEL.into(), mended: false });
    assert!(released(&events).is_empty() && life.state.sends.is_empty(), "{events:?}");

    let (_, _, send) = life.answers("2", "hi");
    erase(&mut life);
    let events = life.result(&send, Outcome::Unknown, false, &[]);
    assert!(!events.iter().any(|e| matches!(e.public, Public::Reconciling { .. })), "{events:?}");
    assert_eq!(dead(&events), [DeadReason::Unknown]);
}
