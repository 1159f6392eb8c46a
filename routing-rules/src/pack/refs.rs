//! Names that must exist somewhere else, collected while reading and checked once everything has been read.

use super::problem::{Place, Sink, nearest, suggestion};
use super::{Environment, Name, Presences};
use crate::event::Presence;
use std::collections::BTreeSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Queue,
    Agent,
    Reply,
    Rotation,
    Hours,
    Desk,
    Channel,
    /// One that is wanted.
    Skill,
    /// One that puts an agent first.
    Preferred,
    /// Any that agents can be in.
    Presence,
    /// One in which agents are given something.
    Working,
}

impl Kind {
    /// Whether the configuration defines it, and not the pack.
    fn is_configured(self) -> bool {
        matches!(self, Kind::Desk | Kind::Channel)
    }

    fn word(self) -> &'static str {
        match self {
            Kind::Queue => "queue",
            Kind::Agent => "agent",
            Kind::Reply => "reply",
            Kind::Rotation => "rotation",
            Kind::Hours => "hours",
            Kind::Desk => "desk",
            Kind::Channel => "channel",
            Kind::Skill | Kind::Preferred => "skill",
            Kind::Presence | Kind::Working => "presence",
        }
    }
}

#[derive(Default)]
pub(crate) struct Refs(Vec<(Place, Kind, Name)>);

/// What the pack itself defines.
#[derive(Default)]
pub(crate) struct Known<'a> {
    pub queues: BTreeSet<&'a str>,
    pub agents: BTreeSet<&'a str>,
    pub replies: BTreeSet<&'a str>,
    pub rotations: BTreeSet<&'a str>,
    pub hours: BTreeSet<&'a str>,
    /// Those that agents have; `None` where it is not known, or not asked.
    pub skills: Option<BTreeSet<&'a str>>,
    pub presences: BTreeSet<&'a str>,
    /// Those of them that count as available.
    pub working: BTreeSet<&'a str>,
}

impl<'a> Known<'a> {
    pub(crate) fn and(mut self, presences: &'a Presences) -> Known<'a> {
        self.presences = presences.words().map(|(word, _)| word).collect();
        let working = presences.words().filter(|(_, counts_as)| *counts_as == Presence::Available);
        self.working = working.map(|(word, _)| word).collect();
        self
    }
}

impl Refs {
    pub(crate) fn add(&mut self, at: &Place, kind: Kind, name: &str) {
        self.0.push((at.clone(), kind, name.to_owned()));
    }

    /// Where a file could not be read (not `whole`), anything of the pack may be defined in it; desks and channels are not.
    pub(crate) fn check(&self, whole: bool, known: &Known<'_>, env: &Environment, sink: &mut Sink) {
        let desks: Option<BTreeSet<&str>> =
            env.desks.as_ref().map(|d| d.iter().map(String::as_str).chain(["console"]).collect());
        let channels: Option<BTreeSet<&str>> = env.channels.as_ref().map(|c| c.keys().map(String::as_str).collect());
        for (at, kind, name) in self.0.iter().filter(|(_, kind, _)| whole || kind.is_configured()) {
            let names = match kind {
                Kind::Queue => Some(&known.queues),
                Kind::Agent => Some(&known.agents),
                Kind::Reply => Some(&known.replies),
                Kind::Rotation => Some(&known.rotations),
                Kind::Hours => Some(&known.hours),
                Kind::Desk => desks.as_ref(),
                Kind::Channel => channels.as_ref(),
                Kind::Skill | Kind::Preferred => known.skills.as_ref(),
                Kind::Presence => Some(&known.presences),
                Kind::Working => Some(&known.working),
            };
            let Some(names) = names else { continue };
            if names.contains(name.as_str()) {
                continue;
            }
            if *kind == Kind::Working && known.presences.contains(name.as_str()) {
                let message =
                    format!("who is in the presence `{name}` is given nothing: it does not count as available");
                sink.error(at, message, suggestion(name, &names.iter().copied().collect::<Vec<_>>()));
                continue;
            }
            let said = match kind {
                Kind::Skill => format!("no agent has the skill `{name}`"),
                Kind::Preferred => format!("no agent has the skill `{name}`, which this queue prefers"),
                Kind::Hours => format!("there are no hours `{name}`"),
                _ => format!("there is no {} `{name}`", kind.word()),
            };
            sink.error(at, said, define(*kind, name, names));
        }
    }
}

fn define(kind: Kind, name: &str, names: &BTreeSet<&str>) -> String {
    let near = nearest(name, names.iter().copied());
    match (near, kind) {
        (Some(n), _) => format!("did you mean `{n}`"),
        (None, Kind::Desk) => format!("add [desks.{name}] to the configuration, or correct the name"),
        (None, Kind::Channel) => format!("add [channels.{name}] to the configuration, or correct the name"),
        (None, Kind::Queue) => format!("add `{name}: {{}}` under `queues:`, or correct the name"),
        (None, Kind::Agent) => format!("add `{name}` under `agents:`, or correct the name"),
        (None, Kind::Reply) => format!("add `{name}` under `replies:`, or correct the name"),
        (None, Kind::Rotation) => format!("add `{name}` under `rotations:`, or correct the name"),
        (None, Kind::Hours) => format!("add `{name}` under `hours:`, or correct the name"),
        (None, Kind::Presence | Kind::Working) => {
            format!("add `names: {{ {name}: available }}` under `presence:`, or correct the name")
        }
        (None, Kind::Skill | Kind::Preferred) => "give it to an agent, or correct the name".into(),
    }
}
