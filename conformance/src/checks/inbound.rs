//! What comes in: nothing is lost, nothing is taken twice, nothing is confirmed too early.

use super::Found;
use crate::bench::{Bench, QUIET, SOON};
use crate::delivery::{Proof, Said};
use crate::wait;
use base64::Engine as _;
use std::sync::Arc;
use std::time::Duration;
use switchboard_envelope::{Inbound, Message};

/// How many are delivered at once.
const BURST: usize = 20;

fn same_person(m: &Message, person: &str) -> bool {
    m.from.value.contains(person)
}

pub(super) async fn message(bench: &mut Bench) -> Found {
    let said = bench.says(0);
    let mut problems: Vec<String> = bench.taken(&said, "a message").await.into_iter().collect();
    // What is confirmed must be there now, and not soon.
    let now = bench.heard(&said).await;
    let is_late = now.is_empty();
    let found = if is_late { bench.hears(&said).await } else { now };
    let Some((record, m)) = found.first() else {
        let in_it = refused_envelopes(bench).await;
        problems.push(format!("a message was answered and is not in IN after {} s{in_it}", SOON.as_secs()));
        return Ok(problems);
    };
    if is_late {
        problems.push("a message was answered before it was in IN: answer 2xx after JetStream's acknowledgement, for what is lost until then nobody repeats".into());
    }
    let person = bench.plan.deliver.as_ref().map(|d| d.person.clone()).unwrap_or_default();
    if m.content.text != said.text {
        problems.push(format!(
            "the text arrived as {:?} and was sent as {:?}: decode the body as UTF-8, and keep it whole",
            m.content.text, said.text
        ));
    }
    if !same_person(m, &person) {
        problems.push(format!("`from.value` is {:?}, in which the provider's {person:?} is not", m.from.value));
    }
    if record.msg_id.is_none() {
        problems.push("a message was published without the header `Nats-Msg-Id`: set it to the envelope's `id`, so that a repeat is no second record".into());
    }
    if m.at.since(said.at).abs() > 1000 {
        problems.push(format!("`at` is {} and the provider said {}: give its own time, in UTC", m.at, said.at));
    }
    Ok(problems)
}

/// Says why the router could not read what was published, if that is why nothing is found.
async fn refused_envelopes(bench: &Bench) -> String {
    let records = bench.broker.records().await.unwrap_or_default();
    let why = records.iter().rev().find_map(|r| r.read.as_ref().err().map(ToString::to_string));
    why.map(|why| format!("; what is there cannot be read: {why}")).unwrap_or_default()
}

pub(super) async fn duplicates(bench: &mut Bench) -> Found {
    let (said, other) = (bench.says(0), bench.says(0));
    let mut problems: Vec<String> = vec![];
    for (said, what) in [
        (&said, "a delivery"),
        (&said, "the same delivery again"),
        (&other, "another one"),
        (&said, "the first one again"),
    ] {
        problems.extend(bench.taken(said, what).await);
    }
    bench.hears(&other).await;
    let ids: Vec<String> = bench.heard(&said).await.into_iter().map(|(_, m)| m.id).collect();
    match ids.as_slice() {
        [] => problems.push("what was delivered three times is not in IN at all".into()),
        [_] => {}
        [first, second, ..] if first == second => problems.push(format!(
            "the same id `{first}` is in IN {} times: set the header `Nats-Msg-Id` to it",
            ids.len()
        )),
        [first, second, ..] => problems.push(format!(
            "one message, delivered again, has another id each time (`{first}`, then `{second}`): make the id of the provider's own id, before the first try"
        )),
    }
    Ok(problems)
}

pub(super) async fn reordering(bench: &mut Bench) -> Found {
    let older = bench.says(60_000);
    let newer = bench.says(0);
    let mut problems: Vec<String> = bench.taken(&newer, "a message").await.into_iter().collect();
    bench.hears(&newer).await;
    problems.extend(bench.taken(&older, "an older message that comes later").await);
    if bench.hears(&older).await.is_empty() {
        problems.push("a message that is older than the one before it is not in IN: providers deliver late, so drop nothing by its time or its number".into());
    }
    Ok(problems)
}

pub(super) async fn burst(bench: &mut Bench) -> Found {
    let all: Vec<Said> = (0..BURST).map(|_| bench.says(0)).collect();
    let asked = all.iter().map(|said| bench.taken(said, "one of twenty deliveries at once"));
    let refused: Vec<String> = futures_util::future::join_all(asked).await.into_iter().flatten().collect();
    let mut problems: Vec<String> = refused.first().cloned().into_iter().collect();
    let complete = wait::until(SOON, async || {
        for said in &all {
            if bench.heard(said).await.is_empty() {
                return None;
            }
        }
        Some(())
    });
    if complete.await.is_none() {
        let mut missing = 0;
        for said in &all {
            missing += usize::from(bench.heard(said).await.is_empty());
        }
        problems.push(format!("of {BURST} messages that came at once {missing} are not in IN"));
    }
    Ok(problems)
}

