//! Why a conversation waits, and where it stands.

use super::views::Names;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use switchboard_routing_rules::event::{PassedOver, Presence};
use switchboard_routing_rules::pack::{about, ordinal};
use switchboard_routing_rules::waiting::Waiting;

/// Agents shown one by one at most; the reasons count all of them.
const SHOWN: usize = 100;

/// As it follows an agent's name.
pub(crate) fn passed_words(why: &PassedOver) -> String {
    match why {
        PassedOver::Presence { name, counts_as: Presence::Available } => {
            format!("is in {name}, and the queue gives only to who is in another presence")
        }
        PassedOver::Presence { name, counts_as } => format!("is in {name}, which counts as {}", counts_as.as_str()),
        PassedOver::Away => "is away".into(),
        PassedOver::Offline => "is offline".into(),
        PassedOver::Capacity { load, capacity } => {
            format!("has no room: {} of {} units taken", f64::from(*load) / 100.0, f64::from(*capacity) / 100.0)
        }
        PassedOver::MissingSkill(skill) => format!("lacks the skill {skill}"),
        PassedOver::LowSkill { skill, level, wanted } => {
            format!("has the skill {skill} at level {level}, and {wanted} is wanted")
        }
        PassedOver::Declined => "declined it".into(),
        PassedOver::Lapsed => "let an offer of it lapse".into(),
        PassedOver::GaveAway => "had it until it was moved just now".into(),
        PassedOver::NotYet => "is not asked yet: others, whom a rule named, are asked first".into(),
        PassedOver::WrappingUp => "finishes what they closed".into(),
        PassedOver::LessPreferred => "another agent was preferred".into(),
        PassedOver::Skilled { skill, less } => {
            format!(
                "has {} of the skill {skill}, and another agent was preferred by it",
                if *less { "less" } else { "more" }
            )
        }
    }
}

/// As it follows `all agents`, or a number of them; of one in the singular, of before in the past.
fn they(why: &PassedOver, n: usize, past: bool) -> String {
    let (is, has, lacks) = match (n == 1, past) {
        (true, false) => ("is", "has", "lacks"),
        (false, false) => ("are", "have", "lack"),
        (true, true) => ("was", "had", "lacked"),
        (false, true) => ("were", "had", "lacked"),
    };
    match why {
        PassedOver::Presence { name, counts_as: Presence::Available } => {
            format!("{is} in {name}, which the queue does not ask")
        }
        PassedOver::Presence { name, .. } => format!("{is} in {name}"),
        PassedOver::Away => format!("{is} away"),
        PassedOver::Offline => format!("{is} offline"),
        PassedOver::Capacity { .. } => format!("{has} no room"),
        PassedOver::MissingSkill(skill) => format!("{lacks} the skill {skill}"),
        PassedOver::LowSkill { skill, .. } => format!("{has} too little of the skill {skill}"),
        PassedOver::Declined => "declined it".into(),
        PassedOver::Lapsed => "let an offer of it lapse".into(),
        PassedOver::GaveAway => "had it until it was moved just now".into(),
        PassedOver::NotYet => format!("{is} not asked yet"),
        PassedOver::WrappingUp => format!("{is} finishing what they closed"),
        PassedOver::LessPreferred | PassedOver::Skilled { .. } => format!("{is} less preferred"),
    }
}

