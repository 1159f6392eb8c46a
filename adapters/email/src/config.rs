//! What a channel of mail is configured with: its keys, as data that the daemon reads, and what they mean together.

use crate::{address, delivery::Protocol, dkim, events::MAX_MAIL};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use switchboard_adapter_sdk::{
    ConfigProblem, Secret, Settings,
    settings::{Key, Shape, any},
};
use tokio::io::AsyncReadExt as _;

/// The port of IMAP within TLS; the other one begins in the clear (RFC 8314).
const IMAPS: u16 = 993;
const IMAP: u16 = 143;
/// The ports of submission.
const SUBMISSIONS: u16 = 465;
const SUBMISSION: u16 = 587;

const TLS: Key = Key::new(
    "tls",
    Shape::Choice(&["implicit", "starttls", "none"]),
    "TLS from the first byte, after STARTTLS, or none at all: towards this machine only",
);
const HOST: Key = Key::new(
    "host",
    Shape::Text { check: host, pattern: "^[^\\s/:]+$" },
    "the server's name, as its certificate has it",
)
.required("\"imap.shop.example\"");
const SMTP_HOST: Key = Key::new(
    "host",
    Shape::Text { check: host, pattern: "^[^\\s/:]+$" },
    "the server's name, as its certificate has it",
)
.required("\"smtp.shop.example\"");
const PORT: Key =
    Key::new("port", Shape::Count { least: 1, most: 65_535 }, "the port; the usual one of its `tls` when left out");
const USER: Key = Key::new("user", Shape::Text { check: word, pattern: "" }, "the account's name");
const PASSWORD: Key = Key::new("password", Shape::Secret, "the account's password, or one for this program alone");
const TOKEN_FILE: Key = Key::new(
    "token_file",
    Shape::File,
    "a file with an OAuth 2 access token, read at each login; somebody else keeps it fresh",
);
const TOKEN_COMMAND: Key = Key::new(
    "token_command",
    Shape::Words { check: any },
    "a program with its arguments that prints an OAuth 2 access token; run at each login",
);
const CA: Key = Key::new("ca", Shape::File, "a PEM file of certificates that are believed beside the system's");

const IMAP_KEYS: &[Key] = &[
    HOST,
    PORT,
    TLS.usual("implicit"),
    USER.required("\"support\""),
    PASSWORD,
    TOKEN_FILE,
    TOKEN_COMMAND,
    CA,
    Key::new("mailbox", Shape::Text { check: mailbox, pattern: "" }, "the folder whose mails are taken").usual("INBOX"),
    Key::new(
        "mark",
        Shape::Choice(&["keyword", "seen"]),
        "how a mail is marked once the log has it: with the keyword `$Switchboard`, or as read",
    )
    .usual("keyword"),
    Key::new(
        "move_to",
        Shape::Text { check: mailbox, pattern: "" },
        "a folder that mails are moved to, marked, once the log has them",
    ),
    Key::new(
        "start",
        Shape::Choice(&["all", "new"]),
        "what is taken of a mailbox that is met for the first time: all of its mails, or those that come from then on",
    )
    .usual("all"),
];

const SMTP_KEYS: &[Key] = &[SMTP_HOST, PORT, TLS.usual("starttls"), USER, PASSWORD, TOKEN_FILE, TOKEN_COMMAND, CA];

const DELIVERY_KEYS: &[Key] = &[
    Key::new("listen", Shape::Text { check: listen, pattern: "" }, "an IP address with a port, for this channel alone")
        .required("\"127.0.0.1:2424\""),
    Key::new("protocol", Shape::Choice(&["lmtp", "smtp"]), "what your mail server speaks to us").usual("lmtp"),
    Key::new(
        "peers",
        Shape::Words { check: ip },
        "the addresses of the mail servers that may connect; this machine when left out",
    ),
];

