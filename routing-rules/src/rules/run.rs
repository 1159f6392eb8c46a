//! Running the rules over one message, and explaining a run: the same code, with or without a trace.

use super::Rule;
use super::action::{Actions, AgentPick, QueuePick};
use super::seen::{Filling, Seen, Texts};
use super::sentence::failed;
use crate::event::Happening;
use crate::pack::standing::{Standing, fill_in};
use crate::pack::template::Template;
use crate::pack::{
    AgentChoice, Name, Notify, RulePack, RuleTrace, RunOutcome, RunReply, SeenMessage, SeenState, SetTarget,
};
use std::collections::BTreeMap;
use switchboard_envelope::Timestamp;

/// What the superseded list calls the actions of `default`.
const DEFAULT: &str = "default";
/// Debug builds run packs of at most this many rules twice, with and without the index.
const CHECKED: usize = 100;

/// What one rule did, by the name of the action.
#[derive(Default)]
struct Did {
    applied: Vec<String>,
    superseded: Vec<String>,
}

impl RulePack {
    /// Runs the rules in order over one message: what they decide together. `default` is not in it; whether it applies
    /// depends on what becomes of the conversation, and [`RulePack::with_default`] adds its actions.
    #[must_use]
    pub fn run(&self, message: &SeenMessage, state: &SeenState) -> RunOutcome {
        let texts = Texts::default();
        let mut out = RunOutcome::default();
        let mut candidates = {
            let before = RunOutcome::default();
            self.index.candidates(&Seen { pack: self, message, state, so_far: &before, texts: &texts })
        };
        let mut from = 0;
        while let Some(at) = candidates.next(from) {
            from = at + 1;
            let Some(rule) = self.rules.get(at) else { break };
            if !self.matches(rule, message, state, &texts, &out) {
                continue;
            }
            self.hit(rule, message, state, &texts, &mut out);
            if !rule.continues {
                break;
            }
            candidates.learn(rule, &out);
        }
        debug_assert!(
            self.rules.len() > CHECKED || out == self.run_in_order(message, state),
            "the index and the order of the rules decide the same"
        );
        out.language = texts.language();
        out
    }

    /// What the rules say that follow up on what people of ours did.
    #[must_use]
    pub fn follow_up(&self, on: Happening, message: &SeenMessage, state: &SeenState) -> RunOutcome {
        let texts = Texts::default();
        let mut out = RunOutcome::default();
        for rule in self.follow_ups.iter().filter(|r| r.on == Some(on)) {
            if self.matches(rule, message, state, &texts, &out) {
                self.hit(rule, message, state, &texts, &mut out);
                if !rule.continues {
                    break;
                }
            }
        }
        out
    }

    /// The reply that a rule sends.
    pub(crate) fn reply_of(&self, rule: &str) -> Option<&Name> {
        self.every_rule().find(|r| r.name == rule)?.then.reply.as_ref().map(|(_, id)| id)
    }

    /// [`RulePack::run`] without the index: every rule is asked in turn. What `run` has to agree with.
    #[must_use]
    pub fn run_in_order(&self, message: &SeenMessage, state: &SeenState) -> RunOutcome {
        let texts = Texts::default();
        let mut out = RunOutcome::default();
        for rule in &self.rules {
            if self.matches(rule, message, state, &texts, &out) {
                self.hit(rule, message, state, &texts, &mut out);
                if !rule.continues {
                    break;
                }
            }
        }
        out
    }

    /// What [`RulePack::run`] did with each rule, and for each that did not match, the first condition that failed.
    #[must_use]
    pub fn explain(&self, message: &SeenMessage, state: &SeenState) -> Vec<RuleTrace> {
        self.traced(self.rules.iter(), message, state)
    }

    /// The same of [`RulePack::follow_up`].
    #[must_use]
    pub fn explain_follow_up(&self, on: Happening, message: &SeenMessage, state: &SeenState) -> Vec<RuleTrace> {
        self.traced(self.follow_ups.iter().filter(|r| r.on == Some(on)), message, state)
    }

