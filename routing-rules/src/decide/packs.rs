//! Which pack decides: put in force, tried on a share of the new conversations, taken back.

use super::Draft;
use super::command::{Answer, done, refuse};
use crate::event::{CanaryEnd, Presence, Public};
use crate::pack::{Name, Queue, RulePack};

impl<'a> Draft<'a> {
    pub(super) fn reload(&mut self, hash: &str, candidate: Option<&'a RulePack>) -> Answer {
        let pack = usable(hash, candidate)?;
        let before = self.state.pack.clone();
        self.put_in_force(pack, CanaryEnd::Replaced);
        let mut reply = done(200, [("pack", pack.hash.clone()), ("before", before)]);
        // Nothing changed, and another pack decides beside it: who reloads should know.
        reply.ids.extend(self.state.trying().map(|c| ("tried".to_owned(), c.pack.clone())));
        Ok(reply)
    }

    /// Takes back the latest change: a trial while there is one, else the pack in force. Or puts any earlier pack in force.
    pub(super) fn rollback(&mut self, to: Option<&str>, candidate: Option<&'a RulePack>) -> Answer {
        let tried = self.state.trying().map(|c| c.pack.clone());
        if let (None, Some(tried)) = (to, &tried) {
            self.end_canary(CanaryEnd::RolledBack);
            return Ok(done(200, [("pack", self.state.pack.clone()), ("ended", tried.clone())]));
        }
        if let Some(to) = to {
            let pack = usable(to, candidate)?;
            // Also where that pack is in force already: nothing else shall decide beside it.
            if tried.is_some() && self.state.pack == pack.hash {
                self.end_canary_for(CanaryEnd::RolledBack);
            }
            self.put_in_force(pack, CanaryEnd::RolledBack);
            let mut reply = done(200, [("pack", pack.hash.clone())]);
            reply.ids.extend(tried.filter(|tried| *tried != pack.hash).map(|tried| ("ended".to_owned(), tried)));
            return Ok(reply);
        }
        match (self.state.previous_pack.clone(), candidate) {
            (Some(hash), Some(pack)) if pack.hash == hash => {
                self.put_in_force(pack, CanaryEnd::RolledBack);
                Ok(done(200, [("pack", hash)]))
            }
            _ => Err(refuse(409, "no_previous", "no other pack was in force before this one")),
        }
    }

    /// Tries a pack on a share of the new conversations, or on another share than before.
    pub(super) fn try_pack(&mut self, hash: &str, percent: u8, candidate: Option<&'a RulePack>) -> Answer {
        let pack = usable(hash, candidate)?;
        if !(1..=100).contains(&percent) {
            return Err(refuse(422, "share", "the share of a trial is 1 to 100 percent of the new conversations"));
        }
        if self.state.pack == pack.hash {
            return Err(refuse(409, "in_force", "this pack is in force: change its files, then try them"));
        }
        let there =
            |word: &Name| self.pack.presences.find(word).is_some_and(|(as_what, _)| as_what == Presence::Available);
        let given_to_nobody = |queue: &&Queue| !queue.presence.is_empty() && !queue.presence.iter().any(there);
        if let Some((queue, _)) = pack.queues.iter().find(|(_, queue)| given_to_nobody(queue)) {
            let detail = format!(
                "agents are in presences of the pack in force, which knows none of those of the queue `{queue}`: it would give to nobody; put \
                 its `presence: {{ names }}` in force first"
            );
            return Err(refuse(422, "presence", detail));
        }
        if self.state.trying().is_some_and(|c| c.pack != pack.hash) {
            self.end_canary(CanaryEnd::Replaced);
        }
        let at = self.now();
        self.emit(Public::CanaryBegan { pack: pack.hash.clone(), percent, at });
        self.tried = Some(pack);
        Ok(done(200, [("pack", pack.hash.clone()), ("beside", self.state.pack.clone())]))
    }

    /// Ends the trial: what was tried is in force from now on, or decides nothing more.
    pub(super) fn end_trial(&mut self, promote: bool) -> Answer {
        let Some(tried) = self.state.trying().map(|c| c.pack.clone()) else {
            return Err(refuse(409, "no_canary", "no pack is being tried"));
        };
        match self.tried.filter(|p| promote && p.hash == tried) {
            Some(pack) => self.put_in_force(pack, CanaryEnd::Promoted),
            None => self.end_canary(CanaryEnd::Stopped),
        }
        Ok(done(200, [("pack", self.state.pack.clone()), ("ended", tried)]))
    }

    /// Says that the trial is over, if there is one.
    pub(super) fn end_canary_for(&mut self, how: CanaryEnd) {
        if self.state.trying().is_some() {
            let at = self.now();
            self.emit(Public::CanaryEnded { at, how });
        }
        self.tried = None;
    }

    /// The same, and what was in its queues alone moves.
    fn end_canary(&mut self, how: CanaryEnd) {
        self.end_canary_for(how);
        self.after_reading_again();
    }

    fn put_in_force(&mut self, pack: &'a RulePack, why: CanaryEnd) {
        if self.state.pack != pack.hash {
            let promoted = self.state.trying().is_some_and(|c| c.pack == pack.hash);
            self.end_canary_for(if promoted { CanaryEnd::Promoted } else { why });
            self.emit(Public::PackInForce { hash: pack.hash.clone() });
        }
        self.pack = pack;
        self.after_reading_again();
    }
}

fn usable<'a>(hash: &str, candidate: Option<&'a RulePack>) -> Result<&'a RulePack, super::command::Refusal> {
    candidate
        .filter(|p| p.hash == hash)
        .ok_or_else(|| refuse(422, "bad_pack", "the pack could not be loaded; the running one stays in force"))
}
