//! What holds for every envelope: it reads back as it was written, a newer writer's fields do no harm, another version is
//! refused, and no bytes at all can do more than that.

use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;
use switchboard_envelope::{
    Action, Actor, Address, Answers, Attachment, AttemptResult, Author, BlobRef, ChannelRefused, Choice, Command,
    ConsentChange, ConsentState, Content, Destination, Echo, Evidence, Fault, FileProblem, Inbound, MailContext,
    MailFacts, Message, Outbound, Outcome, Quote, Raw, Receipt, ReceiptStatus, Reconcile, Scope, Send, SenderProof,
    Template, Timestamp, Unparsed, Visibility, WireError, is_id, subject_token, subject_untoken,
};

fn id() -> impl Strategy<Value = String> + Clone {
    "[a-z0-9][a-z0-9-]{0,20}"
}

/// Text that people write: anything, also what is awkward in JSON.
fn text() -> impl Strategy<Value = String> + Clone {
    prop_oneof![any::<String>(), "[\\PC\"\\\\\\n]{0,40}"]
}

fn key() -> impl Strategy<Value = String> {
    "[!-~]{1,40}"
}

fn time() -> impl Strategy<Value = Timestamp> {
    (0..=Timestamp::MAX.0).prop_map(Timestamp)
}

fn address() -> impl Strategy<Value = Address> {
    ("[a-z]{1,10}", "[^\\x00]{1,60}", of(text()))
        .prop_map(|(kind, value, name)| Address { name, ..Address::new(kind, value) })
}

fn blob() -> impl Strategy<Value = BlobRef> {
    "[0-9a-f]{64}".prop_map(|h| BlobRef(format!("blob:sha256:{h}")))
}

fn attachment() -> impl Strategy<Value = Attachment> {
    let problem = (text(), any::<bool>()).prop_map(|(detail, again)| FileProblem { detail, again });
    let kept = (of(blob()), of(text()), of(problem), of(text()), of(text()));
    (text(), "[a-z]{1,8}/[a-z]{1,8}", any::<u64>(), kept).prop_map(
        |(name, mime, size, (blob, url, problem, thread, content_id))| Attachment {
            name,
            mime,
            size,
            blob,
            url,
            problem,
            thread,
            content_id,
        },
    )
}

fn choice() -> impl Strategy<Value = Choice> {
    (text(), of(text())).prop_map(|(id, label)| Choice { id, label })
}

fn content() -> impl Strategy<Value = Content> {
    let template = (text(), text(), vec(text(), 0..3), of(text()))
        .prop_map(|(name, language, values, category)| Template { name, language, values, category });
    let proof = of(select(vec![SenderProof::Proved, SenderProof::NotProved, SenderProof::Disproved]));
    let parts =
        (text(), of(text()), of(text()), vec(attachment(), 0..3), of(choice()), vec(choice(), 0..3), of(template));
    (parts, proof).prop_map(|((text, subject, html, attachments, choice, choices, template), sender_proof)| Content {
        text,
        subject,
        html,
        attachments,
        choice,
        choices,
        template,
        sender_proof,
    })
}

fn raw() -> impl Strategy<Value = Raw> {
    ("[a-z/]{1,20}", of(blob()), of("[A-Za-z0-9+/]{0,40}"), btree_map("[a-z]{1,8}", text(), 0..3))
        .prop_map(|(content_type, blob, inline, meta)| Raw { content_type, blob, inline, meta })
}

fn mail_facts() -> impl Strategy<Value = Box<MailFacts>> {
    let by = prop_oneof![Just(Evidence::ReplyAddress), Just(Evidence::Envelope), Just(Evidence::Subject)];
    let answers = ("c[0-9a-z]{16}", by).prop_map(|(conversation, by)| Answers { conversation, by });
    (of(answers), any::<bool>(), any::<bool>(), any::<bool>(), vec(address(), 0..3), of(any::<u64>())).prop_map(
        |(answers, believed, proved, no_auto_reply, others, original)| {
            Box::new(MailFacts { answers, believed, proved, others, no_auto_reply, original })
        },
    )
}

fn mail_context() -> impl Strategy<Value = Box<MailContext>> {
    let quote = (of(text()), time(), text()).prop_map(|(author, at, text)| Quote { author, at, text });
    (time(), vec(text(), 0..3), of(quote), of(text()), vec(address(), 0..3), of(text()), of(text())).prop_map(
        |(at, references, quote, signature, others, first, zone)| {
            Box::new(MailContext { at, references, quote, signature, others, first, zone })
        },
    )
}

