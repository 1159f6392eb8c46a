//! What people of ours are told at their desks. A notice is a send like any other, in a lane of its own: what becomes of it changes
//! nothing of its conversation.

use super::Draft;
use super::command::{Answer, done, refuse};
use crate::event::{DeadReason, Private, Public};
use crate::ids::{ConvId, MessageId};
use crate::pack::standing::{asks, fill_in};
use crate::pack::{ConvStatus, Notify, Priority};
use crate::state::fold::beginning;
use crate::state::{ConvPrivate, Conversation, Files, SendPrivate, SendState, line};
use std::collections::BTreeSet;
use switchboard_envelope::{Address, Attachment, Author, ChannelProfile, Content, SenderProof};

/// The desk that everybody has: what it is told stands in the transcript.
pub(crate) const CONSOLE: &str = "console";
/// Notices of one message at most.
const MOST_NOTICES: usize = 16;
/// Bytes of a notice's own text; what one decision says must fit a frame.
const MAX_TEXT: usize = 2000;
const MAX_SUBJECT: usize = 120;
const MAX_NAME: usize = 80;

/// What an agent is told of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Assigned,
    /// To be accepted within this time.
    Offered {
        until_ms: i64,
    },
    /// A rule calls them, and they cannot take it now.
    Called,
}

/// A notice in the making.
struct Notice<'n> {
    desk: &'n str,
    /// Tells it from other notices of the same cause.
    what: String,
    /// The rule, or what else asked for it.
    by: String,
    to: Option<Address>,
    text: String,
}

