//! Who is there: each process answers under its name for as long as its connection lives, and the one that leads answers
//! for the workspace. Only a courtesy, so that nobody starts a second router by accident: what keeps two routers apart is
//! the compare-and-swap on LOG.

use super::{link::Link, names::Names, options::OpenError};
use async_nats::{RequestErrorKind, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Who does not answer within this is not there, or not well.
const ANSWER: Duration = Duration::from_secs(1);

enum Answer {
    Here(String),
    Nobody,
    Silence,
}

async fn ask(link: &Link, subject: String) -> Answer {
    match tokio::time::timeout(ANSWER, link.client.request(subject, Bytes::new())).await {
        Ok(Ok(message)) => Answer::Here(String::from_utf8_lossy(&message.payload).into_owned()),
        Ok(Err(e)) if e.kind() == RequestErrorKind::NoResponders => Answer::Nobody,
        _ => Answer::Silence,
    }
}

/// Whether the process of this name has left the broker. A paused one has not.
pub(super) async fn is_gone(link: &Link, names: &Names, process: &str) -> bool {
    matches!(ask(link, names.process_subject(process)).await, Answer::Nobody)
}

/// Refuses when another process leads, and answers for this one from then on.
pub(super) async fn lead(
    link: &Link,
    names: &Names,
    workspace: &str,
    process: &str,
) -> Result<JoinHandle<()>, OpenError> {
    let subject = names.leader_subject();
    match ask(link, subject.clone()).await {
        Answer::Here(by) => return Err(OpenError::Led { workspace: workspace.to_owned(), by }),
        Answer::Silence => tracing::warn!("another switchboard led this workspace and does not answer; taking over"),
        Answer::Nobody => {}
    }
    let subscribed = async {
        let leader = link.client.subscribe(subject).await?;
        let own = link.client.subscribe(names.process_subject(process)).await?;
        Ok::<_, async_nats::SubscribeError>((leader, own))
    };
    let (leader, own) = subscribed
        .await
        .map_err(|e| OpenError::Make { what: "the subscription that says who leads".into(), why: e.to_string() })?;
    let name = format!("process {process}, pid {}", std::process::id());
    Ok(tokio::spawn(answer(link.clone(), leader, own, name)))
}

async fn answer(link: Link, leader: Subscriber, own: Subscriber, name: String) {
    let mut questions = futures_util::stream::select(leader, own);
    while let Some(question) = questions.next().await {
        if let Some(reply) = question.reply {
            let _ = link.client.publish(reply, Bytes::from(name.clone())).await;
        }
    }
}
