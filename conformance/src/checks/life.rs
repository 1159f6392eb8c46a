//! Processes that come and go, and what is true of the whole run.

use super::{Found, inbound};
use crate::bench::{Bench, SOON, Sent};
use crate::provider::Act;
use crate::wait;
use std::time::Duration;
use switchboard_envelope::{Inbound, Outcome};

/// How many attempts two processes share.
const SHARED: usize = 20;
/// How often it must say that it is there, with a little patience.
const BEATS: Duration = Duration::from_secs(13);

pub(super) async fn second_edge(bench: &mut Bench) -> Found {
    bench.start().await?;
    let mut sent: Vec<Sent> = vec![];
    for _ in 0..SHARED {
        sent.push(bench.release(Act::Accept).await?);
    }
    for again in &sent {
        bench.broker.put(again.bytes()).await?;
    }
    let done = wait::until(SOON, async || sent.iter().all(|s| !bench.calls(s).is_empty()).then_some(())).await;
    bench.quiet().await;
    let mut problems = vec![];
    if done.is_none() {
        let missing = sent.iter().filter(|s| bench.calls(s).is_empty()).count();
        problems.push(format!("of {SHARED} attempts that two processes shared {missing} were never made"));
    }
    let twice = sent.iter().filter(|s| bench.calls(s).len() > 1).count();
    if twice > 0 {
        problems.push(format!(
            "{twice} of {SHARED} records that came to two processes were sent more than once: only who creates the claim may send"
        ));
    }
    if let Some(mut second) = bench.adapters.pop().filter(|_| !bench.adapters.is_empty()) {
        second.kill().await;
    }
    Ok(problems)
}

pub(super) async fn crash(bench: &mut Bench) -> Found {
    let before = bench.says(0);
    if bench.plan.deliver.is_some() {
        let _ = bench.taken(&before, "a message").await;
    }
    let sent = bench.release(Act::Hang).await?;
    if !bench.called(&sent).await {
        return Ok(vec!["the provider was not called, so that nothing could be broken off".into()]);
    }
    for mut adapter in std::mem::take(&mut bench.adapters) {
        adapter.kill().await;
    }
    bench.start().await?;
    // What was not acknowledged comes again after 15 s; that it comes at once makes no difference to the adapter.
    bench.broker.put(sent.bytes()).await?;
    let mut problems = vec![];
    if !bench.broker.all_acknowledged(SOON * 2).await {
        problems.push("after a death in the middle of a call its record is not acknowledged by the next process: error 10071 means to acknowledge it and leave it".into());
    }
    bench.quiet().await;
    if bench.calls(&sent).len() > 1 {
        problems.push("after a death in the middle of a call the next process called again: the claim of the first one stands, and the router calls the attempt unknown".into());
    }
    if let Some(said) = bench.results(&sent).await.iter().find(|r| r.outcome != Outcome::Unknown) {
        problems.push(format!(
            "the next process called the attempt of a dead one `{}`, which it cannot know",
            said.outcome.as_str()
        ));
    }
    let fresh = bench.release(Act::Accept).await?;
    if bench.result(&fresh, SOON).await.is_none() {
        problems.push("after it was killed and started again, the adapter does not send any more".into());
    }
    if bench.plan.deliver.is_some() {
        problems.extend(inbound::again_after_a_restart(bench, &before).await);
    }
    Ok(problems)
}

pub(super) async fn permissions(bench: &Bench) -> Vec<String> {
    // By then it has connected, and begun everything that it does.
    wait::until(SOON, async || (!bench.broker.beats().is_empty()).then_some(())).await;
    let forbidden = bench.own.as_ref().map(crate::broker::Own::forbidden).unwrap_or_default();
    let told = |what: &String| {
        format!(
            "the adapter tried to {what}, which its account may not: its entry in deploy/nats-users.conf has all that it needs"
        )
    };
    forbidden.iter().map(told).collect()
}

pub(super) async fn envelopes(bench: &Bench) -> Found {
    let (records, channel) = (bench.broker.records().await?, &bench.plan.adapter.channel);
    let mut problems: Vec<String> = vec![];
    let mut tell = |problem: String| {
        if problems.len() < 10 && !problems.contains(&problem) {
            problems.push(problem);
        }
    };
    for record in &records {
        let inbound = match &record.read {
            Ok(inbound) => inbound,
            Err(why) => {
                tell(format!("an envelope would be quarantined: {why}"));
                continue;
            }
        };
        let kind = inbound.kind();
        if inbound.channel() != channel || !record.subject.ends_with(&format!(".in.{channel}")) {
            tell(format!(
                "a `{kind}` names the channel `{}` on the subject `{}`: both must be `{channel}`",
                inbound.channel(),
                record.subject
            ));
        }
        match record.msg_id.as_deref() {
            Some(id) if id == inbound.id() => {}
            Some(_) => tell(format!("the header `Nats-Msg-Id` of a `{kind}` is not its `id`")),
            None => tell(format!(
                "a `{kind}` was published without the header `Nats-Msg-Id`: set it to the envelope's `id`"
            )),
        }
        if matches!(inbound, Inbound::Command(_)) {
            tell("a `command` was published: only desks and the API command, and it would be quarantined".into());
        }
    }
    Ok(problems)
}

pub(super) async fn presence(bench: &Bench) -> Found {
    let subject = format!("{}.{}.status.{}", bench.broker.prefix(), bench.broker.workspace, bench.plan.adapter.channel);
    let second = wait::until(BEATS, async || (bench.broker.beats().len() >= 2).then_some(())).await;
    Ok(match bench.silence() {
        None => vec![format!(
            "nothing was published on `{subject}`: publish there every ten seconds, or the channel is shown as down"
        )],
        Some(_) if second.is_none() => {
            vec![format!("`{subject}` was used once and never again: publish there every ten seconds")]
        }
        Some((since, longest)) if since.max(longest) > BEATS => vec![format!(
            "`{subject}` was silent for {} s: publish there every ten seconds, whatever else happens; after thirty the channel is shown as down",
            since.max(longest).as_secs()
        )],
        Some(_) => vec![],
    })
}
