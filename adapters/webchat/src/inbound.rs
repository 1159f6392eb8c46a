use crate::frame::{ErrorCode, Hello, MAX_ATTACHMENTS, MAX_CLIENT_ID, MessageFrame};
use crate::{Confirmation, TokenKey, Visitor, keyed, verify_file};
use std::collections::BTreeMap;
use switchboard_envelope::{
    Action, Actor, Address, Attachment, Choice, Command, Content, Inbound, Message, Scope, Timestamp, Visibility,
    event_id,
};
use url::Url;

/// What a connection knows of its visitor beside the words: said once, in the `hello`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// For display only, and only from a shop whose server vouched for the user.
    name: Option<String>,
    /// What rules see as `meta.<name>`: `page_url`, `page_title`, `referrer`, `locale`, `timezone`, `user`.
    meta: BTreeMap<String, String>,
}

impl Context {
    /// Takes what is useful from a `hello`, cut to size. `vouched`: the user's proof was checked.
    #[must_use]
    pub fn new(hello: &Hello, vouched: bool) -> Context {
        let mut meta = BTreeMap::new();
        let mut put = |key: &str, value: Option<String>| {
            if let Some(value) = value.filter(|v| !v.is_empty()) {
                meta.insert(key.to_owned(), value);
            }
        };
        put("page_url", address(&hello.page.url));
        put("page_title", Some(line(&hello.page.title, 200)));
        put("referrer", address(&hello.page.referrer));
        put("locale", hello.locale.as_deref().map(|l| line(l, 35)));
        put("timezone", hello.tz.as_deref().map(|z| line(z, 64)));
        let user = hello.user.as_ref().filter(|_| vouched);
        put("user", user.map(|u| line(&u.id, 200)));
        let name = user.and_then(|u| u.name.as_deref()).map(|n| line(n, 80)).filter(|n| !n.is_empty());
        Context { name, meta }
    }
}

/// The address of a page without what may be secret in it: no user, no fragment. At most 512 bytes.
fn address(text: &str) -> Option<String> {
    let mut url = Url::parse(text.get(..2048.min(text.len()))?).ok()?;
    if !matches!(url.scheme(), "http" | "https") {
        return None;
    }
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    if url.as_str().len() > 512 {
        url.set_query(None);
    }
    (url.as_str().len() <= 512).then(|| url.into())
}

/// One line of at most `most` characters.
fn line(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect::<String>().trim().to_owned()
}

/// Why a message was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: ErrorCode,
    pub detail: String,
}

fn refuse<T>(code: ErrorCode, detail: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { code, detail: detail.into() })
}

/// Line breaks as one character, no control characters, no blank edges.
fn clean(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect::<String>().trim().to_owned()
}

