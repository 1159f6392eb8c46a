//! The message list, newest first, by pages.

use super::{Sent, Shared, error};
use crate::{http::Answer, lock};
use serde_json::{Value, json};

const KNOWN: [&str; 8] = ["To", "From", "DateSent", "DateSent<", "DateSent>", "PageSize", "Page", "PageToken"];

pub(super) fn page(shared: &Shared, query: &str) -> Answer {
    let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    for (name, _) in &pairs {
        if !KNOWN.contains(&name.as_str()) {
            shared.violation(format!("list: the parameter {name} is not known"));
            return error(400, 20_001, "Unknown parameter");
        }
    }
    let get = |name: &str| pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let size = get("PageSize").map_or(Some(50), |size| size.parse().ok().filter(|size| (1..=1000).contains(size)));
    let Some(size) = size else {
        shared.violation("list: PageSize is not 1 to 1000");
        return error(400, 20_001, "Invalid PageSize");
    };
    let days = ["DateSent", "DateSent<", "DateSent>"].map(&get);
    if days.into_iter().flatten().any(|day| day.parse::<jiff::civil::Date>().is_err()) {
        shared.violation("list: a date is not YYYY-MM-DD");
        return error(400, 20_001, "Invalid date");
    }
    let is_wanted = |message: &&Sent| {
        let day = message.at.to_zoned(jiff::tz::TimeZone::UTC).date().to_string();
        get("To").is_none_or(|to| to == message.to)
            && get("From").is_none_or(|from| from == message.from)
            && get("DateSent").is_none_or(|wanted| day == wanted)
            && get("DateSent<").is_none_or(|last| *day <= *last)
            && get("DateSent>").is_none_or(|first| *day >= *first)
    };
    let state = lock(&shared.state);
    let mut newest_first: Vec<&Sent> = state.messages.iter().filter(is_wanted).collect();
    newest_first.sort_by_key(|message| std::cmp::Reverse(message.at));
    // A token names the last message of the page before, so that new messages do not shift the pages.
    let start = get("PageToken").and_then(|token| newest_first.iter().position(|m| token == format!("PA{}", m.sid)));
    let rest = newest_first.get(start.map_or(0, |at| at + 1)..).unwrap_or_default();
    let (shown, left) = rest.split_at(rest.len().min(size));
    let number = get("Page").and_then(|page| page.parse::<u32>().ok()).unwrap_or(0);
    let next = shown.last().filter(|_| !left.is_empty()).map(|last| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(pairs.iter().filter(|(name, _)| name != "Page" && name != "PageToken"));
        query.append_pair("Page", &(number + 1).to_string()).append_pair("PageToken", &format!("PA{}", last.sid));
        format!("{}?{}", shared.list_path(), query.finish())
    });
    let messages: Vec<Value> = shown.iter().map(|message| json(shared, message)).collect();
    Answer::json(200, &json!({ "messages": messages, "next_page_uri": next, "page": number, "page_size": size }))
}

/// The files of a message.
pub(super) fn media(shared: &Shared, sid: &str) -> Answer {
    let state = lock(&shared.state);
    let Some(message) = state.messages.iter().find(|message| message.sid == sid) else {
        return error(404, 20_404, "The requested resource was not found");
    };
    let files = message.media.iter().filter_map(|url| {
        let (path, id) = (url.get(url.find("/2010-04-01/")?..)?, url.rsplit('/').next()?);
        let (content_type, _) = state.files.get(id)?;
        Some(json!({ "sid": id, "content_type": content_type, "parent_sid": sid, "uri": format!("{path}.json") }))
    });
    Answer::json(200, &json!({ "media_list": files.collect::<Vec<_>>(), "next_page_uri": null }))
}

/// Everything that the simulator has, for a person who looks.
pub(super) fn everything(shared: &Shared) -> Answer {
    let state = lock(&shared.state);
    let messages: Vec<Value> = state.messages.iter().map(|message| json(shared, message)).collect();
    Answer::json(200, &json!({ "messages": messages, "violations": state.violations, "sends_read": state.sends_read }))
}

/// A message as the API shows it.
pub(super) fn json(shared: &Shared, message: &Sent) -> Value {
    let date = jiff::fmt::rfc2822::to_string(&message.at.to_zoned(jiff::tz::TimeZone::UTC)).ok();
    let uri = format!("/2010-04-01/Accounts/{}/Messages/{}", shared.config.account_sid, message.sid);
    json!({
        "account_sid": shared.config.account_sid,
        "api_version": "2010-04-01",
        "body": message.body,
        "date_created": date,
        "date_sent": date,
        "date_updated": date,
        "direction": if message.inbound { "inbound" } else { "outbound-api" },
        "error_code": message.error_code,
        "error_message": null,
        "from": message.from,
        "messaging_service_sid": message.service,
        "num_media": message.media.len().to_string(),
        "num_segments": if message.service.is_some() { "0" } else { "1" },
        "price": null,
        "price_unit": null,
        "sid": message.sid,
        "status": message.status,
        "subresource_uris": { "media": format!("{uri}/Media.json") },
        "to": message.to,
        "uri": format!("{uri}.json"),
    })
}
