//! Calls to the Graph API, and what its errors mean (<https://developers.facebook.com/docs/graph-api/guides/error-handling>).

use bytes::Bytes;
use http::Method;
use serde_json::Value;
use std::time::Duration;
use switchboard_adapter_sdk::{
    Answer, AttemptOutcome, Call, CallBody, Response, Secret, Settings,
    classify::{self, Class, Row},
    client::leads_inside,
    redact,
    signature::{Mac, to_hex},
};
use switchboard_envelope::Timestamp;
use url::Url;

const BASE_URL: &str = "https://graph.facebook.com";
const VERSION: &str = "v26.0";
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Where calls go, and what proves them.
#[derive(Clone, Debug)]
pub(crate) struct Graph {
    base: Url,
    /// With the version, without a slash at its end.
    root: String,
    token: Secret,
    /// Hex of the token's tag under the app secret, which shows that the token was not just found somewhere.
    proof: Secret,
}

impl Graph {
    /// `None` when a setting is missing, or the base is no address; both were reported before.
    pub(crate) fn new(settings: &Settings, token: &str) -> Option<Graph> {
        let base = settings.text("base_url").unwrap_or(BASE_URL);
        let token = settings.secret(token)?.clone();
        let proof =
            to_hex(&Mac::sha256(settings.secret("app_secret")?.expose().as_bytes()).sign(token.expose().as_bytes()));
        Some(Graph {
            base: Url::parse(base).ok()?,
            root: format!("{}/{}", base.trim_end_matches('/'), settings.text("api_version").unwrap_or(VERSION)),
            token,
            proof: Secret::new(proof),
        })
    }

    /// A call with the token in its query, as Messenger documents it.
    pub(crate) fn post_with_query(&self, path: &str, body: &Value) -> Call {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("access_token", self.token.expose()).append_pair("appsecret_proof", self.proof.expose());
        self.post(format!("{}/{path}?{}", self.root, query.finish()), vec![], body)
    }

    /// A call with the token in its head, as WhatsApp documents it.
    pub(crate) fn post_with_head(&self, path: &str, body: &Value) -> Call {
        let url = format!("{}/{path}?appsecret_proof={}", self.root, self.proof.expose());
        self.post(url, vec![("authorization", self.bearer())], body)
    }

    fn post(&self, url: String, headers: Vec<(&'static str, String)>, body: &Value) -> Call {
        let body = CallBody::Bytes("application/json", Bytes::from(body.to_string()));
        Call { method: Method::POST, url, headers, body, timeout: CALL_TIMEOUT }
    }

    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.token.expose())
    }

    /// Where the Graph API tells of an object of its own.
    pub(crate) fn object(&self, id: &str) -> String {
        format!("{}/{id}", self.root)
    }

    /// Whether an address is below [`Graph::object`]'s.
    pub(crate) fn is_object(&self, url: &str) -> bool {
        url.strip_prefix(&self.root).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Whether an address is of the host that calls go to.
    pub(crate) fn is_base(&self, url: &str) -> bool {
        Url::parse(url).is_ok_and(|url| url.origin() == self.base.origin())
    }

    /// A call for a file. Only the operator's own choice may lead into the network that we stand in; a name that does is found
    /// when it is resolved.
    pub(crate) fn get(&self, url: &str, authorized: bool) -> Option<Call> {
        let url = Url::parse(url).ok()?;
        let is_base = url.origin() == self.base.origin();
        let is_public = url.scheme() == "https" && !leads_inside(&url);
        if !(is_base || is_public) || !url.username().is_empty() || url.password().is_some() {
            return None;
        }
        let headers = if authorized { vec![("authorization", self.bearer())] } else { vec![] };
        Some(Call { method: Method::GET, url: url.into(), headers, body: CallBody::Empty, timeout: CALL_TIMEOUT })
    }
}

pub(crate) const fn row(code: &'static str, class: Class, sentence: &'static str) -> Row {
    Row { code, class, sentence }
}

