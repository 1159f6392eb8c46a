//! What is told of a decision and of what came after it, in sentences.

use super::explain::{Moves, kept, no_reply_words};
use super::views::{Names, why_words};
use super::waiting::{passed_words, summed};
use crate::history::{Cause, Considering, EventLine, Facts, Message};
use switchboard_envelope::Timestamp;
use switchboard_routing_rules::event::{ClockKind, Happening, StepTaken, Why};
use switchboard_routing_rules::pack::{ConvStatus, Name, RuleTrace};
use switchboard_routing_rules::waiting::Waiting;

/// What an explanation is told from.
pub(super) struct Story<'s> {
    pub facts: &'s Facts,
    pub traces: Option<&'s [RuleTrace]>,
    /// Why the conditions cannot be shown.
    pub missing: Option<&'s str>,
    pub names: &'s Names,
    /// What became of the conversation since.
    pub since: &'s [Message],
    pub waits: Option<&'s Waiting>,
}

impl Story<'_> {
    /// The decision as one would tell it, and what came of it: who was asked, where it waited, and who moved it.
    pub fn sentences(&self) -> Vec<String> {
        let (facts, o) = (self.facts, &self.facts.outcome);
        let mut out = vec![];
        let considered = self.traces.map(|t| t.iter().filter(|r| !r.skipped).count());
        match (facts.hits.as_slice(), considered) {
            ([], Some(1)) => out.push("The only rule that was asked did not match.".into()),
            ([], Some(n)) => out.push(format!("None of the {n} rules matched.")),
            ([], None) => out.push("No rule matched.".into()),
            ([one], _) => out.push(format!("The rule “{one}” matched.")),
            (many, _) => out.push(format!("The rules “{}” matched.", many.join("”, “"))),
        }
        out.extend(self.placed());
        if !o.tags.is_empty() {
            out.push(format!("It was tagged {}.", o.tags.iter().cloned().collect::<Vec<_>>().join(", ")));
        }
        if let Some(p) = o.priority {
            out.push(format!("Its priority became {}.", p.as_str()));
        }
        for (_, rule) in &o.replies {
            out.push(format!("“{rule}” answered it automatically."));
        }
        for (rule, why) in &facts.not_replied {
            out.push(format!("“{rule}” would have answered it, but {}.", no_reply_words(*why)));
        }
        if o.closed {
            out.push("The conversation was closed.".into());
        }
        if let Some(until) = o.snoozed_until {
            out.push(format!("The conversation was snoozed until {until}."));
        }
        out.extend(self.stayed());
        let moves = Moves::of(facts);
        out.extend(self.named(&moves));
        // What is as it was then is told with how it is now.
        let told = moves.now.iter().filter(|c| c.agent.is_some() || !self.is_as_then());
        out.extend(told.map(|c| moved(c, "It", self.names, self.rule_that_named())));
        out.extend(self.later(&moves));
        if let Some(why) = self.missing {
            out.push(format!("The conditions cannot be shown: {why}."));
        }
        out
    }

    /// Whether it waits since the decision, and nobody can take it for the very reasons of then.
    pub fn is_as_then(&self) -> bool {
        let moves = Moves::of(self.facts);
        let (Some(then), Some(now)) = (moves.nobody(), self.waits) else { return false };
        let mut passed: Vec<_> = then.considered.passed.iter().map(|(agent, why)| (agent, Some(why))).collect();
        let mut agents: Vec<_> = now.agents.iter().map(|(agent, why)| (agent, why.as_ref())).collect();
        passed.sort_by_key(|(agent, _)| *agent);
        agents.sort_by_key(|(agent, _)| *agent);
        let nothing_since =
            self.since.iter().all(|line| self.is_of_place(line)) && moves.later.is_empty() && moves.now.len() == 1;
        nothing_since && then.considered.others == 0 && passed == agents
    }

    /// Whether a line says that the queue chosen for it was full, which is told with where it was put.
    fn is_of_place(&self, line: &Message) -> bool {
        let (o, event) = (&self.facts.outcome, line.event.as_ref());
        let full = event.is_some_and(|e| e.cause == Some(Cause::Full) && e.queue == o.queue);
        full && line.at <= self.facts.at && o.placed == Some(Why::Overflow)
    }

    /// Where it was put, and by what. Where only one rule matched, it was that.
    fn placed(&self) -> Option<String> {
        let o = &self.facts.outcome;
        let queue = o.queue.as_ref()?;
        Some(match self.facts.place.as_ref().or(o.placed.as_ref()) {
            Some(Why::Default) => format!("The pack's default put it in the queue {queue}."),
            Some(Why::Rule(rule)) if self.facts.hits.len() > 1 => {
                format!("The rule “{rule}” put it in the queue {queue}.")
            }
            Some(Why::CustomerWrote) => format!("It went back to the queue {queue}."),
            Some(Why::Overflow) => format!("It was put in the queue {queue}: the one chosen for it was full."),
            _ => format!("It was put in the queue {queue}."),
        })
    }

    /// The rule that decided for whom it is, with whom it asked for.
    fn rule_that_named(&self) -> Option<(&str, &str)> {
        let named = |t: &'_ RuleTrace| t.applied.iter().position(|a| a.starts_with("agent "));
        let rule = self.traces?.iter().find(|t| t.matched && named(t).is_some())?;
        let whom = rule.applied.get(named(rule)?)?.strip_prefix("agent ")?;
        Some((&rule.rule, whom))
    }

    /// Whom a rule asked for, where it was not given to them at once: that is told with who has it.
    fn named(&self, moves: &Moves<'_>) -> Option<String> {
        let (rule, whom) = self.rule_that_named().filter(|_| !kept(self.facts))?;
        if moves.now.iter().any(|c| matches!(c.why, Some(Why::Rule(_)))) {
            return None;
        }
        Some(match whom {
            STICKY => format!("The rule “{rule}” asked for the agent who knows the customer."),
            NOBODY => format!("The rule “{rule}” named somebody for it who is no agent of the pack."),
            ids => {
                let all: Vec<&str> = ids.split(" or ").map(|id| self.names.say(id)).collect();
                format!("The rule “{rule}” named {} for it.", all.join(" or "))
            }
        })
    }

    /// What came afterwards, in the order in which it did. Of one moment it first goes somewhere, then somebody is asked for it there,
    /// and what rules make of that comes last.
    fn later(&self, moves: &Moves<'_>) -> Vec<String> {
        let names = self.names;
        let mut all: Vec<(Timestamp, u8, String)> = vec![];
        for line in self.since {
            let Some(event) = &line.event else { continue };
            if self.is_of_place(line) {
                continue;
            }
            let order = if event.what == "followed_up" { 2 } else { 0 };
            all.extend(went_on(event, names).map(|said| (line.at, order, said)));
        }
        all.extend(moves.later.iter().map(|c| (c.at, 1, moved(c, "it", names, None))));
        all.sort_by_key(|(at, order, _)| (*at, *order));
        let said = |(at, _, said): (Timestamp, u8, String)| match at > self.facts.at {
            true => format!("Later, at {at}, {said}"),
            false => format!("Then {said}"),
        };
        all.into_iter().map(said).collect()
    }

    /// Where a conversation stays that a message did not move.
    fn stayed(&self) -> Option<String> {
        let placing = |action: &String| action.starts_with("queue ") || action == "skills" || action == "overflow";
        let again = self.traces.is_some_and(|t| t.iter().any(|r| r.matched && r.applied.iter().any(placing)));
        let seen = self.facts.seen.as_ref().filter(|s| kept(self.facts) && !s.new)?;
        let owner = seen.contact_agent.as_ref().map(|id| self.names.say(id));
        Some(match seen.state? {
            ConvStatus::Assigned => {
                format!("It stays with {}, who has the conversation.", owner.unwrap_or("its agent"))
            }
            ConvStatus::Offered => "It stays with the agent to whom the conversation is offered.".into(),
            ConvStatus::Queued => match &seen.queue {
                Some(queue) if again => {
                    format!("It stays in the queue {queue}: the rules choose for it what they chose before.")
                }
                Some(queue) => format!("It keeps its place in the queue {queue}."),
                None => "It keeps its place.".into(),
            },
            ConvStatus::Pending | ConvStatus::Snoozed | ConvStatus::Closed => {
                format!("The conversation stays {}: a machine wrote the message.", seen.state?.as_str())
            }
        })
    }
}

