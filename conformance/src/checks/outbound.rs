//! What goes out: every attempt is claimed first, made at most once, and ends with what is known of it.

use super::Found;
use crate::bench::{Bench, SOON, Sent};
use crate::provider::Act;
use serde_json::json;
use std::time::Duration;
use switchboard_envelope::{AttemptResult, Outcome};

/// What must be said of an attempt, and what is wrong with what was said.
async fn must_be(
    bench: &Bench,
    sent: &Sent,
    wanted: Outcome,
    when: &str,
    because: &str,
) -> (Option<AttemptResult>, Vec<String>) {
    match bench.result(sent, SOON).await {
        Some(result) if result.outcome == wanted => (Some(result), vec![]),
        Some(result) => {
            let (said, wanted) = (result.outcome.as_str(), wanted.as_str());
            (Some(result), vec![format!("an attempt {when} was called `{said}`: call it `{wanted}`, {because}")])
        }
        None => (
            None,
            vec![format!(
                "nothing was said of an attempt {when} within {} s: publish a `result` for every attempt that you claimed",
                SOON.as_secs()
            )],
        ),
    }
}

/// What is wrong with how often the provider was called.
fn once(bench: &Bench, sent: &Sent, when: &str) -> Vec<String> {
    match bench.calls(sent).len() {
        0 => vec![format!("the provider was not called for an attempt {when}")],
        1 => vec![],
        n => vec![format!(
            "the provider was called {n} times for one attempt {when}: the customer would read it {n} times"
        )],
    }
}

async fn acknowledged(bench: &Bench, what: &str) -> Option<String> {
    let done = bench.broker.all_acknowledged(SOON / 2).await;
    (!done).then(|| format!("{what} was not acknowledged: it comes again every 15 s, and 256 of them stop the channel"))
}

pub(super) async fn send(bench: &mut Bench) -> Found {
    let sent = bench.release(Act::Accept).await?;
    if !bench.called(&sent).await {
        let (waits, unacked) = bench.broker.left().await?;
        let where_ = match (waits, unacked) {
            (1.., _) => "it was not even taken: pull from the durable consumer of the channel",
            (_, 1..) => "it was taken and neither called nor acknowledged",
            _ => "it was acknowledged without a call",
        };
        return Ok(vec![format!("the provider was not called within {} s of a release: {where_}", SOON.as_secs())]);
    }
    let mut problems = claim_problems(bench, &sent).await;
    let (result, wrong) = must_be(bench, &sent, Outcome::Accepted, "that the provider took", "for it said so").await;
    problems.extend(wrong);
    problems.extend(once(bench, &sent, "that the provider took"));
    problems.extend(acknowledged(bench, "a record that was sent").await);
    let Some(result) = result else { return Ok(problems) };
    let wanted = format!("{}:result:{}.1.1:{}", bench.plan.adapter.channel, sent.send, result.outcome.as_str());
    if result.id != wanted {
        problems.push(format!(
            "the result's id is `{}` and must be `{wanted}`: with the outcome, so that a later one is no duplicate",
            result.id
        ));
    }
    let named =
        bench.plan.call.as_ref().is_some_and(|c| {
            c.accepted.body.contains("{id}") || c.accepted.headers.values().any(|v| v.contains("{id}"))
        });
    if named && !result.provider_ids.iter().any(|id| id.contains(&sent.mark)) {
        problems.push(format!(
            "`provider_ids` is {:?}, without the id that the provider gave (`provider-{}`): its receipts will not be understood",
            result.provider_ids, sent.mark
        ));
    }
    Ok(problems)
}

async fn claim_problems(bench: &Bench, sent: &Sent) -> Vec<String> {
    let first = bench.calls(sent).into_iter().next();
    if first.is_some_and(|call| call.claim.is_some()) {
        return vec![];
    }
    // Perhaps it comes after the call.
    bench.quiet().await;
    let key = bench.key(sent);
    match bench.broker.claim(&key).await {
        Some(_) => vec!["the provider was called before the attempt was claimed: claim first, for a second edge may have the record too".into()],
        None => vec![format!(
            "the provider was called without a claim: publish a nonce on `$KV.SB_{}_CLAIMS.{key}` with `Nats-Expected-Last-Subject-Sequence: 0` first",
            bench.broker.workspace
        )],
    }
}

