//! `switchboard doctor`: looks at everything that commonly goes wrong, changes nothing, and says what to do. What is seen is gathered
//! here; what it means is judged by the modules below, from what was seen alone.

mod daemon;
mod finding;
mod here;
mod public;
mod work;

use super::api::Api;
use super::check::{self, Found, count};
use super::list::List;
use super::screen::{Screen, json};
use super::{ConfigArg, Done, Failure};
use crate::clock;
use crate::config::Environment;
use crate::http::api::Status;
use clap::Args;
use finding::{Finding, Level, of, render};
use serde_json::{Value, json};

/// Dead letters that are read to be counted.
const DEAD: usize = 1_000;
/// Records of the quarantine that are read: each comes with its beginning.
const HELD: usize = 20;

/// Looks at a running system, or at what is left of one that is stopped: what is at fault first, each with what to do. It changes
/// nothing. 1 when anything is at fault
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub async fn run(self, at: &ConfigArg, env: &Environment, screen: &mut Screen) -> Done {
        let configured = check::look(at, env);
        let mut found = vec![];
        let daemon = match Api::open(at, env) {
            Ok(api) => Seen::of(&api).await,
            Err(failure) => Err(failure),
        };
        let (unreachable, answered) = match daemon {
            Ok(seen) => (None, Some(seen)),
            Err(failure) => {
                found.push(no_answer(&failure));
                (Some(failure), None)
            }
        };
        if let Some(seen) = &answered {
            found.extend(seen.judged());
        }
        if here::is_its(&configured, env) {
            let down = matches!(unreachable, Some(Failure::Unreachable(_)));
            found.extend(on_this_machine(&configured, answered.as_ref(), down, screen).await);
        }
        found.sort_by_key(|f| f.level);
        self.tell(&found, unreachable, screen)
    }

    fn tell(&self, found: &[Finding], unreachable: Option<Failure>, screen: &mut Screen) -> Done {
        let (faults, warnings) = (of(found, Level::Fault), of(found, Level::Warning));
        if self.json {
            screen.out(&json(&json!({ "findings": found, "faults": faults, "warnings": warnings })));
        } else {
            screen.out(&render(found, screen.width));
        }
        let also = if warnings > 0 { format!(", {}", count(warnings, "warning")) } else { String::new() };
        match unreachable {
            // The others exit with 3 too when nobody answers.
            Some(Failure::Unreachable(_)) => Err(Failure::Unreachable(format!("{}{also}", count(faults, "fault")))),
            _ if faults > 0 => Err(Failure::Failed(format!("{}{also}", count(faults, "fault")))),
            _ if self.json => Ok(()),
            _ => {
                screen.out(&format!("nothing is at fault{also}"));
                Ok(())
            }
        }
    }
}

/// Why nobody was asked, or nobody answered.
fn no_answer(failure: &Failure) -> Finding {
    match failure {
        Failure::Unreachable(why) => Finding::fault(
            "daemon",
            why.strip_prefix("the daemon ").unwrap_or(why),
            "see `systemctl status switchboard` and its log, and start it; providers deliver again for hours what comes \
             meanwhile",
        ),
        Failure::Failed(why) | Failure::Usage(why) => {
            Finding::told(Level::Fault, "daemon", why.strip_prefix("the daemon ").unwrap_or(why))
        }
    }
}

/// Configuration, data directory and public address.
async fn on_this_machine(configured: &Found, seen: Option<&Seen>, down: bool, screen: &mut Screen) -> Vec<Finding> {
    let started = seen.and_then(|seen| seen.status.as_ref().ok()?.started_at);
    let daemon = if down { here::Daemon::Down } else { here::Daemon::Up(started) };
    let written = configured.config.as_ref().and_then(here::written);
    let mut found = here::configuration(configured, written, daemon, screen.now);
    if let Some(config) = &configured.config {
        found.extend(here::data(config, down, &mut |said| screen.err(said)).await);
        found.extend(public::all(config, screen.now).await);
    }
    found
}

/// What the daemon said, question by question.
struct Seen {
    /// Between the question for its status and the answer.
    now: switchboard_envelope::Timestamp,
    ready: (u16, String),
    metrics: String,
    status: Result<Status, Failure>,
    channels: Result<Vec<Value>, Failure>,
    dead: Result<(Vec<Value>, bool), Failure>,
    held: Result<Vec<Value>, Failure>,
    rules: Result<Value, Failure>,
}

