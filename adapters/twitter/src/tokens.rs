//! User tokens of OAuth 2.0, which last two hours and are renewed with a token that is good for one time
//! (<https://docs.x.com/fundamentals/authentication/oauth-2-0/user-access-token>).

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use switchboard_adapter_sdk::{
    Answer, Call, CallBody, CallError, Kept, Response, Secret,
    seal::Seal,
    signature::{sha256_hex, to_base64},
};
use switchboard_envelope::Timestamp;

/// So long before its end a token is renewed, or for the last third of a life that is short.
const EARLY_MS: i64 = 5 * 60_000;
/// How long a token lasts when X does not say.
const USUAL_SECONDS: i64 = 7200;
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// The longest token that is kept.
const MAX_TOKEN: usize = 4096;

/// What an account renews its tokens with.
#[derive(Debug)]
pub(crate) struct Tokens {
    url: String,
    client_id: String,
    client_secret: Option<Secret>,
    /// The first refresh token, as the operator wrote it.
    first: Secret,
    /// Names that token: who writes another one begins anew.
    of: String,
    seal: Seal,
}

/// What is kept of it, sealed.
#[derive(Clone, Serialize, Deserialize)]
struct Pair {
    of: String,
    access: String,
    refresh: String,
    until: Timestamp,
    /// How long it lasts from its beginning, in milliseconds.
    #[serde(default = "usual_ms")]
    lasts: i64,
}

fn usual_ms() -> i64 {
    USUAL_SECONDS * 1000
}

impl Pair {
    /// Whether it is used now. While another process renews it, it is used until its end.
    fn is_good(&self, kept: &Kept, now: Timestamp) -> bool {
        let early = if kept.elsewhere { 0 } else { EARLY_MS.min(self.lasts / 3) };
        !kept.refused && now.plus(early) < self.until
    }
}

impl Tokens {
    /// `None` when the secret cannot be made a key of.
    pub(crate) fn new(root: &str, client_id: String, client_secret: Option<Secret>, first: Secret) -> Option<Tokens> {
        Some(Tokens {
            url: format!("{root}/2/oauth2/token"),
            of: sha256_hex(format!("{client_id}\n{}", first.expose()).as_bytes()),
            seal: Seal::new(first.expose().as_bytes(), "twitter user tokens")?,
            client_id,
            client_secret,
            first,
        })
    }

    fn pair(&self, kept: &Kept) -> Option<Pair> {
        let plain = self.seal.open(kept.token.as_deref()?)?;
        serde_json::from_slice::<Pair>(&plain).ok().filter(|pair| pair.of == self.of)
    }

    /// The call that brings another token, when one is needed.
    pub(crate) fn renewal(&self, kept: &Kept, now: Timestamp) -> Option<Call> {
        let pair = self.pair(kept);
        if pair.as_ref().is_some_and(|pair| pair.is_good(kept, now)) {
            return None;
        }
        let refresh = pair.as_ref().map_or_else(|| self.first.expose(), |pair| pair.refresh.as_str());
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", refresh);
        let mut headers = vec![];
        match &self.client_secret {
            Some(secret) => {
                let pair = format!("{}:{}", self.client_id, secret.expose());
                headers.push(("authorization", format!("Basic {}", to_base64(pair.as_bytes()))));
            }
            None => drop(form.append_pair("client_id", &self.client_id)),
        }
        let body = CallBody::Bytes("application/x-www-form-urlencoded", Bytes::from(form.finish()));
        Some(Call { method: Method::POST, url: self.url.clone(), headers, body, timeout: CALL_TIMEOUT })
    }