fn message() -> impl Strategy<Value = Inbound> {
    let who = (address(), of(address()), content());
    let about = (vec(text(), 0..4), of(text()), any::<bool>(), any::<bool>(), of(any::<bool>()));
    let rest = (btree_map("[a-z_]{1,10}", text(), 0..4), of(raw()), of(text()), of(mail_facts()));
    (id(), key(), "[^\\x00]{1,100}", time(), time(), who, about, rest).prop_map(
        |(channel, key, thread, at, received_at, (from, to, content), about, (meta, raw, traceparent, mail))| {
            let (references, provider_id, public, automatic, authenticated) = about;
            Inbound::Message(Box::new(Message {
                id: format!("{channel}:message:{key}"),
                channel,
                thread,
                at,
                received_at,
                from,
                to,
                content,
                references,
                provider_id,
                visibility: if public { Visibility::Public } else { Visibility::Private },
                automatic,
                authenticated,
                meta,
                raw,
                traceparent,
                mail,
            }))
        },
    )
}

fn echo() -> impl Strategy<Value = Inbound> {
    let ours = (of(text()), of(any::<u16>()), of(any::<u32>()));
    (id(), key(), text(), time(), text(), ours, address(), content()).prop_map(
        |(channel, key, thread, at, provider_id, (send, part, n), to, content)| {
            let id = format!("{channel}:echo:{key}");
            Inbound::Echo(Box::new(Echo { id, channel, thread, at, provider_id, send, part, n, to, content }))
        },
    )
}

fn receipt() -> impl Strategy<Value = Inbound> {
    let status = prop_oneof![
        Just(ReceiptStatus::Accepted),
        Just(ReceiptStatus::Delivered),
        Just(ReceiptStatus::Read),
        Just(ReceiptStatus::Failed)
    ];
    let about = (text(), of(text()), of(text()), of(any::<u16>()), of(any::<u32>()));
    (id(), key(), about, status, time(), of(text()), of(text())).prop_map(
        |(channel, key, (provider_id, thread, send, part, n), status, at, code, detail)| {
            let id = format!("{channel}:receipt:{key}");
            Inbound::Receipt(Receipt { id, channel, provider_id, thread, send, part, n, status, at, code, detail })
        },
    )
}

fn consent() -> impl Strategy<Value = Inbound> {
    let about = (of(text()), of("[a-z]{1,64}"));
    (id(), key(), address(), any::<bool>(), time(), about).prop_map(
        |(channel, key, address, out, at, (reason, topic))| {
            let state = if out { ConsentState::OptedOut } else { ConsentState::OptedIn };
            let id = format!("{channel}:consent:{key}");
            Inbound::Consent(ConsentChange { id, channel, address, state, at, reason, topic })
        },
    )
}

fn result() -> impl Strategy<Value = Inbound> {
    let outcome =
        prop_oneof![Just(Outcome::Accepted), Just(Outcome::Rejected), Just(Outcome::NotSent), Just(Outcome::Unknown)];
    let said =
        (vec(text(), 0..3), of(text()), of(text()), of(any::<u64>()), any::<bool>(), any::<bool>(), any::<bool>());
    let fault = of(prop_oneof![Just(Fault::Recipient), Just(Fault::Unreachable)]);
    (id(), key(), text(), 1..=u16::MAX, 1..=u32::MAX, time(), outcome, (said, fault)).prop_map(
        |(channel, key, send, part, n, at, outcome, (said, fault))| {
            let (provider_ids, code, detail, retry_after_ms, channel_refused, opted_out, reconciled) = said;
            let id = format!("{channel}:result:{key}");
            Inbound::Result(AttemptResult {
                id,
                channel,
                send,
                part,
                n,
                at,
                outcome,
                provider_ids,
                code,
                detail,
                retry_after_ms,
                channel_refused,
                opted_out,
                fault,
                reconciled,
            })
        },
    )
}

fn action() -> impl Strategy<Value = Action> {
    let destination = prop_oneof![id().prop_map(Destination::Queue), id().prop_map(Destination::Agent)];
    let reply = (text(), content(), any::<bool>(), of(text())).prop_map(|(conversation, content, take, seen)| {
        let Content { text, attachments, choices, template, .. } = content;
        Action::Reply { conversation, text, attachments, choices, template, take, seen }
    });
    let update = (text(), of(vec(text(), 0..3)), of(text()), btree_map(text(), of(text()), 0..3)).prop_map(
        |(conversation, tags, priority, attributes)| Action::Update { conversation, tags, priority, attributes },
    );
    prop_oneof![
        reply,
        update,
        (text(), destination.clone()).prop_map(|(conversation, to)| Action::Transfer { conversation, to }),
        (text(), time()).prop_map(|(conversation, until)| Action::Snooze { conversation, until }),
        (id(), text()).prop_map(|(agent, presence)| Action::Presence { agent, presence }),
        (id(), address(), of(text()), text(), of(destination)).prop_map(
            |(to_channel, to, subject, text, destination)| Action::Start { to_channel, to, subject, text, destination }
        ),
        text().prop_map(|hash| Action::ReloadPack { hash }),
        of(text()).prop_map(|to| Action::RollbackPack { to }),
        (text(), any::<u8>()).prop_map(|(hash, percent)| Action::TryPack { hash, percent }),
        any::<bool>().prop_map(|promote| Action::EndTrial { promote }),
        (id(), text(), any::<u64>(), any::<bool>()).prop_map(|(target, thread, up_to, read)| Action::Confirmed {
            target,
            thread,
            up_to,
            read
        }),
        any::<u64>().prop_map(|quarantined| Action::Released { quarantined }),
    ]
}

