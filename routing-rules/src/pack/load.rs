//! Loading: files to trees, trees to one pack, and the checks that need all of it.

use super::hours::{Hours, Rotation};
use super::people_read::PeopleReader;
use super::problem::{Place, Problem, Sink};
use super::read::{check_id, keys, list, named, short};
use super::refs::{Known, Refs};
use super::reply_read;
use super::template::{self, Template};
use super::yaml::{self, Node};
use super::{Agent, Budget, Environment, Loaded, Name, PackTest, Presences, Queue, RulePack, Unusable, blob};
use crate::rules::{Actions, MAX_PATTERNS, Rule, RuleIndex, link, read_default, read_rule, wanted_in_vain, warnings};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Sizes that a pack may have; each is far above what people write.
const MAX_FILES: usize = 500;
const MAX_FILE: usize = 4 * 1024 * 1024;
const MAX_PACK: usize = 8 * 1024 * 1024;
const MAX_RULES: usize = 10_000;
const MAX_NAMED: usize = 5_000;

pub(crate) const TOP: &[&str] =
    &["zone", "queues", "agents", "hours", "rotations", "replies", "budget", "presence", "rules", "default"];

/// The trees of all files, joined.
#[derive(Default)]
pub(super) struct Merged<'a> {
    pub zone: Option<&'a Node>,
    pub budget: Option<&'a Node>,
    pub presence: Option<&'a Node>,
    default: Option<&'a Node>,
    pub queues: Vec<(&'a Place, &'a str, &'a Node)>,
    pub agents: Vec<(&'a Place, &'a str, &'a Node)>,
    pub hours: Vec<(&'a Place, &'a str, &'a Node)>,
    rotations: Vec<(&'a Place, &'a str, &'a Node)>,
    pub replies: Vec<(&'a Place, &'a str, &'a Node)>,
    pub rules: Vec<&'a Node>,
}

/// A reply with the place of its text.
pub(crate) type Replies = BTreeMap<Name, (Place, Template)>;

pub(super) fn is_yaml(path: &str) -> bool {
    [".yaml", ".yml"].iter().any(|e| path.ends_with(e))
}

pub(super) fn is_test(path: &str) -> bool {
    ["_test.yaml", "_test.yml"].iter().any(|e| path.ends_with(e))
}

impl RulePack {
    /// Loads a pack from its files, as (path, bytes). Tests of the pack and files that are not YAML are left aside.
    ///
    /// # Errors
    /// Every problem of every file, in the order of files and lines.
    pub fn load(files: &[(String, Vec<u8>)], env: &Environment) -> Result<Loaded, Vec<Problem>> {
        read(files, env, Sink::default(), None).map_err(|unusable| unusable.problems)
    }

    /// Loads a pack with its tests: what is wrong with either is told at once.
    ///
    /// # Errors
    /// Every problem of every file, in the order of files and lines, with the warnings that hold whatever is mended.
    pub fn load_with_tests(
        files: &[(String, Vec<u8>)],
        env: &Environment,
    ) -> Result<(Loaded, Vec<PackTest>), Unusable> {
        let mut tests = Vec::new();
        read(files, env, Sink::default(), Some(&mut tests)).map(|loaded| (loaded, tests))
    }

    /// Loads a pack that was in force before.
    pub(super) fn load_stored(files: &[(String, Vec<u8>)]) -> Result<Loaded, Vec<Problem>> {
        read(files, &Environment::default(), Sink::of_stored(), None).map_err(|unusable| unusable.problems)
    }
}

fn read(
    files: &[(String, Vec<u8>)],
    env: &Environment,
    mut sink: Sink,
    tests: Option<&mut Vec<PackTest>>,
) -> Result<Loaded, Unusable> {
    let sources = sources(files, |p| is_yaml(p) && !is_test(p), &mut sink);
    let trees: Vec<Node> =
        sources.iter().filter_map(|(path, text)| yaml::parse(&Arc::from(path.as_str()), text, &mut sink)).collect();
    let mut merged = Merged::default();
    for tree in &trees {
        merged.join(tree, &mut sink);
    }
    let here = Place { file: Arc::from(sources.first().map_or("pack.yaml", |(p, _)| p)), line: 1, column: 1 };
    let (mut pack, warnings) = merged.compile(&here, env, &mut sink);
    if let Some(tests) = tests {
        *tests = pack.read_tests(files, env, &merged.known().and(&pack.presences), &mut sink);
    }
    if !sink.is_empty() {
        return Err(Unusable { problems: sink.into_problems(), warnings });
    }
    pack.hash = blob::hash(&sources);
    pack.sources = sources;
    Ok(Loaded { pack, warnings })
}

/// The wanted files as text, in byte order of their path.
pub(super) fn sources(
    files: &[(String, Vec<u8>)],
    wanted: impl Fn(&str) -> bool,
    sink: &mut Sink,
) -> Vec<(String, String)> {
    let mut sources: BTreeMap<&str, &str> = BTreeMap::new();
    let mut total = 0usize;
    for (path, bytes) in files.iter().filter(|(p, _)| wanted(p)) {
        let at = Place { file: Arc::from(path.as_str()), line: 1, column: 1 };
        total = total.saturating_add(bytes.len());
        if bytes.len() > MAX_FILE || total > MAX_PACK || sources.len() >= MAX_FILES {
            let hint = format!("at most {MAX_FILES} files, {MAX_FILE} bytes each, {MAX_PACK} together");
            sink.error(&at, "the pack is too large", hint);
            sink.unreadable = true;
            continue;
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => {
                if sources.insert(path, text).is_some() {
                    sink.error(&at, "the same path twice", "give each file once");
                }
            }
            Err(e) => {
                let line = bytes.iter().take(e.valid_up_to()).filter(|b| **b == b'\n').count();
                let at = Place { line: u32::try_from(line + 1).unwrap_or(u32::MAX), ..at };
                sink.error(&at, "not UTF-8", "save the file as UTF-8");
                sink.unreadable = true;
            }
        }
    }
    sources.into_iter().map(|(p, t)| (p.to_owned(), t.to_owned())).collect()
}

impl<'a> Merged<'a> {
    pub(super) fn join(&mut self, tree: &'a Node, sink: &mut Sink) {
        let Some(keys) = keys(tree, "a pack", TOP, sink) else { return };
        for (key, slot) in [
            ("zone", &mut self.zone),
            ("budget", &mut self.budget),
            ("presence", &mut self.presence),
            ("default", &mut self.default),
        ] {
            let Some(node) = keys.get(key) else { continue };
            if let Some(first) = slot {
                let hint = format!("it is already at {}; keep one", first.at);
                sink.error(&node.at, format!("a second `{key}`"), hint);
                continue;
            }
            *slot = Some(node);
        }
        let maps = [
            ("queues", "a queue", &mut self.queues),
            ("agents", "an agent", &mut self.agents),
            ("hours", "opening hours", &mut self.hours),
            ("rotations", "a rotation", &mut self.rotations),
            ("replies", "a reply", &mut self.replies),
        ];
        for (key, what, all) in maps {
            let Some(node) = keys.get(key) else { continue };
            for (at, id, value) in named(node, &format!("`{key}`"), sink) {
                if !check_id(at, id, &format!("the id of {what}"), sink) {
                    continue;
                }
                // `agent: sticky` would mean either.
                if key == "agents" && id == "sticky" {
                    sink.error(
                        at,
                        "an agent cannot be called `sticky`",
                        "it is what `agent: sticky` means; choose another id",
                    );
                }
                all.push((at, id, value));
            }
        }
        if let Some(node) = keys.get("rules") {
            self.rules.extend(list(node, "`rules`", sink).unwrap_or_default());
        }
    }

    fn compile(&self, here: &Place, env: &Environment, sink: &mut Sink) -> (RulePack, Vec<Problem>) {
        let zones = TimeZoneDatabase::bundled();
        let mut refs = Refs::default();
        let mut people = PeopleReader { sink, refs: &mut refs };
        let zone = self.zone.and_then(|n| people.zone(n, &zones)).unwrap_or(TimeZone::UTC);
        let queues: BTreeMap<Name, Queue> = unique(&self.queues, &mut people, |p, _, n| Some(p.queue(n)));
        let before = people.sink.count();
        let agents: BTreeMap<Name, Agent> = unique(&self.agents, &mut people, |p, id, n| Some(p.agent(id, n)));
        let agents_known = people.sink.count() == before && !people.sink.unreadable;
        let hours: BTreeMap<Name, Hours> = unique(&self.hours, &mut people, |p, _, n| p.hours(n, &zone, &zones));
        let rotations: BTreeMap<Name, Rotation> = unique(&self.rotations, &mut people, |p, _, n| p.rotation(n, &zone));
        let mut choices = BTreeMap::new();
        let replies: Replies = unique(&self.replies, &mut people, |p, id, n| {
            let (text, offered) = reply_read::read(n, p.sink)?;
            if !offered.is_empty() {
                choices.insert(id.to_owned(), offered);
            }
            template::read(text, template::REPLY, p.sink, p.refs).map(|t| (text.at.clone(), t))
        });
        let budget = self.budget.map_or_else(Budget::default, |n| people.budget(n));
        let presences = self.presence.map_or_else(Presences::default, |n| people.presences(n));
        let mut mistaken = BTreeSet::new();
        let (rules, follow_ups): (Vec<Rule>, Vec<Rule>) =
            self.rules(sink, &mut refs, &mut mistaken).into_iter().partition(|rule| rule.on.is_none());
        let default = self.default_actions(here, sink, &mut refs);
        let of_all = agents.values().flat_map(|a| a.skills.keys()).map(String::as_str);
        // Without agents nobody is given anything, whatever is wanted.
        let asked = !agents.is_empty() && !sink.skills_unknown && !sink.stored;
        let known = Known { skills: asked.then(|| of_all.collect()), ..self.known() };
        refs.check(!sink.unreadable, &known.and(&presences), env, sink);
        let pack = RulePack {
            hash: String::new(),
            sources: Vec::new(),
            zone,
            queues,
            agents,
            hours,
            rotations,
            replies: replies.iter().map(|(id, (_, t))| (id.clone(), t.clone())).collect(),
            choices,
            budget,
            presences,
            index: RuleIndex::new(&rules),
            rules,
            follow_ups,
            default: default.unwrap_or_default(),
        };
        let places: BTreeMap<&str, &Place> = self.queues.iter().map(|(at, id, _)| (*id, *at)).collect();
        let default_at = self.default.map_or(here, |n| &n.at);
        link(&pack, &replies, &places, default_at, sink);
        let mut warned = if mistaken.is_empty() { warnings(&pack) } else { warnings(&without(&pack, &mistaken)) };
        if agents_known {
            warned.extend(wanted_in_vain(&pack, &places, default_at));
        }
        warned.extend(self.no_zone().filter(|_| !sink.unreadable));
        (pack, warned)
    }

    /// The rules, and the places of those with mistakes, which may lack some of their conditions.
    fn rules(&self, sink: &mut Sink, refs: &mut Refs, mistaken: &mut BTreeSet<Place>) -> Vec<Rule> {
        let mut patterns_left = MAX_PATTERNS;
        let mut names: BTreeMap<String, Place> = BTreeMap::new();
        let mut rules: Vec<Rule> = Vec::new();
        for node in &self.rules {
            if rules.len() >= MAX_RULES {
                sink.error(&node.at, format!("more than {MAX_RULES} rules"), "use lists in fewer rules");
                break;
            }
            let before = sink.count();
            let Some(rule) = read_rule(node, sink, refs, &mut patterns_left) else { continue };
            if sink.count() > before {
                mistaken.insert(rule.at.clone());
            }
            if let Some(first) = names.insert(rule.name.clone(), rule.at.clone()) {
                let hint = format!("the first is at {first}; give each its own name");
                sink.error(&rule.at, format!("two rules are called `{}`", short(&rule.name)), hint);
            }
            rules.push(rule);
        }
        rules
    }

    fn default_actions(&self, here: &Place, sink: &mut Sink, refs: &mut Refs) -> Option<Actions> {
        match self.default {
            Some(node) => Some(read_default(node, sink, refs)),
            None if sink.unreadable => None,
            None => {
                let hint = "write `default: { queue: everyone }`, so that every conversation has a place";
                sink.error(here, "the pack has no `default`", hint);
                None
            }
        }
    }

    fn known(&self) -> Known<'a> {
        let ids = |list: &[(&'a Place, &'a str, &'a Node)]| list.iter().map(|(_, id, _)| *id).collect();
        Known {
            queues: ids(&self.queues),
            agents: ids(&self.agents),
            replies: ids(&self.replies),
            rotations: ids(&self.rotations),
            hours: ids(&self.hours),
            ..Known::default()
        }
    }

    /// Times without a zone are read in UTC, which is seldom what a shop means.
    fn no_zone(&self) -> Option<Problem> {
        let (at, ..) = self.hours.first().or_else(|| self.rotations.first()).filter(|_| self.zone.is_none())?;
        Some(Problem {
            file: at.file.to_string(),
            line: at.line,
            column: at.column,
            message: "these times are read in UTC, because the pack has no `zone`".into(),
            hint: "write `zone: Europe/Paris`, or `zone: UTC` if that is meant".into(),
        })
    }
}

/// The pack as its warnings are judged while rules have mistakes: what those would match is not known.
fn without(pack: &RulePack, mistaken: &BTreeSet<Place>) -> RulePack {
    let mut known = pack.clone();
    for rules in [&mut known.rules, &mut known.follow_ups] {
        rules.retain(|rule| !mistaken.contains(&rule.at));
    }
    known
}

/// Reads every named thing once; a repeated id names both places.
fn unique<T>(
    entries: &[(&Place, &str, &Node)],
    people: &mut PeopleReader<'_>,
    mut read: impl FnMut(&mut PeopleReader<'_>, &str, &Node) -> Option<T>,
) -> BTreeMap<Name, T> {
    let mut places: BTreeMap<&str, &Place> = BTreeMap::new();
    let mut all = BTreeMap::new();
    for (at, id, node) in entries.iter().take(MAX_NAMED) {
        if let Some(first) = places.insert(id, at) {
            let hint = format!("the first is at {first}; keep one");
            people.sink.error(at, format!("`{id}` is defined twice"), hint);
            continue;
        }
        if let Some(value) = read(people, id, node) {
            all.insert((*id).to_owned(), value);
        }
    }
    if let Some((at, ..)) = entries.get(MAX_NAMED) {
        people.sink.error(at, format!("more than {MAX_NAMED} ids"), "remove what is not used");
    }
    all
}
