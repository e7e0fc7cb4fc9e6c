//! A worker's life as it is asked for from Rust.

use super::*;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

fn manager(limits: Limits) -> ProcessManager {
    let manager = ProcessManager::new("worker", limits).expect("a manager");
    manager.start().expect("started");
    manager
}

#[test]
fn a_life_goes_from_new_to_stopped_and_may_begin_again() {
    let manager = ProcessManager::new("worker", Limits::default()).expect("a manager");
    assert_eq!((manager.should_continue(), manager.is_healthy()), (false, (false, "not_running".to_owned())));
    for _ in 0..2 {
        manager.start().expect("started");
        manager.start().expect("harmless");
        assert!(manager.should_continue() && !manager.wait(Duration::ZERO));
        let clone = manager.clone();
        clone.request_shutdown("enough");
        manager.request_shutdown("later");
        assert!(!manager.should_continue() && manager.wait(LONG) && manager.is_running());
        assert_eq!(manager.is_healthy(), (false, "shutdown_requested_enough".to_owned()));
        assert!(manager.shutdown() && !manager.shutdown() && !manager.is_running());
    }
}

#[test]
fn its_time_is_over_at_its_moment_and_its_memory_at_the_next_look() {
    let short = manager(Limits { max_runtime_hours: Some(0.1 / 3600.0), ..Limits::default() });
    assert!(short.wait(LONG));
    assert_eq!(short.shutdown_reason().as_deref(), Some("max_runtime_reached_0h"));
    let small = manager(Limits { memory_limit_mb: Some(0.5), ..Limits::default() });
    assert!(small.wait(LONG));
    assert!(small.shutdown_reason().is_some_and(|reason| reason.starts_with("memory_limit_exceeded_") && reason.ends_with("MB")));
}

#[test]
fn the_server_answers_until_it_is_stopped_and_names_who_has_its_port() {
    let manager = manager(Limits { heartbeat_timeout_seconds: 0.0, ..Limits::default() });
    let server = HealthCheckServer::start("127.0.0.1", 0, &manager).expect("it listens");
    let address = server.address();
    let mut client = TcpStream::connect(address).expect("connected");
    client.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("answered");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("\"reason\":\"heartbeat_timeout_0s\""), "{answer}");
    let refused = HealthCheckServer::start("127.0.0.1", address.port(), &manager).err().expect("taken");
    assert!(refused.to_string().contains(&format!("is taken by pid {}", std::process::id())), "{refused}");
    server.stop();
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn who_wakes_does_not_wake_the_others_and_waking_is_as_good_as_a_heartbeat() {
    let manager = manager(Limits { heartbeat_timeout_seconds: 0.0, ..Limits::default() });
    let (long, short) = (manager.sleep(LONG), manager.sleep(LONG));
    manager.wake(short);
    assert_eq!(manager.is_healthy(), (true, "healthy".to_owned()));
    manager.idle_for(LONG);
    manager.wake(long);
    assert_eq!(manager.is_healthy(), (true, "healthy".to_owned()), "no heartbeat is expected for a minute");
    manager.idle_for(Duration::ZERO);
    assert_eq!(manager.is_healthy(), (false, "heartbeat_timeout_0s".to_owned()));
}

#[test]
fn a_request_before_the_start_holds_and_one_after_the_end_does_not() {
    let manager = ProcessManager::new("worker", Limits::default()).expect("a manager");
    manager.request_shutdown("too early");
    manager.start().expect("started");
    assert!(!manager.should_continue() && manager.wait(LONG));
    assert_eq!(manager.shutdown_reason().as_deref(), Some("too early"));
    manager.shutdown();
    manager.request_shutdown("too late");
    manager.start().expect("started");
    assert!(manager.should_continue());
}
