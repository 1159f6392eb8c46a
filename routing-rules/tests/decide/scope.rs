//! What holds for one person on one channel, and for nobody and nothing else.

use crate::life::{ANN, CHANNEL, Life};
use switchboard_envelope::{Action, Address, ChannelProfile, ConsentChange, ConsentState, Inbound};
use switchboard_routing_rules::event::{Event, Public};

const OTHER: &str = "another-channel";
const BOB: &str = "+15551230002";

/// Two channels of one kind; Ann wrote to both, Bob to the first.
fn life(kind: &str, address_kind: &str) -> Life {
    let profile = ChannelProfile::new(kind, address_kind);
    let mut life = Life::on(profile.clone());
    life.leads_with(&[(OTHER, profile)]);
    life.customer("SM1");
    life.says(ANN, "SM2", "hello again", |m| {
        m.channel = OTHER.into();
        m.id = format!("{OTHER}:message:SM2");
    });
    life.writes(BOB, "SM3");
    life
}

/// An answer to somebody on a channel: its status, the code of a refusal, and where it went.
fn answers(life: &mut Life, channel: &str, who: &str, key: &str) -> (u16, String, Vec<(String, String)>) {
    let thread = life.state.thread_hash(channel, who);
    let conversation = life.state.conversation_of_thread(thread).expect("a conversation").id.to_string();
    let action = Action::Reply {
        conversation,
        text: "hi".into(),
        attachments: vec![],
        choices: vec![],
        template: None,
        take: false,
        seen: None,
    };
    let (reply, events) = life.asks(key, action);
    let queued = |e: &Event| match &e.public {
        Public::SendQueued { conv, channel, .. } => Some((conv.to_string(), channel.to_string())),
        _ => None,
    };
    (reply.status, reply.code, events.iter().filter_map(queued).collect())
}

fn consents(life: &mut Life, channel: &str, who: &str, state: ConsentState) {
    life.hears(&Inbound::Consent(ConsentChange {
        id: format!("{channel}:consent:{who}:{state:?}"),
        channel: channel.into(),
        address: Address::new("phone", who),
        state,
        at: life.now,
        reason: Some("STOP".into()),
        topic: None,
    }));
}

#[test]
fn an_opt_out_is_of_one_person_on_one_channel() {
    let mut life = life("sms", "phone");
    consents(&mut life, CHANNEL, ANN, ConsentState::OptedOut);
    let status = |life: &mut Life, channel: &str, who: &str, key: &str| {
        let (status, code, _) = answers(life, channel, who, key);
        (status, code)
    };
    let refused = (422, "opted_out".to_owned());
    assert_eq!(status(&mut life, CHANNEL, ANN, "1"), refused);
    assert_eq!(status(&mut life, OTHER, ANN, "2").0, 202, "another number of ours");
    assert_eq!(status(&mut life, CHANNEL, BOB, "3").0, 202, "another person");
    // Back in on the one changes nothing on the other.
    consents(&mut life, OTHER, ANN, ConsentState::OptedOut);
    consents(&mut life, CHANNEL, ANN, ConsentState::OptedIn);
    assert_eq!(status(&mut life, CHANNEL, ANN, "4").0, 202);
    assert_eq!(status(&mut life, OTHER, ANN, "5"), refused);
}

#[test]
fn an_id_that_two_inboxes_know_has_a_thread_in_each_and_is_answered_where_it_wrote() {
    let mut life = life("facebook", "facebook");
    let threads = [CHANNEL, OTHER].map(|channel| {
        let thread = life.state.thread_hash(channel, ANN);
        life.state.conversation_of_thread(thread).expect("a conversation").id.to_string()
    });
    assert_ne!(threads[0], threads[1]);
    for (channel, thread) in [CHANNEL, OTHER].into_iter().zip(&threads) {
        let (status, _, sent) = answers(&mut life, channel, ANN, channel);
        assert_eq!((status, sent), (202, vec![(thread.clone(), channel.to_owned())]), "{channel}");
    }
}

#[test]
fn an_id_that_counts_within_one_page_is_another_person_on_the_next() {
    let profile = ChannelProfile::new("facebook", "facebook");
    let mut life = Life::on(profile.clone());
    life.leads_with(&[(OTHER, profile)]);
    let wrote = |life: &mut Life, channel: &str, key: &str, page: Option<&str>| {
        let events = life.says(ANN, key, "hello", |m| {
            m.channel = channel.into();
            m.id = format!("{channel}:message:{key}");
            m.from = Address::new("facebook", ANN);
            m.from.within = page.map(str::to_owned);
        });
        let opened = |e: &Event| match &e.public {
            Public::Opened { contact, .. } => Some(*contact),
            _ => None,
        };
        events.iter().find_map(opened)
    };
    let (first, second) = (wrote(&mut life, CHANNEL, "1", Some("a")), wrote(&mut life, OTHER, "2", Some("b")));
    assert!(first.is_some() && second.is_some() && first != second, "{first:?} {second:?}");
    assert_eq!(wrote(&mut life, CHANNEL, "3", Some("a")), None, "the same person goes on");
    let at = |page: &str| Address::new("facebook", ANN).within(page);
    assert_eq!((Some(life.state.contact_of(&at("a"))), Some(life.state.contact_of(&at("b")))), (first, second));
    assert_ne!(Some(life.state.contact_of(&Address::new("facebook", ANN))), first);
    // Who opts out on one page is written to on the other, whatever the channel is called.
    assert_ne!(life.state.identity_hash(&at("a")), life.state.identity_hash(&at("b")));
    // The answer goes to the address with its page, from the packed texts as from a snapshot.
    let thread = life.state.thread_hash(OTHER, ANN);
    let conversation = life.state.conversation_of_thread(thread).expect("a conversation");
    assert_eq!(conversation.private.as_ref().and_then(|p| p.address()), Some(at("b")));
}
