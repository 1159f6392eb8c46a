//! One OUT record: claim, call, result.

use super::worker::Lane;
use crate::clock;
use crate::inbound::blob_scope;
use crate::log::{Claim, Class, InRecord, LogError, Seq};
use crate::random;
use bytes::Bytes;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use switchboard_adapter_sdk::{Answer, AttemptOutcome, Call, classify, signature::to_hex};
use switchboard_envelope::{
    Attachment, AttemptResult, Inbound, Outbound, Outcome, Reconcile, Send as SendRecord, event_id,
};

#[cfg(test)]
use crate::simulation::{Bug, planted};

/// How long a log that did not answer is left alone.
const RETRY: Duration = Duration::from_millis(100);
/// A result that cannot be stored is kept and tried for this long; after that the claim says `unknown`.
const RESULT_TRIES: u32 = 6000;

/// Numbers this process's claims.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Names a process in its claims; random, so that no two share one.
#[must_use]
pub fn process_name() -> String {
    // Without randomness the clock still tells two processes of one machine apart.
    random::bytes::<12>().map_or_else(|_| format!("t{}", clock::now().0), |bytes| to_hex(&bytes))
}

/// The process of ours that made a claim's nonce; `None` for every other nonce, for adapters elsewhere make up their own.
#[must_use]
pub fn process_of(nonce: &str) -> Option<&str> {
    let (process, number) = nonce.split_once('.')?;
    let hex = process.len() == 24 && process.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (hex && number.parse::<u64>().is_ok()).then_some(process)
}

impl Lane {
    /// Handles one record. `claimed` is called when it need not be delivered again: its claim is decided, or it has none.
    /// `taken` is the life of LOG in which the record was taken from OUT, and its place there.
    pub(super) async fn handle(&self, record: Outbound, taken: (u64, Seq), claimed: impl FnOnce()) {
        match record {
            Outbound::Send(send) => self.send(&send, taken, claimed).await,
            Outbound::Reconcile(question) => {
                claimed();
                self.reconcile(&question).await;
            }
        }
    }

    async fn send(&self, send: &SendRecord, taken: (u64, Seq), claimed: impl FnOnce()) {
        // Waiting for the rate happens before the claim: a claim without a call would read as `unknown`.
        if let Some(limits) = &self.limits {
            limits.until_ready(send.until, &send.claim_key()).await;
        }
        if clock::now() > send.until {
            tracing::warn!(channel = %self.channel, send = %send.send, until = %send.until,
                "an attempt came here after its end; nothing is sent");
            self.metrics.late(&self.channel);
            return claimed();
        }
        let ours = self.claim(send).await;
        claimed();
        if !ours {
            return;
        }
        // Looked at after the claim, which waits while LOG is in doubt: the record may be of before a rebase.
        if self.log.doubt().is_void(taken.0, taken.1) {
            tracing::warn!(channel = %self.channel, send = %send.send, "an attempt of before the log was rebased is not made");
            return;
        }
        if !self.made.is_new(send.claim_key()) {
            tracing::error!(channel = %self.channel, send = %send.send, part = send.part, n = send.n,
                "this process made that attempt, and the log lacks its claim: an older copy of it came back; nothing is sent");
            return;
        }
        #[cfg(test)]
        if planted(Bug::ResultBeforeSend) {
            self.result(send, AttemptOutcome::new(Outcome::Accepted), false).await;
        }
        let now = clock::now();
        let outcome = if !self.has_time(send, self.send_timeout) {
            let mut o = AttemptOutcome::new(Outcome::NotSent);
            o.detail = Some("too late for an answer before the attempt's end".into());
            o
        } else {
            self.call(send).await
        };
        self.metrics.sent(&self.channel, outcome.outcome, clock::now().since(now));
        self.result(send, outcome, false).await;
    }

    /// The claim is durable before the first byte leaves.
    async fn claim(&self, send: &SendRecord) -> bool {
        let key = send.claim_key();
        // Fresh for each delivery: who creates the claim with it owns the attempt.
        let nonce = format!("{}.{}", self.process, NEXT.fetch_add(1, Ordering::Relaxed));
        loop {
            match self.log.claim(&key, &nonce).await {
                Ok(Claim::Ours) => return true,
                Ok(Claim::Taken) => return false,
                Err(LogError::Refused(why)) => {
                    tracing::warn!(channel = %self.channel, send = %send.send, why, "a claim was refused; nothing is sent");
                    return false;
                }
                Err(error) => {
                    tracing::warn!(channel = %self.channel, %error, "cannot claim; trying again");
                    self.metrics.log_error("claim");
                    tokio::time::sleep(RETRY).await;
                    if clock::now() > send.until {
                        return false;
                    }
                }
            }
        }
    }

