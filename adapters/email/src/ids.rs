//! What our mails carry so that answers find their way: the Message-ID, the tag of the reply address, the envelope sender.
//! Each names what it belongs to and is signed, so that nobody can make one, and the old ones need no table.
//!
//! All of them are lower case and short: mail systems fold case, and a local part has at most 64 octets.

use crate::address;
use switchboard_adapter_sdk::{
    Secret,
    signature::{Mac, equal},
};

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Letters of five bits: 65 bits of a tag are more than anybody can try over SMTP.
const TAG: usize = 13;
/// Letters that stand for a person: enough to tell two customers apart, and no way back to the address.
const PERSON: usize = 6;
/// Letters that stand for somebody who got a copy: enough to tell the few people of one mail apart.
const COPY: usize = 3;
/// The longest id of a conversation or a send.
const MAX_ID: usize = 24;

/// The keys that sign; the first one signs, any of them verifies.
#[derive(Clone, Debug)]
pub struct Keys(Vec<Mac>);

impl Keys {
    /// # Panics
    /// Never; without a secret nothing is signed, and nothing is believed.
    #[must_use]
    pub fn new(secrets: &[Secret]) -> Keys {
        Keys(secrets.iter().map(|s| Mac::sha256(s.expose().as_bytes())).collect())
    }

    fn letters(mac: &Mac, purpose: &str, fields: &[&str], count: usize) -> String {
        let mut parts: Vec<&[u8]> = vec![purpose.as_bytes()];
        for field in fields {
            parts.push(b"\0");
            parts.push(field.as_bytes());
        }
        let tag = mac.sign_parts(&parts);
        letters(&tag, count)
    }

    fn sign(&self, purpose: &str, fields: &[&str], count: usize) -> Option<String> {
        self.0.first().map(|mac| Keys::letters(mac, purpose, fields, count))
    }

    fn verify(&self, purpose: &str, fields: &[&str], tag: &str) -> bool {
        // Every key is tried, so that the time tells nothing about which one it was.
        self.0.iter().fold(false, |found, mac| {
            let expected = Keys::letters(mac, purpose, fields, tag.len().clamp(PERSON, TAG));
            found | equal(expected.as_bytes(), tag.as_bytes())
        })
    }

    fn person(&self, address: &str) -> Option<String> {
        self.sign("person", &[&address::canonical(address)], PERSON)
    }

    fn is_person(&self, address: &str, letters: &str) -> bool {
        letters.len() == PERSON && self.verify("person", &[&address::canonical(address)], letters)
    }
}

/// The first bits of `bytes`, five a letter.
fn letters(bytes: &[u8], count: usize) -> String {
    let (mut bits, mut held) = (0u32, 0u32);
    let mut out = String::with_capacity(count);
    let mut bytes = bytes.iter();
    while out.len() < count {
        if held < 5 {
            let Some(byte) = bytes.next() else { break };
            bits = (bits << 8) | u32::from(*byte);
            held += 8;
        }
        held -= 5;
        let letter = usize::try_from((bits >> held) & 31).ok().and_then(|i| ALPHABET.get(i));
        out.push(char::from(*letter.unwrap_or(&b'0')));
        bits &= (1 << held) - 1;
    }
    out
}

fn is_plain(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// One of our mails, by its Message-ID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OurMail {
    pub conversation: String,
    /// The send's token; the same for every attempt.
    pub send: String,
    pub part: u16,
    /// The person whom it was written to, in a few letters.
    person: String,
}

impl OurMail {
    /// The Message-ID, without brackets, of what is written to `to`; `None` when a token does not fit into one.
    #[must_use]
    pub fn id(keys: &Keys, conversation: &str, send: &str, part: u16, to: &str, domain: &str) -> Option<String> {
        if !is_plain(conversation) || !is_plain(send) {
            return None;
        }
        let person = keys.person(to)?;
        let part = part.to_string();
        let tag = keys.sign("mail", &[conversation, send, &part, &person], TAG)?;
        Some(format!("{conversation}.{send}.{part}.{person}{tag}@{domain}"))
    }

    /// Reads a Message-ID; `None` when it is not one of ours, whatever its domain.
    #[must_use]
    pub fn read(keys: &Keys, id: &str) -> Option<OurMail> {
        let (local, _) = address::split(id)?;
        let local = local.to_ascii_lowercase();
        let mut parts = local.split('.');
        let (conversation, send, part, tail) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let person = tail.get(..PERSON)?;
        let tag = tail.get(PERSON..).filter(|t| t.len() == TAG)?;
        let ours = parts.next().is_none()
            && is_plain(conversation)
            && is_plain(send)
            && keys.verify("mail", &[conversation, send, part, person], tag);
        Some(OurMail {
            conversation: conversation.into(),
            send: send.into(),
            part: part.parse().ok().filter(|_| ours)?,
            person: person.into(),
        })
    }

