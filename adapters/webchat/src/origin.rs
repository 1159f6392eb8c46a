use std::fmt;
use std::net::IpAddr;
use thiserror::Error;
use url::{Host, Url};

/// Scheme, host and port of a page, as a browser's `Origin` header has them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// Reads `https://shop.example` or `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// With what is wrong and what to write.
    pub fn parse(text: &str) -> Result<Origin, String> {
        let advice = "write scheme and host, such as `https://shop.example`";
        if text.contains('*') {
            return Err(format!("`{text}` has a wildcard: list every origin, such as `https://www.shop.example`"));
        }
        let url = Url::parse(text).map_err(|e| format!("`{text}` is not an origin ({e}): {advice}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("`{text}` is neither http nor https: {advice}"));
        }
        let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        if !bare || !url.username().is_empty() || url.password().is_some() {
            return Err(format!("`{text}` says more than an origin: {advice}"));
        }
        Origin::of(&url).ok_or_else(|| format!("`{text}` has no host: {advice}"))
    }

    /// The origin of any http or https address.
    #[must_use]
    pub fn of(url: &Url) -> Option<Origin> {
        if !matches!(url.scheme(), "http" | "https") {
            return None;
        }
        Some(Origin { scheme: url.scheme().into(), host: url.host_str()?.into(), port: url.port_or_known_default()? })
    }

    /// An address that no name server can point elsewhere.
    fn is_literal(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        self.host == "localhost" || host.parse::<IpAddr>().is_ok()
    }

    /// Whether a request with this `Host` header went to this origin's host and port.
    fn has_authority(&self, host_header: &str) -> bool {
        let Ok(url) = Url::parse(&format!("{}://{host_header}/", self.scheme)) else { return false };
        url.host().is_some_and(|h| !matches!(h, Host::Domain("")))
            && url.host_str() == Some(self.host.as_str())
            && url.port_or_known_default() == Some(self.port)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let default = if self.scheme == "https" { 443 } else { 80 };
        if self.port == default {
            write!(f, "{}://{}", self.scheme, self.host)
        } else {
            write!(f, "{}://{}:{}", self.scheme, self.host, self.port)
        }
    }
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("origin `{origin}` is not in `channels.{channel}.origins`")]
pub struct OriginRefused {
    pub channel: String,
    /// The header's origin, cut to what a log line can bear.
    pub origin: String,
}

/// Which pages may hold the widget.
#[derive(Clone, Debug)]
pub struct OriginPolicy {
    channel: String,
    allowed: Vec<Origin>,
    own: Vec<Origin>,
}

impl OriginPolicy {
    /// `own` is where the daemon itself is reached (`http.public_url`): the demo page lives there.
    #[must_use]
    pub fn new(channel: &str, allowed: Vec<Origin>, own: Vec<Origin>) -> OriginPolicy {
        OriginPolicy { channel: channel.into(), allowed, own }
    }

    /// Decides for a request with these `Origin` and `Host` headers.
    ///
    /// A request without `Origin` is not a browser's cross-origin request, and passes. A page that we serve ourselves
    /// passes where that can be known: under `http.public_url`, or under a literal address or `localhost`, to which no
    /// foreign name can be rebound.
    ///
    /// # Errors
    /// When a browser says that the page is of another origin.
    pub fn check(&self, origin: Option<&str>, host: Option<&str>) -> Result<(), OriginRefused> {
        let Some(text) = origin else { return Ok(()) };
        let refused = |origin: Option<&Origin>| OriginRefused {
            channel: self.channel.clone(),
            // What is no origin is not repeated: anything could stand there.
            origin: origin.map_or("(no web origin)".into(), |o| o.to_string().chars().take(200).collect()),
        };
        let origin = Origin::parse(text).map_err(|_| refused(None))?;
        let listed = self.allowed.contains(&origin) || self.own.contains(&origin);
        let same = origin.is_literal() && host.is_some_and(|host| origin.has_authority(host));
        if listed || same { Ok(()) } else { Err(refused(Some(&origin))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> OriginPolicy {
        let allowed = ["https://shop.example", "http://localhost:3000"].map(|o| Origin::parse(o).unwrap());
        OriginPolicy::new("site", allowed.to_vec(), vec![Origin::parse("https://hooks.shop.example").unwrap()])
    }

    #[test]
    fn scheme_host_and_port_must_all_be_those_of_the_list() {
        let p = policy();
        for good in
            ["https://shop.example", "https://SHOP.example:443", "http://localhost:3000", "https://hooks.shop.example"]
        {
            assert_eq!(p.check(Some(good), Some("hooks.shop.example")), Ok(()), "{good}");
        }
        let bad = [
            "http://shop.example",
            "https://shop.example:8443",
            "https://evil.example",
            "https://shop.example.evil.example",
            "https://notshop.example",
            "https://sub.shop.example",
            "http://localhost:3001",
            "null",
            "",
            "file://",
            "*",
            "https://shop.example@evil.example",
            "https://shop.example/path",
            "\u{0}",
            "https://",
        ];
        for bad in bad {
            assert!(p.check(Some(bad), Some("hooks.shop.example")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_page_of_ours_passes_but_a_rebound_name_does_not() {
        let p = OriginPolicy::new("site", vec![], vec![]);
        assert_eq!(p.check(None, Some("anything")), Ok(()));
        assert_eq!(p.check(Some("http://127.0.0.1:8080"), Some("127.0.0.1:8080")), Ok(()));
        assert_eq!(p.check(Some("http://[::1]:8080"), Some("[::1]:8080")), Ok(()));
        assert_eq!(p.check(Some("http://localhost:8080"), Some("localhost:8080")), Ok(()));
        assert!(p.check(Some("http://127.0.0.1:8080"), Some("127.0.0.1:9090")).is_err());
        assert!(p.check(Some("http://127.0.0.1:8080"), None).is_err());
        // A name that an attacker points at us sends the same text in both headers.
        assert!(p.check(Some("http://evil.example:8080"), Some("evil.example:8080")).is_err());
    }

    #[test]
    fn configured_origins_say_what_to_write_instead() {
        for (bad, hint) in [
            ("https://*.shop.example", "wildcard"),
            ("shop.example", "write scheme and host"),
            ("ftp://shop.example", "neither http nor https"),
            ("https://shop.example/shop", "more than an origin"),
            ("https://u:p@shop.example", "more than an origin"),
        ] {
            let error = Origin::parse(bad).unwrap_err();
            assert!(error.contains(hint), "{bad}: {error}");
        }
        assert_eq!(Origin::parse("https://shop.example/").unwrap().to_string(), "https://shop.example");
        assert_eq!(Origin::parse("http://shop.example:81").unwrap().to_string(), "http://shop.example:81");
    }
}