/// `of 6 agents 2 have no room, 1 is offline`: how many agents each reason keeps from it, and of how many it is not known. Loads differ
/// and are one reason. `None` where there are no agents.
pub(super) fn summed<'p>(passed: impl Iterator<Item = &'p PassedOver>, others: usize, past: bool) -> Option<String> {
    let mut all: BTreeMap<String, (&PassedOver, usize)> = BTreeMap::new();
    for why in passed {
        let kind = match why {
            PassedOver::Capacity { .. } => "capacity".to_owned(),
            PassedOver::LowSkill { skill, .. } => format!("too little {skill}"),
            why => passed_words(why),
        };
        all.entry(kind).or_insert((why, 0)).1 += 1;
    }
    let mut reasons: Vec<_> = all.into_values().collect();
    reasons.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let total = others + reasons.iter().map(|(_, n)| n).sum::<usize>();
    if let ([(why, n)], 0) = (reasons.as_slice(), others) {
        let whole = match n {
            1 => "the only agent".to_owned(),
            2 => "both agents".to_owned(),
            n => format!("all {n} agents"),
        };
        return Some(format!("{whole} {}", they(why, *n, past)));
    }
    let mut told: Vec<String> = reasons.iter().map(|(why, n)| format!("{n} {}", they(why, *n, past))).collect();
    match others {
        0 => {}
        1 => told.push("and one other".into()),
        n => told.push(format!("and {n} others")),
    }
    (total > 0).then(|| format!("of {total} agents {}", told.join(", ")))
}

/// The agents as rows, those who come nearest first, and how many are not shown.
pub(super) fn agents(w: &Waiting) -> (Vec<Value>, usize) {
    let mut sorted: Vec<_> = w.agents.iter().collect();
    sorted.sort_by_key(|(_, why)| match why {
        None => 0,
        Some(
            PassedOver::Capacity { .. }
            | PassedOver::WrappingUp
            | PassedOver::Declined
            | PassedOver::Lapsed
            | PassedOver::GaveAway,
        ) => 1,
        Some(PassedOver::MissingSkill(_) | PassedOver::LowSkill { .. }) => 2,
        Some(_) => 3,
    });
    let row = |(agent, why): &&(String, Option<PassedOver>)| {
        let reason = why.as_ref().map_or_else(|| "can take it".to_owned(), passed_words);
        json!({ "agent": agent, "chosen": false, "reason": reason })
    };
    (sorted.iter().take(SHOWN).map(row).collect(), sorted.len().saturating_sub(SHOWN))
}

pub(super) fn view(w: &Waiting, names: &Names) -> Value {
    let (rows, others) = agents(w);
    let next = w.next_step.as_ref().map(|(at, step)| {
        json!({ "at": at, "skills": step.skills, "queue": step.queue, "priority": step.priority.map(|p| p.as_str()) })
    });
    json!({
        "queue": w.queue,
        "since": w.since,
        "position": w.place,
        "depth": w.depth,
        "estimated_wait_ms": w.wait_ms,
        "skills": w.wanted,
        "presences": w.presence,
        "next_step": next,
        "agents": rows,
        "others": others,
        "sentences": sentences(w, names, false),
    })
}