fn command() -> impl Strategy<Value = Inbound> {
    let scope = prop_oneof![Just(Scope::Read), Just(Scope::Agent), Just(Scope::Supervisor), Just(Scope::Admin)];
    (id(), key(), time(), (of(id()), of(text())), scope, action(), of(text()), of(text())).prop_map(
        |(channel, key, at, (agent, token), scope, action, body_hash, traceparent)| {
            let id = format!("{channel}:command:{key}");
            let actor = Actor { agent, token, scope };
            Inbound::Command(Box::new(Command { id, channel, at, actor, action, body_hash, traceparent }))
        },
    )
}

fn refused() -> impl Strategy<Value = Inbound> {
    (id(), key(), time(), text()).prop_map(|(channel, key, at, detail)| {
        Inbound::Refused(ChannelRefused { id: format!("{channel}:refused:{key}"), channel, at, detail })
    })
}

fn unparsed() -> impl Strategy<Value = Inbound> {
    (id(), key(), text(), time(), raw()).prop_map(|(channel, key, reason, at, raw)| {
        Inbound::Unparsed(Unparsed { id: format!("{channel}:unparsed:{key}"), channel, reason, at, raw })
    })
}

/// Boxed, for all of them together are more than a test's stack holds in a build that optimises nothing.
fn inbound() -> impl Strategy<Value = Inbound> {
    prop_oneof![
        message().boxed(),
        echo().boxed(),
        receipt().boxed(),
        consent().boxed(),
        result().boxed(),
        command().boxed(),
        unparsed().boxed(),
        refused().boxed()
    ]
}

fn outbound() -> impl Strategy<Value = Outbound> {
    let author = prop_oneof![
        text().prop_map(|rule| Author::Auto { rule }),
        id().prop_map(|id| Author::Agent { id }),
        text().prop_map(|name| Author::Token { name }),
        Just(Author::Elsewhere)
    ];
    let attempt = || (text(), any::<u16>(), any::<u32>(), id(), text(), text());
    let letter = (vec(text(), 0..3), of(text()), of(mail_context()), of(time()));
    let send = (attempt(), time(), address(), content(), author, letter).prop_map(
        |((send, part, n, channel, conversation, thread), until, to, content, author, letter)| {
            let (reply_to, traceparent, mail, window_until) = letter;
            Outbound::Send(Box::new(Send {
                send,
                part,
                n,
                until,
                channel,
                conversation,
                thread,
                to,
                content,
                author,
                reply_to,
                traceparent,
                mail,
                window_until,
            }))
        },
    );
    let reconcile = (attempt(), address(), content(), time(), time()).prop_map(
        |((send, part, n, channel, conversation, thread), to, content, released_at, until)| {
            Outbound::Reconcile(Reconcile {
                send,
                part,
                n,
                channel,
                conversation,
                thread,
                to,
                content,
                released_at,
                until,
            })
        },
    );
    prop_oneof![send, reconcile]
}

/// The record as a JSON object, to be changed.
fn object(bytes: &[u8]) -> serde_json::Map<String, Value> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(map)) => map,
        other => panic!("not an object: {other:?}"),
    }
}

