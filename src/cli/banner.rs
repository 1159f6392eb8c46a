use super::check::{count, short};
use crate::config::Source;
use std::fmt::Write as _;
use std::net::SocketAddr;

/// A channel as the start names it.
#[derive(Clone, Debug)]
pub struct ChannelLine {
    pub id: String,
    pub kind: &'static str,
    /// What to open or to enter at the provider: the chat's page, or the webhook's address.
    pub url: Option<String>,
    /// The same page on this machine, where the other is elsewhere.
    pub here: Option<String>,
}

/// What a start has to say.
#[derive(Clone, Debug)]
pub struct Banner<'a> {
    pub source: &'a Source,
    pub workspace: &'a str,
    /// Where the listeners are bound; a router alone serves nobody outside.
    pub public: Option<SocketAddr>,
    pub admin: SocketAddr,
    /// The log's own sentence on what a power cut can take.
    pub durability: &'a str,
    pub channels: Vec<ChannelLine>,
    /// The one-time address that signs somebody in.
    pub login: Option<&'a str>,
    /// The agent for whom the login speaks; without one it speaks for an administrator.
    pub agent: Option<&'a str>,
    pub pack_hash: &'a str,
    pub rules: usize,
    pub queues: usize,
    pub agents: usize,
}

/// The text with which a daemon starts: what it listens on, what it keeps, what to open next.
#[must_use]
pub fn banner(b: &Banner<'_>) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<9}{value}");
    };
    line("config", b.source.to_string());
    if let Some(public) = b.public {
        line("public", format!("http://{public}  webhooks and chat"));
    }
    line("admin", format!("http://{}  API, console, metrics", b.admin));
    line("log", format!("workspace {}: {}", b.workspace, b.durability));
    let held = [count(b.rules, "rule"), count(b.queues, "queue"), count(b.agents, "agent")].join(", ");
    line("rules", format!("{} ({held})", short(b.pack_hash)));
    for c in &b.channels {
        let url = c.url.as_ref().map(|u| format!("  {u}")).unwrap_or_default();
        let here = c.here.as_ref().map(|here| format!("  (here {here})")).unwrap_or_default();
        line("channel", format!("{} ({}){url}{here}", c.id, c.kind));
    }
    let _ = write!(out, "\n{}", next(b));
    out
}

/// What to open next.
fn next(b: &Banner<'_>) -> String {
    let mut out = String::new();
    let chat = b.channels.iter().find(|c| c.kind == "webchat").and_then(|c| c.url.as_ref());
    if let (Source::Quickstart, Some(chat)) = (b.source, chat) {
        let _ = writeln!(out, "be the customer  {chat}");
    }
    let console = format!("http://{}/console", b.admin);
    let (name, login) = if b.agent.is_some() { ("be the agent", b.login) } else { ("console", b.login) };
    let once = if login.is_some() { "  (once, within ten minutes)" } else { "" };
    let _ = writeln!(out, "{name:<17}{}{once}", login.unwrap_or(&console));
    if b.agents == 0 && !b.pack_hash.is_empty() {
        let _ = writeln!(
            out,
            "                 the rule pack has no agents: nobody is given work, and answers are in the name of whose token it is"
        );
    }
    let _ = writeln!(out, "ask why          switchboard rules explain --last");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quickstart() -> Banner<'static> {
        Banner {
            source: &Source::Quickstart,
            workspace: "main",
            public: Some("127.0.0.1:8080".parse().expect("an address")),
            admin: "127.0.0.1:8081".parse().expect("an address"),
            durability: "embedded: a power cut loses nothing that was answered",
            channels: vec![ChannelLine {
                id: "site".into(),
                kind: "webchat",
                url: Some("http://127.0.0.1:8080/chat/site".into()),
                here: None,
            }],
            login: Some("http://127.0.0.1:8081/console#login=abc"),
            agent: Some("you"),
            pack_hash: "0123456789abcdef0123",
            rules: 1,
            queues: 1,
            agents: 1,
        }
    }

    #[test]
    fn a_start_says_where_it_listens_what_it_keeps_and_what_to_open() {
        let text = banner(&quickstart());
        for part in [
            "the built-in quickstart",
            "http://127.0.0.1:8080  ",
            "embedded: a power cut",
            "0123456789ab (1 rule, 1 queue, 1 agent)",
            "be the customer  http://127.0.0.1:8080/chat/site",
            "be the agent     http://127.0.0.1:8081/console#login=abc",
            "rules explain --last",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("0123456789abc"), "the hash is short");
        assert!(!text.contains("no agents"), "{text}");
    }

    #[test]
    fn a_chat_that_is_public_elsewhere_is_also_named_where_it_runs() {
        let (url, here) = ("https://hooks.shop.example/chat/site", "http://127.0.0.1:8080/chat/site");
        let site = ChannelLine { id: "site".into(), kind: "webchat", url: Some(url.into()), here: Some(here.into()) };
        let text = banner(&Banner { channels: vec![site], ..quickstart() });
        assert!(text.contains(&format!("site (webchat)  {url}  (here {here})")), "{text}");
    }

    #[test]
    fn a_login_that_speaks_for_no_agent_does_not_say_that_it_does() {
        let text = banner(&Banner { agent: None, agents: 0, ..quickstart() });
        assert!(text.contains("console          http://127.0.0.1:8081/console#login=abc"), "{text}");
        assert!(!text.contains("be the agent") && text.contains("the rule pack has no agents"), "{text}");
    }
}