/// As a trace writes whom a rule asked for.
const STICKY: &str = "sticky";
const NOBODY: &str = "(nobody of that name)";

/// `it went on to the queue everyone because it had waited 5 minutes (step 2 of its overflow in leads).`
fn went_on(event: &EventLine, names: &Names) -> Option<String> {
    Some(match event.what.as_str() {
        "queued" => {
            let (queue, why) = (event.queue.as_ref()?, event.why.as_ref()?);
            match &event.by {
                Some(by) if *why == Why::Transferred => format!("{} moved it to the queue {queue}.", names.say(by)),
                Some(by) if let Why::TransferredOn(full) = why => {
                    format!(
                        "{} moved it to the queue {full}, which was full, and it went on to the queue {queue}.",
                        names.say(by)
                    )
                }
                _ if *why == Why::Transferred => format!("it was moved to the queue {queue} by transfer."),
                _ if why.moves_on() => format!("it went on to the queue {queue} {}.", because(event, names)),
                _ => format!("it was put in the queue {queue} {}.", because(event, names)),
            }
        }
        "prioritised" => format!("{}.", prioritised(event, names)),
        "relaxed" => format!("{}.", relaxed(event, names)),
        "followed_up" => match &event.why {
            Some(Why::Rule(rule)) => format!("the rule “{rule}” followed up{}.", on_what(event.on)),
            _ => return None,
        },
        _ => return None,
    })
}

