//! What a mail server's answer to a submission means (RFC 5321, RFC 3463): one table, by where in the dialogue it came.

use switchboard_adapter_sdk::{AttemptOutcome, classify::Class};
use switchboard_envelope::Fault;

/// How far the dialogue had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Connecting, greeting, TLS.
    Connect,
    Authenticate,
    /// MAIL FROM
    Sender,
    /// RCPT TO
    Recipient,
    /// DATA, up to the permission to send it.
    Data,
    /// The mail is on its way, or its last line is.
    Sent,
}

/// A reply of the server: its code, its enhanced status when it has one, and its words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    pub code: u16,
    pub status: Option<String>,
    pub text: String,
}

impl Reply {
    /// Reads the code and the lines of a reply, without the codes in front of them.
    #[must_use]
    pub fn read(code: u16, lines: &[&str]) -> Reply {
        let status =
            lines.first().and_then(|l| l.split_whitespace().next()).filter(|word| is_status(word)).map(str::to_owned);
        let words = lines.iter().map(|line| {
            let line = line.trim();
            line.split_once(' ').filter(|(word, _)| is_status(word)).map_or(line, |(_, rest)| rest).trim()
        });
        let text: String = words.collect::<Vec<_>>().join(" ").chars().filter(|c| !c.is_control()).take(300).collect();
        Reply { code, status, text }
    }
}

/// `5.1.1`
fn is_status(word: &str) -> bool {
    let mut parts = word.split('.');
    let class = parts.next().is_some_and(|c| matches!(c, "2" | "4" | "5"));
    let number =
        |part: Option<&str>| part.is_some_and(|p| (1..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()));
    class && number(parts.next()) && number(parts.next()) && parts.next().is_none()
}

/// What an attempt came to when the server answered.
#[must_use]
pub fn answered(stage: Stage, reply: &Reply) -> AttemptOutcome {
    let (class, _) = class(stage, reply);
    let code = reply.status.clone().unwrap_or_else(|| reply.code.to_string());
    let detail = refusal(stage, reply);
    let mut outcome = class.attempt(Some(&code).filter(|_| class != Class::Ok).map(String::as_str), detail);
    if class == Class::Ok {
        outcome.detail = None;
    }
    outcome.fault = is_recipients(stage, reply, class).then_some(Fault::Recipient);
    outcome
}

/// A reply that is no yes, for people.
pub(crate) fn refusal(stage: Stage, reply: &Reply) -> String {
    let (_, sentence) = class(stage, reply);
    let mut detail = format!("the mail server answered {}: {sentence}", reply.code);
    if !reply.text.is_empty() {
        detail.push_str(&format!(" ({})", switchboard_adapter_sdk::redact::text(&reply.text, &[])));
    }
    detail
}

/// A server that took the sender and wants only this recipient to wait works for all others. It speaks of itself where its status is
/// of the system (RFC 3463: X.3.X), and when it hangs up.
fn is_recipients(stage: Stage, reply: &Reply, class: Class) -> bool {
    let system = reply.status.as_deref().is_some_and(|status| status.starts_with("4.3."));
    stage == Stage::Recipient && class == Class::Retry && matches!(reply.code, 400..=420 | 422..=499) && !system
}

/// What an attempt came to when the connection ended, or nothing came in time.
#[must_use]
pub fn lost(stage: Stage, why: &str) -> AttemptOutcome {
    let class = if stage == Stage::Sent { Class::Ambiguous } else { Class::Retry };
    let sentence = match stage {
        Stage::Connect => "the mail server could not be reached",
        Stage::Sent => "the connection ended before the mail server confirmed the mail",
        _ => "the connection ended before the mail was sent",
    };
    let outcome = class.attempt(None, format!("{sentence}: {why}"));
    AttemptOutcome { fault: (stage == Stage::Connect).then_some(Fault::Unreachable), ..outcome }
}

fn class(stage: Stage, reply: &Reply) -> (Class, &'static str) {
    let status = reply.status.as_deref().unwrap_or_default();
    match reply.code {
        200..300 if stage == Stage::Sent => (Class::Ok, "it took the mail"),
        // Yes to a step is no word about the mail.
        200..300 => (Class::Retry, "it did not get to the mail"),
        // Going on where an end was expected, and the other way round.
        300..400 => {
            (if stage == Stage::Sent { Class::Ambiguous } else { Class::Retry }, "it did not follow the protocol")
        }
        400..500 => temporary(stage, reply.code, status),
        500..600 => permanent(stage, reply.code, status, &reply.text.to_lowercase()),
        _ => (if stage == Stage::Sent { Class::Ambiguous } else { Class::Retry }, "it did not follow the protocol"),
    }
}

