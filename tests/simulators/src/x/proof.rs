//! Whether a call is the account's: OAuth 1.0a, made again here, or a bearer token.

use super::XConfig;
use crate::http::Request;
use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// What a call shows of itself.
pub(super) enum Signed {
    /// The account's keys, with this nonce.
    Account(String),
    Bearer(String),
    /// Basic, as a confidential client shows itself.
    Basic,
    Nothing,
    /// What is wrong with it.
    Wrong(String),
}

pub(super) fn tag256(secret: &str, data: &[u8]) -> String {
    STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), data))
}

impl Signed {
    pub(super) fn of(config: &XConfig, base: &str, request: &Request) -> Signed {
        let Some(header) = request.header("authorization") else { return Signed::Nothing };
        if let Some(token) = header.strip_prefix("Bearer ") {
            return Signed::Bearer(token.to_owned());
        }
        if header.starts_with("Basic ") {
            return Signed::Basic;
        }
        let Some(fields) = header.strip_prefix("OAuth ") else { return Signed::Wrong("another scheme".into()) };
        let mut params: Vec<(String, String)> = form_urlencoded::parse(request.query.as_bytes()).into_owned().collect();
        let (mut signature, mut nonce) = (String::new(), String::new());
        for field in fields.split(", ") {
            let Some((name, value)) = field.split_once('=') else { return Signed::Wrong(format!("the field {field}")) };
            let value = decoded(value.trim_matches('"'));
            match name {
                "oauth_signature" => signature = value,
                _ => {
                    if name == "oauth_nonce" {
                        nonce.clone_from(&value);
                    }
                    params.push((name.to_owned(), value));
                }
            }
        }
        let has = |name: &str, wanted: &str| params.iter().any(|(n, v)| n == name && v == wanted);
        let now = jiff::Timestamp::now().as_second();
        let at = params.iter().find(|(n, _)| n == "oauth_timestamp").and_then(|(_, v)| v.parse::<i64>().ok());
        if !has("oauth_consumer_key", &config.consumer_key) || !has("oauth_token", &config.access_token) {
            return Signed::Wrong("another account's keys".into());
        }
        if !has("oauth_signature_method", "HMAC-SHA1") || !has("oauth_version", "1.0") {
            return Signed::Wrong("another method".into());
        }
        if at.is_none_or(|at| (at - now).abs() > 300) {
            return Signed::Wrong("a time far away".into());
        }
        let mut all: Vec<String> = params.iter().map(|(n, v)| format!("{}={}", encoded(n), encoded(v))).collect();
        all.sort();
        let url = format!("{base}{}", request.path);
        let text = format!("{}&{}&{}", request.method, encoded(&url), encoded(&all.join("&")));
        let key = format!("{}&{}", encoded(&config.consumer_secret), encoded(&config.access_token_secret));
        let wanted = STANDARD
            .encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes()), text.as_bytes()));
        if wanted == signature { Signed::Account(nonce) } else { Signed::Wrong("the signature".into()) }
    }
}

fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut i) = (vec![], 0);
    while let Some(b) = bytes.get(i) {
        let hex = text.get(i + 1..i + 3).filter(|_| *b == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(hex.unwrap_or(*b));
        i += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}
