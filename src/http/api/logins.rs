//! Links that sign an agent in to the console.

use super::input::{Path, SHORT};
use super::table::Posted;
use super::{ApiState, scope_name};
use crate::config::nearest;
use crate::http::console::{Identity, LOGIN_TTL_MS};
use crate::http::problem::Problem;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;
use switchboard_envelope::Scope;

const SCOPES: [Scope; 4] = [Scope::Read, Scope::Agent, Scope::Supervisor, Scope::Admin];

/// Agents that are named where one is not there.
const NAMED: usize = 10;

/// That an agent is not there, and who is.
fn nobody(id: &str, known: &[&str]) -> String {
    match nearest(id, known.iter().copied()) {
        Some(near) => format!("the rule pack in force has no agent `{id}`: did you mean `{near}`?"),
        None if known.is_empty() => "the rule pack in force has no agents".into(),
        None => {
            let named: Vec<&str> = known.iter().copied().take(NAMED).collect();
            let more = known.len() - named.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("the rule pack in force has no agent `{id}`; its agents are {}{more}", named.join(", "))
        }
    }
}

/// Makes a link that signs an agent in: once, within ten minutes, at this daemon. Whoever opens it is that agent.
pub(super) async fn link(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    mut posted: Posted,
) -> Result<Response, Problem> {
    let f = &mut posted.fields;
    let wanted = f.optional("scope", SHORT);
    let known = wanted.as_deref().map_or(Some(Scope::Agent), |w| SCOPES.into_iter().find(|s| scope_name(*s) == w));
    if known.is_none() {
        f.fault("scope", "must be read, agent, supervisor or admin");
    }
    posted.fields.finish()?;
    let now = state.backend().state();
    let pack = state.backend().pack(&now.pack).await?;
    if pack.as_ref().is_none_or(|pack| pack.agent(&id).is_none()) {
        let known: Vec<&str> = pack.iter().flat_map(|pack| pack.agents().keys()).map(String::as_str).collect();
        return Err(Problem::not_found(nobody(&id, &known)));
    }
    let (_turn, before) = state.turn(&posted.once).await?;
    if let Some(given) = before {
        return Ok(given.into_response());
    }
    let unavailable = |why: String| Problem::unavailable("unavailable", why);
    let Some(sessions) = &state.shared.gate.sessions else {
        return Err(unavailable("this daemon has no console".into()));
    };
    let scope = known.unwrap_or(Scope::Agent);
    // What the link gives ends with the token that made it.
    let token = posted.caller.identity.token.clone();
    let identity = Identity { token, agent: Some(id.clone()), scopes: vec![scope] };
    let code = sessions.create_login(identity).map_err(|e| unavailable(e.to_string()))?;
    tracing::info!(agent = id, scope = scope_name(scope), by = posted.caller.identity.token, "a login link was made");
    let path = format!("/console#login={code}");
    let value = json!({
        "agent": id,
        "scope": scope_name(scope),
        "path": path,
        "url": state.backend().console_url().map(|base| format!("{base}{path}")),
        "expires_at": state.backend().now().plus(LOGIN_TTL_MS),
    });
    state.remember(&posted.once, StatusCode::CREATED, &value);
    Ok((StatusCode::CREATED, axum::Json(value)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_agents_the_first_are_named() {
        let ids: Vec<String> = (0..12).map(|n| format!("agent-of-the-night-{n}")).collect();
        let all: Vec<&str> = ids.iter().map(String::as_str).collect();
        assert!(nobody("zoe", &all).ends_with("agent-of-the-night-8, agent-of-the-night-9 and 2 more"));
        assert!(nobody("zoe", &all[..10]).ends_with("agent-of-the-night-8, agent-of-the-night-9"));
    }
}
