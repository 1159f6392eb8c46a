//! Letters: which conversation one belongs to, and what an answer carries of it.

use super::Draft;
use crate::event::{DeadReason, ReceivedMail};
use crate::ids::{ContactId, ConvId, MessageId};
use crate::state::{ConvPrivate, Conversation, Phase};
use std::sync::Arc;
use switchboard_envelope::{Address, Attachment, Author, Evidence, MailContext, Message, Timestamp};

/// Conversations of a contact among which a letter's references are looked for.
const MAX_LOOKED: usize = 64;
/// Of a long chain of references the first one and this many of the last are kept.
const MAX_REFERENCES: usize = 19;
/// Whom a letter went to beside us, at most: each is kept with its conversation.
const MAX_OTHERS: usize = 20;
/// The most bytes of each of them.
const MAX_OTHER: usize = 500;

impl Draft<'_> {
    /// What a letter knows beyond its words, when its channel is one of letters and ours: only an adapter of this process was
    /// shown to verify what it says of a conversation.
    fn facts<'m>(&self, m: &'m Message) -> Option<&'m switchboard_envelope::MailFacts> {
        let profile = self.profile(&m.channel)?;
        m.mail.as_deref().filter(|_| profile.mail && !profile.external)
    }

    /// The conversation that a letter names. Never another customer's, but for who was given its secret reply address, or whom the
    /// customer copied in; and these only when somebody proved who they are.
    pub(super) fn named(&self, m: &Message) -> Option<Arc<Conversation>> {
        let facts = self.facts(m).filter(|f| f.believed)?;
        let writer = self.state.contact_of(&m.from);
        let named = facts.answers.as_ref().and_then(|a| {
            let conv = match a.by {
                Evidence::Envelope => self.conversation_of_send(MessageId::parse(&a.conversation)?)?,
                _ => ConvId::parse(&a.conversation)?,
            };
            let c = self.state.conversation(conv).filter(|c| *c.channel == m.channel)?;
            let theirs = self.state.resolve(c.contact) == writer;
            let guest =
                facts.proved && (a.by == Evidence::ReplyAddress || (a.by == Evidence::MessageId && copied(c, m)));
            (theirs || guest).then(|| Arc::clone(c))
        });
        named.or_else(|| self.referred_to(writer, m))
    }

    /// As long as it is on its way, or remembered.
    fn conversation_of_send(&self, message: MessageId) -> Option<ConvId> {
        let open = self.state.sends.get(&message).map(|send| send.conv);
        open.or_else(|| self.state.settled.get(&message).map(|settled| settled.conv))
    }

    /// The writer's own conversation that knows a letter which this one names, where no thread of theirs begins alike.
    fn referred_to(&self, writer: ContactId, m: &Message) -> Option<Arc<Conversation>> {
        let knows = |p: &ConvPrivate| {
            let of_parent = p.parent.iter().flat_map(|p| &p.references).map(|id| &**id);
            p.reply_to().into_iter().chain(of_parent).any(|id| m.references.iter().any(|r| r == id))
        };
        let theirs = self.state.conversations_of(writer).take(MAX_LOOKED);
        theirs
            .filter(|c| c.channel == m.channel && c.private.as_deref().is_some_and(knows))
            .max_by_key(|c| c.opened_by)
            .map(Arc::clone)
    }

    /// Somebody else than the conversation's customer wrote the letter.
    pub(super) fn is_guest(&self, m: &Message, customer: ContactId) -> bool {
        self.facts(m).is_some() && self.state.resolve(customer) != self.state.contact_of(&m.from)
    }

    /// The letter as it came, where something of it is nowhere else.
    pub(super) fn original(&self, m: &Message) -> Option<Attachment> {
        let size = self.facts(m)?.original?;
        let blob = m.raw.as_ref()?.blob.clone()?;
        let (name, mime) = ("original.eml".into(), Attachment::ORIGINAL.into());
        Some(Attachment { name, mime, size, blob: Some(blob), ..Attachment::default() })
    }

    /// The letter must not be answered automatically.
    pub(super) fn unwanted(&self, m: &Message) -> bool {
        m.mail.as_ref().is_some_and(|facts| facts.no_auto_reply)
    }

    /// Somebody else wrote the letter than it says: an answer would go to a person who wrote nothing.
    pub(super) fn disproved(&self, m: &Message) -> bool {
        // A signature that broke on the way, or another server that forwarded it, disproves nobody: that is DMARC's to say.
        self.facts(m).is_some() && m.meta.get("dmarc").is_some_and(|said| said == "fail")
    }

    /// Whether who wrote is who they say, where the channel can tell. Nobody proved a letter that is not believed.
    pub(super) fn proved(&self, m: &Message) -> Option<bool> {
        let unproved = || self.facts(m).is_some_and(|facts| !facts.believed).then_some(false);
        m.authenticated.or_else(unproved)
    }

    /// What an answer to the letter needs of it.
    pub(super) fn received_mail(&self, conv: ConvId, customer: ContactId, m: &Message) -> Option<Box<ReceivedMail>> {
        let facts = self.facts(m)?;
        let answered = |c: &Arc<Conversation>| c.private.as_ref().is_some_and(|p| p.parent.is_some());
        let notice = m.automatic && self.state.conversation(conv).is_some_and(answered);
        // They come nearest first.
        let mut references: Vec<String> = m.references.iter().rev().cloned().collect();
        if references.len() > MAX_REFERENCES + 1 {
            references.drain(1..references.len() - MAX_REFERENCES);
        }
        // Who is not who they say could have us write to anybody.
        let others = facts.others.iter().filter(|o| facts.believed && size(o) <= MAX_OTHER);
        let others = others.take(MAX_OTHERS).cloned().collect();
        Some(Box::new(ReceivedMail { references, at: m.at, others, aside: notice || self.is_guest(m, customer) }))
    }
}

