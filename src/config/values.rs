//! The small languages of single values: sizes, durations, rates, addresses. Each error says what to write.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;
use switchboard_webchat::Origin;
use url::Url;

/// At most `count` calls in `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: NonZeroU32,
    pub per: Duration,
}

impl Rate {
    /// How many a second, on average.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        f64::from(self.count.get()) / self.per.as_secs_f64().max(0.001)
    }

    /// A limiter of this rate, which lets a burst of the whole count through.
    #[must_use]
    pub fn limiter(&self) -> governor::DefaultDirectRateLimiter {
        let every = self.per / self.count.get();
        let quota = governor::Quota::with_period(every.max(Duration::from_nanos(1)));
        let quota = quota.unwrap_or_else(|| governor::Quota::per_second(self.count)).allow_burst(self.count);
        governor::RateLimiter::direct(quota)
    }
}

/// A range of addresses, such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    bits: u8,
}

impl Cidr {
    /// Whether the range holds `ip`. An IPv4 address that arrives on an IPv6 socket is taken as IPv4.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                mask(u128::from(net.to_bits()), self.bits, 32) == mask(u128::from(ip.to_bits()), self.bits, 32)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                mask(net.to_bits(), self.bits, 128) == mask(ip.to_bits(), self.bits, 128)
            }
            _ => false,
        }
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

fn mask(address: u128, bits: u8, width: u8) -> u128 {
    let host = u32::from(width.saturating_sub(bits));
    if host >= 128 { 0 } else { (address >> host) << host }
}

/// `127.0.0.1/32`, `fd00::/8`, or a single address.
pub(super) fn cidr(s: &str) -> Result<Cidr, String> {
    let wrong = || format!("`{s}` is not a range of addresses: write `10.0.0.0/8` or `127.0.0.1/32`");
    let (address, bits) = s.split_once('/').map_or((s, None), |(a, b)| (a, Some(b)));
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Ok(width), |b| b.parse::<u8>().map_err(|_| wrong()))?;
    if bits > width {
        return Err(format!("`{s}` has more than {width} bits after the slash"));
    }
    let kept = match address {
        IpAddr::V4(a) => {
            IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(mask(u128::from(a.to_bits()), bits, 32)).unwrap_or(0)))
        }
        IpAddr::V6(a) => IpAddr::V6(mask(a.to_bits(), bits, 128).into()),
    };
    if kept != address {
        return Err(format!("`{s}` has bits beyond its prefix: write `{kept}/{bits}`"));
    }
    Ok(Cidr { address, bits })
}

/// `127.0.0.1:8080`.
pub(super) fn listen(s: &str) -> Result<SocketAddr, String> {
    if let Some(port) = s.strip_prefix("localhost:").and_then(|p| p.parse().ok()) {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    s.parse().map_err(|_| {
        let port = s.rsplit(':').next().and_then(|p| p.parse::<u16>().ok());
        let host = s.parse::<IpAddr>().ok();
        let write = match (host, port) {
            (Some(IpAddr::V6(ip)), _) => format!("[{ip}]:8080"),
            (Some(ip), _) => format!("{ip}:8080"),
            (None, Some(port)) => format!("0.0.0.0:{port}` or `127.0.0.1:{port}"),
            (None, None) => "127.0.0.1:8080".into(),
        };
        format!("`{s}` is not an IP address with a port: write `{write}`")
    })
}

/// `30s`, `1h30m`, `365d`. Milliseconds are the smallest unit, so that a day holds no surprise.
pub(crate) fn duration(s: &str) -> Result<Duration, String> {
    let wrong =
        || format!("`{s}` is not a duration: write a number with its unit, such as `30s`, `15m`, `1h30m` or `365d`");
    let mut rest = s.trim();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let unit_end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let ms: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        total = number.checked_mul(ms).and_then(|n| total.checked_add(n)).ok_or_else(wrong)?;
        rest = after;
    }
    // A century is more than any timer needs, and keeps sums of times in range.
    if total > 100 * 366 * 86_400_000 {
        return Err(format!("`{s}` is more than a hundred years"));
    }
    Ok(Duration::from_millis(total))
}

/// A duration from `min` to `max`, both in the same language.
pub(super) fn duration_within(min: &'static str, max: &'static str) -> impl Fn(&str) -> Result<Duration, String> {
    move |s| {
        let d = duration(s)?;
        if d < duration(min)? || d > duration(max)? {
            return Err(format!("`{s}` is out of range: write `{min}` to `{max}`"));
        }
        Ok(d)
    }
}

/// `1MiB`, `64KiB`, `5MB`, or bytes as `1024`.
pub(super) fn size(s: &str) -> Result<u64, String> {
    let wrong = || format!("`{s}` is not a size: write a number with its unit, such as `64KiB`, `1MiB` or `2GiB`");
    let t = s.trim();
    let digits = t.find(|c: char| !c.is_ascii_digit()).unwrap_or(t.len());
    let (number, unit) = t.split_at(digits);
    let factor: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(wrong()),
    };
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(wrong)
}

