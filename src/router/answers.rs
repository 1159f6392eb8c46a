//! Who waits for the answer to a command.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use switchboard_routing_rules::event::{KeyHash, Reply};
use tokio::sync::oneshot;

/// The router publishes an answer here once its frame is durable; whoever asked in this process receives it.
#[derive(Default)]
pub struct Answers {
    waiting: Mutex<HashMap<KeyHash, Vec<oneshot::Sender<Reply>>>>,
}

impl Answers {
    /// Registers before the command is ingested, so that the answer cannot come earlier.
    pub fn expect(&self, command: KeyHash) -> oneshot::Receiver<Reply> {
        let (tx, rx) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = waiting.entry(command).or_default();
        entry.retain(|tx| !tx.is_closed());
        entry.push(tx);
        rx
    }

    /// Whether somebody waits for this answer.
    pub(super) fn waits_for(&self, command: KeyHash) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&command)
    }

    pub(super) fn publish(&self, command: KeyHash, reply: &Reply) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&command);
        for tx in waiting.into_iter().flatten() {
            // Whoever gave up waiting finds the answer in history.
            let _ = tx.send(reply.clone());
        }
    }

    /// Forgets who gave up waiting.
    pub fn sweep(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, txs| {
            txs.retain(|tx| !tx.is_closed());
            !txs.is_empty()
        });
    }
}
