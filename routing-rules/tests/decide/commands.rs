//! Who may tell the router what to do.

use crate::life::{CHANNEL, Life};
use switchboard_envelope::{Action, Actor, Author, ChannelProfile, Command, Inbound, Scope};
use switchboard_routing_rules::event::{Event, Public};
use switchboard_routing_rules::ids::ConvId;
use switchboard_routing_rules::pack::ConvStatus;

fn says(life: &mut Life, channel: &str, key: &str, action: Action) -> Vec<Event> {
    let command = Command {
        id: format!("{channel}:command:{key}"),
        channel: channel.into(),
        at: life.now,
        actor: Actor { agent: None, token: None, scope: Scope::Admin },
        action,
        body_hash: None,
        traceparent: None,
    };
    life.hears(&Inbound::Command(Box::new(command)))
}

/// The same by a token of that name, which may speak for an agent.
fn asks(life: &mut Life, token: &str, agent: Option<&str>, key: &str, action: Action) -> Vec<Event> {
    let command = Command {
        id: format!("api:command:{key}"),
        channel: "api".into(),
        at: life.now,
        actor: Actor { agent: agent.map(Into::into), token: Some(token.into()), scope: Scope::Admin },
        action,
        body_hash: None,
        traceparent: None,
    };
    life.hears(&Inbound::Command(Box::new(command)))
}

fn reply(conversation: String, take: bool) -> Action {
    let (attachments, choices) = (vec![], vec![]);
    Action::Reply { conversation, text: "hi".into(), attachments, choices, template: None, take, seen: None }
}

fn author(events: &[Event]) -> Option<&Author> {
    events.iter().find_map(|e| match &e.public {
        Public::SendQueued { author, .. } => Some(author),
        _ => None,
    })
}

fn owner(life: &Life) -> Option<String> {
    let id = ConvId::parse(&life.conversation()).expect("an id");
    life.state.conversation(id).and_then(|c| c.agent.as_deref().cloned())
}

fn status(events: &[Event]) -> u16 {
    let answers = events.iter().find_map(|e| match &e.public {
        Public::Answered { reply, .. } => Some(reply.status),
        _ => None,
    });
    answers.expect("every command is answered")
}

fn detail(events: &[Event]) -> String {
    let answers = events.iter().find_map(|e| match &e.public {
        Public::Answered { reply, .. } => Some(reply.detail.clone()),
        _ => None,
    });
    answers.expect("every command is answered")
}

/// The pack has one agent, who did nothing.
#[test]
fn a_token_that_names_no_agent_speaks_in_its_own_name() {
    let mut life = Life::new();
    life.customer("SM1");
    let conversation = life.conversation();
    let crm = Author::Token { name: "crm".into() };
    let events = asks(&mut life, "crm", None, "1", reply(conversation.clone(), false));
    assert_eq!(author(&events), Some(&crm));
    assert!(!events.iter().any(|e| matches!(e.public, Public::Assigned { .. })), "it is nobody's: {events:?}");
    assert_eq!((life.status(), owner(&life)), (ConvStatus::Pending, None));
    life.customer("SM2");
    assert_eq!(life.status(), ConvStatus::Queued, "and waits for somebody who is there");

    let note = Action::Note { conversation: conversation.clone(), text: "called".into() };
    let events = asks(&mut life, "crm", None, "2", note);
    let by = events.iter().find_map(|e| match &e.public {
        Public::NoteAdded { agent, token, .. } => Some((agent.clone(), token.clone())),
        _ => None,
    });
    assert_eq!(by, Some((None, Some("crm".into()))));

    // In the name of an agent who is named, it is theirs.
    let events = asks(&mut life, "crm", Some("ann"), "3", reply(conversation.clone(), false));
    assert_eq!(author(&events), Some(&Author::Agent { id: "ann".into() }));
    assert_eq!(owner(&life).as_deref(), Some("ann"));
    // It stays theirs when others write, and where there is one agent nobody else has to insist.
    let events = asks(&mut life, "crm", None, "4", reply(conversation.clone(), false));
    assert_eq!((status(&events), author(&events), owner(&life).as_deref()), (202, Some(&crm), Some("ann")));
}

