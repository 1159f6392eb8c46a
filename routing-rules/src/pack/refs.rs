//! Names that must exist somewhere else, collected while reading and checked once everything has been read.

use super::problem::{Place, Sink, nearest};
use super::{Environment, Name};
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
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Queue => "queue",
            Kind::Agent => "agent",
            Kind::Reply => "reply",
            Kind::Rotation => "rotation",
            Kind::Hours => "hours",
            Kind::Desk => "desk",
            Kind::Channel => "channel",
            Kind::Skill => "skill",
        }
    }
}

#[derive(Default)]
pub(crate) struct Refs(Vec<(Place, Kind, Name)>);

/// What the pack itself defines.
pub(crate) struct Known<'a> {
    pub queues: BTreeSet<&'a str>,
    pub agents: BTreeSet<&'a str>,
    pub replies: BTreeSet<&'a str>,
    pub rotations: BTreeSet<&'a str>,
    pub hours: BTreeSet<&'a str>,
    /// Those that agents have; `None` where it is not known, or not asked.
    pub skills: Option<BTreeSet<&'a str>>,
}

impl Refs {
    pub(crate) fn add(&mut self, at: &Place, kind: Kind, name: &str) {
        self.0.push((at.clone(), kind, name.to_owned()));
    }

    pub(crate) fn check(&self, known: &Known<'_>, env: &Environment, sink: &mut Sink) {
        let desks: Option<BTreeSet<&str>> =
            env.desks.as_ref().map(|d| d.iter().map(String::as_str).chain(["console"]).collect());
        let channels: Option<BTreeSet<&str>> = env.channels.as_ref().map(|c| c.keys().map(String::as_str).collect());
        for (at, kind, name) in &self.0 {
            let names = match kind {
                Kind::Queue => Some(&known.queues),
                Kind::Agent => Some(&known.agents),
                Kind::Reply => Some(&known.replies),
                Kind::Rotation => Some(&known.rotations),
                Kind::Hours => Some(&known.hours),
                Kind::Desk => desks.as_ref(),
                Kind::Channel => channels.as_ref(),
                Kind::Skill => known.skills.as_ref(),
            };
            let Some(names) = names else { continue };
            if *kind == Kind::Skill && !names.contains(name.as_str()) {
                sink.error(at, format!("no agent has the skill `{name}`"), define(*kind, name, names));
            } else if !names.contains(name.as_str()) {
                let is = if *kind == Kind::Hours { "are" } else { "is" };
                sink.error(at, format!("there {is} no {} `{name}`", kind.word()), define(*kind, name, names));
            }
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
        (None, Kind::Skill) => "give it to an agent, or correct the name".into(),
    }
}
