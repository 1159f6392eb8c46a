//! What assigning costs: an agent closes a conversation and is given the next one, with few and with many agents, and with few and
//! with many who wait. Every agent is full meanwhile, as on the day on which it matters; or only those few are who have both of the
//! skills that a rule wants of them, while all others have one of them and are free.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::time::Instant;
use switchboard_envelope::{
    Action, Actor, Address, ChannelProfile, Command, Content, Inbound, Message, Scope, Timestamp, Visibility,
};
use switchboard_routing_rules::event::{Presence, Public};
use switchboard_routing_rules::ids::{ConvId, Salt};
use switchboard_routing_rules::pack::Environment;
use switchboard_routing_rules::{Input, RulePack, State, decide};

const START: Timestamp = Timestamp(1_795_600_800_000);
/// Agents, and conversations that wait.
const SIZES: [(usize, usize); 4] = [(50, 2_000), (1_000, 2_000), (50, 100_000), (1_000, 100_000)];
const QUEUES: usize = 10;
const CAPACITY: usize = 5;
/// Agents with all skills, where hardly anybody has them.
const EXPERTS: usize = 10;
/// What an assignment may cost at the median, in microseconds, and how much more with the most agents than with the fewest, and with
/// the most who wait: the ratios of the logarithms.
const MAX_US: f64 = 50.0;
const MAX_OF_AGENTS: f64 = 1.8;
const MAX_OF_WAITING: f64 = 1.5;

/// What is wanted of agents, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// A skill of the queue.
    Queues,
    /// Two skills that a rule adds to what its queue wants.
    Rules,
}

impl Shape {
    const ALL: [Shape; 2] = [Shape::Queues, Shape::Rules];

    fn name(self) -> &'static str {
        match self {
            Shape::Queues => "of queues",
            Shape::Rules => "of rules",
        }
    }

    fn pack(self, agents: usize) -> Result<RulePack, Box<dyn Error>> {
        match self {
            Shape::Queues => loaded(skilled_queues(agents)),
            Shape::Rules => loaded(skilled_by_rules(agents)),
        }
    }

    /// Agents who take what is written.
    fn working(self, agents: usize) -> usize {
        match self {
            Shape::Queues => agents,
            Shape::Rules => EXPERTS,
        }
    }
}

fn loaded(yaml: String) -> Result<RulePack, Box<dyn Error>> {
    let loaded = RulePack::load(&[("pack.yaml".to_owned(), yaml.into_bytes())], &Environment::default());
    Ok(loaded.map_err(|p| p.iter().take(3).map(|p| format!("{p}\n")).collect::<String>())?.pack)
}

/// The first few have both skills of each rule, and everybody else has one of them.
fn skilled_by_rules(agents: usize) -> String {
    let mut yaml =
        String::from("zone: UTC\nqueues:\n  everyone: { ageing: 30m, sla: { first_response: 15m } }\nagents:\n");
    for a in 0..agents {
        let has = |q: usize| match a < EXPERTS {
            true => format!("a{q}: 1, b{q}: 1"),
            false => format!("{}{q}: 1", if (a + q).is_multiple_of(2) { "a" } else { "b" }),
        };
        let skills: Vec<String> = (0..=QUEUES).map(has).collect();
        yaml.push_str(&format!("  a{a}: {{ skills: {{ {} }}, capacity: {CAPACITY} }}\n", skills.join(", ")));
    }
    yaml.push_str("rules:\n");
    for q in 0..=QUEUES {
        yaml.push_str(&format!(
            "  - {{ name: Q{q}, when: {{ text: {{ word: q{q} }} }}, then: {{ queue: everyone, skills: [a{q}, b{q}] }} }}\n"
        ));
    }
    yaml.push_str("default: { queue: everyone }\n");
    yaml
}