/// The outcome of a send, with the id of what was taken at one of the pointers of the answer. Codes are looked up with their
/// subcode first, then alone.
pub(crate) fn classify(
    tables: &[&'static [Row]],
    taken: &str,
    who: &str,
    answer: &Answer,
    now: Timestamp,
) -> AttemptOutcome {
    let response = match answer {
        Ok(response) => response,
        Err(error) => return classify::unanswered(error),
    };
    let body = serde_json::from_slice::<Value>(&response.body).unwrap_or_default();
    if response.status == 200 {
        return match crate::event::id(&body, taken) {
            Some(id) => AttemptOutcome { provider_ids: vec![id], ..AttemptOutcome::new(Class::Ok.outcome()) },
            None => Class::Ambiguous.attempt(None, format!("{who} answered 200 without the message's id")),
        };
    }
    let mut outcome = refused(tables, who, response, &body);
    if outcome.outcome == switchboard_envelope::Outcome::NotSent && !outcome.channel_refused {
        outcome.retry_after_ms = wait_ms(response).max(response.retry_after_ms(now));
    }
    outcome
}

fn refused(tables: &[&'static [Row]], who: &str, response: &Response, body: &Value) -> AttemptOutcome {
    let status = response.status;
    let number = |pointer: &str| body.pointer(pointer).and_then(Value::as_i64);
    let Some(code) = number("/error/code") else {
        return match status {
            429 => Class::RateLimit.attempt(Some("429"), format!("too many requests to {who}; nothing was sent")),
            401 | 403 => {
                Class::Config.attempt(Some(&status.to_string()), format!("{who} answered {status}: check the token"))
            }
            301 | 302 | 307 | 308 | 404 | 405 => {
                Class::Config.attempt(Some(&status.to_string()), format!("{who} answered {status}: check base_url"))
            }
            _ => Class::Ambiguous.attempt(Some(&status.to_string()), format!("{who} answered {status}")),
        };
    };
    let shown = match number("/error/error_subcode") {
        Some(subcode) => format!("{code}/{subcode}"),
        None => code.to_string(),
    };
    let named = tables.iter().find_map(|table| classify::find(table, &shown)).or_else(|| {
        // A subcode says more than its code, also where it comes with another one than is documented.
        let ending = shown.split_once('/').map(|(_, subcode)| format!("/{subcode}"))?;
        tables.iter().find_map(|table| table.iter().find(|row| row.code.ends_with(&ending)))
    });
    let row = named.or_else(|| tables.iter().find_map(|table| classify::find(table, &code.to_string())));
    let class = match (status, row.map(|row| row.class)) {
        (_, Some(class)) => class,
        (429, None) => Class::RateLimit,
        (401, None) => Class::Config,
        // 200 to 299 are permissions that the app lacks.
        (400..=499, None) if (200..300).contains(&code) => Class::Config,
        (400..=499, None) => Class::PermanentMessage,
        // An error that nobody documented may have come after the message was taken.
        _ => Class::Ambiguous,
    };
    let sentence = row.map_or_else(
        || {
            let said = crate::event::text(body, "/error/message").unwrap_or("no reason");
            let said: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
            format!("{who} refused it: {}", redact::text(&said, &[]))
        },
        |row| row.sentence.to_owned(),
    );
    class.attempt(Some(&shown), sentence)
}

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// How long Meta says that its limits last, in its own headers.
fn wait_ms(response: &Response) -> Option<u64> {
    let usage = |name: &str| serde_json::from_str::<Value>(response.headers.get(name)?.to_str().ok()?).ok();
    let of_business = usage("x-business-use-case-usage").as_ref().and_then(of_business);
    of_business.max(usage("x-app-usage").as_ref().and_then(of_app))
}

/// Minutes, by business and kind of call.
fn of_business(usage: &Value) -> Option<u64> {
    let kinds = usage.as_object()?.values().filter_map(Value::as_array).flatten();
    let minutes = kinds.filter_map(|kind| kind.get("estimated_time_to_regain_access")?.as_u64()).max()?;
    Some(minutes.saturating_mul(MINUTE_MS).min(24 * HOUR_MS)).filter(|ms| *ms > 0)
}

/// Percents of what the app may use in an hour that moves along (<https://developers.facebook.com/docs/graph-api/overview/rate-limiting>):
/// what was used in its first part is free again once that is over, so of 125 % a fifth of an hour has to pass.
fn of_app(usage: &Value) -> Option<u64> {
    let used = usage.as_object()?.values().filter_map(Value::as_u64).max().filter(|percent| *percent >= 100)?;
    let beyond = used.saturating_sub(100).saturating_mul(HOUR_MS).checked_div(used)?;
    Some(beyond.clamp(MINUTE_MS, HOUR_MS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use switchboard_adapter_sdk::settings::Value as Setting;

    fn graph() -> Graph {
        let settings = Settings::new("page", None)
            .with("base_url", Setting::Text("http://127.0.0.1:9".into()))
            .with("app_secret", Setting::Secrets(vec![Secret::new("sesame"), Secret::new("next")]))
            .with("page_token", Setting::Secrets(vec![Secret::new("a&token")]));
        Graph::new(&settings, "page_token").unwrap()
    }

    #[test]
    fn a_call_is_proved_by_the_first_secret_and_shows_neither() {
        let call = graph().post_with_query("1/messages", &serde_json::json!({}));
        let proof = to_hex(&Mac::sha256(b"sesame").sign(b"a&token"));
        assert_eq!(
            call.url,
            format!("http://127.0.0.1:9/v26.0/1/messages?access_token=a%26token&appsecret_proof={proof}")
        );
        let shown = format!("{:?} {call:?}", graph());
        assert!(!shown.contains("token\"") && !shown.contains("a&token") && !shown.contains(&proof), "{shown}");
    }

    #[test]
    fn files_are_fetched_from_outside_or_from_the_configured_base_only() {
        let fetched = |url: &str| graph().get(url, true).is_some();
        assert!(fetched("https://scontent.xx.fbcdn.net/v/a.jpg?oh=1") && fetched("http://127.0.0.1:9/v26.0/7"));
        for inside in [
            "http://scontent.xx.fbcdn.net/a.jpg",
            "https://127.0.0.1/a",
            "http://127.0.0.1:10/a",
            "https://169.254.169.254/latest",
            "https://[::1]/a",
            "https://10.0.0.1/a",
            "https://user@scontent.xx.fbcdn.net/a",
            "https://localhost/a",
            "file:///etc/passwd",
            "nonsense",
        ] {
            assert!(!fetched(inside), "{inside}");
        }
        assert!(graph().is_object("http://127.0.0.1:9/v26.0/7"));
        assert!(
            !graph().is_object("http://127.0.0.1:9/v26.01/7") && !graph().is_object("https://lookaside.fbsbx.com/7")
        );
    }

    #[test]
    fn metas_own_headers_say_how_long_to_wait() {
        let response = |value: &str| {
            let mut headers = http::HeaderMap::new();
            headers.insert("x-business-use-case-usage", value.parse().unwrap());
            Response { status: 400, headers, body: Bytes::new() }
        };
        let two = r#"{"1":[{"type":"messenger","estimated_time_to_regain_access":3}],"2":[{"estimated_time_to_regain_access":1}]}"#;
        assert_eq!(wait_ms(&response(two)), Some(180_000));
        let of_app = |value: &str| {
            let mut response = response("{}");
            response.headers.insert("x-app-usage", value.parse().unwrap());
            wait_ms(&response)
        };
        let used = |percent: u64| {
            of_app(&format!(r#"{{"call_count":{percent},"total_time":25,"total_cputime":{}}}"#, percent / 2))
        };
        assert_eq!((used(99), used(100), used(125)), (None, Some(60_000), Some(720_000)));
        assert!(used(u64::MAX).is_some_and(|ms| ms <= 3_600_000));
        for nothing in ["{}", "[]", "x", r#"{"call_count":"full"}"#] {
            assert_eq!(of_app(nothing), None, "{nothing}");
        }
        let mut both = response(two);
        both.headers.insert("x-app-usage", r#"{"call_count":200}"#.parse().unwrap());
        assert_eq!(wait_ms(&both), Some(1_800_000), "the longer of both");
        for nothing in ["{}", "[]", "x", r#"{"1":[{"estimated_time_to_regain_access":0}]}"#, r#"{"1":7}"#] {
            assert_eq!(wait_ms(&response(nothing)), None, "{nothing}");
        }
    }
}
