use super::format::Format;
use super::health::{is_well, metrics};
use super::{Answer, Facts, Question, prometheus};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

/// One answer for all services of a project: `/health`, `/ready` and `/metrics`; `None` for any other path.
///
/// Whoever rests because somebody wanted it so, or because it has done its work, speaks neither for nor against the whole.
pub fn answer_for_all(question: &Question, services: &[Facts], at: Timestamp) -> Option<Answer> {
    Some(match question.path.as_str() {
        "/health" => {
            let ill = services.iter().find(|it| counts(it) && !is_well(it));
            let (status, word) = if ill.is_none() { (200, "healthy") } else { (503, "unhealthy") };
            let reason = ill.map_or_else(|| word.to_owned(), |it| of(it, &it.reason));
            let each = each(services, |it| json!({ "status": it.health, "reason": it.reason }));
            Answer::json(status, &json!({ "status": word, "reason": reason, "services": each, "timestamp": at }))
        }
        "/ready" => {
            let waited_for = services.iter().find(|it| counts(it) && !it.ready);
            let reason = waited_for.map_or_else(|| "ready".to_owned(), |it| of(it, &it.reason));
            let ready = waited_for.is_none();
            let each = each(services, |it| json!({ "ready": it.ready, "state": it.state }));
            let status = if ready { 200 } else { 503 };
            Answer::json(status, &json!({ "ready": ready, "reason": reason, "services": each, "timestamp": at }))
        }
        "/metrics" => match Format::wanted(question) {
            Some(Format::Json) => {
                let services: Vec<_> = services.iter().map(metrics).collect();
                Answer::json(200, &AllMetrics { services, timestamp: at })
            }
            Some(format) => prometheus::answer(format, services),
            None => Format::refusal(),
        },
        _ => return None,
    })
}

#[derive(Serialize)]
struct AllMetrics<T> {
    services: Vec<T>,
    timestamp: Timestamp,
}

fn counts(it: &Facts) -> bool {
    match it.state.as_str() {
        "stopped" => false,
        "exited" => it.last_exit_code != Some(0),
        _ => true,
    }
}

fn of(it: &Facts, reason: &str) -> String {
    format!("{}: {reason}", it.name)
}

fn each(services: &[Facts], word: impl Fn(&Facts) -> serde_json::Value) -> serde_json::Map<String, serde_json::Value> {
    services.iter().map(|it| (it.name.clone(), word(it))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::health::tests::facts;
    use super::*;
    use serde_json::Value;

    fn ask(path: &str, services: &[Facts]) -> (u16, Value) {
        let question = Question { path: path.to_owned(), ..Question::default() };
        let answer = answer_for_all(&question, services, Timestamp::UNIX_EPOCH).expect("a known path");
        (answer.status, serde_json::from_str(&answer.body).expect("json"))
    }

    fn named(name: &str, state: &str, health: &str, last_exit_code: Option<i32>) -> Facts {
        let ready = state == "running";
        let reason = if health == "healthy" { "healthy" } else { "not_running" }.to_owned();
        Facts { name: name.to_owned(), state: state.to_owned(), health: health.to_owned(), reason, ready, last_exit_code, ..facts() }
    }

    #[test]
    fn the_first_who_is_ill_or_not_ready_speaks_for_all_and_who_rests_on_purpose_does_not() {
        let at_rest = [named("done", "exited", "dead", Some(0)), named("off", "stopped", "stopped", Some(143))];
        let fine = [at_rest.as_slice(), &[named("web", "running", "healthy", None)]].concat();
        assert_eq!((ask("/health", &fine).0, ask("/ready", &fine).0), (200, 200));
        for gone in
            [named("bot", "exited", "dead", Some(1)), named("bot", "failed", "dead", Some(0)), named("bot", "backoff", "dead", None)]
        {
            let all = [fine.as_slice(), &[gone]].concat();
            let (status, health) = ask("/health", &all);
            assert_eq!((status, &health["status"], &health["reason"]), (503, &"unhealthy".into(), &"bot: not_running".into()));
            assert_eq!(health["services"]["web"], json!({ "status": "healthy", "reason": "healthy" }));
            assert_eq!(ask("/ready", &all).0, 503);
        }
        let starting = [fine.as_slice(), &[named("bot", "starting", "starting", None)]].concat();
        assert_eq!((ask("/health", &starting).0, ask("/ready", &starting).0), (200, 503), "a liveness probe must not end it");
    }

    #[test]
    fn metrics_are_those_of_each_and_other_paths_are_somebody_elses() {
        let all = [named("web", "running", "healthy", None), named("bot", "running", "healthy", None)];
        let (status, told) = ask("/metrics", &all);
        assert_eq!(
            (status, &told["services"][1]["metrics"]["name"], &told["services"][0]["metrics"]["pid"]),
            (200, &"bot".into(), &12345.into())
        );
        let question = Question { path: "/metrics".to_owned(), query: "format=prometheus".to_owned(), ..Question::default() };
        let text = answer_for_all(&question, &all, Timestamp::UNIX_EPOCH).expect("metrics").body;
        assert_eq!(text.lines().filter(|line| line.starts_with("devstack_service_up{")).count(), 2, "{text}");
        assert_eq!(answer_for_all(&Question { path: "/".to_owned(), ..Question::default() }, &all, Timestamp::UNIX_EPOCH), None);
    }
}
