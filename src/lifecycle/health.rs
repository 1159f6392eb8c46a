//! `/healthz`, `/readyz` and `/metrics` of the private listener.

use super::adapters::Adapters;
use super::trouble::Troubles;
use crate::clock;
use crate::history::HistoryHandle;
use crate::http::api::resume_command;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::router::{RouterHandle, Standing};
use axum::Router;
use axum::extract::State as Extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use switchboard_envelope::Timestamp;
use switchboard_routing_rules::state::Rebase;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a probe waits for the log; who asks while a question hangs longer is told so at once.
const PATIENCE: Duration = Duration::from_secs(1);

type Answered = watch::Receiver<Option<Result<(), String>>>;

/// Asks the log whether it takes writes, one question at a time: a log that does not answer keeps no probe waiting behind another.
#[derive(Clone)]
pub struct Probe {
    log: Arc<dyn Log>,
    asked: Arc<Mutex<Option<(Instant, Answered)>>>,
}

impl Probe {
    #[must_use]
    pub fn of(log: Arc<dyn Log>) -> Probe {
        Probe { log, asked: Arc::default() }
    }

    async fn writable(&self) -> Result<(), String> {
        let (asked, mut answer) = self.question();
        let answered = tokio::time::timeout_at(asked + PATIENCE, answer.wait_for(Option::is_some)).await;
        match answered {
            Ok(Ok(answer)) => answer.clone().unwrap_or(Ok(())),
            Ok(Err(_)) => Err("the question was dropped".into()),
            Err(_) => Err(format!("no answer for {:.1} s", asked.elapsed().as_secs_f64())),
        }
    }

    /// The question that is not answered yet, else a new one.
    fn question(&self) -> (Instant, Answered) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, answer)) = asked.as_ref().filter(|(_, answer)| answer.borrow().is_none()) {
            return (*at, answer.clone());
        }
        let (tell, answer) = watch::channel(None);
        let (log, now) = (self.log.clone(), Instant::now());
        tokio::spawn(async move {
            let done = log.put_cursor("readyz", &clock::now().0.to_string()).await;
            tell.send_replace(Some(done.map_err(|e| e.to_string())));
        });
        *asked = Some((now, answer.clone()));
        (now, answer)
    }
}

/// A rebase is told this long.
const REBASED_MS: i64 = 7 * 86_400_000;
/// How long after the leader another process may see that IN is another.
const SEEN_LATE_MS: i64 = 60_000;

#[derive(Clone)]
pub struct Health {
    pub probe: Probe,
    pub metrics: Arc<Metrics>,
    pub history: HistoryHandle,
    pub router: RouterHandle,
    /// Whether this process should be ready to lead.
    pub may_lead: bool,
    pub draining: watch::Receiver<bool>,
    /// Why nothing may be sent from here.
    pub clock_wrong: watch::Receiver<Option<String>>,
    pub adapters: Adapters,
    /// What goes wrong on channels.
    pub troubles: Troubles,
}

pub fn routes(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health)
}

/// What to do after a rebase. A loss is told with the rebase at which it was found, for as long as that is told.
fn of_rebase(rebased: &Rebase, now: Timestamp) -> String {
    let lost = match rebased.lost_at.filter(|at| now.since(*at) < REBASED_MS) {
        Some(at) if at == rebased.at => ", and ask customers what was lost".to_owned(),
        Some(at) => format!("; at the rebase of {at} something was lost: ask customers what"),
        None => "; nothing else was lost".to_owned(),
    };
    format!("the log was rebased at {}: look at the dead letters{lost}", rebased.at)
}

/// That records of IN are gone which nobody had decided, unless the rebase that found a loss tells of it. Who follows the leader sees
/// the other IN at times after the leader has rebased.
fn of_in(lost_at: Option<Timestamp>, told: Option<Timestamp>, now: Timestamp) -> Option<String> {
    let at =
        lost_at.filter(|at| now.since(*at) < REBASED_MS && told.is_none_or(|told| told.plus(SEEN_LATE_MS) < *at))?;
    Some(format!(
        "IN was another at {at} than this process had read: what had come in and was not decided may be gone, ask customers"
    ))
}

