//! Checks that need the whole pack: captures of replies, members of rotations, and circles of overflow.

use super::action::{Actions, AgentPick, QueuePick};
use super::rule_read::captured;
use crate::pack::hours::Members;
use crate::pack::problem::{Place, Problem, Sink, nearest};
use crate::pack::template::{Captured, Template, Var};
use crate::pack::{Name, OverflowStep, RulePack, Skills};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) fn link(
    pack: &RulePack,
    replies: &BTreeMap<Name, (Place, Template)>,
    queues: &BTreeMap<&str, &Place>,
    default_at: &Place,
    sink: &mut Sink,
) {
    for rule in pack.every_rule() {
        let (certain, possible) = captured(&rule.when);
        reply(&rule.then, replies, Captured { certain: &certain, possible: &possible }, sink);
        if rule.on.is_some() {
            nothing_was_written(&rule.then, replies, sink);
        }
        rotations(pack, &rule.then, &rule.at, sink);
        rule_overflow(pack, &rule.then, &rule.at, sink);
    }
    reply(&pack.default, replies, Captured::default(), sink);
    rotations(pack, &pack.default, default_at, sink);
    rule_overflow(pack, &pack.default, default_at, sink);
    // In a file that could not be read the rule that sends it may stand.
    if !sink.unreadable {
        reply_names(pack, replies, sink);
    }
    circles(pack, queues, sink);
}

/// A queue that wants this is served by nobody: people take what waits there by hand.
const NOBODY: &str = "nobody";

/// Skills that nobody has, or not of this level: whoever wants them waits in vain.
pub(crate) fn wanted_in_vain(pack: &RulePack, queues: &BTreeMap<&str, &Place>, default_at: &Place) -> Vec<Problem> {
    let mut best: BTreeMap<&str, u8> = BTreeMap::new();
    for (skill, level) in pack.agents.values().flat_map(|a| &a.skills) {
        let have = best.entry(skill).or_default();
        *have = (*have).max(*level);
    }
    let mut found = Vec::new();
    // Without agents nobody is given anything.
    if best.is_empty() && pack.agents.is_empty() {
        return found;
    }
    let mut warn = |at: &Place, message: String, hint: String| {
        found.push(Problem { file: at.file.to_string(), line: at.line, column: at.column, message, hint });
    };
    let too_much = |skills: &Skills| -> Vec<String> {
        let beyond = skills.iter().filter_map(|(s, level)| Some((s, level, best.get(s.as_str())?)));
        let beyond = beyond.filter(|(_, level, have)| level > have);
        beyond.map(|(s, level, have)| format!("`{s}` of level {level}, and no agent has more than {have}")).collect()
    };
    let hint = || "want less of it, or give an agent more".to_owned();
    for (id, queue) in &pack.queues {
        let Some(at) = queues.get(id.as_str()) else { continue };
        for skill in queue.skills.keys().filter(|s| *s != NOBODY && !best.contains_key(s.as_str())) {
            let mend = match nearest(skill, best.keys().copied()) {
                Some(n) => format!("did you mean `{n}`"),
                None => format!("give it to an agent, or write `skills: [{NOBODY}]` where people take it by hand"),
            };
            warn(at, format!("the queue `{id}` wants `{skill}`, a skill that no agent has"), mend);
        }
        for skills in std::iter::once(&queue.skills).chain(queue.overflow.iter().filter_map(|s| s.skills.as_ref())) {
            too_much(skills).into_iter().for_each(|said| warn(at, format!("the queue `{id}` wants {said}"), hint()));
        }
    }
    let rules = pack.every_rule().map(|r| (format!("the rule `{}`", r.name), &r.at, &r.then));
    for (what, at, then) in rules.chain([("`default`".to_owned(), default_at, &pack.default)]) {
        let steps = then.overflow.iter().flatten().filter_map(|s| s.skills.as_ref());
        for skills in then.skills.iter().map(|s| &s.written).chain(steps) {
            too_much(skills).into_iter().for_each(|said| warn(at, format!("{what} wants {said}"), hint()));
        }
    }
    found
}

fn reply(actions: &Actions, replies: &BTreeMap<Name, (Place, Template)>, captured: Captured<'_>, sink: &mut Sink) {
    if let Some((at, id)) = &actions.reply
        && let Some((_, template)) = replies.get(id)
    {
        template.check_captures(at, captured, sink);
    }
}

/// A rule that follows up has no message to repeat.
fn nothing_was_written(actions: &Actions, replies: &BTreeMap<Name, (Place, Template)>, sink: &mut Sink) {
    let Some((at, id)) = &actions.reply else { return };
    for (var, _, written) in replies.get(id).into_iter().flat_map(|(_, template)| template.vars()) {
        if matches!(var, Var::MessageText) {
            let hint = "send another reply from it";
            sink.error(at, format!("the reply `{id}` says `{written}`, and this rule runs without a message"), hint);
        }
    }
}

