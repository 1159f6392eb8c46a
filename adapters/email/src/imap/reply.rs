//! What a response says, as far as a mailbox is read.

use imap_proto::types::{AttributeValue, Capability, MailboxDatum, Response, ResponseCode, Status};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The most words of the server that are kept.
const MAX_WORDS: usize = 300;

/// How a command ended, or what the server says beside one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Ok,
    No,
    Bad,
    Bye,
    /// Who connects is logged in already.
    Preauth,
}

/// A fact beside the words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Code {
    Capabilities(Vec<String>),
    UidValidity(u32),
    UidNext(u32),
    /// The flags that can be set for good; `\*` is any keyword.
    PermanentFlags(Vec<String>),
    ReadOnly,
    TryCreate,
}

/// What is told of one mail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    pub uid: Option<u32>,
    pub size: Option<u32>,
    pub flags: Option<Vec<String>>,
    /// `INTERNALDATE` as it is written.
    pub date: Option<String>,
    /// The mail, or the part of it that was asked for.
    pub body: Option<Vec<u8>>,
    pub header: Option<Vec<u8>>,
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The end of the command with this tag.
    Done {
        tag: String,
        said: Said,
        code: Option<Code>,
        words: String,
    },
    /// The server waits for more of the command.
    Go(String),
    /// Said without being asked, or in the middle of an answer.
    Told {
        said: Said,
        code: Option<Code>,
        words: String,
    },
    Capabilities(Vec<String>),
    /// So many mails are in the folder.
    Exists(u32),
    /// One mail less is in the folder.
    Expunged,
    /// What a search found.
    Found(Vec<u32>),
    Fetched(Fetched),
    /// About a mail, and not understood; with its UID if that could be found.
    Unreadable {
        uid: Option<u32>,
    },
    Other,
}

impl Reply {
    /// Reads one whole response. Total: what is not understood is [`Reply::Other`], or [`Reply::Unreadable`] about a mail.
    #[must_use]
    pub fn read(response: &[u8]) -> Reply {
        // The parser is somebody else's, and the server anybody.
        let read = |response: &[u8]| {
            let read = catch_unwind(AssertUnwindSafe(|| match Response::from_bytes(response) {
                Ok((_, response)) => Some(Reply::of(response)),
                Err(_) => None,
            }));
            read.ok().flatten()
        };
        // Keywords of people who do not write English are the usual reason.
        let or_in_ascii = || {
            in_ascii(response).and_then(|response| match read(&response)? {
                Reply::Fetched(fetched) => Some(Reply::Fetched(fetched)),
                _ => None,
            })
        };
        read(response).or_else(or_in_ascii).unwrap_or_else(|| plain(response))
    }

    fn of(response: Response<'_>) -> Reply {
        match response {
            Response::Capabilities(all) => Reply::Capabilities(all.iter().map(capability).collect()),
            Response::Continue { information, .. } => Reply::Go(words(information.as_deref())),
            Response::Done { tag, status, code, information } => Reply::Done {
                tag: tag.0,
                said: said(&status),
                code: code.and_then(code_of),
                words: words(information.as_deref()),
            },
            Response::Data { status, code, information } => {
                Reply::Told { said: said(&status), code: code.and_then(code_of), words: words(information.as_deref()) }
            }
            Response::MailboxData(MailboxDatum::Exists(count)) => Reply::Exists(count),
            Response::MailboxData(MailboxDatum::Search(found)) => Reply::Found(found),
            Response::Expunge(_) => Reply::Expunged,
            Response::Fetch(_, values) => Reply::Fetched(fetched(values)),
            _ => Reply::Other,
        }
    }
}

fn fetched(values: Vec<AttributeValue<'_>>) -> Fetched {
    let mut found = Fetched::default();
    for value in values {
        match value {
            AttributeValue::Uid(uid) => found.uid = Some(uid),
            AttributeValue::Rfc822Size(size) => found.size = Some(size),
            AttributeValue::Flags(flags) => found.flags = Some(flags.iter().map(ToString::to_string).collect()),
            AttributeValue::InternalDate(date) => found.date = Some(date.into_owned()),
            // A mail without a byte is NIL to some.
            AttributeValue::BodySection { section: None, data, .. } => {
                found.body = Some(data.map(std::borrow::Cow::into_owned).unwrap_or_default());
            }
            AttributeValue::BodySection { section: Some(_), data, .. } => {
                found.header = Some(data.map(std::borrow::Cow::into_owned).unwrap_or_default());
            }
            _ => {}
        }
    }
    found
}

fn said(status: &Status) -> Said {
    match status {
        Status::Ok => Said::Ok,
        Status::No => Said::No,
        Status::Bad => Said::Bad,
        Status::Bye => Said::Bye,
        Status::PreAuth => Said::Preauth,
    }
}