fn skilled_queues(agents: usize) -> String {
    let strategy = ["least_loaded", "round_robin", "longest_idle"];
    let mut yaml = String::from("zone: UTC\nqueues:\n  everyone: {}\n");
    for q in 0..QUEUES {
        let s = strategy.get(q % 3).copied().unwrap_or_default();
        yaml.push_str(&format!(
            "  q{q}: {{ skills: [s{q}], strategy: {s}, ageing: 30m, sla: {{ first_response: 15m }} }}\n"
        ));
    }
    yaml.push_str("agents:\n");
    for a in 0..agents {
        let (first, second) = (a % QUEUES, (a / QUEUES * 7 + 3) % QUEUES);
        let second = if first == second { (second + 1) % QUEUES } else { second };
        yaml.push_str(&format!("  a{a}: {{ skills: {{ s{first}: 2, s{second}: 1 }}, capacity: {CAPACITY} }}\n"));
    }
    yaml.push_str("rules:\n");
    for q in 0..QUEUES {
        yaml.push_str(&format!("  - {{ name: Q{q}, when: {{ text: {{ word: q{q} }} }}, then: {{ queue: q{q} }} }}\n"));
    }
    yaml.push_str("default: { queue: everyone }\n");
    yaml
}

struct Life {
    pack: RulePack,
    state: State,
    seq: u64,
    /// Who owns what, as assigned.
    owned: Vec<ConvId>,
}

impl Life {
    fn new(shape: Shape, agents: usize) -> Result<Life, Box<dyn Error>> {
        let pack = shape.pack(agents)?;
        let channels = BTreeMap::from([("sms".to_owned(), ChannelProfile::new("sms", "phone"))]);
        let lead = Input::Lead { now: START, incarnation: 1, channels: &channels };
        let state = decide(State::new(Salt([7; 16])), &lead, &pack).after;
        Ok(Life { pack, state, seq: 0, owned: Vec::new() })
    }

    /// Decides, and gives the microseconds it took and how many were assigned.
    fn hear(&mut self, inbound: &Inbound) -> (f64, usize) {
        self.seq += 1;
        let stored_at = START.plus(i64::try_from(self.seq).unwrap_or(i64::MAX));
        let input = Input::Record { seq: self.seq, stored_at, inbound, candidate: None };
        let state = std::mem::replace(&mut self.state, State::new(Salt([7; 16])));
        let began = Instant::now();
        let decision = decide(state, &input, &self.pack);
        let took = began.elapsed().as_secs_f64() * 1e6;
        self.state = decision.after;
        let assigned = decision.events.iter().filter_map(|e| match &e.public {
            Public::Assigned { conv, .. } => Some(*conv),
            _ => None,
        });
        let before = self.owned.len();
        self.owned.extend(assigned);
        (took, self.owned.len() - before)
    }

    fn writes(&mut self) {
        let n = self.seq;
        let phone = format!("+1555{n:07}");
        let message = Message {
            id: format!("sms:message:SM{n:032x}"),
            channel: "sms".into(),
            thread: phone.clone(),
            at: START,
            received_at: START,
            from: Address::new("phone", phone),
            to: None,
            content: Content::text(format!("about q{} please", n.wrapping_mul(31) % (QUEUES as u64 + 1))),
            references: vec![],
            provider_id: None,
            visibility: Visibility::Private,
            automatic: false,
            authenticated: None,
            meta: BTreeMap::new(),
            raw: None,
            traceparent: None,
            mail: None,
        };
        self.hear(&Inbound::Message(Box::new(message)));
    }

    fn asks(&mut self, action: Action) -> (f64, usize) {
        let command = Command {
            id: format!("api:command:{}", self.seq),
            channel: "api".into(),
            at: START,
            actor: Actor { agent: None, token: None, scope: Scope::Admin },
            action,
            body_hash: None,
            traceparent: None,
        };
        self.hear(&Inbound::Command(Box::new(command)))
    }

    fn full(&mut self, shape: Shape, agents: usize, waiting: usize) {
        for _ in 0..waiting + shape.working(agents) * CAPACITY {
            self.writes();
        }
        for a in 0..agents {
            let presence = Presence::Available.as_str().to_owned();
            self.asks(Action::Presence { agent: format!("a{a}"), presence });
        }
    }
}

