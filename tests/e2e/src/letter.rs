//! A mail of ours as its reader has it: the text, and the page beside it.

use crate::postfix::{field, fields};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The text of a mail, with its lines as they were written. A mail of several parts has it first.
#[must_use]
pub fn text_of(mail: &str) -> String {
    part(mail, "text/plain").unwrap_or_default()
}

/// The page of a mail; empty when it has none.
#[must_use]
pub fn page_of(mail: &str) -> String {
    part(mail, "text/html").unwrap_or_default()
}

/// The first part of this type, decoded.
fn part(mail: &str, wanted: &str) -> Option<String> {
    let kind = field(mail, "content-type");
    let body = fields(mail).1;
    if let Some(boundary) = kind.starts_with("multipart/").then(|| parameter(&kind, "boundary")).flatten() {
        let opening = format!("--{boundary}\n");
        let end = format!("\n--{boundary}");
        return body.split(&opening).skip(1).find_map(|p| part(p.split(&end).next().unwrap_or(p), wanted));
    }
    let kind = if kind.is_empty() { "text/plain".to_owned() } else { kind };
    kind.starts_with(wanted).then(|| decoded(&body, &field(mail, "content-transfer-encoding").to_lowercase()))
}

fn parameter(value: &str, name: &str) -> Option<String> {
    let found = value.split(';').find_map(|p| p.trim().strip_prefix(&format!("{name}=")).map(str::to_owned))?;
    Some(found.trim_matches('"').to_owned())
}

fn decoded(body: &str, encoding: &str) -> String {
    let bytes = match encoding {
        "base64" => STANDARD.decode(body.split_whitespace().collect::<String>()).expect("base64"),
        "quoted-printable" => quoted_printable(body),
        _ => body.as_bytes().to_vec(),
    };
    String::from_utf8(bytes).expect("UTF-8").replace("\r\n", "\n")
}

fn quoted_printable(body: &str) -> Vec<u8> {
    let body = body.replace("=\r\n", "").replace("=\n", "");
    let mut pieces = body.split('=');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (code, rest) = piece.split_at(2);
        bytes.push(u8::from_str_radix(code, 16).expect("two hexadecimal digits"));
        bytes.extend(rest.as_bytes());
    }
    bytes
}