pub(super) async fn forged(bench: &mut Bench) -> Found {
    let mut problems = vec![];
    let Some(deliver) = bench.plan.deliver.clone() else { return Ok(problems) };
    for (proof, what) in
        [(Proof::Forged, "a delivery with a wrong proof"), (Proof::Missing, "a delivery without a proof")]
    {
        let said = bench.says(0);
        let body = deliver.fill(&deliver.body, &said);
        problems.extend(unproved(bench, &said, body, proof, what).await);
    }
    // A tag covers the whole body, or it proves nothing: each part is changed while the tag stays.
    if deliver.sign.is_some() {
        let said = bench.says(0);
        let body = deliver.fill(&deliver.body, &said);
        let others = [
            Said { text: format!("{} and more", said.text), ..said.clone() },
            Said { id: format!("{}0", said.id), ..said.clone() },
        ];
        let others = others
            .iter()
            .map(|other| deliver.fill(&deliver.body, other))
            .chain([format!("{body} "), format!(" {body}")]);
        for other in others.filter(|other| *other != body) {
            let what = "a delivery with the right proof of another body";
            problems.extend(unproved(bench, &said, other, Proof::Of(&body), what).await);
        }
    }
    problems.dedup();
    Ok(problems)
}

/// Delivers what must be refused, and must not be in IN.
async fn unproved(bench: &Bench, said: &Said, body: String, proof: Proof<'_>, what: &str) -> Vec<String> {
    let mut problems = vec![];
    match bench.deliver_body(body, proof).await {
        Ok(status) if (200..300).contains(&status) => problems
            .push(format!("{what} was answered {status}: verify it over all of the body's own bytes, and answer 401")),
        Ok(_) | Err(_) => {}
    }
    tokio::time::sleep(QUIET / 3).await;
    if !bench.heard(said).await.is_empty() {
        problems.push(format!("{what} is in IN: anybody could speak for your customers"));
    }
    problems
}

pub(super) async fn malformed(bench: &mut Bench) -> Found {
    let bodies = bench.plan.deliver.as_ref().map(|d| d.malformed.clone()).unwrap_or_default();
    let mut problems = vec![];
    for template in bodies {
        let said = bench.says(0);
        let Some(deliver) = &bench.plan.deliver else { break };
        let body = deliver.fill(&template, &said);
        let before = bench.broker.records().await.unwrap_or_default().len();
        let answer = bench.deliver_body(body.clone(), Proof::Genuine).await;
        let answered =
            answer.map_or_else(|why| format!("was not answered ({why})"), |status| format!("was answered {status}"));
        match wait::until(SOON / 3, async || unparsed_of(bench, body.as_bytes(), before).await).await {
            Some(true) => {}
            Some(false) => problems.push(format!(
                "of a delivery that cannot be read (`{template}`) an `unparsed` is in IN without its bytes: put them into `raw`, so that it can be read after a fix"
            )),
            None => problems.push(format!(
                "a genuine delivery that cannot be read (`{template}`) {answered} and nobody was told: publish it as `unparsed` with its bytes"
            )),
        }
    }
    let after = bench.says(0);
    problems.extend(bench.taken(&after, "a good message after what could not be read").await);
    if bench.hears(&after).await.is_empty() {
        problems.push("after what could not be read, a good message does not arrive any more".into());
    }
    Ok(problems)
}

/// Whether an `unparsed` holds these bytes, of those behind the first `before` records; `None` without one.
async fn unparsed_of(bench: &Bench, body: &[u8], before: usize) -> Option<bool> {
    let records = bench.broker.records().await.unwrap_or_default();
    let news = records.iter().skip(before).filter_map(|r| match &r.read {
        Ok(Inbound::Unparsed(u)) => Some(&u.raw),
        _ => None,
    });
    let inline = base64::engine::general_purpose::STANDARD.encode(body);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, body);
    let hash: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let named = format!("blob:sha256:{hash}");
    let mut without = None;
    for raw in news {
        let is_blob = raw.blob.as_ref().is_some_and(|blob| blob.0 == named) && bench.broker.has_blob(&hash).await;
        if is_blob || raw.inline.as_deref() == Some(&inline) {
            return Some(true);
        }
        without = Some(false);
    }
    without
}

pub(super) async fn no_room(bench: &mut Bench) -> Found {
    let said = bench.says(0);
    bench.broker.refuse().await?;
    let early = bench.deliver(&said, Proof::Genuine).await;
    bench.broker.allow().await?;
    let mut problems = vec![];
    if let Ok(status) = early
        && (200..300).contains(&status)
    {
        problems.push(format!(
            "a message was answered {status} while IN refused it: answer after JetStream's acknowledgement, and 503 if it does not come"
        ));
    }
    problems.extend(bench.taken(&said, "what was refused, delivered again,").await);
    tokio::time::sleep(QUIET).await;
    let found = bench.hears(&said).await;
    match found.as_slice() {
        [] => problems.push("what was refused is not in IN after it was delivered again".into()),
        [_] => {}
        [(_, a), (_, b), ..] => problems.push(format!(
            "what was refused is in IN twice after it was delivered again (`{}` and `{}`): every try must have the same id",
            a.id, b.id
        )),
    }
    Ok(problems)
}

/// Everything that was ever delivered under this id, after the adapter was started again.
pub(super) async fn again_after_a_restart(bench: &Bench, said: &Said) -> Option<String> {
    let before = bench.heard(said).await.len();
    if let Some(problem) = bench.taken(said, "a delivery from before a restart").await {
        return Some(problem);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let after: Vec<_> = bench.heard(said).await;
    let another = after.get(before).map(|(r, _)| Arc::clone(r))?;
    let id = another.read.as_ref().map(|r| r.id().to_owned()).unwrap_or_default();
    Some(format!(
        "a delivery that comes again after a restart has another id, `{id}`: make it of the provider's own id, and of nothing that the process counts"
    ))
}
