//! How X calls us: the challenge, and the signature over the raw body (<https://docs.x.com/x-api/webhooks/introduction>).

use http::Method;
use serde_json::json;
use switchboard_adapter_sdk::{
    RawRequest, Reply, Secret, Verdict,
    signature::{Mac, from_base64, to_base64},
};

/// The header that signs a delivery.
pub(crate) const HEADER: &str = "x-twitter-webhooks-signature";
/// A challenge longer than this is none of X's.
const MAX_TOKEN: usize = 256;

/// What a channel knows to tell X from anybody else.
#[derive(Clone, Debug)]
pub(crate) struct Hook {
    /// One for each consumer secret; the first answers challenges.
    macs: Vec<Mac>,
}

impl Hook {
    pub(crate) fn new(secrets: &[Secret]) -> Hook {
        Hook { macs: secrets.iter().map(|secret| Mac::sha256(secret.expose().as_bytes())).collect() }
    }

    pub(crate) fn screen(&self, head: &RawRequest) -> Verdict {
        let shown = if head.method == Method::GET { asked(head).map(drop) } else { tag(head).map(drop) };
        shown.map_or_else(|wrong| wrong, |()| Verdict::Genuine)
    }

    pub(crate) fn verify(&self, request: &RawRequest) -> Verdict {
        if request.method == Method::GET {
            return asked(request).map_or_else(|wrong| wrong, |_| Verdict::Genuine);
        }
        // Whoever asks is answered with the tag of a challenge: so what could be one is no delivery.
        if request.body.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
            return Verdict::Forged("the body is no JSON object".into());
        }
        match tag(request) {
            Err(wrong) => wrong,
            // Each is tried, so that the time says nothing of which one it was.
            Ok(tag) if self.macs.iter().filter(|mac| mac.verify(&request.body, &tag)).count() > 0 => Verdict::Genuine,
            Ok(_) => Verdict::Forged(
                "the signature is by another consumer secret, or the body was changed on its way".into(),
            ),
        }
    }

    /// Which of the secrets signed a delivery.
    pub(crate) fn signed_by(&self, request: &RawRequest) -> Option<usize> {
        let tag = tag(request).ok()?;
        self.macs.iter().position(|mac| mac.verify(&request.body, &tag))
    }

    /// A word for a part of a delivery, by the secret that signed the delivery.
    pub(crate) fn vouch(&self, secret: usize, part: &[u8]) -> Option<String> {
        self.macs.get(secret).map(|mac| mac.vouch(part))
    }

    pub(crate) fn vouched(&self, part: &[u8], word: &str) -> bool {
        self.macs.iter().any(|mac| mac.vouched(part, word))
    }

    /// The answer to a challenge. It needs nothing but the secret, so it is given whatever else is down.
    pub(crate) fn handshake(&self, request: &RawRequest) -> Option<Reply> {
        if request.method != Method::GET {
            return None;
        }
        let reply = |status, body: String| Reply { status, content_type: "application/json", body };
        let answer = asked(request).ok().zip(self.macs.first());
        Some(answer.map_or_else(
            || reply(403, "{}".into()),
            |(token, mac)| {
                let tag = to_base64(&mac.sign(token.as_bytes()));
                reply(200, json!({ "response_token": format!("sha256={tag}") }).to_string())
            },
        ))
    }
}

/// The token of a challenge. It is signed with what signs deliveries, for whoever asks: nothing that could stand in a delivery
/// is taken for one.
fn asked(head: &RawRequest) -> Result<String, Verdict> {
    let forged = |why: &str| Verdict::Forged(why.to_owned());
    let found = form_urlencoded::parse(head.query.as_bytes()).take(32).find(|(name, _)| name == "crc_token");
    let (_, token) = found.ok_or_else(|| forged("a GET without a crc_token"))?;
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b" -_.+/=".contains(&b);
    if !(1..=MAX_TOKEN).contains(&token.len()) || !token.bytes().all(is_plain) {
        return Err(forged("the crc_token is none of X's"));
    }
    Ok(token.into_owned())
}

