//! Who is there: each process answers under its name for as long as its connection lives, and the one that leads answers
//! for the workspace. Only hints, by which a take-over is quick: what keeps two routers apart is the compare-and-swap on LOG.

use super::{link::Link, names::Names, options::OpenError};
use crate::log::{Leader, LogError};
use async_nats::{RequestErrorKind, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt as _;
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinHandle;

/// Who does not answer within this is not there, or not well.
const ANSWER: Duration = Duration::from_secs(1);

pub(super) struct Presence {
    link: Link,
    names: Names,
    /// What this process answers.
    title: String,
    /// Answers for the workspace while this process leads.
    leading: Mutex<Option<JoinHandle<()>>>,
    /// How often our own connection had been lost when it was last asked who is gone.
    lost: AtomicU64,
}

async fn ask(link: &Link, subject: String) -> Leader {
    match tokio::time::timeout(ANSWER, link.client.request(subject, Bytes::new())).await {
        Ok(Ok(message)) => Leader::Here(String::from_utf8_lossy(&message.payload).into_owned()),
        Ok(Err(e)) if e.kind() == RequestErrorKind::NoResponders => Leader::Nobody,
        _ => Leader::Silent,
    }
}

async fn answer(link: Link, mut questions: Subscriber, title: String) {
    while let Some(question) = questions.next().await {
        if let Some(reply) = question.reply {
            let _ = link.client.publish(reply, Bytes::from(title.clone())).await;
        }
    }
}

impl Presence {
    /// Answers for this process from now on, in the task that is returned.
    pub(super) async fn here(
        link: &Link,
        names: &Names,
        process: &str,
    ) -> Result<(Presence, JoinHandle<()>), OpenError> {
        let title = format!("process {process}, pid {}", std::process::id());
        let questions = link.client.subscribe(names.process_subject(process)).await.map_err(|e| OpenError::Make {
            what: "the subscription that says that this process is there".into(),
            why: e.to_string(),
        })?;
        let answering = tokio::spawn(answer(link.clone(), questions, title.clone()));
        let lost = AtomicU64::new(*link.losses().borrow());
        Ok((Presence { link: link.clone(), names: names.clone(), title, leading: Mutex::default(), lost }, answering))
    }

    /// Whether the process of this name has left the broker. A paused one has not, and nothing is sure while our own connection
    /// comes and goes.
    pub(super) async fn is_gone(&self, process: &str) -> bool {
        let lost = self.link.losses();
        let gone = ask(&self.link, self.names.process_subject(process)).await == Leader::Nobody;
        let seen = self.lost.swap(*lost.borrow(), Ordering::Relaxed);
        gone && seen == *lost.borrow()
    }

    pub(super) async fn leader(&self) -> Leader {
        ask(&self.link, self.names.leader_subject()).await
    }

    pub(super) async fn stand(&self, leads: bool) -> Result<(), LogError> {
        let answering = if leads {
            let questions = self.link.client.subscribe(self.names.leader_subject()).await;
            let questions = questions.map_err(|e| LogError::Unavailable(e.to_string()))?;
            Some(tokio::spawn(answer(self.link.clone(), questions, self.title.clone())))
        } else {
            None
        };
        let before = std::mem::replace(&mut *self.leading.lock().unwrap_or_else(PoisonError::into_inner), answering);
        if let Some(before) = before {
            before.abort();
            // The subscription goes with its task.
            let _ = before.await;
        }
        Ok(())
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if let Some(answering) = self.leading.get_mut().unwrap_or_else(PoisonError::into_inner) {
            answering.abort();
        }
    }
}
