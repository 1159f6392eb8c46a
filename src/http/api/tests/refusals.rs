use super::*;
use crate::http::api::Unanswered;
use crate::http::api::{OPENAPI, ROUTES};
use crate::log::LogError;
use axum::body::Body;
use http::{Request, StatusCode};
use switchboard_envelope::Scope;

fn method(name: &str) -> Method {
    Method::from_bytes(name.to_uppercase().as_bytes()).unwrap()
}

#[tokio::test]
async fn every_route_lets_in_its_scope_and_those_above_and_nobody_else() {
    let fake = fake().await;
    let callers = [
        ("", None),
        ("t-wrong", None),
        ("t-read", Some(Scope::Read)),
        ("t-ann", Some(Scope::Agent)),
        ("t-sup", Some(Scope::Supervisor)),
        ("t-admin", Some(Scope::Admin)),
    ];
    for route in ROUTES {
        for (token, scope) in callers {
            let path = route.path.replace("{id}", "ann").replace("{index}", "0");
            let mut request = Request::builder().method(method(route.method)).uri(format!("/api/v1{path}"));
            if !token.is_empty() {
                request = request.header("authorization", format!("bearer {token}"));
            }
            let answer = fake.send(request.body(Body::empty()).unwrap()).await;
            let what = format!("{} {path} with `{token}`: {}", route.method, answer.status());
            match (route.scope, scope) {
                (None, _) => assert_eq!(answer.status(), StatusCode::OK, "{what}"),
                (Some(_), None) => {
                    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{what}");
                    assert!(answer.headers().contains_key("www-authenticate"), "{what}");
                }
                (Some(needed), Some(has)) if has < needed => {
                    assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{what}")
                }
                _ => assert!(!matches!(answer.status().as_u16(), 401 | 403 | 405 | 500), "{what}"),
            }
        }
    }
}

#[tokio::test]
async fn an_empty_token_and_a_good_cookie_beside_a_bad_token_open_nothing() {
    let fake = fake().await;
    let cookie = console_cookie(&fake);
    for bad in ["Bearer ", "Bearer", "Basic dC1yZWFk", "Bearer t-rea", "Bearer t-read x", "t-read"] {
        let headers = [("authorization", bad), ("cookie", cookie.as_str())];
        let got = call(&fake, Method::GET, "/me", "", &headers, "").await;
        got.refused(401, "token_refused");
    }
}