fn code_of(code: ResponseCode<'_>) -> Option<Code> {
    Some(match code {
        ResponseCode::Capabilities(all) => Code::Capabilities(all.iter().map(capability).collect()),
        ResponseCode::UidValidity(n) => Code::UidValidity(n),
        ResponseCode::UidNext(n) => Code::UidNext(n),
        ResponseCode::PermanentFlags(flags) => Code::PermanentFlags(flags.iter().map(ToString::to_string).collect()),
        ResponseCode::ReadOnly => Code::ReadOnly,
        ResponseCode::TryCreate => Code::TryCreate,
        _ => return None,
    })
}

fn capability(capability: &Capability<'_>) -> String {
    match capability {
        Capability::Imap4rev1 => "IMAP4REV1".into(),
        Capability::Auth(how) => format!("AUTH={}", how.to_uppercase()),
        Capability::Atom(atom) => atom.to_uppercase(),
    }
}

/// Words of the server, for the log: one line of bounded length.
fn words(text: Option<&str>) -> String {
    text.unwrap_or_default().chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect()
}

/// What can be said of a response that the parser did not understand: its words, in which servers are free, or that it is about
/// a mail.
fn plain(response: &[u8]) -> Reply {
    let first = response.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(first);
    let mut parts = line.trim_end().splitn(3, ' ');
    let (tag, status, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next());
    let said = match status.to_ascii_uppercase().as_str() {
        "OK" => Some(Said::Ok),
        "NO" => Some(Said::No),
        "BAD" => Some(Said::Bad),
        "BYE" => Some(Said::Bye),
        "PREAUTH" => Some(Said::Preauth),
        _ => None,
    };
    match (tag, said, rest) {
        ("+", ..) => Reply::Go(words(Some(line.get(1..).unwrap_or_default().trim()))),
        ("*", Some(said), rest) => Reply::Told { said, code: code_before(first), words: words(rest) },
        ("*", None, Some(rest)) if rest.to_ascii_uppercase().starts_with("FETCH") => {
            Reply::Unreadable { uid: uid_of(response) }
        }
        ("*", ..) | (_, None, _) => Reply::Other,
        (tag, Some(said), rest) => {
            Reply::Done { tag: tag.to_owned(), said, code: code_before(first), words: words(rest) }
        }
    }
}

/// The fact of a status whose words are not plain ASCII, as those that name a folder of people who do not write English.
fn code_before(line: &[u8]) -> Option<Code> {
    let mut plain: Vec<u8> = line.iter().map(|b| if b.is_ascii() { *b } else { b'?' }).collect();
    plain.push(b'\n');
    let read = catch_unwind(AssertUnwindSafe(|| match Response::from_bytes(&plain) {
        Ok((_, Response::Done { code, .. } | Response::Data { code, .. })) => code.and_then(code_of),
        _ => None,
    }));
    read.ok().flatten()
}

/// The UID that is told outside of literals, which may say anything.
fn uid_of(response: &[u8]) -> Option<u32> {
    outside_literals(response).find_map(|line| {
        let line = String::from_utf8_lossy(response.get(line)?).into_owned();
        let mut words = line.split([' ', '(', ')', '\r', '\n']).skip_while(|word| !word.eq_ignore_ascii_case("UID"));
        words.nth(1)?.parse().ok()
    })
}

/// The same response in ASCII, as long as before and with its literals as they were; `None` where nothing would change.
fn in_ascii(response: &[u8]) -> Option<Vec<u8>> {
    let mut plain = response.to_vec();
    let mut changed = false;
    for line in outside_literals(response) {
        for byte in plain.get_mut(line).into_iter().flatten().filter(|byte| !byte.is_ascii()) {
            (*byte, changed) = (b'?', true);
        }
    }
    changed.then_some(plain)
}