fn bytes(map: serde_json::Map<String, Value>) -> Vec<u8> {
    Value::Object(map).to_string().into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_reads_back(record in inbound()) {
        let read = Inbound::from_slice(&record.to_vec()).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(read, record);
    }

    #[test]
    fn what_is_sent_reads_back(record in outbound()) {
        let read = Outbound::from_slice(&record.to_vec()).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(read, record);
    }

    #[test]
    fn unknown_fields_are_tolerated(record in inbound(), name in "zz[a-z_]{1,10}", value in any::<i64>()) {
        let mut map = object(&record.to_vec());
        map.insert(name, Value::from(value));
        let read = Inbound::from_slice(&bytes(map)).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(read, record);
    }

    #[test]
    fn another_version_is_refused_with_its_number(record in inbound(), v in 2u64..) {
        let mut map = object(&record.to_vec());
        map.insert("v".into(), Value::from(v));
        let refused = Inbound::from_slice(&bytes(map));
        let named = matches!(refused, Err(WireError::Version { found }) if found == v);
        prop_assert!(named);
    }

    #[test]
    fn an_unknown_type_is_refused(record in inbound(), kind in "z[a-z]{1,10}") {
        let mut map = object(&record.to_vec());
        map.insert("type".into(), Value::from(kind));
        let refused = Inbound::from_slice(&bytes(map));
        let named = matches!(refused, Err(WireError::Type));
        prop_assert!(named);
    }

    #[test]
    fn an_id_of_another_channel_or_type_is_refused(record in inbound(), other in id()) {
        prop_assume!(other != record.channel());
        for forged in [format!("{other}:{}:1", record.kind()), format!("{}:other:1", record.channel()), record.channel().to_owned()] {
            let mut map = object(&record.to_vec());
            map.insert("id".into(), Value::from(forged));
            let refused = Inbound::from_slice(&bytes(map));
            let named = matches!(refused, Err(WireError::Field { field: "id", .. }));
            prop_assert!(named);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = (Inbound::from_slice(&bytes).is_ok(), Outbound::from_slice(&bytes).is_ok());
    }

    #[test]
    fn no_damage_to_a_record_panics(record in inbound(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut bytes = record.to_vec();
        let i = at.index(bytes.len());
        bytes[i] = byte;
        let _ = Inbound::from_slice(&bytes).is_ok();
        bytes.truncate(cut.index(bytes.len()));
        let _ = Inbound::from_slice(&bytes).is_ok();
    }

    #[test]
    fn tokens_are_safe_and_no_two_texts_share_one(a in any::<String>(), b in any::<String>()) {
        let token = subject_token(&a);
        prop_assert!(!token.is_empty() && token.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'=')));
        prop_assert_eq!(subject_untoken(&token), Some(a.clone()));
        prop_assert_eq!(token == subject_token(&b), a == b);
    }

    #[test]
    fn what_is_no_token_has_no_text(t in "[=A-Za-z0-9_.-]{0,12}") {
        if let Some(text) = subject_untoken(&t) {
            prop_assert_eq!(subject_token(&text), t);
        }
    }

    #[test]
    fn ids_are_those_of_the_documentation(s in "[a-z0-9A-Z_-]{0,70}") {
        let pattern = (1..=63).contains(&s.len()) && !s.starts_with('-')
            && s.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        prop_assert_eq!(is_id(&s), pattern);
    }

    #[test]
    fn times_read_back_in_both_forms(t in time()) {
        prop_assert_eq!(t.to_string().parse::<Timestamp>().ok(), Some(t));
        let json = serde_json::to_string(&t).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(serde_json::from_str::<Timestamp>(&json).ok(), Some(t));
    }
}

#[test]
fn a_record_over_the_limit_is_refused_unread() {
    let long = vec![b' '; switchboard_envelope::MAX_ENVELOPE + 1];
    assert!(matches!(Inbound::from_slice(&long), Err(WireError::TooLarge { .. })));
}

#[test]
fn a_refusal_says_where_and_what_and_quotes_nothing() {
    let canary = "canaryxyzzy";
    let broken = [
        canary.to_owned(),
        format!("{{\"v\":\"{canary}\",\"type\":\"message\"}}"),
        format!("{{\"v\":1,\"type\":\"{canary}\"}}"),
        format!("{{\"v\":1,\"type\":\"message\",\"id\":[\"{canary}\"]}}"),
        format!(
            "{{\"v\":1,\"type\":\"unparsed\",\"id\":\"sms:unparsed:1\",\"channel\":\"sms\",\"reason\":\"\",\"raw\":{{\"content_type\":\"\"}},\"at\":\"{canary}\"}}"
        ),
        format!(
            "{{\"v\":1,\"type\":\"unparsed\",\"id\":\"{canary}\",\"channel\":\"{canary} {canary}\",\"reason\":\"\",\"raw\":{{\"content_type\":\"\"}}}}"
        ),
        format!(
            "{{\"v\":1,\"type\":\"unparsed\",\"id\":\"{canary}\",\"channel\":\"{canary}\",\"reason\":\"\",\"raw\":{{\"content_type\":\"\"}}}}"
        ),
        format!("{{\"v\":1,\"type\":\"message\",\"{canary}"),
    ];
    for text in broken {
        let error = Inbound::from_slice(text.as_bytes()).expect_err("a broken envelope");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(canary), "{shown}");
        assert!(shown.contains("column") || shown.contains("Type") || shown.contains("field"), "{shown}");
    }
}
