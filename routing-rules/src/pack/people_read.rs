//! Reading queues and agents.

use super::problem::{Place, Sink};
use super::read::{
    DAYS, check_id, days, duration, filled, id, keys, list, map, named, one_or_many, percent, plain, shape, short,
    spell, text, time_range, units, whole, word,
};
use super::refs::{Kind, Refs};
use super::yaml::{Node, Value};
use super::{
    Agent, AtOnce, Breach, Budget, Headcount, Limit, Name, Notify, OverflowStep, Prefer, Presences, Priority, Queue,
    Skills, Sla, Strategy,
};
use crate::event::Presence;
use crate::pack::hours::{Hours, Members, Opening, Rotation};
use jiff::tz::{TimeZone, TimeZoneDatabase};

pub(crate) const PRIORITIES: &[&str] = &["low", "normal", "high", "urgent"];
pub(crate) const ORDERS: &[&str] = &["oldest", "newest"];
const STRATEGIES: &[&str] = &["round_robin", "least_loaded", "longest_idle"];
pub(crate) const PREFERENCES: &[&str] = &["most", "least", "least_held"];
const QUEUE_KEYS: &[&str] = &[
    "skills",
    "sla",
    "hours",
    "strategy",
    "prefer",
    "sticky",
    "offer",
    "ageing",
    "order",
    "presence",
    "overflow",
    "reopen",
    "wrap_up",
    "signature",
    "limit",
];
const SLA_KEYS: &[&str] = &["first_response", "next_response", "resolution", "warn", "on_warn", "on_breach"];
const PRESENCE_KEYS: &[&str] = &["grace", "lapses", "names"];
/// How many agents there are.
const COUNT_KEYS: &[&str] = &["agents", "lt", "lte", "gt", "gte"];
/// Presences of a pack's own at most.
const MAX_PRESENCES: usize = 100;
/// Numbers of agents that a step asks for at most.
pub(crate) const MAX_COUNTS: usize = 10;
/// The share of the time after which a warning is given when the queue does not say.
const DEFAULT_WARN: u8 = 80;
/// Capacity of an agent who does not say, in hundredths.
const DEFAULT_CAPACITY: u32 = 500;
const SECOND: i64 = 1_000;

/// Reads what the rest of a pack is made of.
pub(crate) struct PeopleReader<'k> {
    pub sink: &'k mut Sink,
    pub refs: &'k mut Refs,
}

/// What `{ set: low }` sets.
fn keys_of_set<'n>(node: &'n Node, sink: &mut Sink) -> Option<&'n Node> {
    let set = keys(node, "a priority", &["set"], sink)?.get("set");
    if set.is_none() {
        sink.error(
            &node.at,
            "a priority that sets nothing",
            "write `priority: { set: low }`, or `priority: high` to raise it",
        );
    }
    set
}

