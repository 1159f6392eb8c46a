//! Who asks, and what they may do.

use crate::http::console::{Identity, Sessions, hash};
use crate::http::problem::Problem;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::{HeaderMap, Method, StatusCode, header};
use std::collections::BTreeMap;
use std::sync::Arc;
use switchboard_adapter_sdk::signature::sha256_hex;
use switchboard_envelope::{Actor, Scope};

/// No token of ours is longer; anything longer is not hashed.
const MAX_TOKEN: usize = 1024;

/// The configured bearer tokens, as hashes.
#[derive(Clone, Default)]
pub struct Tokens {
    known: Vec<([u8; 32], Identity)>,
}

impl Tokens {
    /// Takes a token into use. An empty one is never accepted.
    pub fn add(&mut self, secret: &str, identity: Identity) {
        if !secret.is_empty() {
            self.known.push((hash(secret), identity));
        }
    }

    /// What each token is, by its name: changes with its secret, its scopes and its agent, and gives none of them away.
    #[must_use]
    pub fn fingerprints(&self) -> BTreeMap<String, String> {
        let print = |(secret, identity): &([u8; 32], Identity)| {
            let scopes: Vec<&str> = identity.scopes.iter().map(|s| scope_name(*s)).collect();
            let about = format!("{} {}", identity.agent.as_deref().unwrap_or(""), scopes.join(" "));
            let mut all = b"session of a token".to_vec();
            all.extend_from_slice(secret);
            all.extend_from_slice(about.as_bytes());
            (identity.token.clone(), sha256_hex(&all))
        };
        self.known.iter().map(print).collect()
    }

    /// Whom a token speaks for. Every known token is compared, each in constant time, so that neither the place nor the
    /// length of a match can be measured.
    #[must_use]
    pub fn check(&self, token: &str) -> Option<Identity> {
        if token.is_empty() || token.len() > MAX_TOKEN {
            return None;
        }
        let given = hash(token);
        let mut found = None;
        for (known, identity) in &self.known {
            if verify_slices_are_equal(known, &given).is_ok() {
                found = Some(identity);
            }
        }
        found.cloned()
    }
}

/// A caller.
#[derive(Clone, Debug)]
pub struct Caller {
    pub identity: Identity,
    pub scope: Scope,
    /// Signed in to the console, not by a token.
    pub console: bool,
}

impl Caller {
    /// For whom a command speaks: the agent that the body names, else the caller's own.
    ///
    /// # Errors
    /// 403 when the caller may not speak for that agent.
    pub fn actor(&self, named: Option<String>) -> Result<Actor, Problem> {
        let own = self.identity.agent.clone();
        if named.is_some() && named != own && self.scope < Scope::Supervisor {
            let detail = "acting as another agent needs the scope `supervisor`";
            return Err(Problem::new(StatusCode::FORBIDDEN, "not_you", detail));
        }
        Ok(Actor { agent: named.or(own), token: Some(self.identity.token.clone()), scope: self.scope })
    }
}

/// What checks the callers of a router.
#[derive(Clone)]
pub struct Gate {
    pub tokens: Arc<Tokens>,
    pub sessions: Option<Arc<Sessions>>,
}

impl Gate {
    /// # Errors
    /// 401 without a good token or session, 403 when it does not reach `needed` or the request is forged.
    pub fn admit(&self, method: &Method, headers: &HeaderMap, needed: Scope) -> Result<Caller, Problem> {
        let (identity, console) = self.identify(method, headers)?;
        let Some(scope) = identity.scopes.iter().copied().max() else {
            return Err(Problem::new(StatusCode::FORBIDDEN, "scope", "this token has no scope"));
        };
        if scope < needed {
            let detail = format!("this needs the scope `{}`", scope_name(needed));
            return Err(Problem::new(StatusCode::FORBIDDEN, "scope", detail));
        }
        Ok(Caller { identity, scope, console })
    }

    fn identify(&self, method: &Method, headers: &HeaderMap) -> Result<(Identity, bool), Problem> {
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            // A bad token is refused, whatever cookie comes with it.
            let bearer =
                value.to_str().ok().and_then(|v| v.split_once(' ')).filter(|(s, _)| s.eq_ignore_ascii_case("bearer"));
            let identity = bearer.and_then(|(_, token)| self.tokens.check(token.trim()));
            let refused = || Problem::new(StatusCode::UNAUTHORIZED, "token_refused", "no such token is configured");
            return identity.map(|i| (i, false)).ok_or_else(refused);
        }
        let session = match &self.sessions {
            Some(s) => s.check(method, headers),
            None => Ok(None),
        };
        match session {
            Ok(Some(identity)) => Ok((identity, true)),
            Ok(None) => {
                let detail = "send `Authorization: Bearer …` with a token from [admin.tokens]";
                Err(Problem::new(StatusCode::UNAUTHORIZED, "token_missing", detail))
            }
            Err(forged) => Err(Problem::new(StatusCode::FORBIDDEN, "forged", forged.to_string())),
        }
    }
}

#[must_use]
pub fn scope_name(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::Agent => "agent",
        Scope::Supervisor => "supervisor",
        Scope::Admin => "admin",
    }
}