/// The keys of a channel of this kind.
pub const KEYS: &[Key] = &[
    Key::new(
        "address",
        Shape::Text { check: mail_address, pattern: "^[^@\\s]+@[^@\\s]+$" },
        "the address that customers write to, and that answers come from",
    )
    .required("\"support@shop.example\""),
    Key::new("name", Shape::Text { check: word, pattern: "" }, "the name beside it in our mails"),
    Key::new("addresses", Shape::Words { check: mail_address }, "further addresses of ours whose mail comes here"),
    Key::new(
        "plus_addresses",
        Shape::Flag,
        "mail to `support+anything@…` arrives too: answers then go to an address with a signed tag",
    )
    .usual("true"),
    Key::new("reply_line", Shape::Flag, "a line above what is quoted, from which on nothing in an answer is new")
        .usual("false"),
    Key::new("html", Shape::Flag, "our mails have a page of HTML beside their text, which says the same").usual("true"),
    Key::new(
        "authentication_results",
        Shape::Words { check: word },
        "the names under which our mail servers write `Authentication-Results`; only these are believed, as `mx.google.com`",
    ),
    Key::new(
        "received_by",
        Shape::Words { check: word },
        "the names of our mail servers that take mail from outside, as they stand in `Received: … by`, where they are others than in `authentication_results`",
    ),
    Key::new(
        "max_mail",
        Shape::Size { least: "64KiB", most: "50MiB" },
        "the largest mail that is read; a larger one is quarantined with its head",
    )
    .usual("25MiB"),
    Key::new("imap", Shape::Table(IMAP_KEYS), "Where mail is fetched."),
    Key::new(
        "delivery",
        Shape::Table(DELIVERY_KEYS),
        "Where a mail server of ours hands us its mail, beside `imap` or in its place.",
    ),
    Key::new("smtp", Shape::Table(SMTP_KEYS), "Where mail is handed in."),
    Key::new(
        "reply_all",
        Shape::Flag,
        "what an agent answers goes in copy to the others whom the customer's latest mail openly went to",
    )
    .usual("false"),
    Key::new("dkim", Shape::Table(dkim::KEYS), "With what our mails are signed, where the mail server does not do it."),
];

/// The largest mail that is read where the configuration does not say, in bytes.
const USUAL_MAIL: usize = 25 * 1024 * 1024;

/// How a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    Implicit,
    StartTls,
    None,
}

/// With what an account is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// See [`password`] for one that stands in a file.
    Password(Secret),
    /// A file with an OAuth 2 access token.
    TokenFile(PathBuf),
    /// A program that prints an OAuth 2 access token.
    TokenCommand(Vec<String>),
}

/// The most bytes of a password's file.
const MAX_PASSWORD: u64 = 64 * 1024;

/// A password as it is now: one that stands in a file is read anew, so that a mended one is used at the next login. Where there is no
/// such file any more it is the one of the start.
///
/// # Errors
/// With a sentence that names the file, and never what it holds.
pub async fn password(known: &Secret) -> Result<Secret, String> {
    let Some(path) = known.file() else { return Ok(known.clone()) };
    let name = format!("the password's file {}", path.display());
    // A start may have unlocked it for a moment; and what is no file could keep us waiting without end.
    if !tokio::fs::metadata(path).await.is_ok_and(|there| there.is_file()) {
        return Ok(known.clone());
    }
    let mut text = String::new();
    let read = async {
        tokio::fs::File::open(path).await?.take(MAX_PASSWORD).read_to_string(&mut text).await?;
        Ok::<_, std::io::Error>(())
    };
    read.await.map_err(|e| format!("{name} cannot be read: {e}"))?;
    let line = text.trim_end_matches(['\n', '\r']);
    if line.is_empty() || line.contains(['\n', '\r', '\0']) {
        return Err(format!("{name} must hold one line, which is the password"));
    }
    Ok(Secret::new(line).of_file(path))
}

/// A mail server and the account on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub host: String,
    pub port: u16,
    pub tls: Tls,
    /// The account; without one nobody logs in.
    pub account: Option<(String, Login)>,
    /// Certificates that are believed beside the system's.
    pub ca: Option<PathBuf>,
}

/// How a mail is marked that the log has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The keyword [`crate::config::KEYWORD`].
    Keyword,
    /// `\Seen`.
    Seen,
}

/// What marks a mail as taken, where the server lets us make keywords.
pub const KEYWORD: &str = "$Switchboard";

/// A mailbox that is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imap {
    pub server: Server,
    pub mailbox: String,
    pub mark: Mark,
    /// The folder for what was taken.
    pub move_to: Option<String>,
    /// Mails from before the first look are left alone.
    pub only_new: bool,
}

/// Where mail is handed to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub listen: SocketAddr,
    pub protocol: Protocol,
    /// Who may connect.
    pub peers: Vec<IpAddr>,
}

/// A channel of mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmailConfig {
    /// Where customers write to, and answers come from.
    pub address: String,
    pub name: Option<String>,
    /// All addresses of ours, canonical and without a tag; the first is the one that answers come from.
    pub ours: Vec<String>,
    pub plus_addresses: bool,
    pub reply_line: bool,
    /// Our mails have a page beside their text.
    pub html: bool,
    /// Whose `Authentication-Results` are believed.
    pub trusted: Vec<String>,
    /// Below whose line in `Received` nothing is ours.
    pub boundary: Vec<String>,
    /// The largest mail that is read, in bytes.
    pub max_mail: usize,
    pub imap: Option<Imap>,
    pub delivery: Option<Delivery>,
    pub smtp: Option<Server>,
    /// What a person answers goes to everybody whom the customer's mail went to.
    pub reply_all: bool,
    /// What signs our mails.
    pub dkim: Option<dkim::Signer>,
}

