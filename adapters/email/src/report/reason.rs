//! Why mail came back, from what mail systems write: one table, and one sentence for the person who waits for an answer.

use super::Action;

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    Delivered,
    Delayed,
    UserUnknown,
    HostUnknown,
    MailboxFull,
    Suspended,
    TooBig,
    Spam,
    /// Our server, or its address, is not wanted.
    Blocked,
    /// SPF, DKIM or DMARC of ours failed there.
    Unauthenticated,
    Policy,
    RateLimited,
    /// It was tried for days.
    Expired,
    Network,
    Loop,
    Relaying,
    System,
    Unknown,
}

impl Reason {
    /// What it means, for an agent.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Reason::Delivered => "it arrived",
            Reason::Delayed => "it has not arrived yet; the mail system keeps trying",
            Reason::UserUnknown => "the address does not exist",
            Reason::HostUnknown => "the address's domain does not exist or takes no mail",
            Reason::MailboxFull => "the mailbox is full",
            Reason::Suspended => "the mailbox is disabled",
            Reason::TooBig => "the mail is larger than the receiver takes",
            Reason::Spam => "the receiver took it for spam",
            Reason::Blocked => "the receiver blocks our mail server",
            Reason::Unauthenticated => "the receiver could not confirm that it came from us: check SPF, DKIM and DMARC",
            Reason::Policy => "the receiver's rules forbid it",
            Reason::RateLimited => "the receiver got too many mails at once",
            Reason::Expired => "it could not be delivered for days, and was given up",
            Reason::Network => "the receiver's mail server could not be reached",
            Reason::Loop => "it went round in circles between mail servers",
            Reason::Relaying => "the mail server refuses to pass it on: check the settings of `smtp`",
            Reason::System => "the receiver's mail system has trouble",
            Reason::Unknown => "it could not be delivered",
        }
    }

    /// Whether the address will not work tomorrow either.
    pub(super) fn is_lasting(self, status: &str) -> bool {
        matches!(self, Reason::UserUnknown | Reason::HostUnknown | Reason::Suspended)
            || (self == Reason::Unknown && !status.starts_with("5.7."))
    }
}

