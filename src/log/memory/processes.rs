//! The processes that share a log in memory: which of them lead, are paused, or are gone.

use super::bell::Bell;
use super::{Inner, MemoryLog};
use crate::log::{Doubt, Leader};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the log knows of each process.
#[derive(Default)]
pub(super) struct Processes(BTreeMap<String, Facts>);

#[derive(Default)]
struct Facts {
    doubt: Arc<Doubt>,
    stands: bool,
    paused: bool,
    /// The claims that it made.
    claims: BTreeSet<String>,
}

impl Processes {
    pub(super) fn is_gone(&self, process: &str) -> bool {
        !self.0.contains_key(process)
    }

    /// Whether a process made one of these claims.
    pub(super) fn made_any(&self, process: &Process, claims: &BTreeSet<String>) -> bool {
        self.0.get(&process.name).is_some_and(|facts| !facts.claims.is_disjoint(claims))
    }

    /// Every process learns that LOG was cut, or that IN is another one; and each that made one of the claims that are gone, that.
    pub(super) fn notice(&self, cut: bool, inn: bool, gone: &BTreeSet<String>) {
        for facts in self.0.values() {
            if cut || !facts.claims.is_disjoint(gone) {
                facts.doubt.log_is_another();
            }
            if inn {
                facts.doubt.in_is_another();
            }
        }
    }
}

/// One process's own handle of a log.
#[derive(Clone)]
pub(super) struct Process {
    name: String,
    paused: Arc<Bell<bool>>,
}

impl MemoryLog {
    /// A handle for one process of several. What it asks while it is paused is done when it goes on.
    #[must_use]
    pub fn of_process(&self, name: &str) -> MemoryLog {
        let doubt = Arc::new(Doubt::default());
        let facts = Facts { doubt: Arc::clone(&doubt), ..Facts::default() };
        self.shared.lock().processes.0.insert(name.to_owned(), facts);
        let process = Process { name: name.to_owned(), paused: Arc::new(Bell::new(false)) };
        MemoryLog { process: Some(process), doubt, ..self.clone() }
    }

    /// Stops this handle's process, or lets it go on.
    pub fn pause(&self, paused: bool) {
        if let Some(process) = &self.process {
            self.facts(|facts| facts.paused = paused);
            process.paused.show(paused);
        }
    }

    /// This handle's process was killed.
    pub fn leave(&self) {
        if let Some(process) = &self.process {
            self.shared.lock().processes.0.remove(&process.name);
        }
    }

    /// Waits while this handle's process is paused.
    pub async fn awake(&self) {
        if let Some(process) = &self.process {
            let mut paused = process.paused.subscribe();
            // The handle holds the other end.
            let _ = paused.wait_for(|paused| !*paused).await;
        }
    }

    fn facts(&self, change: impl FnOnce(&mut Facts)) {
        if let Some(process) = &self.process
            && let Some(facts) = self.shared.lock().processes.0.get_mut(&process.name)
        {
            change(facts);
        }
    }

    /// This handle's process made a claim.
    pub(super) fn made(&self, claim: &str) {
        self.facts(|facts| {
            facts.claims.insert(claim.to_owned());
        });
    }

    pub(super) fn stands(&self, stands: bool) {
        self.facts(|facts| facts.stands = stands);
    }

    /// Who else leads; now and then nobody seems to.
    pub(super) fn other_leader(&self) -> Leader {
        let mut inner = self.shared.lock();
        let Inner { processes, dice, faults, .. } = &mut *inner;
        let own = self.process.as_ref().map(|p| &p.name);
        let Some((name, facts)) = processes.0.iter().find(|(name, f)| f.stands && Some(*name) != own) else {
            return Leader::Nobody;
        };
        match dice.below(1000) {
            roll if roll < u64::from(faults.leader_unseen) => Leader::Nobody,
            _ if facts.paused => Leader::Silent,
            _ => Leader::Here(name.clone()),
        }
    }
}
