//! What a described gateway calls us with: messages and delivery reports, one or a list.

use super::{Generic, paths::Fields, receipt_status};
use crate::{
    kannel::short,
    request::{self, Source, attempt, id_of, referred},
};
use std::collections::BTreeSet;
use switchboard_adapter_sdk::{redact, signature::sha256_hex};
use switchboard_envelope::{Content, Inbound, Receipt, ReceiptStatus, event_id};

/// The most events of one call: what a body of the usual size holds of short messages.
const MAX_EVENTS: usize = 10_000;
/// The most bytes that the records of one call hold of its address, which each of them carries.
const MAX_AROUND: usize = 16 * 1024 * 1024;
/// The most parts of one text.
const MAX_PARTS: u16 = 255;

impl Generic {
    pub(super) fn webhook(&self, source: &Source<'_>) -> Vec<Inbound> {
        let is_report = source.path == "/status";
        let all = match self.items(source, is_report) {
            Ok(all) => all,
            Err(reason) => return vec![source.unparsed(&self.channel, reason)],
        };
        let (mut found, mut held) = (vec![], vec![]);
        for (at, fields) in all.iter().enumerate() {
            // Of several each keeps itself alone: the others are of other people. One that cannot be read does not spoil them.
            let alone = if all.len() > 1 { fields.written() } else { None };
            let of = match &alone {
                Some(item) => Source { body: item.as_bytes(), item: Some(at), ..*source },
                None => *source,
            };
            let read = match is_report {
                true => self.report(&of, fields),
                false => self.heard(&of, fields).map(Some),
            };
            match read {
                Ok(event) => found.extend(event),
                Err(reason) => held.push((at, reason, of.raw())),
            }
        }
        // Where none can be read it is the description that is wrong: one thing to look at.
        if let Some((_, reason, _)) = held.first().filter(|_| held.len() == all.len()) {
            return vec![source.unparsed(&self.channel, reason)];
        }
        let key = if held.is_empty() { String::new() } else { source.key() };
        found.extend(held.into_iter().map(|(at, reason, raw)| {
            request::unparsed(&self.channel, &format!("{key}:{at}"), reason, source.received_at, raw)
        }));
        distinct(found)
    }

