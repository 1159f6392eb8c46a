//! The checks, in the order in which they are made.

mod inbound;
mod life;
mod outbound;

use crate::bench::Bench;
use crate::plan::Plan;
use crate::{Report, Stopped, Verdict};

/// Sentences on what is wrong; or that nothing more can be found out.
type Found = Result<Vec<String>, Stopped>;

struct Check {
    name: &'static str,
    title: &'static str,
    needs: Needs,
}

/// What the plan must say for a check.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    Deliver,
    Proof,
    Malformed,
    Call,
    Throttled,
    Rejected,
    OwnBroker,
    /// Something in IN, which only shows then.
    Records,
}

const fn check(name: &'static str, needs: Needs, title: &'static str) -> Check {
    Check { name, title, needs }
}

const CHECKS: [Check; 24] = [
    check("message", Needs::Deliver, "what a person writes is in IN before the provider is answered"),
    check("duplicates", Needs::Deliver, "a delivery that comes again has the same id"),
    check("reordering", Needs::Deliver, "what is older than what came before it is kept all the same"),
    check("burst", Needs::Deliver, "twenty deliveries at once all arrive"),
    check("forged", Needs::Proof, "who does not know the secret is refused"),
    check("malformed", Needs::Malformed, "what cannot be read is told with its bytes"),
    check("no-room", Needs::Deliver, "while IN takes nothing, nothing is confirmed"),
    check("send", Needs::Call, "an attempt is claimed, called once, acknowledged, and has a result"),
    check("redelivery", Needs::Call, "a record that is delivered twice is sent once"),
    check("claimed", Needs::Call, "an attempt of another edge is left to it"),
    check("too-late", Needs::Call, "nothing is sent after `until`"),
    check("throttled", Needs::Throttled, "a provider that asks for patience gets it from the router"),
    check("rejected", Needs::Rejected, "what the provider refuses for good is rejected, with its reason"),
    check("lost-answer", Needs::Call, "after a lost answer nobody pretends to know"),
    check("unreachable", Needs::Call, "what never left is not sent"),
    check("kept-result", Needs::Call, "a result outlasts an IN that takes nothing"),
    check("unreadable", Needs::Call, "a record that cannot be understood is acknowledged and left"),
    check("question", Needs::Call, "a `reconcile` is no attempt"),
    check("second-edge", Needs::Call, "two processes share a channel and send nothing twice"),
    check("no-answer", Needs::Call, "a provider that never answers is given up"),
    check("crash", Needs::Call, "death between claim and result sends nothing twice"),
    check("permissions", Needs::OwnBroker, "the account of an adapter is enough"),
    check("envelopes", Needs::Records, "everything in IN can be read by the router"),
    check("presence", Needs::Nothing, "it says every ten seconds that it is there"),
];

/// What `--only` may name.
pub const NAMES: [&str; CHECKS.len()] = {
    let mut names = [""; CHECKS.len()];
    let mut i = 0;
    while i < CHECKS.len() {
        #[expect(clippy::indexing_slicing, reason = "evaluated when it is compiled")]
        {
            names[i] = CHECKS[i].name;
        }
        i += 1;
    }
    names
};

impl Needs {
    /// Why it cannot be tried.
    fn lacks(self, plan: &Plan, own: bool) -> Option<String> {
        let deliver = plan.deliver.as_ref();
        let call = plan.call.as_ref();
        let (there, what) = match self {
            Needs::Nothing | Needs::Records => return None,
            Needs::Deliver => (deliver.is_some(), "the plan has no `[deliver]`"),
            Needs::Proof => (
                deliver.is_some_and(|d| d.sign.is_some() || d.token.is_some()),
                "the plan has neither `deliver.sign` nor `deliver.token`",
            ),
            Needs::Malformed => {
                (deliver.is_some_and(|d| !d.malformed.is_empty()), "the plan has no `deliver.malformed`")
            }
            Needs::Call => (call.is_some(), "the plan has no `[call]`"),
            Needs::Throttled => (call.is_some_and(|c| c.throttled.is_some()), "the plan has no `call.throttled`"),
            Needs::Rejected => (call.is_some_and(|c| c.rejected.is_some()), "the plan has no `call.rejected`"),
            Needs::OwnBroker => (own, "the broker is not the kit's own, which would have refused what is not allowed"),
        };
        (!there).then(|| what.to_owned())
    }
}

pub(crate) async fn run(
    bench: &mut Bench,
    only: &[String],
    told: &mut (dyn FnMut(&Verdict) + Send),
) -> Result<Report, Stopped> {
    let wanted = |name: &str| only.is_empty() || only.iter().any(|o| o == name);
    let mut report = Report::default();
    // Begun first, because what is waited for is the adapter's patience.
    let hanging = match bench.plan.call {
        Some(_) if wanted("no-answer") => Some(outbound::hang(bench).await?),
        _ => None,
    };
    for check in CHECKS.iter().filter(|c| wanted(c.name)) {
        let mut not_tried = check.needs.lacks(&bench.plan, bench.own.is_some());
        if check.needs == Needs::Records && bench.broker.records().await.is_ok_and(|all| all.is_empty()) {
            not_tried = Some("the adapter said nothing: try other checks before it".into());
        }
        let mut problems = vec![];
        if not_tried.is_none() {
            problems = match (check.name, &hanging) {
                ("no-answer", Some(hanging)) => outbound::no_answer(bench, hanging).await?,
                (name, _) => one(bench, name).await?,
            };
            problems.extend(alive(bench).await?);
        }
        let verdict = Verdict { name: check.name, title: check.title, problems, not_tried };
        told(&verdict);
        report.checks.push(verdict);
    }
    Ok(report)
}

async fn one(bench: &mut Bench, name: &str) -> Found {
    match name {
        "message" => inbound::message(bench).await,
        "duplicates" => inbound::duplicates(bench).await,
        "reordering" => inbound::reordering(bench).await,
        "burst" => inbound::burst(bench).await,
        "forged" => inbound::forged(bench).await,
        "malformed" => inbound::malformed(bench).await,
        "no-room" => inbound::no_room(bench).await,
        "send" => outbound::send(bench).await,
        "redelivery" => outbound::redelivery(bench).await,
        "claimed" => outbound::claimed(bench).await,
        "too-late" => outbound::too_late(bench).await,
        "throttled" => outbound::throttled(bench).await,
        "rejected" => outbound::rejected(bench).await,
        "lost-answer" => outbound::lost_answer(bench).await,
        "unreachable" => outbound::unreachable(bench).await,
        "kept-result" => outbound::kept_result(bench).await,
        "unreadable" => outbound::unreadable(bench).await,
        "question" => outbound::question(bench).await,
        "second-edge" => life::second_edge(bench).await,
        "crash" => life::crash(bench).await,
        "permissions" => Ok(life::permissions(bench).await),
        "envelopes" => life::envelopes(bench).await,
        "presence" => life::presence(bench).await,
        _ => Ok(vec![]),
    }
}

/// A process that ended is a fault of the check in which it did; the next check has a new one.
async fn alive(bench: &mut Bench) -> Found {
    let ended: Vec<String> = bench.adapters.iter_mut().filter_map(|a| a.ended()).collect();
    if ended.is_empty() {
        return Ok(vec![]);
    }
    bench.adapters.retain_mut(|a| a.ended().is_none());
    if bench.adapters.is_empty() {
        bench.start().await?;
    }
    Ok(ended.into_iter().map(|how| format!("the adapter must go on after this, and {how}")).collect())
}