impl Draft<'_> {
    pub(super) fn is_desk(&self, channel: &str) -> bool {
        self.profile(channel).is_some_and(|p| p.desk)
    }

    /// What the rules said for one message, or to follow up; the same is told once. `of` tells them from other notices of the same
    /// cause.
    pub(super) fn notify_all(&mut self, conv: ConvId, of: &str, notices: &[Notify]) {
        let mut said = BTreeSet::new();
        let fresh: Vec<&Notify> = notices.iter().filter(|n| said.insert((&n.desk, &n.text))).collect();
        if fresh.len() > MOST_NOTICES {
            self.ignore(format!("of {} notices the first {MOST_NOTICES} are told", fresh.len()));
        }
        for (i, notify) in fresh.into_iter().take(MOST_NOTICES).enumerate() {
            let by = notify.rule.clone().unwrap_or_default();
            let text = match &notify.text {
                Some(text) if asks(text) => fill_in(text, &self.standing(conv)),
                Some(text) => text.clone(),
                None => format!("the rule “{by}” asks you to look at this"),
            };
            self.notice(conv, Notice { desk: &notify.desk, what: format!("{of}.{i}"), by, to: None, text });
        }
    }

    /// What a queue says when a clock warns or is breached.
    pub(super) fn notify_late(&mut self, conv: ConvId, notify: &Notify, late: &'static str) {
        let text = notify.text.clone().unwrap_or_else(|| late.to_owned());
        let (what, by) = (late.to_owned(), "clock".to_owned());
        self.notice(conv, Notice { desk: &notify.desk, what, by, to: None, text });
    }

    /// Tells an agent at this desk, or at the one where they are found first; who has none looks into the console.
    pub(super) fn tell_agent(&mut self, conv: ConvId, agent: &str, told: Told, desk: Option<&str>) {
        let Some(definition) = self.pack.agents.get(agent) else { return };
        let Some(desk) = desk.or_else(|| definition.desks.first().map(|(desk, _)| desk.as_str())) else { return };
        if desk == CONSOLE {
            return;
        }
        let kind = self.profile(desk).map_or("agent", |p| p.address_kind.as_str());
        let found = definition.desks.iter().find(|(known, _)| known == desk);
        let name = if definition.name.is_empty() { agent } else { definition.name.as_str() };
        let to = match found {
            Some((_, address)) => Address::new(kind, address.clone()),
            None => Address::new("agent", agent),
        };
        let to = Some(Address { name: Some(name.to_owned()), ..to });
        let text = match told {
            Told::Assigned => format!("{name}: this conversation is yours"),
            Told::Offered { until_ms } => {
                format!("{name}: this conversation is offered to you for {}", crate::pack::read::spell(until_ms))
            }
            Told::Called => format!("{name}: you are called to this conversation, which waits"),
        };
        let what = format!("{told:?}.{agent}");
        self.notice(conv, Notice { desk, what, by: "assignment".to_owned(), to, text });
    }

    /// A rule names an agent, who cannot take it now, and the desk where they hear of it all the same.
    pub(super) fn call_out(&mut self, conv: ConvId, agent: Option<&str>, desk: Option<&str>) {
        if let (Some(agent), Some(desk)) = (agent, desk) {
            self.tell_agent(conv, agent, Told::Called, Some(desk));
        }
    }

    fn notice(&mut self, conv: ConvId, n: Notice<'_>) {
        // Not an ordinal: what else the decision says keeps its ids, whoever is told of it.
        let id = conv.to_string();
        let fields = [self.cause.as_bytes(), b"notice", id.as_bytes(), n.desk.as_bytes(), n.what.as_bytes()];
        let message = MessageId::derive(&self.state.salt, &fields);
        if self.state.sends.contains_key(&message) || self.state.settled.contains_key(&message) {
            return self.ignore("the notice was given before");
        }
        let Some(c) = self.conv(conv) else { return };
        let console = self.profile(n.desk).and_then(|p| p.console.clone());
        let files = c.private.as_deref().and_then(ConvPrivate::files);
        let text = words(&c, &n.text, files.as_ref(), console.as_deref());
        // They open where the console is reached.
        let attachments = files.filter(|_| console.is_some()).as_ref().map(linked).unwrap_or_default();
        let sender_proof = c.private.as_deref().and_then(ConvPrivate::doubt);
        let content = Content { attachments, sender_proof, ..Content::text(text) };
        let to = n.to.unwrap_or_else(|| Address::new("desk", n.desk));
        let author = Author::Auto { rule: n.by };
        self.queue_notice(&c, message, n.desk, author, content, to, None);
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one event")]
    fn queue_notice(
        &mut self,
        c: &Conversation,
        message: MessageId,
        desk: &str,
        author: Author,
        content: Content,
        to: Address,
        resends: Option<MessageId>,
    ) {
        let (at, here) = (self.now(), desk == CONSOLE);
        let known = self.profile(desk).filter(|p| p.desk).cloned();
        let gone = known.is_none() && !here;
        let profile = known.unwrap_or_else(|| ChannelProfile::new("desk", "desk"));
        let again = profile.same_id_retry || profile.resend_unknown;
        let public = Public::SendQueued {
            parts: profile.parts(&content),
            conv: c.id,
            message,
            channel: desk.to_owned(),
            author,
            at,
            not_after: at.plus(profile.not_after_ms),
            push: here,
            resends,
            relived: self.relived,
            doubted: self.relived && !here && !gone && !again,
            notice: true,
        };
        let traceparent = self.traceparent.clone();
        let private = Private::Send { content: Box::new(content), to, reply_to: vec![], mail: None, traceparent };
        self.emit_private(public, c.contact, private);
        if gone && let Some(send) = self.state.sends.get(&message).cloned() {
            return self.dead(&send, DeadReason::ChannelRemoved);
        }
        self.release.insert(desk.to_owned());
    }

    /// A notice that is a dead letter, once more.
    pub(super) fn resend_notice(&mut self, s: &SendState, p: &SendPrivate) -> Answer {
        if !self.is_desk(&s.channel) {
            let detail = format!("desk `{}` is not in the configuration", s.channel);
            return Err(refuse(422, "no_channel", detail));
        }
        let Some(c) = self.conv(s.conv) else {
            return Err(refuse(409, "closed", "its conversation closed too long ago"));
        };
        let message = self.new_message_id();
        self.queue_notice(&c, message, &s.channel, s.author.clone(), p.content.clone(), p.to.clone(), Some(s.id));
        self.emit(Public::DeadCleared { conv: s.conv, message: s.id, resent: Some(message) });
        Ok(done(202, [("conversation", s.conv.to_string()), ("message", message.to_string())]))
    }
}

