//! Dates as people write them (spec tools.md 12).

use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::{rfc2822, strtime};
use jiff::{Span, Timestamp, Zoned};

/// Dates, in the order in which they are tried. Where it is doubtful, the month comes first.
const DATES: [&str; 14] = [
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y%m%d",
    "%d.%m.%Y",
    "%m/%d/%Y",
    "%m/%d/%y",
    "%d %b %Y",
    "%d %B %Y",
    "%b %d %Y",
    "%B %d %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%d-%b-%Y",
    "%a %b %d %Y",
];

/// Times of a day.
const TIMES: [&str; 6] = ["%H:%M:%S%.f", "%H:%M", "%I:%M:%S %p", "%I:%M %p", "%I:%M%p", "%I%p"];

/// Seconds since 1970 of a date in almost any form; local time unless it has a time zone.
///
/// # Errors
/// It is not understood.
pub fn parse(text: &str, now: &Zoned) -> Result<f64, String> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = text.as_str();
    let zoned = exact(text)
        .or_else(|| local(text, now))
        .or_else(|| relative(text, now))
        .ok_or_else(|| format!("not a date: '{text}' (try 2026-11-22 16:22:12, or -3600)"))?;
    Ok(zoned.as_microsecond() as f64 / 1e6)
}

/// With a time zone.
fn exact(text: &str) -> Option<Timestamp> {
    let zoned = text.parse::<Zoned>().map(|zoned| zoned.timestamp()).ok();
    zoned
        .or_else(|| text.parse::<Timestamp>().ok())
        .or_else(|| rfc2822::parse(text).ok().map(|zoned| zoned.timestamp()))
        .or_else(|| {
            let formats = ["%Y-%m-%d %H:%M:%S %z", "%Y-%m-%d %H:%M %z", "%a %b %d %H:%M:%S %z %Y"];
            formats.iter().find_map(|format| Timestamp::strptime(format, text).ok())
        })
        .or_else(|| {
            let text = text.strip_suffix(" UTC").or_else(|| text.strip_suffix(" GMT"))?;
            let local = civil(text)?;
            local.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
        })
}

fn date(text: &str) -> Option<Date> {
    DATES.iter().find_map(|format| Date::strptime(format, text).ok())
}

fn time(text: &str) -> Option<Time> {
    TIMES.iter().find_map(|format| {
        let parsed = strtime::parse(format, text).ok()?;
        parsed.to_time().ok()
    })
}

/// A date and a time in either order, each at any blank, or one of them.
fn civil(text: &str) -> Option<DateTime> {
    if let Ok(parsed) = text.parse::<DateTime>() {
        return Some(parsed);
    }
    if let Some(date) = date(text) {
        return Some(date.to_datetime(Time::midnight()));
    }
    if let Ok(parsed) = DateTime::strptime("%a %b %d %H:%M:%S %Y", text) {
        return Some(parsed);
    }
    let blanks = text.match_indices([' ', 'T']).map(|(index, _)| index);
    for index in blanks {
        let (a, b) = (text.get(..index)?, text.get(index + 1..)?);
        let a = a.trim_end_matches(',');
        for (a, b) in [(a, b), (b, a)] {
            if let (Some(date), Some(time)) = (date(a), time(b)) {
                return Some(date.to_datetime(time));
            }
        }
    }
    None
}

fn local(text: &str, now: &Zoned) -> Option<Timestamp> {
    let local = civil(text).or_else(|| time(text).map(|time| now.date().to_datetime(time)))?;
    local.to_zoned(now.time_zone().clone()).ok().map(|zoned| zoned.timestamp())
}

/// `now`, `yesterday 8:00`, `2 hours ago`.
fn relative(text: &str, now: &Zoned) -> Option<Timestamp> {
    let text = text.to_lowercase();
    if text == "now" {
        return Some(now.timestamp());
    }
    let (word, rest) = text.split_once(' ').unwrap_or((&text, "00:00"));
    let days = match word {
        "today" => Some(0),
        "yesterday" => Some(-1),
        _ => None,
    };
    if let Some(days) = days {
        let day = now.date().checked_add(Span::new().days(days)).ok()?;
        let local = day.to_datetime(time(rest.trim_start_matches("at "))?);
        return local.to_zoned(now.time_zone().clone()).ok().map(|zoned| zoned.timestamp());
    }
    let ago = text.strip_suffix(" ago")?;
    let span: Span = ago.parse().ok()?;
    now.checked_sub(span).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> String {
        let now: Zoned = "2026-11-22T16:00:00[Europe/Paris]".parse().unwrap();
        match parse(text, &now) {
            Ok(seconds) => Timestamp::from_microsecond((seconds * 1e6) as i64).unwrap().to_string(),
            Err(reason) => reason,
        }
    }

    #[test]
    fn dates_are_local_and_in_many_forms() {
        for text in [
            "2026-11-22 16:22:12",
            "2026-11-22T16:22:12",
            "20261122 16:22:12",
            "2026/11/22 16:22:12",
            "22 Nov 2026 16:22:12",
            "Nov 22 2026 4:22:12 PM",
            "Nov 22, 2026 16:22:12",
            "November 22, 2026 16:22:12",
            "22.11.2026 16:22:12",
            "11/22/2026 16:22:12",
            "16:22:12 22 Nov 2026",
            "Sun Nov 22 16:22:12 2026",
            "16:22:12",
            "today 16:22:12",
            "2026-11-22 15:22:12 UTC",
            "2026-11-22T15:22:12Z",
            "2026-11-22 16:22:12 +0100",
            "2026-11-22T16:22:12+01:00",
            "Sun, 22 Nov 2026 16:22:12 +0100",
        ] {
            assert_eq!(at(text), "2026-11-22T15:22:12Z", "{text}");
        }
    }

    #[test]
    fn parts_may_be_left_out() {
        assert_eq!(at("2026-11-22"), "2026-11-21T23:00:00Z");
        assert_eq!(at("yesterday"), "2026-11-20T23:00:00Z");
        assert_eq!(at("yesterday 8:30"), "2026-11-21T07:30:00Z");
        assert_eq!(at("8pm"), "2026-11-22T19:00:00Z");
        assert_eq!(at("now"), "2026-11-22T15:00:00Z");
        assert_eq!(at("2 hours ago"), "2026-11-22T13:00:00Z");
        assert_eq!(at("3 days ago"), "2026-11-19T15:00:00Z");
        assert_eq!(at("2026-11-22 16:22:12.5"), "2026-11-22T15:22:12.5Z");
    }

    #[test]
    fn what_is_no_date_is_said_so() {
        for text in ["", "soon", "2026-13-01", "25:00", "5"] {
            assert!(at(text).starts_with("not a date"), "{text}: {}", at(text));
        }
    }
}