    /// It was written to this address.
    #[must_use]
    pub fn was_for(&self, keys: &Keys, address: &str) -> bool {
        keys.is_person(address, &self.person)
    }
}

/// The detail of a reply address: `c-<conversation>.<person><tag>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    pub conversation: String,
    person: String,
}

impl Tag {
    /// The address that answers to what is written to `to` should go to.
    #[must_use]
    pub fn address(keys: &Keys, conversation: &str, to: &str, ours: &str) -> Option<String> {
        let (base, _, domain) = address::detail(ours)?;
        let person = keys.person(to)?;
        let tag = keys.sign("tag", &[conversation, &person], TAG)?;
        let local = format!("{base}+c-{conversation}.{person}{tag}");
        (is_plain(conversation) && local.len() <= 64).then(|| format!("{local}@{domain}"))
    }

    /// Reads the detail of a recipient's address.
    #[must_use]
    pub fn read(keys: &Keys, detail: &str) -> Option<Tag> {
        let detail = detail.to_ascii_lowercase();
        let (conversation, tail) = detail.strip_prefix("c-")?.rsplit_once('.')?;
        let person = tail.get(..PERSON)?;
        let tag = tail.get(PERSON..).filter(|t| t.len() == TAG)?;
        let ours = is_plain(conversation) && keys.verify("tag", &[conversation, person], tag);
        ours.then(|| Tag { conversation: conversation.into(), person: person.into() })
    }

    /// It was made for this address.
    #[must_use]
    pub fn was_for(&self, keys: &Keys, address: &str) -> bool {
        keys.is_person(address, &self.person)
    }
}

/// The envelope sender of one of our mails: `b-<send>.<part>.<tag>` (VERP), or `b-<send>.<part>.<copies>.<tag>` where others got a copy. A
/// bounce comes back to it, often with nothing else of the mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verp {
    pub send: String,
    pub part: u16,
    /// Who got a copy, in a few letters each: as many of them as an address has room for.
    copies: String,
}

impl Verp {
    #[must_use]
    pub fn address(keys: &Keys, send: &str, part: u16, copies: &[String], ours: &str) -> Option<String> {
        let (base, _, domain) = address::detail(ours)?;
        let part = part.to_string();
        let mut room = 64usize.checked_sub(format!("{base}+b-{send}.{part}.").len() + TAG)?;
        let mut whom = String::new();
        for copy in copies.iter().filter_map(|copy| keys.sign("copy", &[&address::canonical(copy)], COPY)) {
            // The first one brings a dot along.
            let needed = COPY + usize::from(whom.is_empty());
            let Some(left) = room.checked_sub(needed) else { break };
            room = left;
            whom.push_str(&copy);
        }
        let tag = keys.sign("verp", &Verp::fields(send, &part, &whom), TAG)?;
        let dot = if whom.is_empty() { "" } else { "." };
        is_plain(send).then(|| format!("{base}+b-{send}.{part}{dot}{whom}.{tag}@{domain}"))
    }

