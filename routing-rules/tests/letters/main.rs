//! Letters: which conversation one belongs to, what an answer carries, and who never meets whom.

mod answered;

use proptest::prelude::*;
use std::collections::BTreeMap;
use switchboard_envelope::{
    Action, Actor, Address, Answers, Attachment, AttemptResult, BlobRef, ChannelProfile, Command, Content, Destination,
    Echo, Evidence, Inbound, MailContext, MailFacts, Message, Outcome, Raw, Receipt, ReceiptStatus, Scope, Timestamp,
    Visibility,
};
use switchboard_routing_rules::event::{DeadReason, Event, NoReply, Private, Public, Reply};
use switchboard_routing_rules::ids::{ConvId, MessageId, Salt};
use switchboard_routing_rules::invariants::check_invariants;
use switchboard_routing_rules::pack::{ConvStatus, Environment, RulePack};
use switchboard_routing_rules::state::Phase;
use switchboard_routing_rules::{Input, State, decide};

const MAIL: &str = "support-email";
const OTHER: &str = "sales-email";
const OUTSIDE: &str = "foreign-mail";
const SALT: Salt = Salt([3; 16]);
const PACK: &str = "zone: UTC
queues: { q: { signature: \"Shop & Co\" } }
agents: { ann: { capacity: 10, signature: \"Ann\\nSupport\" } }
replies: { hello: \"We have it.\" }
rules:
  - { name: greet, when: { channel: [support-email, sales-email, foreign-mail] }, then: { reply: hello, set: { contact.seen: \"yes\" } } }
default: { queue: q }
";

struct Life {
    state: State,
    pack: RulePack,
    seq: u64,
    now: Timestamp,
}

/// What one mail says.
#[derive(Clone, Debug)]
struct Mail {
    key: String,
    channel: &'static str,
    from: &'static str,
    thread: String,
    subject: &'static str,
    references: Vec<String>,
    answers: Option<Answers>,
    believed: bool,
    /// What the servers that prove senders said.
    verdict: Option<bool>,
    proved: bool,
    others: Vec<Address>,
    no_auto_reply: bool,
    automatic: bool,
    original: bool,
}

fn mail(key: &str, from: &'static str) -> Mail {
    Mail {
        key: key.into(),
        channel: MAIL,
        from,
        thread: format!("mail:{from}:{key}"),
        subject: "Kettle",
        references: vec![],
        answers: None,
        believed: true,
        verdict: None,
        proved: true,
        others: vec![],
        no_auto_reply: false,
        automatic: false,
        original: false,
    }
}

impl Mail {
    fn naming(self, conversation: ConvId, by: Evidence) -> Mail {
        Mail { answers: Some(Answers { conversation: conversation.to_string(), by }), ..self }
    }
}

impl Life {
    fn new() -> Life {
        let files = [("a.yaml".to_owned(), PACK.as_bytes().to_vec())];
        let pack = RulePack::load(&files, &Environment::default()).expect("a pack").pack;
        let letters = ChannelProfile { mail: true, proactive: true, ..ChannelProfile::new("email", "email") };
        let foreign = ChannelProfile { external: true, ..letters.clone() };
        let channels = [(MAIL, letters.clone()), (OTHER, letters), (OUTSIDE, foreign)];
        let channels: BTreeMap<_, _> = channels.into_iter().map(|(id, p)| (id.to_owned(), p)).collect();
        let now = Timestamp(1_800_000_000_000);
        let state = decide(State::new(SALT), &Input::Lead { now, incarnation: 1, channels: &channels }, &pack).after;
        Life { state, pack, seq: 0, now }
    }

    fn hears(&mut self, inbound: &Inbound) -> Vec<Event> {
        self.now = self.now.plus(1000);
        self.seq += 1;
        let input = Input::Record { seq: self.seq, stored_at: self.now, inbound, candidate: None };
        let decision = decide(self.state.clone(), &input, &self.pack);
        self.state = decision.after;
        assert_eq!(check_invariants(&self.state, &self.pack), vec![]);
        let parts = self.state.to_parts().expect("a snapshot");
        assert_eq!(State::from_parts(SALT, &parts.public, &parts.private).expect("it is read"), self.state);
        decision.events
    }

    fn message(&self, mail: &Mail) -> Message {
        Message {
            id: format!("{}:message:{}", mail.channel, mail.key),
            channel: mail.channel.into(),
            thread: mail.thread.clone(),
            at: self.now,
            received_at: self.now,
            from: Address { name: Some(format!("Name of {}", mail.from)), ..Address::new("email", mail.from) },
            to: None,
            content: Content {
                subject: Some(mail.subject.into()),
                attachments: vec![Attachment { thread: Some("mail:somebody".into()), ..Attachment::default() }],
                ..Content::text(format!("words of {}", mail.key))
            },
            references: mail.references.clone(),
            provider_id: Some(format!("{}@client", mail.key)),
            visibility: Visibility::Private,
            automatic: mail.automatic,
            authenticated: mail.verdict,
            meta: mail.verdict.map(|v| ("dmarc".into(), if v { "pass" } else { "fail" }.into())).into_iter().collect(),
            raw: mail.original.then(|| Raw {
                content_type: "message/rfc822".into(),
                blob: Some(BlobRef::of_hash(&"a".repeat(64))),
                inline: None,
                meta: BTreeMap::new(),
            }),
            traceparent: None,
            mail: Some(Box::new(MailFacts {
                answers: mail.answers.clone(),
                believed: mail.believed,
                proved: mail.proved,
                others: mail.others.clone(),
                no_auto_reply: mail.no_auto_reply,
                original: mail.original.then_some(77),
            })),
        }
    }

    /// A mail comes: its conversation, and what happened.
    fn gets(&mut self, mail: &Mail) -> (ConvId, Vec<Event>) {
        let message = self.message(mail);
        let events = self.hears(&Inbound::Message(Box::new(message)));
        let conv = events.iter().find_map(|e| match &e.public {
            Public::Received { conv, .. } => Some(*conv),
            _ => None,
        });
        (conv.expect("the mail is in a conversation"), events)
    }

    fn asks(&mut self, key: &str, action: Action) -> (Reply, Vec<Event>) {
        let command = Command {
            id: format!("api:command:{key}"),
            channel: "api".into(),
            at: self.now,
            actor: Actor { agent: Some("ann".into()), token: None, scope: Scope::Admin },
            action,
            body_hash: None,
            traceparent: None,
        };
        let events = self.hears(&Inbound::Command(Box::new(command)));
        let reply = events.iter().find_map(|e| match &e.public {
            Public::Answered { reply, .. } => Some(reply.clone()),
            _ => None,
        });
        (reply.expect("every command is answered"), events)
    }

    /// What leaves when an agent answers.
    fn answers(&mut self, key: &str, conv: ConvId) -> Sent {
        let conversation = conv.to_string();
        let action = Action::Reply {
            conversation,
            text: "Try this.".into(),
            attachments: vec![],
            take: true,
            seen: None,
            choices: vec![],
            template: None,
        };
        let (reply, events) = self.asks(key, action);
        assert_eq!(reply.status, 202, "{reply:?}");
        sent(&events).expect("something is sent")
    }

    /// How the first attempt at it ended.
    fn ends(&mut self, send: MessageId, outcome: Outcome) -> Vec<Event> {
        self.ends_as(send, outcome, &format!("{send}@desk"))
    }

    fn ends_as(&mut self, send: MessageId, outcome: Outcome, provider_id: &str) -> Vec<Event> {
        let result = AttemptResult {
            id: format!("{MAIL}:result:{send}.1.1:{outcome:?}"),
            channel: MAIL.into(),
            send: send.to_string(),
            part: 1,
            n: 1,
            at: self.now,
            outcome,
            provider_ids: if outcome == Outcome::Accepted { vec![provider_id.into()] } else { vec![] },
            code: None,
            detail: None,
            retry_after_ms: None,
            channel_refused: false,
            opted_out: false,
            fault: None,
            reconciled: false,
        };
        self.hears(&Inbound::Result(result))
    }

    /// What mail systems say of it, which names no attempt.
    fn is_told(&mut self, send: MessageId, status: ReceiptStatus, detail: Option<&str>) -> Vec<Event> {
        self.hears(&Inbound::Receipt(Receipt {
            id: format!("{MAIL}:receipt:{send}:{status:?}"),
            channel: MAIL.into(),
            provider_id: format!("{send}@desk"),
            thread: None,
            send: Some(send.to_string()),
            part: Some(1),
            n: None,
            status,
            at: self.now,
            code: None,
            detail: detail.map(str::to_owned),
        }))
    }

    fn status(&self, conv: ConvId) -> ConvStatus {
        self.state.conversation(conv).expect("it is there").status
    }

    /// What is known of a letter of ours that is settled.
    fn fate(&self, send: MessageId) -> Option<ReceiptStatus> {
        self.state.settled.get(&send).map(|settled| settled.status)
    }

    fn closes(&mut self, conv: ConvId) {
        let (reply, _) = self.asks(&format!("close-{}", self.seq), Action::Close { conversation: conv.to_string() });
        assert_eq!(reply.status, 200, "{reply:?}");
    }

    fn passes(&mut self, ms: i64) {
        self.now = self.now.plus(ms);
        self.state = decide(self.state.clone(), &Input::Timers { now: self.now }, &self.pack).after;
    }
}

#[derive(Debug)]
struct Sent {
    id: MessageId,
    to: String,
    subject: Option<String>,
    reply_to: Vec<String>,
    mail: MailContext,
}

fn sent(events: &[Event]) -> Option<Sent> {
    events.iter().find_map(|e| match (&e.public, &e.private) {
        (Public::SendQueued { message, .. }, Some((_, Private::Send { content, to, reply_to, mail, .. }))) => {
            Some(Sent {
                id: *message,
                to: to.value.clone(),
                subject: content.subject.clone(),
                reply_to: reply_to.clone(),
                mail: mail.as_deref().cloned().expect("a letter says what it answers"),
            })
        }
        _ => None,
    })
}

fn refused(events: &[Event]) -> Option<NoReply> {
    events.iter().find_map(|e| match e.public {
        Public::NotReplied { why, .. } => Some(why),
        _ => None,
    })
}

const ANN: &str = "ann@customer.example";
const EVE: &str = "eve@customer.example";
const BOB: &str = "bob@x.example";

#[test]
fn an_answer_names_and_quotes_what_it_answers() {
    let mut life = Life::new();
    let (conv, events) = life.gets(&Mail { references: vec!["b@x".into(), "a@x".into()], ..mail("1", ANN) });
    let auto = sent(&events).expect("the rule answers");
    assert_eq!((auto.subject.as_deref(), auto.reply_to.as_slice()), (Some("Kettle"), &["1@client".to_owned()][..]));
    assert_eq!(auto.mail.quote, None, "RFC 3834: an automatic answer does not quote the mail");
    assert_eq!(auto.mail.references, ["a@x", "b@x"]);
    assert_eq!(auto.mail.signature, None, "nobody signs what a rule wrote");
    let by_hand = life.answers("r1", conv);
    assert_eq!(by_hand.mail.zone.as_deref(), Some("UTC"), "the pack's");
    let quote = by_hand.mail.quote.expect("a person's answer quotes");
    assert_eq!(quote.text, "words of 1");
    assert_eq!(quote.author.as_deref(), Some("Name of ann@customer.example <ann@customer.example>"));
    assert_eq!(by_hand.to, ANN);
    assert_eq!(by_hand.mail.signature.as_deref(), Some("Ann\nSupport\nShop & Co"));

    let changed = Mail { subject: "Kettle, and a spoon", references: vec!["1@client".into()], ..mail("2", ANN) };
    assert_eq!(life.gets(&changed).0, conv, "a changed subject, and a thread that begins elsewhere");
    let next = life.answers("r2", conv);
    assert_eq!(next.subject.as_deref(), Some("Kettle, and a spoon"));
    assert_eq!((next.reply_to, next.mail.references), (vec!["2@client".to_owned()], vec!["1@client".to_owned()]));
}

#[test]
fn what_is_not_of_the_customers_hand_is_not_what_is_answered() {
    let mut life = Life::new();
    let (conv, _) = life.gets(&mail("1", ANN));
    let away = Mail { automatic: true, ..mail("2", ANN) };
    assert_eq!(life.gets(&away.naming(conv, Evidence::MessageId)).0, conv);
    let guest = mail("3", EVE).naming(conv, Evidence::ReplyAddress);
    let (joined, events) = life.gets(&guest);
    assert_eq!((joined, refused(&events)), (conv, Some(NoReply::Guest)));
    let answer = life.answers("r", conv);
    assert_eq!((answer.to.as_str(), answer.reply_to), (ANN, vec!["1@client".to_owned()]));
    assert_eq!(answer.mail.quote.expect("a quote").text, "words of 1");
    // What the rule sets of the person, it sets of who wrote.
    let address = Address::new("email", EVE);
    assert!(life.state.contacts.contains_key(&life.state.contact_of(&address)));
    let ann = life.state.contacts.get(&life.state.contact_of(&Address::new("email", ANN))).expect("Ann is known");
    assert_eq!(ann.private.as_ref().and_then(|p| p.name.as_deref()), Some("Name of ann@customer.example"));
}

#[test]
fn only_a_secret_brings_a_stranger_into_a_conversation() {
    for (by, joins) in [(Evidence::ReplyAddress, true), (Evidence::MessageId, false), (Evidence::Subject, false)] {
        let mut life = Life::new();
        let (conv, _) = life.gets(&mail("1", ANN));
        assert_eq!(life.gets(&mail("2", EVE).naming(conv, by)).0 == conv, joins, "{by:?}");
        assert_eq!(life.gets(&mail("3", ANN).naming(conv, by)).0, conv, "{by:?}: the customer");
        assert_ne!(life.gets(&Mail { believed: false, ..mail("4", ANN).naming(conv, by) }).0, conv, "{by:?}: forged");
        assert_ne!(life.gets(&Mail { channel: OTHER, ..mail("5", ANN).naming(conv, by) }).0, conv, "{by:?}: elsewhere");
    }
}

#[test]
fn a_secret_speaks_for_nobody_else_where_nobody_proves_who_wrote() {
    for by in [Evidence::ReplyAddress, Evidence::MessageId, Evidence::Subject] {
        let mut life = Life::new();
        let (conv, _) = life.gets(&Mail { proved: false, others: to(&[BOB]), ..mail("1", ANN) });
        for (key, who) in [("2", EVE), ("3", BOB)] {
            assert_ne!(life.gets(&Mail { proved: false, ..mail(key, who).naming(conv, by) }).0, conv, "{who} {by:?}");
        }
        assert_eq!(life.gets(&Mail { proved: false, ..mail("4", ANN).naming(conv, by) }).0, conv, "{by:?}: their own");
    }
}

fn to(whom: &[&str]) -> Vec<Address> {
    whom.iter().map(|who| Address::new("email", *who)).collect()
}

#[test]
fn who_was_copied_in_is_kept_for_the_answer_and_may_answer_as_a_guest() {
    let mut life = Life::new();
    let (conv, events) = life.gets(&Mail { others: to(&[BOB, "carl@x.example"]), ..mail("1", ANN) });
    let auto = sent(&events).expect("the rule answers");
    assert_eq!((auto.to.as_str(), auto.mail.others), (ANN, vec![]), "a machine answers one person");
    let by_hand = life.answers("r1", conv);
    assert_eq!((by_hand.to.as_str(), by_hand.mail.others), (ANN, to(&[BOB, "carl@x.example"])));

    let guest = Mail { others: to(&["dora@x.example"]), ..mail("2", BOB) }.naming(conv, Evidence::MessageId);
    let (joined, events) = life.gets(&guest);
    assert_eq!((joined, refused(&events)), (conv, Some(NoReply::Guest)));
    assert_ne!(life.gets(&mail("3", EVE).naming(conv, Evidence::MessageId)).0, conv, "who was not copied in");
    assert_eq!(
        life.answers("r2", conv).mail.others,
        to(&[BOB, "carl@x.example"]),
        "whom a guest adds is not written to"
    );

    let (same, _) = life.gets(&mail("4", ANN).naming(conv, Evidence::MessageId));
    assert_eq!(same, conv);
    assert_eq!(life.answers("r3", conv).mail.others, vec![], "the latest mail says who takes part");
}

#[test]
fn nobody_has_us_write_to_others_in_a_name_that_is_not_theirs() {
    let mut life = Life::new();
    let (conv, _) = life.gets(&Mail { believed: false, proved: false, others: to(&[BOB]), ..mail("1", ANN) });
    assert_eq!(life.answers("r1", conv).mail.others, vec![]);
    let crowd: Vec<Address> = (0..50).map(|n| Address::new("email", format!("p{n}@x.example"))).collect();
    let long = Address::new("email", format!("{}@x.example", "l".repeat(600)));
    let (conv, _) = life.gets(&Mail { others: [vec![long], crowd.clone()].concat(), ..mail("2", EVE) });
    assert_eq!(life.answers("r2", conv).mail.others, crowd[..20]);
}

#[test]
fn the_files_of_a_mail_are_found_where_they_were_stored() {
    let mut life = Life::new();
    let (conv, events) = life.gets(&mail("1", ANN));
    assert_eq!(threads(&events), [None], "with the conversation's own");
    let (joined, events) = life.gets(&mail("2", EVE).naming(conv, Evidence::ReplyAddress));
    assert_eq!((joined, threads(&events)), (conv, vec![Some(format!("mail:{EVE}:2"))]));
}

/// Where the files of what was received are.
fn threads(events: &[Event]) -> Vec<Option<String>> {
    let of = |e: &Event| match &e.private {
        Some((_, Private::Received { content, .. })) => Some(content.attachments.clone()),
        _ => None,
    };
    events.iter().find_map(of).expect("a mail").into_iter().map(|file| file.thread).collect()
}

#[test]
fn a_mail_of_which_something_is_nowhere_else_is_listed_as_its_last_file() {
    for (channel, listed) in [(MAIL, true), (OUTSIDE, false)] {
        let mut life = Life::new();
        let (_, events) = life.gets(&Mail { channel, original: true, ..mail("1", ANN) });
        let files = events.iter().find_map(|e| match &e.private {
            Some((_, Private::Received { content, .. })) => Some(content.attachments.clone()),
            _ => None,
        });
        let files = files.expect("a mail");
        let original = files.get(1).map(|f| (f.name.as_str(), f.mime.as_str(), f.size, f.blob.is_some()));
        assert_eq!(original, listed.then_some(("original.eml", Attachment::ORIGINAL, 77, true)), "{channel}");
        assert_eq!(files.iter().filter(|f| f.is_sent()).count(), 1, "it is no file that the customer sent");
    }
}

#[test]
fn a_letter_that_may_have_arrived_is_sent_again_as_the_same_mail() {
    let (mut life, _, send) = lost();
    let (reply, events) = life.asks("again", Action::Resend { send: send.to_string() });
    assert_eq!(reply.status, 202, "{reply:?}");
    let second = sent(&events).expect("it is sent");
    assert_eq!(second.mail.first, Some(send.to_string()));
    life.ends(second.id, Outcome::Unknown);
    let (_, events) = life.asks("once more", Action::Resend { send: second.id.to_string() });
    let third = sent(&events).expect("it is sent");
    assert_eq!(third.mail.first, Some(send.to_string()), "all of them are the first one");
    life.ends_as(third.id, Outcome::Accepted, &format!("{send}@desk"));
    // A read receipt names the Message-ID, which is of the first.
    life.is_told(send, ReceiptStatus::Read, None);
    assert_eq!(life.fate(third.id), Some(ReceiptStatus::Read));

    let mut life = Life::new();
    let (conv, _) = life.gets(&Mail { no_auto_reply: true, ..mail("1", ANN) });
    let refused = life.answers("r", conv).id;
    life.ends(refused, Outcome::Rejected);
    let (_, events) = life.asks("again", Action::Resend { send: refused.to_string() });
    assert_eq!(sent(&events).expect("it is sent").mail.first, None, "what did not arrive is another mail");
}

#[test]
fn an_adapter_in_another_process_cannot_name_conversations() {
    let mut life = Life::new();
    let (conv, _) = life.gets(&Mail { channel: OUTSIDE, ..mail("1", ANN) });
    let named = Mail { channel: OUTSIDE, ..mail("2", EVE).naming(conv, Evidence::ReplyAddress) };
    assert_ne!(life.gets(&named).0, conv);
}

#[test]
fn a_conversation_that_closed_long_ago_goes_on_in_one_new_one() {
    let mut life = Life::new();
    let (conv, _) = life.gets(&Mail { no_auto_reply: true, ..mail("1", ANN) });
    life.closes(conv);
    let soon =
        Mail { thread: "mail:t".into(), no_auto_reply: true, ..mail("2", ANN) }.naming(conv, Evidence::ReplyAddress);
    assert_eq!(life.gets(&soon).0, conv, "it reopens");
    life.closes(conv);
    // Nothing of it is on its way out, which would keep it.
    life.passes(80 * 3_600_000);
    let late = |key| {
        Mail { thread: "mail:t".into(), no_auto_reply: true, ..mail(key, ANN) }.naming(conv, Evidence::ReplyAddress)
    };
    let (next, _) = life.gets(&late("3"));
    assert_ne!(next, conv);
    assert_eq!(life.gets(&late("4")).0, next, "and not in one more each time");
}

#[test]
fn our_own_first_letter_has_a_subject_where_letters_have_one() {
    let mut life = Life::new();
    let start = |subject: Option<&str>| Action::Start {
        to_channel: MAIL.into(),
        to: Address::new("email", ANN),
        subject: subject.map(str::to_owned),
        text: "Your kettle is ready.".into(),
        destination: Some(Destination::Queue("q".into())),
    };
    let (reply, events) = life.asks("s", start(Some("Your kettle")));
    assert_eq!(reply.status, 202, "{reply:?}");
    let first = sent(&events).expect("it is sent");
    assert_eq!((first.subject.as_deref(), first.reply_to.len(), first.mail.quote), (Some("Your kettle"), 0, None));
    let conv = ConvId::parse(reply.ids.get("conversation").expect("one")).expect("an id");
    assert_eq!(life.gets(&mail("1", ANN).naming(conv, Evidence::MessageId)).0, conv);
}

/// A letter of an agent's of whose first attempt nothing is known.
fn lost() -> (Life, ConvId, MessageId) {
    let mut life = Life::new();
    let (conv, _) = life.gets(&Mail { no_auto_reply: true, ..mail("1", ANN) });
    let send = life.answers("r", conv).id;
    life.ends(send, Outcome::Unknown);
    let phase = life.state.sends.get(&send).expect("a dead letter").phase.clone();
    assert!(matches!(phase, Phase::Dead { reason: DeadReason::Unknown, .. }), "{phase:?}");
    (life, conv, send)
}

/// What the owner is told of it.
fn details(events: &[Event]) -> Vec<&str> {
    let mut found = vec![];
    for event in events {
        if let Some((_, Private::Receipt { detail: Some(detail) })) = &event.private {
            found.push(detail.as_str());
        }
    }
    found
}

#[test]
fn a_letter_that_was_lost_is_settled_by_what_proves_that_it_was_sent() {
    use ReceiptStatus::{Accepted, Delivered, Failed, Read};
    let (mut life, conv, send) = lost();
    assert_eq!(life.status(conv), ConvStatus::Queued, "it came back to us");
    let events = life.is_told(send, Failed, Some("the address does not exist"));
    assert_eq!(details(&events), ["the address does not exist"]);
    assert_eq!((life.fate(send), life.state.sends.len()), (Some(Failed), 0), "no dead letter is left to be resent");

    for status in [Accepted, Delivered, Read] {
        let (mut life, _, send) = lost();
        life.is_told(send, status, None);
        assert_eq!((life.fate(send), life.state.sends.len()), (Some(status), 0));
    }
    let (mut life, _, send) = lost();
    let events = life.is_told(send, Accepted, Some("it has not arrived yet"));
    assert_eq!((details(&events), life.fate(send)), (vec!["it has not arrived yet"], Some(Accepted)));
}

#[test]
fn a_letter_that_was_lost_is_settled_by_its_copy() {
    let (mut life, conv, send) = lost();
    let echo = Echo {
        id: format!("{MAIL}:echo:1"),
        channel: MAIL.into(),
        thread: "mail:elsewhere".into(),
        at: life.now,
        provider_id: format!("{send}@desk"),
        send: Some(send.to_string()),
        part: Some(1),
        n: None,
        to: Address::new("email", ANN),
        content: Content::text("Try this."),
    };
    let events = life.hears(&Inbound::Echo(Box::new(echo)));
    assert!(sent(&events).is_none(), "{events:?}");
    assert_eq!((life.fate(send), life.state.sends.len()), (Some(ReceiptStatus::Accepted), 0));
    assert!(life.state.conversation(conv).is_some());
}

#[test]
fn what_is_said_of_a_letter_that_is_on_its_way_waits_for_its_result() {
    use ReceiptStatus::{Accepted, Delivered, Failed};
    for (told, fate, words) in [
        (vec![(Failed, Some("the address does not exist"))], Failed, vec!["the address does not exist"]),
        (vec![(Accepted, Some("it is late"))], Accepted, vec!["it is late"]),
        (vec![(Accepted, Some("it is late")), (Failed, Some("it never came"))], Failed, vec!["it never came"]),
        (vec![(Accepted, Some("it is late")), (Delivered, None)], Delivered, vec![]),
        (vec![(Failed, None)], Failed, vec![]),
    ] {
        let mut life = Life::new();
        let (conv, _) = life.gets(&Mail { no_auto_reply: true, ..mail("1", ANN) });
        let send = life.answers("r", conv).id;
        for (status, detail) in &told {
            life.is_told(send, *status, *detail);
        }
        assert_eq!((life.fate(send), life.state.sends.len()), (None, 1));
        let events = life.ends(send, Outcome::Accepted);
        assert_eq!((life.fate(send), details(&events)), (Some(fate), words), "{told:?}");
    }
}

#[test]
fn what_machines_answer_to_the_envelope_sender_belongs_to_the_conversation_and_changes_nothing() {
    let mut life = Life::new();
    let (conv, _) = life.gets(&Mail { no_auto_reply: true, ..mail("1", ANN) });
    let send = life.answers("r", conv).id;
    let away = |key: &str, from| {
        let answers = Some(Answers { conversation: send.to_string(), by: Evidence::Envelope });
        Mail { automatic: true, no_auto_reply: true, answers, ..mail(key, from) }
    };
    let wait = life.state.conversation(conv).expect("it is there").wait_until;
    assert_eq!(life.status(conv), ConvStatus::Pending);
    for (n, outcome) in [None, Some(Outcome::Accepted)].into_iter().enumerate() {
        if let Some(outcome) = outcome {
            life.ends(send, outcome);
        }
        for k in 0..6 {
            let (joined, events) = life.gets(&away(&format!("away-{n}-{k}"), ANN));
            assert_eq!(joined, conv, "one conversation of eleven notices");
            assert!(sent(&events).is_none(), "{events:?}");
        }
    }
    let c = life.state.conversation(conv).expect("it is there");
    assert_eq!((c.status, c.wait_until), (ConvStatus::Pending, wait), "it waits for the customer as before");
    assert_ne!(life.gets(&away("eve", EVE)).0, conv, "the envelope sender is the customer's own");
    assert_ne!(life.gets(&Mail { believed: false, ..away("forged", ANN) }).0, conv);
    assert_ne!(life.gets(&Mail { channel: OTHER, ..away("elsewhere", ANN) }).0, conv);
    life.closes(conv);
    assert_eq!(life.gets(&away("late", ANN)).0, conv);
    assert_eq!(life.status(conv), ConvStatus::Closed);
}

/// A mail of a small world: a few people, a few conversations, and every way to name one, true or not.
fn any_mail() -> impl Strategy<Value = (Mail, Option<(usize, Evidence)>)> {
    let from = prop_oneof![Just(ANN), Just(EVE), Just("bob@x.example")];
    let channel = prop_oneof![3 => Just(MAIL), 1 => Just(OTHER), 1 => Just(OUTSIDE)];
    let by = prop_oneof![
        Just(Evidence::ReplyAddress),
        Just(Evidence::MessageId),
        Just(Evidence::Envelope),
        Just(Evidence::Subject)
    ];
    let references = prop::collection::vec(0u8..12, 0..3);
    let flags = (any::<bool>(), prop::bool::weighted(0.8), any::<bool>(), prop::bool::weighted(0.8));
    let others = prop::sample::subsequence(vec![ANN, EVE, BOB, "carl@x.example"], 0..3);
    (from, channel, 0u8..4, references, prop::option::of((0usize..12, by)), (flags, others)).prop_map(
        |(from, channel, thread, references, names, (flags, others))| {
            let (automatic, believed, no_auto_reply, proved) = flags;
            let (proved, others) = (proved && believed, to(&others));
            // As the adapter makes them: a thread is a person's own.
            let thread = format!("mail:{from}:{thread}:{believed}");
            let references = references.iter().map(|n| format!("{n}@client")).collect();
            let flagged = Mail { automatic, believed, proved, no_auto_reply, ..mail("", from) };
            let mail = Mail { channel, thread, references, others, ..flagged };
            (mail, names)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn no_letter_ever_meets_another_customer(mails in prop::collection::vec(any_mail(), 1..24), closing in prop::collection::vec(any::<bool>(), 24)) {
        let mut life = Life::new();
        let mut convs: Vec<ConvId> = vec![];
        let mut written: BTreeMap<ConvId, Vec<(bool, Vec<Address>)>> = BTreeMap::new();
        for (n, (mail, names)) in mails.into_iter().enumerate() {
            let answers = names.and_then(|(which, by)| {
                let conversation = convs.get(which % convs.len().max(1))?.to_string();
                Some(Answers { conversation, by })
            });
            let mail = Mail { key: n.to_string(), answers, ..mail };
            let named = mail.answers.as_ref().and_then(|a| life.state.conversation(ConvId::parse(&a.conversation)?).cloned());
            let copied = named.as_ref().and_then(|c| c.private.as_ref()?.parent.clone());
            let copied = copied.is_some_and(|p| p.others.iter().any(|o| o.value == mail.from));
            let (conv, events) = life.gets(&mail);
            let c = life.state.conversation(conv).expect("it is there").clone();
            let theirs = c.contact == life.state.contact_of(&Address::new("email", mail.from));
            let given = mail.answers.as_ref().is_some_and(|a| {
                let may = a.by == Evidence::ReplyAddress || (a.by == Evidence::MessageId && copied);
                may && a.conversation == conv.to_string() && mail.proved && mail.channel != OUTSIDE
            });
            prop_assert!(theirs || given, "{mail:?} came into {conv}");
            prop_assert_eq!(c.channel.as_str(), mail.channel);
            // Whatever came, what leaves goes to the conversation's own customer.
            if let Some(sent) = sent(&events) {
                prop_assert!(theirs && sent.to == mail.from && !mail.automatic && !mail.no_auto_reply);
            }
            // And whom it is copied to stood in that customer's own letter, which nobody forged.
            let others = c.private.as_ref().and_then(|p| p.parent.as_ref()).map(|p| p.others.to_vec()).unwrap_or_default();
            written.entry(conv).or_default().push((theirs && mail.believed, mail.others.clone()));
            let own = &written[&conv];
            prop_assert!(others.is_empty() || own.iter().any(|(own, named)| *own && *named == others), "{others:?}");
            let address = c.private.as_ref().and_then(|p| p.address()).expect("an address");
            prop_assert_eq!(life.state.contact_of(&address), c.contact);
            if !convs.contains(&conv) {
                convs.push(conv);
            }
            if closing[n] && life.state.conversation(conv).expect("it is there").is_open() {
                life.closes(conv);
            }
        }
    }
}