fn console_cookie(fake: &Fake) -> String {
    let identity = crate::http::console::Identity {
        token: "console".into(),
        agent: Some("ann".into()),
        scopes: vec![Scope::Agent],
    };
    let cookie = fake.sessions.start(identity).unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_session_reads_by_its_cookie_and_changes_only_from_the_console_itself() {
    let fake = fake().await;
    let cookie = console_cookie(&fake);
    let got = call(&fake, Method::GET, "/me", "", &[("cookie", &cookie)], "").await.ok();
    assert_eq!((&got["agent"], &got["console"], &got["scopes"]), (&json!("ann"), &json!(true), &json!(["agent"])));
    let conv = crate::history::tests::conv(1);
    let path = format!("/conversations/{conv}/close");
    let forged = call(&fake, Method::POST, &path, "", &[("cookie", &cookie)], "").await;
    forged.refused(403, "forged");
    assert_eq!(fake.commands(), 0);
    let headers = [("cookie", cookie.as_str()), ("x-switchboard", "console")];
    call(&fake, Method::POST, &path, "", &headers, "").await.ok();
    assert_eq!(fake.last_command().actor.agent.as_deref(), Some("ann"));
}

#[tokio::test]
async fn an_address_that_can_never_be_reached_is_refused_before_anything_is_sent() {
    let fake = fake().await;
    let to = |value: &str| json!({ "channel": "sms", "to": { "kind": "phone", "value": value }, "text": "hello" });
    let got = fake.post("/messages", "t-ann", to("nonsense")).await;
    got.refused(422, "invalid");
    let fault = &got.body["errors"][0];
    assert_eq!((&fault["pointer"], &fault["detail"]), (&json!("/to/value"), &json!("the number is not international")));
    assert_eq!(fake.commands(), 0);
    fake.post("/messages", "t-ann", to("+15551230001")).await.ok();
}

#[tokio::test]
async fn a_pack_whose_tests_fail_is_put_in_force_only_when_it_is_forced() {
    let fake = fake().await;
    let failing = "pack_test.yaml:2:5: the test “One” fails: queue is a, not b".to_owned();
    *fake.back.reload.lock().unwrap() = Err(crate::http::api::ReloadError::Tests(vec![failing.clone()]));
    let got = fake.post("/rules/reload", "t-admin", json!({})).await;
    got.refused(422, "pack_tests");
    assert_eq!(got.body["errors"][0]["detail"], json!(failing));
    assert_eq!(fake.commands(), 0);
    fake.post("/rules/reload", "t-admin", json!({ "force": true })).await.ok();
    assert_eq!(fake.commands(), 1);
    assert_eq!(fake.get("/rules").await.ok()["on_disk"], json!("pack2"));
}

#[tokio::test]
async fn a_quarantined_record_is_dropped_by_those_who_may_and_is_gone_then() {
    let fake = fake().await;
    let listed = fake.get("/quarantine").await.ok();
    let id = listed["quarantine"][0]["id"].as_str().unwrap().to_owned();
    let drop = async |token| call(&fake, Method::DELETE, &format!("/quarantine/{id}"), token, &[], "").await;
    drop("t-ann").await.refused(403, "scope");
    drop("t-sup").await.ok();
    let command = fake.last_command();
    assert_eq!(command.action, switchboard_envelope::Action::Released { quarantined: id.parse().unwrap() });
    assert_eq!(command.actor.agent.as_deref(), Some("cy"));
    call(&fake, Method::DELETE, "/quarantine/999", "t-sup", &[], "").await.refused(404, "not_found");
}

#[tokio::test]
async fn what_cannot_be_served_is_a_problem() {
    let fake = fake().await;
    let conv = crate::history::tests::conv(1);
    let reply = format!("/conversations/{conv}/reply");
    let json_type = [("content-type", "application/json")];
    call(&fake, Method::GET, "/nothing", "t-read", &[], "").await.refused(404, "not_found");
    call(&fake, Method::DELETE, "/me", "t-read", &[], "").await.refused(405, "method_not_allowed");
    call(&fake, Method::GET, "/conversations/c0", "t-read", &[], "").await.refused(404, "not_found");
    call(&fake, Method::GET, "/conversations?state=opened", "t-read", &[], "").await.refused(400, "bad_query");
    call(&fake, Method::GET, "/conversations?limit=201", "t-read", &[], "").await.refused(400, "bad_query");
    call(&fake, Method::GET, "/conversations?cursor=xyz", "t-read", &[], "").await.refused(400, "bad_query");
    call(&fake, Method::GET, "/conversations?sate=open", "t-read", &[], "").await.refused(400, "bad_query");
    call(&fake, Method::POST, &reply, "t-ann", &[("content-type", "text/plain")], "{}")
        .await
        .refused(415, "unsupported_media_type");
    call(&fake, Method::POST, &reply, "t-ann", &json_type, "{\"text\": ").await.refused(400, "bad_json");
    call(&fake, Method::POST, &reply, "t-ann", &json_type, "[1]").await.refused(400, "bad_json");
    call(&fake, Method::POST, &reply, "t-ann", &json_type, &"[".repeat(3000)).await.refused(400, "bad_json");
    call(&fake, Method::POST, &reply, "t-ann", &json_type, &"x".repeat(5000)).await.refused(413, "too_large");
    let long = [("content-type", "application/json"), ("idempotency-key", &"k".repeat(256))];
    call(&fake, Method::POST, &reply, "t-ann", &long, "{}").await.refused(400, "bad_idempotency_key");
    assert_eq!(fake.commands(), 0);
}

#[tokio::test]
async fn everything_that_is_wrong_with_a_body_is_told_at_once_with_its_place() {
    let fake = fake().await;
    let conv = crate::history::tests::conv(1);
    let body = json!({
        "text": " ", "take": "yes", "sean": "m1", "seen": "m1", "a/b~c": 1, "attachments": [{ "id": "x", "mime": 3 }, 7],
    });
    let got = fake.post(&format!("/conversations/{conv}/reply"), "t-ann", body).await;
    got.refused(422, "invalid");
    let mut places: Vec<&str> =
        got.body["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    places.sort_unstable();
    assert_eq!(
        places,
        [
            "/attachments/0/mime",
            "/attachments/0/name",
            "/attachments/1",
            "/a~1b~0c",
            "/sean",
            "/seen",
            "/take",
            "/text"
        ]
    );
    let got =
        fake.post("/messages", "t-ann", json!({ "channel": "sms", "text": "x", "to": { "kind": "phone" } })).await;
    assert_eq!(got.body["errors"][0]["pointer"], "/to/value", "{}", got.body);
}

#[tokio::test]
async fn a_log_that_cannot_be_written_is_503_with_retry_after_and_no_internals() {
    let fake = fake().await;
    let conv = crate::history::tests::conv(1);
    let why = || "disk /var/lib/x".to_owned();
    for (error, code, maybe) in [
        (LogError::Full(why()).into(), "log_full", false),
        (LogError::Unavailable(why()).into(), "log_unavailable", true),
        (LogError::Damaged(why()).into(), "log_unavailable", false),
        (Unanswered::Unwritable(why()), "log_unavailable", false),
        (Unanswered::Undecided(why()), "undecided", true),
    ] {
        *fake.back.fails.lock().unwrap() = Some(error);
        let got = fake.post(&format!("/conversations/{conv}/note"), "t-ann", json!({ "text": "x" })).await;
        got.refused(503, code);
        assert!(got.headers.contains_key("retry-after"));
        assert!(!got.body.to_string().contains("/var/lib"), "{}", got.body);
        let (key, said) = (got.body["idempotency_key"].as_str(), got.body["detail"].as_str().unwrap_or_default());
        assert_eq!((key.is_some(), said.contains("nothing was done")), (maybe, !maybe), "{}", got.body);
        assert!(key.is_none_or(|key| said.contains(&format!("`Idempotency-Key: {key}`"))), "{}", got.body);
    }
}

#[tokio::test]
async fn answers_are_kept_by_nobody() {
    let fake = fake().await;
    let got = fake.get("/conversations").await;
    assert_eq!(got.headers["cache-control"], "no-store");
    assert_eq!(got.headers["x-content-type-options"], "nosniff");
}

#[test]
fn the_openapi_document_names_every_route_and_no_other() {
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let mut told: Vec<(String, String, Value)> = vec![];
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let path = path.strip_prefix("/api/v1").unwrap();
            told.push((method.clone(), path.to_owned(), operation["x-scope"].clone()));
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let keyed = parameters.iter().any(|p| p["$ref"] == "#/components/parameters/key");
            assert_eq!(keyed, method == "post", "{method} {path}");
            for place in ["id", "index"] {
                let wanted = path.contains(&format!("{{{place}}}"));
                let has = parameters.iter().any(|p| p["$ref"] == format!("#/components/parameters/{place}"));
                assert_eq!(has, wanted, "{method} {path} and {place}");
            }
        }
    }
    let mut real: Vec<(String, String, Value)> = ROUTES
        .iter()
        .map(|r| {
            (r.method.into(), r.path.into(), r.scope.map_or(Value::Null, |s| json!(crate::http::api::scope_name(s))))
        })
        .collect();
    told.sort_by_key(|t| (t.1.clone(), t.0.clone()));
    real.sort_by_key(|t| (t.1.clone(), t.0.clone()));
    assert_eq!(told, real);
    for reference in OPENAPI.split("\"$ref\": \"#").skip(1).map(|r| r.split('"').next().unwrap()) {
        assert!(document.pointer(reference).is_some(), "{reference} is not in the document");
    }
}

#[tokio::test]
async fn an_id_that_is_no_text_is_a_problem_like_any_other() {
    let fake = fake().await;
    for path in ["/conversations/%ff", "/messages/%ff/attachments/0", "/contacts/%ff"] {
        fake.get(path).await.refused(404, "not_found");
    }
}