    fn traced<'r>(
        &self,
        rules: impl Iterator<Item = &'r Rule>,
        message: &SeenMessage,
        state: &SeenState,
    ) -> Vec<RuleTrace> {
        let texts = Texts::default();
        let mut out = RunOutcome::default();
        let mut stopped = false;
        let mut traces = Vec::new();
        for rule in rules {
            let mut trace = RuleTrace {
                rule: rule.name.clone(),
                place: format!("{}:{}", rule.at.file, rule.at.line),
                matched: false,
                skipped: stopped,
                failed: None,
                applied: Vec::new(),
                superseded: Vec::new(),
            };
            if !stopped && self.matches(rule, message, state, &texts, &out) {
                let did = self.hit(rule, message, state, &texts, &mut out);
                trace = RuleTrace { matched: true, applied: did.applied, superseded: did.superseded, ..trace };
                stopped = !rule.continues;
            } else if !stopped {
                trace.failed = failed(&rule.when, &Seen { pack: self, message, state, so_far: &out, texts: &texts });
            }
            traces.push(trace);
        }
        traces
    }

    /// What the rules decided and what `default` adds to it, for a conversation that they did not place: each of their decisions
    /// stands.
    #[must_use]
    pub fn with_default(&self, decided: &RunOutcome, message: &SeenMessage, state: &SeenState) -> RunOutcome {
        let texts = Texts::default();
        let mut out = decided.clone();
        self.apply(DEFAULT, &self.default, &BTreeMap::new(), (message, state, &texts), &mut out);
        out
    }

    /// The queue of `default`, for conversations that lose theirs. A pack that loaded always has one.
    #[must_use]
    pub fn default_queue(&self, now: Timestamp) -> Option<&str> {
        match self.default.queue.as_ref()? {
            QueuePick::Queue(q) => Some(q),
            QueuePick::Rotation(r) => self.rotations.get(r)?.member(now).map(String::as_str),
        }
    }

    /// A reply template filled in, as for an agent who sends it by hand: nothing is captured.
    ///
    /// # Errors
    /// When the pack has no such reply, or a value is missing.
    pub fn render(&self, reply: &str, message: &SeenMessage, state: &SeenState) -> Result<String, String> {
        let (texts, out, captures) = (Texts::default(), RunOutcome::default(), BTreeMap::new());
        let seen = Seen { pack: self, message, state, so_far: &out, texts: &texts };
        let nobody_waits = Standing { position: Some(1), at_once: true, wait_ms: None };
        Ok(fill_in(&self.fill_reply(reply, &seen, &captures)?, &nobody_waits))
    }

    fn fill_reply(&self, id: &str, seen: &Seen<'_>, captures: &BTreeMap<String, String>) -> Result<String, String> {
        let template = self.replies.get(id).ok_or_else(|| format!("the pack has no reply `{id}`"))?;
        let text = template.render(&Filling { seen, captures })?;
        if text.trim().is_empty() {
            return Err("it is empty once its values are filled in".into());
        }
        Ok(text)
    }

    fn matches(
        &self,
        rule: &Rule,
        message: &SeenMessage,
        state: &SeenState,
        texts: &Texts,
        so_far: &RunOutcome,
    ) -> bool {
        let seen = Seen { pack: self, message, state, so_far, texts };
        rule.cheapest.iter().filter_map(|i| rule.when.get(*i)).all(|c| c.holds(&seen))
    }

    fn hit(&self, rule: &Rule, message: &SeenMessage, state: &SeenState, texts: &Texts, out: &mut RunOutcome) -> Did {
        let mut captures = BTreeMap::new();
        if rule.captures {
            let seen = Seen { pack: self, message, state, so_far: out, texts };
            rule.when.iter().for_each(|c| c.captures(&seen, &mut captures));
        }
        out.hits.push(rule.name.clone());
        let placed = out.places();
        let did = self.apply(&rule.name, &rule.then, &captures, (message, state, texts), out);
        if !placed && out.places() {
            out.placed_by = Some(rule.name.clone());
        }
        did
    }

    /// Merges one rule's actions: tags and notices add up, for everything else the first decision stands.
    fn apply(
        &self,
        rule: &str,
        then: &Actions,
        captures: &BTreeMap<String, String>,
        (message, state, texts): (&SeenMessage, &SeenState, &Texts),
        out: &mut RunOutcome,
    ) -> Did {
        let mut merge = Merge { out, did: Did::default() };
        merge.tags(&then.tags);
        for (target, template) in &then.set {
            let seen = Seen { pack: self, message, state, so_far: merge.out, texts };
            // Values may be missing only where a default stands, so this fails for a text that grew too long.
            if let Ok(value) = template.render(&Filling { seen: &seen, captures }) {
                merge.set(target, value);
            }
        }
        self.merge_place(then, captures, (message, state, texts), &mut merge);
        merge.flag("close", then.close, |o| &mut o.close);
        merge.flag("block", then.block, |o| &mut o.block);
        merge.flag("move", then.move_, |o| &mut o.move_);
        merge.first("snooze", then.snooze_ms, |o| &mut o.snooze_ms);
        merge.first("consent", then.consent, |o| &mut o.consent);
        for notice in &then.notify {
            let seen = Seen { pack: self, message, state, so_far: merge.out, texts };
            let text = notice.text.as_ref().and_then(|t| t.render(&Filling { seen: &seen, captures }).ok());
            merge.did.applied.push(format!("notify {}", notice.desk));
            merge.out.notify.push(Notify { desk: notice.desk.clone(), text, rule: Some(rule.to_owned()) });
        }
        if let Some((_, reply)) = &then.reply {
            if merge.out.reply.is_some() {
                merge.did.superseded.push(format!("reply {reply}"));
            } else {
                let seen = Seen { pack: self, message, state, so_far: merge.out, texts };
                let text = self.fill_reply(reply, &seen, captures);
                merge.did.applied.push(format!("reply {reply}"));
                let choices = self.choices.get(reply).cloned().unwrap_or_default();
                merge.out.reply = Some(RunReply { rule: rule.to_owned(), reply: reply.clone(), text, choices });
            }
        }
        let did = merge.did;
        out.superseded.extend(did.superseded.iter().map(|a| (rule.to_owned(), a.clone())));
        did
    }

    /// The agents whom a text names, by their ids or by their names; each once, in its order.
    fn agents_named(&self, names: &[String]) -> Vec<Name> {
        let mut found: Vec<Name> = Vec::new();
        for name in names {
            let by_name = || self.agents.iter().find(|(_, a)| a.name.to_lowercase() == *name).map(|(id, _)| id);
            if let Some(id) = self.agents.get_key_value(name).map(|(id, _)| id).or_else(by_name)
                && !found.contains(id)
            {
                found.push(id.clone());
            }
        }
        found
    }

    /// Where the conversation goes and how it waits there.
    fn merge_place(
        &self,
        then: &Actions,
        captures: &BTreeMap<String, String>,
        (message, state, texts): (&SeenMessage, &SeenState, &Texts),
        merge: &mut Merge<'_>,
    ) {
        let now = state.now;
        let member = |id: &String| self.rotations.get(id).and_then(|r| r.member(now)).cloned();
        let named = |template: &Template, so_far: &RunOutcome| {
            let seen = Seen { pack: self, message, state, so_far, texts };
            template.names(&Filling { seen: &seen, captures })
        };
        let queue = then.queue.as_ref().and_then(|q| match q {
            QueuePick::Queue(q) => Some(q.clone()),
            QueuePick::Rotation(id) => member(id),
        });
        merge.first("queue", queue, |o| &mut o.queue);
        let agent = then.agent.as_ref().and_then(|a| match a {
            AgentPick::Choice(c) => Some(c.clone()),
            AgentPick::Rotation(id) => member(id).map(AgentChoice::Agent),
            AgentPick::Named(template) => {
                let found = self.agents_named(&named(template, merge.out));
                if found.is_empty() {
                    merge.did.applied.push("agent (nobody of that name)".into());
                }
                AgentChoice::of(found)
            }
        });
        let decided = merge.out.agent.is_some() || agent.is_none();
        merge.first("agent", agent, |o| &mut o.agent);
        if !decided {
            merge.first("wait", then.wait, |o| &mut o.wait);
        }
        merge.first("desk", then.desk.clone(), |o| &mut o.desk);
        merge.first("priority", then.priority, |o| &mut o.priority);
        if let Some(pick) = &then.skills {
            let mut skills = pick.written.clone();
            for (template, level) in &pick.named {
                // What nobody has would be wanted in vain, and a customer's words name nothing in public.
                let held = |skill: &String| self.agents.values().any(|a| a.skills.contains_key(skill));
                for skill in named(template, merge.out).into_iter().filter(held) {
                    let wanted = skills.entry(skill).or_insert(*level);
                    *wanted = (*wanted).max(*level);
                }
            }
            if merge.out.skills.is_empty() {
                merge.did.applied.push("skills".into());
                merge.out.skills = skills;
            } else {
                merge.did.superseded.push("skills".into());
            }
        }
        merge.first("overflow", then.overflow.clone(), |o| &mut o.overflow);
    }
}

