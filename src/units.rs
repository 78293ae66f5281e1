//! Numbers as people read them.

/// Returns an integer grouped by thousands, e.g. `27,276,290`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns a number of bytes with a unit, e.g. `1.50 GiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    scaled(count, 1024.0, &UNITS)
}

/// Returns a number of floating-point operations with a unit, e.g. `12.3 GFLOP`.
pub fn flops(count: u64) -> String {
    const UNITS: [&str; 5] = ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP"];
    scaled(count, 1000.0, &UNITS)
}

fn scaled(count: u64, base: f64, units: &[&str]) -> String {
    let mut value = count as f64;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    if unit == 0 { format!("{count} {}", units[0]) } else { format!("{value:.2} {}", units[unit]) }
}

/// Returns a number of seconds, e.g. `1 min 20 s`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Returns a fraction as a percentage, e.g. `97.27%`.
pub fn percent(fraction: f64) -> String {
    format!("{:.2}%", fraction * 100.0)
}

/// Returns a rate with about three digits, e.g. `0.214`, `21.4` or `2140`.
pub fn rate(per_second: f64) -> String {
    let decimals = if per_second < 1.0 {
        3
    } else if per_second < 100.0 {
        1
    } else {
        0
    };
    format!("{per_second:.decimals$}")
}

/// Returns `count noun`, with the noun in the plural unless there is one.
pub fn counted(count: usize, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(count as u64))
}

#[cfg(test)]
mod tests {
    use super::{bytes, counted, duration, flops, grouped};

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(27_276_290), "27,276,290");
    }

    #[test]
    fn units_follow_the_size() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(3 << 29), "1.50 GiB");
        assert_eq!(flops(12_340_000_000), "12.34 GFLOP");
    }

    #[test]
    fn durations_use_the_two_largest_units() {
        assert_eq!(duration(1.25), "1.2 s");
        assert_eq!(duration(80.4), "1 min 20 s");
        assert_eq!(duration(7_260.0), "2 h 1 min");
    }

    #[test]
    fn nouns_agree_with_their_number() {
        assert_eq!(counted(1, "row"), "1 row");
        assert_eq!(counted(1_200, "row"), "1,200 rows");
    }
}
