//! The rest is with the hooks, which keep what is read here.

use super::*;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use switchboard_adapter_sdk::{Secret, Settings, settings::Value};

/// A number of the app with this secret, of this business account.
pub(in crate::inbound) fn number(id: &str, number: &str, secret: &str, business: Option<&str>) -> Arc<dyn Adapter> {
    let hidden = |text: &str| Value::Secrets(vec![Secret::new(text)]);
    let settings = Settings::new(id, None)
        .with("phone_number_id", Value::Text(number.into()))
        .with("app_secret", hidden(secret))
        .with("verify_token", hidden("word"))
        .with("access_token", hidden("token"));
    let settings = business.into_iter().fold(settings, |s, id| s.with("business_account_id", Value::Text(id.into())));
    switchboard_facebook::build(switchboard_facebook::product("whatsapp").unwrap(), &settings).unwrap()
}

#[test]
fn an_account_is_whose_settings_name_it_or_else_the_only_ones_that_could_have_it() {
    let (named, one, two) =
        (number("named", "1", "app", Some("77")), number("one", "2", "app", None), number("two", "3", "app", None));
    let found = |account: &str, channels: &[Speaker<'_>]| whose(account, channels).map(|(id, _)| id.to_owned());
    let (of_77, of_88) = ("whatsapp_business_account:waba:77", "whatsapp_business_account:waba:88");
    let all: [Speaker<'_>; 3] = [("two", two.as_ref()), ("one", one.as_ref()), ("named", named.as_ref())];
    assert_eq!(found(of_77, &all).as_deref(), Some("named"));
    assert_eq!(found(of_88, &all), None, "two could have it");
    assert_eq!(found(of_88, &all[1..]).as_deref(), Some("one"));
    assert_eq!(found(of_88, &all[2..]), None);
    assert_eq!(found("whatsapp_business_account:3", &all).as_deref(), Some("two"));
    assert_eq!(found("whatsapp_business_account:4", &all), None);
}

/// Nobody can be paused by a record of which nothing shows who signed it.
#[test]
fn without_a_word_each_channel_could_be_of_the_same_app() {
    let change = serde_json::json!({ "field": "account_update", "value": { "event": "ACCOUNT_DELETED" } });
    let body =
        serde_json::json!({ "object": "whatsapp_business_account", "entry": [{ "id": "77", "changes": [change] }] });
    let body = Bytes::from(body.to_string());
    let (one, two) = (number("one", "1", "app", None), number("two", "2", "another app", None));
    let raw = |word: Option<String>| Raw {
        content_type: "application/json".into(),
        blob: None,
        inline: None,
        meta: word.map(|word| (VOUCHED.to_owned(), word)).into_iter().collect::<BTreeMap<_, _>>(),
    };
    let again = |raw: &Raw, others: &[Speaker<'_>]| {
        reader(raw, &body, ("one", one.as_ref()), others).map(|(id, _)| id.to_owned())
    };
    let others: [Speaker<'_>; 1] = [("two", two.as_ref())];
    assert_eq!(again(&raw(None), &[]).as_deref(), Ok("one"));
    assert!(again(&raw(None), &others).is_err());
    let word = switchboard_adapter_sdk::signature::Mac::sha256(b"app").vouch(&body);
    assert_eq!(again(&raw(Some(word)), &others).as_deref(), Ok("one"), "the other is of another app");
}
