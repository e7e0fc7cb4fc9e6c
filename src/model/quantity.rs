//! Durations, sizes and percentages as devstack.toml writes them.
//!
//! A bare number takes the unit of the seed's own argument (hours, MB, percent); `MB` and `GB` are binary, as the seed's are.

use std::time::Duration;

/// Why a text is no such quantity; worded for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadQuantity {
    #[error("not a duration; write for instance \"90s\", \"5m\", \"24h\" or \"1h30m\"")]
    Duration,
    #[error("not a size; write for instance \"2048MB\" or \"2GiB\"")]
    Size,
    #[error("not a percentage; write for instance \"80%\"")]
    Percent,
    #[error("must not be negative")]
    Negative,
    #[error("is too large")]
    TooLarge,
}

/// Longer than this (100 years) is a mistake, and would overflow sums of deadlines.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);
const MIB: u64 = 1 << 20;

/// # Errors
/// When `text` is not a duration, is negative, or is longer than a hundred years.
pub fn duration(text: &str) -> Result<Duration, BadQuantity> {
    let text = text.trim();
    if text.starts_with('-') {
        return Err(BadQuantity::Negative);
    }
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let parsed = humantime::parse_duration(text).or_else(|error| match error {
        humantime::DurationError::NumberOverflow => Err(BadQuantity::TooLarge),
        _ => fractional(text).ok_or(BadQuantity::Duration),
    })?;
    if parsed > LONGEST { Err(BadQuantity::TooLarge) } else { Ok(parsed) }
}

/// `1.5h`: a person writes it, humantime does not read it.
fn fractional(text: &str) -> Option<Duration> {
    let split = text.find(|c: char| c.is_ascii_alphabetic())?;
    let number: f64 = text[..split].trim().parse().ok().filter(|n: &f64| n.is_finite() && *n >= 0.0)?;
    let unit = humantime::parse_duration(&format!("1{}", &text[split..])).ok()?;
    Duration::try_from_secs_f64(number * unit.as_secs_f64()).ok()
}

/// A bare number in `unit`s: `24` hours, `0.5` hours.
///
/// # Errors
/// When it is negative, not a number, or longer than a hundred years.
pub fn duration_from_number(number: f64, unit: Duration) -> Result<Duration, BadQuantity> {
    if number < 0.0 {
        return Err(BadQuantity::Negative);
    }
    let long = Duration::try_from_secs_f64(number * unit.as_secs_f64()).map_err(|_| BadQuantity::TooLarge)?;
    if long > LONGEST { Err(BadQuantity::TooLarge) } else { Ok(long) }
}

/// Bytes. `K`, `M`, `G`, `T` with or without `B` or `iB` are powers of 1024, as systemd and docker read them; a bare number is MB.
///
/// # Errors
/// When `text` is not a size, is negative, or does not fit 64 bits.
pub fn size(text: &str) -> Result<u64, BadQuantity> {
    let text = text.trim();
    if text.starts_with('-') {
        return Err(BadQuantity::Negative);
    }
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let number: f64 = text[..split].trim().parse().map_err(|_| BadQuantity::Size)?;
    let unit = match text[split..].to_ascii_lowercase().as_str() {
        "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "" | "m" | "mb" | "mib" => MIB,
        "g" | "gb" | "gib" => 1 << 30,
        "t" | "tb" | "tib" => 1 << 40,
        _ => return Err(BadQuantity::Size),
    };
    bytes(number, unit)
}

/// A bare number of MB.
///
/// # Errors
/// As [`size`].
pub fn size_from_number(number: f64) -> Result<u64, BadQuantity> {
    bytes(number, MIB)
}

fn bytes(number: f64, unit: u64) -> Result<u64, BadQuantity> {
    let total = number * unit as f64;
    match total {
        _ if total.is_nan() => Err(BadQuantity::Size),
        _ if total < 0.0 => Err(BadQuantity::Negative),
        _ if total >= i64::MAX as f64 => Err(BadQuantity::TooLarge),
        _ => Ok(total as u64),
    }
}

/// Percent of one core, or of a duration: `"80%"`, `"80"`, `"5%"`.
///
/// # Errors
/// When `text` is not a percentage, is negative, or above 100,000.
pub fn percent(text: &str) -> Result<f64, BadQuantity> {
    let text = text.trim();
    let number: f64 = text.strip_suffix('%').unwrap_or(text).trim().parse().map_err(|_| BadQuantity::Percent)?;
    percent_from_number(number)
}

/// # Errors
/// As [`percent`].
pub fn percent_from_number(number: f64) -> Result<f64, BadQuantity> {
    match number {
        _ if number.is_nan() => Err(BadQuantity::Percent),
        _ if number < 0.0 => Err(BadQuantity::Negative),
        _ if number > 100_000.0 => Err(BadQuantity::TooLarge),
        _ => Ok(number),
    }
}

/// Writes `2048` rather than `2048.0`.
///
/// # Errors
/// Those of the serializer.
pub fn whole_if_possible<S: serde::Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) if value.fract() == 0.0 && *value < 1e15 => serializer.serialize_some(&(*value as u64)),
        value => serde::Serialize::serialize(value, serializer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_binary_and_bare_numbers_are_megabytes() {
        for (text, expected) in [
            ("2048MB", 2 << 30),
            ("2GiB", 2 << 30),
            ("2 gb", 2 << 30),
            ("2048", 2 << 30),
            ("2.5G", 5 << 29),
            ("512k", 512 << 10),
            ("7B", 7),
            ("0", 0),
        ] {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
        for bad in ["", "MB", "2XB", "1e400", "two", "NaN"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert_eq!(size("-1"), Err(BadQuantity::Negative));
    }

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, seconds) in
            [("90s", 90.0), ("5m", 300.0), ("24h", 86_400.0), ("1h30m", 5_400.0), ("500ms", 0.5), ("1.5h", 5_400.0), ("0", 0.0)]
        {
            assert_eq!(duration(text).map(|d| d.as_secs_f64()), Ok(seconds), "{text}");
        }
        for bad in ["", "fast", "-5s", "99999999999h", "5 parsecs", "1e400s", "24"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn percentages_are_plain_numbers() {
        assert_eq!(percent("80%"), Ok(80.0));
        assert_eq!(percent("250"), Ok(250.0));
        for bad in ["-1%", "NaN", "inf", "lots", "%"] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }
}
