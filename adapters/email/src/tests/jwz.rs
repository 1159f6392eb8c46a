//! A reader of threads after Jamie Zawinski's algorithm, as mail clients have: what the corpus says of it holds, so it can
//! judge whether a conversation of ours stays one thread.

mod tree;

pub(super) use tree::Mail;

use crate::{fixtures, header, subject};
use serde_json::Value;
use tree::Thread;

/// How a client is set up.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub by_subject: bool,
    pub prune: bool,
    pub prefixes: Vec<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options { by_subject: true, prune: true, prefixes: vec![] }
    }
}

/// The threads, the earliest first: the root's name and the mails' names by date.
pub(super) fn threads(mails: &[Mail], options: &Options) -> Vec<(String, Vec<String>)> {
    let mut found = tree::threads(mails, options.prune);
    if options.by_subject {
        found = by_subject(found, mails, options);
    }
    found.sort_by(|a, b| (&mails[a.1[0]].date, a.1[0]).cmp(&(&mails[b.1[0]].date, b.1[0])));
    found
        .into_iter()
        .map(|(name, members, _)| (name, members.into_iter().map(|m| mails[m].name.clone()).collect()))
        .collect()
}

fn by_subject(found: Vec<Thread>, mails: &[Mail], options: &Options) -> Vec<Thread> {
    let prefixes: Vec<&str> = options.prefixes.iter().map(String::as_str).collect();
    let mut joined: Vec<Thread> = vec![];
    let mut sorted = found;
    sorted.sort_by(|a, b| mails[a.1[0]].date.cmp(&mails[b.1[0]].date));
    for (name, members, subject) in sorted {
        let base = subject::base_with(&subject, &prefixes);
        let is_answer = base != subject.trim().to_lowercase();
        let other = joined
            .iter_mut()
            .find(|(_, _, s)| !base.is_empty() && is_answer && subject::base_with(s, &prefixes) == base);
        match other {
            Some((_, into, _)) => {
                into.extend(members);
                into.sort_by(|a, b| (&mails[*a].date, a).cmp(&(&mails[*b].date, b)));
            }
            None => joined.push((name, members, subject)),
        }
    }
    joined
}

/// Ids as a mail's fields would hold them.
fn ids(value: &Value) -> Vec<String> {
    let mut found = vec![];
    let texts: Vec<&str> = value
        .as_array()
        .map_or_else(|| value.as_str().into_iter().collect(), |a| a.iter().filter_map(Value::as_str).collect());
    texts.iter().for_each(|text| header::ids(text.as_bytes(), &mut found));
    found
}

#[test]
fn the_corpus_of_threads_is_met() {
    let names = fixtures::names("jwz", ".json");
    let mut missed = vec![];
    for name in &names {
        let case = fixtures::json(&format!("jwz/{name}"));
        let options = Options {
            by_subject: case["options"]["subject_merge"].as_bool().unwrap_or(true),
            prune: case["options"]["prune_phantoms"].as_bool().unwrap_or(true),
            prefixes: case["options"]["subject_prefixes"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|p| p.as_str().unwrap().to_owned())
                .collect(),
        };
        let mails: Vec<Mail> = case["input"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| Mail {
                name: m["id"].as_str().unwrap_or_default().to_owned(),
                id: ids(&m["message_id"]).pop(),
                in_reply_to: ids(&m["in_reply_to"]),
                references: ids(&m["references"]),
                subject: m["subject"].as_str().unwrap_or_default().to_owned(),
                date: m["date"].as_str().unwrap_or_default().to_owned(),
            })
            .collect();
        let wanted: Vec<(String, Vec<String>)> = case["expected"]["threads"]
            .as_array()
            .unwrap()
            .iter()
            .map(|t| {
                (
                    t["root"].as_str().unwrap().to_owned(),
                    t["messages"].as_array().unwrap().iter().map(|m| m.as_str().unwrap().to_owned()).collect(),
                )
            })
            .collect();
        let got = threads(&mails, &options);
        if got != wanted {
            missed.push(format!("{name}: wanted {wanted:?}, got {got:?}"));
        }
    }
    println!("{} of {} thread cases met", names.len() - missed.len(), names.len());
    assert!(missed.is_empty(), "{missed:#?}");
}
