//! What happens to a simulated workspace from outside: copies that come back, clocks that are wrong, disks that fill up, and a channel
//! that leaves the configuration.

use super::checks;
use super::world::{CHANNEL, Process, World, seat};
use crate::clock;
use crate::config::RetentionConfig;
use crate::lifecycle::{Known, Steady, tidy};
use crate::log::Log;
use crate::log::memory::{Faults, MemoryLog, Parts, Room};
use crate::router::{RouterHandle, Standing, request_rebase};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Trims as the daemon does, while this process leads: LOG too where `frames` says so, soon after its frames came.
pub(super) async fn keeps_tidy(log: Arc<dyn Log>, handle: RouterHandle, frames: bool, mut stop: watch::Receiver<bool>) {
    let retention = RetentionConfig { messages: Duration::from_secs(60), raw: Duration::from_secs(300) };
    let mut steady = Steady::default();
    steady.look(log.as_ref()).await;
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(20)) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        if *handle.standing.borrow() == Standing::Leads {
            let life = log.doubt().life();
            let (at, state) = handle.state.recent();
            // What fails is tried again.
            let _ =
                tidy(log.as_ref(), Known { life, at, state: &state }, frames.then_some(at), &retention, &mut steady)
                    .await;
        }
    }
}

impl World {
    /// The broker comes back with an older copy of its store, or of a part of it, under the processes or while they are down. A log
    /// of one process is a file, which is put back as a whole while that is down.
    pub(super) async fn restore(&mut self, crew: &mut Vec<Process>) -> Result<(), String> {
        let Some(copy) = self.backup.take() else { return Ok(()) };
        const ALL: Parts = Parts { inn: true, log: true, out: true, beside: true };
        const NONE: Parts = Parts { inn: false, log: false, out: false, beside: false };
        let alone = self.log.exclusive();
        let parts = match self.dice.below(6) {
            0 if !alone => Parts { inn: true, ..NONE },
            1 if !alone => Parts { log: true, ..NONE },
            2 if !alone => Parts { out: true, ..NONE },
            3 if !alone => Parts { inn: false, ..ALL },
            _ => ALL,
        };
        // A LOG that is trimmed is nothing without the snapshots of its time.
        let parts = if parts.log && self.trims { Parts { beside: true, ..parts } } else { parts };
        let lost = |log: &MemoryLog| {
            let cut = parts.log && log.copy().last_frame() > copy.last_frame();
            (cut, parts.beside && !cut && log.misses_claims(&copy))
        };
        // Of claims a process knows its own: where some would be gone of which one that runs knows nothing, all are stopped first.
        let unseen = lost(&self.log).1 && !crew.iter().all(|process| process.log.misses_claims(&copy));
        let down = self.dice.below(2) == 0 || alone || unseen;
        let mut told = vec![];
        if down {
            for process in crew.drain(..) {
                told.push(process.told());
                self.kill(process).await;
            }
        }
        // What is late lands with a kill.
        let (cut, forgets) = lost(&self.log);
        let (before, now) = (self.log.copy().last_frame(), self.now());
        tracing::info!(?parts, down, before, to = copy.last_frame(), %now, "restored");
        self.log.restore(&copy, parts);
        // Under processes that run, the one that knows may be killed before it said so, and another lead that knows nothing.
        let knows = |frame: u64| frame.min(before) > copy.last_frame();
        let known = match down {
            true if forgets => false,
            true => told.iter().any(|t| knows(t.frame)),
            false if forgets => true,
            false => !crew.is_empty() && crew.iter().all(|process| knows(process.told().frame)),
        };
        if cut {
            self.ledger.cut = Some(copy.last_frame());
            self.ledger.before_cut = self.provider.book().delivered.len();
        }
        self.forget_what_is_lost().await?;
        // What nobody had written down when all were killed leaves no trace: whoever restores asks.
        if (cut || forgets) && !known {
            self.log.set_faults(Faults::default());
            let last = checks::rebases(&self.log).await?;
            request_rebase(&self.log, last, "restored").await.map_err(|e| e.to_string())?;
            self.log.set_faults(self.faults);
        }
        // Nothing tells a process that it is not the one that knows most. Where they start together it comes to know before it
        // leads; where they do not, whoever puts the copy back has to ask for the rebase.
        told.sort_by_key(|t| std::cmp::Reverse(t.frame));
        for told in told {
            crew.push(self.start(told).await?);
        }
        Ok(())
    }

    /// What neither IN nor LOG holds any more cannot come back; the alarm says that.
    async fn forget_what_is_lost(&mut self) -> Result<(), String> {
        self.log.set_faults(Faults::default());
        let (kept, decided) = checks::known(&self.log).await?;
        self.log.set_faults(self.faults);
        let tripping = &self.ledger.tripping;
        for accepted in self.ledger.accepted.values_mut() {
            accepted.retain(|id| kept.contains(id) || (decided.contains(id) && !tripping.contains(id)));
        }
        Ok(())
    }

    /// SIGSTOP at any moment, for longer than the others wait or not; the world goes on meanwhile.
    pub(super) async fn pause(&mut self, process: &Process) {
        process.log.pause(true);
        for _ in 0..self.dice.below(4) {
            self.customer_writes().await;
            let ms = self.dice.below(2_500);
            self.pass(Duration::from_millis(ms)).await;
        }
        process.log.pause(false);
    }

    /// The machine's clock is ahead for a moment, by minutes or days; the world goes on meanwhile.
    pub(super) async fn clock_goes_ahead(&mut self) {
        let minutes = [3, 600, 60_000][seat(&mut self.dice, 3)];
        clock::simulated::ahead(minutes * 60_000);
        for _ in 0..=self.dice.below(3) {
            self.customer_writes().await;
            let ms = self.dice.below(20_000);
            self.pass(Duration::from_millis(ms)).await;
        }
        clock::simulated::ahead(0);
    }

    /// The disk is full for a while, or so full that messages are refused and the rest still fits; or claims alone have no room.
    pub(super) async fn disk_fills(&mut self, process: &Process) {
        let room = [Room::ForVital, Room::None, Room::NoClaims][seat(&mut self.dice, 3)];
        self.log.set_room(room);
        for _ in 0..self.dice.below(4) {
            self.customer_writes().await;
            self.agent_acts(process).await;
            let ms = self.dice.below(if room == Room::NoClaims { 90_000 } else { 3_000 });
            self.pass(Duration::from_millis(ms)).await;
        }
        self.log.set_room(Room::Enough);
    }

    /// OUT drops what nobody may have claimed yet, as a broker does whose stream is full.
    pub(super) async fn out_drops(&mut self) {
        let Ok(end) = self.log.out_last().await else { return };
        self.log.drop_out(self.dice.below(end + 1));
    }

    /// A process comes back with a configuration that lacks the channel, and later with one that has it again.
    pub(super) async fn channel_leaves(&mut self, crew: &mut Vec<Process>) -> Result<(), String> {
        for removed in [true, false] {
            self.removed = removed;
            let one = seat(&mut self.dice, crew.len());
            let told = crew[one].told();
            self.kill(crew.remove(one)).await;
            crew.insert(one, self.start(told).await?);
            for _ in 0..self.dice.below(4) {
                self.customer_writes().await;
                self.agent_acts(&crew[one]).await;
                let s = self.dice.below(120);
                self.pass(Duration::from_secs(s)).await;
            }
        }
        tracing::info!(CHANNEL, "the channel is configured again");
        Ok(())
    }
}
