//! Numbers as they stand beside an axis.

use super::AxisNumbers;
use crate::units::grouped;

/// Prefixes for 1000, 1000² and so on.
const PREFIXES: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];

/// Most decimals that are written out.
const MAX_DECIMALS: i32 = 6;

impl AxisNumbers {
    /// Returns a value that has so many decimals, in words of the axis. A negative number of decimals is that of zeros
    /// before the point.
    pub(super) fn text(&self, value: f64, decimals: i32) -> String {
        match self {
            AxisNumbers::Plain => plain(value, decimals),
            AxisNumbers::Percent => format!("{}%", plain(value * 100.0, decimals - 2)),
            AxisNumbers::Scaled { .. } if value == 0.0 => "0".to_owned(),
            AxisNumbers::Scaled { unit } => {
                let thousands = (exponent(value) / 3).clamp(0, PREFIXES.len() as i32 - 1);
                let scaled = value / 1000_f64.powi(thousands);
                let number = plain(scaled, (decimals + 3 * thousands).min(MAX_DECIMALS));
                let prefix = PREFIXES[thousands as usize];
                format!("{} {prefix}{unit}", without_zeros(&number)).trim_end().to_owned()
            }
        }
    }

    /// Returns a value with about three digits.
    pub(super) fn short(&self, value: f64) -> String {
        let text = self.text(value, if value == 0.0 { 0 } else { 2 - exponent(value) });
        match text.strip_suffix('%') {
            Some(number) => format!("{}%", without_zeros(number)),
            None => without_zeros(&text).to_owned(),
        }
    }
}

/// Returns the exponent of ten in scientific notation: 2 for 314.
pub(super) fn exponent(value: f64) -> i32 {
    let text = format!("{value:e}");
    let exponent = text.split_once('e').expect("scientific notation has an exponent").1;
    exponent.parse().expect("an exponent is a number")
}

/// Returns a number with thousands grouped, or in scientific notation if it is large or has many decimals.
fn plain(value: f64, decimals: i32) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if value.abs() >= 1e7 || decimals > MAX_DECIMALS {
        return format!("{value:e}");
    }
    let text = format!("{:.*}", decimals.max(0) as usize, value.abs());
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{}{fraction}", grouped(whole.parse().expect("it is below 1e7")))
}

/// Returns a decimal number without the zeros at its end.
fn without_zeros(number: &str) -> &str {
    if number.contains('.') && !number.contains(['e', ' ']) {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    }
}