/// The signature of a delivery; in one spelling only, so that no two headers mean the same.
fn tag(request: &RawRequest) -> Result<Vec<u8>, Verdict> {
    let Some(value) = request.headers.get(HEADER) else { return Err(Verdict::Missing) };
    let tag = value.to_str().ok().and_then(|text| text.strip_prefix("sha256=")).and_then(from_base64);
    tag.filter(|tag| tag.len() == 32)
        .ok_or_else(|| Verdict::Forged(format!("{HEADER} is not `sha256=` and the base64 of 32 bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use bytes::Bytes;
    use switchboard_envelope::Timestamp;

    fn hook(secrets: &[&str]) -> Hook {
        Hook::new(&secrets.iter().map(|secret| Secret::new(*secret)).collect::<Vec<_>>())
    }

    fn request(method: Method, query: &str, body: &[u8], signature: Option<&str>) -> RawRequest {
        let mut headers = http::HeaderMap::new();
        if let Some(signature) = signature {
            headers.insert(HEADER, signature.parse().unwrap());
        }
        RawRequest {
            method,
            path: String::new(),
            query: query.into(),
            headers,
            body: Bytes::copy_from_slice(body),
            url: String::new(),
            received_at: Timestamp(1_800_000_000_000),
        }
    }

    fn token_of(hook: &Hook, query: &str) -> String {
        let asked = request(Method::GET, query, b"", None);
        assert_eq!((hook.screen(&asked), hook.verify(&asked)), (Verdict::Genuine, Verdict::Genuine), "{query}");
        let reply = hook.handshake(&asked).unwrap();
        assert_eq!((reply.status, reply.content_type), (200, "application/json"));
        let body: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
        body["response_token"].as_str().unwrap().to_owned()
    }

    #[test]
    fn the_challenge_is_answered_as_published() {
        for vector in fixtures::vectors("x-crc-response_token") {
            let text = |key: &str| vector["inputs"][key].as_str().unwrap().to_owned();
            let query = form_urlencoded::Serializer::new(String::new())
                .append_pair("nonce", "x")
                .append_pair("crc_token", &text("crc_token"))
                .finish();
            assert_eq!(token_of(&hook(&[&text("consumer_secret"), "the-next"]), &query), vector["expected"]);
        }
        let recorded = fixtures::json("x/crc-get.json");
        let secret = recorded["consumer_secret"].as_str().unwrap();
        let token = token_of(&hook(&[secret]), recorded["query"].as_str().unwrap());
        assert_eq!(token, recorded["expected"]["response_token"]);
    }

    #[test]
    fn only_a_challenge_is_answered() {
        let hook = hook(&["apiSecret"]);
        let long = format!("crc_token={}", "a".repeat(MAX_TOKEN + 1));
        for wrong in ["", "crc_token", "crc_token=", "token=a", "crc_token=%7B%22a%22%7D", "crc_token=a%0Ab", &long] {
            let asked = request(Method::GET, wrong, b"", None);
            assert!(matches!(hook.verify(&asked), Verdict::Forged(_)), "{wrong}");
            assert!(matches!(hook.screen(&asked), Verdict::Forged(_)), "{wrong}");
            assert_eq!(hook.handshake(&asked).unwrap().status, 403, "{wrong}");
        }
        assert_eq!(hook.handshake(&request(Method::POST, "crc_token=a", b"{}", None)), None);
    }

    #[test]
    fn the_challenge_signs_nothing_that_could_be_delivered() {
        let hook = hook(&["apiSecret"]);
        for body in ["abc", "1234", "null", "true"] {
            let tag = token_of(&hook, &format!("crc_token={body}"));
            let forged = request(Method::POST, "", body.as_bytes(), Some(&tag));
            assert!(matches!(hook.verify(&forged), Verdict::Forged(_)), "{body}");
        }
    }

    #[test]
    fn a_delivery_is_signed_with_any_of_the_secrets_and_in_one_spelling() {
        for vector in fixtures::vectors("x-twitter-webhooks-signature") {
            let text = |key: &str| vector["inputs"][key].as_str().unwrap().to_owned();
            let (secret, body, good) = (text("consumer_secret"), text("body"), vector["expected"].as_str().unwrap());
            let delivered = |signature: Option<&str>| request(Method::POST, "", body.as_bytes(), signature);
            for secrets in [vec![secret.as_str()], vec!["another", secret.as_str()]] {
                assert_eq!(hook(&secrets).verify(&delivered(Some(good))), Verdict::Genuine);
            }
            let ours = hook(&[&secret]);
            assert!(matches!(hook(&["another"]).verify(&delivered(Some(good))), Verdict::Forged(_)));
            assert_eq!(
                (ours.verify(&delivered(None)), ours.screen(&delivered(None))),
                (Verdict::Missing, Verdict::Missing)
            );
            for wrong in
                ["", "sha256=", &good[7..], &good[..40], &good.replace('=', ""), &format!("{good}="), "sha256=AA=="]
            {
                assert!(matches!(ours.verify(&delivered(Some(wrong))), Verdict::Forged(_)), "{wrong}");
            }
        }
    }
}