    /// Reads the answer to [`Tokens::renewal`].
    pub(crate) fn renewed(&self, kept: &Kept, answer: &Answer, now: Timestamp) -> Result<String, Box<Answer>> {
        let response = match answer {
            Ok(response) => response,
            // Whatever became of the renewal, the call itself did not leave.
            Err(error) => {
                return Err(Box::new(Err(CallError::NotSent(format!("the token could not be renewed: {error}")))));
            }
        };
        let body = serde_json::from_slice::<Value>(&response.body).unwrap_or_default();
        let text = |name: &str| {
            let text = body.get(name).and_then(Value::as_str);
            text.filter(|t| (1..=MAX_TOKEN).contains(&t.len()) && t.bytes().all(|b| b.is_ascii_graphic()))
                .map(str::to_owned)
        };
        let Some(access) = text("access_token").filter(|_| response.status == 200) else {
            return Err(Box::new(refused(response)));
        };
        // Without another refresh token the one that was used goes on.
        let before = || self.pair(kept).map_or_else(|| self.first.expose().to_owned(), |pair| pair.refresh);
        let seconds = body.get("expires_in").and_then(Value::as_i64).unwrap_or(USUAL_SECONDS).clamp(60, 86_400 * 30);
        let refresh = text("refresh_token").unwrap_or_else(before);
        let lasts = seconds * 1000;
        let pair = Pair { of: self.of.clone(), access, refresh, until: now.plus(lasts), lasts };
        let plain = serde_json::to_vec(&pair).unwrap_or_default();
        let unsealed = || Box::new(Err(CallError::NotSent("the new token could not be sealed".into())));
        self.seal.seal(&plain).ok_or_else(unsealed)
    }

    pub(crate) fn header(&self, kept: &Kept) -> Option<String> {
        self.pair(kept).map(|pair| format!("Bearer {}", pair.access))
    }
}

