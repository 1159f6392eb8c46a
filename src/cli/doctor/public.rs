//! Judging the address that providers call, as far as it can be seen from here: whether somebody answers, and how long the
//! certificate is good.

use super::finding::Finding;
use crate::cli::screen::span;
use crate::config::Config;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use std::sync::Arc;
use std::time::Duration;
use switchboard_envelope::Timestamp;

const PATIENCE: Duration = Duration::from_secs(5);
/// A certificate that ends sooner should have been renewed: those of 90 days are, a month before.
const SOON_MS: i64 = 14 * 86_400_000;

/// What the certificate of the daemon's own listener is called.
const FILE: &str = "certificate";

/// What was seen of an address or a file with a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Somebody answers, without TLS.
    Open,
    /// When its certificate ends; `None` where that cannot be read.
    Certificate(Option<Timestamp>),
    /// The file cannot be read here.
    Unread(String),
    /// Nobody answers here.
    Nobody(String),
}

/// The public address and the certificate of the daemon's own listener.
pub(super) async fn all(config: &Config, now: Timestamp) -> Vec<Finding> {
    let mut found = vec![];
    if let Some(tls) = &config.http.tls {
        let name = tls.cert.display().to_string();
        let seen = match CertificateDer::from_pem_file(&tls.cert) {
            Ok(certificate) => Seen::Certificate(not_after(&certificate)),
            Err(e) => Seen::Unread(e.to_string()),
        };
        found.push(judge(FILE, &name, &seen, now));
    }
    if let Some(url) = &config.http.public_url {
        let seen = tokio::time::timeout(PATIENCE, look(url)).await;
        let seen = seen.unwrap_or_else(|_| Seen::Nobody(format!("no answer within {PATIENCE:?}")));
        found.push(judge("public address", url, &seen, now));
    }
    found
}

fn judge(about: &str, name: &str, seen: &Seen, now: Timestamp) -> Finding {
    let read = if about == FILE { "is read" } else { "answers from here" };
    let renew = "renew it, and see why that did not happen by itself: providers stop calling when it ends";
    match seen {
        Seen::Open => Finding::well(about, format!("{name} answers from here")),
        Seen::Unread(why) => Finding::warning(
            about,
            format!("{name} cannot be read: {why}"),
            "ask as the user of the daemon, or as root; if that cannot read it either, no start would",
        ),
        Seen::Nobody(why) => Finding::warning(
            about,
            format!("{name} cannot be reached from here: {why}"),
            "if providers cannot either, see its name, the proxy and the firewall; what they bring meanwhile comes again later",
        ),
        Seen::Certificate(None) => {
            Finding::well(about, format!("{name} {read}; when its certificate ends cannot be told"))
        }
        Seen::Certificate(Some(until)) => match until.since(now) {
            left @ ..=0 => {
                Finding::fault(about, format!("the certificate of {name} ended {} ago ({until})", span(-left)), renew)
            }
            left @ 1..SOON_MS => {
                Finding::warning(about, format!("the certificate of {name} ends in {} ({until})", span(left)), renew)
            }
            left => {
                // Neither its name nor who signed it was looked at.
                Finding::well(about, format!("{name} {read}, its certificate ends in {}", span(left)))
            }
        },
    }
}