    /// The messages or reports of a call: all of them, or it is kept whole.
    fn items(&self, source: &Source<'_>, is_report: bool) -> Result<Vec<Fields>, &'static str> {
        let paths = if is_report { &self.reports } else { &self.inbound };
        let fields = Fields::of(source)?;
        if !is_report && !matches!(source.path, "" | "/" | "/in") {
            return Err("neither `in` nor `status` stands behind the secret");
        }
        let Some(list) = paths.list.as_ref().filter(|_| source.item.is_none()) else { return Ok(vec![fields]) };
        let all = fields.list(list).ok_or("no list where the configuration names one")?;
        let around = [source.path, source.query, source.content_type].map(str::len).iter().sum::<usize>();
        if all.len() > MAX_EVENTS || all.len().saturating_mul(around) > MAX_AROUND {
            return Err("more items than one call may have");
        }
        Ok(all)
    }

    /// A message, alone in its call or one of several.
    fn heard(&self, source: &Source<'_>, fields: &Fields) -> Result<Inbound, &'static str> {
        let value = |path: &Option<String>| path.as_deref().and_then(|path| fields.text(path));
        let paths = &self.inbound;
        let sender = value(&paths.from).ok_or("no sender where the configuration names one")?;
        let from = self.numbers.read(&sender).ok_or("the sender is no address")?;
        let text = paths.text.as_deref().and_then(|path| fields.raw(path));
        let text = text.ok_or("no text where the configuration names one")?;
        let part = self.part(fields, &sender);
        let id = paths.id.as_deref().and_then(|path| fields.id(path)).map(|id| id_of(&id));
        let to = value(&paths.to);
        let key = match (&id, &part) {
            // Some gateways give all parts of a text the id of the whole.
            (Some(id), Some((_, number, _))) => format!("{id}:{number}"),
            (Some(id), None) => id.clone(),
            (None, _) => {
                // Without an id the same words of one person at one time are one message. Without a time each call is: one that
                // is repeated makes two of it, which is better than that the second `yes` of somebody is nowhere.
                let at = source.item.unwrap_or_default();
                let time = value(&paths.time).unwrap_or_else(|| format!("{} {at}", source.received_at.0));
                let number = part.as_ref().map_or(0, |(_, number, _)| *number).to_string();
                sha256_hex([&sender, to.as_deref().unwrap_or_default(), &time, &number, &text].join("\n").as_bytes())
            }
        };
        let mut message = request::message(&self.channel, &key, from, source);
        message.to = to.and_then(|to| self.numbers.read(&to));
        message.content = Content::text(text);
        message.provider_id = id;
        message.meta =
            paths.meta.iter().filter_map(|(name, path)| Some((name.clone(), short(&fields.text(path)?)))).collect();
        message.meta.insert("provider".into(), "http".into());
        if let Some((of, number, total)) = part {
            let told = [("part_of", of), ("part", number.to_string()), ("parts", total.to_string())];
            message.meta.extend(told.map(|(name, value)| (name.to_owned(), value)));
        }
        Ok(Inbound::Message(Box::new(message)))
    }

    /// Of which longer text an item is a part, which part, and of how many; one that cannot be a part of its text stands alone.
    fn part(&self, fields: &Fields, sender: &str) -> Option<(String, u16, u16)> {
        let value = |path: &Option<String>| fields.text(path.as_deref()?);
        let count = |path: &Option<String>| value(path)?.parse::<u16>().ok();
        let (number, total) = (count(&self.inbound.part)?, count(&self.inbound.parts)?);
        let is_part = (2..=MAX_PARTS).contains(&total) && (1..=total).contains(&number);
        // What the parts have in common is often a number that comes round soon: the people and the count are part of the key.
        let to = value(&self.inbound.to).unwrap_or_default();
        let key = [sender, &to, &value(&self.inbound.part_of)?, &total.to_string()].join("\n");
        is_part.then(|| (sha256_hex(key.as_bytes()), number, total))
    }

    /// A report, alone in its call or one of several.
    fn report(&self, source: &Source<'_>, fields: &Fields) -> Result<Option<Inbound>, &'static str> {
        let value = |path: &Option<String>| path.as_deref().and_then(|path| fields.text(path));
        let word = value(&self.reports.status).ok_or("no status where the configuration names one")?;
        // The address of one text says nothing of the others that a gateway reports in the same call.
        let by_address = || attempt(source.query).filter(|_| source.item.is_none());
        let attempt = value(&self.reports.reference).and_then(|text| referred(&text)).or_else(by_address);
        let id = value(&self.reports.id).map(|id| id_of(&id));
        let id = id.or_else(|| attempt.as_ref().map(|(send, part, n)| format!("{send}.{part}.{n}")));
        let id = id.ok_or("the report names no message")?;
        // A word that is not described says nothing that we could show.
        let known = self.statuses.iter().find(|(known, _)| known.eq_ignore_ascii_case(&word));
        let Some(status) = known.and_then(|(_, status)| receipt_status(status)) else { return Ok(None) };
        let failed = status == ReceiptStatus::Failed;
        let code = value(&self.reports.code).filter(|_| failed).map(|code| short(&code));
        let key = format!("{id}:{}", id_of(&word));
        Ok(Some(Inbound::Receipt(Receipt {
            thread: None,
            id: event_id(&self.channel, "receipt", &key),
            channel: self.channel.clone(),
            provider_id: id,
            send: attempt.as_ref().map(|(send, ..)| send.clone()),
            part: attempt.as_ref().map(|(_, part, _)| *part),
            n: attempt.as_ref().map(|(.., n)| *n),
            status,
            at: source.received_at,
            code,
            detail: failed.then(|| format!("the gateway reports `{}`", redact::text(&short(&word), &[]))),
        })))
    }
}

/// Events without those that say the same again in one call.
fn distinct(events: Vec<Inbound>) -> Vec<Inbound> {
    let mut seen = BTreeSet::new();
    events.into_iter().filter(|event| seen.insert(event.id().to_owned())).collect()
}
