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

/// Reads what servers named in `trusted` said about a mail from this domain.
#[must_use]
pub fn read(headers: &Headers, trusted: &[String], from_domain: Option<&str>) -> Authentication {
    let mut results = vec![];
    let mut found = false;
    for (name, value) in headers.iter() {
        match name {
            "authentication-results" => {
                let text = String::from_utf8_lossy(&words::unfold(value)).into_owned();
                let text = without_comments(&text).to_ascii_lowercase();
                let mut parts = text.split(';');
                let server = parts.next().unwrap_or_default().split_whitespace().next().unwrap_or_default();
                if trusted.iter().any(|t| t.eq_ignore_ascii_case(server)) {
                    found = true;
                    results.extend(parts.filter_map(Result::read));
                }
            }
            // Below the line that the trusted server wrote when it took the mail, everything came with the mail.
            "received" if found || is_by(value, trusted) => break,
            _ => {}
        }
    }
    let method = |name: &str| results.iter().filter(move |r| r.method == name).collect::<Vec<_>>();
    let (dmarc, dkim, spf) = (method("dmarc"), method("dkim"), method("spf"));
    // A mail may be signed by several domains; the author's own counts.
    let best = |all: &[&Result]| {
        let aligned = all.iter().find(|r| r.result == "pass" && r.speaks_for(from_domain));
        aligned.or(all.first()).map(|r| r.result.clone())
    };
    let proved = |all: &[&Result]| all.iter().any(|r| r.result == "pass" && r.speaks_for(from_domain));
    let failed = |all: &[&Result]| all.iter().any(|r| matches!(r.result.as_str(), "fail" | "softfail" | "hardfail"));
    let verdict = match dmarc.first().map(|r| r.result.as_str()) {
        Some("pass") => Some(true),
        Some("fail") => Some(false),
        _ if proved(&dkim) || proved(&spf) => Some(true),
        _ if failed(&dkim) || failed(&spf) => Some(false),
        _ => None,
    };
    Authentication {
        dmarc: dmarc.first().map(|r| r.result.clone()),
        dkim: best(&dkim),
        spf: best(&spf),
        verdict: verdict.filter(|_| found),
    }
}

/// The `by` of a Received line names a trusted server.
fn is_by(value: &[u8], trusted: &[String]) -> bool {
    let text = String::from_utf8_lossy(value).to_ascii_lowercase();
    let mut words = text.split_whitespace().skip_while(|w| *w != "by");
    words.nth(1).is_some_and(|host| trusted.iter().any(|t| t.eq_ignore_ascii_case(host.trim_end_matches(';'))))
}

fn without_comments(text: &str) -> String {
    let mut depth = 0usize;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' if depth > 0 => depth -= 1,
            c if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

struct Result {
    method: String,
    result: String,
    /// The domains that the result is about.
    domains: Vec<String>,
}

impl Result {
    fn read(text: &str) -> Option<Result> {
        let mut words = text.split_whitespace();
        let (method, result) = words.next()?.split_once('=')?;
        let method = method.split('/').next().unwrap_or(method);
        let domains = words.filter_map(|w| {
            let (name, value) = w.split_once('=')?;
            let about = matches!(name, "header.d" | "header.i" | "smtp.mailfrom" | "smtp.mfrom" | "header.from");
            let domain = value.trim_matches('"').rsplit('@').next().unwrap_or(value);
            about.then(|| domain.trim_end_matches('.').to_owned())
        });
        Some(Result { method: method.into(), result: result.into(), domains: domains.collect() })
    }

    /// The domain is the author's, or above or below it.
    fn speaks_for(&self, from: Option<&str>) -> bool {
        let Some(from) = from.map(str::to_ascii_lowercase) else { return false };
        self.domains.iter().any(|d| {
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
        read(&headers, &["mx.us.example".into()], Some("shop.example")).verdict
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
            ("From: a@shop.example\n\n", None),
        ] {
            assert_eq!(verdict(mail), said, "{mail}");
        }
        let (headers, _) = Headers::read(b"Authentication-Results: mx.us.example; dmarc=pass\n\n");
        assert_eq!(read(&headers, &[], Some("shop.example")).verdict, None);
    }
}