fn size(address: &Address) -> usize {
    address.value.len() + address.name.as_ref().map_or(0, String::len)
}

/// The customer's latest letter went to whom this one is from, too.
fn copied(c: &Conversation, m: &Message) -> bool {
    let parent = c.private.as_ref().and_then(|p| p.parent.as_deref());
    parent
        .is_some_and(|p| p.others.iter().any(|o| o.kind == m.from.kind && o.value.eq_ignore_ascii_case(&m.from.value)))
}

/// What a letter of ours carries of the one that it answers. An automatic answer quotes nothing (RFC 3834).
pub(super) fn context(
    p: &ConvPrivate,
    author: &Author,
    at: Timestamp,
    signature: Option<String>,
    first: Option<String>,
    zone: Option<String>,
) -> MailContext {
    let parent = p.parent.as_deref();
    let by_hand = author.by_hand();
    MailContext {
        at,
        references: parent.iter().flat_map(|p| &p.references).map(ToString::to_string).collect(),
        quote: parent.filter(|_| by_hand).map(|p| p.quote.clone()).filter(|q| !q.text.trim().is_empty()),
        signature,
        // RFC 3834: an automatic answer goes to one person.
        others: parent.filter(|_| by_hand).map(|p| p.others.to_vec()).unwrap_or_default(),
        first,
        zone,
    }
}

impl Draft<'_> {
    /// The letter that one which is sent again repeats, if that may have arrived.
    pub(super) fn repeated(&self, resends: Option<MessageId>) -> Option<String> {
        let s = self.state.sends.get(&resends?)?;
        let lost = matches!(s.phase, Phase::Dead { reason: DeadReason::Unknown, .. });
        let mail = s.private.as_ref()?.mail.as_ref()?;
        (lost || s.maybe_sent).then(|| mail.first.clone().unwrap_or_else(|| s.id.to_string()))
    }

    /// What stands below a letter of ours: its agent's own words, then the queue's. An automatic answer has its text.
    pub(super) fn signature(&self, author: &Author, queue: Option<&str>) -> Option<String> {
        let agents = match author {
            Author::Agent { id } => self.pack.agents.get(id).and_then(|a| a.signature.as_deref()),
            Author::Token { .. } => None,
            Author::Auto { .. } | Author::Elsewhere => return None,
        };
        let queues = queue
            .and_then(|q| self.pack.queues.get(q).or_else(|| self.tried?.queues.get(q)))
            .and_then(|q| q.signature.as_deref());
        let lines: Vec<&str> = agents.into_iter().chain(queues).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}