/// How often a mailbox is looked at, where the configuration does not say.
pub const USUAL_POLL: Duration = Duration::from_secs(60);

impl EmailConfig {
    /// What the written keys mean together.
    ///
    /// # Errors
    /// With everything that is missing or contradicts itself.
    pub fn read(settings: &Settings) -> Result<EmailConfig, Vec<ConfigProblem>> {
        let mut problems = vec![];
        let address = address::wire(settings.text("address").unwrap_or_default());
        let mut ours: Vec<String> = vec![];
        for one in std::iter::once(&address).chain(settings.words("addresses")) {
            let plain = address::without_tag(one);
            if !ours.contains(&plain) {
                ours.push(plain);
            }
        }
        let delivery = settings.has("delivery").then(|| delivery(settings)).flatten();
        if !settings.has("imap") && !settings.has("delivery") {
            problems.push(settings.problem(
                "imap",
                "is missing: write where mail is fetched, as `imap = { host = \"imap.shop.example\", user = \"support\", password = { file = \"imap.password\" } }`",
            ));
        }
        let imap = settings.has("imap").then(|| imap(settings, &mut problems)).flatten();
        let smtp = settings
            .has("smtp")
            .then(|| {
                server(settings, "smtp", [(Tls::StartTls, SUBMISSION), (Tls::Implicit, SUBMISSIONS)], &mut problems)
            })
            .flatten();
        let domain = address::split(&address).map_or("invalid", |(_, domain)| domain);
        let dkim = settings.has("dkim").then(|| dkim::read(settings, domain, &mut problems)).flatten();
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(EmailConfig {
            address,
            name: settings.text("name").map(str::to_owned),
            ours,
            plus_addresses: !settings.has("plus_addresses") || settings.flag("plus_addresses"),
            reply_line: settings.flag("reply_line"),
            html: !settings.has("html") || settings.flag("html"),
            trusted: settings.words("authentication_results").iter().map(|s| s.to_lowercase()).collect(),
            boundary: settings.words("received_by").iter().map(|s| s.to_lowercase()).collect(),
            max_mail: settings
                .count("max_mail")
                .and_then(|n| usize::try_from(n).ok())
                .unwrap_or(USUAL_MAIL)
                .min(MAX_MAIL),
            imap,
            delivery,
            smtp,
            reply_all: settings.flag("reply_all"),
            dkim,
        })
    }

    /// The domain of our address.
    #[must_use]
    pub fn domain(&self) -> &str {
        address::split(&self.address).map_or("invalid", |(_, domain)| domain)
    }
}

fn imap(settings: &Settings, problems: &mut Vec<ConfigProblem>) -> Option<Imap> {
    let server = server(settings, "imap", [(Tls::Implicit, IMAPS), (Tls::StartTls, IMAP)], problems);
    let mailbox = settings.text("imap.mailbox").unwrap_or("INBOX").to_owned();
    let move_to = settings.text("imap.move_to").map(str::to_owned);
    if move_to.as_ref().is_some_and(|to| to.eq_ignore_ascii_case(&mailbox)) {
        problems.push(settings.problem("imap.move_to", "is the folder that mails are taken from: write another"));
    }
    Some(Imap {
        server: server?,
        mailbox,
        mark: if settings.text("imap.mark") == Some("seen") { Mark::Seen } else { Mark::Keyword },
        move_to,
        only_new: settings.text("imap.start") == Some("new"),
    })
}

fn delivery(settings: &Settings) -> Option<Delivery> {
    let here = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let peers = settings.words("delivery.peers").iter().filter_map(|p| p.parse().ok()).collect::<Vec<IpAddr>>();
    Some(Delivery {
        listen: settings.text("delivery.listen")?.parse().ok()?,
        protocol: if settings.text("delivery.protocol") == Some("smtp") { Protocol::Smtp } else { Protocol::Lmtp },
        peers: if settings.has("delivery.peers") { peers } else { here.to_vec() },
    })
}