/// A size from `min` to `max`.
pub(super) fn size_within(min: &'static str, max: &'static str) -> impl Fn(&str) -> Result<u64, String> {
    move |s| {
        let n = size(s)?;
        if n < size(min)? || n > size(max)? {
            return Err(format!("`{s}` is out of range: write `{min}` to `{max}`"));
        }
        Ok(n)
    }
}

/// `10/s`, `100/m`, `1000/h`.
pub(super) fn rate(s: &str) -> Result<Rate, String> {
    let wrong = || format!("`{s}` is not a rate: write a whole number a time, such as `10/s`, `100/m` or `1000/h`");
    let (count, per) = s.split_once('/').ok_or_else(wrong)?;
    let count: u32 = count.trim().parse().map_err(|_| wrong())?;
    let count = NonZeroU32::new(count)
        .ok_or_else(|| format!("`{s}` would never send: write at least 1, or set `enabled = false`"))?;
    let per = match per.trim() {
        "s" => Duration::from_secs(1),
        "m" | "min" => Duration::from_secs(60),
        "h" => Duration::from_secs(3600),
        "d" => Duration::from_secs(86_400),
        _ => return Err(wrong()),
    };
    Ok(Rate { count, per })
}

/// An `http` or `https` address that paths are appended to; returned without a slash at its end.
pub(super) fn base_url(s: &str) -> Result<String, String> {
    let url = web_url(s)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("`{s}` must end before `?` and `#`"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

fn web_url(s: &str) -> Result<Url, String> {
    let wrong = || format!("`{}` is not a web address: write `https://` and a host", without_password(s));
    let url = Url::parse(s).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must hold no user and no password".into());
    }
    Ok(url)
}

/// What stands before an `@` may be a password, and is not shown.
fn without_password(s: &str) -> String {
    match s.rsplit_once('@') {
        Some((_, host)) => format!("…@{host}"),
        None => s.to_owned(),
    }
}

/// A proxy's address; it may hold a password, so no error repeats it.
pub(super) fn proxy(s: &str) -> Result<(), String> {
    let wrong = || "is not a proxy's address: write `http://host:port`".to_owned();
    let url = Url::parse(s).map_err(|_| wrong())?;
    let good = matches!(url.scheme(), "http" | "https") && url.host_str().is_some_and(|h| !h.is_empty());
    if good && matches!(url.path(), "" | "/") { Ok(()) } else { Err(wrong()) }
}

/// Whether a plain-text connection to this address stays on this machine.
pub(super) fn is_loopback(url: &str) -> bool {
    Url::parse(url).ok().is_some_and(|u| match u.host() {
        Some(url::Host::Domain(d)) => d == "localhost" || d.ends_with(".localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    })
}

/// A web origin as browsers send it. The widget's own rule decides; here an address with a path learns its origin.
pub(super) fn origin(s: &str) -> Result<String, String> {
    if s.contains('@') {
        return Err("must hold no user and no password: write `https://shop.example`".into());
    }
    if s == "*" {
        return Err("`*` would let every site embed the chat: list the sites, such as `https://shop.example`".into());
    }
    Origin::parse(s).map(|o| o.to_string()).map_err(|e| match Url::parse(s).ok().as_ref().and_then(Origin::of) {
        Some(bare) if !s.contains('*') => format!("`{s}` says more than an origin: write `{bare}`"),
        _ => e,
    })
}

/// `#rrggbb`.
pub(super) fn colour(s: &str) -> Result<String, String> {
    let good = s.strip_prefix('#').is_some_and(|h| h.len() == 6 && h.bytes().all(|b| b.is_ascii_hexdigit()));
    if good {
        Ok(s.to_ascii_lowercase())
    } else {
        Err(format!("`{s}` is not a colour: write `#rrggbb`, such as `#1f6feb`"))
    }
}

/// A line of text that people read.
pub(super) fn line(max: usize) -> impl Fn(&str) -> Result<String, String> {
    move |s| {
        let length = s.chars().count();
        if s.trim().is_empty() {
            Err("is empty: write a text, or remove the key".into())
        } else if length > max {
            Err(format!("has {length} characters: write at most {max}"))
        } else if s.chars().any(|c| c.is_control() && c != '\n') {
            Err("holds a control character".into())
        } else {
            Ok(s.to_owned())
        }
    }
}

/// `info`, or levels of single parts as `info,switchboard::router=debug`.
pub(super) fn log_level(s: &str) -> Result<String, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let part = |p: &str| {
        let (target, level) = p.split_once('=').map_or(("", p), |(t, l)| (t, l));
        let named = target.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-'));
        named && (!p.contains('=') || !target.is_empty()) && LEVELS.contains(&level)
    };
    if s.split(',').all(part) {
        Ok(s.to_owned())
    } else {
        Err(format!(
            "`{s}` is not a level: write `error`, `warn`, `info`, `debug` or `trace`, or `info,switchboard::router=debug`"
        ))
    }
}

#[cfg(test)]
#[path = "values_tests.rs"]
mod tests;