struct Merge<'a> {
    out: &'a mut RunOutcome,
    did: Did,
}

/// How an action's value is shown in a trace.
trait Shown {
    fn shown(&self, action: &str) -> String;
}

impl Merge<'_> {
    fn first<T: Shown>(&mut self, action: &str, value: Option<T>, slot: impl Fn(&mut RunOutcome) -> &mut Option<T>) {
        let Some(value) = value else { return };
        let shown = value.shown(action);
        let slot = slot(self.out);
        if slot.is_some() {
            self.did.superseded.push(shown);
        } else {
            self.did.applied.push(shown);
            *slot = Some(value);
        }
    }

    fn flag(&mut self, action: &str, wanted: bool, slot: impl Fn(&mut RunOutcome) -> &mut bool) {
        if !wanted {
            return;
        }
        let slot = slot(self.out);
        if *slot {
            self.did.superseded.push(action.to_owned());
        } else {
            self.did.applied.push(action.to_owned());
            *slot = true;
        }
    }

    fn tags(&mut self, tags: &[String]) {
        for tag in tags {
            self.did.applied.push(format!("tag {tag}"));
            self.out.tags.insert(tag.clone());
        }
    }

    fn set(&mut self, target: &SetTarget, value: String) {
        let shown = match target {
            SetTarget::Conversation(n) => format!("set {n}"),
            SetTarget::Contact(n) => format!("set contact.{n}"),
        };
        if self.out.set.contains_key(target) {
            self.did.superseded.push(shown);
        } else {
            self.did.applied.push(shown);
            self.out.set.insert(target.clone(), value);
        }
    }
}