/// `It was assigned to Ann; two others were passed over.` `it` is how the sentence calls the conversation; `named` the rule that said for
/// whom it is.
pub(super) fn moved(c: &Considering, it: &str, names: &Names, named: Option<(&str, &str)>) -> String {
    let Some(name) = c.agent.as_ref().map(|agent| names.say(agent)) else { return nobody_took(c, it, names) };
    let passed = c.considered.passed.len() + usize::try_from(c.considered.others).unwrap_or(usize::MAX);
    let others = match passed {
        0 => String::new(),
        1 => "; one other agent was passed over".into(),
        n => format!("; {n} other agents were passed over"),
    };
    let from = c.from.as_ref().map(|from| names.say(from));
    match (c.offered, &c.why, &c.by) {
        (true, ..) => format!("{it} was offered to {name}{others}."),
        (false, Some(Why::Taken), Some(_)) => {
            format!("{it} was assigned to {name}{}{others}.", taken_by(c.by.as_ref(), from, names))
        }
        (false, Some(Why::Taken), None) => match from {
            Some(from) => format!("{name} took it over from {from}{others}."),
            None => format!("{name} took it{others}."),
        },
        (false, Some(Why::Transferred), Some(by)) => {
            let by = names.say(by);
            let from = from.filter(|from| *from != by).map_or_else(String::new, |from| format!(" from {from}"));
            format!("{by} transferred it{from} to {name}{others}.")
        }
        (false, Some(Why::Accepted), _) => format!("{name} accepted it{others}."),
        (false, Some(Why::Rule(_)), _) if named.is_some_and(|(_, whom)| whom != STICKY) => {
            let rule = named.map_or("", |(rule, _)| rule);
            format!("{it} was assigned to {name}, whom the rule “{rule}” named{others}.")
        }
        (false, Some(why @ Why::Rule(_)), _) if named.is_some() => {
            format!("{it} was assigned to {name} {}, because they know the customer{others}.", why_words(why))
        }
        (false, Some(why @ Why::Strategy), _) => format!("{it} was assigned to {name}, {}{others}.", why_words(why)),
        (false, Some(why), _) => format!("{it} was assigned to {name} {}{others}.", why_words(why)),
        (false, None, _) => format!("{it} was assigned to {name}{others}."),
    }
}

/// As it follows `assigned to Bob`, who took it, or for whom somebody did.
pub(super) fn taken_by(by: Option<&Name>, from: Option<&str>, names: &Names) -> String {
    match (by.map(|by| names.say(by)), from) {
        (None, None) => ", who took it".into(),
        (None, Some(from)) => format!(", who took it over from {from}"),
        (Some(by), None) => format!(", for whom {by} took or answered it"),
        (Some(by), Some(from)) => format!(", for whom {by} took it over from {from}"),
    }
}

/// `Nobody could take it then: of 3 agents 2 were away, 1 had no room.` Their list is shown with it; of later ones there is none.
fn nobody_took(c: &Considering, it: &str, names: &Names) -> String {
    let others = usize::try_from(c.considered.others).unwrap_or(usize::MAX);
    if it != "it" {
        return match summed(c.considered.passed.iter().map(|(_, why)| why), others, true) {
            Some(why) => format!("Nobody could take it then: {why}."),
            None => "Nobody could take it then: the pack has no agents.".into(),
        };
    }
    let passed = c.considered.passed.iter();
    let mut why: Vec<String> =
        passed.map(|(agent, why)| format!("{} {}", names.say(agent), passed_words(why))).collect();
    match others {
        0 => {}
        1 => why.push("and one other".into()),
        n => why.push(format!("and {n} others")),
    }
    match why.is_empty() {
        true => "nobody could take it: the pack has no agents.".into(),
        false => format!("nobody could take it: {}.", why.join(", ")),
    }
}

