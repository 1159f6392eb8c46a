//! Who proved to be who: `Authentication-Results` (RFC 8601), of the servers that the operator trusts only.

use crate::{header::Headers, words};

/// What the trusted server found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authentication {
    pub dmarc: Option<String>,
    pub dkim: Option<String>,
    pub spf: Option<String>,
    /// The author's domain proved itself, or was disproved; `None` where nobody whom we trust can say.
    pub verdict: Option<bool>,
}

/// Servers that write their results below the line of their own receipt, on every mail that comes from outside: the first ones there
/// are theirs, and what was forged stands below those.
const BELOW: &[&str] = &["mx.google.com"];

/// What Microsoft 365 is called among the trusted: its results have no name. They stand just above the line with which one of its hosts
/// below this name took the mail from outside.
pub const MICROSOFT: &str = "mail.protection.outlook.com";

/// Reads what servers named in `trusted` said about a mail from this domain. `boundary` are those that take our mail from outside, where
/// they write another name into `Received`.
#[must_use]
pub fn read(headers: &Headers, trusted: &[String], boundary: &[String], from_domain: Option<&str>) -> Authentication {
    let mut results = vec![];
    // Results without a name, before it is known who wrote the line below them.
    let mut nameless = vec![];
    let mut found = false;
    let mut below = None;
    let is_one = |of: &[String], server: &str| of.iter().any(|t| t.eq_ignore_ascii_case(server));
    let microsoft = is_one(trusted, MICROSOFT);
    for (name, value) in headers.iter() {
        match name {
            "authentication-results" => {
                let text = String::from_utf8_lossy(&words::unfold(value)).to_ascii_lowercase();
                let mut parts = parts(&text);
                let first = parts.first().and_then(|part| part.first()).cloned().unwrap_or_default();
                if first.name.is_some() {
                    if below.is_some() {
                        break;
                    }
                    nameless.extend(parts.into_iter().filter_map(Result::read).filter(|_| microsoft));
                    continue;
                }
                match below {
                    Some(by) if first.value != by => break,
                    None if !is_one(trusted, &first.value) => continue,
                    _ => {}
                }
                found = true;
                results.extend(parts.drain(1..).filter_map(Result::read));
                // Such a server writes one; another of its name came with the mail, also where its own line was not known for it.
                if below.is_some() || BELOW.contains(&first.value.as_str()) {
                    break;
                }
            }
            // Below the line that the trusted server wrote when it took the mail, everything else came with the mail.
            "received" if found || below.is_some() => break,
            "received" => {
                let by = by(value);
                if microsoft && by.iter().any(|host| host.ends_with(MICROSOFT)) {
                    found = !nameless.is_empty();
                    results.append(&mut nameless);
                    break;
                }
                nameless.clear();
                // Below the line of one that writes there its own results come first.
                let ends = |host: &String| {
                    is_one(boundary, host) && !(BELOW.contains(&host.as_str()) && is_one(trusted, host))
                };
                if by.iter().any(ends) {
                    break;
                }
                if let Some(by) = by.iter().find(|host| is_one(trusted, host)) {
                    match BELOW.iter().find(|server| **server == by.as_str()) {
                        Some(server) => below = Some(*server),
                        None => break,
                    }
                }
            }
            _ => {}
        }
    }
    let method = |name: &str| results.iter().filter(move |r| r.method == name).collect::<Vec<_>>();
    let (dkim, spf) = (method("dkim"), method("spf"));
    let dmarc = dmarc(&results, from_domain);
    // A mail may be signed by several domains; the author's own counts.
    let best = |all: &[&Result]| {
        let aligned = all.iter().find(|r| r.result == "pass" && r.speaks_for(from_domain));
        aligned.or(all.first()).map(|r| r.result.clone())
    };
    let proved = |all: &[&Result]| all.iter().any(|r| r.result == "pass" && r.speaks_for(from_domain));
    let failed = |all: &[&Result]| all.iter().any(|r| matches!(r.result.as_str(), "fail" | "softfail" | "hardfail"));
    let verdict = match dmarc {
        Some("pass") => Some(true),
        Some("fail") => Some(false),
        _ if proved(&dkim) || proved(&spf) => Some(true),
        _ if failed(&dkim) || failed(&spf) => Some(false),
        _ => None,
    };
    Authentication {
        dmarc: dmarc.map(str::to_owned),
        dkim: best(&dkim),
        spf: best(&spf),
        verdict: verdict.filter(|_| found),
    }
}

/// The `by` of a Received line, in lower case. Who hands the mail over chooses words before it, and one of them may be `by`.
fn by(value: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(value).to_ascii_lowercase();
    let words: Vec<&str> = text.split_whitespace().collect();
    let hosts = words.iter().zip(words.iter().skip(1)).filter(|(word, _)| **word == "by");
    hosts.map(|(_, host)| host.trim_end_matches([';', '.']).to_owned()).collect()
}

