use super::check::count;
use super::screen::Screen;
use super::{Done, Failure};
use clap::{Args, Subcommand, builder::PossibleValuesParser};
use std::path::PathBuf;
use switchboard_conformance::{NAMES, On, Options, Plan, Report, Stopped, Verdict, check};

#[derive(Debug, Subcommand)]
pub(crate) enum Adapter {
    /// Drive an adapter in another process through what a broker and a provider do, and say what is wrong with it
    Check(Check),
}

/// Starts the adapter that the plan names, plays its provider and its daemon, and tells in sentences what is wrong. Everything is
/// on the loopback, and nothing of a running daemon is touched. docs/integrators.md has a plan and explains it.
///
/// Exit codes: 0 nothing is wrong, 1 something is, 2 the plan cannot be read, 3 there is no broker.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// What starts the adapter, and what its provider's requests look like; TOML
    #[arg(value_name = "PLAN")]
    plan: PathBuf,
    /// A broker that runs, with JetStream; without it, one is started for the check
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// What is started as the broker
    #[arg(long, value_name = "PROGRAM", env = "SWITCHBOARD_NATS_SERVER", default_value = "nats-server")]
    nats_server: PathBuf,
    /// Only these checks
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = PossibleValuesParser::new(NAMES))]
    only: Vec<String>,
    /// For machines
    #[arg(long)]
    json: bool,
}

impl Adapter {
    pub(crate) async fn run(self, screen: &mut Screen) -> Done {
        match self {
            Adapter::Check(check) => check.run(screen).await,
        }
    }
}

impl Check {
    async fn run(self, screen: &mut Screen) -> Done {
        let plan = Plan::read(&self.plan).map_err(|e| Failure::Usage(e.to_string()))?;
        let on = self.server.map_or(On::Own(self.nats_server), On::Running);
        let options = Options { on, only: self.only, clock: crate::clock::now };
        let json = self.json;
        // Shown as they fall: the whole takes half a minute.
        let mut told = |verdict: &Verdict| {
            if !json {
                screen.out(&line(verdict));
            }
        };
        let report = check(plan, options, &mut told).await.map_err(failure)?;
        screen.out(&if json { format!("{:#}", json_of(&report)) } else { summary(&report) });
        if report.is_good() { Ok(()) } else { Err(Failure::Failed(String::new())) }
    }
}

fn failure(stopped: Stopped) -> Failure {
    match stopped {
        Stopped::Broker(why) => Failure::Unreachable(why),
        other => Failure::Failed(other.to_string()),
    }
}

fn line(verdict: &Verdict) -> String {
    let word = match (&verdict.not_tried, verdict.problems.is_empty()) {
        (Some(_), _) => "-    ",
        (None, true) => "ok   ",
        (None, false) => "WRONG",
    };
    let mut text = format!("{word} {:<12} {}", verdict.name, verdict.title);
    if let Some(why) = &verdict.not_tried {
        text.push_str(&format!(" (not tried: {why})"));
    }
    for problem in &verdict.problems {
        text.push_str(&format!("\n      {}", problem.replace('\n', "\n        ")));
    }
    text
}

fn summary(report: &Report) -> String {
    let (hold, wrong, not_tried) = report.counts();
    let skipped = if not_tried == 0 { String::new() } else { format!(", {not_tried} not tried") };
    match wrong {
        0 => format!("{} hold{skipped}", count(hold, "check")),
        _ => format!("{} wrong, {hold} hold{skipped}", count(wrong, "check")),
    }
}

fn json_of(report: &Report) -> serde_json::Value {
    let (hold, wrong, not_tried) = report.counts();
    serde_json::json!({ "hold": hold, "wrong": wrong, "not_tried": not_tried, "checks": report.checks })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(problems: &[&str], not_tried: Option<&str>) -> Verdict {
        let problems = problems.iter().map(|p| (*p).to_owned()).collect();
        Verdict { name: "send", title: "an attempt is sent", problems, not_tried: not_tried.map(str::to_owned) }
    }

    #[test]
    fn verdicts_are_told_in_lines_and_counted() {
        let checks = vec![
            verdict(&[], None),
            verdict(&["it was\nnot", "nor this"], None),
            verdict(&[], Some("the plan has no `[call]`")),
        ];
        assert_eq!(line(&checks[0]), "ok    send         an attempt is sent");
        assert_eq!(
            line(&checks[1]),
            "WRONG send         an attempt is sent\n      it was\n        not\n      nor this"
        );
        assert!(line(&checks[2]).ends_with("(not tried: the plan has no `[call]`)"));
        let report = Report { checks };
        assert_eq!(summary(&report), "1 check wrong, 1 hold, 1 not tried");
        assert_eq!(json_of(&report)["checks"][1]["problems"][1], "nor this");
        assert_eq!(json_of(&report)["wrong"], 1);
        assert!(!report.is_good());
    }

    #[test]
    fn without_a_broker_nothing_can_be_said_of_the_adapter() {
        assert!(matches!(failure(Stopped::Broker("no".into())), Failure::Unreachable(_)));
        assert!(
            matches!(failure(Stopped::Adapter("no".into())), Failure::Failed(m) if m.starts_with("the adapter does not start"))
        );
    }
}
