//! Who calls: the parameter `sig` of the SMS API (<https://developer.vonage.com/en/getting-started/concepts/signing-messages>),
//! and the JSON Web Token of signed webhooks (<https://developer.vonage.com/en/getting-started/concepts/webhooks>).

use super::{md5, read::Body};
use serde::Deserialize;
use switchboard_adapter_sdk::{
    RawRequest, Secret, Verdict,
    signature::{Mac, equal, from_base64url, from_hex, sha256_hex},
};
use switchboard_envelope::Timestamp;

/// How the account signs; a setting at Vonage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// MD5 over the parameters and the secret behind them: the oldest.
    Md5Hash,
    Md5Hmac,
    Sha1Hmac,
    Sha256Hmac,
    Sha512Hmac,
}

/// The methods by the names that the configuration uses.
pub(super) const METHODS: &[&str] = &["md5hash", "md5hmac", "sha1hmac", "sha256hmac", "sha512hmac"];

impl Method {
    pub(super) fn named(name: &str) -> Method {
        match name {
            "md5hash" => Method::Md5Hash,
            "md5hmac" => Method::Md5Hmac,
            "sha1hmac" => Method::Sha1Hmac,
            "sha512hmac" => Method::Sha512Hmac,
            _ => Method::Sha256Hmac,
        }
    }

    fn tag(self, secret: &[u8], base: &[u8]) -> Vec<u8> {
        match self {
            Method::Md5Hash => md5::md5(&[base, secret].concat()).to_vec(),
            Method::Md5Hmac => md5::hmac(secret, base).to_vec(),
            Method::Sha1Hmac => Mac::sha1(secret).sign(base),
            Method::Sha256Hmac => Mac::sha256(secret).sign(base),
            Method::Sha512Hmac => Mac::sha512(secret).sign(base),
        }
    }
}

/// What a request is checked with.
#[derive(Debug)]
pub(super) struct Signing {
    pub secrets: Vec<Secret>,
    pub method: Method,
    /// How far the signed time may be from ours, either way, in milliseconds.
    pub age_ms: i64,
    pub api_key: String,
}

impl Signing {
    pub(super) fn verify(&self, request: &RawRequest) -> Verdict {
        match request.headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok()) {
            Some(bearer) => self.token(bearer, request),
            None => self.parameters(request),
        }
    }

    fn in_time(&self, seconds: i64, now: Timestamp) -> bool {
        seconds.checked_mul(1000).is_some_and(|ms| now.0.saturating_sub(ms).saturating_abs() <= self.age_ms)
    }

    fn parameters(&self, request: &RawRequest) -> Verdict {
        let Ok(body) = Body::of(&crate::request::Source::of(request)) else {
            return Verdict::Forged("neither a form nor JSON, which no signature covers".into());
        };
        let Some(sig) = body.text("sig") else { return Verdict::Missing };
        let Some(tag) = from_hex(sig) else { return Verdict::Forged("`sig` is not hexadecimal".into()) };
        let base = base(body.pairs());
        let is_signed = |secret: &Secret| equal(&self.method.tag(secret.expose().as_bytes(), base.as_bytes()), &tag);
        // Each secret is tried, so that the time does not tell which one it was.
        if !self.secrets.iter().fold(false, |known, secret| is_signed(secret) | known) {
            return Verdict::Forged(
                "the signature does not match; are signature_secret and signature_method those of the account?".into(),
            );
        }
        match body.text("timestamp").and_then(|text| text.parse().ok()) {
            Some(seconds) if self.in_time(seconds, request.received_at) => Verdict::Genuine,
            Some(_) => Verdict::Forged("the signed time is too far from ours; is the clock right?".into()),
            None => Verdict::Forged("the signature covers no time".into()),
        }
    }

    fn token(&self, authorization: &str, request: &RawRequest) -> Verdict {
        let forged = |why: &str| Verdict::Forged(why.to_owned());
        let Some(token) = authorization.strip_prefix("Bearer ") else { return forged("no bearer token") };
        let Some((signed, tag)) = token.rsplit_once('.') else { return forged("not a JSON Web Token") };
        let Some((header, claims)) = signed.split_once('.') else { return forged("not a JSON Web Token") };
        let read = |part: &str| from_base64url(part);
        let (Some(header), Some(claims), Some(tag)) = (read(header), read(claims), read(tag)) else {
            return forged("not a JSON Web Token");
        };
        // Whatever else the header asks for, nothing but this is ever checked.
        if serde_json::from_slice::<Header>(&header).ok().is_none_or(|header| header.alg != "HS256") {
            return forged("the token is not signed by HS256");
        }
        let is_signed = |secret: &Secret| Mac::sha256(secret.expose().as_bytes()).verify(signed.as_bytes(), &tag);
        if !self.secrets.iter().fold(false, |known, secret| is_signed(secret) | known) {
            return forged("the token's signature does not match; is signature_secret that of the account?");
        }
        let Ok(claims) = serde_json::from_slice::<Claims>(&claims) else { return forged("the token has no claims") };
        if claims.api_key.is_some_and(|key| key != self.api_key) {
            return forged("the token is another account's");
        }
        let hash = claims.payload_hash.unwrap_or_default().to_ascii_lowercase();
        if !equal(hash.as_bytes(), sha256_hex(&request.body).as_bytes()) {
            return forged("the token is not of this body");
        }
        match claims.iat {
            Some(seconds) if self.in_time(seconds, request.received_at) => Verdict::Genuine,
            _ => forged("the token's time is too far from ours; is the clock right?"),
        }
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    iat: Option<i64>,
    payload_hash: Option<String>,
    api_key: Option<String>,
}

/// What a signature covers: every parameter but itself, sorted by name, with `&` and `=` of the values made harmless.
pub(super) fn base<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut pairs: Vec<_> = pairs.filter(|(name, _)| *name != "sig").collect();
    pairs.sort_by(|a, b| a.0.cmp(b.0));
    let mut base = String::new();
    for (name, value) in pairs {
        base.push('&');
        base.push_str(name);
        base.push('=');
        base.push_str(&value.replace(['&', '='], "_"));
    }
    base
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use switchboard_adapter_sdk::signature::to_hex;

    #[test]
    fn every_vector_is_computed() {
        let vectors = fixtures::vectors();
        let all = vectors["vectors"].as_array().unwrap();
        let mine: Vec<_> = all.iter().filter(|v| v["scheme"] == "vonage-sms-sig").collect();
        assert!(mine.len() >= 5, "{} vectors", mine.len());
        for vector in mine {
            let inputs = &vector["inputs"];
            let params = inputs["params"].as_object().unwrap();
            let base = base(params.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())));
            let method = inputs["method"].as_str().unwrap();
            assert!(METHODS.contains(&method), "{method}");
            let secret = inputs["secret"].as_str().unwrap();
            let wanted = inputs["base"].as_str().unwrap();
            let wanted = if method == "md5hash" { wanted.strip_suffix(secret).unwrap() } else { wanted };
            assert_eq!(base, wanted, "{}", vector["name"]);
            let tag = Method::named(method).tag(secret.as_bytes(), base.as_bytes());
            assert_eq!(to_hex(&tag), vector["expected"], "{}", vector["name"]);
        }
    }
}
