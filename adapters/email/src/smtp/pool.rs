//! One mail, over a connection that is open already or a new one.

use super::Ended;
use super::dialogue::Dialogue;
use crate::compose::{self, Identity, Mail};
use crate::config::Server;
use crate::submission::{self, Stage};
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use switchboard_adapter_sdk::{AttemptOutcome, Transport, classify::Class};
use switchboard_envelope::{Outcome, Send as SendRecord};

/// Open connections that wait for a mail; servers do not like many.
const IDLE: usize = 4;
/// A server hangs up after some minutes, and firewalls forget sooner.
const IDLE_TIME: Duration = Duration::from_secs(45);
/// Some servers count what comes over one connection.
const MAILS: u32 = 100;

struct Open {
    dialogue: Dialogue,
    mails: u32,
    /// A refused mail may have left something behind.
    begun: bool,
    since: Instant,
}

#[expect(clippy::disallowed_methods, reason = "how long a connection waited is nothing that anybody decides by")]
fn now() -> Instant {
    Instant::now()
}

/// Hands the mails of one channel in at its server.
pub struct Submission {
    server: Server,
    identity: Identity,
    idle: Mutex<Vec<Open>>,
}

impl Submission {
    #[must_use]
    pub fn new(server: Server, identity: Identity) -> Submission {
        Submission { server, identity, idle: Mutex::default() }
    }

    /// Hands a mail in, within this time.
    pub async fn submit(&self, mail: &Mail, within: Duration) -> AttemptOutcome {
        let mut stage = Stage::Connect;
        match tokio::time::timeout(within, self.hand_in(mail, &mut stage)).await {
            Ok(Ok(left_out)) => AttemptOutcome {
                // Reports name it, and so do answers.
                provider_ids: vec![mail.message_id.clone()],
                detail: (!left_out.is_empty())
                    .then(|| format!("it went to {}, and not to {}", mail.to, left_out.join("; "))),
                ..AttemptOutcome::new(Outcome::Accepted)
            },
            Ok(Err(Ended::Answered(reply))) => submission::answered(stage, &reply),
            Ok(Err(Ended::Lost(why))) => submission::lost(stage, &why),
            Ok(Err(Ended::By(outcome))) => *outcome,
            Err(_) => submission::lost(stage, &format!("no answer within {} s", within.as_secs())),
        }
    }

    async fn hand_in(&self, mail: &Mail, stage: &mut Stage) -> Result<Vec<String>, Ended> {
        if let Some(open) = self.waiting() {
            *stage = Stage::Sender;
            match self.over(open, mail, stage).await {
                // It closed while it waited: nothing of this mail is there, and a new one may well take it.
                Err(Ended::Lost(_)) if *stage < Stage::Sent => {}
                Err(Ended::Answered(reply)) if reply.code == 421 && *stage < Stage::Sent => {}
                ended => return ended,
            }
        }
        let dialogue = Dialogue::open(&self.server, stage).await?;
        self.over(Open { dialogue, mails: 0, begun: false, since: now() }, mail, stage).await
    }

    async fn over(&self, mut open: Open, mail: &Mail, stage: &mut Stage) -> Result<Vec<String>, Ended> {
        if open.begun {
            open.dialogue.reset().await?;
        }
        let ended = open.dialogue.hand_in(mail, stage).await;
        // Nothing is waited for any more: what became of the mail is known, and must not be lost to the time that is over.
        open.mails += 1;
        open.begun = ended.is_err();
        match &ended {
            Ok(_) => self.keep(open),
            Err(Ended::Answered(reply)) if reply.code != 421 => self.keep(open),
            Err(_) => {}
        }
        ended
    }

    /// A connection that waits, and may still be good.
    fn waiting(&self) -> Option<Open> {
        loop {
            let open = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if open.since.elapsed() < IDLE_TIME {
                return Some(open);
            }
            tokio::spawn(open.dialogue.quit());
        }
    }

    fn keep(&self, open: Open) {
        let open = Open { since: now(), ..open };
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE && open.mails < MAILS {
            idle.push(open);
        } else {
            tokio::spawn(open.dialogue.quit());
        }
    }
}

#[async_trait]
impl Transport for Submission {
    async fn send(&self, send: &SendRecord, files: Vec<Bytes>, within: Duration) -> AttemptOutcome {
        let files: Vec<Vec<u8>> = files.into_iter().map(Vec::from).collect();
        match compose::write(send, &files, &self.identity) {
            Ok(mail) => self.submit(&mail, within).await,
            Err(refused) => Class::PermanentMessage.attempt(None, refused.to_string()),
        }
    }
}
