//! Signatures of our mails (RFC 6376, and RFC 8463 for Ed25519), for sites whose mail server does not sign. Both canonicalisations
//! are `relaxed`, because servers on the way fold lines anew.
//!
//! Signing is a function of the mail: both kinds of signatures are deterministic, so every attempt is the same mail.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
use std::sync::Arc;
use switchboard_adapter_sdk::signature::{sha256, to_base64};
use switchboard_adapter_sdk::{
    ConfigProblem, Settings,
    settings::{Key, Shape},
};

/// What is signed once more than it is there, so that nobody can add one (RFC 6376 §8.15).
const CLOSED: [&str; 12] = [
    "from",
    "to",
    "cc",
    "subject",
    "date",
    "message-id",
    "reply-to",
    "in-reply-to",
    "references",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
];
/// What is signed where it is there.
const SIGNED: [&str; 3] = ["auto-submitted", "precedence", "x-auto-response-suppress"];
/// Letters of a folded line.
const LINE: usize = 72;

/// The keys of the table `dkim`.
pub const KEYS: &[Key] = &[
    Key::new(
        "selector",
        Shape::Text { check: name, pattern: "^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$" },
        "the name of the key: its public half stands in the DNS at `<selector>._domainkey.<domain>`",
    )
    .required("\"mail2026\""),
    Key::new("key", Shape::Pem, "the private key, in PEM: RSA of 2048 bits or more, or Ed25519")
        .required("{ file = \"dkim.pem\" }"),
    Key::new(
        "domain",
        Shape::Text { check: name, pattern: "^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$" },
        "the domain that signs: that of `address`, or one above it; that of `address` when left out",
    ),
];

enum Signing {
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// What signs the mails of a channel.
#[derive(Clone)]
pub struct Signer {
    domain: String,
    selector: String,
    key: Arc<Signing>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("domain", &self.domain).field("selector", &self.selector).finish_non_exhaustive()
    }
}

impl PartialEq for Signer {
    fn eq(&self, other: &Signer) -> bool {
        (&self.domain, &self.selector, self.public()) == (&other.domain, &other.selector, other.public())
    }
}

impl Eq for Signer {}

/// The name of a key or a domain in the DNS.
fn name(text: &str) -> Result<String, String> {
    let good = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if text.len() > 253 || !text.split('.').all(good) {
        return Err(format!("`{text}` is not a name in the DNS: write letters, digits, `-` and dots"));
    }
    Ok(text.to_ascii_lowercase())
}

/// Reads the table `dkim` of a channel that writes from an address of `domain`.
pub(crate) fn read(settings: &Settings, domain: &str, problems: &mut Vec<ConfigProblem>) -> Option<Signer> {
    let selector = settings.text("dkim.selector")?;
    let signs = settings.text("dkim.domain").unwrap_or(domain).to_ascii_lowercase();
    let domain = domain.to_ascii_lowercase();
    if domain != signs && !(signs.contains('.') && domain.ends_with(&format!(".{signs}"))) {
        let what = format!("must be `{domain}`, or a domain above it: a signature of another one proves nothing");
        problems.push(settings.problem("dkim.domain", what));
        return None;
    }
    match Signer::new(&signs, selector, settings.secret("dkim.key")?.expose()) {
        Ok(signer) => Some(signer),
        Err(why) => {
            problems.push(settings.problem("dkim.key", why));
            None
        }
    }
}