impl Seen {
    /// Fails when nobody answers, or somebody who is not asked.
    async fn of(api: &Api) -> Result<Seen, Failure> {
        let ready = api.beside("/readyz").await?;
        api.get("/me").await?;
        let (before, status) = (clock::now(), api.get("/status").await);
        let now = before.plus(clock::now().since(before) / 2);
        let rows = async |path: &str, key: &str, limit: usize| {
            List { path, key, query: vec![], limit, empty: "" }.rows(api).await
        };
        Ok(Seen {
            now,
            ready,
            metrics: api.beside("/metrics").await.map(|(_, text)| text).unwrap_or_default(),
            status: status.and_then(|v| serde_json::from_value(v).map_err(|e| Failure::Failed(e.to_string()))),
            channels: rows("/channels", "channels", 100_000).await.map(|(rows, _)| rows),
            dead: rows("/dead-letters", "dead_letters", DEAD).await.map(|(rows, next)| (rows, !next.is_null())),
            held: rows("/quarantine", "quarantine", HELD).await.map(|(rows, _)| rows),
            rules: api.get("/rules").await,
        })
    }

    fn judged(&self) -> Vec<Finding> {
        let now = self.now;
        let mut found = daemon::ready(self.ready.0, &self.ready.1);
        let unanswered = |failure: &Failure| {
            let (Failure::Failed(why) | Failure::Usage(why) | Failure::Unreachable(why)) = failure;
            Finding::fault("daemon", format!("did not answer a question: {why}"), "see its log, and ask again")
        };
        match &self.status {
            Ok(status) => {
                found.extend(daemon::process(status, now, env!("CARGO_PKG_VERSION")));
                found.extend(daemon::log(status, now));
            }
            Err(failure) => found.push(unanswered(failure)),
        }
        found.extend(daemon::counted(&self.metrics));
        found.extend(self.channels.as_ref().map_or_else(|e| vec![unanswered(e)], |rows| work::channels(rows, now)));
        if let Ok(status) = &self.status {
            found.extend(work::waiting(status, now));
        }
        let dead = self.dead.as_ref();
        found.extend(dead.map_or_else(|e| vec![unanswered(e)], |(rows, more)| work::dead_letters(rows, *more, now)));
        let all = self.status.as_ref().map_or(0, |s| s.quarantined);
        found.push(self.held.as_ref().map_or_else(unanswered, |rows| work::quarantine(rows, all, now)));
        found.extend(self.rules.as_ref().map_or_else(|e| vec![unanswered(e)], |rules| work::rules(rules, now)));
        if let Ok(status) = &self.status {
            found.extend(daemon::machine(status));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::api::tests::{answer, answering};
    use super::*;

    fn told(found: &[Finding], unreachable: Option<Failure>, json: bool) -> (Done, String) {
        let mut screen = Screen::of_test(Some(80));
        let done = Doctor { json }.tell(found, unreachable, &mut screen);
        (done, screen.kept.unwrap_or_default())
    }

    #[test]
    fn warnings_are_no_failure_faults_are_and_nobody_is_told_apart() {
        let warning = Finding::warning("log", "seen", "do");
        let fault = Finding::fault("log", "seen", "do");
        assert_eq!(told(&[], None, false).0, Ok(()));
        let (done, said) = told(std::slice::from_ref(&warning), None, false);
        assert_eq!((done, said.as_str()), (Ok(()), "warning  log: seen → do\nnothing is at fault, 1 warning\n"));
        let failed = Failure::Failed("1 fault, 1 warning".into());
        assert_eq!(told(&[fault.clone(), warning], None, false).0, Err(failed));
        let gone = Failure::Unreachable("nobody".into());
        assert_eq!(
            told(std::slice::from_ref(&fault), Some(gone), false).0,
            Err(Failure::Unreachable("1 fault".into()))
        );
        let (_, said) = told(&[fault], None, true);
        let said: Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(said["faults"], 1);
        assert_eq!(said["findings"][0], json!({ "level": "fault", "about": "log", "seen": "seen", "then": "do" }));
    }

    #[tokio::test]
    async fn who_may_not_ask_is_told_so_and_a_question_without_an_answer_is_a_fault() {
        let ready = answer("200 OK", &json!("ready"));
        let (api, _) = answering(&[&ready, &answer("401 Unauthorized", &json!({}))]).await;
        assert!(matches!(Seen::of(&api).await, Err(Failure::Failed(why)) if why.contains("token")));
        let problem = answer("500 Internal Server Error", &json!({ "detail": "history is gone" }));
        let (api, _) = answering(&[&ready, &answer("200 OK", &json!({})), &problem]).await;
        let Ok(seen) = Seen::of(&api).await else { panic!("it answers") };
        let found = seen.judged();
        assert!(found.iter().any(|f| f.level == Level::Fault && f.seen.contains("history is gone")), "{found:?}");
    }
}