/// Nothing was taken; it is tried again for days.
fn temporary(stage: Stage, code: u16, status: &str) -> (Class, &'static str) {
    if stage == Stage::Authenticate && code == 454 {
        return (Class::Retry, "it cannot check our password now");
    }
    match status.get(1..).unwrap_or_default() {
        ".7.0" | ".7.1" if code == 450 || code == 451 => (Class::Retry, "it wants us to come again later"),
        ".2.2" => (Class::Retry, "the mailbox is full"),
        ".4.5" | ".3.1" | ".3.2" => (Class::RateLimit, "it has no room now"),
        d if d.starts_with(".7.") => (Class::RateLimit, "it slows us down"),
        _ if code == 421 => (Class::Retry, "it closed the connection"),
        _ if code == 452 => (Class::RateLimit, "it has no room now"),
        _ => (Class::Retry, "it cannot take the mail now"),
    }
}

/// What servers say of us, often only in answer to the recipient (`smtpd_delay_reject` of Postfix): no mail would get through.
const OF_US: &[&str] = &[
    "sender address rejected",
    "sender rejected",
    "sender not owned",
    "not owned by user",
    "not allowed to send as",
    "relay access denied",
    "relaying denied",
    "relay not permitted",
    "not permitted to relay",
    "unable to relay",
];