/// A reply that no rule sends must not need what only a rule has.
fn reply_names(pack: &RulePack, replies: &BTreeMap<Name, (Place, Template)>, sink: &mut Sink) {
    let used: BTreeSet<&str> = pack
        .every_rule()
        .map(|r| &r.then)
        .chain([&pack.default])
        .filter_map(|a| a.reply.as_ref().map(|(_, id)| id.as_str()))
        .collect();
    for (id, (at, template)) in replies.iter().filter(|(id, _)| !used.contains(id.as_str())) {
        for (var, defaulted, written) in template.vars() {
            if matches!(var, Var::Match(_)) && !defaulted {
                let hint = format!("write {{{{ {written} | default('') }}}}, or send it from a rule that captures it");
                sink.error(at, format!("the reply `{id}` needs `{written}`, and no rule sends it"), hint);
            }
        }
    }
}

fn rotations(pack: &RulePack, actions: &Actions, at: &Place, sink: &mut Sink) {
    let members = |id: &str| pack.rotations.get(id).map(|r| &r.members);
    if let Some(QueuePick::Rotation(id)) = &actions.queue
        && let Some(Members::Agents(_)) = members(id)
    {
        sink.error(
            at,
            format!("the rotation `{id}` has agents, not queues"),
            format!("write `agent: {{ rotation: {id} }}`"),
        );
    }
    if let Some(AgentPick::Rotation(id)) = &actions.agent
        && let Some(Members::Queues(_)) = members(id)
    {
        sink.error(
            at,
            format!("the rotation `{id}` has queues, not agents"),
            format!("write `queue: {{ rotation: {id} }}`"),
        );
    }
}

/// Where a queue's conversations may move by themselves.
fn next<'a>(pack: &'a RulePack, queue: &str) -> Vec<&'a str> {
    let Some(q) = pack.queues.get(queue) else { return Vec::new() };
    let limit = q.limit.as_ref().map(|l| l.queue.as_str());
    targets(&q.overflow)
        .chain(q.sla.on_warn.queue.as_deref())
        .chain(q.sla.on_breach.queue.as_deref())
        .chain(limit)
        .collect()
}

fn targets(steps: &[OverflowStep]) -> impl Iterator<Item = &str> {
    steps.iter().filter_map(|s| s.queue.as_deref())
}

/// Whether `from` leads to `to`, and over which queues.
fn path(pack: &RulePack, from: &str, to: &str) -> Option<Vec<String>> {
    let mut reached: BTreeMap<String, String> = BTreeMap::new();
    let mut open = vec![from.to_owned()];
    while let Some(at) = open.pop() {
        if at == to {
            let mut way = vec![at.clone()];
            let mut here = at;
            while let Some(before) = reached.get(&here).filter(|_| way.len() <= pack.queues.len()) {
                way.push(before.clone());
                if before == from {
                    break;
                }
                here.clone_from(before);
            }
            way.reverse();
            return Some(way);
        }
        for n in next(pack, &at) {
            if n != from && !reached.contains_key(n) {
                reached.insert(n.to_owned(), at.clone());
                open.push(n.to_owned());
            }
        }
    }
    None
}

fn rule_overflow(pack: &RulePack, actions: &Actions, at: &Place, sink: &mut Sink) {
    let (Some(steps), Some(QueuePick::Queue(queue))) = (&actions.overflow, &actions.queue) else { return };
    for target in targets(steps) {
        if target == queue || path(pack, target, queue).is_some() {
            let hint = "let overflow end in a queue that keeps what it gets";
            sink.error(at, format!("overflow from `{queue}` to `{target}` comes back to `{queue}`"), hint);
        }
    }
}

/// One problem for each circle, at the first queue of it by name.
fn circles(pack: &RulePack, places: &BTreeMap<&str, &Place>, sink: &mut Sink) {
    let mut told: BTreeSet<String> = BTreeSet::new();
    for queue in pack.queues.keys() {
        if told.contains(queue) {
            continue;
        }
        let Some(way) = next(pack, queue).into_iter().find_map(|n| path(pack, n, queue)) else { continue };
        let Some(at) = places.get(queue.as_str()) else { continue };
        let circle: Vec<&str> = std::iter::once(queue.as_str()).chain(way.iter().map(String::as_str)).collect();
        let hint = "let overflow end in a queue that keeps what it gets";
        sink.error(at, format!("overflow goes in a circle: {}", circle.join(" → ")), hint);
        told.extend(way);
    }
}