    /// What is signed.
    fn fields<'a>(send: &'a str, part: &'a str, copies: &'a str) -> Vec<&'a str> {
        let mut fields = vec![send, part];
        fields.extend(Some(copies).filter(|copies| !copies.is_empty()));
        fields
    }

    /// Reads the detail of a recipient's address.
    #[must_use]
    pub fn read(keys: &Keys, detail: &str) -> Option<Verp> {
        let detail = detail.to_ascii_lowercase();
        let (fields, tag) = detail.strip_prefix("b-")?.rsplit_once('.')?;
        let mut fields = fields.split('.');
        let (send, part, copies) = (fields.next()?, fields.next()?, fields.next());
        let none = copies == Some("");
        let copies = copies.unwrap_or_default();
        let ours = !none
            && fields.next().is_none()
            && is_plain(send)
            && tag.len() == TAG
            && keys.verify("verp", &Verp::fields(send, part, copies), tag);
        Some(Verp { send: send.into(), part: part.parse().ok().filter(|_| ours)?, copies: copies.into() })
    }

    /// This address got a copy. One that is not known here may have got one too.
    #[must_use]
    pub fn was_copied_to(&self, keys: &Keys, address: &str) -> bool {
        let address = address::canonical(address);
        keys.0.iter().any(|mac| {
            let letters = Keys::letters(mac, "copy", &[&address], COPY);
            self.copies.as_bytes().chunks(COPY).any(|copy| copy == letters.as_bytes())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> Keys {
        Keys::new(&[Secret::new("now"), Secret::new("before")])
    }

    const CONV: &str = "c0123456789abcdef";
    const SEND: &str = "mfedcba9876543210";

    #[test]
    fn what_we_write_is_read_again_by_every_key_and_in_any_case() {
        let keys = keys();
        let old = Keys::new(&[Secret::new("before")]);
        for writer in [&keys, &old] {
            let id = OurMail::id(writer, CONV, SEND, 2, "Ann@x.org", "shop.example").unwrap();
            let mail = OurMail::read(&keys, &id.to_uppercase()).unwrap();
            assert_eq!((mail.conversation.as_str(), mail.send.as_str(), mail.part), (CONV, SEND, 2));
            assert!(mail.was_for(&keys, "ann@X.org") && !mail.was_for(&keys, "eve@x.org"));
            let address = Tag::address(writer, CONV, "ann@x.org", "support+old@shop.example").unwrap();
            let (base, detail, domain) = address::detail(&address).unwrap();
            assert_eq!((base, domain), ("support", "shop.example"));
            let tag = Tag::read(&keys, &detail.unwrap().to_uppercase()).unwrap();
            assert!(tag.conversation == CONV && tag.was_for(&keys, "ann@x.org") && !tag.was_for(&keys, "eve@x.org"));
            let verp = Verp::address(writer, SEND, 2, &[], "support@shop.example").unwrap();
            let detail = address::detail(&verp).unwrap().1.unwrap();
            assert_eq!(Verp::read(&keys, detail), Some(Verp { send: SEND.into(), part: 2, copies: String::new() }));
            assert!([address, verp].iter().all(|a| address::split(a).unwrap().0.len() <= 64));
        }
        assert_eq!(OurMail::id(&keys, "c d", SEND, 1, "a@b", "x"), None);
        assert_eq!(OurMail::id(&Keys::new(&[]), CONV, SEND, 1, "a@b", "x"), None);
    }

    #[test]
    fn who_got_a_copy_is_known_by_the_envelope_sender_as_far_as_there_is_room() {
        let (keys, old) = (keys(), Keys::new(&[Secret::new("before")]));
        let copies: Vec<String> = (0..30).map(|n| format!("Copy{n}@x.org")).collect();
        let known = |ours: &str, writer: &Keys, copies: &[String]| {
            let verp = Verp::address(writer, SEND, 1, copies, ours).unwrap();
            let (base, detail, _) = address::detail(&verp).unwrap();
            let detail = detail.unwrap();
            assert!(base.len() + 1 + detail.len() <= 64, "{verp}");
            let verp = Verp::read(&keys, &detail.to_uppercase()).unwrap();
            assert!((verp.send.as_str(), verp.part) == (SEND, 1) && !verp.was_copied_to(&keys, "ann@x.org"));
            copies.iter().take_while(|copy| verp.was_copied_to(&keys, &copy.to_uppercase())).count()
        };
        assert_eq!(known("support@shop.example", &keys, &copies[..2]), 2);
        assert_eq!(known("support@shop.example", &old, &copies[..2]), 2);
        assert_eq!(known("support@shop.example", &keys, &copies), 6);
        assert_eq!(known("a-name-as-long-as-it-can-be@shop.example", &keys, &copies), 0);
        assert_eq!(Verp::address(&keys, SEND, 1, &[], &format!("{}@shop.example", "a".repeat(29))), None);
    }

    #[test]
    fn an_attempt_does_not_change_the_id() {
        let id = || OurMail::id(&keys(), CONV, SEND, 1, "a@b.c", "x");
        assert_eq!(id(), id());
    }

    proptest! {
        #[test]
        fn nothing_that_was_changed_is_believed(at in 0usize..60, with in "[0-9a-z.-]", copied in any::<bool>()) {
            let keys = keys();
            let copies: &[String] = if copied { &["bob@x".into(), "eve@x".into()] } else { &[] };
            let change = |text: &str| {
                let at = at % text.len();
                let mut changed = text.to_owned();
                changed.replace_range(at..=at, &with);
                (changed != text).then_some(changed)
            };
            let id = OurMail::id(&keys, CONV, SEND, 1, "a@b.c", "x").unwrap();
            let local = id.strip_suffix("@x").unwrap();
            if let Some(changed) = change(local) {
                prop_assert_eq!(OurMail::read(&keys, &format!("{changed}@x")), None);
            }
            let tag = Tag::address(&keys, CONV, "a@b.c", "s@x").unwrap();
            if let Some(changed) = change(tag.strip_prefix("s+").unwrap().strip_suffix("@x").unwrap()) {
                prop_assert_eq!(Tag::read(&keys, &changed), None);
            }
            let verp = Verp::address(&keys, SEND, 1, copies, "s@x").unwrap();
            if let Some(changed) = change(verp.strip_prefix("s+").unwrap().strip_suffix("@x").unwrap()) {
                prop_assert_eq!(Verp::read(&keys, &changed), None);
            }
        }

        #[test]
        fn any_text_is_read(text in "\\PC{0,80}") {
            let keys = keys();
            prop_assert_eq!(OurMail::read(&keys, &text), None);
            prop_assert_eq!(Tag::read(&keys, &text), None);
            prop_assert_eq!(Verp::read(&keys, &text), None);
        }
    }
}
