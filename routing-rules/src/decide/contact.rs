//! Contacts: who they are, and whether we may write to them.

use super::Draft;
use super::command::{Answer, Refusal, by_whom, done, not_found, refuse};
use crate::event::{KeyHash, Private, Public};
use crate::ids::ContactId;
use std::collections::{BTreeMap, BTreeSet};
use switchboard_envelope::{Actor, Address, ConsentChange, ConsentState};

impl Draft<'_> {
    pub(super) fn consent(&mut self, c: &ConsentChange) {
        let identity = self.state.identity_hash(&c.address);
        let scope = c.scope();
        let current = self.state.consent.get(&(identity, scope.clone())).copied();
        // A bare "yes" answers many questions; it opts in only who had opted out.
        let is_yes = c.reason.as_deref().is_some_and(|r| r.eq_ignore_ascii_case("yes"));
        if is_yes && current != Some(ConsentState::OptedOut) {
            return self.ignore("`yes` opts in only after an opt-out");
        }
        let contact = self.state.contact_of(&c.address);
        self.set_consent(contact, &c.address, &scope, c.state, c.reason.clone());
        if c.state == ConsentState::OptedOut && c.topic.is_none() {
            self.provider_keeps(&c.address, &c.channel);
        }
    }

    /// The person told the provider that they want nothing more. Where it keeps that itself, nobody here can undo it.
    pub(super) fn provider_keeps(&mut self, address: &Address, channel: &str) {
        let whose = (self.state.identity_hash(address), channel.to_owned());
        if self.profile(channel).is_some_and(|p| p.keeps_opt_outs) && !self.state.kept_opt_outs.contains(&whose) {
            self.emit(Public::OptOutKept { identity: whose.0, channel: whose.1 });
        }
    }

    /// Keeps what somebody wants of a channel, or of one topic of it.
    pub(super) fn set_consent(
        &mut self,
        contact: ContactId,
        address: &Address,
        channel: &str,
        state: ConsentState,
        reason: Option<String>,
    ) {
        let identity = self.state.identity_hash(address);
        if self.state.consent.get(&(identity, channel.to_owned())) == Some(&state) {
            return;
        }
        self.emit_private(
            Public::ConsentChanged { contact, identity, channel: channel.to_owned(), state },
            contact,
            Private::Consent { address: address.clone(), reason },
        );
    }

    /// Whether these channels may be unblocked by whoever asks: known before anything is changed.
    pub(super) fn may_unblock(&self, actor: &Actor, channels: &[String]) -> Result<(), Refusal> {
        if !channels.is_empty() {
            self.supervises(actor)?;
        }
        match channels.iter().find(|c| self.profile(c).is_none()) {
            Some(channel) => Err(refuse(422, "no_channel", format!("channel `{channel}` is not in the configuration"))),
            None => Ok(()),
        }
    }

    /// What a rule blocked on these channels is heard again, from every address of the contact.
    pub(super) fn unblock(&mut self, actor: &Actor, contact: &str, channels: &[String]) -> Answer {
        let id = ContactId::parse(contact).map(|id| self.state.resolve(id)).ok_or_else(|| not_found("contact"))?;
        self.speaker(actor)?;
        let by = by_whom(actor);
        let addresses = self.state.conversations_of(id).filter_map(|c| c.private.as_ref()?.address());
        let known: BTreeSet<KeyHash> = addresses.map(|a| self.state.identity_hash(&a)).collect();
        let theirs = |who: &KeyHash, of: &Option<ContactId>| match of {
            Some(of) => self.state.resolve(*of) == id,
            None => known.contains(who),
        };
        let blocked = self.state.blocked.iter().filter(|((who, on), of)| channels.contains(on) && theirs(who, of));
        let blocked: Vec<_> = blocked.map(|(key, _)| key.clone()).collect();
        for (identity, channel) in blocked {
            self.emit(Public::Unblocked { identity, channel, by: by.clone() });
        }
        Ok(done(200, [("contact", id.to_string())]))
    }

    pub(super) fn touch_contact(
        &mut self,
        contact: ContactId,
        tags: Option<BTreeSet<String>>,
        attributes: BTreeMap<String, Option<String>>,
        name: Option<String>,
    ) {
        self.emit_private(
            Public::ContactTouched { contact, tags },
            contact,
            Private::Contact { name, attributes, identity: None },
        );
    }
}
