//! X's limits: so many calls in a quarter of an hour, and so many in a day. X tells in its headers what is left; until it does, and
//! where it does not, calls are counted here. What is left is kept, so that a restart forgets nothing.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use switchboard_adapter_sdk::{Answer, Before, Call, CallError, Response, Settings};
use switchboard_envelope::Timestamp;
use url::Url;

use crate::config::USUAL_LIMITS;

const WINDOW_MS: i64 = 15 * 60_000;
const DAY_MS: i64 = 24 * 3_600_000;
/// Headers that name an end further away than this are not believed.
const FURTHEST_MS: i64 = DAY_MS + 3_600_000;

/// What calls share a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Shared {
    Direct,
    Post,
}

/// How many of each are allowed, as long as X says nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    direct: [u64; 2],
    post: [u64; 2],
}

/// What is left until a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Left {
    left: u64,
    until: Timestamp,
}

/// The quarter of an hour, and the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Counts {
    window: Left,
    day: Left,
}

type Kept = BTreeMap<Shared, Counts>;

impl Limits {
    pub(crate) fn new(settings: &Settings) -> Limits {
        let usual = |name: &str| USUAL_LIMITS.iter().find(|(known, _)| *known == name).map_or(u64::MAX, |(_, n)| *n);
        let of = |name: &str| settings.count(&format!("limits.{name}")).unwrap_or_else(|| usual(name));
        Limits { direct: [of("dm_15m"), of("dm_24h")], post: [of("post_15m"), of("post_24h")] }
    }

    /// What is left now; a time that is over begins again with the next call.
    fn counts(&self, kept: &Kept, shared: Shared, now: Timestamp) -> Counts {
        let [window, day] = if shared == Shared::Direct { self.direct } else { self.post };
        let fresh = |left: u64, ms: i64| Left { left, until: now.plus(ms) };
        let whole = Counts { window: fresh(window, WINDOW_MS), day: fresh(day, DAY_MS) };
        let Some(counts) = kept.get(&shared) else { return whole };
        // A clock that was ahead does not hold for ever.
        let holds = |left: &Left| (1..=FURTHEST_MS).contains(&left.until.since(now));
        Counts {
            window: if holds(&counts.window) { counts.window } else { whole.window },
            day: if holds(&counts.day) { counts.day } else { whole.day },
        }
    }

    pub(crate) fn before(&self, kept: Option<&str>, call: &Call, now: Timestamp) -> Before {
        let Some(shared) = shared(call) else { return Before::Go(None) };
        let mut all = read(kept);
        let mut counts = self.counts(&all, shared, now);
        let spent = [(counts.day, "a day"), (counts.window, "a quarter of an hour")];
        if let Some((left, what)) = spent.iter().find(|(left, _)| left.left == 0) {
            return Before::Hold(Box::new(held(left.until, what)));
        }
        counts.window.left -= 1;
        counts.day.left -= 1;
        all.insert(shared, counts);
        Before::Go(serde_json::to_string(&all).ok())
    }

    /// What an answer says of what is left; `None` where it says nothing new.
    pub(crate) fn learned(&self, kept: Option<&str>, call: &Call, answer: &Answer, now: Timestamp) -> Option<String> {
        let shared = shared(call)?;
        let mut all = read(kept);
        let mut counts = self.counts(&all, shared, now);
        let before = counts;
        match answer {
            // Nothing arrived, so nothing was counted.
            Err(CallError::NotSent(_)) => {
                counts.window.left = counts.window.left.saturating_add(1);
                counts.day.left = counts.day.left.saturating_add(1);
            }
            Err(CallError::Lost(_)) => {}
            Ok(response) => {
                let headers = &response.headers;
                let window = told(headers, "x-rate-limit", now);
                let days = ["x-user-limit-24hour", "x-app-limit-24hour"].map(|name| told(headers, name, now));
                let day = days.into_iter().flatten().min_by_key(|left| left.left);
                if let Some(day) = day {
                    counts.day = less(counts.day, day);
                }
                match window {
                    Some(window) => counts.window = less(counts.window, window),
                    None if response.status == 429 && day.is_none_or(|day| day.left > 0) => {
                        let wait = response.retry_after_ms(now).and_then(|ms| i64::try_from(ms).ok());
                        let wait = wait.unwrap_or(WINDOW_MS).min(WINDOW_MS);
                        counts.window = Left { left: 0, until: now.plus(wait) };
                    }
                    None => {}
                }
                if response.status == 429 && window.is_some_and(|window| window.left == 0) {
                    counts.window.left = 0;
                }
            }
        }
        if counts == before {
            return None;
        }
        all.insert(shared, counts);
        serde_json::to_string(&all).ok()
    }
}