/// What was said about the author's domain by DMARC. Of several results the worst one: none of them was asked for twice by anybody
/// who means well.
fn dmarc<'a>(results: &'a [Result], from_domain: Option<&str>) -> Option<&'a str> {
    let about = |r: &&Result| {
        let mut named = r.domains.iter().filter(|(name, _)| name == "header.from").peekable();
        named.peek().is_none() || named.all(|(_, d)| from_domain.is_some_and(|from| from.eq_ignore_ascii_case(d)))
    };
    let said = results.iter().filter(|r| r.method == "dmarc").filter(about).map(|r| r.result.as_str());
    said.max_by_key(|result| match *result {
        "fail" => 2,
        "pass" => 0,
        _ => 1,
    })
}

/// `name=value`, or a word alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Word {
    name: Option<String>,
    value: String,
}

/// What stands between the semicolons of a value, without its comments. What is in quotes is part of a word, whatever it is: the
/// sender chooses it. Nothing is said by a value in which a quote or a comment has no end.
fn parts(text: &str) -> Vec<Vec<Word>> {
    let mut found: Vec<Vec<Word>> = vec![vec![]];
    let mut word: Option<Word> = None;
    let (mut quoted, mut depth, mut escaped) = (false, 0usize, false);
    let end_word = |word: &mut Option<Word>, part: &mut Vec<Word>| part.extend(word.take());
    for c in text.chars() {
        match c {
            _ if escaped => {
                escaped = false;
                if quoted {
                    word.get_or_insert_default().value.push(c);
                }
            }
            '\\' if quoted || depth > 0 => escaped = true,
            '"' if depth == 0 => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            c if quoted => word.get_or_insert_default().value.push(c),
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            _ if depth > 0 => {}
            ';' => {
                if let Some(part) = found.last_mut() {
                    end_word(&mut word, part);
                }
                found.push(vec![]);
            }
            '=' if word.as_ref().is_none_or(|w| w.name.is_none()) => {
                // Blanks may stand before the `=`.
                let before = word.take().or_else(|| found.last_mut()?.pop_if(|w| w.name.is_none()));
                word = Some(Word { name: before.map(|w| w.value), value: String::new() });
            }
            c if c.is_whitespace() => {
                // Blanks behind the `=` come before the value.
                let waits = word.as_ref().is_some_and(|w| w.name.is_some() && w.value.is_empty());
                if let Some(part) = found.last_mut().filter(|_| !waits) {
                    end_word(&mut word, part);
                }
            }
            c => word.get_or_insert_default().value.push(c),
        }
    }
    if quoted || depth > 0 {
        found.truncate(1);
    }
    if let Some(part) = found.last_mut() {
        end_word(&mut word, part);
    }
    found
}

struct Result {
    method: String,
    result: String,
    /// The domains that the result is about, and what each of them is.
    domains: Vec<(String, String)>,
}

impl Result {
    fn read(part: Vec<Word>) -> Option<Result> {
        let mut words = part.into_iter();
        let first = words.next()?;
        let method = first.name?;
        let method = method.split('/').next().unwrap_or(&method).to_owned();
        let domains = words.filter_map(|word| {
            let name = word.name?;
            let about =
                matches!(name.as_str(), "header.d" | "header.i" | "smtp.mailfrom" | "smtp.mfrom" | "header.from");
            let domain = word.value.rsplit('@').next().unwrap_or(&word.value).trim_end_matches('.');
            about.then(|| (name, crate::address::ascii_domain(domain)))
        });
        Some(Result { method, result: first.value, domains: domains.collect() })
    }

