//! How this process does, for whoever looks after it.

use super::api::Api;
use super::role::Role;
use crate::clock;
use crate::config::Config;
use crate::http::api::{Duplicates, HistoryStatus, LogStatus, Queue, Status, Unsettled};
use crate::log::frame::VERSION;
use crate::log::{Log, LogError, Store};
use crate::machine::Machine;
use crate::router::Standing;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use switchboard_envelope::Timestamp;
use switchboard_routing_rules::State;
use switchboard_routing_rules::event::PassedOver;
use switchboard_routing_rules::ids::ConvId;
use switchboard_routing_rules::pack::{ConvStatus, Skills};
use switchboard_routing_rules::state::InForce;
use switchboard_routing_rules::waiting;

/// What a process was started with, as far as it is told.
#[derive(Clone, Debug)]
pub struct Started {
    pub at: Timestamp,
    role: Role,
    data: PathBuf,
    on_nats: bool,
    format: u16,
    in_max_bytes: u64,
    duplicates: u64,
    max_connections: usize,
}

impl Started {
    #[must_use]
    pub fn with(config: &Config, role: Role) -> Started {
        Started {
            at: clock::now(),
            role,
            data: config.log.path.clone(),
            on_nats: config.log.nats.is_some(),
            format: config.log.format,
            in_max_bytes: config.limits.inbox,
            duplicates: config.limits.duplicates,
            max_connections: config.http.max_connections,
        }
    }
}

/// What only a walk over the whole state tells.
#[derive(Debug, Default, PartialEq)]
struct Walked {
    unsettled: Vec<Unsettled>,
    /// With the conversation that waits longest.
    queues: Vec<(Queue, ConvId)>,
}

/// Everything that waits: ours to be sent, and conversations that nobody owns.
fn walk(state: &State) -> Walked {
    let mut unsettled: BTreeMap<&str, Unsettled> = BTreeMap::new();
    for send in state.sends.values().filter(|s| !s.is_dead()) {
        let of = unsettled
            .entry(send.channel.as_str())
            .or_insert_with(|| Unsettled { channel: send.channel.clone(), ..Unsettled::default() });
        of.messages += 1;
        of.oldest_at = Some(of.oldest_at.map_or(send.at, |at| at.min(send.at)));
    }
    let mut queues: BTreeMap<&str, (Queue, ConvId)> = BTreeMap::new();
    for c in state.conversations.values().filter(|c| c.status == ConvStatus::Queued) {
        let Some(queue) = c.queue.as_deref() else { continue };
        let since = c.queued_at.get();
        let (of, first) = queues
            .entry(queue.as_str())
            .or_insert_with(|| (Queue { id: queue.clone(), oldest_at: since, ..Queue::default() }, c.id));
        of.waiting += 1;
        of.overdue += u64::from(c.clock.as_ref().is_some_and(|clock| clock.breached));
        if since < of.oldest_at {
            (of.oldest_at, *first) = (since, c.id);
        }
    }
    Walked { unsettled: unsettled.into_values().collect(), queues: queues.into_values().collect() }
}

/// Who could take what waits longest in a queue, now or ever.
fn staffed(queue: &mut Queue, first: ConvId, state: &State, packs: InForce<'_>) {
    let Some(waiting) = waiting::why(state, packs, first) else { return };
    queue.wanted = waiting.wanted.keys().cloned().collect();
    for (name, passed) in &waiting.agents {
        queue.agents += 1;
        let knows = packs.pack.agent(name).is_some_and(|agent| has(&agent.skills, &waiting.wanted));
        let there = !matches!(passed, Some(PassedOver::Away | PassedOver::Offline | PassedOver::Presence { .. }));
        queue.able += u64::from(knows);
        queue.there += u64::from(knows && there);
    }
}

fn has(skills: &Skills, wanted: &Skills) -> bool {
    wanted.iter().all(|(skill, level)| skills.get(skill).is_some_and(|have| have >= level))
}

/// How long a broker may take to tell what it holds; the rest is told without it.
const PATIENCE: Duration = Duration::from_secs(2);

/// How full IN is, and what the log's stores hold, as far as it is told in time.
async fn kept(log: &dyn Log) -> (Option<u32>, Vec<Store>) {
    let asked = async { tokio::join!(log.in_fill(), log.stores()) };
    let told = tokio::time::timeout(PATIENCE, asked).await;
    told.map_or_else(|_| (None, vec![]), |(fill, stores)| (fill.ok(), stores))
}

