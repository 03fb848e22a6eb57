//! TIDs as dates (spec protocol.md 6).

use crate::ids::Tid;

/// Fields of a TID: minutes of a calendar whose months all have 31 days, and a fraction of minute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TidFields {
    /// Year, 1900 … 9917.
    pub year: u32,
    /// Month, 1 … 12.
    pub month: u32,
    /// Day, 1 … 31.
    pub day: u32,
    /// Hour, 0 … 23.
    pub hour: u32,
    /// Minute, 0 … 59.
    pub minute: u32,
    /// Fraction of the minute in units of 60/2^32 s.
    pub low: u32,
}

/// Days between 1970-01-01 and the given civil date of the Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a number of days since 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

impl TidFields {
    /// The fields of a TID.
    #[must_use]
    pub const fn unpack(tid: Tid) -> Self {
        let (high, low) = ((tid.0 >> 32) as u32, tid.0 as u32);
        let (days, hours) = (high / 60 / 24, high / 60);
        Self {
            year: days / 31 / 12 + 1900,
            month: days / 31 % 12 + 1,
            day: days % 31 + 1,
            hour: hours % 24,
            minute: high % 60,
            low,
        }
    }

    /// The TID with these fields; none before 1900 or after what 32 bits of minutes can hold.
    #[must_use]
    pub fn pack(self) -> Option<Tid> {
        let years = u64::from(self.year.checked_sub(1900)?);
        let months = years * 12 + u64::from(self.month.checked_sub(1)?);
        let days = months * 31 + u64::from(self.day.checked_sub(1)?);
        let minutes = (days * 24 + u64::from(self.hour)) * 60 + u64::from(self.minute);
        let high = u32::try_from(minutes).ok()?;
        Some(Tid(u64::from(high) << 32 | u64::from(self.low)))
    }

    /// Minutes since 1970; none if the date does not exist (31 February).
    #[must_use]
    pub fn unix_minutes(self) -> Option<i64> {
        let (year, month, day) = (self.year.into(), self.month.into(), self.day.into());
        let days = days_from_civil(year, month, day);
        let time = i64::from(self.hour) * 60 + i64::from(self.minute);
        (civil_from_days(days) == (year, month, day)).then_some(days * 1440 + time)
    }

    fn from_unix_minutes(minutes: i64, low: u32) -> Option<Self> {
        let (year, month, day) = civil_from_days(minutes.div_euclid(1440));
        let time = minutes.rem_euclid(1440);
        Some(Self {
            year: u32::try_from(year).ok()?,
            month: u32::try_from(month).ok()?,
            day: u32::try_from(day).ok()?,
            hour: u32::try_from(time / 60).ok()?,
            minute: u32::try_from(time % 60).ok()?,
            low,
        })
    }
}

impl Tid {
    /// The TID of a time in seconds since 1970 (spec protocol.md 6.2); none if it does not fit.
    #[must_use]
    pub fn from_time(unix_time_s: f64) -> Option<Self> {
        let whole = unix_time_s.trunc();
        // Beyond this no date fits, and the conversion to integer would saturate.
        if !unix_time_s.is_finite() || !(-3e9..3e11).contains(&whole) {
            return None;
        }
        let (seconds, fraction) = (whole as i64, unix_time_s - whole);
        let (minutes, second) = (seconds.div_euclid(60), seconds.rem_euclid(60));
        let low = (second as f64 + fraction) / (60.0 / 4_294_967_296.0);
        // The conversion of an f64 to an integer truncates, and caps leap seconds.
        TidFields::from_unix_minutes(minutes, low as u32)?.pack()
    }

    /// Seconds since 1970, truncated to the microsecond; none for an impossible date.
    #[must_use]
    pub fn to_time(self) -> Option<f64> {
        let (seconds, microseconds) = self.to_unix_microseconds()?;
        Some(seconds as f64 + f64::from(microseconds) / 1e6)
    }

    /// Seconds since 1970 and microseconds; none for an impossible date.
    #[must_use]
    pub fn to_unix_microseconds(self) -> Option<(i64, u32)> {
        let fields = TidFields::unpack(self);
        let product = u64::from(fields.low) * 60;
        let microseconds = ((product & 0xffff_ffff) * 1_000_000) >> 32;
        let second = i64::try_from(product >> 32).ok()?;
        Some((fields.unix_minutes()? * 60 + second, u32::try_from(microseconds).ok()?))
    }

    /// Calendar addition (`addTID` in spec protocol.md 6.3): what overflows the minute is added to
    /// the date, so that dates that do not exist are skipped. None for an impossible date or a
    /// result that does not fit.
    #[must_use]
    pub fn add_tid(self, offset: i64) -> Option<Self> {
        let fields = TidFields::unpack(self);
        let sum = i128::from(fields.low) + i128::from(offset);
        let minutes = i64::try_from(sum.div_euclid(1 << 32)).ok()?;
        let low = u32::try_from(sum.rem_euclid(1 << 32)).ok()?;
        if minutes == 0 {
            return TidFields { low, ..fields }.pack();
        }
        let date = fields.unix_minutes()?.checked_add(minutes)?;
        TidFields::from_unix_minutes(date, low)?.pack()
    }
}