/// The files as a desk gets them: each where the API has it, of which who sends makes a link that opens for a while.
fn linked(files: &Files) -> Vec<Attachment> {
    let one = |(i, mime, name): &(usize, String, String)| Attachment {
        name: name.clone(),
        mime: mime.clone(),
        url: Some(format!("/messages/{}/attachments/{i}", files.message)),
        ..Attachment::default()
    };
    files.first.iter().map(one).collect()
}

/// How many files there are, and what they are called.
fn counted(files: &Files) -> String {
    if files.first.is_empty() {
        return "files".to_owned();
    }
    let names = files.first.iter().map(|(_, _, name)| name.as_str()).collect::<Vec<_>>().join(", ");
    let more = match files.count.saturating_sub(files.first.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{} file{}: {names}{more}", files.count, if files.count == 1 { "" } else { "s" })
}

/// Whoever reads the customer's words at a desk is the one to be warned.
fn warning(doubt: SenderProof) -> &'static str {
    match doubt {
        SenderProof::Proved => "",
        SenderProof::NotProved => "SENDER NOT PROVED: anybody may have written this in the customer's name",
        SenderProof::Disproved => {
            "SENDER DISPROVED (DMARC failed): somebody else may have written this in the customer's name, or a server that \
             forwarded it changed it; ask them in another way before you act on it"
        }
    }
}

/// The whole notice: what is said, of which conversation, what the customer wrote and attached, and where it is answered.
fn words(c: &Conversation, said: &str, files: Option<&Files>, console: Option<&str>) -> String {
    let cut = beginning(said, MAX_TEXT);
    let mut text = cut.trim_end().to_owned();
    if cut.len() < said.len() {
        text.push('…');
    }
    let mut of = vec![c.id.to_string(), (*c.channel).clone()];
    let queue = c.queue.as_deref().filter(|_| matches!(c.status, ConvStatus::Queued | ConvStatus::Offered));
    of.extend(queue.map(|queue| format!("queue {queue}")));
    of.extend(c.agent.as_deref().filter(|_| c.status == ConvStatus::Assigned).map(|agent| format!("with {agent}")));
    if c.priority != Priority::Normal {
        of.push(c.priority.as_str().to_owned());
    }
    let p = c.private.as_deref();
    if let Some(address) = p.and_then(|p| p.address()) {
        of.push(format!("from {}", line(address.name.as_deref().unwrap_or(&address.value), MAX_NAME)));
    }
    text.push('\n');
    text.push_str(&of.join(" · "));
    if let Some(doubt) = p.and_then(ConvPrivate::doubt) {
        text.push('\n');
        text.push_str(warning(doubt));
    }
    let quoted = [
        p.and_then(|p| p.subject()).map(|subject| line(subject, MAX_SUBJECT)),
        p.and_then(|p| p.excerpt()).map(|excerpt| line(excerpt, excerpt.len())),
    ];
    for said in quoted.into_iter().flatten().filter(|said| !said.is_empty()) {
        text.push_str("\n> ");
        text.push_str(&said);
    }
    if let Some(files) = files {
        text.push('\n');
        text.push_str(&counted(files));
    }
    if let Some(console) = console {
        text.push_str(&format!("\n{console}/console/inbox/all/{}", c.id));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_customer_wrote_stays_in_one_line() {
        assert_eq!(line("one\r\n> two\u{0}\tthree", 100), "one > two three");
        assert_eq!(line("żółw żółw", 5), "żó…", "and is cut between characters");
        assert_eq!(line(" \n ", 100), "");
    }
}