fn quantile(took: &mut [f64], share: f64) -> f64 {
    took.sort_by(f64::total_cmp);
    let at = (took.len() as f64 * share) as usize;
    took.get(at.min(took.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// What one size cost: agents, those who wait, the median and the slowest hundredth.
type Row = (usize, usize, f64, f64);

/// How much more the median is where `grows` is larger and `stays` the same, at worst.
fn worst_ratio(rows: &[Row], grows: fn(&Row) -> usize, stays: fn(&Row) -> usize) -> f64 {
    let pairs = rows.iter().flat_map(|few| rows.iter().map(move |many| (few, many)));
    let grown = pairs.filter(|(few, many)| stays(few) == stays(many) && grows(few) < grows(many));
    grown.map(|(few, many)| many.2 / few.2).fold(0.0, f64::max)
}

/// Assignments at each size and of each shape, and whether they keep what is promised.
///
/// # Errors
/// When the pack does not load, or agents who are free are given nothing.
pub(crate) fn measure(decisions: usize, smoke: bool) -> Result<Value, Box<dyn Error>> {
    let (mut sizes, mut most, mut of_agents, mut of_waiting) = (vec![], 0.0_f64, 0.0_f64, 0.0_f64);
    let round = |n: f64| (n * 100.0).round() / 100.0;
    for shape in Shape::ALL {
        let rows = SIZES
            .into_iter()
            .map(|(agents, waiting)| row(shape, agents, if smoke { waiting / 50 } else { waiting }, decisions))
            .collect::<Result<Vec<Row>, _>>()?;
        of_agents = of_agents.max(worst_ratio(&rows, |r| r.0, |r| r.1));
        of_waiting = of_waiting.max(worst_ratio(&rows, |r| r.1, |r| r.0));
        most = rows.iter().map(|r| r.2).fold(most, f64::max);
        sizes.extend(rows.iter().map(|(agents, waiting, median, p99)| {
            json!({
                "skills": shape.name(), "agents": agents, "waiting": waiting,
                "median_us": round(*median), "p99_us": round(*p99),
            })
        }));
    }
    Ok(json!({
        "decisions": decisions, "sizes": sizes, "worst_us": round(most), "ratio_of_agents": round(of_agents),
        "ratio_of_waiting": round(of_waiting),
        "kept": most <= MAX_US && of_agents <= MAX_OF_AGENTS && of_waiting <= MAX_OF_WAITING,
        "promised": { "us": MAX_US, "ratio_of_agents": MAX_OF_AGENTS, "ratio_of_waiting": MAX_OF_WAITING },
    }))
}

/// So many assignments of one size.
fn row(shape: Shape, agents: usize, waiting: usize, decisions: usize) -> Result<Row, Box<dyn Error>> {
    let mut life = Life::new(shape, agents)?;
    life.full(shape, agents, waiting);
    let (mut took, mut next) = (Vec::with_capacity(decisions), 0);
    for n in 0..decisions + decisions / 4 {
        let Some(conv) = life.owned.get(next).copied() else { return Err("nobody owns anything".into()) };
        next += 1;
        let (us, assigned) = life.asks(Action::Close { conversation: conv.to_string() });
        if assigned != 1 {
            let which = shape.name();
            return Err(
                format!("{which}: {agents} agents, {waiting} waiting: a close led to {assigned} assignments").into()
            );
        }
        // The first ones fill caches.
        if n >= decisions / 4 {
            took.push(us);
        }
        life.writes();
    }
    let (median, p99) = (quantile(&mut took, 0.5), quantile(&mut took, 0.99));
    Ok((agents, waiting, median, p99))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_with_agents_is_not_excused_by_those_who_wait() {
        let rows = [(50, 10, 4.0, 0.0), (1_000, 10, 10.0, 0.0), (50, 99, 4.4, 0.0), (1_000, 99, 8.8, 0.0)];
        assert_eq!(worst_ratio(&rows, |r| r.0, |r| r.1), 2.5, "agents");
        assert!((worst_ratio(&rows, |r| r.1, |r| r.0) - 1.1).abs() < 1e-9, "those who wait");
    }

    #[test]
    fn each_shape_gives_one_for_each_that_is_closed() {
        for shape in Shape::ALL {
            let (_, _, median, _) = row(shape, 50, 40, 40).expect("agents who are given something");
            assert!(median > 0.0);
        }
    }
}