fn permanent(stage: Stage, code: u16, status: &str, words: &str) -> (Class, &'static str) {
    let detail = status.get(1..).unwrap_or_default();
    let of_us = OF_US.iter().any(|w| words.contains(w)) || (code == 553 && detail == ".7.1");
    match (stage, code, detail) {
        (Stage::Connect, 554 | 521, _) => (Class::Config, "it takes no mail from us: check `smtp.host`"),
        (Stage::Connect, ..) => (Class::Config, "it refuses the session: check `smtp.host` and `smtp.tls`"),
        (_, 530, _) => {
            (Class::Config, "it wants us to sign in, or a secure connection first: check `smtp.user` and `smtp.tls`")
        }
        (_, 534 | 535 | 538, _) => {
            (Class::Config, "it refuses our user or password: check `smtp.user` and `smtp.password`")
        }
        (Stage::Authenticate, ..) => {
            (Class::Config, "it refuses how we sign in: check `smtp.user` and `smtp.password`")
        }
        (_, _, ".7.26" | ".7.23" | ".7.25" | ".7.60" | ".7.9") => {
            (Class::Config, "it does not believe that the mail is ours: check SPF, DKIM and DMARC of the domain")
        }
        _ if of_us && words.contains("rela") => {
            (Class::Config, "it passes nothing on for us: check `smtp.user`, and that it may send from `address`")
        }
        _ if of_us => (Class::Config, "we may not send from this address: check `address`"),
        (Stage::Sender, _, ".1.7" | ".1.8" | ".7.1") | (Stage::Sender, 550 | 551 | 553, _) => {
            (Class::Config, "we may not send from this address: check `address`")
        }
        (_, _, ".1.1" | ".1.2" | ".1.3" | ".1.6" | ".1.10") => {
            (Class::PermanentRecipient, "the address does not exist")
        }
        (_, _, ".2.1") => (Class::PermanentRecipient, "the mailbox is disabled"),
        (_, _, ".2.2") => (Class::PermanentRecipient, "the mailbox is full"),
        (_, _, ".3.4" | ".2.3") | (_, 552, _) => (Class::PermanentMessage, "the mail is too large"),
        (Stage::Recipient, 550 | 551 | 553, d) if !d.starts_with(".7.") => {
            (Class::PermanentRecipient, "the address does not exist")
        }
        (_, _, d) if d.starts_with(".7.") => (Class::PermanentMessage, "its rules forbid the mail"),
        (_, 555, _) => (Class::PermanentRecipient, "it does not understand the address"),
        _ => (Class::PermanentMessage, "it refuses the mail"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use switchboard_envelope::Outcome;

    const STAGES: [Stage; 6] =
        [Stage::Connect, Stage::Authenticate, Stage::Sender, Stage::Recipient, Stage::Data, Stage::Sent];

    #[test]
    fn each_answer_means_what_the_table_says() {
        for (stage, code, text, outcome, refused) in [
            (Stage::Sent, 250, "2.0.0 Ok: queued as 4F2", Outcome::Accepted, false),
            (Stage::Sent, 451, "4.3.0 try again", Outcome::NotSent, false),
            (Stage::Recipient, 450, "4.2.0 greylisted", Outcome::NotSent, false),
            (Stage::Recipient, 550, "5.1.1 no such user", Outcome::Rejected, false),
            (Stage::Recipient, 550, "no such user", Outcome::Rejected, false),
            (Stage::Recipient, 554, "5.7.1 <ann@x.org>: Relay access denied", Outcome::NotSent, true),
            (
                Stage::Recipient,
                553,
                "5.7.1 <us@shop.example>: Sender address rejected: not owned by user support",
                Outcome::NotSent,
                true,
            ),
            (Stage::Sent, 553, "5.7.1 not yours", Outcome::NotSent, true),
            (
                Stage::Data,
                550,
                "5.1.0 <us@shop.example>: Sender address rejected: no such domain",
                Outcome::NotSent,
                true,
            ),
            (Stage::Recipient, 550, "5.1.1 Recipient address rejected: user unknown", Outcome::Rejected, false),
            (Stage::Recipient, 554, "5.7.1 policy", Outcome::Rejected, false),
            (Stage::Sent, 552, "5.3.4 too big", Outcome::Rejected, false),
            (Stage::Sent, 554, "5.7.1 spam", Outcome::Rejected, false),
            (Stage::Sent, 550, "5.7.26 unauthenticated", Outcome::NotSent, true),
            (Stage::Sender, 553, "5.7.1 sender not owned", Outcome::NotSent, true),
            (Stage::Sender, 530, "5.7.0 must issue STARTTLS", Outcome::NotSent, true),
            (Stage::Authenticate, 535, "5.7.8 bad credentials", Outcome::NotSent, true),
            (Stage::Authenticate, 454, "4.7.0 later", Outcome::NotSent, false),
            (Stage::Connect, 554, "no service", Outcome::NotSent, true),
            (Stage::Connect, 421, "busy", Outcome::NotSent, false),
            (Stage::Sent, 354, "go on", Outcome::Unknown, false),
            (Stage::Sent, 0, "", Outcome::Unknown, false),
            (Stage::Data, 354, "go on", Outcome::NotSent, false),
            (Stage::Recipient, 250, "2.1.5 Ok", Outcome::NotSent, false),
        ] {
            let found = answered(stage, &Reply::read(code, &[text]));
            assert_eq!(
                (found.outcome, found.channel_refused),
                (outcome, refused),
                "{stage:?} {code} {text}: {:?}",
                found.detail
            );
        }
    }

    #[test]
    fn a_lost_connection_is_unknown_only_when_the_mail_may_be_there() {
        for stage in STAGES {
            let outcome = if stage == Stage::Sent { Outcome::Unknown } else { Outcome::NotSent };
            assert_eq!(lost(stage, "reset").outcome, outcome, "{stage:?}");
        }
    }

    #[test]
    fn the_words_of_a_reply_are_for_people() {
        let reply = Reply::read(550, &["5.1.1 <ann@x.org>: no", "5.1.1 such user\u{7}"]);
        assert_eq!((reply.status.as_deref(), reply.text.as_str()), (Some("5.1.1"), "<ann@x.org>: no such user"));
        let found = answered(Stage::Recipient, &reply);
        assert_eq!(found.code.as_deref(), Some("5.1.1"));
        assert!(found.detail.unwrap().starts_with("the mail server answered 550: the address does not exist"));
        assert_eq!(answered(Stage::Sent, &Reply::read(250, &["2.0.0 Ok"])).detail, None);
    }

    proptest! {
        #[test]
        fn nothing_but_a_2xx_is_sent_and_no_answer_before_the_mail_is_unknown(code in 0u16..1000, text in "\\PC{0,40}", at in 0usize..6) {
            let stage = STAGES[at];
            let found = answered(stage, &Reply::read(code, &[&text]));
            prop_assert_eq!(found.outcome == Outcome::Accepted, (200..300).contains(&code) && stage == Stage::Sent);
            prop_assert!(found.outcome != Outcome::Unknown || stage == Stage::Sent);
        }
    }
}