#[test]
fn what_a_token_answers_is_the_only_agents_where_they_are_there_and_in_its_own_name() {
    let mut life = Life::new();
    life.customer("SM1");
    asks(&mut life, "crm", None, "1", Action::Presence { agent: "ann".into(), presence: "available".into() });
    let conversation = life.conversation();
    let events = asks(&mut life, "crm", None, "2", reply(conversation, false));
    assert_eq!(author(&events), Some(&Author::Token { name: "crm".into() }));
    assert_eq!((life.status(), owner(&life).as_deref()), (ConvStatus::Pending, Some("ann")));
}

#[test]
fn of_several_agents_what_one_has_is_touched_by_nobody_else_who_does_not_insist() {
    let yaml = "zone: UTC\nqueues: { q: {} }\nagents: { ann: {}, bob: {} }\ndefault: { queue: q }\n";
    let mut life = Life::with(ChannelProfile::new("sms", "phone"), yaml);
    life.customer("SM1");
    let conversation = life.conversation();
    asks(&mut life, "crm", Some("ann"), "1", reply(conversation.clone(), false));
    let events = asks(&mut life, "crm", None, "2", reply(conversation.clone(), false));
    assert_eq!(status(&events), 409);
    assert_eq!(
        detail(&events),
        "the conversation is with `ann`; add `\"agent\": \"ann\"` to answer for them, or `\"take\": true` to answer all the same, \
         which leaves it with `ann`"
    );
    let events = asks(&mut life, "crm", None, "3", reply(conversation.clone(), true));
    assert_eq!((status(&events), owner(&life).as_deref()), (202, Some("ann")));
    // Whoever speaks for another agent makes it theirs.
    let events = asks(&mut life, "crm", Some("bob"), "4", reply(conversation.clone(), false));
    let said = "the conversation is with `ann`; add `\"take\": true` to answer all the same: then it is with `bob`";
    assert_eq!((status(&events), detail(&events).as_str()), (409, said));
    let events = asks(&mut life, "crm", Some("bob"), "5", reply(conversation, true));
    assert_eq!((status(&events), owner(&life).as_deref()), (202, Some("bob")));
}

fn quarantined(events: &[Event]) -> bool {
    events.iter().any(|e| matches!(e.public, Public::Quarantined { .. }))
}

#[test]
fn only_the_api_and_the_router_command() {
    let external = ChannelProfile { external: true, ..ChannelProfile::new("telegram", "phone") };
    for profile in [ChannelProfile::new("sms", "phone"), external] {
        let mut life = Life::on(profile);
        for channel in ["ghost", CHANNEL, ""] {
            let events = says(&mut life, channel, "1", Action::PauseChannel { target: CHANNEL.into() });
            assert!(quarantined(&events), "{channel}: {events:?}");
            assert_eq!(life.state.channels[CHANNEL].paused, None, "{channel}");
        }
        for channel in ["api", "router"] {
            let events = says(&mut life, channel, "1", Action::PauseChannel { target: CHANNEL.into() });
            assert!(!quarantined(&events) && life.state.channels[CHANNEL].paused.is_some(), "{channel}: {events:?}");
            says(&mut life, channel, "2", Action::ResumeChannel { target: CHANNEL.into(), mended: false });
        }
    }
}

#[test]
fn a_channel_confirms_what_it_pushed_itself_and_nothing_else() {
    let confirmed =
        |target: &str| Action::Confirmed { target: target.into(), thread: "v1".into(), up_to: 4, read: true };
    let pushes = ChannelProfile { push: true, ..ChannelProfile::new("webchat", "visitor") };
    for (profile, from, target, heard) in [
        (pushes.clone(), CHANNEL, CHANNEL, true),
        (pushes.clone(), CHANNEL, "other", false),
        (pushes.clone(), "other", CHANNEL, false),
        (ChannelProfile { external: true, ..pushes }, CHANNEL, CHANNEL, false),
        (ChannelProfile::new("sms", "phone"), CHANNEL, CHANNEL, false),
    ] {
        let mut life = Life::on(profile);
        let events = says(&mut life, from, "1", confirmed(target));
        let told = events.iter().any(|e| matches!(e.public, Public::Confirmed { .. }));
        assert_eq!((told, quarantined(&events)), (heard, !heard), "{from} of {target}");
    }
}
