//! What a pack would do with a message that was decided before: the same facts, another pack. Nothing is carried from one message to
//! the next, so each difference is the pack's own, and none follows from another.

use crate::pack::read::spell;
use crate::pack::{
    AgentChoice, ConvStatus, Name, OverflowStep, Priority, RulePack, RunOutcome, SeenMessage, SeenState, Settings,
    Skills,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What would be done with one message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Would {
    /// `None` leaves the conversation where it is.
    pub queue: Option<Name>,
    /// An id, or `sticky`.
    pub agent: Option<String>,
    /// So long they are waited for before others are asked.
    #[serde(default)]
    pub wait_ms: Option<i64>,
    /// Also while none of those who are named is there.
    #[serde(default)]
    pub waits_for_absent: bool,
    pub priority: Option<Priority>,
    pub tags: BTreeSet<String>,
    /// The reply's id and its text.
    pub reply: Option<(Name, String)>,
    /// `billing french 2`
    pub skills: Vec<String>,
    pub closed: bool,
    pub snoozed_ms: Option<i64>,
    pub blocked: bool,
    pub consent: Option<bool>,
    pub notified: BTreeSet<Name>,
    /// What these desks are told, as `team-slack: The bank wrote`.
    #[serde(default)]
    pub notices: BTreeSet<String>,
    /// Where the agent is told, if not at their first desk.
    #[serde(default)]
    pub desk: Option<Name>,
    /// The rules' own overflow, as `after 5m: queue everyone, priority high`; `None` leaves it to the queue.
    #[serde(default)]
    pub overflow: Option<Vec<String>>,
    /// What the reply offers, as `yes “Yes, please”`.
    #[serde(default)]
    pub choices: Vec<String>,
    /// Attributes as `order=123456`.
    pub set: BTreeSet<String>,
}

/// What a pack does with a message, given what conditions saw.
#[must_use]
pub fn would(pack: &RulePack, message: &SeenMessage, state: &SeenState) -> Would {
    let run = pack.run(message, state);
    let held = match state.state {
        Some(ConvStatus::Assigned | ConvStatus::Offered | ConvStatus::Pending) => true,
        // Rules that choose for what was laid aside the queue where it waited leave it there.
        Some(ConvStatus::Snoozed) => {
            state.owned || message.automatic || (run.queue.is_some() && run.queue == state.queue)
        }
        _ => false,
    };
    let waiting = state.queue.is_some() || state.contact_agent.is_some() || message.automatic;
    let placeless = state.new || !waiting && (held || state.state == Some(ConvStatus::Closed));
    let places = run.places() && (run.move_ || !held || placeless);
    let default = placeless && !places && !run.close && run.snooze_ms.is_none();
    if default {
        return of(&pack.with_default(&run, message, state), true, true);
    }
    of(&run, places, places || state.state == Some(ConvStatus::Queued))
}

/// `waits` says that what is wanted of its agents holds.
fn of(run: &RunOutcome, places: bool, waits: bool) -> Would {
    let agent = run.agent.as_ref().map(|a| match a {
        AgentChoice::Agent(id) => id.clone(),
        AgentChoice::OneOf(all) => all.join(" or "),
        AgentChoice::Sticky => "sticky".to_owned(),
    });
    let reply = run.reply.as_ref().map(|r| {
        let text = r.text.as_deref().unwrap_or_else(|problem| problem);
        (r.reply.clone(), text.to_owned())
    });
    let name = |target: &crate::pack::SetTarget| match target {
        crate::pack::SetTarget::Conversation(n) => n.clone(),
        crate::pack::SetTarget::Contact(n) => format!("contact.{n}"),
    };
    Would {
        queue: run.queue.clone().filter(|_| places),
        agent: agent.filter(|_| places),
        wait_ms: run.wait.filter(|_| places).map(|wait| wait.ms),
        waits_for_absent: places && run.wait.is_some_and(|wait| wait.absent),
        priority: run.priority,
        tags: run.tags.clone(),
        reply,
        skills: if waits { skills(&run.skills) } else { vec![] },
        closed: run.close,
        snoozed_ms: run.snooze_ms.filter(|_| !run.close),
        blocked: run.block,
        consent: run.consent,
        notified: run.notify.iter().map(|n| n.desk.clone()).collect(),
        notices: run.notify.iter().filter_map(|n| Some(format!("{}: {}", n.desk, n.text.as_ref()?))).collect(),
        desk: run.desk.clone().filter(|_| places && run.agent.is_some()),
        overflow: run.overflow.as_ref().filter(|_| waits).map(|steps| steps.iter().map(step).collect()),
        choices: run.reply.iter().flat_map(|r| &r.choices).map(choice).collect(),
        set: run.set.iter().map(|(target, value)| format!("{}={value}", name(target))).collect(),
    }
}

fn skills(skills: &Skills) -> Vec<String> {
    skills.iter().map(|(s, level)| format!("{s} {level}")).collect()
}

fn choice(choice: &switchboard_envelope::Choice) -> String {
    match &choice.label {
        Some(label) => format!("{} “{label}”", choice.id),
        None => choice.id.clone(),
    }
}

/// `after 5m if nobody_available: skills billing 1, queue everyone`
fn step(step: &OverflowStep) -> String {
    let when = step.after_ms.map(|ms| format!("after {}", spell(ms)));
    let at_once = step.at_once.as_ref().map(|at_once| format!("if {at_once}"));
    let wanted = step
        .skills
        .as_ref()
        .map(|s| format!("skills {}", if s.is_empty() { "none".into() } else { skills(s).join(" ") }));
    let queue = step.queue.as_ref().map(|q| format!("queue {q}"));
    let lowers = if step.lowers { "set to " } else { "" };
    let priority = step.priority.map(|p| format!("priority {lowers}{}", p.as_str()));
    let all = |parts: &[Option<String>], between| parts.iter().flatten().cloned().collect::<Vec<_>>().join(between);
    format!("{}: {}", all(&[when, at_once], " "), all(&[wanted, queue, priority], ", "))
}

/// What is written otherwise in another pack and shows in no message that is replayed: `queue billing (overflow, skills)`.
#[must_use]
pub fn not_replayed(before: &Settings, after: &Settings) -> Vec<String> {
    let things: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let none = BTreeMap::new();
    let one = |thing: &String| match (before.get(thing), after.get(thing)) {
        (Some(_), None) => Some(format!("{thing} (gone)")),
        (None, Some(_)) => Some(format!("{thing} (new)")),
        (old, new) => {
            let (old, new) = (old.unwrap_or(&none), new.unwrap_or(&none));
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            let other: Vec<&str> =
                keys.into_iter().filter(|key| old.get(*key) != new.get(*key)).map(String::as_str).collect();
            (!other.is_empty()).then(|| format!("{thing} ({})", other.join(", ")))
        }
    };
    things.into_iter().filter_map(one).collect()
}

impl Would {
    /// Where it goes: `queue billing, agent ann`, or `where it is`.
    #[must_use]
    pub fn destination(&self) -> String {
        let mut said = vec![];
        said.extend(self.queue.as_ref().map(|q| format!("queue {q}")));
        said.extend(self.agent.as_ref().map(|a| format!("agent {a}")));
        if self.closed {
            said.push("closed".into());
        }
        if self.snoozed_ms.is_some() {
            said.push("snoozed".into());
        }
        if said.is_empty() { "where it is".into() } else { said.join(", ") }
    }

    /// What is otherwise beside the destination, each as `priority high instead of none`.
    #[must_use]
    pub fn differences(&self, before: &Would) -> Vec<String> {
        let list = |of: &BTreeSet<String>| of.iter().cloned().collect::<Vec<_>>().join(" ");
        let priority = |w: &Would| w.priority.map_or("", Priority::as_str).to_owned();
        let reply = |w: &Would| w.reply.as_ref().map(|(id, _)| id.clone()).unwrap_or_default();
        let consent = |w: &Would| w.consent.map_or("", |yes| if yes { "opted_in" } else { "opted_out" }).to_owned();
        let snooze = |w: &Would| w.snoozed_ms.map(spell).unwrap_or_default();
        let absent = |w: &Would| if w.waits_for_absent { ", there or not" } else { "" };
        let wait = |w: &Would| w.wait_ms.map(|ms| format!("{}{}", spell(ms), absent(w))).unwrap_or_default();
        let desk = |w: &Would| w.desk.clone().unwrap_or_default();
        let overflow = |w: &Would| match &w.overflow {
            Some(steps) if steps.is_empty() => "no step".to_owned(),
            Some(steps) => format!("[{}]", steps.join("; ")),
            None => "the queue's".to_owned(),
        };
        let pairs = [
            ("priority", priority(self), priority(before)),
            ("tags", list(&self.tags), list(&before.tags)),
            ("reply", reply(self), reply(before)),
            ("skills", self.skills.join(" "), before.skills.join(" ")),
            ("snooze", snooze(self), snooze(before)),
            ("wait", wait(self), wait(before)),
            ("overflow", overflow(self), overflow(before)),
            ("desk", desk(self), desk(before)),
            ("choices", self.choices.join(", "), before.choices.join(", ")),
            ("consent", consent(self), consent(before)),
            ("notices", list(&self.notified), list(&before.notified)),
            ("attributes", list(&self.set), list(&before.set)),
            ("block", self.blocked.to_string(), before.blocked.to_string()),
        ];
        let none = |s: String| if s.is_empty() { "none".to_owned() } else { s };
        let mut said: Vec<String> = pairs
            .into_iter()
            .filter(|(_, new, old)| new != old)
            .map(|(what, new, old)| format!("{what} {} instead of {}", none(new), none(old)))
            .collect();
        let text = |w: &Would| w.reply.as_ref().map(|(_, text)| text.clone());
        if reply(self) == reply(before) && text(self) != text(before) {
            said.push(format!("reply {} in other words", reply(self)));
        }
        if self.notified == before.notified && self.notices != before.notices {
            said.push(format!("notices {} in other words", list(&self.notified)));
        }
        said
    }
}
