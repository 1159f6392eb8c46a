//! What a rule does.

use crate::pack::template::Template;
use crate::pack::{AgentChoice, Name, OverflowStep, Place, Priority, SetTarget, Skills, Wait};

/// The actions of one `then`, or of `default`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Actions {
    pub queue: Option<QueuePick>,
    pub agent: Option<AgentPick>,
    pub wait: Option<Wait>,
    pub desk: Option<Name>,
    pub priority: Option<Priority>,
    pub skills: Option<SkillPick>,
    pub overflow: Option<Vec<OverflowStep>>,
    pub tags: Vec<String>,
    pub set: Vec<(SetTarget, Template)>,
    pub consent: Option<bool>,
    pub notify: Vec<NotifyAction>,
    /// With its place, for what is checked once all replies are known.
    pub reply: Option<(Place, Name)>,
    pub close: bool,
    pub snooze_ms: Option<i64>,
    pub block: bool,
    pub move_: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum QueuePick {
    Queue(Name),
    Rotation(Name),
}

#[derive(Clone, Debug)]
pub(crate) enum AgentPick {
    Choice(AgentChoice),
    Rotation(Name),
    /// Whom a text names, by id or by name.
    Named(Template),
}

/// Skills that are written, and those that a text names.
#[derive(Clone, Debug, Default)]
pub(crate) struct SkillPick {
    pub written: Skills,
    /// With the level that is wanted.
    pub named: Vec<(Template, u8)>,
}

#[derive(Clone, Debug)]
pub(crate) struct NotifyAction {
    pub desk: Name,
    pub text: Option<Template>,
}