impl Signer {
    /// # Errors
    /// With a sentence that says what is wrong with the key, and never shows it.
    pub fn new(domain: &str, selector: &str, pem: &str) -> Result<Signer, &'static str> {
        const MAKE: &str = "holds no private key in PEM: make one with `openssl genrsa 2048`";
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| MAKE)?;
        let key = match &der {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).ok().map(Signing::Rsa),
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                let rsa = RsaKeyPair::from_pkcs8(der).ok().map(Signing::Rsa);
                // Without the public half, as OpenSSL writes it, there is nothing to compare it with.
                rsa.or_else(|| Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok().map(Signing::Ed25519))
            }
            _ => None,
        };
        let key = key.ok_or("holds a key that cannot sign: it must be RSA of 2048 to 8192 bits, or Ed25519")?;
        Ok(Signer { domain: domain.into(), selector: selector.into(), key: Arc::new(key) })
    }

    fn algorithm(&self) -> &'static str {
        match *self.key {
            Signing::Rsa(_) => "rsa-sha256",
            Signing::Ed25519(_) => "ed25519-sha256",
        }
    }

    fn public(&self) -> &[u8] {
        match &*self.key {
            Signing::Rsa(key) => key.public_key().as_ref(),
            Signing::Ed25519(key) => key.public_key().as_ref(),
        }
    }

    /// The mail with its signature as the first field. `at` is in seconds.
    #[must_use]
    pub fn sign(&self, mail: Vec<u8>, at: i64) -> Option<Vec<u8>> {
        let (head, body) = split(&mail);
        let fields = fields(head);
        let (mut names, mut signed) = (vec![], vec![]);
        for name in CLOSED.iter().chain(&SIGNED) {
            // The last one of a name is the first to be signed (RFC 6376 §5.4.2).
            for (_, field) in fields.iter().rev().filter(|(n, _)| n == name) {
                names.push(*name);
                signed.extend_from_slice(&relaxed_field(name, field));
                signed.extend_from_slice(b"\r\n");
            }
            if CLOSED.contains(name) {
                names.push(*name);
            }
        }
        let mut value = format!(
            "v=1; a={}; c=relaxed/relaxed; d={};\r\n\ts={}; t={at};\r\n\th={};\r\n\tbh={};\r\n\tb=",
            self.algorithm(),
            self.domain,
            self.selector,
            folded(&names.join(":"), ':'),
            to_base64(&sha256(&relaxed_body(body))),
        );
        signed.extend_from_slice(&relaxed_field("dkim-signature", value.as_bytes()));
        value.push_str(&lines(&to_base64(&self.signature(&signed)?)));
        Some([b"DKIM-Signature: ", value.as_bytes(), b"\r\n", mail.as_slice()].concat())
    }

    fn signature(&self, data: &[u8]) -> Option<Vec<u8>> {
        match &*self.key {
            Signing::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), data, &mut signature).ok()?;
                Some(signature)
            }
            Signing::Ed25519(key) => Some(key.sign(&sha256(data)).as_ref().to_vec()),
        }
    }
}

/// A list that breaks behind some of its separators.
fn folded(list: &str, separator: char) -> String {
    let (mut out, mut length) = (String::new(), 0);
    for item in list.split_inclusive(separator) {
        if length > 0 && length + item.len() > LINE {
            out.push_str("\r\n\t");
            length = 0;
        }
        out.push_str(item);
        length += item.len();
    }
    out
}

fn lines(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    letters.chunks(LINE).map(|line| line.iter().collect::<String>()).collect::<Vec<_>>().join("\r\n\t")
}

/// The lines of a text, whatever ends them: as the mail leaves, each ends with CR and LF.
fn split_lines(mut text: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if text.is_empty() {
            return None;
        }
        let end = text.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(text.len());
        let (line, rest) = text.split_at(end);
        text = rest.strip_prefix(b"\r\n").or_else(|| rest.get(1..)).unwrap_or_default();
        Some(line)
    })
}

/// The header and the body.
fn split(mail: &[u8]) -> (&[u8], &[u8]) {
    let at = mail.windows(4).position(|w| w == b"\r\n\r\n");
    at.map_or((mail, &[][..]), |at| {
        let (head, rest) = mail.split_at(at + 2);
        (head, rest.get(2..).unwrap_or_default())
    })
}

/// Names in lower case, and what stands behind their colons, folds and all.
fn fields(head: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut fields: Vec<(String, Vec<u8>)> = vec![];
    for line in split_lines(head) {
        if let (Some(b' ' | b'\t'), Some((_, value))) = (line.first(), fields.last_mut()) {
            value.extend_from_slice(b"\r\n");
            value.extend_from_slice(line);
        } else if let Some(colon) = line.iter().position(|b| *b == b':') {
            let (name, value) = line.split_at(colon);
            let name = String::from_utf8_lossy(name).trim().to_ascii_lowercase();
            fields.push((name, value.get(1..).unwrap_or_default().to_vec()));
        }
    }
    fields
}

/// One line without its ends, each run of blanks as one (RFC 6376 §3.4.2).
fn relaxed_field(name: &str, value: &[u8]) -> Vec<u8> {
    let words = value.split(|b| b.is_ascii_whitespace()).filter(|w| !w.is_empty());
    [name.as_bytes(), b":", &words.collect::<Vec<_>>().join(&b' ')].concat()
}

/// Lines without blanks at their ends, each run of blanks as one, and no empty lines at the end (RFC 6376 §3.4.4).
fn relaxed_body(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 2);
    let mut full = 0;
    for line in split_lines(body) {
        let mut blank = false;
        let start = out.len();
        for byte in line {
            match byte {
                b' ' | b'\t' => blank = true,
                byte => {
                    if std::mem::take(&mut blank) {
                        out.push(b' ');
                    }
                    out.push(*byte);
                }
            }
        }
        let empty = out.len() == start;
        out.extend_from_slice(b"\r\n");
        if !empty {
            full = out.len();
        }
    }
    out.truncate(full);
    out
}

#[cfg(test)]
#[path = "dkim_tests.rs"]
mod tests;
