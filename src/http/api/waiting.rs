//! Why a conversation waits, and where it stands.

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
        PassedOver::Declined => "declined it".into(),
        PassedOver::NotYet => "is not asked yet".into(),
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

/// As it follows a number of agents.
fn counted(why: &PassedOver, n: usize) -> String {
    let (is, has, lacks) = if n == 1 { ("is", "has", "lacks") } else { ("are", "have", "lack") };
    match why {
        PassedOver::Presence { name, counts_as: Presence::Available } => {
            format!("{n} {is} in {name}, which the queue does not ask")
        }
        PassedOver::Presence { name, .. } => format!("{n} {is} in {name}"),
        PassedOver::Away => format!("{n} {is} away"),
        PassedOver::Offline => format!("{n} {is} offline"),
        PassedOver::Capacity { .. } => format!("{n} {has} no room"),
        PassedOver::MissingSkill(skill) => format!("{n} {lacks} the skill {skill}"),
        PassedOver::Declined => format!("{n} declined it"),
        PassedOver::NotYet => format!("{n} {is} not asked yet"),
        PassedOver::WrappingUp => format!("{n} {is} finishing what they closed"),
        PassedOver::LessPreferred | PassedOver::Skilled { .. } => format!("{n} {is} less preferred"),
    }
}

/// How many agents each reason keeps from it; loads differ and are one reason.
fn reasons(w: &Waiting) -> Vec<(PassedOver, usize)> {
    let mut all: BTreeMap<String, (PassedOver, usize)> = BTreeMap::new();
    for why in w.agents.iter().filter_map(|(_, why)| why.as_ref()) {
        let kind = match why {
            PassedOver::Capacity { .. } => "capacity".to_owned(),
            why => passed_words(why),
        };
        all.entry(kind).or_insert_with(|| (why.clone(), 0)).1 += 1;
    }
    let mut all: Vec<_> = all.into_values().collect();
    all.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    all
}

/// The agents as rows, those who come nearest first, and how many are not shown.
pub(super) fn agents(w: &Waiting) -> (Vec<Value>, usize) {
    let mut sorted: Vec<_> = w.agents.iter().collect();
    sorted.sort_by_key(|(_, why)| match why {
        None => 0,
        Some(PassedOver::Capacity { .. } | PassedOver::WrappingUp | PassedOver::Declined) => 1,
        Some(PassedOver::MissingSkill(_)) => 2,
        Some(_) => 3,
    });
    let row = |(agent, why): &&(String, Option<PassedOver>)| {
        let reason = why.as_ref().map_or_else(|| "can take it".to_owned(), passed_words);
        json!({ "agent": agent, "chosen": false, "reason": reason })
    };
    (sorted.iter().take(SHOWN).map(row).collect(), sorted.len().saturating_sub(SHOWN))
}

pub(super) fn view(w: &Waiting) -> Value {
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
    })
}

/// `It waits in the queue billing, third of 12, about four minutes. Nobody can take it now: 2 have no room, 1 is offline.`
pub(super) fn sentences(w: &Waiting) -> Vec<String> {
    let place = w.place.map_or_else(String::new, |n| format!(", {} of {}", ordinal(n), w.depth));
    let wait = w.wait_ms.map_or_else(String::new, |ms| format!(", {}", about(ms)));
    let mut out = vec![format!("It waits in the queue {}{place}{wait}.", w.queue)];
    let able = w.agents.iter().filter(|(_, why)| why.is_none()).count();
    let reasons: Vec<String> = reasons(w).iter().map(|(why, n)| counted(why, *n)).collect();
    out.push(match (able, reasons.as_slice()) {
        (0, []) => "Nobody can take it: the pack has no agents.".into(),
        (0, reasons) => {
            let agents = if w.agents.len() == 1 { "agent" } else { "agents" };
            format!("Nobody can take it now: of {} {agents} {}.", w.agents.len(), reasons.join(", "))
        }
        (..) => "Somebody can take it, and will be given it next.".into(),
    });
    if let Some((at, step)) = &w.next_step {
        let mut does = vec![];
        if !step.only.is_empty() {
            does.push("others are asked too".to_owned());
        }
        does.extend(step.skills.as_ref().map(|skills| match skills.is_empty() {
            true => "it wants no skills".to_owned(),
            false => {
                let skills: Vec<String> = skills.iter().map(|(s, level)| format!("{s} {level}")).collect();
                format!("it wants {} only", skills.join(", "))
            }
        }));
        does.extend(step.priority.map(|p| format!("its priority is {}", p.as_str())));
        does.extend(step.queue.as_ref().map(|q| format!("it moves to the queue {q}")));
        out.push(format!("From {at} on {}.", does.join(", ")));
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
            next_step: Some((Timestamp(1_795_219_200_000), step)),
            agents,
        };
        assert_eq!(
            sentences(&w),
            [
                "It waits in the queue billing, third of 12, about four minutes.",
                "Nobody can take it now: of 6 agents 2 have no room, 1 is in limited, which the queue does not ask, \
                 1 is in lunch, 1 is offline, 1 lacks the skill french.",
                "From 2026-11-21T00:00:00.000Z on it wants no skills, it moves to the queue all.",
            ]
        );
        let shown = view(&w);
        assert_eq!(
            shown["agents"][0],
            json!({ "agent": "bob", "chosen": false, "reason": "has no room: 5 of 5 units taken" })
        );
        assert_eq!((shown["position"].as_u64(), shown["others"].as_u64()), (Some(3), Some(0)));
        let many = Waiting { agents: (0..1000).map(|n| (format!("a{n}"), Some(PassedOver::Away))).collect(), ..w };
        assert_eq!(
            (view(&many)["agents"].as_array().map(Vec::len), view(&many)["others"].as_u64()),
            (Some(100), Some(900))
        );
        assert!(sentences(&many)[1].ends_with("of 1000 agents 1000 are away."));
    }
}
