//! The header of a trace, after W3C Trace Context.
#![forbid(unsafe_code)]

use switchboard_envelope::traceparent;

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn a_trace_is_carried_as_it_was_given() {
    assert_eq!(traceparent(TRACE).as_deref(), Some(TRACE));
    let later = format!("cc{}-what-will-be-there", TRACE.get(2..).unwrap());
    assert_eq!(traceparent(&later).as_deref(), Some(later.as_str()), "a version that is not known yet");
}

#[test]
fn what_is_no_trace_is_dropped() {
    let more = format!("{TRACE}-more");
    let long = format!("cc{}-{}", TRACE.get(2..).unwrap(), "x".repeat(300));
    let wrong = [
        "",
        "-",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-a b",
        more.as_str(),
        long.as_str(),
    ];
    for value in wrong {
        assert_eq!(traceparent(value), None, "{value}");
    }
}
