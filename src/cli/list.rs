//! Lists of the API: their pages read one after the other, shown as a table or as JSON.

use super::api::{Api, encoded};
use super::screen::{Screen, relative, span};
use super::table::Table;
use super::{Done, Failure};
use clap::Args;
use serde_json::{Value, json};
use switchboard_envelope::Timestamp;

/// The most rows of one page.
const PAGE: usize = 200;

/// Columns that are left out where no row has anything in them: only mails have a subject, and few providers give a code.
const SHED: &[&str] = &["SUBJECT", "CODE"];

/// What every administering command takes.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Common {
    /// Print the API's JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Repeat a change that may have been taken, under the key that it named
    #[arg(long, global = true, value_name = "KEY", value_parser = key)]
    pub idempotency_key: Option<String>,
}

fn key(s: &str) -> Result<String, String> {
    let good = (1..=255).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_graphic());
    if good { Ok(s.to_owned()) } else { Err("write 1 to 255 visible ASCII characters".into()) }
}

/// A list of the API.
pub(crate) struct List<'a> {
    /// `/conversations`
    pub path: &'a str,
    /// The key of its rows.
    pub key: &'a str,
    pub query: Vec<(&'a str, String)>,
    pub limit: usize,
    /// What is said of an empty list.
    pub empty: &'a str,
}

impl List<'_> {
    /// Rows up to the limit, and whether there are more.
    pub async fn rows(&self, api: &Api) -> Result<(Vec<Value>, Value), Failure> {
        let (mut rows, mut next) = (vec![], Value::Null);
        loop {
            let mut query: Vec<String> = self.query.iter().map(|(k, v)| format!("{k}={}", encoded(v))).collect();
            query.push(format!("limit={}", (self.limit - rows.len()).min(PAGE)));
            if let Some(cursor) = next.as_str() {
                query.push(format!("cursor={}", encoded(cursor)));
            }
            let mut page = api.get(&format!("{}?{}", self.path, query.join("&"))).await?;
            let Some(found) = page.get_mut(self.key).map(Value::take) else {
                return Err(Failure::Failed(format!(
                    "the daemon's answer has no `{}`: is it another version?",
                    self.key
                )));
            };
            let found = if let Value::Array(found) = found { found } else { vec![] };
            let none = found.is_empty();
            rows.extend(found);
            next = page.get("next").cloned().unwrap_or_default();
            if next.is_null() || none || rows.len() >= self.limit {
                return Ok((rows, next));
            }
        }
    }

    /// Shows the list, a row as `cells` says.
    pub async fn show(
        &self,
        api: &Api,
        common: &Common,
        screen: &mut Screen,
        heads: &[&'static str],
        cells: impl Fn(&Value, Timestamp) -> Vec<String>,
    ) -> Done {
        self.show_lines(api, common, screen, heads, |row, now| vec![cells(row, now)]).await
    }

    /// The same where a row of the API may be several of the table.
    pub async fn show_lines(
        &self,
        api: &Api,
        common: &Common,
        screen: &mut Screen,
        heads: &[&'static str],
        lines: impl Fn(&Value, Timestamp) -> Vec<Vec<String>>,
    ) -> Done {
        let (rows, next) = self.rows(api).await?;
        if common.json {
            screen.out(&super::screen::json(&json!({ self.key: rows, "next": next })));
            return Ok(());
        }
        let mut table = Table::new(heads);
        for line in rows.iter().flat_map(|row| lines(row, screen.now)) {
            table.row(line);
        }
        table.shed(SHED);
        if table.is_empty() {
            screen.out(self.empty);
            if let Some(said) = api.stale().await {
                screen.err(&said);
            }
            return Ok(());
        }
        screen.out(&table.render(screen.width));
        if !next.is_null() {
            let are = if rows.len() == 1 { "is" } else { "are" };
            screen.err(&format!("only {} {are} shown; --limit shows more", rows.len()));
        }
        if let Some(said) = api.stale().await {
            screen.err(&said);
        }
        Ok(())
    }
}

/// What names a thing of the API: an empty one would name the list of them.
pub(crate) fn id(s: &str) -> Result<String, String> {
    if s.trim().is_empty() { Err("is empty: write the id that the list shows".into()) } else { Ok(s.to_owned()) }
}

/// The text at a path such as `contact.name`; empty when it is not there.
pub(crate) fn text(value: &Value, path: &str) -> String {
    match lookup(value, path) {
        Value::String(s) => s.clone(),
        Value::Number(n) => n.to_string(),
        Value::Bool(b) => (if *b { "yes" } else { "no" }).to_owned(),
        Value::Array(items) => {
            items.iter().map(|i| text(i, "")).filter(|t| !t.is_empty()).collect::<Vec<_>>().join(", ")
        }
        Value::Object(map) => map.keys().cloned().collect::<Vec<_>>().join(", "),
        Value::Null => String::new(),
    }
}

/// The first of these that is there.
pub(crate) fn first(value: &Value, paths: &[&str]) -> String {
    paths.iter().map(|p| text(value, p)).find(|t| !t.is_empty()).unwrap_or_default()
}

pub(crate) fn lookup<'v>(value: &'v Value, path: &str) -> &'v Value {
    path.split('.').filter(|p| !p.is_empty()).try_fold(value, |v, key| v.get(key)).unwrap_or(&Value::Null)
}

pub(crate) fn time(value: &Value, path: &str) -> Option<Timestamp> {
    lookup(value, path).as_str().and_then(|t| t.parse().ok())
}

/// How long ago the time at a path was.
pub(crate) fn ago(value: &Value, path: &str, now: Timestamp) -> String {
    time(value, path).map(|t| relative(t, now)).unwrap_or_default()
}

/// How long something has lasted since the time at a path.
pub(crate) fn since(value: &Value, path: &str, now: Timestamp) -> String {
    time(value, path).map(|t| span(now.since(t))).unwrap_or_default()
}

/// An address, however it is given.
pub(crate) fn address(value: &Value, path: &str) -> String {
    let at = lookup(value, path);
    if at.is_object() { first(at, &["name", "value", "id"]) } else { text(at, "") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_cells() {
        let row = json!({ "id": "c1", "contact": { "name": null, "identities": ["phone:+1"] }, "tags": ["a", "b"], "load": 1.5, "paused": false, "to": { "kind": "phone", "value": "+1" } });
        assert_eq!(first(&row, &["contact.name", "contact.identities"]), "phone:+1");
        assert_eq!(text(&row, "tags"), "a, b");
        assert_eq!(text(&row, "load"), "1.5");
        assert_eq!(text(&row, "paused"), "no");
        assert_eq!(text(&row, "no.such"), "");
        assert_eq!(address(&row, "to"), "+1");
    }
}