pub(super) async fn redelivery(bench: &mut Bench) -> Found {
    let sent = bench.release(Act::Accept).await?;
    bench.broker.put(sent.bytes()).await?;
    bench.called(&sent).await;
    bench.quiet().await;
    bench.broker.put(sent.bytes()).await?;
    bench.quiet().await;
    let mut problems = once(bench, &sent, "that was delivered three times");
    problems.extend(acknowledged(bench, "a record that came again").await);
    if problems.is_empty() {
        bench.broker.forget(&bench.key(&sent)).await?;
        bench.broker.put(sent.bytes()).await?;
        bench.quiet().await;
        problems = once(
            bench,
            &sent,
            "of which the broker had lost the claim (it can come back with an older copy of its store: remember the newest `n` that you claimed of each `send` and `part`)",
        );
    }
    Ok(problems)
}

pub(super) async fn claimed(bench: &mut Bench) -> Found {
    let sent = bench.attempt(Act::Accept, 120_000);
    bench.broker.take(&bench.key(&sent)).await?;
    bench.broker.put(sent.bytes()).await?;
    let mut problems: Vec<String> =
        acknowledged(bench, "a record whose attempt is another edge's").await.into_iter().collect();
    bench.quiet().await;
    if !bench.calls(&sent).is_empty() {
        problems.push("the provider was called for an attempt that another edge had claimed: error 10071 means that it is not yours, unless the claim holds your nonce".into());
    }
    if bench.broker.claim(&bench.key(&sent)).await.as_deref() != Some("another-edge") {
        problems.push(
            "the claim of another edge was overwritten: publish it with `Nats-Expected-Last-Subject-Sequence: 0`"
                .into(),
        );
    }
    if let Some(result) = bench.results(&sent).await.first() {
        problems.push(format!(
            "`{}` was said of an attempt that another edge had claimed: only who makes it knows",
            result.outcome.as_str()
        ));
    }
    Ok(problems)
}

pub(super) async fn too_late(bench: &mut Bench) -> Found {
    let sent = bench.attempt(Act::Accept, -2_000);
    bench.broker.put(sent.bytes()).await?;
    let mut problems: Vec<String> = acknowledged(bench, "a record past its `until`").await.into_iter().collect();
    bench.quiet().await;
    if let Some(call) = bench.calls(&sent).first() {
        let late = call.at.since(sent.until) / 1000;
        problems.push(format!(
            "the provider was called {late} s after `until`: the router may have released the next attempt already; look at `until` before anything else"
        ));
    } else if bench.broker.claim(&bench.key(&sent)).await.is_some() {
        problems.push("an attempt was claimed after its `until`: the router would have to call it unknown; acknowledge it and leave it".into());
    }
    Ok(problems)
}

pub(super) async fn throttled(bench: &mut Bench) -> Found {
    let sent = bench.release(Act::Throttle).await?;
    let because = "for nothing was sent, and the router tries again";
    let (result, mut problems) = must_be(bench, &sent, Outcome::NotSent, "that the provider throttled", because).await;
    bench.quiet().await;
    if bench.calls(&sent).len() > 1 {
        problems.push("the adapter tried again by itself after the provider asked for patience: the router does that, with a new attempt".into());
    }
    let wanted = bench.plan.call.as_ref().and_then(|c| c.throttled.as_ref()?.retry_after).map(|s| u64::from(s) * 1000);
    if let (Some(result), Some(wanted)) = (result, wanted)
        && result.retry_after_ms != Some(wanted)
    {
        let said = result.retry_after_ms.map_or("absent".to_owned(), |ms| ms.to_string());
        problems.push(format!(
            "`retry_after_ms` is {said} and the provider asked for {wanted}: pass it on, or the router comes too early"
        ));
    }
    Ok(problems)
}

pub(super) async fn rejected(bench: &mut Bench) -> Found {
    let sent = bench.release(Act::Reject).await?;
    let because = "for the provider refuses it however often it is tried";
    let (result, mut problems) =
        must_be(bench, &sent, Outcome::Rejected, "that the provider refused for good", because).await;
    problems.extend(once(bench, &sent, "that the provider refused for good"));
    if result.is_some_and(|r| r.outcome == Outcome::Rejected && r.detail.as_deref().is_none_or(str::is_empty)) {
        problems
            .push("a rejected attempt has no `detail`: write a sentence for the agent, who sees nothing else".into());
    }
    Ok(problems)
}

