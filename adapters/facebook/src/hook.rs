//! How Meta calls us: the handshake, and the signature over the raw body
//! (<https://developers.facebook.com/docs/graph-api/webhooks/getting-started>).

use http::Method;
use switchboard_adapter_sdk::{
    RawRequest, Reply, Secret, Settings, Verdict,
    signature::{Mac, equal, from_hex, sha256},
};

/// The header that signs; an older one, with SHA-1, comes beside it and is not looked at.
pub(crate) const HEADER: &str = "x-hub-signature-256";
/// A challenge longer than this is none of Meta's.
const MAX_CHALLENGE: usize = 512;

/// What a channel knows to tell Meta from anybody else.
#[derive(Clone, Debug)]
pub(crate) struct Hook {
    /// One for each secret, so that it can be rotated.
    macs: Vec<Mac>,
    verify_tokens: Vec<Secret>,
}

impl Hook {
    pub(crate) fn new(settings: &Settings) -> Hook {
        Hook {
            macs: settings.secrets("app_secret").iter().map(|s| Mac::sha256(s.expose().as_bytes())).collect(),
            verify_tokens: settings.secrets("verify_token").to_vec(),
        }
    }

    pub(crate) fn screen(&self, head: &RawRequest) -> Verdict {
        if head.method == Method::GET {
            return self.asked(head).map_or_else(|wrong| wrong, |_| Verdict::Genuine);
        }
        tag(head).map_or_else(|wrong| wrong, |_| Verdict::Genuine)
    }

