//! What Twilio's error codes mean (<https://www.twilio.com/docs/api/errors>).

use switchboard_adapter_sdk::classify::{Class, Row};

const fn row(code: &'static str, class: Class, sentence: &'static str) -> Row {
    Row { code, class, sentence }
}

/// One table for the answers of the API and for the error codes of status callbacks.
///
/// 21408 is a refusal of the recipient here, although an operator could lift it: were it a fault of the channel, one text
/// from a country that the account does not serve would stop the channel for everybody.
pub const CODES: &[Row] = &[
    row("20429", Class::RateLimit, "too many requests to Twilio; nothing was sent"),
    row("14107", Class::RateLimit, "the account's message rate is exceeded"),
    row("30022", Class::RateLimit, "the carrier's daily or per-second limit is reached"),
    row("63017", Class::RateLimit, "the chat network limits how often this person is written to"),
    row("63018", Class::RateLimit, "the chat network's rate limit for this sender is exceeded"),
    row("20503", Class::Retry, "Twilio is unavailable for the moment"),
    row("30001", Class::Retry, "Twilio's queue for this sender is full"),
    row("21611", Class::Retry, "Twilio's queue for this sender is full"),
    row("30003", Class::Retry, "the phone is switched off or out of reach"),
    row("30005", Class::Retry, "the number is unknown to its carrier, or out of reach"),
    row("30008", Class::Retry, "the carrier gave no reason for not delivering"),
    row("30017", Class::Retry, "the carrier's network is congested"),
    row("21211", Class::PermanentRecipient, "this is not a valid phone number"),
    row("21217", Class::PermanentRecipient, "the phone number looks invalid"),
    row(
        "21408",
        Class::PermanentRecipient,
        "the account may not send to this country: enable it under geographic permissions",
    ),
    row("21614", Class::PermanentRecipient, "the number cannot receive text messages"),
    row("30004", Class::PermanentRecipient, "the recipient's carrier or phone blocks the message"),
    row("30006", Class::PermanentRecipient, "a landline or a carrier that does not take text messages"),
    row("63003", Class::PermanentRecipient, "the chat network does not know this person"),
    row("63024", Class::PermanentRecipient, "the chat network cannot reach this person"),
    row("21610", Class::OptedOut, "the person has replied STOP to this sender"),
    row("63016", Class::OutsideWindow, "outside the 24-hour window: only an approved template can be sent"),
    row("21617", Class::PermanentMessage, "the text is over 1600 characters"),
    row("21619", Class::PermanentMessage, "neither text nor media"),
    row("21620", Class::PermanentMessage, "a media URL cannot be used"),
    row("30007", Class::PermanentMessage, "a carrier filtered the message as spam"),
    row("30019", Class::PermanentMessage, "the media is larger than the carrier takes"),
    row("63032", Class::PermanentMessage, "the chat network's limits do not allow this message to this person"),
    row("63033", Class::PermanentMessage, "the person cannot receive this message on the chat network"),
    row("20003", Class::Config, "Twilio refuses the account sid and token: check account_sid and auth_token"),
    row("20404", Class::Config, "Twilio does not know the account: check account_sid and base_url"),
    row("21603", Class::Config, "a sender is missing: check from"),
    row("21606", Class::Config, "the sender is not a number of this account that can send: check from"),
    row("21659", Class::Config, "the sender is not a number or short code of this account: check from"),
    row("21703", Class::Config, "the messaging service has no senders: check messaging_service_sid"),
    row("30023", Class::Config, "the brand's daily cap is reached"),
    row("30027", Class::Config, "the campaign's daily cap is reached"),
    row("30034", Class::Config, "the sender is not registered for US traffic (A2P 10DLC)"),
];