pub(super) async fn lost_answer(bench: &mut Bench) -> Found {
    let sent = bench.release(Act::Lose).await?;
    let when = "whose answer was lost";
    let (_, mut problems) =
        must_be(bench, &sent, Outcome::Unknown, when, "for it may have been sent: `not_sent` would send it twice")
            .await;
    bench.quiet().await;
    problems.extend(once(bench, &sent, when));
    Ok(problems)
}

pub(super) async fn unreachable(bench: &mut Bench) -> Found {
    bench.provider.close().await;
    let sent = bench.release(Act::Accept).await?;
    let because = "for nothing can have left, so that the router tries again";
    let (_, problems) =
        must_be(bench, &sent, Outcome::NotSent, "while the provider could not be reached", because).await;
    bench.provider.reopen().await?;
    Ok(problems)
}

pub(super) async fn kept_result(bench: &mut Bench) -> Found {
    bench.broker.refuse().await?;
    let sent = bench.release(Act::Accept).await?;
    let called = bench.called(&sent).await;
    bench.quiet().await;
    bench.broker.allow().await?;
    if !called {
        return Ok(vec![
            "the provider was not called while IN took nothing: what OUT holds does not wait for IN".into(),
        ]);
    }
    let mut problems = once(bench, &sent, "whose result IN refused");
    if bench.result(&sent, SOON).await.is_none() {
        problems.push("a result that IN refused once was never published again: repeat it, with the same id, until it is acknowledged".into());
    }
    Ok(problems)
}

pub(super) async fn unreadable(bench: &mut Bench) -> Found {
    let mut problems = vec![];
    let mut later = bench.attempt(Act::Accept, 120_000);
    later.set("v", json!(2));
    let mut lacking = bench.attempt(Act::Accept, 120_000);
    if let Some(record) = lacking.record.as_object_mut() {
        record.remove("content");
    }
    for record in [b"no JSON".to_vec(), b"[]".to_vec(), lacking.bytes(), later.bytes()] {
        bench.broker.put(record).await?;
    }
    problems.extend(acknowledged(bench, "a record that cannot be understood").await);
    bench.quiet().await;
    if !bench.calls(&later).is_empty() {
        problems.push(
            "an envelope of version 2 was sent: its meaning may have changed; acknowledge it and leave it".into(),
        );
    }
    let mut more = bench.attempt(Act::Accept, 120_000);
    more.set("a_field_of_tomorrow", json!({ "x": [1] }));
    bench.broker.put(more.bytes()).await?;
    if !bench.called(&more).await {
        problems.push("an attempt with a field that is not known yet was not sent: leave unknown fields alone".into());
    }
    Ok(problems)
}

pub(super) async fn question(bench: &mut Bench) -> Found {
    let mut sent = bench.attempt(Act::Accept, 120_000);
    sent.set("type", json!("reconcile"));
    sent.set("released_at", json!(sent.until));
    bench.broker.put(sent.bytes()).await?;
    let mut problems: Vec<String> = acknowledged(bench, "a `reconcile`").await.into_iter().collect();
    bench.quiet().await;
    if bench.broker.claim(&bench.key(&sent)).await.is_some() {
        problems.push("a `reconcile` was claimed: it asks what became of an attempt, and is none".into());
    }
    Ok(problems)
}

/// Begins what `no_answer` looks at later.
pub(super) async fn hang(bench: &mut Bench) -> Result<Sent, crate::Stopped> {
    Ok(bench.release(Act::Hang).await?)
}

pub(super) async fn no_answer(bench: &mut Bench, sent: &Sent) -> Found {
    let patience = bench.plan.call.as_ref().map_or(15, |c| c.timeout);
    // It was begun before the others; its time may not be over yet.
    let mut problems = match bench.result(sent, Duration::from_secs(u64::from(patience) + 5)).await {
        Some(r) if r.outcome == Outcome::Unknown => vec![],
        Some(r) => vec![format!(
            "an attempt that the provider never answered was called `{}`: call it `unknown`, for it may have been sent",
            r.outcome.as_str()
        )],
        None => vec![format!(
            "an attempt that the provider never answered has no result after {patience} s: give up, and call it `unknown`"
        )],
    };
    problems.extend(once(bench, sent, "that the provider never answered"));
    Ok(problems)
}
