//! A reader of threads after Jamie Zawinski's algorithm, as mail clients have: what the corpus says of it holds, so it can
//! judge whether a conversation of ours stays one thread.

use crate::{fixtures, header, subject};
use serde_json::Value;
use std::collections::BTreeMap;

/// What a client knows of one mail.
#[derive(Clone, Debug, Default)]
pub(super) struct Mail {
    pub name: String,
    pub id: Option<String>,
    pub in_reply_to: Vec<String>,
    pub references: Vec<String>,
    pub subject: String,
    /// Sorts like the time.
    pub date: String,
}

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

#[derive(Default)]
struct Node {
    mail: Option<usize>,
    parent: Option<String>,
}

struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    fn is_above(&self, above: &str, id: &str) -> bool {
        let mut at = Some(id);
        while let Some(id) = at {
            if id == above {
                return true;
            }
            at = self.nodes.get(id).and_then(|n| n.parent.as_deref());
        }
        false
    }

    fn link(&mut self, parent: &str, child: &str, again: bool) {
        self.nodes.entry(parent.to_owned()).or_default();
        self.nodes.entry(child.to_owned()).or_default();
        let free = self.nodes[child].parent.is_none() || again;
        if free && !self.is_above(child, parent) {
            self.nodes.get_mut(child).unwrap().parent = Some(parent.to_owned());
        }
    }

    fn root(&self, id: &str) -> String {
        let mut at = id;
        while let Some(parent) = self.nodes[at].parent.as_deref() {
            at = parent;
        }
        at.to_owned()
    }
}

/// The threads, the earliest first: the root's name and the mails' names by date.
pub(super) fn threads(mails: &[Mail], options: &Options) -> Vec<(String, Vec<String>)> {
    let mut tree = Tree { nodes: BTreeMap::new() };
    for (at, mail) in mails.iter().enumerate() {
        let taken = |id: &String| tree.nodes.get(id).is_some_and(|n| n.mail.is_some());
        let id = mail.id.clone().filter(|id| !taken(id)).unwrap_or_else(|| format!("\0{at}"));
        let chain = if mail.references.is_empty() {
            mail.in_reply_to.iter().take(1).cloned().collect()
        } else {
            mail.references.clone()
        };
        for pair in chain.windows(2) {
            tree.link(&pair[0], &pair[1], false);
        }
        tree.nodes.entry(id.clone()).or_default().mail = Some(at);
        if let Some(parent) = chain.last() {
            tree.link(parent, &id, true);
        }
    }
    let mut groups: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (id, node) in &tree.nodes {
        if let Some(at) = node.mail {
            groups.entry(tree.root(id)).or_default().push(at);
        }
    }
    let mut found: Vec<(String, Vec<usize>, String)> = vec![];
    for (root, mut members) in groups {
        members.sort_by(|a, b| (&mails[*a].date, a).cmp(&(&mails[*b].date, b)));
        let own = tree.nodes[&root].mail;
        let first = own.or_else(|| top(&tree, mails, &members));
        let name = match own {
            Some(at) => mails[at].name.clone(),
            None if options.prune => mails[first.unwrap()].name.clone(),
            None => root.clone(),
        };
        found.push((name, members, mails[first.unwrap()].subject.clone()));
    }
    if options.by_subject {
        found = by_subject(found, mails, options);
    }
    found.sort_by(|a, b| (&mails[a.1[0]].date, a.1[0]).cmp(&(&mails[b.1[0]].date, b.1[0])));
    found
        .into_iter()
        .map(|(name, members, _)| (name, members.into_iter().map(|m| mails[m].name.clone()).collect()))
        .collect()
}

/// The mail nearest to a root that nobody has.
fn top(tree: &Tree, mails: &[Mail], members: &[usize]) -> Option<usize> {
    let depth = |at: &usize| {
        let mut depth = 0;
        let mut id = tree.nodes.iter().find(|(_, n)| n.mail == Some(*at)).map(|(id, _)| id.clone());
        while let Some(parent) = id.and_then(|id| tree.nodes[&id].parent.clone()) {
            depth += 1;
            id = Some(parent);
        }
        depth
    };
    members.iter().copied().min_by_key(|at| (depth(at), mails[*at].date.clone()))
}

fn by_subject(
    found: Vec<(String, Vec<usize>, String)>,
    mails: &[Mail],
    options: &Options,
) -> Vec<(String, Vec<usize>, String)> {
    let prefixes: Vec<&str> = options.prefixes.iter().map(String::as_str).collect();
    let mut joined: Vec<(String, Vec<usize>, String)> = vec![];
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