/// `its priority went from normal to high because its first answer was late`
pub(super) fn prioritised(event: &EventLine, names: &Names) -> String {
    let (from, to) = event.priority.unwrap_or_default();
    let why = match (&event.cause, &event.by) {
        (Some(cause), _) => format!(" {}", cause_words(cause, names)),
        (None, Some(by)) => format!(": {} changed it", names.say(by)),
        (None, None) => String::new(),
    };
    format!("its priority went from {} to {}{why}", from.as_str(), to.as_str())
}

/// `it wanted no skills any more because it had waited 2 minutes (step 1 of its overflow in german)`
pub(super) fn relaxed(event: &EventLine, names: &Names) -> String {
    let mut does = vec![];
    if let Some(skills) = &event.skills {
        let all: Vec<String> = skills.iter().map(|(skill, level)| format!("{skill} {level}")).collect();
        does.push(match all.is_empty() {
            true => "it wanted no skills any more".to_owned(),
            false => format!("it wanted {} only", all.join(", ")),
        });
    }
    if let Some(Cause::Step { taken: Some(taken), .. }) = &event.cause
        && !taken.only.is_empty()
    {
        does.push(format!("others than {} were asked too", whom(&taken.only, names)));
    }
    let why = event.cause.as_ref().map(|cause| format!(" {}", cause_words(cause, names))).unwrap_or_default();
    format!("{}{why}", does.join(", and "))
}

/// Why it was put where it is, by what the log says of that.
pub(super) fn because(event: &EventLine, names: &Names) -> String {
    let why = || event.why.as_ref().map(why_words).unwrap_or_default();
    event.cause.as_ref().map_or_else(why, |cause| cause_words(cause, names))
}

fn cause_words(cause: &Cause, names: &Names) -> String {
    match cause {
        Cause::Step { queue, taken } => {
            let of = queue.as_ref().map_or_else(String::new, |queue| format!(" in {queue}"));
            match taken {
                Some(taken) => step_words(taken, &of, names),
                None => format!("by a step of its overflow{of}"),
            }
        }
        Cause::Warned(ClockKind::FirstResponse) => "because its first answer was due soon".into(),
        Cause::Warned(ClockKind::Resolution) => "because it was to be resolved soon".into(),
        Cause::Warned(_) => "because an answer was due soon".into(),
        Cause::Breached(kind) => format!("because {}", late(*kind)),
        Cause::Rules(rules) => match rules.as_slice() {
            [one] => format!("by the rule “{one}”"),
            many => format!("by the rules “{}”", many.join("”, “")),
        },
        Cause::Full => "because the queue chosen for it was full".into(),
    }
}

fn step_words(taken: &StepTaken, of: &str, names: &Names) -> String {
    let which = taken.number.map_or_else(String::new, |n| format!(" (step {n} of its overflow{of})"));
    match (&taken.why, taken.after_ms) {
        (Why::Overflow, Some(ms)) if taken.number.is_none() && !taken.only.is_empty() => {
            format!("because it had waited {} for {}", spelled(ms), whom(&taken.only, names))
        }
        (Why::Overflow, Some(ms)) => format!("because it had waited {}{which}", spelled(ms)),
        (why, _) => format!("{}{which}", why_words(why)),
    }
}

fn whom(agents: &[Name], names: &Names) -> String {
    agents.iter().map(|agent| names.say(agent)).collect::<Vec<_>>().join(" and ")
}

/// What a clock that ran out says.
pub(super) fn late(kind: ClockKind) -> &'static str {
    match kind {
        ClockKind::FirstResponse => "its first answer was late",
        ClockKind::Resolution => "it should have been resolved",
        ClockKind::NextResponse | ClockKind::Waiting => "an answer was late",
    }
}

/// As it follows that a rule followed up.
pub(super) fn on_what(on: Option<Happening>) -> &'static str {
    match on {
        Some(Happening::Assigned) => " when it was assigned",
        Some(Happening::Answered) => " when it was answered",
        Some(Happening::Closed) => " when it was closed",
        Some(Happening::Noted) => " when a note was added",
        Some(Happening::Changed) => " when its tags, its priority or its attributes were changed",
        Some(Happening::Moved) => " when somebody put it into a queue",
        Some(Happening::Returned) => " when its snooze ended",
        None => "",
    }
}

/// `1 hour 30 minutes`
fn spelled(ms: i64) -> String {
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let (mut left, mut said) = (ms / 1000, vec![]);
    for (size, unit) in units {
        let n = left / size;
        left %= size;
        if n > 0 {
            said.push(format!("{n} {unit}{}", if n == 1 { "" } else { "s" }));
        }
    }
    said.join(" ")
}