fn is_client_id(id: &str) -> bool {
    (1..=MAX_CLIENT_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// A visitor's frame as an envelope. Its id is `<channel>:message:<visitor>.<hash of client_id and content>`: the browser
/// chooses its `client_id`, so the same one with other content is another message, and a stranger's swallows nothing.
/// `provider_id` is the `client_id`, by which the widget finds its own entry again.
///
/// # Errors
/// With the code for the `error` frame when a field breaks its rule.
pub fn message(
    key: &TokenKey,
    channel: &str,
    visitor: &Visitor,
    context: &Context,
    frame: &MessageFrame,
    max_text: u32,
    now: Timestamp,
) -> Result<Inbound, Refused> {
    if !is_client_id(&frame.client_id) {
        return refuse(
            ErrorCode::BadFrame,
            format!("client_id must be 1 to {MAX_CLIENT_ID} letters, digits, `-` or `_`"),
        );
    }
    let text = clean(&frame.text);
    if text.chars().count() > max_text as usize {
        return refuse(ErrorCode::TooLong, format!("longer than {max_text} characters"));
    }
    let attachments = attachments(key, channel, visitor, frame)?;
    let choice = choice(frame)?;
    if text.is_empty() && attachments.is_empty() && choice.is_none() {
        return refuse(ErrorCode::Empty, "nothing to send");
    }
    let text = if text.is_empty() { choice.as_ref().and_then(|c| c.label.clone()).unwrap_or(text) } else { text };
    let id = event_id(
        channel,
        "message",
        &format!("{visitor}.{}", content_hash(frame, &text, &attachments, choice.as_ref())),
    );
    Ok(Inbound::Message(Box::new(Message {
        id,
        channel: channel.into(),
        thread: visitor.as_str().into(),
        at: now,
        received_at: now,
        from: Address { name: context.name.clone(), ..Address::new("visitor", visitor.as_str()) },
        to: None,
        content: Content { text, attachments, choice, ..Content::default() },
        references: vec![],
        provider_id: Some(frame.client_id.clone()),
        visibility: Visibility::Private,
        automatic: false,
        authenticated: visitor.is_identified().then_some(true),
        meta: context.meta.clone(),
        raw: None,
        traceparent: None,
        mail: None,
    })))
}

fn content_hash(frame: &MessageFrame, text: &str, attachments: &[Attachment], choice: Option<&Choice>) -> String {
    let mut fields: Vec<&[u8]> = vec![frame.client_id.as_bytes(), text.as_bytes()];
    fields.push(choice.map_or(b"", |c| c.id.as_bytes()));
    fields.extend(attachments.iter().filter_map(|a| a.blob.as_ref()).map(|b| b.0.as_bytes()));
    keyed::hash(&fields)
}

fn attachments(
    key: &TokenKey,
    channel: &str,
    visitor: &Visitor,
    frame: &MessageFrame,
) -> Result<Vec<Attachment>, Refused> {
    if frame.attachments.len() > MAX_ATTACHMENTS {
        return refuse(ErrorCode::TooLarge, format!("more than {MAX_ATTACHMENTS} files"));
    }
    let verified = frame.attachments.iter().map(|f| verify_file(key, channel, visitor, f)).collect::<Option<Vec<_>>>();
    verified.map_or_else(|| refuse(ErrorCode::Refused, "a file was not uploaded by this visitor"), Ok)
}

fn choice(frame: &MessageFrame) -> Result<Option<Choice>, Refused> {
    let Some(choice) = &frame.choice else { return Ok(None) };
    if choice.id.is_empty() || choice.id.len() > 256 {
        return refuse(ErrorCode::BadFrame, "a choice's id must hold 1 to 256 bytes");
    }
    Ok(Some(Choice { id: line(&choice.id, 256), label: choice.label.as_deref().map(|l| line(l, 200)) }))
}

/// What the widget confirmed, as a command to the router. Its id makes a repeated confirmation a duplicate.
#[must_use]
pub fn confirmation(channel: &str, visitor: &Visitor, confirmed: Confirmation, now: Timestamp) -> Inbound {
    let word = if confirmed.read { "read" } else { "delivered" };
    Inbound::Command(Box::new(Command {
        id: event_id(channel, "command", &format!("{visitor}.{word}.{}", confirmed.up_to)),
        channel: channel.into(),
        at: now,
        actor: Actor { agent: None, token: None, scope: Scope::Read },
        action: Action::Confirmed {
            target: channel.into(),
            thread: visitor.as_str().into(),
            up_to: confirmed.up_to,
            read: confirmed.read,
        },
        body_hash: None,
        traceparent: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{ChoiceFrame, ClientFrame, MAX_FRAME, Page, User};
    use crate::sign_file;
    use proptest::prelude::*;
    use switchboard_envelope::BlobRef;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn key() -> TokenKey {
        TokenKey::new(&[3; 32])
    }

    fn ann() -> Visitor {
        Visitor::anonymous([1; 16])
    }

    fn frame(client_id: &str, text: &str) -> MessageFrame {
        MessageFrame { client_id: client_id.into(), text: text.into(), attachments: vec![], choice: None }
    }

    fn build(visitor: &Visitor, frame: &MessageFrame) -> Result<Message, Refused> {
        match message(&key(), "site", visitor, &Context::default(), frame, 4000, NOW)? {
            Inbound::Message(m) => Ok(*m),
            other => panic!("not a message: {other:?}"),
        }
    }

    #[test]
    fn the_same_words_again_are_a_duplicate_and_other_words_are_not() {
        let id = |v: &Visitor, c: &str, t: &str| build(v, &frame(c, t)).unwrap().id;
        let first = id(&ann(), "c1", "hello");
        assert!(first.starts_with("site:message:v01010101010101010101010101010101."), "{first}");
        assert_eq!(first, id(&ann(), "c1", " hello\r\n"), "blank edges are not content");
        assert_ne!(first, id(&ann(), "c1", "hello!"), "a reused client_id swallows nothing");
        assert_ne!(first, id(&ann(), "c2", "hello"));
        assert_ne!(first, id(&Visitor::anonymous([2; 16]), "c1", "hello"), "nor does a stranger's");
        // Field borders are part of the hash.
        assert_ne!(id(&ann(), "c1", "2x"), id(&ann(), "c12", "x"));
    }

    #[test]
    fn a_message_is_a_valid_envelope() {
        let m = build(&ann(), &frame("c1", "a\u{0}b\r\nc\u{7}")).unwrap();
        assert_eq!(m.content.text, "ab\nc");
        assert_eq!(
            (m.thread.as_str(), m.from.identity().as_str()),
            (ann().as_str(), "visitor:v01010101010101010101010101010101")
        );
        assert_eq!((m.provider_id.as_deref(), m.authenticated, m.received_at), (Some("c1"), None, NOW));
        let inbound = Inbound::Message(Box::new(m));
        assert_eq!(inbound.validate().map_err(|e| e.to_string()), Ok(()));
        assert_eq!(Inbound::from_slice(&inbound.to_vec()).unwrap(), inbound);
    }

    #[test]
    fn fields_that_break_their_rule_are_refused_with_a_code() {
        let code = |f: &MessageFrame| build(&ann(), f).unwrap_err().code;
        assert_eq!(code(&frame("", "x")), ErrorCode::BadFrame);
        assert_eq!(code(&frame("a b", "x")), ErrorCode::BadFrame);
        assert_eq!(code(&frame(&"a".repeat(65), "x")), ErrorCode::BadFrame);
        assert_eq!(code(&frame("c", " \u{0}\n")), ErrorCode::Empty);
        assert_eq!(code(&frame("c", &"é".repeat(4001))), ErrorCode::TooLong);
        assert!(build(&ann(), &frame("c", &"😀".repeat(4000))).is_ok());
    }

    #[test]
    fn only_files_of_this_visitor_are_attached() {
        let file = Attachment {
            name: "a.png".into(),
            mime: "image/png".into(),
            size: 9,
            blob: Some(BlobRef("blob:sha256:aa".into())),
            url: None,
            problem: None,
            thread: None,
            content_id: None,
        };
        let mut f = frame("c", "");
        f.attachments = vec![sign_file(&key(), "site", &ann(), &file)];
        assert_eq!(build(&ann(), &f).unwrap().content.attachments, [file]);
        assert_eq!(build(&Visitor::anonymous([9; 16]), &f).unwrap_err().code, ErrorCode::Refused);
        f.attachments = vec![f.attachments[0].clone(); 6];
        assert_eq!(build(&ann(), &f).unwrap_err().code, ErrorCode::TooLarge);
    }

    #[test]
    fn a_pressed_button_says_its_label() {
        let mut f = frame("c", "");
        f.choice = Some(ChoiceFrame { id: "track".into(), label: Some("Track my parcel".into()) });
        let m = build(&ann(), &f).unwrap();
        assert_eq!(m.content.text, "Track my parcel");
        assert_eq!(m.content.choice.unwrap().id, "track");
        f.choice = Some(ChoiceFrame { id: String::new(), label: None });
        assert_eq!(build(&ann(), &f).unwrap_err().code, ErrorCode::BadFrame);
    }

    #[test]
    fn the_page_is_told_without_its_secrets_and_the_user_only_when_vouched_for() {
        let hello = Hello {
            page: Page {
                url: "https://ann:pw@shop.example/kettle?size=2#token=abc".into(),
                title: format!("Kettle\n{}", "x".repeat(500)),
                referrer: "javascript:alert(1)".into(),
            },
            locale: Some("en-GB".into()),
            tz: Some("Europe/London".into()),
            user: Some(User { id: "42".into(), hash: String::new(), name: Some("Ann".into()) }),
            ..Hello::default()
        };
        let c = Context::new(&hello, false);
        assert_eq!(c.meta["page_url"], "https://shop.example/kettle?size=2");
        assert_eq!(c.meta["page_title"].chars().count(), 200);
        assert!(!c.meta.contains_key("referrer") && !c.meta.contains_key("user") && c.name.is_none());
        assert_eq!((c.meta["locale"].as_str(), c.meta["timezone"].as_str()), ("en-GB", "Europe/London"));
        let c = Context::new(&hello, true);
        assert_eq!((c.meta["user"].as_str(), c.name.as_deref()), ("42", Some("Ann")));
        let long = Hello {
            page: Page { url: format!("https://a.example/{}", "é".repeat(2000)), ..Page::default() },
            ..Hello::default()
        };
        assert!(Context::new(&long, false).meta.is_empty());
    }

    #[test]
    fn a_confirmation_repeated_has_the_same_id() {
        let read = confirmation("site", &ann(), Confirmation { up_to: 44, read: true }, NOW);
        assert_eq!(read.id(), "site:command:v01010101010101010101010101010101.read.44");
        assert_eq!(read.validate().map_err(|e| e.to_string()), Ok(()));
        let delivered = confirmation("site", &ann(), Confirmation { up_to: 44, read: false }, NOW);
        assert!(delivered.id().ends_with(".delivered.44"));
    }

    proptest! {
        #[test]
        fn whatever_a_browser_says_is_a_valid_envelope_or_refused(text in "\\PC{0,80}", client_id in ".{0,70}", id in ".{0,20}") {
            let json = serde_json::json!({ "type": "message", "client_id": client_id, "text": text, "choice": { "id": id } });
            let Ok(ClientFrame::Message(f)) = ClientFrame::parse(json.to_string().as_bytes(), MAX_FRAME) else {
                return Err(TestCaseError::fail("not a message frame"));
            };
            if let Ok(m) = build(&ann(), &f) {
                prop_assert!(Inbound::Message(Box::new(m)).validate().is_ok());
            }
        }
    }
}
