use super::{Answer, Question};

/// How metrics can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    /// The text format of Prometheus, version 0.0.4.
    Prometheus,
    /// <https://prometheus.io/docs/specs/om/open_metrics_spec/>, version 1.0.0.
    OpenMetrics,
}

impl Format {
    pub const ALL: [Self; 3] = [Self::Json, Self::Prometheus, Self::OpenMetrics];

    pub fn word(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Prometheus => "prometheus",
            Self::OpenMetrics => "openmetrics",
        }
    }

    /// By `?format=`, else by what `Accept` likes best, else JSON; `None` for a word that is none of them.
    pub fn wanted(question: &Question) -> Option<Self> {
        let asked = question.query.split('&').find_map(|pair| pair.strip_prefix("format="));
        match asked {
            Some(word) => Self::ALL.into_iter().find(|format| format.word() == word),
            None => Some(Self::accepted(&question.accept)),
        }
    }

    /// The answer to a word that is no format.
    pub fn refusal() -> Answer {
        Answer::json(400, &serde_json::json!({ "error": "no such format", "formats": Self::ALL.map(Self::word) }))
    }

    fn accepted(accept: &str) -> Self {
        let mut best = (Self::Json, 0.0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let format = match parts.next().map(str::to_ascii_lowercase).as_deref() {
                Some("application/openmetrics-text") => Self::OpenMetrics,
                Some("text/plain") => Self::Prometheus,
                Some("application/json") => Self::Json,
                _ => continue,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f64>().ok()).unwrap_or(1.0);
            // Of two that are liked alike, the first.
            if quality > best.1 {
                best = (format, quality);
            }
        }
        best.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(query: &str, accept: &str) -> Option<Format> {
        Format::wanted(&Question { path: "/metrics".to_owned(), query: query.to_owned(), accept: accept.to_owned() })
    }

    #[test]
    fn whoever_says_nothing_gets_json_and_whoever_scrapes_gets_what_it_likes_best() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (accept, format) in [
            ("", Format::Json),
            ("*/*", Format::Json),
            (browser, Format::Json),
            ("application/json", Format::Json),
            ("text/plain", Format::Prometheus),
            ("Text/Plain; version=0.0.4", Format::Prometheus),
            ("application/json, text/plain;q=0.9", Format::Json),
            ("text/plain;q=0", Format::Json),
            (prometheus, Format::OpenMetrics),
        ] {
            assert_eq!(wanted("", accept), Some(format), "{accept}");
        }
    }

    #[test]
    fn a_format_in_the_query_overrules_what_is_accepted_and_has_to_be_one() {
        assert_eq!(wanted("format=prometheus", "application/json"), Some(Format::Prometheus));
        assert_eq!(wanted("a=b&format=json", "text/plain"), Some(Format::Json));
        assert_eq!(wanted("format=openmetrics", ""), Some(Format::OpenMetrics));
        assert_eq!((wanted("format=xml", ""), wanted("format=", "")), (None, None));
    }
}