/// Words, in lower case, and what they say. The first row counts that matches by more than a piece of another row's words: "domain
/// does not exist" is of the domain, although "does not exist" is usually said of a mailbox.
const WORDS: &[(&[&str], Reason)] = &[
    (
        &[
            "mailbox full",
            "mailbox is full",
            "mail box full",
            "quota exceeded",
            "over quota",
            "overquota",
            "out of quota",
            "disk quota",
            "quota",
            "insufficient storage",
            "exceeded storage",
            "not enough storage",
            "full mailbox",
            "storage allocation",
            "mailbox size limit",
            "inbox is full",
            "inbox full",
        ],
        Reason::MailboxFull,
    ),
    (
        &[
            "message size exceeds",
            "message too big",
            "message too large",
            "too large",
            "message exceeds",
            "size limit",
            "exceeded maximum inbound message size",
            "message file too big",
        ],
        Reason::TooBig,
    ),
    (
        &[
            "user unknown",
            "unknown user",
            "unknown e-mail",
            "unknown email",
            "addressee unknown",
            "user not found",
            "no such user",
            "no such recipient",
            "unknown or illegal user",
            "unknown or illegal alias",
            "recipient unknown",
            "unknown recipient",
            "recipient not found",
            "recipnotfound",
            "recipientnotfound",
            "mailbox not found",
            "mailbox unavailable",
            "no mailbox",
            "no such mailbox",
            "mailbox does not exist",
            "does not exist",
            "doesn't exist",
            "invalid recipient",
            "invalid mailbox",
            "unknown address",
            "address unknown",
            "address rejected",
            "account that you tried to reach",
            "not a valid user",
            "user doesn't have a",
            "recipient address rejected",
            "no such address",
            "unrouteable address",
            "not known here",
            "unknown account",
            "not our customer",
            "no account",
            "undeliverable address",
            "wasn't found at",
            "wasn’t found at",
            "not found in directory",
            "address couldn't be found",
            "badrecip",
            "recipient rejected",
            "isn't known",
            "user does not exist",
            "delivery to the following recipient failed permanently",
        ],
        Reason::UserUnknown,
    ),
    (
        &[
            "host unknown",
            "unknown host",
            "host not found",
            "domain not found",
            "no such domain",
            "domain does not exist",
            "nxdomain",
            "unrouteable mail domain",
            "bad destination system",
            "name or service not known",
            "couldn't find any host",
            "could not find any host",
            "name service error",
            "no mx",
            "illegal host",
            "domain name not found",
            "null mx",
        ],
        Reason::HostUnknown,
    ),
    (
        &[
            "account disabled",
            "account is disabled",
            "account has been disabled",
            "mailbox disabled",
            "mailbox is disabled",
            "mailbox currently suspended",
            "account suspended",
            "suspended",
            "inactive",
            "user disabled",
            "mailbox unavailable or access denied",
            "account expired",
            "is locked",
            "has been closed",
            "disabled recipient",
        ],
        Reason::Suspended,
    ),
    (
        &[
            "spf ",
            "dkim",
            "dmarc",
            "unauthenticated",
            "sender policy framework",
            "not authenticated",
            "authentication checks",
        ],
        Reason::Unauthenticated,
    ),
    (
        &[
            "too many",
            "rate limit",
            "rate that prevents",
            "throttl",
            "slow down",
            "temporarily deferred",
            "try again later",
            "unusual rate",
        ],
        Reason::RateLimited,
    ),
    (
        &[
            "spam",
            "junk mail",
            "bulk mail",
            "content rejected",
            "message content",
            "unsolicited",
            "phish",
            "virus",
            "malware",
        ],
        Reason::Spam,
    ),
    (
        &[
            "blacklist",
            "block list",
            "blocklist",
            "blocked",
            "listed at",
            "listed in",
            "spamhaus",
            "dnsbl",
            "rbl",
            "reputation",
            "banned",
            "poor reputation",
            "bad reverse dns",
            "reverse dns",
            "ptr record",
            "client host rejected",
        ],
        Reason::Blocked,
    ),
    (
        &[
            "relay access denied",
            "relaying denied",
            "unable to relay",
            "relay not permitted",
            "relaying not allowed",
            "not permitted to relay",
            "insecure mail relay",
        ],
        Reason::Relaying,
    ),
    (&["too many hops", "loop detected", "loops back to myself", "mail loop", "hop count exceeded"], Reason::Loop),
    (
        &[
            "cannot send message for",
            "could not be delivered for",
            "delivery time expired",
            "retry time not reached",
            "retry timeout exceeded",
            "has been in the queue",
            "given up",
            "message expired",
            "too old",
            "delivery failed 10 attempts",
        ],
        Reason::Expired,
    ),
    (
        &[
            "connection timed out",
            "connection refused",
            "connection reset",
            "network is unreachable",
            "no route to host",
            "timed out",
            "lost connection",
            "could not connect",
            "connection dropped",
            "conversation with",
        ],
        Reason::Network,
    ),
    (
        &[
            "policy",
            "access denied",
            "not allowed",
            "not authorized",
            "not authorised",
            "not permitted",
            "rejected by",
            "restricted",
            "prohibited",
            "administratively",
            "refused",
        ],
        Reason::Policy,
    ),
];

/// What the words alone say.
pub(super) fn in_words(said: &str) -> Option<Reason> {
    let said = said.to_lowercase();
    let is_piece = |word: &str, reason: Reason| {
        let others = WORDS.iter().filter(|(_, other)| *other != reason).flat_map(|(words, _)| *words);
        others.filter(|w| w.len() > word.len() && w.contains(word)).any(|w| said.contains(w))
    };
    let says = |(words, reason): &&(&[&str], Reason)| words.iter().any(|w| said.contains(w) && !is_piece(w, *reason));
    WORDS.iter().find(says).map(|(_, reason)| *reason)
}

/// Why, from the status, the code and what the words say. A status that says something says it better than words do, but for two that
/// many systems use for everything.
pub(super) fn of(action: Action, status: &str, code: Option<&str>, by_words: Option<Reason>) -> Reason {
    match action {
        Action::Delivered | Action::Relayed => return Reason::Delivered,
        Action::Delayed => return Reason::Delayed,
        Action::Failed => {}
    }
    let detail = status.get(1..).unwrap_or_default();
    let by_status = match detail {
        ".1.1" | ".1.10" | ".1.3" | ".1.6" => Some(Reason::UserUnknown),
        ".1.0" | ".5.0" | ".5.1" if code == Some("550") => Some(by_words.unwrap_or(Reason::UserUnknown)),
        ".1.2" | ".4.4" | ".1.8" | ".4.3" => Some(by_words.unwrap_or(Reason::HostUnknown)),
        ".2.1" => Some(Reason::Suspended),
        ".2.2" => Some(Reason::MailboxFull),
        ".2.3" | ".3.4" => Some(Reason::TooBig),
        ".4.1" | ".4.2" => Some(by_words.unwrap_or(Reason::Network)),
        ".4.6" => Some(Reason::Loop),
        ".4.7" => Some(Reason::Expired),
        ".7.26" | ".7.23" | ".7.25" | ".7.20" | ".7.509" => Some(Reason::Unauthenticated),
        d if d.starts_with(".7.") => Some(by_words.unwrap_or(Reason::Policy)),
        d if d.starts_with(".3.") && by_words.is_none() => Some(Reason::System),
        _ => None,
    };
    let by_code = match code {
        Some("552") => Some(Reason::MailboxFull),
        Some("550" | "551" | "553") => Some(Reason::UserUnknown),
        Some("421" | "451" | "450") => Some(Reason::System),
        _ => None,
    };
    by_status.or(by_words).or(by_code).unwrap_or(Reason::Unknown)
}