/// What X says is left counts; but calls that are under way it may not know, while its time is the one that we count in.
fn less(ours: Left, told: Left) -> Left {
    let is_same = ours.until.since(told.until).abs() < 60_000;
    Left { left: if is_same { ours.left.min(told.left) } else { told.left }, until: told.until }
}

fn read(kept: Option<&str>) -> Kept {
    kept.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn shared(call: &Call) -> Option<Shared> {
    if call.method != Method::POST {
        return None;
    }
    let url = Url::parse(&call.url).ok()?;
    let path = url.path();
    if path.ends_with("/2/tweets") {
        Some(Shared::Post)
    } else if path.contains("/2/dm_conversations/") || path.ends_with("/1.1/direct_messages/events/new.json") {
        Some(Shared::Direct)
    } else {
        None
    }
}

/// `<name>-remaining` and `<name>-reset`, where both make sense.
fn told(headers: &HeaderMap, name: &str, now: Timestamp) -> Option<Left> {
    let number = |what: &str| headers.get(format!("{name}-{what}"))?.to_str().ok()?.trim().parse::<u64>().ok();
    let until = Timestamp(i64::try_from(number("reset")?.checked_mul(1000)?).ok()?);
    let (left, is_near) = (number("remaining")?, (1..=FURTHEST_MS).contains(&until.since(now)));
    is_near.then_some(Left { left, until })
}

/// What a call that stays here is answered, in X's own words for it.
fn held(until: Timestamp, what: &str) -> Answer {
    let detail = format!("what X allows in {what} is used up until {until}; nothing was sent");
    let body = json!({ "title": "Too Many Requests", "status": 429, "type": crate::send::HELD, "detail": detail });
    let seconds = HeaderValue::from(until.0.div_euclid(1000) + 1);
    let headers = HeaderMap::from_iter([(HeaderName::from_static("x-rate-limit-reset"), seconds)]);
    Ok(Response { status: 429, headers, body: Bytes::from(body.to_string()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use switchboard_adapter_sdk::{CallBody, settings::Value};

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn limits(direct: u64, day: u64) -> Limits {
        let settings = Settings::new("handle", None);
        Limits::new(&settings.with("limits.dm_15m", Value::Count(direct)).with("limits.dm_24h", Value::Count(day)))
    }

    fn call(path: &str) -> Call {
        let url = format!("https://api.x.com{path}");
        Call { method: Method::POST, url, headers: vec![], body: CallBody::Empty, timeout: Duration::from_secs(1) }
    }

    fn direct() -> Call {
        call("/2/dm_conversations/with/2/messages")
    }

    fn headers(pairs: &[(&'static str, i64)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, i64)| (HeaderName::from_static(name), HeaderValue::from(*value));
        pairs.iter().map(pair).collect()
    }

    fn answered(status: u16, pairs: &[(&'static str, i64)]) -> Answer {
        Ok(Response { status, headers: headers(pairs), body: Bytes::new() })
    }

    /// Makes calls until one is held: how many left, what is kept, and until when.
    fn spend(limits: &Limits, mut kept: Option<String>, now: Timestamp) -> (u32, Option<String>, Timestamp) {
        for count in 0..10_000 {
            match limits.before(kept.as_deref(), &direct(), now) {
                Before::Go(Some(next)) => kept = Some(next),
                Before::Hold(answer) => {
                    let response = answer.unwrap();
                    let reset: i64 = response.headers["x-rate-limit-reset"].to_str().unwrap().parse().unwrap();
                    return (count, kept, Timestamp(reset * 1000));
                }
                other => panic!("{other:?}"),
            }
        }
        panic!("never held");
    }

    #[test]
    fn what_is_allowed_is_counted_and_survives_in_what_is_kept() {
        let limits = limits(15, 20);
        let (count, kept, until) = spend(&limits, None, NOW);
        assert_eq!((count, until.since(NOW.plus(WINDOW_MS)).abs() <= 1000), (15, true));
        let (none, kept, _) = spend(&limits, kept, NOW.plus(WINDOW_MS - 1));
        assert_eq!(none, 0);
        let (rest, kept, until) = spend(&limits, kept, NOW.plus(WINDOW_MS));
        assert_eq!((rest, until.since(NOW.plus(DAY_MS)).abs() <= 1000), (5, true), "the day's");
        assert_eq!(spend(&limits, kept.clone(), NOW.plus(DAY_MS)).0, 15);
        assert!(
            matches!(limits.before(kept.as_deref(), &call("/2/tweets"), NOW), Before::Go(Some(_))),
            "of another limit"
        );
        assert!(matches!(limits.before(kept.as_deref(), &call("/2/webhooks/replay"), NOW), Before::Go(None)));
    }

    #[test]
    fn x_knows_better() {
        let limits = limits(15, 1440);
        let (window, day) = (NOW.plus(600_000).0 / 1000, NOW.plus(50_000_000).0 / 1000);
        let Before::Go(Some(kept)) = limits.before(None, &direct(), NOW) else { panic!("held") };
        let told = [("x-rate-limit-remaining", 3), ("x-rate-limit-reset", window)];
        let kept = limits.learned(Some(&kept), &direct(), &answered(201, &told), NOW).unwrap();
        let (count, spent, until) = spend(&limits, Some(kept.clone()), NOW);
        assert_eq!((count, until.0 / 1000), (3, window + 1));
        let stale = limits.learned(spent.as_deref(), &direct(), &answered(201, &told), NOW);
        assert_eq!(stale, None, "an answer that was overtaken gives nothing back");
        let day = [
            ("x-app-limit-24hour-remaining", 0),
            ("x-app-limit-24hour-reset", day),
            ("x-user-limit-24hour-remaining", 9),
        ];
        let kept = limits.learned(Some(&kept), &direct(), &answered(201, &day), NOW).unwrap();
        let Before::Hold(answer) = limits.before(Some(&kept), &direct(), NOW.plus(700_000)) else { panic!("not held") };
        assert!(String::from_utf8_lossy(&answer.unwrap().body).contains("a day"));
    }

    #[test]
    fn a_429_holds_what_follows_and_nonsense_holds_nothing() {
        let limits = limits(15, 1440);
        let after = |answer: Answer| {
            let kept = limits.learned(None, &direct(), &answer, NOW);
            match limits.before(kept.as_deref(), &direct(), NOW) {
                Before::Hold(answer) => {
                    let reset = answer.unwrap().headers["x-rate-limit-reset"].to_str().unwrap().parse::<i64>().unwrap();
                    Some(reset * 1000 - NOW.0)
                }
                _ => None,
            }
        };
        assert_eq!(after(answered(429, &[])), Some(WINDOW_MS + 1000));
        assert_eq!(after(answered(429, &[("retry-after", 30)])), Some(31_000));
        let reset = NOW.plus(60_000).0 / 1000;
        assert_eq!(after(answered(429, &[("x-rate-limit-remaining", 0), ("x-rate-limit-reset", reset)])), Some(61_000));
        for nonsense in [NOW.0 / 1000 - 5, i64::MAX, 7, NOW.plus(FURTHEST_MS + 1000).0 / 1000] {
            let told = answered(201, &[("x-rate-limit-remaining", 0), ("x-rate-limit-reset", nonsense)]);
            assert_eq!(after(told), None, "{nonsense}");
        }
        // Two hours are no quarter of an hour, and X says so.
        let reset = NOW.plus(7_200_000).0 / 1000;
        let far = [("x-rate-limit-remaining", 0), ("x-rate-limit-reset", reset)];
        assert_eq!(after(answered(429, &far)), Some(7_201_000));
        assert_eq!(after(answered(500, &[])), None);
        assert!(matches!(limits.before(Some("nonsense"), &direct(), NOW), Before::Go(Some(_))));
    }

    #[test]
    fn what_did_not_leave_is_given_back() {
        let limits = limits(1, 10);
        let (_, kept, _) = spend(&limits, None, NOW);
        let lost = limits.learned(kept.as_deref(), &direct(), &Err(CallError::Lost("reset".into())), NOW);
        assert_eq!(lost, None);
        let back = limits.learned(kept.as_deref(), &direct(), &Err(CallError::NotSent("refused".into())), NOW);
        assert!(matches!(limits.before(back.as_deref(), &direct(), NOW), Before::Go(Some(_))));
    }
}
