//! Who may tell the router what to do.

use crate::life::{CHANNEL, Life};
use switchboard_envelope::{Action, Actor, ChannelProfile, Command, Inbound, Scope};
use switchboard_routing_rules::event::{Event, Public};

fn says(life: &mut Life, channel: &str, key: &str, action: Action) -> Vec<Event> {
    let command = Command {
        id: format!("{channel}:command:{key}"),
        channel: channel.into(),
        at: life.now,
        actor: Actor { agent: None, scope: Scope::Admin },
        action,
        body_hash: None,
        traceparent: None,
    };
    life.hears(&Inbound::Command(Box::new(command)))
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
            says(&mut life, channel, "2", Action::ResumeChannel { target: CHANNEL.into() });
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