    async fn call(&self, send: &SendRecord) -> AttemptOutcome {
        if let Some(transport) = &self.transport {
            return match self.files(send).await {
                Ok(files) => transport.send(send, files, self.send_timeout).await,
                Err(without) => without,
            };
        }
        let ready = match send.content.attachments.is_empty() {
            true => None,
            false => match self.hand_over(send).await {
                Ok(ready) => Some(self.links.as_ref().map_or_else(|| ready.clone(), |links| links.fill(&ready))),
                Err(without) => return without,
            },
        };
        match self.adapter.encode(ready.as_ref().unwrap_or(send)) {
            Ok(call) => {
                let (call, latest) = (self.signed(call), send.until.plus(-self.timeout_ms()));
                let answer = self.client.call_until(call, latest).await;
                self.adapter.classify(send, &answer, clock::now())
            }
            Err(refused) => refused,
        }
    }

    /// The files of a send, in their order.
    async fn files(&self, send: &SendRecord) -> Result<Vec<Bytes>, AttemptOutcome> {
        let mut files = vec![];
        for file in &send.content.attachments {
            files.push(self.file(send, file).await?);
        }
        Ok(files)
    }

    /// A file of a send, as it is stored.
    pub(super) async fn file(&self, send: &SendRecord, file: &Attachment) -> Result<Bytes, AttemptOutcome> {
        let stored = match &file.blob {
            Some(blob) => self.log.get_blob(&blob_scope(&send.channel, &send.thread), blob).await,
            None => Ok(None),
        };
        match stored {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => {
                let gone = format!("the file `{}` is not there any more", file.name);
                Err(classify::Class::PermanentMessage.attempt(None, gone))
            }
            Err(error) => {
                tracing::warn!(channel = %self.channel, %error, "cannot read a file of a send; it is tried again");
                self.metrics.log_error("blob");
                Err(classify::Class::Retry.attempt(None, "a file could not be read from the log"))
            }
        }
    }

    fn timeout_ms(&self) -> i64 {
        i64::try_from(self.send_timeout.as_millis()).unwrap_or(i64::MAX)
    }

    /// A call signed for this moment, which takes the channel's time.
    fn signed(&self, call: Call) -> Call {
        self.adapter.signed(Call { timeout: self.send_timeout, ..call }, clock::now())
    }

    /// Makes a call, signed for this moment and within the channel's time.
    pub(super) async fn leave(&self, call: Call) -> Answer {
        self.client.call(self.signed(call)).await
    }

    async fn reconcile(&self, question: &Reconcile) {
        let Some(call) = self.adapter.reconcile(question) else { return };
        // The provider may list a message a little later than it took it: ask until the time is over. By a clock that was ahead
        // its end can be days away, so it is never asked for longer than the channel wants.
        let longest = Duration::from_millis(u64::try_from(self.adapter.profile().reconcile_ms).unwrap_or(0));
        let (began, mut wait) = (tokio::time::Instant::now(), Duration::from_secs(1));
        loop {
            let answer = self.leave(call.clone()).await;
            if let Some(outcome) = self.adapter.reconciled(question, &answer) {
                let send = as_send(question);
                return self.result(&send, outcome, true).await;
            }
            let next = clock::now().plus(i64::try_from(wait.as_millis()).unwrap_or(1000));
            if next >= question.until || began.elapsed() + wait >= longest {
                return;
            }
            tokio::time::sleep(wait).await;
            wait = wait.saturating_mul(2).min(Duration::from_secs(10));
        }
    }

    async fn result(&self, send: &SendRecord, o: AttemptOutcome, reconciled: bool) {
        let key = format!("{}.{}.{}:{}", send.send, send.part, send.n, o.outcome.as_str());
        let result = AttemptResult {
            id: event_id(&self.channel, "result", &key),
            channel: self.channel.clone(),
            send: send.send.clone(),
            part: send.part,
            n: send.n,
            at: clock::now(),
            outcome: o.outcome,
            provider_ids: o.provider_ids,
            code: o.code,
            detail: o.detail,
            retry_after_ms: o.retry_after_ms,
            channel_refused: o.channel_refused,
            opted_out: o.opted_out,
            fault: o.fault,
            reconciled,
        };
        let inbound = Inbound::Result(result);
        let record = InRecord {
            id: inbound.id().to_owned(),
            channel: self.channel.clone(),
            class: Class::Vital,
            data: inbound.to_vec().into(),
        };
        for _ in 0..RESULT_TRIES {
            match self.log.ingest(record.clone()).await {
                Ok(_) => return,
                Err(error) => {
                    tracing::warn!(channel = %self.channel, %error, "cannot store a result; trying again");
                    self.metrics.log_error("result");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
        tracing::error!(channel = %self.channel, send = %send.send, "a result could not be stored; the attempt becomes unknown");
    }
}

fn as_send(q: &Reconcile) -> SendRecord {
    SendRecord {
        send: q.send.clone(),
        part: q.part,
        n: q.n,
        until: q.until,
        channel: q.channel.clone(),
        conversation: q.conversation.clone(),
        thread: q.thread.clone(),
        to: q.to.clone(),
        content: q.content.clone(),
        author: switchboard_envelope::Author::Agent { id: String::new() },
        reply_to: vec![],
        traceparent: None,
        mail: None,
        window_until: None,
    }
}
