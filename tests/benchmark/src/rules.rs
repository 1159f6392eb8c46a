//! What a decision costs with a few rules and with very many: the same messages, in turn, so that a slow moment of the machine
//! slows both. Not the rules alone are measured but whole decisions, with everything that follows from them.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::time::Instant;
use switchboard_envelope::{Address, ChannelProfile, Content, Inbound, Message, Timestamp, Visibility};
use switchboard_routing_rules::ids::Salt;
use switchboard_routing_rules::pack::Environment;
use switchboard_routing_rules::{Input, RulePack, State, decide};

const FEW: usize = 100;
const MANY: usize = 10_000;
const START: Timestamp = Timestamp(1_795_600_800_000);

/// What a decision may cost with [`MANY`] rules, in microseconds and as a multiple of its cost with [`FEW`].
const MAX_US: f64 = 20.0;
const MAX_RATIO: f64 = 3.0;

/// How rules are written, by what they ask for. The first is a pack with some of each.
const SHAPES: [&str; 6] = ["mixed", "words", "patterns", "values", "ranges", "combinations"];

fn when(shape: &str, n: usize) -> String {
    match shape {
        "mixed" => when(SHAPES.get(1 + n % 5).copied().unwrap_or("words"), n),
        "words" => format!("channel: [sms, c{}], text: {{ word: w{n} }}, not: {{ contact.tags: blocked }}", n % 7),
        "patterns" => format!("content: {{ matches: '(?i)\\border-{n:05}\\b' }}, hours: {{ office: open }}"),
        "values" => format!("kind: sms, from: {{ suffix: '9{n:05}' }}, automatic: false"),
        "ranges" => format!("meta.score: {{ gte: {n}, lt: {} }}, visibility: private", n + 1),
        // Nothing in it is rare by itself.
        _ => format!(
            "channel: [sms, x{}], language: [{}], weekday: [{}], meta.plan: p{}, meta.region: r{}, messages: {{ gte: {} }}",
            n % 3,
            ["en", "de", "fr"][n % 3],
            ["mon-fri", "sat", "sun-wed"][n / 3 % 3],
            n / 9 % 20,
            n / 180 % 20,
            n / 3_600
        ),
    }
}

fn pack(shape: &str, rules: usize) -> Result<RulePack, Box<dyn Error>> {
    let mut yaml =
        "zone: Europe/Paris\nqueues: { everyone: {}, other: {} }\nagents: { ann: { capacity: 5 } }\ndefault: { queue: \
                    everyone }\nhours: { office: { week: { mon-fri: \"08:00-20:00\" } } }\nrules:\n"
            .to_owned();
    for n in 0..rules {
        yaml.push_str(&format!("  - {{ name: R{n}, when: {{ {} }}, then: {{ queue: other }} }}\n", when(shape, n)));
    }
    let loaded = RulePack::load(&[("pack.yaml".to_owned(), yaml.into_bytes())], &Environment::default());
    Ok(loaded.map_err(|p| p.iter().take(3).map(|p| format!("{p}\n")).collect::<String>())?.pack)
}

/// A customer's message; two of three hit a rule that both packs have.
fn message(n: usize) -> Inbound {
    let rule = if n.is_multiple_of(3) { usize::MAX / 2 } else { n * 31 % FEW };
    let person = n % 5_000;
    let phone = format!("+1555{person:06}9{:05}", rule % MANY);
    let text = format!(
        "Hello, I am writing about w{rule} and my order-{:05}: when will it arrive? Thank you very much",
        rule % 1_000_000
    );
    let meta = [
        ("score", rule.to_string()),
        ("plan", format!("p{}", n % 20)),
        ("region", format!("r{}", n % 23)),
        ("language", ["en", "de", "fr"][n % 3].to_owned()),
    ];
    Inbound::Message(Box::new(Message {
        id: format!("sms:message:SM{n:032x}"),
        channel: "sms".into(),
        thread: phone.clone(),
        at: START,
        received_at: START,
        from: Address::new("phone", phone),
        to: None,
        content: Content::text(text),
        references: vec![],
        provider_id: None,
        visibility: Visibility::Private,
        automatic: false,
        authenticated: None,
        meta: meta.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        raw: None,
        traceparent: None,
        mail: None,
    }))
}

/// A life under one pack.
struct Life {
    pack: RulePack,
    state: State,
    took: Vec<f64>,
}

impl Life {
    fn new(shape: &str, rules: usize) -> Result<Life, Box<dyn Error>> {
        let pack = pack(shape, rules)?;
        let channels = BTreeMap::from([("sms".to_owned(), ChannelProfile::new("sms", "phone"))]);
        let lead = Input::Lead { now: START, incarnation: 1, channels: &channels };
        let state = decide(State::new(Salt([7; 16])), &lead, &pack).after;
        Ok(Life { pack, state, took: Vec::new() })
    }

    fn hear(&mut self, n: usize, inbound: &Inbound) {
        let seq = n as u64 + 1;
        let input = Input::Record { seq, stored_at: START.plus(seq as i64), inbound, candidate: None };
        let state = std::mem::replace(&mut self.state, State::new(Salt([7; 16])));
        let began = Instant::now();
        let decision = decide(state, &input, &self.pack);
        self.took.push(began.elapsed().as_secs_f64() * 1e6);
        self.state = decision.after;
    }

    fn quantile(&mut self, share: f64) -> f64 {
        self.took.sort_by(f64::total_cmp);
        let at = (self.took.len() as f64 * share) as usize;
        self.took.get(at.min(self.took.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

/// Decisions of each shape; an error when one costs more than is promised.
///
/// # Errors
/// When a pack does not load.
pub(crate) fn measure(messages: usize) -> Result<Value, Box<dyn Error>> {
    let mut shapes = BTreeMap::new();
    let (mut worst_us, mut worst_ratio) = (0.0_f64, 0.0_f64);
    for shape in SHAPES {
        let began = Instant::now();
        let (mut few, mut many) = (Life::new(shape, FEW)?, Life::new(shape, MANY)?);
        let load_ms = began.elapsed().as_secs_f64() * 1e3;
        // The first ones fill caches and compile patterns.
        for n in 0..messages + messages / 4 {
            if n == messages / 4 {
                few.took.clear();
                many.took.clear();
            }
            let inbound = message(n);
            few.hear(n, &inbound);
            many.hear(n, &inbound);
        }
        let (a, b) = (few.quantile(0.5), many.quantile(0.5));
        worst_us = worst_us.max(b);
        worst_ratio = worst_ratio.max(b / a);
        shapes.insert(
            shape,
            json!({ "few_us": round(a), "many_us": round(b), "ratio": round(b / a), "many_p99_us": round(many.quantile(0.99)), "load_ms": load_ms.round() }),
        );
    }
    Ok(json!({
        "few": FEW, "many": MANY, "messages": messages, "shapes": shapes, "worst_us": round(worst_us), "worst_ratio": round(worst_ratio),
        "kept": worst_us <= MAX_US && worst_ratio <= MAX_RATIO, "promised": { "us": MAX_US, "ratio": MAX_RATIO },
    }))
}

fn round(n: f64) -> f64 {
    (n * 100.0).round() / 100.0
}