const SUBJECTS: &[&str] = &[
    "undeliverable",
    "undelivered",
    "delivery status notification",
    "delivery failure",
    "failure notice",
    "returned mail",
    "mail delivery failed",
    "mail delivery failure",
    "delivery has failed",
    "delivery notification",
    "mail system error",
    "message not delivered",
    "mail not delivered",
    "mail failed, returning",
    "non-delivery",
    "non delivery",
    "could not be delivered",
    "not deliverable",
    "delivery problem",
    "unzustellbar",
    "nicht zugestellt",
    "zustellung fehlgeschlagen",
    "non remis",
    "échec de la remise",
    "non distribué",
    "no se puede entregar",
    "no entregado",
    "error de entrega",
    "não entregue",
    "não foi possível entregar",
    "mancato recapito",
    "recapito non riuscito",
    "onbestelbaar",
    "niet bezorgd",
    "niedostarczon",
    "недоставлен",
    "не доставлено",
    "配信不能",
    "配信不可",
    "无法投递",
    "退信",
    "nondeliverable",
    "undeliverable mail",
    "error sending",
    "warning: message",
    "delayed mail",
    "delivery delayed",
    "delivery incomplete",
    "message delayed",
];

const SENTENCES: &[&str] = &[
    "could not be delivered",
    "couldn't be delivered",
    "wasn't able to deliver",
    "was not able to deliver",
    "unable to deliver",
    "delivery has failed",
    "delivery failed",
    "delivery to the following",
    "following addresses had",
    "following address(es) failed",
    "permanent fatal errors",
    "had delivery problems",
    "this is a permanent error",
    "undeliverable",
    "was undeliverable",
    "failed to deliver",
    "did not reach the following",
    "message was not delivered",
    "mail was not delivered",
    "mail has been returned because",
    "mail could not be",
    "address couldn't be found",
    "recipient(s) cannot be reached",
    "returned to you",
];

/// The mail says that another one did not arrive.
pub(super) fn is_failure_notice(subject: &str, text: &str) -> bool {
    let start: String = text.chars().take(4000).collect::<String>().to_lowercase();
    SUBJECTS.iter().any(|s| subject.contains(s)) || SENTENCES.iter().any(|s| start.contains(s))
}

/// The mail says that it will be tried again.
pub(super) fn is_delay(text: &str) -> bool {
    let says = [
        "will continue to",
        "will be retried",
        "still trying",
        "temporarily delayed",
        "has not been delivered yet",
        "no action is required",
        "you do not need to resend",
        "delivery attempts will continue",
        "do not need to resend",
    ];
    says.iter().any(|s| text.contains(s))
}

/// The mail says that somebody is away.
pub(super) fn is_absence(subject: &str) -> bool {
    crate::automatic::is_absence(subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_words_of_the_table_say_what_their_row_says() {
        for (words, reason) in WORDS {
            for word in *words {
                assert_eq!(in_words(word), Some(*reason), "{word}");
            }
        }
    }

    #[test]
    fn the_longer_words_are_meant() {
        let cases = [
            ("550 Domain does not exist", Reason::HostUnknown),
            ("DNS Error: Domain name not found", Reason::HostUnknown),
            ("550 Mailbox unavailable or access denied", Reason::Suspended),
            ("554 5.4.6 Too many hops, hop count exceeded 25", Reason::Loop),
            ("554 Service unavailable; blocked using zen.spamhaus.org", Reason::Blocked),
            // Each says something of its own: the earlier row counts.
            ("Delivery to the following recipient failed permanently: the mailbox is full", Reason::MailboxFull),
            ("User unknown; its domain does not exist", Reason::UserUnknown),
        ];
        for (said, reason) in cases {
            assert_eq!(in_words(said), Some(reason), "{said}");
        }
    }
}