impl PeopleReader<'_> {
    pub(crate) fn queue(&mut self, node: &Node) -> Queue {
        let mut queue = Queue { sla: Sla { warn_percent: DEFAULT_WARN, ..Sla::default() }, ..Queue::default() };
        let Some(keys) = keys(node, "a queue", QUEUE_KEYS, self.sink) else { return queue };
        if let Some(n) = keys.get("skills") {
            queue.skills = self.skills(n).unwrap_or_default();
        }
        if let Some(n) = keys.get("sla") {
            queue.sla = self.sla(n);
        }
        queue.hours = keys.get("hours").and_then(|n| self.name(n, Kind::Hours, "hours"));
        if let Some(n) = keys.get("strategy") {
            queue.strategy = match word(n, "a strategy", STRATEGIES, self.sink) {
                Some("round_robin") => Strategy::RoundRobin,
                Some("longest_idle") => Strategy::LongestIdle,
                _ => Strategy::LeastLoaded,
            };
        }
        if let Some(n) = keys.get("prefer") {
            queue.prefer = self.prefer(n);
        }
        queue.sticky_ms = keys.get("sticky").and_then(|n| duration(n, "`sticky`", SECOND, self.sink));
        queue.offer_timeout_ms = keys.get("offer").and_then(|n| self.offer(n));
        queue.ageing_ms = keys.get("ageing").and_then(|n| duration(n, "`ageing`", SECOND, self.sink));
        queue.newest = keys.get("order").and_then(|n| word(n, "an order", ORDERS, self.sink)) == Some("newest");
        if let Some(n) = keys.get("presence") {
            queue.presence = self.presence_words(n, Kind::Working);
        }
        if let Some(n) = keys.get("overflow") {
            queue.overflow = self.overflow(n);
        }
        queue.signature = keys.get("signature").and_then(|n| plain(n, "a signature", self.sink)).map(str::to_owned);
        queue.wrap_up_ms = keys.get("wrap_up").and_then(|n| duration(n, "`wrap_up`", SECOND, self.sink));
        queue.limit = keys.get("limit").and_then(|n| self.limit(n));
        queue.reopen_ms = keys.get("reopen").and_then(|n| duration(n, "`reopen`", 0, self.sink));
        queue
    }

    /// An id that must exist.
    pub(crate) fn name(&mut self, node: &Node, kind: Kind, what: &str) -> Option<String> {
        let t = id(node, &format!("the id of {what}"), self.sink)?;
        self.refs.add(&node.at, kind, t);
        Some(t.to_owned())
    }

    /// Skills that some agent must have.
    pub(crate) fn wanted(&mut self, node: &Node) -> Option<Skills> {
        match &node.value {
            Value::Map(entries) => entries.iter().for_each(|(name, _)| self.some_have(name)),
            Value::List(items) => items.iter().for_each(|name| self.some_have(name)),
            Value::Bad | Value::Text(_) => {}
        }
        self.skills(node)
    }

    fn some_have(&mut self, skill: &Node) {
        if let Value::Text(name) = &skill.value {
            self.refs.add(&skill.at, Kind::Skill, name);
        }
    }

    /// A list means level 1.
    pub(crate) fn skills(&mut self, node: &Node) -> Option<Skills> {
        let mut skills = Skills::new();
        match &node.value {
            Value::Map(_) => {
                for (at, name, level) in named(node, "skills", self.sink) {
                    check_id(at, name, "a skill", self.sink);
                    let level = whole(level, "a level", 1..=100, self.sink).and_then(|l| u8::try_from(l).ok());
                    skills.insert(name.to_owned(), level.unwrap_or(1));
                }
            }
            Value::List(items) => {
                for item in items {
                    if let Some(name) = id(item, "a skill", self.sink)
                        && skills.insert(name.to_owned(), 1).is_some()
                    {
                        self.sink.error(&item.at, format!("`{name}` is listed twice"), "remove one");
                    }
                }
            }
            Value::Bad => return None,
            Value::Text(_) => {
                let hint = "write [billing, french], or { french: 2 } for a level";
                self.sink.error(&node.at, "skills must be a list or a map", hint);
                return None;
            }
        }
        Some(skills)
    }

    /// `[french, { english: least }]`: a skill alone is the most of it.
    fn prefer(&mut self, node: &Node) -> Vec<Prefer> {
        let mut all: Vec<Prefer> = Vec::new();
        for item in one_or_many(node) {
            let read: Vec<(&Place, String, &str)> = match &item.value {
                Value::Map(_) => named(item, "`prefer`", self.sink)
                    .into_iter()
                    .filter(|(at, name, _)| check_id(at, name, "a skill", self.sink))
                    .collect::<Vec<_>>()
                    .into_iter()
                    .filter_map(|(at, name, how)| {
                        Some((at, name.to_owned(), word(how, "an order", PREFERENCES, self.sink)?))
                    })
                    .collect(),
                _ => {
                    id(item, "a skill", self.sink).map(|name| (&item.at, name.to_owned(), "most")).into_iter().collect()
                }
            };
            for (at, skill, how) in read {
                if all.iter().any(|p| p.skill == skill) {
                    self.sink.error(at, format!("`{skill}` is listed twice"), "remove one");
                    continue;
                }
                // A skill that nobody has puts nobody first.
                self.refs.add(at, Kind::Preferred, &skill);
                all.push(Prefer { skill, least: how != "most", none_last: how != "least" });
            }
        }
        all
    }

    fn sla(&mut self, node: &Node) -> Sla {
        let mut sla = Sla { warn_percent: DEFAULT_WARN, ..Sla::default() };
        let Some(keys) = keys(node, "an sla", SLA_KEYS, self.sink) else { return sla };
        let mut time = |key: &str| keys.get(key).and_then(|n| duration(n, &format!("`{key}`"), SECOND, self.sink));
        sla.first_response_ms = time("first_response");
        sla.next_response_ms = time("next_response");
        sla.resolution_ms = time("resolution");
        if let Some(n) = keys.get("warn") {
            sla.warn_percent = percent(n, "a share of the time", self.sink).unwrap_or(DEFAULT_WARN);
        }
        if let Some(n) = keys.get("on_warn") {
            sla.on_warn = self.breach(n, "on_warn");
        }
        if let Some(n) = keys.get("on_breach") {
            sla.on_breach = self.breach(n, "on_breach");
        }
        if !["first_response", "next_response", "resolution"].iter().any(|k| keys.has(k)) {
            let hint = "write `first_response: 15m`, `next_response: 1h` or `resolution: 8h`";
            self.sink.error(keys.at, "an sla without a time", hint);
        }
        sla
    }

    fn breach(&mut self, node: &Node, what: &str) -> Breach {
        let Some(keys) = keys(node, what, &["priority", "queue", "notify"], self.sink) else {
            return Breach::default();
        };
        Breach {
            priority: keys.get("priority").and_then(|n| self.priority(n)),
            queue: keys.get("queue").and_then(|n| self.name(n, Kind::Queue, "a queue")),
            notify: keys.get("notify").and_then(|n| self.notify(n)),
        }
    }

    fn notify(&mut self, node: &Node) -> Option<Notify> {
        let keys = keys(node, "notify", &["desk", "text"], self.sink)?;
        let Some(desk) = keys.get("desk") else {
            self.sink.error(keys.at, "notify without a desk", "write `notify: { desk: team-slack }`");
            return None;
        };
        Some(Notify {
            desk: self.name(desk, Kind::Desk, "a desk")?,
            text: keys.get("text").and_then(|n| plain(n, "the text of this notice", self.sink)).map(str::to_owned),
            rule: None,
        })
    }

    pub(crate) fn priority(&mut self, node: &Node) -> Option<Priority> {
        if matches!(node.value, Value::Map(_)) {
            let hint =
                "write `priority: low`; only a step of `overflow` takes `{ set: low }`, since it raises otherwise";
            self.sink.error(&node.at, "a priority is a word here, not a map", hint);
            return None;
        }
        word(node, "a priority", PRIORITIES, self.sink).and_then(Priority::parse)
    }

    fn limit(&mut self, node: &Node) -> Option<Limit> {
        let keys = keys(node, "a limit", &["waiting", "queue"], self.sink)?;
        let (Some(waiting), Some(queue)) = (keys.get("waiting"), keys.get("queue")) else {
            let hint = "write `limit: { waiting: 100, queue: everyone }`";
            self.sink.error(keys.at, "a limit needs `waiting` and `queue`", hint);
            return None;
        };
        Some(Limit {
            waiting: whole(waiting, "how many may wait", 1..=10_000_000, self.sink)?,
            queue: self.name(queue, Kind::Queue, "a queue")?,
        })
    }

    pub(crate) fn presences(&mut self, node: &Node) -> Presences {
        let mut presences = Presences::default();
        let Some(keys) = keys(node, "presence", PRESENCE_KEYS, self.sink) else { return presences };
        if let Some(ms) = keys.get("grace").and_then(|n| duration(n, "`grace`", 0, self.sink)) {
            presences.grace_ms = ms;
        }
        if let Some(n) = keys.get("lapses").and_then(|n| whole(n, "a number of offers", 1..=1_000, self.sink)) {
            presences.lapses = n;
        }
        let Some(names) = keys.get("names") else { return presences };
        let words = Presence::ALL.map(Presence::as_str);
        for (at, name, counts_as) in named(names, "`names`", self.sink) {
            if !check_id(at, name, "a presence", self.sink) {
                continue;
            }
            if words.contains(&name) {
                let hint = "every pack has it, and it counts as itself; choose another name";
                self.sink.error(at, format!("`{name}` is no name of your own"), hint);
            } else if presences.names.len() == MAX_PRESENCES {
                self.sink.error(at, format!("more than {MAX_PRESENCES} names"), "remove what is not used");
                break;
            } else {
                let counts_as = word(counts_as, "what a presence counts as", &words, self.sink);
                let counts_as = counts_as.and_then(Presence::parse).unwrap_or(Presence::Available);
                presences.names.insert(name.to_owned(), counts_as);
            }
        }
        presences
    }

    /// One presence or several, each once, in order.
    fn presence_words(&mut self, node: &Node, kind: Kind) -> Vec<Name> {
        let items = one_or_many(node);
        if items.is_empty() && !matches!(node.value, Value::Bad) {
            self.sink.error(&node.at, "no presence", "write `[available]`, or names of your own");
        }
        let mut words: Vec<Name> = vec![];
        for item in items {
            let Some(word) = self.name(item, kind, "a presence") else { continue };
            if words.contains(&word) {
                self.sink.error(&item.at, format!("`{word}` is listed twice"), "remove one");
                continue;
            }
            words.push(word);
        }
        words.sort_unstable();
        words
    }

    fn offer(&mut self, node: &Node) -> Option<i64> {
        let keys = keys(node, "an offer", &["timeout"], self.sink)?;
        match keys.get("timeout") {
            Some(n) => duration(n, "`timeout`", SECOND, self.sink),
            None => {
                self.sink.error(keys.at, "an offer without a timeout", "write `offer: { timeout: 60s }`");
                None
            }
        }
    }

    pub(crate) fn overflow(&mut self, node: &Node) -> Vec<OverflowStep> {
        let mut steps: Vec<OverflowStep> = Vec::new();
        for item in list(node, "overflow", self.sink).unwrap_or_default() {
            let Some(step) = self.step(item) else { continue };
            if let (Some(after), Some(last)) = (step.after_ms, steps.iter().rev().find_map(|s| s.after_ms))
                && after <= last
            {
                let hint = "all steps count from entering the queue; write them in order of time";
                let message = format!("this step comes at {}, not after the one before", spell(after));
                self.sink.error(&item.at, message, hint);
            }
            steps.push(step);
        }
        steps
    }

    fn step(&mut self, node: &Node) -> Option<OverflowStep> {
        let keys = keys(node, "an overflow step", &["after", "if", "skills", "queue", "priority"], self.sink)?;
        let (after, at_once) = (keys.get("after"), keys.get("if"));
        if after.is_none() && at_once.is_none() {
            let hint = "write `{ after: 5m, queue: everyone }`, or `if: nobody_available`";
            self.sink.error(keys.at, "an overflow step without `after`", hint);
            return None;
        }
        if !["skills", "queue", "priority"].iter().any(|k| keys.has(k)) {
            self.sink.error(keys.at, "an overflow step that does nothing", "add `skills`, `queue` or `priority`");
        }
        // `priority: high` raises, `priority: { set: low }` may lower.
        let set = keys.get("priority").filter(|n| matches!(n.value, Value::Map(_)));
        let set = set.and_then(|n| keys_of_set(n, self.sink));
        let priority = set.or_else(|| keys.get("priority").filter(|n| !matches!(n.value, Value::Map(_))));
        Some(OverflowStep {
            after_ms: match after {
                Some(n) => Some(duration(n, "`after`", SECOND, self.sink)?),
                None => None,
            },
            at_once: match at_once {
                Some(n) => Some(self.at_once(n)?),
                None => None,
            },
            only: Vec::new(),
            skills: keys.get("skills").and_then(|n| self.wanted(n)),
            queue: keys.get("queue").and_then(|n| self.name(n, Kind::Queue, "a queue")),
            priority: priority.and_then(|n| self.priority(n)),
            lowers: set.is_some(),
        })
    }

    /// `nobody_free`, `{ agents: available, lt: 2 }`, a list of such where all must hold, or `{ any: […] }`.
    fn at_once(&mut self, node: &Node) -> Option<AtOnce> {
        match &node.value {
            Value::List(items) => self.headcounts(node, items).map(AtOnce::All),
            Value::Map(entries)
                if entries.iter().any(|(key, _)| matches!(&key.value, Value::Text(t) if t == "any")) =>
            {
                let keys = keys(node, "a condition of a step", &["any"], self.sink)?;
                let any = keys.get("any")?;
                let items = list(any, "`any`", self.sink)?;
                self.headcounts(any, items).map(AtOnce::Any)
            }
            Value::Map(_) => self.headcount(node).map(|one| AtOnce::All(vec![one])),
            _ => AtOnce::parse(word(node, "a condition of a step", AtOnce::WORDS, self.sink)?),
        }
    }

    fn headcounts(&mut self, node: &Node, items: &[Node]) -> Option<Vec<Headcount>> {
        if items.is_empty() || items.len() > MAX_COUNTS {
            let message = format!("{} conditions of a step", items.len());
            self.sink.error(&node.at, message, format!("write 1 to {MAX_COUNTS} of `{{ agents: available, lt: 2 }}`"));
            return None;
        }
        let read: Vec<Option<Headcount>> = items.iter().map(|item| self.headcount(item)).collect();
        read.into_iter().collect()
    }

    fn headcount(&mut self, node: &Node) -> Option<Headcount> {
        let keys = keys(node, "a number of agents", COUNT_KEYS, self.sink)?;
        let mut bound = |key: &str| {
            let node = keys.get(key)?;
            whole(node, "a number of agents", 0..=1_000_000, self.sink).map(|n| (&node.at, i64::from(n)))
        };
        let (gt, gte, lt, lte) = (bound("gt"), bound("gte"), bound("lt"), bound("lte"));
        let least = gt.map_or(0, |(_, n)| n + 1).max(gte.map_or(0, |(_, n)| n));
        let below = [lt.map(|(at, n)| (at, n - 1)), lte];
        let most = below.into_iter().flatten().min_by_key(|(_, n)| *n);
        if !COUNT_KEYS.iter().any(|key| *key != "agents" && keys.has(key)) {
            self.sink.error(keys.at, "agents that are not counted", "add `lt: 2`, `lte`, `gt` or `gte`");
        } else if let Some((at, most)) = most.filter(|(_, most)| *most < least) {
            let message = format!("no number is at least {least} and at most {most}");
            self.sink.error(at, message, "correct the numbers");
        }
        let Some(agents) = keys.get("agents") else {
            self.sink.error(keys.at, "a number of agents without `agents`", "write `{ agents: available, lt: 2 }`");
            return None;
        };
        let agents = self.presence_words(agents, Kind::Presence);
        let most = match most {
            Some((_, n)) => Some(u32::try_from(n).ok()?),
            None => None,
        };
        Some(Headcount { agents, least: u32::try_from(least).ok()?, most })
    }

    pub(crate) fn agent(&mut self, own_id: &str, node: &Node) -> Agent {
        let mut agent = Agent {
            name: own_id.to_owned(),
            skills: Skills::new(),
            capacity: DEFAULT_CAPACITY,
            desks: Vec::new(),
            signature: None,
        };
        let Some(keys) = keys(node, "an agent", &["name", "skills", "capacity", "desks", "signature"], self.sink)
        else {
            return agent;
        };
        if let Some(name) = keys.get("name").and_then(|n| plain(n, "the name of an agent", self.sink)) {
            agent.name = name.to_owned();
        }
        agent.signature = keys.get("signature").and_then(|n| plain(n, "a signature", self.sink)).map(str::to_owned);
        if let Some(n) = keys.get("skills") {
            let skills = self.skills(n);
            self.sink.skills_unknown |= skills.is_none();
            agent.skills = skills.unwrap_or_default();
        }
        if let Some(n) = keys.get("capacity") {
            agent.capacity = units(n, "a capacity", self.sink).unwrap_or(DEFAULT_CAPACITY);
        }
        if let Some(n) = keys.get("desks") {
            for (at, desk, address) in named(n, "desks", self.sink) {
                if !check_id(at, desk, "the id of a desk", self.sink) {
                    continue;
                }
                self.refs.add(at, Kind::Desk, desk);
                if let Some(address) = filled(address, "an address at a desk", self.sink) {
                    agent.desks.push((desk.to_owned(), address.to_owned()));
                }
            }
        }
        agent
    }

    pub(crate) fn budget(&mut self, node: &Node) -> Budget {
        let mut budget = Budget::default();
        let Some(keys) = keys(node, "the budget", &["conversation", "address", "ping_pong"], self.sink) else {
            return budget;
        };
        let mut count =
            |key: &str| keys.get(key).and_then(|n| whole(n, "a number of replies a day", 0..=10_000, self.sink));
        budget.conversation = count("conversation").unwrap_or(budget.conversation);
        budget.address = count("address").unwrap_or(budget.address);
        let robots =
            keys.get("ping_pong").and_then(|n| whole(n, "a number of replies in a row", 1..=10_000, self.sink));
        budget.ping_pong = robots.and_then(|n| u16::try_from(n).ok()).unwrap_or(budget.ping_pong);
        budget
    }

    pub(crate) fn zone(&mut self, node: &Node, zones: &TimeZoneDatabase) -> Option<TimeZone> {
        let name = filled(node, "a time zone", self.sink)?;
        let zone = zones.get(name).ok();
        if zone.is_none() {
            let hint = "write a name of the tz database, such as Europe/Paris or UTC";
            self.sink.error(&node.at, format!("`{}` is not a time zone", short(name)), hint);
        }
        zone
    }

    pub(crate) fn hours(&mut self, node: &Node, zone: &TimeZone, zones: &TimeZoneDatabase) -> Option<Hours> {
        let keys = keys(node, "hours", &["zone", "week", "closed"], self.sink)?;
        let own = keys.get("zone").and_then(|n| self.zone(n, zones));
        let mut hours = Hours {
            zone: own.unwrap_or_else(|| zone.clone()),
            week: Default::default(),
            closed: std::collections::BTreeSet::new(),
        };
        match keys.get("week") {
            Some(week) => self.week(week, &mut hours),
            None => {
                let hint = "write `week: { mon-fri: [\"09:00-17:00\"] }`";
                self.sink.error(keys.at, "hours without a week", hint);
            }
        }
        for day in keys.get("closed").map(one_or_many).unwrap_or_default() {
            let Some(t) = text(day, "a closed day", self.sink) else { continue };
            match t.parse::<jiff::civil::Date>() {
                Ok(date) if t.len() == 10 => {
                    hours.closed.insert(date);
                }
                _ => self.sink.error(&day.at, format!("`{}` is not a date", short(t)), "write it as 2026-12-25"),
            }
        }
        Some(hours)
    }

    fn week(&mut self, node: &Node, hours: &mut Hours) {
        let mut written: [Option<Place>; 7] = Default::default();
        let (mut open, so_far) = (false, self.sink.count());
        for (at, name, value) in named(node, "week", self.sink) {
            let openings: Vec<Opening> = one_or_many(value)
                .iter()
                .filter_map(|n| time_range(n, "an opening", self.sink))
                .map(|(start, end)| Opening { start, end })
                .collect();
            open |= !openings.is_empty();
            for day in days(at, name, self.sink) {
                let (Some(before), Some(slot)) = (written.get_mut(day), hours.week.get_mut(day)) else { continue };
                if let Some(first) = before {
                    let day = DAYS.get(day).copied().unwrap_or_default();
                    self.sink.error(
                        at,
                        format!("`{day}` is written twice"),
                        format!("it is already at {first}; remove one"),
                    );
                    continue;
                }
                *before = Some(at.clone());
                slot.clone_from(&openings);
                slot.sort();
            }
        }
        if !open && self.sink.count() == so_far {
            self.sink.error(&node.at, "a week without an opening", "write `mon-fri: [\"09:00-17:00\"]`");
        }
        self.overlaps(node, hours);
    }

    /// Openings that overlap would count open time twice.
    fn overlaps(&mut self, node: &Node, hours: &Hours) {
        let mut all: Vec<(u32, u32)> = Vec::new();
        for (day, openings) in (0u32..).zip(&hours.week) {
            all.extend(openings.iter().map(|o| (day * 1440 + u32::from(o.start), day * 1440 + u32::from(o.end))));
        }
        all.sort_unstable();
        let wrapped = all.first().map(|(s, e)| (s + 7 * 1440, e + 7 * 1440));
        let following = all.iter().skip(1).copied().chain(wrapped);
        if all.iter().zip(following).any(|((_, end), (start, _))| start < *end) {
            self.sink.error(&node.at, "two openings overlap", "write each hour of the week once");
        }
    }

    pub(crate) fn rotation(&mut self, node: &Node, zone: &TimeZone) -> Option<Rotation> {
        let keys = keys(node, "a rotation", &["start", "every", "agents", "queues"], self.sink)?;
        for key in ["start", "every"] {
            if !keys.has(key) {
                let hint = "write `{ start: \"2026-11-23T09:00\", every: 1w, agents: [ann] }`";
                self.sink.error(keys.at, format!("a rotation without `{key}`"), hint);
            }
        }
        let (kind, node) = match (keys.get("agents"), keys.get("queues")) {
            (Some(n), None) => (Kind::Agent, n),
            (None, Some(n)) => (Kind::Queue, n),
            _ => {
                self.sink.error(keys.at, "a rotation needs either `agents` or `queues`", "write one of them");
                return None;
            }
        };
        let items = list(node, "a rotation", self.sink)?;
        if items.is_empty() {
            self.sink.error(&node.at, "a rotation without members", "list at least one");
        }
        let what = if kind == Kind::Agent { "an agent" } else { "a queue" };
        let names: Vec<String> = items.iter().filter_map(|n| self.name(n, kind, what)).collect();
        Some(Rotation {
            zone: zone.clone(),
            start: self.start(keys.get("start")?)?,
            every_ms: duration(keys.get("every")?, "`every`", 60 * SECOND, self.sink)?,
            members: if kind == Kind::Agent { Members::Agents(names) } else { Members::Queues(names) },
        })
    }

    fn start(&mut self, node: &Node) -> Option<jiff::civil::DateTime> {
        let t = text(node, "the start of a rotation", self.sink)?;
        // An offset would say a second time what the pack's zone says.
        let start = t.parse::<jiff::civil::DateTime>().ok().filter(|_| t.len() >= 16 && !t.ends_with('Z'));
        if start.is_none() {
            let hint = "write the wall-clock time in the pack's zone, such as \"2026-11-23T09:00\"";
            self.sink.error(&node.at, format!("`{}` is not a start", short(t)), hint);
        }
        start
    }
}

/// `{ rotation: id }` or an id.
pub(crate) enum IdOrRotation {
    Id(String),
    Rotation(String),
}

impl PeopleReader<'_> {
    pub(crate) fn id_or_rotation(&mut self, node: &Node, what: &str) -> Option<IdOrRotation> {
        match &node.value {
            Value::Text(t) => {
                check_id(&node.at, t, &format!("the id of {what}"), self.sink).then(|| IdOrRotation::Id(t.clone()))
            }
            Value::Map(_) => {
                let keys = keys(node, what, &["rotation"], self.sink)?;
                let Some(n) = keys.get("rotation") else {
                    map(node, what, self.sink)?;
                    self.sink.error(keys.at, format!("{what} without a name"), "write an id, or { rotation: id }");
                    return None;
                };
                self.name(n, Kind::Rotation, "a rotation").map(IdOrRotation::Rotation)
            }
            Value::Bad => None,
            Value::List(_) => {
                let message = format!("{what} must be an id, not {}", shape(node));
                self.sink.error(&node.at, message, "write one id, or { rotation: id }");
                None
            }
        }
    }
}
