//! Contacts: finding them, and changing what is known of them.

use super::admin::{Limit, ROWS, done};
use super::api::{Api, encoded};
use super::list::{Common, List, id, lookup, text};
use super::screen::{Screen, plain};
use super::{ConfigArg, Done, Failure};
use crate::config::Environment;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

#[derive(Debug, Args)]
pub(crate) struct Contacts {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<ContactsCommand>,
}

#[derive(Debug, Subcommand)]
enum ContactsCommand {
    /// List them, or find one by an identity (the default)
    List {
        /// As phone:+15551230001
        #[arg(conflicts_with = "by", value_name = "IDENTITY")]
        identity: Option<String>,
        /// The same
        #[arg(long = "identity", id = "by", value_name = "IDENTITY")]
        by: Option<String>,
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one
    Show {
        #[arg(value_parser = id)]
        id: String,
    },
    /// Add tags to one
    Tag {
        #[arg(value_parser = id)]
        id: String,
        #[arg(required = true)]
        tags: Vec<String>,
    },
    /// Take tags off one
    Untag {
        #[arg(value_parser = id)]
        id: String,
        #[arg(required = true)]
        tags: Vec<String>,
    },
    /// Set attributes of one, as `set p1 tier=gold`; an empty value removes it
    Set {
        #[arg(value_parser = id)]
        id: String,
        #[arg(required = true, value_name = "NAME=VALUE", value_parser = attribute)]
        attributes: Vec<(String, String)>,
    },
    /// Note that one opted out of a channel, or in again; what a provider holds, only the person can undo
    Consent {
        #[arg(value_parser = id)]
        id: String,
        channel: String,
        #[arg(value_enum)]
        state: Consent,
    },
    /// Hear one again whom a rule blocked on a channel
    Unblock {
        #[arg(value_parser = id)]
        id: String,
        channel: String,
    },
    /// Join one contact into another, which keeps its id
    Merge {
        #[arg(value_parser = id)]
        into: String,
        #[arg(value_parser = id)]
        from: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Consent {
    OptedOut,
    OptedIn,
}

fn attribute(s: &str) -> Result<(String, String), String> {
    match s.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write a name, `=` and a value, as tier=gold".into()),
    }
}

impl Contacts {
    pub async fn run(self, at: &ConfigArg, env: &Environment, screen: &mut Screen) -> Done {
        let api = Api::open(at, env)?.under(self.common.idempotency_key.as_deref());
        let common = &self.common;
        let path = |id: &str| format!("/contacts/{}", encoded(id));
        let (answer, said) = match self.command {
            None => return list(&api, common, screen, None, ROWS).await,
            Some(ContactsCommand::List { identity, by, limit }) => {
                return list(&api, common, screen, identity.or(by), limit.limit).await;
            }
            Some(ContactsCommand::Show { id }) => {
                let contact = api.get(&path(&id)).await?;
                return if common.json { done(&contact, common, screen, "") } else { show_fields(&contact, screen) };
            }
            Some(ContactsCommand::Tag { id, tags }) => {
                let known = api.get(&path(&id)).await?;
                let body = json!({ "tags": tagged(&known, &tags, true) });
                (api.patch(&path(&id), body).await?, format!("{id} has the tags {}", tags.join(", ")))
            }
            Some(ContactsCommand::Untag { id, tags }) => {
                let known = api.get(&path(&id)).await?;
                let body = json!({ "tags": tagged(&known, &tags, false) });
                (api.patch(&path(&id), body).await?, format!("{id} has no tags {}", tags.join(", ")))
            }
            Some(ContactsCommand::Set { id, attributes }) => {
                let body = json!({ "attributes": attributes_of(attributes) });
                (api.patch(&path(&id), body).await?, format!("{id} is changed"))
            }
            Some(ContactsCommand::Consent { id, channel, state }) => {
                let (word, said) = match state {
                    Consent::OptedOut => ("opted_out", "opted out of"),
                    Consent::OptedIn => ("opted_in", "opted in on"),
                };
                let mut consent = Map::new();
                consent.insert(channel.clone(), word.into());
                let answer = api.patch(&path(&id), json!({ "consent": consent })).await?;
                (answer, format!("{id} is {said} {channel}"))
            }
            Some(ContactsCommand::Unblock { id, channel }) => {
                let answer = api.patch(&path(&id), json!({ "unblock": [channel] })).await?;
                (answer, format!("{id} is heard on {channel}"))
            }
            Some(ContactsCommand::Merge { into, from }) => {
                let answer = api.post(&format!("{}/merge", path(&into)), json!({ "from": from })).await?;
                (answer, format!("{from} is part of {into}"))
            }
        };
        done(&answer, common, screen, &said)
    }
}

async fn list(api: &Api, common: &Common, screen: &mut Screen, identity: Option<String>, limit: usize) -> Done {
    let query = identity.into_iter().map(|i| ("identity", i)).collect();
    let list = List { path: "/contacts", key: "contacts", query, limit, empty: "no contacts" };
    let heads = ["ID", "NAME", "IDENTITIES", "TAGS"];
    let cells = |c: &Value, _| vec![text(c, "id"), text(c, "name"), text(c, "identities"), text(c, "tags")];
    list.show(api, common, screen, &heads, cells).await
}

/// The tags of a contact with these, or without them.
fn tagged(contact: &Value, tags: &[String], with: bool) -> BTreeSet<String> {
    let known = lookup(contact, "tags").as_array().map(Vec::as_slice).unwrap_or_default();
    let mut all: BTreeSet<String> = known.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    for tag in tags {
        if with {
            all.insert(tag.clone());
        } else {
            all.remove(tag);
        }
    }
    all
}

/// As the API wants them: what is null is removed.
fn attributes_of(given: Vec<(String, String)>) -> Map<String, Value> {
    given.into_iter().map(|(name, value)| (name, if value.is_empty() { Value::Null } else { value.into() })).collect()
}

fn show_fields(value: &Value, screen: &mut Screen) -> Done {
    let Some(map) = value.as_object() else {
        return Err(Failure::Failed("the daemon's answer is not an object".into()));
    };
    for (key, value) in map {
        let shown = match value {
            Value::Object(map) => {
                map.iter().map(|(k, v)| format!("{k}={}", text(v, ""))).collect::<Vec<_>>().join(", ")
            }
            other => text(other, ""),
        };
        if !shown.is_empty() {
            screen.out(&format!("{key}: {}", plain(&shown)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_added_and_taken_off_and_the_others_stay() {
        let contact = json!({ "tags": ["vip", "old"] });
        let tags = |with| tagged(&contact, &["old".to_owned(), "new".to_owned()], with).into_iter().collect::<Vec<_>>();
        assert_eq!((tags(true), tags(false)), (vec!["new".into(), "old".into(), "vip".into()], vec!["vip".to_owned()]));
    }

    #[test]
    fn attributes_are_read_and_an_empty_one_is_removed() {
        assert_eq!(attribute("tier=gold=1"), Ok(("tier".into(), "gold=1".into())));
        assert!(attribute("tier").is_err() && attribute("=x").is_err());
        let map = attributes_of(vec![("a".into(), "1".into()), ("b".into(), String::new())]);
        assert_eq!(Value::Object(map), json!({ "a": "1", "b": null }));
    }
}
