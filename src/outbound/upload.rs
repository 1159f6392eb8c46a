//! Files that a provider wants to have before the message: they are handed over within the attempt, after its claim.

use super::worker::Lane;
use crate::clock;
use bytes::Bytes;
use std::time::Duration;
use switchboard_adapter_sdk::{Answer, AttemptOutcome, Call, Step, Upload, classify::Class};
use switchboard_envelope::{Attachment, Fault, Outcome, Send as SendRecord};

/// The most calls for one file.
const MOST_STEPS: u32 = 200;

impl Lane {
    /// The send with what the provider calls its files, where it wants to have them first. What fails here has sent nothing.
    pub(super) async fn hand_over(&self, send: &SendRecord) -> Result<SendRecord, AttemptOutcome> {
        let mut ready = send.clone();
        for (file, ready) in send.content.attachments.iter().zip(&mut ready.content.attachments) {
            if let Some(mut upload) = self.adapter.upload(send, file) {
                let bytes = self.file(send, file).await?;
                ready.url = Some(self.steps(send, file, upload.as_mut(), &bytes).await?);
            }
        }
        Ok(ready)
    }

    async fn steps(
        &self,
        send: &SendRecord,
        file: &Attachment,
        upload: &mut (dyn Upload + '_),
        bytes: &Bytes,
    ) -> Result<String, AttemptOutcome> {
        let mut answer: Option<Answer> = None;
        for _ in 0..MOST_STEPS {
            let step = upload.step(bytes, answer.as_ref(), clock::now());
            match step.map_err(|without| of_the_file(without, answer.as_ref()))? {
                Step::Done(name) => return Ok(name),
                Step::Call(call, wait) => {
                    // The message itself has to be answered before the attempt's end, too.
                    if !self.has_time(send, wait.saturating_add(self.send_timeout.saturating_mul(2))) {
                        break;
                    }
                    tokio::time::sleep(wait).await;
                    answer = Some(self.leave(Call::clone(&call)).await);
                }
            }
        }
        let late = format!("the provider took too long over the file `{}`; nothing was sent", file.name);
        Err(of_the_file(Class::Retry.attempt(None, late), answer.as_ref()))
    }

    /// Whether so much time is left before an attempt's end.
    pub(super) fn has_time(&self, send: &SendRecord, time: Duration) -> bool {
        clock::now().plus(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)) <= send.until
    }
}

/// Where the provider answers, a file that it does not take now says nothing of messages without one: the channel works.
fn of_the_file(mut without: AttemptOutcome, answer: Option<&Answer>) -> AttemptOutcome {
    let answers = matches!(answer, Some(Ok(_)));
    if answers && without.outcome == Outcome::NotSent && !without.channel_refused {
        without.fault = without.fault.or(Some(Fault::Recipient));
    }
    without
}

#[cfg(test)]
#[path = "upload_tests.rs"]
mod tests;
