//! Exploration: some rows have to continue for some segments, even if the Q values say halt.
//!
//! As in the published code, every slot draws again in every call, and not once per row.

use super::streams::unit;
use crate::data::random::Stream;
use crate::ir::Halt;

/// The minimum number of segments without exploration.
pub const NO_FLOOR: u32 = 1;

/// The smallest minimum that exploration draws.
const MIN_FLOOR: usize = 2;

/// Draws the minimum number of segments of each of `slots` slots for one call.
///
/// With probability `explore` it is uniform in `2 ..= M`, else 1. Where `M` is below 2 or the policy does not
/// explore, nothing is drawn.
pub fn draw_floors(policy: &Halt, slots: usize, stream: &mut Stream) -> Vec<u32> {
    let explore = match *policy {
        Halt::QLearning { explore, .. } | Halt::Bce { explore, .. } => f64::from(explore),
        Halt::Fixed { .. } | Halt::Residual { .. } => 0.0,
    };
    let most = policy.max_segments();
    if explore <= 0.0 || most < MIN_FLOOR {
        return vec![NO_FLOOR; slots];
    }
    (0..slots)
        .map(|_| {
            // Both are drawn for every slot, so a draw does not depend on the ones before it.
            let explores = unit(stream) < explore;
            let floor = MIN_FLOOR + stream.below(most - MIN_FLOOR + 1);
            if explores { floor as u32 } else { NO_FLOOR }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::QTarget;

    fn stream() -> Stream {
        Stream::new(5, "explore", 0)
    }

    #[test]
    fn without_exploration_nothing_is_drawn() {
        let policies = [
            Halt::QLearning { max_segments: 16, explore: 0.0, target: QTarget::Bootstrap },
            Halt::Bce { max_segments: 1, explore: 0.5 },
            Halt::Fixed { segments: 16 },
            Halt::Residual { eps: 0.1, max_segments: 16 },
        ];
        for policy in policies {
            let mut stream = stream();
            assert_eq!(draw_floors(&policy, 3, &mut stream), [1, 1, 1]);
            assert_eq!(stream.position(), 0);
        }
    }

    #[test]
    fn certain_exploration_is_uniform_from_two_to_the_limit() {
        let policy = Halt::QLearning { max_segments: 4, explore: 1.0, target: QTarget::Bootstrap };
        let floors = draw_floors(&policy, 3000, &mut stream());
        let mut counts = [0_i32; 6];
        floors.iter().for_each(|&floor| counts[floor as usize] += 1);
        assert_eq!([counts[0], counts[1], counts[5]], [0, 0, 0]);
        // Five standard deviations of a binomial with mean 1000 of 3000 are 129.
        assert!(counts[2..5].iter().all(|count| (count - 1000).abs() < 129), "{counts:?}");
    }

    #[test]
    fn exploration_happens_as_often_as_asked() {
        let policy = Halt::Bce { max_segments: 16, explore: 0.1 };
        let floors = draw_floors(&policy, 10_000, &mut stream());
        let explored = floors.iter().filter(|&&floor| floor > 1).count();
        // Five standard deviations of a binomial with mean 1000 of 10,000 are 150.
        assert!(explored.abs_diff(1000) < 150, "{explored}");
    }

    #[test]
    fn floors_continue_where_the_stream_was_left() {
        let policy = Halt::QLearning { max_segments: 8, explore: 0.5, target: QTarget::Bootstrap };
        let mut first = stream();
        let whole = draw_floors(&policy, 64, &mut stream());
        let mut parts = draw_floors(&policy, 20, &mut first);
        let mut second = stream();
        second.seek(first.position());
        parts.extend(draw_floors(&policy, 44, &mut second));
        assert_eq!(parts, whole);
    }
}
