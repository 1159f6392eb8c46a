//! Threads by ids alone, after Jamie Zawinski's algorithm. It knows nothing of the rest, so that tests of the whole program judge with it
//! as well.

use std::collections::BTreeMap;

/// What a client knows of one mail.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mail {
    pub name: String,
    pub id: Option<String>,
    pub in_reply_to: Vec<String>,
    pub references: Vec<String>,
    pub subject: String,
    /// Sorts like the time.
    pub date: String,
}

/// A thread: its root's name, its mails by date, and its subject.
pub(crate) type Thread = (String, Vec<usize>, String);

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

/// The threads, in no order. With `prune` a root that nobody has is called like the mail nearest to it.
pub(crate) fn threads(mails: &[Mail], prune: bool) -> Vec<Thread> {
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
    let mut found: Vec<Thread> = vec![];
    for (root, mut members) in groups {
        members.sort_by(|a, b| (&mails[*a].date, a).cmp(&(&mails[*b].date, b)));
        let own = tree.nodes[&root].mail;
        let first = own.or_else(|| top(&tree, mails, &members));
        let name = match own {
            Some(at) => mails[at].name.clone(),
            None if prune => mails[first.unwrap()].name.clone(),
            None => root.clone(),
        };
        found.push((name, members, mails[first.unwrap()].subject.clone()));
    }
    found
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