impl Shown for String {
    fn shown(&self, action: &str) -> String {
        format!("{action} {self}")
    }
}

impl Shown for AgentChoice {
    fn shown(&self, action: &str) -> String {
        match self {
            AgentChoice::Agent(id) => format!("{action} {id}"),
            AgentChoice::OneOf(all) => format!("{action} {}", all.join(" or ")),
            AgentChoice::Sticky => format!("{action} sticky"),
        }
    }
}

impl Shown for crate::pack::Priority {
    fn shown(&self, action: &str) -> String {
        format!("{action} {}", self.as_str())
    }
}

impl Shown for i64 {
    fn shown(&self, action: &str) -> String {
        format!("{action} {}", crate::pack::read::spell(*self))
    }
}

impl Shown for crate::pack::Wait {
    fn shown(&self, action: &str) -> String {
        let absent = if self.absent { ", there or not" } else { "" };
        format!("{action} {}{absent}", crate::pack::read::spell(self.ms))
    }
}

impl Shown for bool {
    fn shown(&self, action: &str) -> String {
        format!("{action} {}", if *self { "opted_in" } else { "opted_out" })
    }
}

impl Shown for Vec<crate::pack::OverflowStep> {
    fn shown(&self, action: &str) -> String {
        action.to_owned()
    }
}