    pub(crate) fn verify(&self, request: &RawRequest) -> Verdict {
        if request.method == Method::GET {
            return self.asked(request).map_or_else(|wrong| wrong, |_| Verdict::Genuine);
        }
        match tag(request) {
            Err(wrong) => wrong,
            // Each is tried, so that the time says nothing of which one it was.
            Ok(tag) if self.macs.iter().filter(|mac| mac.verify(&request.body, &tag)).count() > 0 => Verdict::Genuine,
            Ok(_) => {
                Verdict::Forged("the signature is by another app secret, or the body was changed on its way".into())
            }
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

    /// The answer to `hub.challenge`; `None` for what is no handshake.
    pub(crate) fn handshake(&self, request: &RawRequest) -> Option<Reply> {
        if request.method != Method::GET {
            return None;
        }
        let plain = |status, body| Reply { status, content_type: "text/plain", body };
        // With `signatures = "report"` a wrong token comes as far as here.
        Some(self.asked(request).map_or_else(|_| plain(403, String::new()), |challenge| plain(200, challenge)))
    }

    /// The challenge of a handshake that knows our word.
    fn asked(&self, request: &RawRequest) -> Result<String, Verdict> {
        let forged = |why: &str| Err(Verdict::Forged(why.to_owned()));
        let mut asked = [const { None }; 3];
        for (name, value) in form_urlencoded::parse(request.query.as_bytes()).take(32) {
            let place = ["hub.mode", "hub.verify_token", "hub.challenge"].iter().position(|known| *known == name);
            if let Some(slot) = place.and_then(|i| asked.get_mut(i)) {
                *slot = Some(value.into_owned());
            }
        }
        let [mode, token, challenge] = asked;
        if mode.as_deref() != Some("subscribe") {
            return forged("a GET that is no handshake: hub.mode is not `subscribe`");
        }
        let token = sha256(token.unwrap_or_default().as_bytes());
        if self.verify_tokens.iter().filter(|ours| equal(&sha256(ours.expose().as_bytes()), &token)).count() == 0 {
            return forged("hub.verify_token is not ours: write the app's word as verify_token");
        }
        match challenge.filter(|c| (1..=MAX_CHALLENGE).contains(&c.len())) {
            Some(challenge) => Ok(challenge),
            None => forged("the handshake has no challenge"),
        }
    }
}

/// The signature of a delivery; in one spelling only, so that no two headers mean the same.
fn tag(request: &RawRequest) -> Result<Vec<u8>, Verdict> {
    let Some(value) = request.headers.get(HEADER) else { return Err(Verdict::Missing) };
    let hex = value.to_str().ok().and_then(|text| text.strip_prefix("sha256="));
    hex.filter(|hex| hex.len() == 64 && !hex.bytes().any(|b| b.is_ascii_uppercase()))
        .and_then(from_hex)
        .ok_or_else(|| Verdict::Forged(format!("{HEADER} is not `sha256=` and 64 digits")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use bytes::Bytes;
    use switchboard_adapter_sdk::settings::Value;
    use switchboard_envelope::Timestamp;

    fn hook() -> Hook {
        let secrets = |all: &[&str]| Value::Secrets(all.iter().map(|s| Secret::new(*s)).collect());
        Hook::new(
            &Settings::new("page", None)
                .with("app_secret", secrets(&["sesame", "the-next-one"]))
                .with("verify_token", secrets(&["meatyhamhock"])),
        )
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

    fn verdict(body: &[u8], signature: Option<&str>) -> Verdict {
        hook().verify(&request(Method::POST, "", body, signature))
    }

    #[test]
    fn the_published_vectors_hold_and_each_secret_counts() {
        let mut seen = 0;
        for vector in fixtures::vectors()["vectors"].as_array().unwrap() {
            let name = vector["name"].as_str().unwrap_or_default();
            if !vector["scheme"].as_str().is_some_and(|scheme| scheme.starts_with("meta")) {
                continue;
            }
            let input = &vector["inputs"];
            let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
            // A proof of a token is made in the same way.
            let signed = text(&input["body"]).or_else(|| text(&input["access_token"]));
            let (Some(secret), Some(body)) = (text(&input["app_secret"]), signed) else { panic!("{name}: {vector}") };
            let mac = Mac::sha256(secret.as_bytes());
            let signed = vector["expected"].as_str().unwrap_or_default().trim_start_matches("sha256=");
            let matches = from_hex(signed).is_some_and(|tag| mac.verify(body.as_bytes(), &tag));
            assert!(matches, "{name}");
            seen += 1;
        }
        assert!(seen >= 1, "{seen} vectors");
        let good = "sha256=f39034b29165ec6a5104d9aef27266484ab26c8caa7bca8bcb2dd02e8be61b17";
        assert_eq!(verdict(b"hello world", Some(good)), Verdict::Genuine);
        assert!(matches!(verdict(b"hello world2", Some(good)), Verdict::Forged(_)));
        let next = Mac::sha256(b"the-next-one").sign(b"hello world");
        let next = format!("sha256={}", switchboard_adapter_sdk::signature::to_hex(&next));
        assert_eq!(verdict(b"hello world", Some(&next)), Verdict::Genuine, "while the secret is rotated");
        assert_eq!(verdict(b"hello world", None), Verdict::Missing);
        for wrong in ["", "sha256=", &good.to_uppercase(), &good[7..], &good[..70], &format!("{good}0"), "sha1=00"] {
            assert!(matches!(verdict(b"hello world", Some(wrong)), Verdict::Forged(_)), "{wrong}");
        }
    }

    #[test]
    fn a_part_is_vouched_for_by_the_secret_that_signed_the_delivery() {
        let signed = |secret: &[u8]| {
            let tag = switchboard_adapter_sdk::signature::to_hex(&Mac::sha256(secret).sign(b"whole"));
            request(Method::POST, "", b"whole", Some(&format!("sha256={tag}")))
        };
        let other = Hook { macs: vec![Mac::sha256(b"the-next-one")], verify_tokens: vec![] };
        let vouch = |request: &RawRequest| hook().vouch(hook().signed_by(request)?, b"part");
        let word = vouch(&signed(b"the-next-one")).unwrap();
        assert!(hook().vouched(b"part", &word) && other.vouched(b"part", &word) && !other.vouched(b"parT", &word));
        let of_the_first = vouch(&signed(b"sesame")).unwrap();
        assert!(hook().vouched(b"part", &of_the_first) && !other.vouched(b"part", &of_the_first));
        assert_eq!(vouch(&signed(b"another")), None, "what was only let through");
        assert_eq!(vouch(&request(Method::POST, "", b"whole", None)), None);
    }

    #[test]
    fn the_handshake_gives_the_challenge_back_to_who_knows_the_word() {
        let fixture = fixtures::json("messenger/verify-get.json");
        let get = |query: &str| request(Method::GET, query, b"", None);
        let good = get(fixture["query"].as_str().unwrap());
        assert_eq!((hook().screen(&good), hook().verify(&good)), (Verdict::Genuine, Verdict::Genuine));
        let reply = hook().handshake(&good).unwrap();
        assert_eq!((reply.status, reply.body.as_str()), (200, fixture["expected"]["body"].as_str().unwrap()));
        assert_eq!(reply.content_type, "text/plain", "whoever made the challenge, no browser runs it");
        let long = format!("hub.mode=subscribe&hub.verify_token=meatyhamhock&hub.challenge={}", "1".repeat(600));
        for wrong in [
            "",
            "hub.mode=subscribe&hub.challenge=1&hub.verify_token=other",
            "hub.mode=subscribe&hub.challenge=1",
            "hub.mode=unsubscribe&hub.challenge=1&hub.verify_token=meatyhamhock",
            "hub.challenge=1&hub.verify_token=meatyhamhock",
            "hub.mode=subscribe&hub.verify_token=meatyhamhock",
            &long,
        ] {
            let wrong = get(wrong);
            assert!(matches!(hook().verify(&wrong), Verdict::Forged(_)), "{}", wrong.query);
            assert_eq!(hook().handshake(&wrong).unwrap().status, 403, "{}", wrong.query);
        }
        assert_eq!(hook().handshake(&request(Method::POST, &good.query, b"", None)), None);
    }
}