/// How a process does.
///
/// # Errors
/// When the pack cannot be read.
pub(super) async fn status(api: &Api) -> Result<Status, LogError> {
    let (frame, state) = api.router.state.latest();
    let walked = state.clone();
    let Walked { unsettled, queues: found } =
        tokio::task::spawn_blocking(move || walk(&walked)).await.unwrap_or_default();
    let mut queues = vec![];
    let pack = api.packs.by_hash(&api.log, &state.pack).await?;
    let tried = api.packs.tried(&api.log, &state).await?;
    for (mut queue, first) in found {
        if let Some(pack) = &pack {
            staffed(&mut queue, first, &state, InForce { pack, tried: tried.as_deref() });
        }
        queues.push(queue);
    }
    let started = &api.started;
    let (standing, leader) = match &*api.router.standing.borrow() {
        Standing::Leads => ("leads", None),
        Standing::Follows(by) => ("follows", Some(by.clone())),
        Standing::Vacant { .. } => ("vacant", None),
    };
    let history = &api.history;
    let data = started.data.clone();
    let (in_thousandths, stores) = kept(api.log.as_ref()).await;
    let machine = tokio::task::spawn_blocking(move || Machine::of_process(&data)).await.unwrap_or_default();
    Ok(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        workspace: api.workspace.clone(),
        role: started.role.name().to_owned(),
        process: std::process::id(),
        started_at: Some(started.at),
        now: Some(clock::now()),
        standing: standing.to_owned(),
        leader,
        history: HistoryStatus { behind: frame.saturating_sub(history.history().cursor()), stuck: history.is_stuck() },
        log: LogStatus {
            backend: if started.on_nats { "nats" } else { "embedded" }.to_owned(),
            durability: api.log.durability(),
            may_lose: api.log.may_lose(),
            format: started.format,
            newest_format: VERSION,
            in_thousandths,
            in_max_bytes: started.in_max_bytes,
            stores,
        },
        duplicates: Duplicates {
            remembered: u64::try_from(state.dups.len()).unwrap_or(u64::MAX),
            most: started.duplicates,
        },
        rebased_at: state.rebased.map(|r| r.at),
        lost_at: state.rebased.and_then(|r| r.lost_at),
        unsettled,
        queues,
        quarantined: u64::try_from(state.quarantine.len()).unwrap_or(u64::MAX),
        max_connections: u64::try_from(started.max_connections).unwrap_or(u64::MAX),
        machine,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::{SALT, conv, story, t};
    use switchboard_routing_rules::event::{ClockKind, Public};

    #[test]
    fn a_skill_is_had_at_its_level_or_above() {
        let skills = |all: &[(&str, u8)]| -> Skills { all.iter().map(|(s, l)| ((*s).to_owned(), *l)).collect() };
        let anns = skills(&[("french", 3), ("accounting", 1)]);
        assert!(has(&anns, &skills(&[])));
        assert!(has(&anns, &skills(&[("french", 3)])));
        assert!(!has(&anns, &skills(&[("french", 4)])), "too little");
        assert!(!has(&anns, &skills(&[("french", 1), ("german", 1)])), "not at all");
    }

    #[test]
    fn those_who_wait_are_counted_by_queue_and_ours_that_have_not_left_by_channel() {
        let mut state = State::new(SALT);
        story().into_iter().take(2).flat_map(|(_, events)| events).for_each(|event| state.apply(&event));
        let walked = walk(&state);
        let unsettled = Unsettled { channel: "sms".into(), messages: 1, oldest_at: walked.unsettled[0].oldest_at };
        assert_eq!(walked.unsettled, [unsettled]);
        let seen = |walked: &Walked| -> Vec<(String, u64, u64, ConvId)> {
            walked.queues.iter().map(|(q, first)| (q.id.clone(), q.waiting, q.overdue, *first)).collect()
        };
        let (billing, everyone) = (("billing".to_owned(), 1, 0, conv(1)), ("everyone".to_owned(), 1, 0, conv(2)));
        assert_eq!(seen(&walked), [billing, everyone.clone()]);
        state.apply(&Public::ClockBreached { conv: conv(1), clock: ClockKind::FirstResponse, again: t(900) }.into());
        assert_eq!(seen(&walk(&state)), [("billing".to_owned(), 1, 1, conv(1)), everyone]);
    }

    #[test]
    fn nothing_waits_in_an_empty_state() {
        assert_eq!(walk(&State::new(SALT)), Walked::default());
    }
}