/// What every call is answered while there is no token: that of trouble is tried again, that of a refusal stops the channel.
fn refused(response: &Response) -> Answer {
    if response.status == 429 || response.status >= 500 {
        return Err(CallError::NotSent(format!("the token could not be renewed: X answered {}", response.status)));
    }
    let body = serde_json::json!({
        "title": "Unauthorized", "status": 401, "type": crate::send::RENEWAL,
        "detail": format!("X answered {} to the refresh token", response.status),
    });
    Ok(Response { status: 401, headers: HeaderMap::new(), body: Bytes::from(body.to_string()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn tokens(secret: Option<&str>, first: &str) -> Tokens {
        Tokens::new("https://api.x.com", "client".into(), secret.map(Secret::new), Secret::new(first)).unwrap()
    }

    fn answered(status: u16, body: Value) -> Answer {
        Ok(Response { status, headers: HeaderMap::new(), body: body.to_string().into() })
    }

    fn form(call: &Call) -> String {
        let CallBody::Bytes(kind, bytes) = &call.body else { panic!("no form") };
        assert_eq!(*kind, "application/x-www-form-urlencoded");
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn kept(token: &str) -> Kept {
        Kept { token: Some(token.to_owned()), ..Kept::default() }
    }

    #[test]
    fn a_short_token_is_used_and_not_renewed_at_each_call() {
        let tokens = tokens(None, "first-refresh");
        for seconds in [60, 300, 301] {
            let body = json!({ "expires_in": seconds, "access_token": "a1", "refresh_token": "r1" });
            let short = kept(&tokens.renewed(&Kept::default(), &answered(200, body), NOW).unwrap());
            assert!(tokens.renewal(&short, NOW).is_none(), "{seconds}");
            assert!(tokens.renewal(&short, NOW.plus(seconds * 600)).is_none(), "{seconds}");
            assert!(tokens.renewal(&short, NOW.plus(seconds * 700)).is_some(), "{seconds}");
        }
    }

    #[test]
    fn a_token_that_another_process_renews_is_used_until_its_end() {
        let tokens = tokens(None, "first-refresh");
        let body = json!({ "expires_in": 7200, "access_token": "a1", "refresh_token": "r1" });
        let token = tokens.renewed(&Kept::default(), &answered(200, body), NOW).unwrap();
        let elsewhere = Kept { elsewhere: true, ..kept(&token) };
        assert!(tokens.renewal(&elsewhere, NOW.plus(7_200_000 - 1)).is_none());
        assert!(tokens.renewal(&elsewhere, NOW.plus(7_200_000)).is_some());
        assert!(tokens.renewal(&Kept { refused: true, ..elsewhere }, NOW).is_some(), "X does not take it");
    }

    #[test]
    fn a_token_is_renewed_with_the_latest_one_and_kept_sealed() {
        let tokens = tokens(None, "first-refresh");
        let call = tokens.renewal(&Kept::default(), NOW).unwrap();
        assert_eq!((call.url.as_str(), call.headers.len()), ("https://api.x.com/2/oauth2/token", 0));
        assert_eq!(form(&call), "grant_type=refresh_token&refresh_token=first-refresh&client_id=client");
        let body = json!({ "token_type": "bearer", "expires_in": 7200, "access_token": "a1", "refresh_token": "r1" });
        let first = tokens.renewed(&Kept::default(), &answered(200, body), NOW).unwrap();
        assert!(!first.contains("access") && !first.contains('{'), "{first}");
        assert_eq!(tokens.header(&kept(&first)).as_deref(), Some("Bearer a1"));
        assert!(tokens.renewal(&kept(&first), NOW).is_none());
        assert!(tokens.renewal(&kept(&first), NOW.plus(7_200_000 - EARLY_MS - 1)).is_none());
        let late = tokens.renewal(&kept(&first), NOW.plus(7_200_000 - EARLY_MS)).unwrap();
        assert!(form(&late).contains("refresh_token=r1"), "{}", form(&late));
        let refused = Kept { refused: true, ..kept(&first) };
        assert!(tokens.renewal(&refused, NOW).is_some(), "X does not take it any more");
        let without = tokens.renewed(&refused, &answered(200, json!({ "access_token": "a2" })), NOW).unwrap();
        let again = tokens.renewal(&kept(&without), NOW.plus(7_200_000)).unwrap();
        assert!(form(&again).contains("refresh_token=r1"), "the one that was used goes on");
    }

    #[test]
    fn who_writes_another_refresh_token_begins_anew() {
        let body = json!({ "expires_in": 7200, "access_token": "a1", "refresh_token": "r1" });
        let old = tokens(None, "old").renewed(&Kept::default(), &answered(200, body), NOW).unwrap();
        let new = tokens(None, "new");
        assert_eq!(new.header(&kept(&old)), None);
        assert!(form(&new.renewal(&kept(&old), NOW).unwrap()).contains("refresh_token=new"));
        assert!(new.renewal(&kept("nonsense"), NOW).is_some());
    }

    #[test]
    fn a_confidential_client_proves_itself() {
        let call = tokens(Some("s3cret"), "r").renewal(&Kept::default(), NOW).unwrap();
        assert_eq!(call.headers, [("authorization", format!("Basic {}", to_base64(b"client:s3cret")))]);
        assert_eq!(form(&call), "grant_type=refresh_token&refresh_token=r");
        assert!(!format!("{:?}", tokens(Some("s3cret"), "r")).contains("s3cret"));
    }

    #[test]
    fn trouble_is_tried_again_and_a_refusal_is_the_operators() {
        let tokens = tokens(None, "r");
        let of = |answer: Answer| *tokens.renewed(&Kept::default(), &answer, NOW).unwrap_err();
        for passing in [
            Err(CallError::Lost("reset".into())),
            Err(CallError::NotSent("refused".into())),
            answered(500, json!({})),
            answered(503, json!({})),
            answered(429, json!({})),
        ] {
            assert!(matches!(of(passing), Err(CallError::NotSent(_))), "the send itself did not leave");
        }
        for refused in [
            answered(400, json!({ "error": "invalid_request" })),
            answered(401, json!({ "error": "invalid_client" })),
            answered(200, json!({ "access_token": "" })),
            answered(200, json!({ "access_token": "a b" })),
            answered(200, json!([])),
        ] {
            let answer = of(refused);
            assert_eq!(answer.unwrap().status, 401);
        }
    }
}