/// `It waits in the queue billing, third of 12, about four minutes. Nobody can take it now: 2 have no room, 1 is offline.` `as_then`
/// where it was the same when its message was decided.
pub(super) fn sentences(w: &Waiting, names: &Names, as_then: bool) -> Vec<String> {
    let place = w.place.map_or_else(String::new, |n| format!(", {} of {}", ordinal(n), w.depth));
    let wait = w.wait_ms.map_or_else(String::new, |ms| format!(", {}", about(ms)));
    let mut out = vec![format!("It waits in the queue {}{place}{wait}.", w.queue)];
    let able = w.agents.iter().any(|(_, why)| why.is_none());
    let reasons = summed(w.agents.iter().filter_map(|(_, why)| why.as_ref()), 0, false);
    out.push(match (able, reasons) {
        (true, _) => "Somebody can take it, and will be given it next.".into(),
        (false, None) => "Nobody can take it: the pack has no agents.".into(),
        (false, Some(reasons)) if as_then => format!("Nobody could take it then, and nobody can now: {reasons}."),
        (false, Some(reasons)) => format!("Nobody can take it now: {reasons}."),
    });
    if let Some((until, named)) = &w.asked_first {
        let named: Vec<&str> = named.iter().map(|agent| names.say(agent)).collect();
        out.push(format!("Until {until} nobody but {} is asked for it, as a rule says.", named.join(" and ")));
    }
    if let Some((at, step)) = &w.next_step {
        let mut does = vec![];
        does.extend(step.skills.as_ref().map(|skills| match skills.is_empty() {
            true => "it wants no skills".to_owned(),
            false => {
                let skills: Vec<String> = skills.iter().map(|(s, level)| format!("{s} {level}")).collect();
                format!("it wants {} only", skills.join(", "))
            }
        }));
        does.extend(step.priority.map(|p| format!("its priority is {}", p.as_str())));
        does.extend(step.queue.as_ref().map(|q| format!("it moves to the queue {q}")));
        if !does.is_empty() {
            out.push(format!("From {at} on {}.", does.join(", ")));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchboard_envelope::Timestamp;
    use switchboard_routing_rules::pack::OverflowStep;

    #[test]
    fn why_nobody_takes_it_is_told_for_every_agent() {
        let full = |load| Some(PassedOver::Capacity { load, capacity: 500 });
        let agents: Vec<(String, Option<PassedOver>)> = vec![
            ("ann".into(), Some(PassedOver::Offline)),
            ("bob".into(), full(500)),
            ("cy".into(), full(450)),
            ("dan".into(), Some(PassedOver::MissingSkill("french".into()))),
            ("eve".into(), Some(PassedOver::Presence { name: "limited".into(), counts_as: Presence::Available })),
            ("fay".into(), Some(PassedOver::Presence { name: "lunch".into(), counts_as: Presence::Away })),
        ];
        let step = OverflowStep {
            after_ms: Some(1),
            skills: Some([].into()),
            queue: Some("all".into()),
            ..OverflowStep::default()
        };
        let w = Waiting {
            queue: "billing".into(),
            since: None,
            place: Some(3),
            depth: 12,
            wait_ms: Some(240_000),
            wanted: [("french".to_owned(), 1)].into(),
            presence: vec![],
            asked_first: Some((Timestamp(1_795_219_200_000), vec!["ann".into(), "bob".into()])),
            next_step: Some((Timestamp(1_795_219_200_000), step)),
            agents,
        };
        let names = Names::of_test(&[("ann", "Ann")]);
        assert_eq!(
            sentences(&w, &names, false),
            [
                "It waits in the queue billing, third of 12, about four minutes.",
                "Nobody can take it now: of 6 agents 2 have no room, 1 is in limited, which the queue does not ask, \
                 1 is in lunch, 1 is offline, 1 lacks the skill french.",
                "Until 2026-11-21T00:00:00.000Z nobody but Ann and bob is asked for it, as a rule says.",
                "From 2026-11-21T00:00:00.000Z on it wants no skills, it moves to the queue all.",
            ]
        );
        let shown = view(&w, &names);
        assert_eq!(
            shown["agents"][0],
            json!({ "agent": "bob", "chosen": false, "reason": "has no room: 5 of 5 units taken" })
        );
        assert_eq!((shown["position"].as_u64(), shown["others"].as_u64()), (Some(3), Some(0)));
        let many = Waiting { agents: (0..1000).map(|n| (format!("a{n}"), Some(PassedOver::Away))).collect(), ..w };
        assert_eq!(
            (view(&many, &names)["agents"].as_array().map(Vec::len), view(&many, &names)["others"].as_u64()),
            (Some(100), Some(900))
        );
        let said = |w: &Waiting, as_then| sentences(w, &names, as_then)[1].clone();
        assert_eq!(said(&many, true), "Nobody could take it then, and nobody can now: all 1000 agents are away.");
        let few = |n: usize| Waiting { agents: many.agents[..n].to_vec(), ..many.clone() };
        assert_eq!(said(&few(2), false), "Nobody can take it now: both agents are away.");
        assert_eq!(said(&few(1), false), "Nobody can take it now: the only agent is away.");
        assert_eq!(said(&few(0), false), "Nobody can take it: the pack has no agents.");
    }
}