/// What goes wrong on a channel, a line each. Why it is paused is what its attempts met.
fn of_channel(
    id: &str,
    paused: Option<&str>,
    sending: Option<String>,
    receiving: Option<String>,
) -> impl Iterator<Item = String> {
    let first = match paused {
        Some(why) => Some(format!("channel {id} is paused: {}; then: {}", why.replace('`', ""), resume_command(id))),
        None => sending.map(|why| format!("channel {id}: {why}")),
    };
    first.into_iter().chain(receiving.map(|why| format!("channel {id}: {}", why.replace('`', ""))))
}

/// Ready: the log takes writes, history follows, nothing keeps this process from leading if it should be able to, and nobody
/// asked us to stop. That nobody leads is said, and is no reason to send providers elsewhere: what they bring is kept.
async fn ready(Extract(h): Extract<Health>) -> Response {
    let mut problems = vec![];
    if *h.draining.borrow() {
        problems.push("the daemon is stopping".to_owned());
    }
    if let Err(error) = h.probe.writable().await {
        problems.push(format!("the log cannot be written: {error}"));
    }
    if let Some(why) = &*h.router.unwritten.borrow() {
        problems.push(format!("nothing is decided: the log does not take the router's frame: {why}"));
    }
    if h.history.is_stuck() {
        problems.push("history cannot follow the log".to_owned());
    }
    if let Some(why) = &*h.clock_wrong.borrow() {
        problems.push(format!("nothing is sent from here: {why}"));
    }
    let unclaimed = h.router.unclaimed.borrow().clone();
    let mut notes = vec![match &*h.router.standing.borrow() {
        Standing::Leads => "leads".to_owned(),
        Standing::Follows(by) => format!("follows {by}"),
        Standing::Vacant { hindered: Some(why) } if h.may_lead => {
            problems.push(format!("the router cannot lead: {why}"));
            "leads not".to_owned()
        }
        Standing::Vacant { .. } => "nobody leads the workspace".to_owned(),
    }];
    // What providers bring is kept and decided.
    notes.extend(unclaimed.map(|why| format!("nothing is sent: claims have no room: {why}")));
    let state = h.router.state.recent().1;
    if h.probe.log.doubt().is_doubted() {
        notes.push(
            "the log is not the one that this process read: nothing is sent until a router has rebased it".to_owned(),
        );
    }
    let now = clock::now();
    notes.extend(state.rebased.filter(|r| now.since(r.at) < REBASED_MS).map(|r| of_rebase(&r, now)));
    let told = state.rebased.and_then(|r| r.lost_at);
    notes.extend(of_in(h.probe.log.doubt().in_lost_at(), told, now));
    // The other channels go on without it, so this is a note too.
    let silent = h.adapters.all(clock::now()).into_iter().filter(|(_, up)| !up);
    notes.extend(silent.map(|(id, _)| format!("channel {id} is down: nothing is heard of who serves it")));
    for (id, c) in state.channels.iter().filter(|(_, c)| !c.removed) {
        let sending = Troubles::sending_in_short(&state, id);
        notes.extend(of_channel(id, c.paused.as_deref(), sending, h.troubles.receiving(&state, id)));
    }
    let unheard = h.adapters.all(clock::now()).into_iter().filter(|(id, up)| *up && h.adapters.unheard(id));
    notes.extend(unheard.map(|(id, _)| format!("channel {id} is not heard of yet: start its adapter")));
    if problems.is_empty() {
        return format!("ready\n{}\n", notes.join("\n")).into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, problems.join("\n") + "\n").into_response()
}