    /// The domain is the author's, or above or below it.
    fn speaks_for(&self, from: Option<&str>) -> bool {
        let Some(from) = from.map(str::to_ascii_lowercase) else { return false };
        self.domains.iter().any(|(_, d)| {
            let dots = d.matches('.').count();
            *d == from
                || (dots >= 1 && from.ends_with(&format!(".{d}")))
                || (from.contains('.') && d.ends_with(&format!(".{from}")))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(mail: &str) -> Option<bool> {
        let (headers, _) = Headers::read(mail.as_bytes());
        read(&headers, &["mx.us.example".into()], &[], Some("shop.example")).verdict
    }

    #[test]
    fn only_the_trusted_server_is_believed_and_only_above_its_own_line() {
        for (mail, said) in [
            ("Authentication-Results: mx.us.example; dmarc=pass header.from=shop.example\n\n", Some(true)),
            ("Authentication-Results: MX.us.example 1; dmarc=fail (p=reject; x=pass)\n\n", Some(false)),
            ("Authentication-Results: mx.other.example; dmarc=pass\n\n", None),
            (
                "Received: from a by mx.us.example with SMTP\nAuthentication-Results: mx.us.example; dmarc=pass\n\n",
                None,
            ),
            // Who says hello as `by` is not believed more than others.
            (
                "Received: from by (eve [192.0.2.7]) by mx.us.example; x\nAuthentication-Results: mx.us.example; dmarc=pass\n\n",
                None,
            ),
            (
                "Received: from us by inner.us.example\nAuthentication-Results: mx.us.example; dmarc=pass\n\n",
                Some(true),
            ),
            (
                "Authentication-Results: mx.us.example; dmarc=fail\nReceived: x\nAuthentication-Results: mx.us.example; dmarc=pass\n\n",
                Some(false),
            ),
            (
                "Authentication-Results: mx.us.example; dkim=pass header.d=evil.example; spf=pass smtp.mailfrom=a@evil.example\n\n",
                None,
            ),
            ("Authentication-Results: mx.us.example; dkim=pass header.d=mail.shop.example\n\n", Some(true)),
            ("Authentication-Results: mx.us.example; dkim=pass header.d=example\n\n", None),
            (
                "Authentication-Results: mx.us.example; spf=softfail smtp.mailfrom=shop.example; dkim=none\n\n",
                Some(false),
            ),
            (
                "Authentication-Results: mx.us.example; dkim=pass header.i=@shop.example\nAuthentication-Results: mx.us.example; dmarc=none\n\n",
                Some(true),
            ),
            ("Authentication-Results: mx.us.example; none\n\n", None),
            // The sender writes what stands in quotes.
            (
                "Authentication-Results: mx.us.example; spf=pass smtp.mailfrom=\"x; dmarc=pass y\"@evil.example; dmarc=fail header.from=shop.example\n\n",
                Some(false),
            ),
            (
                "Authentication-Results: mx.us.example; spf=pass smtp.mailfrom=\"x\\\"; dmarc=pass y\"@evil.example\n\n",
                None,
            ),
            (
                "Authentication-Results: mx.us.example; spf=pass smtp.mailfrom=\"a@shop.example y\"@evil.example\n\n",
                None,
            ),
            (
                "Authentication-Results: mx.us.example; spf=fail smtp.mailfrom=\"x(y\"@evil.example; dmarc=pass header.from=shop.example\n\n",
                Some(true),
            ),
            ("Authentication-Results: mx.us.example; x=\"y; dmarc=pass header.from=shop.example\n\n", None),
            ("Authentication-Results: mx.us.example; x=y (z; dmarc=pass header.from=shop.example\n\n", None),
            (
                "Authentication-Results: mx.us.example; dmarc=pass header.from=shop.example; dmarc=fail header.from=shop.example\n\n",
                Some(false),
            ),
            (
                "Authentication-Results: mx.us.example; dmarc=pass header.from=evil.example; dmarc=none header.from=shop.example\n\n",
                None,
            ),
            ("Authentication-Results: mx.us.example; dmarc=pass header.from=evil.example\n\n", None),
            (
                "Authentication-Results: mx.us.example 1 (v); dmarc (policy\\) none) = pass header.from = Shop.example\n\n",
                Some(true),
            ),
            ("Authentication-Results: mx.us.example; dkim=pass header.b=ab==; dmarc=pass\n\n", Some(true)),
            ("From: a@shop.example\n\n", None),
        ] {
            assert_eq!(verdict(mail), said, "{mail}");
        }
        let (headers, _) = Headers::read(b"Authentication-Results: mx.us.example; dmarc=pass\n\n");
        assert_eq!(read(&headers, &[], &[], Some("shop.example")).verdict, None);
    }

    #[test]
    fn a_server_that_writes_below_its_own_line_is_believed_there_once() {
        let own = "Received: by 10.0.0.1 with SMTP id x\nReceived: from a by mx.google.com with ESMTPS id y;\n";
        let proof = "Authentication-Results: mx.google.com; dmarc=pass header.from=shop.example\n";
        let none = "Authentication-Results: mx.google.com; dmarc=fail header.from=shop.example\n";
        let other = "Authentication-Results: mx.other.example; dmarc=pass\n";
        let hello = "Received: by 10.0.0.1 with SMTP id x\nReceived: from by (mail.eve.example. [192.0.2.1]) by mx.google.com;\n";
        let silent = "Authentication-Results: mx.google.com; dkim=none; spf=pass smtp.mailfrom=a@eve.example\n";
        let forged = "Authentication-Results: mx.google.com; dkim=pass header.d=shop.example\n";
        for (mail, said) in [
            (format!("{own}Received-SPF: pass\n{proof}"), Some(true)),
            (format!("{own}{none}{proof}"), Some(false)),
            (format!("{own}Received: from eve by eve.example\n{proof}"), None),
            (format!("{own}{other}{proof}"), None),
            (format!("{own}Authentication-Results: dmarc=none\n{proof}"), None),
            (format!("{none}{own}{proof}"), Some(false)),
            // Nothing is said of a domain without a policy: what the sender wrote below is not taken for it.
            (format!("{hello}{silent}{forged}"), None),
            (format!("{own}{silent}{forged}"), None),
            (format!("Received: from a by mx.other.example\n{silent}{forged}"), None),
        ] {
            let (headers, _) = Headers::read(format!("{mail}\n").as_bytes());
            let trusted = ["mx.google.com".to_owned()];
            assert_eq!(read(&headers, &trusted, &[], Some("shop.example")).verdict, said, "{mail}");
        }
        let mail = crate::fixtures::bytes("st-enclosed-thanks.eml");
        let found = read(&Headers::read(&mail).0, &["mx.google.com".into()], &[], Some("example.net"));
        assert_eq!((found.verdict, found.dkim.as_deref()), (Some(true), Some("pass")));
    }

    #[test]
    fn a_boundary_that_is_called_otherwise_is_named_where_nothing_below_it_is_to_be_believed() {
        let forged = "Authentication-Results: shop.example; dmarc=pass header.from=shop.example\n\n";
        let taken =
            "Received: from inner by store.shop.example\nReceived: from eve by Mail.shop.example with ESMTP; x\n";
        let said = |boundary: &[&str], mail: &str| {
            let boundary: Vec<String> = boundary.iter().map(ToString::to_string).collect();
            read(&Headers::read(mail.as_bytes()).0, &["shop.example".into()], &boundary, Some("shop.example")).verdict
        };
        let nothing_written = format!("{taken}{forged}");
        assert_eq!(said(&["mail.shop.example"], &nothing_written), None);
        assert_eq!(said(&[], &nothing_written), Some(true), "without the name nobody can tell where our servers end");
        let failed = "Authentication-Results: shop.example; dmarc=fail header.from=shop.example\n";
        assert_eq!(said(&["mail.shop.example"], &format!("{failed}{taken}{forged}")), Some(false));
    }

    #[test]
    fn results_without_a_name_are_microsofts_where_it_is_trusted_and_its_own_line_follows() {
        let inner = "Received: from A.eop-EUR03.prod.protection.outlook.com (::1) by B.outlook.office365.com (::1) with HTTPS; x\n";
        let results = "Authentication-Results: spf=pass (sender IP is 192.0.2.7) smtp.mailfrom=shop.example; us.example; \
            dkim=pass (signature was verified) header.d=shop.example;us.example; dmarc=pass action=none\n header.from=shop.example;compauth=pass reason=100\n";
        let taken = "Received-SPF: Pass (protection.outlook.com: x)\nReceived: from mx.shop.example (192.0.2.7) by \
            AM5EUR03FT009.mail.protection.outlook.com (10.0.0.1) with Microsoft SMTP Server; x\n";
        let other = "Received: from eve by mx.evil.example\n";
        let from = "From: a@shop.example\n\n";
        let failed = results.replace("=pass", "=fail");
        let said = |trusted: &str, mail: &str| {
            read(&Headers::read(mail.as_bytes()).0, &[trusted.into()], &[], Some("shop.example")).verdict
        };
        for (mail, verdict) in [
            (format!("{inner}{results}{taken}{from}"), Some(true)),
            (format!("{inner}{failed}{taken}{from}"), Some(false)),
            // What came with the mail is below the line of who took it, whatever stands there.
            (format!("{inner}{taken}{results}{taken}{from}"), None),
            (format!("{inner}{failed}{taken}{results}{taken}{from}"), Some(false)),
            (format!("{inner}{results}{failed}{taken}{from}"), Some(false)),
            (format!("{inner}{results}{other}{taken}{from}"), None),
            (format!("{inner}{results}{other}{from}"), None),
            (format!("{inner}{results}{from}"), None),
            (format!("{inner}Authentication-Results: eve.example; dmarc=pass\n{taken}{from}"), None),
        ] {
            assert_eq!(said(MICROSOFT, &mail), verdict, "{mail}");
            assert_eq!(said("mx.us.example", &mail), None, "nobody asked for it: {mail}");
        }
        let hello = taken.replace("from mx.shop.example (192.0.2.7)", "from by (192.0.2.7)");
        assert_eq!(said(MICROSOFT, &format!("{inner}{hello}{results}{taken}{from}")), None);
    }

    proptest::proptest! {
        #[test]
        fn what_the_sender_chooses_proves_nothing(inside in "(dmarc=pass| |;|header.from=shop.example|\\(|\\)|=|@shop.example|x){0,12}") {
            let mail = format!("Authentication-Results: mx.us.example; spf=pass smtp.mailfrom=\"{inside}\"@evil.example\n\n");
            proptest::prop_assert_eq!(verdict(&mail), None, "{}", mail);
        }
    }
}