/// A server below `table`; the first of `ports` is that of its usual kind of TLS.
fn server(
    settings: &Settings,
    table: &str,
    ports: [(Tls, u16); 2],
    problems: &mut Vec<ConfigProblem>,
) -> Option<Server> {
    let key = |name: &str| format!("{table}.{name}");
    let host = address::ascii_domain(settings.text(&key("host"))?);
    let tls = match settings.text(&key("tls")) {
        Some("implicit") => Tls::Implicit,
        Some("starttls") => Tls::StartTls,
        Some("none") => Tls::None,
        _ => ports[0].0,
    };
    if tls == Tls::None && !is_here(&host) {
        problems.push(settings.problem(
            &key("tls"),
            "must be `implicit` or `starttls`: without TLS passwords and mails would cross the network for all to read",
        ));
    }
    let usual = ports.iter().find(|(kind, _)| *kind == tls).or(ports.get(1)).map(|(_, port)| *port);
    let port = settings.count(&key("port")).and_then(|p| u16::try_from(p).ok()).or(usual)?;
    let before = problems.len();
    let account = account(settings, table, problems);
    (problems.len() == before).then(|| Server {
        host,
        port,
        tls,
        account,
        ca: settings.text(&key("ca")).map(PathBuf::from),
    })
}

fn account(settings: &Settings, table: &str, problems: &mut Vec<ConfigProblem>) -> Option<(String, Login)> {
    const WAYS: [&str; 3] = ["password", "token_file", "token_command"];
    let key = |name: &str| format!("{table}.{name}");
    let written: Vec<&str> = WAYS.into_iter().filter(|way| settings.has(&key(way))).collect();
    let user = settings.text(&key("user"));
    match (user, written.as_slice()) {
        (None, []) => None,
        (None, [way, ..]) => {
            problems.push(settings.problem(&key(way), format!("has no account: write `user` in `{table}` too")));
            None
        }
        (Some(_), []) => {
            problems.push(settings.problem(
                &key("user"),
                "has no password: write `password`, or `token_file` or `token_command` for OAuth 2",
            ));
            None
        }
        (Some(_), [_, second, ..]) => {
            problems.push(settings.problem(
                &key(second),
                "must not stand beside another way to log in: write one of `password`, `token_file` and `token_command`",
            ));
            None
        }
        (Some(user), [_]) => {
            let password = settings.secret(&key("password")).cloned().map(Login::Password);
            let file = settings.text(&key("token_file")).map(|path| Login::TokenFile(path.into()));
            let command = settings.words(&key("token_command"));
            if settings.has(&key("token_command")) && command.is_empty() {
                problems.push(settings.problem(
                    &key("token_command"),
                    "must name a program, as `[\"/usr/local/bin/mail-token\", \"support\"]`",
                ));
            }
            let command = (!command.is_empty()).then(|| Login::TokenCommand(command.to_vec()));
            Some((user.to_owned(), password.or(file).or(command)?))
        }
    }
}

/// What never leaves this machine need not be encrypted.
fn is_here(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

fn mail_address(text: &str) -> Result<String, String> {
    let wrong = || format!("`{text}` is not a mail address: write it as `support@shop.example`");
    if !is_address(text) {
        return Err(wrong());
    }
    if address::detail(text).is_some_and(|(_, tag, _)| tag.is_some()) {
        return Err(format!("`{text}` has a tag: write it without what follows `+`"));
    }
    Ok(text.to_owned())
}

/// Whether a text is one plain address that mail can be sent to.
#[must_use]
pub fn is_address(text: &str) -> bool {
    let Some((local, domain)) = address::split(text) else { return false };
    let good = |c: char| !c.is_control() && !c.is_whitespace() && !"<>()[],;:\\\"".contains(c);
    local.len() <= 64
        && text.len() <= 254
        && !local.contains('@')
        && text.chars().all(good)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !domain.starts_with(['.', '-'])
        && !domain.ends_with(['.', '-'])
        && !domain.contains("..")
        && lettre::Address::new(local, domain).is_ok()
}

fn host(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if text.is_empty() || text.len() > 253 || !text.chars().all(good) {
        return Err(format!(
            "`{text}` is not the name of a server: write it as `mail.shop.example`, and the port in `port`"
        ));
    }
    let address = text.parse::<std::net::IpAddr>().is_ok();
    if text.contains(':') && !address {
        return Err(format!("`{text}` holds a port: write it in `port`"));
    }
    Ok(text.to_owned())
}

fn listen(text: &str) -> Result<String, String> {
    match text.parse::<SocketAddr>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!("`{text}` is not an IP address with a port: write `127.0.0.1:2424`")),
    }
}

fn ip(text: &str) -> Result<String, String> {
    match text.parse::<IpAddr>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!("`{text}` is not an IP address: write `192.0.2.7`")),
    }
}

fn word(text: &str) -> Result<String, String> {
    if text.trim().is_empty() || text.chars().any(char::is_control) || text.len() > 320 {
        return Err("is empty, too long, or holds a control character".into());
    }
    Ok(text.trim().to_owned())
}

fn mailbox(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().any(char::is_control) || text.len() > 500 || text.contains(['*', '%']) {
        return Err(format!("`{text}` is not the name of a folder"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