/// Connects, and with `https` looks at the certificate. Nothing is asked for.
async fn look(url: &str) -> Seen {
    let Ok(parsed) = url::Url::parse(url) else { return Seen::Nobody("it is no address".into()) };
    let (Some(host), Some(port)) = (parsed.host_str(), parsed.port_or_known_default()) else {
        return Seen::Nobody("it has no host".into());
    };
    let host = host.trim_matches(['[', ']']).to_owned();
    let stream = match tokio::net::TcpStream::connect((host.as_str(), port)).await {
        Ok(stream) => stream,
        Err(e) => return Seen::Nobody(e.to_string()),
    };
    if parsed.scheme() != "https" {
        return Seen::Open;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let looker = Arc::new(Looker(provider.clone()));
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let (Ok(config), Ok(name)) = (config, ServerName::try_from(host)) else {
        return Seen::Nobody("its name cannot be asked for by TLS".into());
    };
    let config = config.dangerous().with_custom_certificate_verifier(looker).with_no_client_auth();
    match tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await {
        Ok(stream) => {
            let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
            Seen::Certificate(certificates.first().and_then(|c| not_after(c)))
        }
        Err(e) => Seen::Nobody(e.to_string()),
    }
}

/// Takes any certificate: it is looked at, and nothing is told to whoever has it.
#[derive(Debug)]
struct Looker(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Looker {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// One element of DER: its tag, what is in it, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0usize, |n, b| (n << 8) | usize::from(*b)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// Until when a certificate is good (RFC 5280, 4.1): the second time of its validity, which follows version, serial number,
/// algorithm and issuer.
fn not_after(certificate: &[u8]) -> Option<Timestamp> {
    const VERSION: u8 = 0xa0;
    let (_, certificate, _) = element(certificate)?;
    let (_, mut rest, _) = element(certificate)?;
    if let (VERSION, _, after) = element(rest)? {
        rest = after;
    }
    for _ in ["serial number", "algorithm", "issuer"] {
        rest = element(rest)?.2;
    }
    let (_, validity, _) = element(rest)?;
    let (tag, until, _) = element(element(validity)?.2)?;
    time(tag, std::str::from_utf8(until).ok()?)
}

/// `YYMMDDHHMMSSZ`, or with four digits of a year.
fn time(tag: u8, text: &str) -> Option<Timestamp> {
    const UTC: u8 = 0x17;
    const GENERALIZED: u8 = 0x18;
    let long = match tag {
        // Two digits from 50 on are of the last century.
        UTC => format!("{}{text}", if text.get(..2)?.parse::<u8>().ok()? < 50 { "20" } else { "19" }),
        GENERALIZED => text.to_owned(),
        _ => return None,
    };
    let part = |at: std::ops::Range<usize>| long.get(at);
    let iso = format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0..4)?,
        part(4..6)?,
        part(6..8)?,
        part(8..10)?,
        part(10..12)?,
        part(12..14)?
    );
    iso.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_219_200_000);
    const DAY: i64 = 86_400_000;

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        match content.len() {
            n @ 0..=0x7f => out.push(n as u8),
            n => out.extend([0x82, (n >> 8) as u8, n as u8]),
        }
        out.extend(content);
        out
    }

    /// As much of a certificate as is read, in the order of the standard.
    fn certificate(version: bool, tag: u8, until: &str) -> Vec<u8> {
        let validity = der(0x30, &[der(0x17, b"200101000000Z"), der(tag, until.as_bytes())].concat());
        let mut parts =
            vec![der(0x02, &[7; 20]), der(0x30, &[1]), der(0x30, &[2; 200]), validity, der(0x30, &[3; 300])];
        if version {
            parts.insert(0, der(0xa0, &der(0x02, &[2])));
        }
        der(0x30, &[der(0x30, &parts.concat()), der(0x30, &[4])].concat())
    }

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_ways_of_writing_it() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        for version in [true, false] {
            assert_eq!(not_after(&certificate(version, 0x17, "270131235959Z")), Some(at("2027-01-31T23:59:59Z")));
            assert_eq!(not_after(&certificate(version, 0x18, "20510131235959Z")), Some(at("2051-01-31T23:59:59Z")));
        }
        let whole = certificate(true, 0x17, "270131235959Z");
        for cut in 0..whole.len() {
            // Any beginning of it is read without harm.
            let _ = not_after(&whole[..cut]);
        }
        assert_eq!(not_after(&certificate(true, 0x17, "no time")), None);
    }

    #[test]
    fn a_certificate_that_ended_is_a_fault_and_one_that_ends_soon_a_warning() {
        let of =
            |left: i64| judge("public address", "https://a.example", &Seen::Certificate(Some(NOW.plus(left))), NOW);
        let told = Finding::well("public address", "https://a.example answers from here, its certificate ends in 60d");
        assert_eq!(of(60 * DAY), told, "whose it is was not looked at");
        let soon = of(3 * DAY + 1);
        assert!(soon.level == Level::Warning && soon.seen.contains("ends in 3d"), "{soon:?}");
        let over = of(-2 * DAY);
        assert!(over.level == Level::Fault && over.seen.contains("ended 2d ago") && over.then.is_some(), "{over:?}");
        let nobody = judge("public address", "https://a.example", &Seen::Nobody("no such name".into()), NOW);
        assert_eq!(nobody.level, Level::Warning, "it may be reached from elsewhere");
        let unread = judge(FILE, "/etc/cert.pem", &Seen::Unread("permission denied".into()), NOW);
        assert!(unread.level == Level::Warning && unread.seen.contains("/etc/cert.pem cannot be read"), "{unread:?}");
        assert!(!unread.then.as_deref().unwrap_or_default().contains("firewall"), "{unread:?}");
    }

    #[tokio::test]
    async fn an_address_without_tls_is_only_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        assert_eq!(look(&url).await, Seen::Open);
        drop(listener);
        assert!(matches!(look(&url).await, Seen::Nobody(_)));
        assert!(matches!(look("https://127.0.0.1:1").await, Seen::Nobody(_)));
    }
}