async fn metrics(Extract(h): Extract<Health>) -> Response {
    h.adapters.all(clock::now()).iter().for_each(|(channel, up)| h.metrics.adapter(channel, *up));
    h.troubles.mailboxes.all().iter().for_each(|(channel, trouble)| h.metrics.adapter(channel, trouble.is_none()));
    let (seq, state) = h.router.state.recent();
    let text = tokio::task::spawn_blocking(move || h.metrics.text(seq, &state, clock::now())).await.unwrap_or_default();
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::memory::{MemoryLog, MemoryOptions};

    #[test]
    fn a_rebase_that_lost_something_is_not_said_to_have_lost_nothing() {
        let at = Timestamp(1_795_219_200_000);
        let none = Rebase { number: 1, at, frame: 9, out: 3, inn: 20, cut_inn: None, lost_at: None };
        let said = of_rebase(&none, at);
        assert!(
            said.contains("rebased at 2026-11-21") && said.ends_with("look at the dead letters; nothing else was lost"),
            "{said}"
        );
        let lost = Rebase { lost_at: Some(at), ..none };
        assert!(of_rebase(&lost, at).ends_with("look at the dead letters, and ask customers what was lost"));
    }

    #[test]
    fn a_loss_is_told_with_the_rebase_at_which_it_was_found_and_as_long_as_that_is() {
        let (day, lost_at) = (86_400_000, Timestamp(1_795_219_200_000));
        let moved = |days: i64| {
            let at = lost_at.plus(days * day);
            of_rebase(
                &Rebase { number: 2, at, frame: 9, out: 3, inn: 20, cut_inn: Some(20), lost_at: Some(lost_at) },
                at,
            )
        };
        let said = moved(2);
        assert!(said.starts_with("the log was rebased at 2026-11-23"), "{said}");
        assert!(said.contains("; at the rebase of 2026-11-21T") && said.ends_with("ask customers what"), "{said}");
        let said = moved(365);
        assert!(said.ends_with("look at the dead letters; nothing else was lost"), "a year later: {said}");
    }

    #[test]
    fn what_in_lost_before_it_was_decided_is_told_where_no_rebase_tells_of_a_loss() {
        let (at, day) = (Timestamp(1_795_219_200_000), 86_400_000);
        assert_eq!(of_in(None, None, at), None);
        for told in [None, Some(at.plus(-day))] {
            let said = of_in(Some(at), told, at.plus(day)).expect("a note");
            assert!(said.starts_with("IN was another at 2026-11-21T") && said.ends_with("ask customers"), "{said}");
        }
        assert_eq!(of_in(Some(at), Some(at.plus(5000)), at.plus(day)), None, "the rebase says so");
        assert_eq!(
            of_in(Some(at), Some(at.plus(-20_000)), at.plus(day)),
            None,
            "it saw what the leader had rebased by then"
        );
        assert_eq!(of_in(Some(at), None, at.plus(8 * day)), None, "for a week");
    }

    #[test]
    fn every_trouble_of_a_channel_is_a_line_and_a_pause_says_what_ends_it() {
        let told = |paused, sending: Option<&str>, receiving: Option<&str>| {
            let owned = |why: Option<&str>| why.map(str::to_owned);
            of_channel("mail", paused, owned(sending), owned(receiving)).collect::<Vec<_>>()
        };
        let (sending, unread) =
            (Some("the last 5 attempts to send failed"), Some("its mailbox cannot be read: refused"));
        assert_eq!(told(None, None, None), Vec::<String>::new());
        assert_eq!(
            told(None, sending, unread),
            ["channel mail: the last 5 attempts to send failed", "channel mail: its mailbox cannot be read: refused"]
        );
        assert_eq!(
            told(Some("535: check `smtp.password`"), sending, unread),
            [
                "channel mail is paused: 535: check smtp.password; then: switchboard channels resume mail",
                "channel mail: its mailbox cannot be read: refused"
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_hangs_is_said_to_after_a_second_and_then_at_once() {
        let probe = Probe::of(Arc::new(MemoryLog::new(&MemoryOptions::default())));
        assert_eq!(probe.writable().await, Ok(()));
        // A question that nobody answers.
        let (tell, answer) = watch::channel(None);
        *probe.asked.lock().expect("free") = Some((Instant::now(), answer));
        let began = Instant::now();
        assert!(probe.writable().await.is_err_and(|why| why.contains("no answer")));
        assert_eq!(began.elapsed(), PATIENCE);
        let began = Instant::now();
        assert!(probe.writable().await.is_err());
        assert_eq!(began.elapsed(), Duration::ZERO, "the state is known");
        tell.send_replace(Some(Ok(())));
        assert_eq!(probe.writable().await, Ok(()), "and it is asked again once it answered");
    }
}
