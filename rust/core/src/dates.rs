//! Dates as operators read them (spec tools.md 3.4): UTC, microseconds truncated, the fraction left
//! out when it is zero.

use neo_wire::tid::TidFields;
use neo_wire::{Tid, Timestamp};

fn format(fields: TidFields, second: u64, microsecond: u64) -> String {
    let TidFields { year, month, day, hour, minute, .. } = fields;
    let date = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
    if microsecond == 0 {
        return date;
    }
    format!("{date}.{microsecond:06}")
}

/// The date of a TID; also of one whose date does not exist (31 February), since nothing forbids
/// it in a database.
#[must_use]
pub fn format_tid(tid: Tid) -> String {
    let fields = TidFields::unpack(tid);
    let product = u64::from(fields.low) * 60;
    let microsecond = ((product & 0xffff_ffff) * 1_000_000) >> 32;
    format(fields, product >> 32, microsecond)
}

/// The date of a time in seconds since 1970; the number itself if no date fits.
#[must_use]
pub fn format_timestamp(timestamp: Timestamp) -> String {
    let time_s = timestamp.0;
    let minute = (time_s / 60.0).floor();
    let Some(tid) = Tid::from_time(minute * 60.0) else {
        return time_s.to_string();
    };
    // Below a minute: neither sign nor size can be lost.
    let rest_s = time_s - minute * 60.0;
    let microseconds = (rest_s * 1e6) as u64;
    let fields = TidFields::unpack(tid);
    format(fields, microseconds / 1_000_000, microseconds % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tids_of_the_specification() {
        let tid = |number| format_tid(Tid(number));
        assert_eq!(tid(0), "1900-01-01 00:00:00");
        assert_eq!(tid(0x0393_7af2_eeee_eeee), "2012-01-01 12:34:55.999999");
        assert_eq!(tid(0x040d_30b7_2ff2_e94a), "2026-11-22 16:23:11.238016");
        assert_eq!(tid(0x040d_30bb_2d59_f7d4), "2026-11-22 16:27:10.629243");
    }

    #[test]
    fn times() {
        let time = |seconds| format_timestamp(Timestamp(seconds));
        assert_eq!(time(1_795_364_660.190_205_3), "2026-11-22 16:24:20.190205");
        assert_eq!(time(1_795_364_660.0), "2026-11-22 16:24:20");
        assert_eq!(time(-0.5), "1969-12-31 23:59:59.500000");
        assert_eq!(time(f64::INFINITY), "inf");
        assert_eq!(time(f64::NAN), "NaN");
    }
}
