//! Signatures of OAuth 1.0a with HMAC-SHA1 (RFC 5849; <https://docs.x.com/fundamentals/authentication/oauth-1-0a/creating-a-signature>).

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use switchboard_adapter_sdk::{
    Call, Secret,
    signature::{Mac, sha256_hex, to_base64},
};
use switchboard_envelope::Timestamp;
use url::Url;

/// The four keys of an account at an app.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub consumer_key: String,
    pub consumer_secret: Secret,
    pub token: Secret,
    pub token_secret: Secret,
    /// Tells calls of one moment apart.
    pub made: Arc<AtomicU64>,
}

impl Keys {
    /// The `authorization` header of a call. A JSON body takes no part in it.
    pub(crate) fn header(&self, call: &Call, now: Timestamp) -> Option<String> {
        let mut url = Url::parse(&call.url).ok()?;
        let nonce = self.nonce(call, now);
        let seconds = (now.0 / 1000).to_string();
        let own = [
            ("oauth_consumer_key", self.consumer_key.as_str()),
            ("oauth_nonce", &nonce),
            ("oauth_signature_method", "HMAC-SHA1"),
            ("oauth_timestamp", &seconds),
            ("oauth_token", self.token.expose()),
            ("oauth_version", "1.0"),
        ];
        let mut all: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        all.extend(own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        url.set_query(None);
        url.set_fragment(None);
        let base = base_string(call.method.as_str(), url.as_str(), &all);
        let signature = sign(&base, self.consumer_secret.expose(), self.token_secret.expose());
        let mut header = String::from("OAuth ");
        for (name, value) in own.iter().copied().chain([("oauth_signature", signature.as_str())]) {
            let comma = if name == "oauth_consumer_key" { "" } else { ", " };
            let _ = write!(header, "{comma}{name}=\"{}\"", encoded(value));
        }
        Some(header)
    }

    /// Nobody can guess it, and no two calls have the same: X takes each for one time.
    fn nonce(&self, call: &Call, now: Timestamp) -> String {
        let body = match &call.body {
            switchboard_adapter_sdk::CallBody::Bytes(_, bytes) => bytes.as_ref(),
            switchboard_adapter_sdk::CallBody::Empty => &[],
        };
        let mac = Mac::sha256(self.token_secret.expose().as_bytes());
        let when = format!("\n{}.{}\n", now.0, self.made.fetch_add(1, Ordering::Relaxed));
        let tag = mac.sign_parts(&[call.url.as_bytes(), when.as_bytes(), body]);
        sha256_hex(&tag).chars().take(32).collect()
    }
}

/// What is signed: the method, the address and all parameters, sorted.
fn base_string(method: &str, url: &str, params: &[(String, String)]) -> String {
    let mut all: Vec<(String, String)> = params.iter().map(|(name, value)| (encoded(name), encoded(value))).collect();
    all.sort();
    let joined: Vec<String> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("{method}&{}&{}", encoded(url), encoded(&joined.join("&")))
}

fn sign(base: &str, consumer_secret: &str, token_secret: &str) -> String {
    let key = format!("{}&{}", encoded(consumer_secret), encoded(token_secret));
    to_base64(&Mac::sha1(key.as_bytes()).sign(base.as_bytes()))
}

/// Everything but letters, digits and `-._~` as `%XX` (RFC 3986 §2.1).
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
            out.push(char::from(b));
        } else {
            let _ = write!(out, "%{b:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use http::Method;
    use std::time::Duration;
    use switchboard_adapter_sdk::CallBody;

    #[test]
    fn the_published_vectors_hold() {
        for vector in fixtures::vectors("oauth1-hmac-sha1") {
            let input = &vector["inputs"];
            let text = |key: &str| input[key].as_str().unwrap();
            let pair = |pair: &serde_json::Value| {
                let at = |i: usize| pair[i].as_str().unwrap().to_owned();
                (at(0), at(1))
            };
            let params: Vec<_> = input["params"].as_array().unwrap().iter().map(pair).collect();
            let base = base_string(text("method"), text("url"), &params);
            if let Some(wanted) = input["base_string"].as_str() {
                assert_eq!(base, wanted, "{}", vector["name"]);
            }
            assert_eq!(
                sign(&base, text("consumer_secret"), text("token_secret")),
                vector["expected"],
                "{}",
                vector["name"]
            );
        }
    }

    fn call(url: &str, body: &'static str) -> Call {
        let body = CallBody::Bytes("application/json", body.into());
        Call { method: Method::POST, url: url.into(), headers: vec![], body, timeout: Duration::from_secs(1) }
    }

    #[test]
    fn a_header_names_everything_but_the_secrets_and_signs_the_query() {
        let keys = Keys {
            consumer_key: "ck".into(),
            consumer_secret: Secret::new("c&s"),
            token: Secret::new("1-to ken"),
            token_secret: Secret::new("ts"),
            made: Arc::default(),
        };
        let now = Timestamp(1_800_000_000_123);
        let header = keys.header(&call("https://api.x.com/2/tweets?a=b%20c&a=a", "{}"), now).unwrap();
        assert!(header.starts_with("OAuth oauth_consumer_key=\"ck\", oauth_nonce=\""), "{header}");
        assert!(header.contains("oauth_timestamp=\"1800000000\"") && header.contains("oauth_token=\"1-to%20ken\""));
        assert!(!header.contains("c&s") && !header.contains("c%26s") && !header.contains("ts\""), "{header}");
        let field = |name: &str| {
            let (_, rest) = header.split_once(&format!("{name}=\"")).unwrap();
            rest.split('"').next().unwrap().to_owned()
        };
        let own = ["oauth_consumer_key", "oauth_nonce", "oauth_signature_method", "oauth_timestamp", "oauth_version"];
        let mut params: Vec<(String, String)> = own.iter().map(|n| ((*n).to_owned(), field(n))).collect();
        let more = [("oauth_token", "1-to ken"), ("a", "b c"), ("a", "a")];
        params.extend(more.map(|(n, v)| (n.to_owned(), v.to_owned())));
        let wanted = sign(&base_string("POST", "https://api.x.com/2/tweets", &params), "c&s", "ts");
        assert_eq!(field("oauth_signature"), encoded(&wanted));
        let nonce = |call: &Call, now| keys.nonce(call, now);
        let (one, other) = (call("https://api.x.com/2/tweets", "{}"), call("https://api.x.com/2/tweets", "{\"a\":1}"));
        assert_eq!(nonce(&one, now).len(), 32);
        assert!(nonce(&one, now) != nonce(&other, now) && nonce(&one, now) != nonce(&one, now), "each is another");
        assert_eq!(keys.header(&call("nonsense", ""), now), None);
    }
}