/// The lines of a response between its literals.
fn outside_literals(response: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut next = 0;
    std::iter::from_fn(move || {
        let rest = response.get(next..).filter(|rest| !rest.is_empty())?;
        let end = rest.iter().position(|b| *b == b'\n').map_or(response.len(), |at| next + at + 1);
        let line = next..end;
        let skipped = super::frame::literal(response.get(line.clone())?).and_then(|n| usize::try_from(n).ok());
        next = end.saturating_add(skipped.unwrap_or(0));
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(said: Said, code: Option<Code>, words: &str) -> Reply {
        Reply::Told { said, code, words: words.into() }
    }

    #[test]
    fn what_servers_say_is_understood() {
        for (response, wanted) in [
            ("* OK [UIDVALIDITY 7] there\r\n", told(Said::Ok, Some(Code::UidValidity(7)), "there")),
            ("* OK [UIDNEXT 4294967295] x\r\n", told(Said::Ok, Some(Code::UidNext(u32::MAX)), "x")),
            (
                "* OK [PERMANENTFLAGS (\\Seen $Mine \\*)] x\r\n",
                told(Said::Ok, Some(Code::PermanentFlags(vec!["\\Seen".into(), "$Mine".into(), "\\*".into()])), "x"),
            ),
            ("* BYE [UNAVAILABLE] later\r\n", told(Said::Bye, None, "[UNAVAILABLE] later")),
            ("* PREAUTH hello\r\n", told(Said::Preauth, None, "hello")),
            (
                "* CAPABILITY IMAP4rev1 AUTH=plain idle\r\n",
                Reply::Capabilities(vec!["IMAP4REV1".into(), "AUTH=PLAIN".into(), "IDLE".into()]),
            ),
            ("* 23 EXISTS\r\n", Reply::Exists(23)),
            ("* 23 EXPUNGE\r\n", Reply::Expunged),
            ("* SEARCH 2 9\r\n", Reply::Found(vec![2, 9])),
            ("* SEARCH\r\n", Reply::Found(vec![])),
            ("+ idling\r\n", Reply::Go("idling".into())),
            ("+ \r\n", Reply::Go(String::new())),
            (
                "a7 NO [TRYCREATE] no such folder\r\n",
                Reply::Done {
                    tag: "a7".into(),
                    said: Said::No,
                    code: Some(Code::TryCreate),
                    words: "no such folder".into(),
                },
            ),
            (
                "a7 NO [AUTHENTICATIONFAILED] wrong\r\n",
                Reply::Done {
                    tag: "a7".into(),
                    said: Said::No,
                    code: None,
                    words: "[AUTHENTICATIONFAILED] wrong".into(),
                },
            ),
            (
                "a7 NO [TRYCREATE] es gibt kein für\r\n",
                Reply::Done {
                    tag: "a7".into(),
                    said: Said::No,
                    code: Some(Code::TryCreate),
                    words: "[TRYCREATE] es gibt kein für".into(),
                },
            ),
            // A parser that cuts a byte off a letter of two must not take the session with it.
            ("* OK [ALERT]é\r\n", told(Said::Ok, None, "[ALERT]é")),
        ] {
            assert_eq!(Reply::read(response.as_bytes()), wanted, "{response}");
        }
    }

    #[test]
    fn a_mail_comes_out_as_it_is() {
        let wanted = Fetched {
            uid: Some(9),
            size: Some(5),
            flags: Some(vec!["\\Seen".into(), "$Switchboard".into()]),
            date: Some("22-Nov-2026 10:00:00 +0000".into()),
            body: Some(b"a\xff\r\nb".to_vec()),
            header: Some(b"H: x".to_vec()),
        };
        let response = b"* 3 FETCH (UID 9 RFC822.SIZE 5 FLAGS (\\Seen $Switchboard) INTERNALDATE \"22-Nov-2026 10:00:00 +0000\" BODY[]<0> {5}\r\na\xff\r\nb BODY[HEADER] {4}\r\nH: x)\r\n";
        assert_eq!(Reply::read(response), Reply::Fetched(wanted));
        let empty = Reply::read(b"* 3 FETCH (UID 9 BODY[] NIL)\r\n");
        assert_eq!(empty, Reply::Fetched(Fetched { uid: Some(9), body: Some(vec![]), ..Fetched::default() }));
    }

    #[test]
    fn an_answer_about_a_mail_that_is_not_understood_names_it_all_the_same() {
        assert_eq!(Reply::read(b"* 3 FETCH (SAVEDATE x UID 12 FLAGS ())\r\n"), Reply::Unreadable { uid: Some(12) });
        assert_eq!(Reply::read(b"* 3 FETCH (FUTURE 1)\r\n"), Reply::Unreadable { uid: None });
        assert_eq!(Reply::read(b"* XLIST whatever\r\n"), Reply::Other);
        // What a mail says of itself is nobody's word about it, and what is told may come after it.
        let after = b"* 3 FETCH (FUTURE 1 BODY[]<0> {8}\r\n UID 7 \r\n UID 12)\r\n";
        assert_eq!(Reply::read(after), Reply::Unreadable { uid: Some(12) });
        let without = b"* 3 FETCH (FUTURE 1 BODY[]<0> {8}\r\n UID 7 \r\n)\r\n";
        assert_eq!(Reply::read(without), Reply::Unreadable { uid: None });
    }

    #[test]
    fn a_keyword_that_is_not_ascii_hides_no_mail() {
        let response = "* 3 FETCH (FLAGS (\\Seen für-später $Switchboard) UID 9 BODY[]<0> {6}\r\nzwölf)\r\n";
        let Reply::Fetched(found) = Reply::read(response.as_bytes()) else { panic!("it is about a mail") };
        assert_eq!((found.uid, found.body.as_deref()), (Some(9), Some("zwölf".as_bytes())));
        assert!(found.flags.is_some_and(|flags| flags.iter().any(|f| f == "$Switchboard")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Reply::read(&bytes);
        }

        #[test]
        fn any_line_is_an_answer(line in "(\\* |a1 |\\+ )?(OK|NO|[0-9]{1,12} FETCH \\(|CAPABILITY)?[ \\[\\](){}\"\\\\é0-9A-Z]{0,60}\r\n") {
            let _ = Reply::read(line.as_bytes());
        }
    }
}
